//! `openssl s_client`, and every other command of it.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::{Attempt, Narrow, Seen, Version, number_after};
use crate::find_program;
use crate::program::Program;

/// Runs a command of OpenSSL, its arguments parted by single spaces. Whether it succeeded, and all that it said.
pub fn run(dir: &Path, arguments: &str) -> (bool, String) {
    let mut command = Command::new("openssl");
    let finished =
        Program::run(command.current_dir(dir).args(arguments.split(' ')), b"", Duration::from_secs(60));
    (finished.code == Some(0), finished.all())
}

pub(super) fn connect(attempt: &Attempt<'_>) -> Option<Seen> {
    let mut command = Command::new(find_program("openssl")?);
    // -ign_eof: the end of stdin is not the end of the connection; s_client reads on after the handshake.
    command.args(["s_client", "-brief", "-ign_eof", "-connect", &attempt.addr.to_string()]);
    command.arg(match attempt.version {
        Version::Tls10 => "-tls1",
        Version::Tls11 => "-tls1_1",
        Version::Tls12 => "-tls1_2",
        Version::Tls13 => "-tls1_3",
    });
    match attempt.server_name {
        Some(name) => command.args(["-servername", name]),
        None => command.arg("-noservername"),
    };
    // Level 0 lets it offer old versions and load weak certificates, as an attacker's client would.
    let ciphers = match attempt.narrow {
        Narrow::No => "DEFAULT@SECLEVEL=0",
        Narrow::NothingInCommon => "AES128-SHA:AES256-SHA@SECLEVEL=0",
    };
    command.args(["-cipher", ciphers]);
    if attempt.narrow == Narrow::NothingInCommon && attempt.version == Version::Tls13 {
        command.args(["-groups", "ffdhe2048"]);
    }
    if !attempt.alpn.is_empty() {
        command.args(["-alpn", &attempt.alpn.join(",")]);
    }
    if let Some(credential) = attempt.credential {
        command.arg("-cert").arg(&credential.chain).arg("-key").arg(&credential.key);
        let chain = std::fs::read_to_string(&credential.chain).unwrap();
        // -cert takes the leaf of the file only; -cert_chain wants what is sent with it.
        if let Some((leaf, rest)) = chain.split_once("-----END CERTIFICATE-----\n")
            && !rest.is_empty()
        {
            let above = credential.chain.with_extension(format!("above-{}", leaf.len()));
            if !above.exists() {
                std::fs::write(&above, rest).unwrap();
            }
            command.arg("-cert_chain").arg(above);
        }
    }
    let mut program = Program::start(&mut command);
    program.write(attempt.send.as_bytes());
    let enough = attempt.enough;
    let deadline = std::time::Instant::now() + attempt.limit;
    while program.ended().is_none() && std::time::Instant::now() < deadline {
        if enough > 0 && program.stdout().len() >= enough {
            break;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    let finished = program.finish(Duration::ZERO);
    let (read, text) = (finished.out(), finished.all());
    let unable =
        ["unable to load", "Could not read", "no protocols available", "Error finding", "error setting"]
            .iter()
            .find(|marker| text.contains(**marker))
            .map(|marker| (*marker).to_owned());
    Some(Seen { alert: number_after(&text, "SSL alert number "), read, unable, text })
}
