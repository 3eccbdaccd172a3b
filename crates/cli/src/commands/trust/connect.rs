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

use certs::Issued;
use certs::formats::pem;
use model::codes;
use rustls::pki_types::PrivateKeyDer;
use rustls::{ServerConfig, ServerConnection};

use super::stores::{Kind, Store, program};
use crate::failure::Failure;

/// How long a client may take; a browser's first start is slow.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a client did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It fetched our page.
    Accepts,
    /// It refused, with its last words.
    Refuses(String),
    /// There is no such program.
    NotPresent,
    /// It cannot be tried, and why.
    Untried(&'static str),
}

/// A server that answers every request with one page, until it is dropped.
pub struct Server {
    port: u16,
    page: String,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Starts on a free port of 127.0.0.1 with a certificate for localhost.
    pub fn start(issued: &Issued) -> Result<Self, Failure> {
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
        Ok(Self { port, page, stop, thread: Some(thread) })
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
    let url = format!("https://localhost:{}/", server.port);
    match store {
        Store::Debian { .. } | Store::Keychain | Store::Windows => ("curl".to_owned(), curl(server, &url)),
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
        Store::Debian { .. } | Store::Keychain | Store::Windows => Kind::System,
        Store::Nss { .. } => Kind::Nss,
        Store::Java { .. } => Kind::Java,
    }
}

fn curl(server: &Server, url: &str) -> Answer {
    let Some(path) = program("curl") else { return Answer::NotPresent };
    let mut command = Command::new(path);
    command.args(["--silent", "--show-error", "--max-time", "20", "--noproxy", "*", url]);
    // These replace the store that is to be tried.
    for name in ["CURL_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR"] {
        command.env_remove(name);
    }
    fetch(server, command)
}

fn chromium(server: &Server, url: &str) -> Answer {
    let names = ["chromium", "chromium-browser", "google-chrome"];
    let Some(path) = names.iter().find_map(|name| program(name)) else { return Answer::NotPresent };
    let profile = std::env::temp_dir().join(format!("{}-{}", server.page, std::process::id()));
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
    command.arg(format!("--user-data-dir={}", profile.display())).args(["--dump-dom", url]);
    let answer = match fetch(server, command) {
        Answer::Refuses(words) if words.contains("ERR_CERT") || words.is_empty() => {
            Answer::Refuses("it does not trust the certificate".to_owned())
        }
        answer => answer,
    };
    let _ = std::fs::remove_dir_all(profile);
    answer
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
    let folder = std::env::temp_dir().join(format!("{}-{}-java", server.page, std::process::id()));
    let source = folder.join("HandfastTrustCheck.java");
    let written =
        certs::create_private_folder(&folder).and_then(|()| certs::write_public(&source, PROGRAM.as_bytes()));
    if let Err(error) = written {
        return Answer::Refuses(error.to_string());
    }
    let mut command = Command::new(java);
    command.arg(&source).arg(url).env_remove("JAVA_TOOL_OPTIONS");
    let answer = fetch(server, command);
    let _ = std::fs::remove_dir_all(folder);
    answer
}

/// Runs a client and looks for our page in what it prints.
fn fetch(server: &Server, mut command: Command) -> Answer {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(error) => return Answer::Refuses(error.to_string()),
    };
    let out = child.stdout.take().map(reader);
    let err = child.stderr.take().map(reader);
    let begun = Instant::now();
    let ended = loop {
        match child.try_wait() {
            Ok(Some(_)) => break true,
            Ok(None) if begun.elapsed() < PATIENCE => std::thread::sleep(Duration::from_millis(50)),
            _ => {
                let _ = child.kill();
                let _ = child.wait();
                break false;
            }
        }
    };
    if !ended {
        return Answer::Refuses(format!("no answer within {} seconds", PATIENCE.as_secs()));
    }
    let text =
        |reader: Option<JoinHandle<String>>| reader.and_then(|thread| thread.join().ok()).unwrap_or_default();
    let (out, err) = (text(out), text(err));
    if out.contains(&server.page) {
        return Answer::Accepts;
    }
    // curl says why first and advises afterwards; others end with the reason.
    let mut lines = err.lines().map(str::trim).filter(|line| !line.is_empty());
    let words = lines.clone().find(|line| line.starts_with("curl:")).or_else(|| lines.next_back());
    let words = words.unwrap_or_default();
    Answer::Refuses(words.chars().take(200).collect())
}

fn reader(mut from: impl Read + Send + 'static) -> JoinHandle<String> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = (&mut from).take(4 << 20).read_to_end(&mut bytes);
        String::from_utf8_lossy(&bytes).into_owned()
    })
}
