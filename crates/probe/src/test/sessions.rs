//! Rows about sessions and virtual hosts: a ticket or a connection of one must not open another.

use std::sync::Arc;
use std::time::Duration;

use rustls_pki_types::ServerName;

use super::check::{Check, Spec};
use super::{Context, Expect, Row};
use crate::attempt::{Client, End, Outcome, Tickets, Version, attempt};
use crate::identity::ClientIdentity;

pub(super) async fn row(context: &Context, spec: &Spec, version: Option<Version>) -> Row {
    match spec.check {
        Check::EarlyData => early_data(context, spec).await,
        Check::Misdirected => misdirected(context, spec, version).await,
        Check::RefusedResumed => refused_resumed(context, spec, version).await,
        _ => resumed_elsewhere(context, spec, version).await,
    }
}

/// A client that keeps its tickets, after one connection to `name`.
async fn after_one(
    context: &Context,
    name: &str,
    version: Option<Version>,
    client: Option<ClientIdentity>,
) -> Result<(Client, Arc<Tickets>, Outcome), String> {
    let tickets = Arc::new(Tickets::default());
    let planned = context.attempt_at(name, version, client);
    let client = Client::new(&planned, Some(tickets.clone())).map_err(|e| e.to_string())?;
    let outcome = client.run(context.endpoint(), &planned).await;
    // TLS 1.3 tickets may come a moment after the answer.
    tokio::time::sleep(Duration::from_millis(20)).await;
    Ok((client, tickets, outcome))
}

fn in_words(outcome: &Outcome) -> String {
    let how = if outcome.facts.resumed { " (session resumed)" } else { " (full handshake)" };
    match outcome.handshake {
        true => format!("{}{how}", outcome.end),
        false => outcome.end.to_string(),
    }
}

async fn refused_resumed(context: &Context, spec: &Spec, version: Option<Version>) -> Row {
    if context.plan.expect != Expect::Mutual {
        return Row::skipped(spec, version, "only a mutual site refuses a client without a certificate");
    }
    let name = context.plan.target.name.clone();
    let (client, tickets, first) = match after_one(context, &name, version, None).await {
        Ok(made) => made,
        Err(reason) => return Row::skipped(spec, version, reason),
    };
    if tickets.is_empty() {
        let good = context.judge(version, &first).is_refused();
        return Row::said(spec, version, format!("{}, no ticket given", first.end), good);
    }
    let outcome = client.run(context.endpoint(), &context.attempt(version, None)).await;
    Row::said(spec, version, in_words(&outcome), context.judge(version, &outcome).is_refused())
}

async fn resumed_elsewhere(context: &Context, spec: &Spec, version: Option<Version>) -> Row {
    let Some(other) = context.plan.target.other_name.clone() else {
        return Row::skipped(spec, version, "needs a second host of this server: --other-servername NAME");
    };
    if context.plan.expect != Expect::Mutual {
        return Row::skipped(spec, version, "only a mutual site refuses a client without a certificate");
    }
    let mut last = None;
    let mut tickets_seen = false;
    // A ticket got without a certificate, then one got with the good pair.
    for identity in [None, context.good.clone()] {
        let (client, tickets, _) = match after_one(context, &other, version, identity).await {
            Ok(made) => made,
            Err(reason) => return Row::skipped(spec, version, reason),
        };
        tickets_seen |= !tickets.is_empty();
        client.set_identity(None);
        let outcome = client.run(context.endpoint(), &context.attempt(version, None)).await;
        if !context.judge(version, &outcome).is_refused() {
            return Row::said(spec, version, in_words(&outcome), false);
        }
        last = Some(outcome);
    }
    if !tickets_seen {
        return Row::skipped(spec, version, format!("{other} gives no session tickets"));
    }
    let observed = last.as_ref().map_or_else(String::new, in_words);
    Row::said(spec, version, observed, true)
}

/// Server name of this host, `Host` header of the other.
async fn misdirected(context: &Context, spec: &Spec, version: Option<Version>) -> Row {
    let Some(other) = context.plan.target.other_name.clone() else {
        return Row::skipped(spec, version, "needs a second host of this server: --other-servername NAME");
    };
    if context.plan.target.http_path.is_none() {
        return Row::skipped(spec, version, "the server does not speak HTTP");
    }
    // The dangerous direction: the connection is made to the other host, where less may be asked for.
    let mut planned = context.attempt(version, context.good.clone());
    planned.name.clone_from(&other);
    let outcome = attempt(context.endpoint(), &planned).await;
    let end = match outcome.end {
        // Whatever ended the handshake says nothing about the request.
        end if !outcome.handshake => {
            return Row::skipped(spec, version, format!("no handshake with {other}: {end}"));
        }
        end => end,
    };
    // 421 says it; another status only where the same path is answered otherwise on a connection of its own.
    let good = match end.status() {
        Some(421) => true,
        status => end.is_cut() || (end.may_refuse() && context.usual_status(version) != status),
    };
    Row::ended(spec, version, &end, good)
}

/// rustls tells, before it sends anything, whether the ticket that it holds allows early data.
async fn early_data(context: &Context, spec: &Spec) -> Row {
    if context.surveyed(Version::Tls13).is_none() {
        return Row::skipped(spec, None, "the server does not speak TLS 1.3");
    }
    let name = context.plan.target.name.clone();
    let version = Some(Version::Tls13);
    let (client, tickets, outcome) = match after_one(context, &name, version, context.good.clone()).await {
        Ok(made) => made,
        Err(reason) => return Row::skipped(spec, None, reason),
    };
    if let End::Unreachable(why) | End::Local(why) = outcome.end {
        return Row::skipped(spec, None, why);
    }
    if tickets.is_empty() {
        return Row::said(spec, None, "not offered (no session tickets)", true);
    }
    let mut config = client.config().clone();
    config.enable_early_data = true;
    let Ok(server) = ServerName::try_from(name) else {
        return Row::skipped(spec, None, "not a server name");
    };
    match rustls::ClientConnection::new(Arc::new(config), server) {
        Ok(mut connection) => match connection.early_data() {
            Some(data) => Row::said(spec, None, format!("offered, up to {} bytes", data.bytes_left()), false),
            None => Row::said(spec, None, "not offered", true),
        },
        Err(error) => Row::skipped(spec, None, error.to_string()),
    }
}
