//! `handfast ca crl --serve`: the lists over HTTP, renewed when something is revoked elsewhere.

#![allow(clippy::unwrap_used, reason = "a test stops where something is not as expected")]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

fn handfast(dir: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_handfast"));
    command.current_dir(dir).args(arguments).stdout(Stdio::null());
    command
}

struct Served(Child);

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn get(address: &str, path: &str) -> (String, Vec<u8>) {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").unwrap();
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
    (String::from_utf8(bytes[..end].to_vec()).unwrap(), bytes[end + 4..].to_vec())
}

#[test]
fn a_served_list_names_a_certificate_soon_after_it_was_revoked() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    assert!(handfast(dir, &["ca", "init"]).stderr(Stdio::null()).status().unwrap().success());
    assert!(handfast(dir, &["cert", "issue", "web.test"]).status().unwrap().success());
    let mut served = Served(
        handfast(dir, &["ca", "crl", "--serve", "127.0.0.1:0"]).stderr(Stdio::piped()).spawn().unwrap(),
    );
    let mut line = String::new();
    BufReader::new(served.0.stderr.take().unwrap()).read_line(&mut line).unwrap();
    let address = line.split("http://").nth(1).unwrap().split('/').next().unwrap().to_owned();

    let (head, first) = get(&address, "/intermediate-1.crl");
    assert!(head.starts_with("HTTP/1.1 200") && head.contains("application/pkix-crl"), "{head}");
    assert!(get(&address, "/ledger.sqlite").0.starts_with("HTTP/1.1 404"));
    assert!(get(&address, "/../root/root-1.key").0.starts_with("HTTP/1.1 404"));

    assert!(handfast(dir, &["cert", "revoke", "web.test"]).status().unwrap().success());
    let start = Instant::now();
    while get(&address, "/intermediate-1.crl").1 == first {
        assert!(start.elapsed() < Duration::from_secs(20), "the list was not renewed");
        std::thread::sleep(Duration::from_millis(200));
    }
    std::fs::write(dir.join("new.crl"), get(&address, "/intermediate-1.crl").1).unwrap();
    let text = Command::new("openssl")
        .args(["crl", "-inform", "DER", "-noout", "-text", "-in", "new.crl"])
        .current_dir(dir)
        .output()
        .unwrap();
    assert!(String::from_utf8_lossy(&text.stdout).contains("Serial Number"));
}
