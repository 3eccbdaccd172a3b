//! Asks with curl (or with bare bytes), and brings what two servers may name differently to one form: ports,
//! the server's name in pages made by it, the order of JSON.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use testkit::pki::Pki;
use testkit::program::Program;

use super::case::{Raw, Request};

/// An answer in a form that can be compared.
#[derive(Debug, Default, PartialEq)]
pub struct Answer {
    /// 0 when there was none.
    pub status: u16,
    /// Headers that matter, by lower-case name; several values are joined by `, `.
    pub headers: BTreeMap<String, String>,
    /// The body.
    pub body: String,
}

/// Headers that are compared by value, beside all `x-` ones.
const COMPARED: [&str; 14] = [
    "location",
    "content-type",
    "content-length",
    "content-range",
    "content-encoding",
    "cache-control",
    "www-authenticate",
    "strict-transport-security",
    "access-control-allow-origin",
    "allow",
    "accept-ranges",
    "grpc-status",
    "upgrade",
    "content-security-policy",
];
/// Headers of which only the presence is compared.
const PRESENT: [&str; 3] = ["etag", "last-modified", "expires"];

/// Asks one request.
pub fn ask(request: &Request, ports: &[u16], folder: &Path, pki: &Pki) -> Answer {
    match &request.raw {
        Some(raw) => parse(&bare(raw, ports), ports, true),
        None => parse(&curl(request, ports, folder, pki), ports, false),
    }
}

fn bare(raw: &Raw, ports: &[u16]) -> Vec<u8> {
    let mut stream = TcpStream::connect(("127.0.0.1", ports[raw.port - 1])).unwrap();
    stream.set_read_timeout(Some(Duration::from_millis(1500))).unwrap();
    // A server may refuse before it has read everything.
    let _ = stream.write_all(raw.send.replace('\n', "\r\n").as_bytes());
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    answer
}

fn curl(request: &Request, ports: &[u16], folder: &Path, pki: &Pki) -> Vec<u8> {
    let mut url = request.url.clone();
    for (n, port) in ports.iter().enumerate() {
        url = url.replace(&format!("PORT{}", n + 1), &port.to_string());
    }
    let mut command = Command::new("curl");
    command.args(["--silent", "--insecure", "--include", "--max-time", "10", "--path-as-is"]);
    command.args(["--connect-to", "::127.0.0.1:", "--noproxy", "*", "-A", "corpus"]);
    command.arg(if request.http2 { "--http2" } else { "--http1.1" });
    if let Some(method) = &request.method {
        if method == "HEAD" {
            command.arg("--head");
        } else {
            command.args(["-X", method]);
        }
    }
    for header in &request.headers {
        command.args(["-H", header]);
    }
    if let Some(body) = &request.body {
        command.args(["--data-binary", body]);
    }
    if request.body_bytes > 0 {
        let file = folder.join("request.body");
        std::fs::write(&file, vec![b'x'; request.body_bytes]).unwrap();
        // Without this curl waits a second for a `100 Continue` that nobody owes it.
        command.args(["-H", "Expect:", "--data-binary", &format!("@{}", file.display())]);
    }
    if let Some(name) = &request.client {
        command.arg("--cert").arg(pki.file(&format!("{name}.crt")));
        command.arg("--key").arg(pki.file(&format!("{name}.key")));
    }
    if request.proxy_protocol {
        command.arg("--haproxy-protocol");
    }
    command.args(&request.curl).arg(url);
    Program::run(&mut command, b"", Duration::from_secs(15)).stdout
}

/// Takes an answer apart. `bare`: nobody has undone its chunks yet.
fn parse(whole: &[u8], ports: &[u16], bare: bool) -> Answer {
    let mut answer = Answer::default();
    let mut rest = whole;
    let mut head;
    // `100 Continue` and the like come before the answer.
    loop {
        let Some(end) = rest.windows(4).position(|window| window == b"\r\n\r\n") else { return answer };
        head = String::from_utf8_lossy(&rest[..end]).into_owned();
        rest = &rest[end + 4..];
        answer.status = head.split_whitespace().nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
        if answer.status >= 200 || answer.status == 101 {
            break;
        }
    }
    for line in head.lines().skip(1) {
        let Some((name, value)) = line.split_once(':') else { continue };
        let name = name.to_ascii_lowercase();
        let value = if COMPARED.contains(&name.as_str()) || name.starts_with("x-") {
            without_ports(value.trim(), ports)
        } else if PRESENT.contains(&name.as_str()) {
            "present".to_owned()
        } else {
            continue;
        };
        answer.headers.entry(name).and_modify(|all| *all += &format!(", {value}")).or_insert(value);
    }
    let chunked = bare && head.to_ascii_lowercase().contains("transfer-encoding: chunked");
    let body = if chunked { unchunk(rest) } else { rest.to_vec() };
    answer.body = match String::from_utf8(body) {
        Ok(text) => plain(&without_ports(&text, ports)),
        Err(error) => format!(
            "{} bytes {:?}",
            error.as_bytes().len(),
            &error.as_bytes()[..16.min(error.as_bytes().len())]
        ),
    };
    // Pages and echoes that were brought to one form have a length of their own.
    if answer.body.contains("SERVER") || answer.body.starts_with("echo") {
        answer.headers.remove("content-length");
    }
    answer
}

fn without_ports(text: &str, ports: &[u16]) -> String {
    let mut text = text.to_owned();
    for (n, port) in ports.iter().enumerate() {
        text = text.replace(&port.to_string(), &format!("PORT{}", n + 1));
    }
    text
}

/// The server's name in a page of its own, and the application's echo, in one form.
fn plain(text: &str) -> String {
    for name in ["nginx/1.22.1", "nginx", "handfast"] {
        let footer = format!("<hr><center>{name}</center>");
        if text.contains(&footer) {
            return text.replace(&footer, "SERVER");
        }
    }
    let Ok(Value::Object(seen)) = serde_json::from_str::<Value>(text) else { return text.to_owned() };
    if !seen.contains_key("peer_certificates") {
        return text.to_owned();
    }
    let mut headers: Vec<String> = seen["headers"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|pair| {
            format!("{}: {}", pair[0].as_str().unwrap_or_default(), pair[1].as_str().unwrap_or_default())
        })
        .collect();
    headers.sort();
    format!(
        "echo {} {} {} body={} certificates={}\n{}",
        seen["method"].as_str().unwrap_or_default(),
        seen["path"].as_str().unwrap_or_default(),
        seen["version"].as_str().unwrap_or_default(),
        seen["body_bytes"],
        seen["peer_certificates"],
        headers.join("\n")
    )
}

fn unchunk(mut rest: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    while let Some(end) = rest.windows(2).position(|window| window == b"\r\n") {
        let size = std::str::from_utf8(&rest[..end]).unwrap_or_default();
        let size = usize::from_str_radix(size.split(';').next().unwrap_or_default().trim(), 16).unwrap_or(0);
        if size == 0 || rest.len() < end + 2 + size {
            break;
        }
        body.extend_from_slice(&rest[end + 2..end + 2 + size]);
        rest = rest.get(end + 2 + size + 2..).unwrap_or_default();
    }
    body
}
