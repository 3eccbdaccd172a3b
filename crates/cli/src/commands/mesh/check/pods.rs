//! Rows about the pods of the mesh: that each has a proxy, and what the proxies say. Pure.

use controller::names::NODE;
use controller::netpol::evaluate::{Connection, End, Rules, Verdict, Way};
use model::codes::Code;
use model::codes::mesh as codes;
use model::mesh::{HBONE_PORT, Tunnel};
use serde_json::Value;
use time::format_description::well_known::Rfc3339;
use time::{Duration, OffsetDateTime};

use super::control::few;
use super::gather::Facts;
use super::report::{Row, Verdict as Found};
use crate::commands::mesh::look::{self, Told};

/// A clock may differ so much; certificates begin five minutes in the past.
const TOLERANCE: i64 = 120;
/// Renewed at about half of its life, a certificate with less than this part of it left was not renewed.
const LEAST: i32 = 4;

pub(super) fn rows(facts: &Facts) -> Vec<Row> {
    let mut rows = vec![injected(facts)];
    rows.extend(nodes(facts));
    if facts.proxies.is_empty() {
        rows.push(Row::skipped(
            "proxies",
            "no pod has a proxy: kubectl label namespace NAME handfast.dev/mesh=enabled",
        ));
        return rows;
    }
    rows.push(each(facts, "proxies", "answer, and hear the control plane", &codes::PROXY_SILENT, connected));
    rows.push(each(
        facts,
        "redirection",
        "have their connections redirected, both ways",
        &codes::NOT_REDIRECTED,
        redirected,
    ));
    rows.push(each(
        facts,
        "certificates",
        "have good certificates",
        &codes::CERTIFICATE_ENDS,
        |told, status| certificate(status, told.asked),
    ));
    rows.push(clocks(facts));
    rows.push(roots(facts));
    rows.push(network_policies(facts));
    rows
}

fn injected(facts: &Facts) -> Row {
    const ID: &str = "pods";
    let without = facts.look.without_proxy(None);
    let names = without
        .iter()
        .map(|pod| format!("{}/{}: made before the label", look::namespace(pod), look::name(pod)));
    let uncarried = facts.proxies.iter().filter_map(|told| Some((told, told.uncarried?)));
    let uncarried: Vec<_> = uncarried
        .map(|(told, why)| (format!("{}/{}: {}", told.namespace, told.pod, why.why()), why.code()))
        .collect();
    let code = match (without.first(), uncarried.first()) {
        (None, None) => {
            let all = facts.proxies.len();
            return Row::ok(ID, format!("all {all} pods of labelled namespaces have their proxy"));
        }
        (None, Some((_, code))) => code,
        (Some(_), _) => &codes::NOT_INJECTED,
    };
    let count = without.len() + uncarried.len();
    let names = names.chain(uncarried.iter().map(|(what, _)| what.clone()));
    Row::fail(ID, code, format!("{count} pods of the mesh have no proxy")).with(names)
}

/// Whether every node has its proxy: labelled pods do not start where it is missing.
fn nodes(facts: &Facts) -> Option<Row> {
    const ID: &str = "nodes";
    let status = match &facts.nodes {
        Ok(None) => return None,
        Ok(Some(set)) => set.status.as_ref()?,
        Err(why) => return Some(Row::skipped(ID, format!("the DaemonSet {NODE} cannot be read: {why}"))),
    };
    let (ready, wanted) = (status.number_ready, status.desired_number_scheduled);
    Some(match ready == wanted {
        true => Row::ok(ID, format!("all {wanted} nodes have their proxy")),
        false => {
            Row::fail(ID, &codes::NODE_AWAY, format!("the proxies of {ready} of {wanted} nodes are ready"))
        }
    })
}

/// What is wrong with one pod: how badly, and why.
type Wrong = Option<(Found, String)>;

/// One row for what is asked of each proxy. Who did not answer is said in the first of them only.
fn each(
    facts: &Facts,
    id: &'static str,
    good: &str,
    code: &'static Code,
    judge: impl Fn(&Told, &Value) -> Wrong,
) -> Row {
    let (mut fine, mut failed, mut warned, mut unknown) = (0, Vec::new(), Vec::new(), Vec::new());
    for told in &facts.proxies {
        let place = format!("{}/{}", told.namespace, told.pod);
        match &told.status {
            Err(why) if id == "proxies" => failed.push(format!("{place}: {why}")),
            Err(_) => unknown.push(place),
            Ok(status) => match judge(told, status) {
                None => fine += 1,
                Some((Found::Fail, why)) => failed.push(format!("{place}: {why}")),
                Some((Found::Skipped, why)) => unknown.push(format!("{place}: {why}")),
                Some((_, why)) => warned.push(format!("{place}: {why}")),
            },
        }
    }
    let row = match (failed.is_empty(), warned.is_empty(), fine) {
        (false, ..) => Row::fail(
            id,
            code,
            format!("{} of {} are not as they have to be", failed.len(), facts.proxies.len()),
        ),
        (true, false, _) => {
            Row::warn(id, code, format!("{} of {} need a look", warned.len(), facts.proxies.len()))
        }
        (true, true, 0) => Row::skipped(id, "no proxy could be asked"),
        // Whoever was not asked is not fine.
        (true, true, _) if !unknown.is_empty() => {
            Row::skipped(id, format!("{fine} {good}; the others could not be asked"))
        }
        (true, true, _) => Row::ok(id, format!("{fine} {good}")),
    };
    let unknown = (!unknown.is_empty()).then(|| format!("not asked: {}", few(&unknown)));
    row.with(failed).with(warned).with(unknown)
}

fn connected(_told: &Told, status: &Value) -> Wrong {
    let control = &status["control_plane"];
    let since = control["since"].as_str().unwrap_or_default();
    if control["connected"] != true {
        let error = control["error"].as_str().unwrap_or("no reason was given");
        return Some((Found::Fail, format!("it hears no control plane since {since}: {error}")));
    }
    if status["known"] != true {
        return Some((Found::Fail, "the control plane has not told it of its own workload".to_owned()));
    }
    let lost = control["not_understood"]
        .as_u64()
        .unwrap_or_else(|| control["not_understood"].as_array().map_or(0, |all| all.len() as u64));
    (lost > 0).then(|| {
        (Found::Warn, format!("{lost} resources were not understood: {}", codes::RESOURCE_REFUSED.id))
    })
}

fn redirected(_told: &Told, status: &Value) -> Wrong {
    let redirection = &status["redirection"];
    match redirection["in_force"].as_bool() {
        Some(true) => None,
        Some(false) => Some((
            Found::Fail,
            format!(
                "{} rules for what it calls, {} for what calls it",
                redirection["outbound_rules"], redirection["inbound_rules"]
            ),
        )),
        None => Some((Found::Skipped, redirection["error"].as_str().unwrap_or("it does not say").to_owned())),
    }
}

fn certificate(status: &Value, now: OffsetDateTime) -> Wrong {
    let certificate = &status["certificate"];
    let date = |name: &str| OffsetDateTime::parse(certificate[name].as_str()?, &Rfc3339).ok();
    let (Some(begins), Some(ends)) = (date("not_before"), date("not_after")) else {
        return Some((Found::Fail, "it has no certificate (yet)".to_owned()));
    };
    let text = certificate["not_after"].as_str().unwrap_or_default();
    if ends <= now {
        return Some((Found::Fail, format!("its certificate ended at {text}")));
    }
    ((ends - now) < (ends - begins) / LEAST).then(|| {
        (Found::Warn, format!("its certificate ends at {text}, and should have been renewed by now"))
    })
}

fn clocks(facts: &Facts) -> Row {
    const ID: &str = "clocks";
    let ahead = match &facts.ahead {
        Ok(Some(ahead)) => *ahead,
        Ok(None) => return Row::skipped(ID, "the API server tells no time"),
        Err(why) => return Row::skipped(ID, format!("the API server was not asked: {why}")),
    };
    let mut largest = 0;
    let mut wrong = Vec::new();
    let mut asked = 0;
    for told in facts.control_planes.iter().chain(&facts.proxies) {
        let Ok(status) = &told.status else { continue };
        let Some(own) = status["time"].as_str().and_then(|text| OffsetDateTime::parse(text, &Rfc3339).ok())
        else {
            continue;
        };
        asked += 1;
        // Both were compared with this machine's, so that its own error is none of theirs.
        let differs = (own - told.asked + Duration::seconds(ahead)).whole_seconds();
        largest = largest.max(differs.abs());
        if differs.abs() > TOLERANCE {
            let side = if differs > 0 { "ahead of" } else { "behind" };
            wrong.push(format!(
                "node {} (pod {}/{}): {} s {side} the API server",
                told.node,
                told.namespace,
                told.pod,
                differs.abs()
            ));
        }
    }
    if asked == 0 {
        return Row::skipped(ID, "nobody has told his time");
    }
    match wrong.is_empty() {
        false => Row::fail(
            ID,
            &codes::CLOCK_DIFFERS,
            format!("{} of {asked} differ by more than {TOLERANCE} s", wrong.len()),
        )
        .with(wrong),
        true if ahead.abs() > TOLERANCE => Row::warn(
            ID,
            &codes::CLOCK_DIFFERS,
            format!("this machine's clock is {ahead} s ahead of the API server's"),
        ),
        true => Row::ok(ID, format!("{asked} differ by {largest} s at most from the API server's")),
    }
}

/// Proxies that trust other roots than the rest.
fn roots(facts: &Facts) -> Row {
    const ID: &str = "trusted-roots";
    let mut sets: Vec<(Vec<String>, Vec<String>)> = Vec::new();
    for told in &facts.proxies {
        let Some(roots) =
            told.status.as_ref().ok().and_then(|status| status["certificate"]["roots"].as_array())
        else {
            continue;
        };
        let roots: Vec<String> = roots.iter().filter_map(|root| Some(root.as_str()?.to_owned())).collect();
        let place = format!("{}/{}", told.namespace, told.pod);
        match sets.iter_mut().find(|(known, _)| *known == roots) {
            Some((_, who)) => who.push(place),
            None => sets.push((roots, vec![place])),
        }
    }
    match &sets[..] {
        [] => Row::skipped(ID, "no proxy has told its roots"),
        [(roots, who)] => Row::ok(ID, format!("{} proxies trust the same {} roots", who.len(), roots.len())),
        // Whoever trusts no root of the other cannot speak with him.
        sets => {
            let apart =
                sets.iter().any(|(a, _)| sets.iter().any(|(b, _)| !a.iter().any(|root| b.contains(root))));
            let said = sets.iter().map(|(roots, who)| format!("{} roots: {}", roots.len(), few(who)));
            let what = format!("proxies trust {} different sets of roots", sets.len());
            match apart {
                true => Row::fail(ID, &codes::TRUST_DIFFERS, format!("{what}, some without one in common"))
                    .with(said),
                false => Row::warn(ID, &codes::TRUST_DIFFERS, what).with(said),
            }
        }
    }
}

/// Policies that let in the application's port and forgot that tunnels come at another.
fn network_policies(facts: &Facts) -> Row {
    const ID: &str = "network-policies";
    let policies = match &facts.look.policies {
        Ok(policies) => policies,
        Err(why) => return Row::skipped(ID, format!("they cannot be listed: {why}")),
    };
    let rules = Rules { policies, namespaces: &facts.look.listed.objects.namespaces };
    let members: Vec<_> = facts
        .look
        .world
        .workloads()
        .filter(|workload| workload.tunnel == Tunnel::Hbone)
        .filter_map(|workload| Some((workload, facts.look.pod(workload)?)))
        .collect();
    let mut wrong = Vec::new();
    for (workload, pod) in &members {
        let end = |pod| End { pod: Some(pod), address: workload.addresses.first().copied() };
        let judge = |peer: &model::mesh::Workload, peer_pod, port| {
            let from = End { pod: Some(peer_pod), address: peer.addresses.first().copied() };
            rules.judge(&Connection { from, to: end(*pod), port }, Way::Ingress)
        };
        let others = || members.iter().filter(|(other, _)| other.uid != workload.uid);
        // A pod that nobody may call at all is meant to be so; one that somebody may call, but not through the mesh, is not.
        let ports: Vec<u16> = workload.services.values().flatten().map(|port| port.target).collect();
        let open: Vec<_> = others()
            .filter(|(other, pod)| {
                ports.iter().any(|port| judge(other, *pod, *port).passes())
                    && !judge(other, *pod, HBONE_PORT).passes()
            })
            .collect();
        let Some((caller, caller_pod)) = open.first() else { continue };
        if let Verdict::Blocked { policies, .. } = judge(caller, *caller_pod, HBONE_PORT) {
            wrong.push(format!(
                "{}/{}: {} pods may call its application and not port {HBONE_PORT}, as {}/{}; by {}",
                workload.namespace,
                workload.name,
                open.len(),
                caller.namespace,
                caller.name,
                policies.join(", ")
            ));
        }
    }
    wrong.sort();
    match wrong.is_empty() {
        true => Row::ok(
            ID,
            format!("none of {} keeps tunnels (port {HBONE_PORT}) from whom it lets call", policies.len()),
        ),
        false => Row::fail(
            ID,
            &codes::NETWORK_POLICY_BLOCKS,
            format!("{} pods cannot be called through the mesh", wrong.len()),
        )
        .with(wrong),
    }
}
