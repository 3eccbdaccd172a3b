//! From what was seen to what is wrong: pure, so that each case can be tested without a network.

use certs::verify::Rejection;
use model::codes::{Code, Coded, findings, refusals};
use rustls_pki_types::CertificateDer;
use serde::Serialize;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::ladder::Observed;
use crate::alert::Alert;
use crate::attempt::End;
use crate::dial::DialError;
use crate::wire::names;

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Trouble {
    /// The step at which it shows.
    pub step: &'static str,
    /// The stable code.
    pub code: &'static str,
    /// What happened.
    pub what: String,
    /// Why, most likely.
    pub cause: String,
    /// What to do.
    pub fix: String,
}

impl Trouble {
    fn new(step: &'static str, code: &'static Code, what: impl Into<String>) -> Self {
        Self { step, code: code.id, what: what.into(), cause: code.cause.into(), fix: code.fix.into() }
    }

    fn because(mut self, cause: impl Into<String>, fix: impl Into<String>) -> Self {
        (self.cause, self.fix) = (cause.into(), fix.into());
        self
    }
}

/// Everything that is wrong, in the order of the steps.
pub(super) fn troubles(seen: &Observed) -> Vec<Trouble> {
    if let Some(error) = &seen.dial {
        return vec![unreachable(error)];
    }
    if seen.server_hello.is_none() {
        return vec![before_server_hello(seen)];
    }
    let mut list = Vec::new();
    if let Some(rejection) = &seen.rejection {
        let (cause, fix) = of_server(rejection, &seen.facts.chain, &seen.name);
        let trouble = Trouble::new("certificate", rejection.code, rejection.to_string());
        list.push(trouble.because(cause, fix));
    }
    list.extend(after_server_hello(seen));
    list
}

/// Cause and fix of a server certificate that does not verify. The codes' own words are for whoever checks a
/// client's; here the server is at fault, or the roots that it is judged by.
pub(crate) fn of_server(rejection: &Rejection, chain: &[CertificateDer<'_>], name: &str) -> (String, String) {
    let code = rejection.code;
    let issue = || format!("issue one for servers: handfast cert issue --server {name} --dns {name}");
    match code.id {
        id if id == refusals::UNKNOWN_ISSUER.id || id == refusals::INTERMEDIATE_MISSING.id => {
            let lone = chain.first().filter(|_| chain.len() == 1);
            match lone.and_then(|leaf| X509Certificate::from_der(leaf).ok()) {
                Some((_, leaf)) if leaf.subject().as_raw() == leaf.issuer().as_raw() => (
                    "the server shows a certificate that is signed by itself, and it is not among the trusted ones".into(),
                    format!("{}; or trust this very one: --ca FILE", issue()),
                ),
                Some((_, leaf)) => (
                    format!(
                        "the server sends its own certificate alone, without that of its issuer ({}): either it is an \
                         intermediate that the server must send too, or a root that is not trusted here",
                        leaf.issuer()
                    ),
                    "serve the whole chain (cat leaf.crt intermediate.crt > chain.crt; nginx: ssl_certificate chain.crt); \
                     if the issuer is the root itself, name it with --ca root.crt"
                        .into(),
                ),
                None => (
                    "the chain that the server sends leads to a root that is not trusted here, or one of its \
                     intermediates is missing"
                        .into(),
                    "name the root with --ca root.crt; check that each certificate of the chain is signed by the next: \
                     handfast cert inspect HOST:PORT"
                        .into(),
                ),
            }
        }
        id if id == refusals::WRONG_USAGE.id => (
            "the server uses a certificate that is not meant for servers, such as a client's (extended key usage)".into(),
            issue(),
        ),
        _ => (code.cause.into(), Coded::fix(rejection).unwrap_or_else(|| code.fix.into())),
    }
}

fn unreachable(error: &DialError) -> Trouble {
    let trouble = Trouble::new("tcp", &findings::NOT_REACHED, error.to_string());
    match error {
        DialError::Name(name, _) => trouble.because(
            "the name is misspelt, is not in DNS, or the resolver cannot be reached",
            format!("getent hosts {name}; check the spelling, DNS and /etc/hosts"),
        ),
        DialError::Connect(_, _, std::io::ErrorKind::ConnectionRefused) => trouble
            .because("nothing listens on that port", "start the server, or look who listens where: ss -ltnp"),
        DialError::Connect(_, _, std::io::ErrorKind::TimedOut) => trouble.because(
            "a firewall drops the packets, or the host is away",
            "check the way to it (security groups, NetworkPolicy): nc -vz -w 3 HOST PORT",
        ),
        DialError::Connect(..) => trouble,
    }
}

fn before_server_hello(seen: &Observed) -> Trouble {
    let step = "server-hello";
    if let Some(alert) = seen.server_alert {
        return by_alert(step, alert, seen);
    }
    if let Some(protocol) = protocol_of(&seen.received) {
        return Trouble::new(
            step,
            &findings::TARGET_NOT_TLS,
            format!("the server speaks {protocol}, not TLS"),
        )
        .because(
            match protocol {
                "HTTP" => "a plain HTTP port, or the ssl word is missing at listen",
                _ => "a protocol that begins in plain text and may turn to TLS later (STARTTLS)",
            },
            match protocol {
                "HTTP" => "nginx: listen 443 ssl; or call it by http://",
                _ => "use its TLS port, or openssl s_client -starttls PROTOCOL -connect HOST:PORT",
            },
        );
    }
    match &seen.end {
        End::NotTls(_) => {
            let start: String = seen.received.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
            Trouble::new(step, &findings::TARGET_NOT_TLS, format!("the answer is not TLS, it begins with {start}"))
        }
        End::Silent => Trouble::new(step, &findings::TARGET_SILENT, "the server takes the connection but says nothing"),
        End::Closed | End::Reset => {
            Trouble::new(step, &refusals::PEER_CLOSED, "the server closed the connection after our ClientHello").because(
                "it is no TLS server, wants a PROXY protocol header, refuses the server name without an alert, or has no healthy backend",
                "look at its log; try another name with --servername",
            )
        }
        end => failed(step, end),
    }
}

fn after_server_hello(seen: &Observed) -> Option<Trouble> {
    let asked = seen.facts.asked.is_some();
    let sent = seen.facts.could_sign == Some(true);
    if let Some(alert) = seen.server_alert.filter(|alert| *alert != Alert(0)) {
        let step = if asked { "client-certificate" } else { "finished" };
        return Some(by_alert(step, alert, seen));
    }
    let chosen = seen.server_hello.as_ref().map_or(0, |hello| hello.version);
    if !seen.handshake && chosen < 0x0303 {
        let what = format!("the server chose {}, which was not offered", names::version(chosen));
        let (cause, fix) = no_version(seen);
        return Some(Trouble::new("server-hello", &refusals::PROTOCOL_VERSION, what).because(cause, fix));
    }
    match &seen.end {
        end if end.is_accepted() => None,
        end if end.status().is_some() && asked && !sent => Some(no_certificate(end)),
        end if end.status().is_some() && asked => {
            Some(Trouble::new("client-certificate", &refusals::UNKNOWN_ISSUER, end.to_string()).because(
                "the server does not accept our certificate or its owner, or the application refuses this path to everybody",
                "compare its issuer with the authorities above (handfast cert inspect FILE); try another path: --http-path",
            ))
        }
        end if end.status().is_some() => {
            Some(Trouble::new("application", &findings::HANDSHAKE_FAILED, end.to_string()).because(
                "the application refused the request; TLS itself is in order",
                "look at the application's log",
            ))
        }
        End::Closed | End::Reset if asked && !sent => Some(no_certificate(&seen.end)),
        End::Closed | End::Reset if asked => {
            Some(Trouble::new("client-certificate", &refusals::PEER_CLOSED, seen.end.to_string()))
        }
        End::Closed | End::Reset => {
            Some(Trouble::new("application", &refusals::PEER_CLOSED, "the server closed without an answer"))
        }
        End::Silent if seen.handshake => Some(
            Trouble::new(
                "application",
                &findings::TARGET_SILENT,
                "the handshake is done, but nothing answers",
            )
            .because(
                "the application waits or hangs, or does not speak HTTP",
                "look at the application; for other protocols use --app tcp",
            ),
        ),
        end => Some(failed("finished", end)),
    }
}

/// Whatever has no name of its own. The code's general fix is this very command.
fn failed(step: &'static str, end: &End) -> Trouble {
    Trouble::new(step, &findings::HANDSHAKE_FAILED, end.to_string()).because(
        "the step above is where it ended; the server may know more",
        "read the server's log at this second; compare with: openssl s_client -connect HOST:PORT -msg",
    )
}

fn no_certificate(end: &End) -> Trouble {
    Trouble::new("client-certificate", &refusals::CLIENT_CERTIFICATE_MISSING, end.to_string()).because(
        "the server asked for a client certificate and we sent none (or the application refuses this path to everybody)",
        "handfast cert issue --client NAME; then again with --cert NAME.crt --key NAME.key",
    )
}

/// What an alert means at this point of the handshake.
fn by_alert(step: &'static str, alert: Alert, seen: &Observed) -> Trouble {
    let asked = seen.facts.asked.is_some();
    let sent = seen.facts.could_sign == Some(true);
    let what = format!("the server refused with {alert}: {}", alert.meaning());
    let code = match alert.0 {
        116 => &refusals::CLIENT_CERTIFICATE_MISSING,
        40 if asked && !sent => &refusals::CLIENT_CERTIFICATE_MISSING,
        40 | 71 => &refusals::NO_COMMON_CIPHER,
        42 => &refusals::BAD_CERTIFICATE,
        43 => &refusals::WRONG_USAGE,
        44 => &refusals::CERTIFICATE_REVOKED,
        45 => &refusals::CERTIFICATE_EXPIRED,
        48 => &refusals::UNKNOWN_ISSUER,
        49 => &refusals::IDENTITY_NOT_ALLOWED,
        51 => &refusals::BAD_SIGNATURE,
        70 => &refusals::PROTOCOL_VERSION,
        112 => &refusals::UNRECOGNIZED_NAME,
        120 => &refusals::NO_APPLICATION_PROTOCOL,
        _ => &refusals::PEER_ALERT,
    };
    let trouble = Trouble::new(step, code, what);
    match alert.0 {
        112 => {
            let fix = format!("ask for a name that is served there (--servername NAME), or configure {}", seen.name);
            let cause = trouble.cause.clone();
            trouble.because(cause, fix)
        }
        80 => trouble.because(
            "the server failed for a reason of its own, often a certificate or key that it could not load for this name",
            "read the server's log",
        ),
        40 | 71 if code == &refusals::NO_COMMON_CIPHER => trouble.because(
            "the server accepts none of the ciphers, groups and signatures that the ClientHello above offers: its list is too short or too old",
            "nginx: leave ssl_ciphers and ssl_ecdh_curve out, or name ECDHE with AES-GCM and X25519; OpenSSL knows more: openssl s_client -connect HOST:PORT",
        ),
        70 => {
            let (cause, fix) = no_version(seen);
            trouble.because(cause, fix)
        }
        45 => trouble.because(
            "the server speaks of our certificate: it has expired or is not valid yet, or one of the clocks is wrong",
            "renew our certificate: handfast cert renew NAME; compare the clocks on both sides: date -u",
        ),
        44 => trouble.because(
            "the server speaks of our certificate: its issuer has revoked it",
            "use another one: handfast cert issue --client NAME",
        ),
        43 => trouble.because(
            "the server speaks of our certificate: it is not meant for clients, or its key is of a kind that is not accepted there",
            "issue one for clients: handfast cert issue --client NAME",
        ),
        48 => trouble.because(
            "our certificate comes from an authority that the server does not trust, or our intermediate was not sent",
            "compare its issuer with the authorities that the server names; send leaf, then intermediates: cat leaf.crt intermediate.crt > chain.crt",
        ),
        42 if asked && !sent => trouble.because(
            "the server asked for a client certificate and we sent none (servers written in Go answer so)",
            "give a certificate: --cert client.crt --key client.key",
        ),
        _ => trouble,
    }
}

/// No version in common: the server is behind, or our offer was narrowed.
fn no_version(seen: &Observed) -> (String, String) {
    match seen.only {
        Some(only) => (
            format!("only {only} was offered, and the server does not speak it"),
            format!("offer both versions (without --{})", only.to_string().to_lowercase().replace(['.', ' '], "")),
        ),
        None => (
            "the server speaks only TLS 1.0 or 1.1 (or none of what was offered), which no client of today does".into(),
            "bring the server to TLS 1.2 or newer (nginx: ssl_protocols TLSv1.2 TLSv1.3), or update its TLS library".into(),
        ),
    }
}

/// A protocol that begins in plain text, by its first bytes.
pub(crate) fn protocol_of(bytes: &[u8]) -> Option<&'static str> {
    let known: [(&[u8], &str); 9] = [
        (b"HTTP/", "HTTP"),
        (b"<!DOCTYPE", "HTTP"),
        (b"<html", "HTTP"),
        (b"SSH-", "SSH"),
        (b"220", "SMTP or FTP"),
        (b"* OK", "IMAP"),
        (b"+OK", "POP3"),
        (b"-ERR", "Redis or POP3"),
        (b"RFB ", "VNC"),
    ];
    let found = known.iter().find(|(start, _)| bytes.starts_with(start)).map(|(_, name)| *name);
    // MySQL greets with a length, a sequence number of 0 and protocol 10.
    found.or_else(|| (bytes.get(3..5) == Some(&[0, 10])).then_some("MySQL"))
}
