//! Rows about the handshake itself: old versions, weak ciphers, names, ALPN, slow and plain clients.

use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::check::{Check, Spec};
use super::{Context, Row};
use crate::attempt::{Answer, Application, End, Outcome, Version, attempt, converse};
use crate::wire::hello::{self, Hello, Reply};
use crate::wire::names;

/// What the contract allows for a handshake, and how long this client waits to see it kept.
const LIMIT: Duration = Duration::from_secs(10);
const PATIENCE: Duration = Duration::from_millis(12_500);

/// NULL, anonymous, export, RC4 and 3DES suites.
const WEAK_SUITES: &[u16] = &[
    0x0001, 0x0002, 0x0003, 0x0004, 0x0005, 0x0006, 0x0008, 0x000a, 0x0018, 0x001b, 0x003b, 0xc006, 0xc007,
    0xc008, 0xc010, 0xc011, 0xc012, 0xc015, 0xc016,
];

pub(super) async fn row(context: &Context, spec: &Spec, version: Option<Version>) -> Row {
    let name = &context.plan.target.name;
    match spec.check {
        Check::Current => current(context, spec),
        Check::Tls10 => hello_row(context, spec, Hello::legacy(hello::TLS10, name)).await,
        Check::Tls11 => hello_row(context, spec, Hello::legacy(hello::TLS11, name)).await,
        Check::NoCommonCipher => {
            let suites = WEAK_SUITES.to_vec();
            let hello = Hello { version: hello::TLS12, suites, groups: vec![29, 23, 24], name: name.clone() };
            hello_row(context, spec, hello).await
        }
        Check::NoCommonGroup => {
            // sect163k1; the suites need a group in TLS 1.2 and 1.3 alike.
            let suites = vec![0x1301, 0x1302, 0x1303, 0xc02b, 0xc02f];
            let version = match context.surveyed(Version::Tls13) {
                Some(_) => hello::TLS13,
                None => hello::TLS12,
            };
            hello_row(context, spec, Hello { version, suites, groups: vec![1], name: name.clone() }).await
        }
        Check::UnknownName => unknown_name(context, spec, version).await,
        Check::Alpn => alpn(context, spec, version).await,
        Check::PlainHttp => plain_http(context, spec).await,
        Check::Silence => slow(context, spec, false).await,
        _ => slow(context, spec, true).await,
    }
}

/// Whether a client of today finds a version and a cipher that it speaks; the survey knows.
fn current(context: &Context, spec: &Spec) -> Row {
    let spoken: Vec<String> = context.spoken().iter().map(ToString::to_string).collect();
    match (spoken.is_empty(), context.legacy.as_ref()) {
        (false, _) => Row::said(spec, None, spoken.join(" and "), true),
        (true, Some(old)) => {
            let observed = format!("only {} with {}", names::version(old.version), names::suite(old.suite));
            Row::said(spec, None, observed, false)
        }
        (true, None) => Row::said(spec, None, "no handshake", false),
    }
}

async fn hello_row(context: &Context, spec: &Spec, hello: Hello) -> Row {
    match hello.send(context.endpoint(), context.plan.timeout).await {
        Reply::Ended(end) => Row::ended(spec, None, &end, end.is_cut()),
        Reply::Chosen { version, suite } => {
            let observed = format!("accepted, {} with {}", names::version(version), names::suite(suite));
            Row::said(spec, None, observed, false)
        }
    }
}

async fn unknown_name(context: &Context, spec: &Spec, version: Option<Version>) -> Row {
    if !context.plan.names_enforced {
        let reason = "a default host may answer for any name; --names-enforced says that it must not";
        return Row::skipped(spec, version, reason);
    }
    let name = "unknown-name.handfast-test.invalid";
    let planned = context.attempt_at(name, version, context.good.clone());
    let Outcome { end, .. } = attempt(context.endpoint(), &planned).await;
    let good = end.is_cut() || (end.may_refuse() && context.usual_status(version) != end.status());
    let row = Row::ended(spec, version, &end, good);
    match end.status() {
        Some(_) => row.warning("the certificate of another name was shown before the request was refused"),
        None => row,
    }
}

async fn alpn(context: &Context, spec: &Spec, version: Option<Version>) -> Row {
    let mut planned = context.attempt(version, context.good.clone());
    planned.alpn = vec!["h2".into(), "http/1.1".into()];
    // Only the handshake's choice matters here.
    planned.application = Application::Tcp;
    let known = attempt(context.endpoint(), &planned).await;
    if known.handshake && known.facts.alpn.is_none() {
        return Row::skipped(spec, version, "the server does not use ALPN");
    }
    if !known.handshake {
        return Row::skipped(spec, version, "no handshake without a good client certificate: --cert, --key");
    }
    let mut planned = context.attempt(version, context.good.clone());
    planned.alpn = vec!["handfast-test/0".into()];
    let outcome = attempt(context.endpoint(), &planned).await;
    // Whatever follows a finished handshake is no answer to the protocols that were offered.
    Row::ended(spec, version, &outcome.end, outcome.end.is_cut() && !outcome.handshake)
}

/// A client that says `http://` where `https://` belongs.
async fn plain_http(context: &Context, spec: &Spec) -> Row {
    let application = Application::Http { host: context.plan.target.name.clone(), path: "/".into() };
    let work = async {
        match context.endpoint().connect(context.plan.timeout).await {
            Ok(mut tcp) => converse(&mut tcp, &application).await,
            Err(error) => End::from(error),
        }
    };
    // A server that sends an alert or closes is as safe as one with a sentence, only less kind.
    let end = tokio::time::timeout(context.plan.timeout, work).await.unwrap_or(End::Silent);
    match &end {
        End::Answered(Answer::Http(status, _)) if (300..400).contains(status) => {
            Row::said(spec, None, format!("redirected, HTTP {status}"), true)
        }
        End::Answered(Answer::Bytes) => {
            Row::said(spec, None, "refused, bytes that are not HTTP (a TLS alert)", true)
        }
        // The status of everybody's answer over TLS is content: it must be another one.
        end => {
            let usual = end.status().is_some() && context.usual_status(None) == end.status();
            Row::ended(spec, None, end, end.is_cut() || (end.may_refuse() && !usual))
        }
    }
}

/// A connection that says nothing, or a ClientHello byte by byte.
async fn slow(context: &Context, spec: &Spec, drips: bool) -> Row {
    let mut tcp = match context.endpoint().connect(context.plan.timeout).await {
        Ok(tcp) => tcp,
        Err(error) => return Row::ended(spec, None, &End::from(error), false),
    };
    let started = Instant::now();
    let bytes = Hello::legacy(hello::TLS12, &context.plan.target.name).encode();
    let mut drops = bytes.iter();
    let mut buffer = [0u8; 512];
    loop {
        let left = PATIENCE.saturating_sub(started.elapsed());
        if left.is_zero() {
            let seconds = PATIENCE.as_secs_f32();
            return Row::said(spec, None, format!("still open after {seconds:.1} s"), false);
        }
        let wait = if drips { left.min(Duration::from_millis(250)) } else { left };
        match tokio::time::timeout(wait, tcp.read(&mut buffer)).await {
            Ok(Ok(count)) if count > 0 => continue,
            Ok(_) => break,
            // The last byte is never sent: the hello must not become whole.
            Err(_) if drips && drops.len() > 1 => {
                if let Some(byte) = drops.next()
                    && tcp.write_all(&[*byte]).await.is_err()
                {
                    break;
                }
            }
            Err(_) => {}
        }
    }
    let seconds = started.elapsed().as_secs_f32();
    let good = started.elapsed() <= LIMIT + Duration::from_secs(2);
    Row::said(spec, None, format!("closed after {seconds:.1} s"), good)
}
