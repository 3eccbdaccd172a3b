//! `gnutls-cli`.

use std::process::Command;
use std::time::{Duration, Instant};

use super::{Attempt, Narrow, Seen, Version, number_after};
use crate::find_program;
use crate::program::Program;

/// The last line before application data.
const DONE: &str = "- Simple Client Mode:\n\n";

pub(super) fn connect(attempt: &Attempt<'_>) -> Option<Seen> {
    let mut command = Command::new(find_program("gnutls-cli")?);
    let version = match attempt.version {
        Version::Tls10 => "+VERS-TLS1.0",
        Version::Tls11 => "+VERS-TLS1.1",
        Version::Tls12 => "+VERS-TLS1.2",
        Version::Tls13 => "+VERS-TLS1.3",
    };
    // %VERIFY_ALLOW_BROKEN lets it load and send weak certificates.
    let mut priority = format!("NORMAL:-VERS-ALL:{version}:%VERIFY_ALLOW_BROKEN");
    if attempt.version <= Version::Tls11 {
        priority += ":+SIGN-RSA-SHA1:+SIGN-ECDSA-SHA1:+SHA1";
    }
    if attempt.narrow == Narrow::NothingInCommon {
        priority += ":-KX-ALL:+RSA:-CIPHER-ALL:+AES-128-CBC:-GROUP-ALL:+GROUP-FFDHE2048";
        if attempt.version == Version::Tls13 {
            priority = format!("NORMAL:-VERS-ALL:{version}:-GROUP-ALL:+GROUP-FFDHE2048");
        }
    }
    command.args(["--no-ca-verification", "--priority", &priority]);
    command.args(["--port", &attempt.addr.port().to_string()]);
    match attempt.server_name {
        Some(name) => command.args(["--sni-hostname", name]),
        None => command.arg("--disable-sni"),
    };
    for protocol in attempt.alpn {
        command.args(["--alpn", protocol]);
    }
    if let Some(credential) = attempt.credential {
        command.arg("--x509certfile").arg(&credential.chain).arg("--x509keyfile").arg(&credential.key);
    }
    command.arg(attempt.addr.ip().to_string());
    let mut program = Program::start(&mut command);
    // Input before the handshake's end would be lost.
    let deadline = Instant::now() + attempt.limit;
    let mut sent = false;
    while program.ended().is_none() && Instant::now() < deadline {
        let out = program.stdout();
        if let Some(at) = out.find(DONE) {
            if !sent {
                program.write(attempt.send.as_bytes());
                sent = true;
            }
            if attempt.enough > 0 && out.len() >= at + DONE.len() + attempt.enough {
                break;
            }
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    let finished = program.finish(Duration::ZERO);
    let (out, text) = (finished.out(), finished.all());
    // It tells of the end in the same stream as the data.
    const END: &str = "- Peer has closed the GnuTLS connection\n";
    let read = out.split_once(DONE).map_or_else(String::new, |(_, data)| data.replace(END, ""));
    let unable = [
        "Error loading",
        "Error setting",
        "importing",
        "Syntax error at",
        "Some constraint limits were reached",
    ]
    .iter()
    .find(|marker| text.contains(**marker))
    .map(|marker| (*marker).to_owned());
    Some(Seen { alert: number_after(&text, "eceived alert ["), read, unable, text })
}
