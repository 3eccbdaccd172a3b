//! `curl`, as a user runs it: with a certificate, and reading the answer.

use std::process::Command;
use std::time::Duration;

use super::{Attempt, Narrow, Seen, Version, number_after};
use crate::find_program;
use crate::program::Program;

pub(super) fn connect(attempt: &Attempt<'_>) -> Option<Seen> {
    let mut command = Command::new(find_program("curl")?);
    let name = attempt.server_name.unwrap_or("app.test");
    let version = match attempt.version {
        Version::Tls10 => "1.0",
        Version::Tls11 => "1.1",
        Version::Tls12 => "1.2",
        Version::Tls13 => "1.3",
    };
    command.env("OPENSSL_CONF", concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/clients/openssl-weak.cnf"));
    command.args(["-q", "-s", "-S", "-v", "-i", "-k", "--noproxy", "*"]);
    command.args(["--max-time", &attempt.limit.as_secs().to_string()]);
    command.args([&format!("--tlsv{version}"), "--tls-max", version]);
    command.args(["--resolve", &format!("{name}:{}:{}", attempt.addr.port(), attempt.addr.ip())]);
    let ciphers = match attempt.narrow {
        Narrow::No => "DEFAULT@SECLEVEL=0",
        Narrow::NothingInCommon => "AES128-SHA:AES256-SHA@SECLEVEL=0",
    };
    command.args(["--ciphers", ciphers]);
    if attempt.narrow == Narrow::NothingInCommon && attempt.version == Version::Tls13 {
        command.args(["--curves", "ffdhe2048"]);
    }
    command.arg(match attempt.alpn {
        [] => "--no-alpn",
        protocols if protocols.contains(&"h2") => "--http2",
        _ => "--http1.1",
    });
    if let Some(credential) = attempt.credential {
        command.arg("--cert").arg(&credential.chain).arg("--key").arg(&credential.key);
    }
    command.arg(format!("https://{name}:{}{}", attempt.addr.port(), attempt.curl_path));
    let finished = Program::run(&mut command, b"", attempt.limit + Duration::from_secs(2));
    let text = finished.all();
    let unable = ["could not load", "unable to set", "unable to use", "failed setting"]
        .iter()
        .find(|marker| text.contains(**marker))
        .map(|marker| (*marker).to_owned());
    Some(Seen { alert: curl_alert(&text), read: finished.out(), unable, text })
}

/// curl prints OpenSSL's words for an alert, and with -v its number where it was seen.
fn curl_alert(text: &str) -> Option<u8> {
    let line = text.lines().find(|line| line.contains("TLS alert, ") && line.contains("(IN)"))?;
    // "* TLSv1.3 (IN), TLS alert, unknown CA (560):" - the number is level * 256 + description.
    let code: u16 = line.rsplit_once('(')?.1.trim_end_matches([')', ':']).parse().ok()?;
    let alert = (code & 0xff) as u8;
    // close_notify is no refusal.
    if alert == 0 { number_after(text, "SSL alert number ") } else { Some(alert) }
}
