//! The programs that fail: each is a client as people write it, built once, told everything by arguments.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use testkit::find_program;
use testkit::pki::Pki;
use testkit::program::Program;

const GO: &str = r#"package main
import ("crypto/tls"; "crypto/x509"; "fmt"; "net"; "os")
func main() {
  a := os.Args[1:]
  if len(a) == 1 { _, err := net.Listen("tcp", "127.0.0.1:" + a[0]); fmt.Println(err); return }
  if len(a) == 2 { _, err := tls.LoadX509KeyPair(a[0], a[1]); fmt.Println(err); return }
  pem, err := os.ReadFile(a[2]); if err != nil { fmt.Println(err); return }
  pool := x509.NewCertPool(); pool.AppendCertsFromPEM(pem)
  c := &tls.Config{ServerName: a[1], RootCAs: pool}
  if a[3] != "" { p, err := tls.LoadX509KeyPair(a[3], a[4]); if err != nil { fmt.Println(err); return }
    c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &p, nil } }
  if a[5] != "" { c.NextProtos = []string{a[5]} }
  if a[6] != "" { c.MaxVersion = tls.VersionTLS12 }
  s, err := tls.Dial("tcp", a[0], c)
  if err == nil { fmt.Fprint(s, "GET / HTTP/1.0\r\n\r\n"); _, err = s.Read(make([]byte, 1)) }
  fmt.Println(err)
}"#;

const JAVA: &str = r#"import javax.net.ssl.*; import java.io.*; import java.net.*; import java.security.*;
import java.security.cert.*;
public class T { public static void main(String[] a) throws Exception {
  try {
    if (a.length == 1) { new ServerSocket(Integer.parseInt(a[0]), 1, InetAddress.getLoopbackAddress()); return; }
    KeyStore ks = KeyStore.getInstance(KeyStore.getDefaultType()); ks.load(null, null);
    ks.setCertificateEntry("r", CertificateFactory.getInstance("X.509").generateCertificate(new FileInputStream(a[3])));
    TrustManagerFactory f = TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm()); f.init(ks);
    KeyManager[] keys = null;
    if (!a[4].isEmpty()) {
      KeyStore own = KeyStore.getInstance("PKCS12"); own.load(new FileInputStream(a[4]), "secret".toCharArray());
      KeyManagerFactory k = KeyManagerFactory.getInstance(KeyManagerFactory.getDefaultAlgorithm());
      k.init(own, "secret".toCharArray()); keys = k.getKeyManagers();
    }
    SSLContext c = SSLContext.getInstance("TLS"); c.init(keys, f.getTrustManagers(), null);
    Socket p = new Socket(a[0], Integer.parseInt(a[1]));
    SSLSocket s = (SSLSocket) c.getSocketFactory().createSocket(p, a[2], Integer.parseInt(a[1]), true);
    SSLParameters q = s.getSSLParameters(); q.setEndpointIdentificationAlgorithm("HTTPS");
    if (!a[5].isEmpty()) q.setApplicationProtocols(new String[] { a[5] });
    if (!a[6].isEmpty()) q.setProtocols(new String[] { "TLSv1.2" });
    s.setSSLParameters(q); s.startHandshake(); System.out.println(s.getInputStream().read());
  } catch (Exception e) { System.out.println(e); } } }"#;

const PYTHON: &str = "import socket, ssl, sys\n\
    host, port, name, ca, cert, key, alpn, old = sys.argv[1:]\n\
    c = ssl.create_default_context(cafile=ca)\n\
    if cert: c.load_cert_chain(cert, key)\n\
    if alpn: c.set_alpn_protocols([alpn])\n\
    if old: c.maximum_version = ssl.TLSVersion.TLSv1_2\n\
    s = c.wrap_socket(socket.create_connection((host, int(port)), timeout=5), server_hostname=name)\n\
    print(s.recv(1))\n";

const NODE: &str = "const [host, port, servername, ca, cert, key, alpn, old] = process.argv.slice(1); \
    const read = require('fs').readFileSync; const options = {host, port: +port, servername, ca: read(ca)}; \
    if (cert) { options.cert = read(cert); options.key = read(key) } \
    if (alpn) options.ALPNProtocols = [alpn]; if (old) options.maxVersion = 'TLSv1.2'; \
    const s = require('tls').connect(options, () => {}); \
    s.on('data', d => process.exit(0)); s.on('error', e => { console.log(e); process.exit(1) })";

/// One connection to be made. All that is not said is as it should be.
#[derive(Clone, Copy)]
pub struct Try<'a> {
    /// The host to connect to.
    pub host: &'a str,
    /// The port.
    pub port: u16,
    /// The name to ask for.
    pub name: &'a str,
    /// The roots, a file of the folder.
    pub ca: &'a str,
    /// The stem of the client's certificate and key.
    pub cert: &'a str,
    /// The one application protocol to offer.
    pub alpn: &'a str,
    /// Whether TLS 1.2 is the newest version offered.
    pub old: bool,
}

impl Try<'_> {
    /// To `localhost`, whose root is `site.pem`.
    pub fn to(port: u16) -> Self {
        Self { host: "127.0.0.1", port, name: "localhost", ca: "site.pem", cert: "", alpn: "", old: false }
    }
}

/// The folder and the built programs.
pub struct Programs {
    pub pki: Pki,
    go: Option<PathBuf>,
    java: Option<PathBuf>,
}

/// What programs printed, by their names.
pub type Said = Vec<(&'static str, String)>;

impl Programs {
    pub fn new() -> Self {
        let pki = Pki::new();
        let dir = pki.dir();
        std::fs::write(dir.join("t.go"), GO).unwrap();
        std::fs::write(dir.join("T.java"), JAVA).unwrap();
        let build = |program: &str, arguments: &[&str]| -> Option<PathBuf> {
            let path = find_program(program)?;
            let done = Command::new(&path).args(arguments).current_dir(dir).output().unwrap();
            assert!(done.status.success(), "{program}: {}", String::from_utf8_lossy(&done.stderr));
            Some(path)
        };
        let (go, java) = std::thread::scope(|scope| {
            let go = scope.spawn(|| build("go", &["build", "-o", "t", "t.go"]));
            let java = scope.spawn(|| build("javac", &["T.java"]).and_then(|_| find_program("java")));
            (go.join().unwrap(), java.join().unwrap())
        });
        Self { go: go.map(|_| dir.join("t")), java, pki }
    }

    pub fn dir(&self) -> &Path {
        self.pki.dir()
    }

    /// Runs a program by name (`go` and `java` are the built clients); `None` if it is not installed.
    pub fn say(
        &self,
        program: &'static str,
        arguments: &[&str],
        input: &str,
    ) -> Option<(&'static str, String)> {
        let mut command = match program {
            "go" => Command::new(self.go.as_ref()?),
            "java" => {
                let mut command = Command::new(self.java.as_ref()?);
                command.args(["-XX:TieredStopAtLevel=1", "-Xshare:auto", "-cp", ".", "T"]);
                command
            }
            other => Command::new(find_program(other)?),
        };
        command.args(arguments).current_dir(self.dir());
        // Whatever the program gives up on, it does within its own limits.
        let done = Program::run(&mut command, input.as_bytes(), Duration::from_secs(20));
        Some((program, done.all()))
    }

    /// What each of these programs says to one connection; those that are not installed say nothing.
    pub fn all_say(&self, programs: &[&'static str], one: Try<'_>) -> Said {
        std::thread::scope(|scope| {
            let running: Vec<_> =
                programs.iter().map(|program| scope.spawn(move || self.one(program, one))).collect();
            running.into_iter().filter_map(|thread| thread.join().unwrap()).collect()
        })
    }

    fn one(&self, program: &'static str, one: Try<'_>) -> Option<(&'static str, String)> {
        let (port, at) = (one.port.to_string(), format!("{}:{}", one.host, one.port));
        let (url, resolve) =
            (format!("https://{}:{port}/", one.name), format!("{}:{port}:{}", one.name, one.host));
        let old = if one.old { "1" } else { "" };
        let file =
            |end: &str| if one.cert.is_empty() { String::new() } else { format!("{}.{end}", one.cert) };
        let (cert, key, store) = (file("crt"), file("key"), file("p12"));
        let mut list: Vec<&str>;
        let mut input = "GET / HTTP/1.0\r\n\r\n";
        match program {
            "curl" => {
                list = vec!["-q", "-sS", "--max-time", "3", "--cacert", one.ca];
                if one.host == "127.0.0.1" {
                    list.extend(["--resolve", &resolve]);
                }
                if one.old {
                    list.extend(["--tls-max", "1.2"]);
                }
                if !cert.is_empty() {
                    list.extend(["--cert", &cert, "--key", &key]);
                }
                list.push(&url);
            }
            "openssl" => {
                list = vec!["s_client", "-connect", &at, "-servername", one.name, "-CAfile", one.ca];
                list.extend(["-verify_hostname", one.name, "-verify_return_error"]);
                if one.old {
                    list.push("-tls1_2");
                }
                if !one.alpn.is_empty() {
                    list.extend(["-alpn", one.alpn]);
                }
                if !cert.is_empty() {
                    list.extend(["-cert", &cert, "-key", &key, "-cert_chain", &cert]);
                }
                list.push("-ign_eof");
            }
            "gnutls-cli" => {
                list =
                    vec!["--x509cafile", one.ca, "--verify-hostname", one.name, "--sni-hostname", one.name];
                if one.old {
                    list.push("--priority=NORMAL:-VERS-TLS1.3");
                }
                if !one.alpn.is_empty() {
                    list.extend(["--alpn", one.alpn]);
                }
                if !cert.is_empty() {
                    list.extend(["--x509certfile", &cert, "--x509keyfile", &key]);
                }
                list.extend(["-p", &port, one.host]);
            }
            "python3" => {
                list = vec!["-c", PYTHON, one.host, &port, one.name, one.ca, &cert, &key, one.alpn, old];
                input = "";
            }
            "node" => list = vec!["-e", NODE, one.host, &port, one.name, one.ca, &cert, &key, one.alpn, old],
            "go" => list = vec![&at, one.name, one.ca, &cert, &key, one.alpn, old],
            _ => list = vec![one.host, &port, one.name, one.ca, &store, one.alpn, old],
        }
        self.say(program, &list, input)
    }

    /// What a program says that has nothing to connect to.
    pub fn run(&self, program: &'static str, arguments: &[&str]) -> Said {
        self.say(program, arguments, "").into_iter().collect()
    }
}
