//! One handshake as a ladder: each step as it was seen on the wire or by rustls' hooks, with what was
//! offered and chosen. [`super::diagnosis`] then says what is wrong.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use certs::verify::{Options as VerifyOptions, Rejection, Trust, verify};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use serde::Serialize;
use tokio_rustls::TlsConnector;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate, X509Name};

use super::diagnosis::{self, Trouble};
use super::recording::{Recording, Tape};
use crate::alert::Alert;
use crate::attempt::{Application, Attempt, Client, End, Facts, Version, converse, facts_of};
use crate::dial::{DialError, Endpoint};
use crate::identity::ClientIdentity;
use crate::wire::handshake::{ClientHello, ServerHello};
use crate::wire::{handshake, names, record};

/// How to look at a server.
#[derive(Clone, Debug)]
pub struct Options {
    /// The server name to ask for.
    pub name: String,
    /// Protocols to offer; `http/1.1` when an answer over HTTP is wanted.
    pub alpn: Vec<String>,
    /// The client's certificate.
    pub client: Option<ClientIdentity>,
    /// The only version to offer.
    pub version: Option<Version>,
    /// Roots to judge the server's chain by; not judged when empty.
    pub roots: Vec<CertificateDer<'static>>,
    /// The path to request after the handshake; `None` for other protocols.
    pub http_path: Option<String>,
    /// Time for all of it.
    pub timeout: Duration,
}

/// How a step went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// It was seen, and is in order.
    Ok,
    /// It is where things went wrong.
    Failed,
    /// It did not take place, rightly (nobody asked for a client certificate).
    Absent,
    /// The handshake ended before.
    NotReached,
}

/// One rung of the ladder.
#[derive(Clone, Debug, Serialize)]
pub struct Step {
    /// A stable name, as in `server-hello`.
    pub id: &'static str,
    /// For people.
    pub title: &'static str,
    /// How it went.
    pub state: State,
    /// When it was seen, in milliseconds since the start.
    pub at_milliseconds: Option<f64>,
    /// What was seen: name and value.
    pub facts: Vec<(&'static str, String)>,
}

/// The whole handshake.
#[derive(Clone, Debug, Serialize)]
pub struct Ladder {
    /// The version of this format.
    pub version: u32,
    /// The address.
    pub target: String,
    /// The server name that was asked for.
    pub servername: String,
    /// The steps, in order; always all of them.
    pub steps: Vec<Step>,
    /// What is wrong, the first thing first.
    pub troubles: Vec<Trouble>,
}

/// Everything that was seen, before it is put into steps.
pub(super) struct Observed {
    pub(super) end: End,
    pub(super) dial: Option<DialError>,
    pub(super) handshake: bool,
    pub(super) facts: Facts,
    pub(super) server_hello: Option<ServerHello>,
    pub(super) server_alert: Option<Alert>,
    pub(super) rejection: Option<Rejection>,
    pub(super) received: Vec<u8>,
    pub(super) name: String,
    /// The only version that was offered.
    pub(super) only: Option<Version>,
}

/// Connects, watches and judges.
pub async fn climb(endpoint: &Endpoint, options: &Options) -> Ladder {
    let start = Instant::now();
    let tape = Arc::new(Mutex::new(Tape::default()));
    let mut observed = Observed {
        end: End::Silent,
        dial: None,
        handshake: false,
        facts: Facts::default(),
        server_hello: None,
        server_alert: None,
        rejection: None,
        received: Vec::new(),
        name: options.name.clone(),
        only: options.version,
    };
    let mut marks = Marks::default();
    let attempt = Attempt {
        version: options.version,
        name: options.name.clone(),
        alpn: options.alpn.clone(),
        client: options.client.clone(),
        application: match &options.http_path {
            Some(path) => Application::Http { host: options.name.clone(), path: path.clone() },
            None => Application::Tcp,
        },
        timeout: options.timeout,
    };
    match Client::new(&attempt, None) {
        Ok(client) => {
            let work = watch(endpoint, &attempt, &client, tape.clone(), &mut observed, &mut marks);
            // What was seen until then stays in `observed`.
            let _ = tokio::time::timeout(options.timeout, work).await;
            client.observe(&mut observed.facts);
        }
        Err(error) => observed.end = End::Local(error.to_string()),
    }
    let tape = tape.lock().map(|mut held| std::mem::take(&mut *held)).unwrap_or_default();
    judge(&mut observed, &tape, options);
    let troubles = diagnosis::troubles(&observed);
    let steps = steps(&observed, &tape, &marks, start, &troubles);
    Ladder { version: 1, target: endpoint.to_string(), servername: options.name.clone(), steps, troubles }
}

/// When the steps happened that leave no mark elsewhere.
#[derive(Default)]
struct Marks {
    address: Option<String>,
    connected: Option<Instant>,
    finished: Option<Instant>,
    answered: Option<Instant>,
}

async fn watch(
    endpoint: &Endpoint,
    attempt: &Attempt,
    client: &Client,
    tape: Arc<Mutex<Tape>>,
    observed: &mut Observed,
    marks: &mut Marks,
) {
    let tcp = match endpoint.connect(attempt.timeout).await {
        Ok(tcp) => tcp,
        Err(error) => {
            observed.end = End::Unreachable(error.to_string());
            observed.dial = Some(error);
            return;
        }
    };
    marks.connected = Some(Instant::now());
    marks.address = tcp.peer_addr().ok().map(|address| address.to_string());
    let Ok(name) = ServerName::try_from(attempt.name.clone()) else {
        observed.end = End::Local(format!("'{}' is not a server name", attempt.name));
        return;
    };
    let connector = TlsConnector::from(Arc::new(client.config().clone()));
    let mut tls = match connector.connect(name, Recording::new(tcp, tape)).await {
        Ok(tls) => tls,
        Err(error) => {
            observed.end = End::from(error);
            return;
        }
    };
    marks.finished = Some(Instant::now());
    observed.handshake = true;
    observed.facts = facts_of(tls.get_ref().1);
    observed.end = converse(&mut tls, &attempt.application).await;
    marks.answered = Some(Instant::now());
}

/// Reads the tape and verifies the server's chain.
fn judge(observed: &mut Observed, tape: &Tape, options: &Options) {
    let clear = record::clear(&tape.received, false);
    let mut hellos = clear
        .messages
        .iter()
        .filter(|(kind, _)| *kind == 2)
        .filter_map(|(_, body)| handshake::server_hello(body));
    observed.server_hello = hellos.find(|hello| !hello.retry);
    observed.server_alert = observed.end.alert().or(clear.alert.map(|(_, alert)| alert));
    observed.received = tape.received.iter().take(64).copied().collect();
    if options.roots.is_empty() || observed.facts.chain.is_empty() {
        return;
    }
    if let (Ok(trust), Ok(name)) = (Trust::new(&options.roots), ServerName::try_from(options.name.as_str())) {
        let verify_options = VerifyOptions::server(UnixTime::now(), Some(&name));
        observed.rejection = verify(&observed.facts.chain, &trust, &verify_options).err();
    }
}

fn steps(observed: &Observed, tape: &Tape, marks: &Marks, start: Instant, troubles: &[Trouble]) -> Vec<Step> {
    let at = |when: Option<Instant>| {
        when.map(|when| (when.saturating_duration_since(start).as_secs_f64() * 10_000.0).round() / 10.0)
    };
    let facts = &observed.facts;
    let sent = record::clear(&tape.sent, observed.server_hello.as_ref().is_some_and(|h| h.version == 0x0304));
    let offer =
        sent.messages.iter().find(|(kind, _)| *kind == 1).and_then(|(_, body)| handshake::client_hello(body));
    let reached = |seen: bool| if seen { State::Ok } else { State::NotReached };
    let asked = facts.asked.as_ref();
    let request = match asked {
        Some(_) => State::Ok,
        None if observed.handshake => State::Absent,
        None => State::NotReached,
    };
    let mut list = vec![
        Step {
            id: "tcp",
            title: "TCP connection",
            state: reached(marks.connected.is_some()),
            at_milliseconds: at(marks.connected),
            facts: marks.address.iter().map(|address| ("connected to", address.clone())).collect(),
        },
        Step {
            id: "client-hello",
            title: "ClientHello",
            state: reached(offer.is_some()),
            at_milliseconds: at(tape.first_sent),
            facts: offer.as_ref().map(offered).unwrap_or_default(),
        },
        Step {
            id: "server-hello",
            title: "ServerHello",
            state: reached(observed.server_hello.is_some()),
            at_milliseconds: at(tape.first_received),
            facts: observed.server_hello.as_ref().map(|hello| chosen(hello, facts, tape)).unwrap_or_default(),
        },
        Step {
            id: "certificate",
            title: "Server certificate",
            state: reached(!facts.chain.is_empty()),
            at_milliseconds: at(facts.chain_at),
            facts: chain(&facts.chain, observed),
        },
        Step {
            id: "certificate-request",
            title: "Certificate request",
            state: request,
            at_milliseconds: at(facts.asked_at),
            facts: asked
                .map(|asked| {
                    let names: Vec<String> =
                        asked.authorities.iter().take(8).map(|der| name_of(der)).collect();
                    let more = asked.authorities.len().saturating_sub(names.len());
                    let mut list = vec![(
                        "authorities",
                        match names.is_empty() {
                            true => "none named: any may be tried".to_owned(),
                            false if more > 0 => format!("{} and {more} more", names.join("; ")),
                            false => names.join("; "),
                        },
                    )];
                    list.push(("signatures accepted", asked.schemes.join(" ")));
                    list
                })
                .unwrap_or_default(),
        },
        Step {
            id: "client-certificate",
            title: "Client certificate",
            state: match (asked, facts.could_sign) {
                (Some(_), Some(true)) => State::Ok,
                (Some(_), _) => State::Absent,
                (None, _) => request,
            },
            at_milliseconds: at(facts.asked_at),
            facts: match (asked, facts.could_sign) {
                (Some(_), Some(true)) => {
                    vec![("sent", "the certificate and a signature with its key".into())]
                }
                (Some(_), Some(false)) => {
                    vec![("not sent", "our key cannot sign in a way that the server accepts".into())]
                }
                (Some(_), None) => vec![("not sent", "we have none (--cert, --key)".into())],
                (None, _) if observed.handshake => vec![("not sent", "the server did not ask".into())],
                (None, _) => Vec::new(),
            },
        },
        Step {
            id: "key-exchange",
            title: "Key exchange",
            state: reached(observed.handshake || asked.is_some()),
            at_milliseconds: at(marks.finished.or(facts.asked_at)),
            facts: match (&facts.group, observed.handshake || asked.is_some()) {
                (group, true) => group
                    .iter()
                    .map(|group| ("group", group.clone()))
                    .chain([("signature", signature(facts))])
                    .collect(),
                _ => Vec::new(),
            },
        },
        Step {
            id: "finished",
            title: "Finished",
            state: reached(observed.handshake),
            at_milliseconds: at(marks.finished),
            facts: finished(observed),
        },
        Step {
            id: "application",
            title: "Application",
            state: reached(observed.end.is_accepted() || observed.end.status().is_some()),
            at_milliseconds: at(marks.answered),
            facts: match observed.handshake {
                true => vec![("answer", observed.end.to_string())],
                false => Vec::new(),
            },
        },
    ];
    for step in &mut list {
        if troubles.iter().any(|trouble| trouble.step == step.id) {
            step.state = State::Failed;
        }
    }
    if let Some(step) = list.iter_mut().rev().find(|step| step.state == State::Failed) {
        if let Some(alert) = observed.server_alert {
            step.facts.push(("alert received", format!("{alert}: {}", alert.meaning())));
        }
        if let Some((_, alert)) = sent.alert.filter(|(_, alert)| *alert != Alert(0)) {
            step.facts.push(("alert sent", format!("{alert}: {}", alert.meaning())));
        }
    }
    list
}

fn offered(hello: &ClientHello) -> Vec<(&'static str, String)> {
    // GREASE and signalling values say nothing to a person.
    let real = |number: &&u16| **number & 0x0f0f != 0x0a0a && **number != 0x00ff;
    let list = |numbers: &[u16], name: fn(u16) -> String| {
        numbers.iter().filter(real).map(|number| name(*number)).collect::<Vec<_>>().join(" ")
    };
    let mut out = vec![
        ("server name", hello.name.clone().unwrap_or_else(|| "none (an address has none)".into())),
        ("versions", list(&hello.versions, names::version)),
        ("ciphers", list(&hello.suites, names::suite)),
        ("groups", list(&hello.groups, names::group)),
        ("key shares", list(&hello.shares, names::group)),
        ("signatures", list(&hello.schemes, names::scheme)),
    ];
    out.retain(|(_, value)| !value.is_empty());
    if !hello.alpn.is_empty() {
        out.push(("protocols (ALPN)", hello.alpn.join(" ")));
    }
    out
}

fn chosen(hello: &ServerHello, facts: &Facts, tape: &Tape) -> Vec<(&'static str, String)> {
    let mut out = vec![("version", names::version(hello.version)), ("cipher", names::suite(hello.suite))];
    let exchange = record::clear(&tape.received, false)
        .messages
        .iter()
        .find(|(kind, _)| *kind == 12)
        .and_then(|(_, body)| handshake::key_exchange_group(body));
    if let Some(group) = hello.group.or(exchange) {
        out.push(("group", names::group(group)));
    }
    if let Some(protocol) = facts.alpn.as_ref().or(hello.alpn.as_ref()) {
        out.push(("protocol (ALPN)", protocol.clone()));
    }
    out
}

fn chain(list: &[CertificateDer<'static>], observed: &Observed) -> Vec<(&'static str, String)> {
    let Some((_, leaf)) = list.first().and_then(|der| X509Certificate::from_der(der).ok()) else {
        return Vec::new();
    };
    let names: Vec<String> = leaf
        .subject_alternative_name()
        .ok()
        .flatten()
        .map(|names| names.value.general_names.iter().take(12).map(general_name).collect())
        .unwrap_or_default();
    let mut out = vec![
        ("subject", leaf.subject().to_string()),
        ("issuer", leaf.issuer().to_string()),
        ("valid", format!("{} to {}", leaf.validity().not_before, leaf.validity().not_after)),
        ("names", if names.is_empty() { "none".into() } else { names.join(", ") }),
        ("certificates sent", list.len().to_string()),
    ];
    let weak = crate::test::weaknesses(&leaf);
    if !weak.is_empty() {
        out.push(("weaknesses", weak.join("; ")));
    }
    if let Some(rejection) = &observed.rejection {
        out.push(("verified", format!("no: {rejection}")));
    }
    out
}

fn general_name(name: &GeneralName<'_>) -> String {
    match name {
        GeneralName::DNSName(text) | GeneralName::URI(text) | GeneralName::RFC822Name(text) => {
            text.chars().filter(|c| !c.is_control()).collect()
        }
        GeneralName::IPAddress(bytes) => match (<[u8; 4]>::try_from(*bytes), <[u8; 16]>::try_from(*bytes)) {
            (Ok(v4), _) => std::net::Ipv4Addr::from(v4).to_string(),
            (_, Ok(v6)) => std::net::Ipv6Addr::from(v6).to_string(),
            _ => "an address of wrong length".into(),
        },
        other => other.to_string(),
    }
}

fn signature(facts: &Facts) -> String {
    match facts.unproven {
        true => "not checked: the server's RSA key is too small to trust any signature of it".into(),
        false => "the server proved that it holds the certificate's key".into(),
    }
}

fn finished(observed: &Observed) -> Vec<(&'static str, String)> {
    let facts = &observed.facts;
    if !observed.handshake {
        return Vec::new();
    }
    [
        facts.version.map(|version| ("version", version.to_string())),
        facts.suite.clone().map(|suite| ("cipher", suite)),
        facts.group.clone().map(|group| ("group", group)),
        facts.resumed.then(|| ("session", "resumed".to_owned())),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn name_of(der: &[u8]) -> String {
    match X509Name::from_der(der) {
        Ok((_, name)) => name.to_string(),
        Err(_) => "a name that cannot be read".into(),
    }
}
