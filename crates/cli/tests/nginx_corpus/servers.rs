//! The servers of a case: the applications behind, and nginx or Handfast in a folder of its own.

use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use testkit::http_upstream::HttpUpstream;
use testkit::pki::Pki;
use testkit::program::Program;

use super::ask::Answer;
use super::case::{Case, Request};

/// Who serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Server {
    /// Debian's nginx.
    Nginx,
    /// `handfast serve nginx.conf`.
    Handfast,
    /// `handfast serve` of what `handfast config convert` prints.
    Converted,
}

/// The applications, which all cases share, and the certificates.
pub struct Backends {
    pub pki: Pki,
    plain: [HttpUpstream; 2],
    tls: HttpUpstream,
    mutual: HttpUpstream,
    closed: u16,
}

impl Backends {
    pub fn start() -> Self {
        let pki = Pki::new();
        let plain = [HttpUpstream::start(), HttpUpstream::start()];
        let tls = HttpUpstream::tls(server_config(&pki, false));
        let mutual = HttpUpstream::tls(server_config(&pki, true));
        Self { plain, tls, mutual, closed: testkit::free_port(), pki }
    }

    /// The ports by their placeholder.
    fn ports(&self) -> [(&'static str, u16); 5] {
        [
            ("{{APP1}}", self.plain[0].addr().port()),
            ("{{APP2}}", self.plain[1].addr().port()),
            ("{{APP_TLS}}", self.tls.addr().port()),
            ("{{APP_MUTUAL}}", self.mutual.addr().port()),
            ("{{APP_CLOSED}}", self.closed),
        ]
    }
}

fn server_config(pki: &Pki, mutual: bool) -> rustls::ServerConfig {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = rustls::ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .unwrap();
    let builder = if mutual {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(pki.file("clients.pem")).unwrap()).unwrap();
        let verifier = rustls::server::WebPkiClientVerifier::builder_with_provider(roots.into(), provider)
            .build()
            .unwrap();
        builder.with_client_cert_verifier(verifier)
    } else {
        builder.with_no_client_auth()
    };
    let chain = CertificateDer::pem_file_iter(&pki.server.chain).unwrap().map(Result::unwrap).collect();
    let mut config =
        builder.with_single_cert(chain, PrivateKeyDer::from_pem_file(&pki.server.key).unwrap()).unwrap();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    config
}

/// A server of a case that runs.
pub struct Stand<'b> {
    folder: tempfile::TempDir,
    program: Program,
    ports: Vec<u16>,
    backends: &'b Backends,
}

/// What nginx needs in `http` to run for any user, in any folder.
const SCRATCH: &str = "client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi; \
                       uwsgi_temp_path uwsgi; scgi_temp_path scgi;";
const STREAM_MODULE: &str = "/usr/lib/nginx/modules/ngx_stream_module.so";

impl<'b> Stand<'b> {
    /// Starts a server in a copy of the case's folder.
    pub fn start(case: &Case, server: Server, backends: &'b Backends) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        // nginx started by root gives its workers to another user, who must be able to read.
        readable(root, 0o755);
        let mut ports = Vec::new();
        let conf = std::fs::read_to_string(case.folder.join("nginx.conf")).unwrap();
        let count = (1..=9).filter(|n| conf.contains(&format!("{{{{PORT{n}}}}}"))).max().unwrap_or(1);
        ports.extend((0..count).map(|_| testkit::free_port()));
        let fill = |text: &str| {
            let mut text = text.to_owned();
            for (n, port) in ports.iter().enumerate() {
                text = text.replace(&format!("{{{{PORT{}}}}}", n + 1), &port.to_string());
            }
            for (name, port) in backends.ports() {
                text = text.replace(name, &port.to_string());
            }
            text.replace("{{DIR}}", &root.to_string_lossy())
        };
        copy(&case.folder, root, &fill);
        certificates(root, &backends.pki);
        let mut command = match server {
            Server::Nginx => nginx(root),
            Server::Handfast => {
                let mut command = Command::new(testkit::binary!());
                command.arg("serve").arg(root.join("nginx.conf"));
                command
            }
            Server::Converted => {
                let convert =
                    testkit::handfast::run(testkit::binary!(), root, &["config", "convert", "nginx.conf"]);
                assert_eq!(convert.code, Some(0), "{}: config convert:\n{}", case.name, convert.all());
                std::fs::write(root.join("handfast.yaml"), convert.stdout).unwrap();
                let mut command = Command::new(testkit::binary!());
                command.arg("serve").arg(root.join("handfast.yaml"));
                command
            }
        };
        let program = Program::start(command.current_dir(root).env("NO_COLOR", "1"));
        let mut stand = Self { folder, program, ports, backends };
        stand.wait(case, server);
        stand
    }

    fn wait(&mut self, case: &Case, server: Server) {
        let started = Instant::now();
        for port in self.ports.clone() {
            while TcpStream::connect(("127.0.0.1", port)).is_err() {
                let ended = self.program.ended();
                assert!(
                    ended.is_none() && started.elapsed() < Duration::from_secs(20),
                    "{}: {server:?} does not listen on {port} ({ended:?}):\n{}",
                    case.name,
                    self.program.output()
                );
                std::thread::sleep(Duration::from_millis(10));
            }
        }
    }

    /// Asks one request.
    pub fn ask(&self, request: &Request) -> Answer {
        let mut answer = super::ask::ask(request, &self.ports, self.folder.path(), &self.backends.pki);
        answer.body = answer.body.replace(&*self.folder.path().to_string_lossy(), "DIR");
        if std::env::var_os("CORPUS_LOG").is_some() {
            eprintln!("{request}\n{answer:?}\n{}", self.program.output());
        }
        answer
    }
}

fn nginx(root: &Path) -> Command {
    let file = root.join("nginx.conf");
    let text = std::fs::read_to_string(&file).unwrap();
    let text = if text.contains("http {") || text.contains("stream {") {
        text.replacen("http {", &format!("http {{ {SCRATCH}\n"), 1)
    } else {
        // A bare `server {}` stands in http, as Handfast reads it.
        format!("events {{ }}\nhttp {{ {SCRATCH}\n{text}\n}}\n")
    };
    let text = if text.contains("events {") { text } else { format!("events {{ }}\n{text}") };
    std::fs::write(&file, text).unwrap();
    let module = if Path::new(STREAM_MODULE).exists() {
        format!("load_module {STREAM_MODULE};")
    } else {
        String::new()
    };
    // One process in the foreground: the child that is killed is all there is.
    let main = format!("{module} daemon off; master_process off; pid nginx.pid;");
    let mut command = Command::new(testkit::find_program("nginx").unwrap());
    command.arg("-p").arg(root).args(["-e", "stderr", "-g", &main, "-c"]).arg(file);
    command
}

fn copy(from: &Path, to: &Path, fill: &dyn Fn(&str) -> String) {
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            std::fs::create_dir(&target).unwrap();
            readable(&target, 0o755);
            copy(&path, &target, fill);
        } else if path.extension().is_some_and(|extension| extension == "conf") {
            std::fs::write(&target, fill(&std::fs::read_to_string(&path).unwrap())).unwrap();
        } else {
            std::fs::copy(&path, &target).unwrap();
            readable(&target, 0o644);
        }
    }
}

/// The files that configurations name: everything that the test authority has, under the names of the contract.
fn certificates(root: &Path, pki: &Pki) {
    let files = [
        (pki.server.chain.clone(), "server.crt"),
        (pki.server.key.clone(), "server.key"),
        (pki.good.chain.clone(), "client.crt"),
        (pki.good.key.clone(), "client.key"),
        (pki.file("clients.pem"), "ca.crt"),
        (pki.file("clients.crl"), "ca.crl"),
        (pki.file("other.pem"), "other-ca.crt"),
        (pki.file("site.pem"), "upstream-ca.crt"),
    ];
    for (from, name) in files {
        std::fs::copy(from, root.join(name)).unwrap();
    }
}

fn readable(path: &Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}
