//! The proof: a TLS server on loopback with a certificate of the authority, and the real programs that
//! connect to it and say whether they trust it.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use certs::formats::pem;
use certs::{AltName, Authority, Issued, PROOF, Request};
use model::codes;
use rustls::pki_types::PrivateKeyDer;
use rustls::{ServerConfig, ServerConnection};
use time::OffsetDateTime;

use super::roots::private_folder;
use super::stores::{Kind, Store, program};
use crate::failure::Failure;

/// How long a client may take; a browser's first start is slow.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a client did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It fetched our page.
    Accepts,
    /// It refused the certificate, with its last words.
    Refuses(String),
    /// It crashed, hung or failed otherwise, which says nothing about the store.
    Broken(String),
    /// There is no such program.
    NotPresent,
    /// It cannot be tried, and why.
    Untried(&'static str),
}

/// A server that answers every request with one page, until it is dropped.
pub struct Server {
    /// The root that its certificate chains to, PEM.
    pub root_pem: String,
    host: String,
    port: u16,
    page: String,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// A server with a certificate of this authority that lives for ten minutes; none where the name
    /// constraints leave no name that it could have.
    pub fn of_authority(dir: &Path) -> Result<Option<Self>, Failure> {
        let mut authority = Authority::open(dir)?;
        let mut hosts = vec!["localhost".to_owned()];
        // The clients are told that this name is 127.0.0.1; nobody is asked for it.
        hosts.extend(
            authority.constraints()?.permitted_dns.iter().map(|domain| format!("{}.{domain}", PROOF.0)),
        );
        hosts.push("127.0.0.1".to_owned());
        for host in hosts {
            let name = AltName::guess(&host)?;
            if authority.check_names(std::slice::from_ref(&name)).is_err() {
                continue;
            }
            let mut request = Request::new(PROOF.0).with(name).lifetime(time::Duration::minutes(10));
            request.common_name = None;
            let issued = authority.issue(&request, PROOF.1, OffsetDateTime::now_utc())?;
            return Self::start(&issued, host, authority.root_pem()?).map(Some);
        }
        Ok(None)
    }

    /// Starts on a free port of 127.0.0.1.
    fn start(issued: &Issued, host: String, root_pem: String) -> Result<Self, Failure> {
        let internal = |what: String| Failure::new(&codes::usage::INTERNAL, what);
        let chain = pem::parse(issued.chain_pem.as_bytes())?.certificates;
        let key_pem = issued.key_pem.as_ref().ok_or_else(|| internal("the check has no key".to_owned()))?;
        let key = certs::PrivateKey::from_pem(key_pem, None)?;
        let key = PrivateKeyDer::Pkcs8(key.pkcs8_der().to_vec().into());
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key))
            .map_err(|error| internal(format!("the check's server cannot start: {error}")))?;
        let listener = TcpListener::bind("127.0.0.1:0").map_err(|error| internal(error.to_string()))?;
        let port = listener.local_addr().map_err(|error| internal(error.to_string()))?.port();
        let page = format!("handfast-trust-check-{}", issued.serial);
        let stop = Arc::new(AtomicBool::new(false));
        let thread = std::thread::spawn({
            let (page, stop, config) = (page.clone(), stop.clone(), Arc::new(config));
            move || {
                for stream in listener.incoming().flatten() {
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                    let (page, config) = (page.clone(), config.clone());
                    std::thread::spawn(move || answer(stream, config, &page));
                }
            }
        });
        Ok(Self { root_pem, host, port, page, stop, thread: Some(thread) })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = std::net::TcpStream::connect(("127.0.0.1", self.port));
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn answer(mut stream: std::net::TcpStream, config: Arc<ServerConfig>, page: &str) {
    let _ = stream.set_read_timeout(Some(Duration::from_secs(10)));
    let Ok(mut tls) = ServerConnection::new(config) else { return };
    let mut tls = rustls::Stream::new(&mut tls, &mut stream);
    let mut request = [0; 4096];
    if tls.read(&mut request).is_ok_and(|length| length > 0) {
        let _ = write!(
            tls,
            "HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{page}",
            page.len()
        );
        tls.conn.send_close_notify();
        let _ = tls.flush();
    }
}

/// Connects with the program that reads this store.
pub fn try_store(server: &Server, store: &Store) -> (String, Answer) {
    let url = format!("https://{}:{}/", server.host, server.port);
    match store {
        Store::Debian | Store::Keychain | Store::Windows => ("curl".to_owned(), curl(server, &url)),
        Store::Nss { dir } if dir.ends_with(".pki/nssdb") => ("chromium".to_owned(), chromium(server, &url)),
        Store::Nss { .. } => {
            ("firefox".to_owned(), Answer::Untried("Firefox prints no page without a display"))
        }
        Store::Java { home } => ("java".to_owned(), java(server, &url, home)),
    }
}

/// Which kind a store is of.
pub fn kind(store: &Store) -> Kind {
    match store {
        Store::Debian | Store::Keychain | Store::Windows => Kind::System,
        Store::Nss { .. } => Kind::Nss,
        Store::Java { .. } => Kind::Java,
    }
}

fn curl(server: &Server, url: &str) -> Answer {
    let Some(path) = program("curl") else { return Answer::NotPresent };
    let mut command = Command::new(path);
    // A ~/.curlrc might say to trust everybody, or nobody: it is not what is tried (-q, and that first).
    command.args(["-q", "--silent", "--show-error", "--max-time", "20", "--noproxy", "*"]);
    command.args(["--resolve", &format!("{}:{}:127.0.0.1", server.host, server.port), url]);
    // These replace the store that is to be tried.
    for name in ["CURL_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR"] {
        command.env_remove(name);
    }
    // 60: the peer's certificate cannot be authenticated with the known authorities; 51 in old versions.
    fetch(server, command, |code, _, _| matches!(code, 60 | 51))
}

fn chromium(server: &Server, url: &str) -> Answer {
    let names = ["chromium", "chromium-browser", "google-chrome"];
    let Some(path) = names.iter().find_map(|name| program(name)) else { return Answer::NotPresent };
    let profile = match private_folder() {
        Ok(folder) => folder,
        Err(error) => return Answer::Broken(error.to_string()),
    };
    let mut command = Command::new(path);
    command.args([
        "--headless",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--disable-dev-shm-usage",
        "--no-proxy-server",
    ]);
    // Its sandbox does not start as root.
    #[cfg(unix)]
    if std::fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0) {
        command.arg("--no-sandbox");
    }
    command.arg(format!("--host-resolver-rules=MAP {} 127.0.0.1", server.host));
    command.arg(format!("--user-data-dir={}", profile.path().display())).args(["--dump-dom", url]);
    // A page of its own in the place of ours, or the error of the handshake: -200 to -299 are ERR_CERT_...
    let refused = |code, out: &str, err: &str| {
        let said = err.contains("ERR_CERT") || err.contains("net_error -2") || out.contains("ERR_CERT");
        said || (code == 0 && out.contains("<html") && out.contains("ssl"))
    };
    match fetch(server, command, refused) {
        Answer::Refuses(_) => Answer::Refuses("it does not trust the certificate".to_owned()),
        answer => answer,
    }
}

const PROGRAM: &str = r#"
import java.net.URI;
import java.net.http.*;
public class HandfastTrustCheck {
    public static void main(String[] args) throws Exception {
        try {
            HttpResponse<String> answer = HttpClient.newHttpClient().send(
                HttpRequest.newBuilder(URI.create(args[0])).build(), HttpResponse.BodyHandlers.ofString());
            System.out.println(answer.body());
        } catch (java.io.IOException refused) {
            System.err.println(refused.getMessage());
            System.exit(1);
        }
    }
}
"#;

fn java(server: &Server, url: &str, home: &Path) -> Answer {
    let java = home.join("bin/java");
    if !java.exists() {
        return Answer::NotPresent;
    }
    let folder = match private_folder() {
        Ok(folder) => folder,
        Err(error) => return Answer::Broken(error.to_string()),
    };
    let source = folder.path().join("HandfastTrustCheck.java");
    let hosts = folder.path().join("hosts");
    let written = certs::write_public(&source, PROGRAM.as_bytes())
        .and_then(|()| certs::write_public(&hosts, format!("127.0.0.1 {}\n", server.host).as_bytes()));
    if let Err(error) = written {
        return Answer::Broken(error.to_string());
    }
    let mut command = Command::new(java);
    command.arg(format!("-Djdk.net.hosts.file={}", hosts.display())).arg(&source).arg(url);
    // These may replace the store that is to be tried.
    for name in ["JAVA_TOOL_OPTIONS", "JDK_JAVA_OPTIONS", "_JAVA_OPTIONS"] {
        command.env_remove(name);
    }
    fetch(server, command, |code, _, err| code == 1 && (err.contains("PKIX") || err.contains("certif")))
}

/// Runs a client and looks for our page in what it prints. Without the page, `refused` says from the exit code,
/// stdout and stderr whether it was the certificate that it did not like.
fn fetch(server: &Server, mut command: Command, refused: impl Fn(i32, &str, &str) -> bool) -> Answer {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(error) => return Answer::Broken(error.to_string()),
    };
    let out = child.stdout.take().map(reader);
    let err = child.stderr.take().map(reader);
    let begun = Instant::now();
    let ended = loop {
        match child.try_wait() {
            Ok(Some(status)) => break Some(status),
            Ok(None) if begun.elapsed() < PATIENCE => std::thread::sleep(Duration::from_millis(50)),
            _ => {
                let _ = child.kill();
                let _ = child.wait();
                break None;
            }
        }
    };
    let Some(status) = ended else {
        return Answer::Broken(format!("no answer within {} seconds", PATIENCE.as_secs()));
    };
    let text =
        |reader: Option<JoinHandle<String>>| reader.and_then(|thread| thread.join().ok()).unwrap_or_default();
    let (out, err) = (text(out), text(err));
    if out.contains(&server.page) {
        return Answer::Accepts;
    }
    // curl says why first and advises afterwards; others end with the reason.
    let mut lines = err.lines().map(str::trim).filter(|line| !line.is_empty());
    let words = lines.clone().find(|line| line.starts_with("curl:")).or_else(|| lines.next_back());
    let words: String = words.unwrap_or_default().chars().take(200).collect();
    match status.code() {
        Some(code) if refused(code, &out, &err) => Answer::Refuses(words),
        _ => Answer::Broken(format!("{status} {words}").trim_end().to_owned()),
    }
}

fn reader(mut from: impl Read + Send + 'static) -> JoinHandle<String> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = (&mut from).take(4 << 20).read_to_end(&mut bytes);
        String::from_utf8_lossy(&bytes).into_owned()
    })
}
