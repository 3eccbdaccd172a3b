//! The layers of mutual TLS and of policy.

use model::codes::mesh as codes;
use model::mesh::policy::{Arrival, Reason, decide};
use model::mesh::{Tunnel, Workload};
use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::layers::{Layer, Leg, excepted, none_matched};
use crate::commands::mesh::look::{Look, Told};

fn status<'a>(told: &'a [Told], workload: &Workload) -> Option<&'a Value> {
    let own = told.iter().find(|one| one.pod == workload.name && one.namespace == workload.namespace)?;
    own.status.as_ref().ok()
}

/// Certificates and identities of both ends.
pub(super) fn tls(told: &[Told], source: &Workload, leg: &Leg, now: OffsetDateTime) -> Layer {
    const NAME: &str = "TLS, identity";
    let (true, Some(workload)) = (leg.secured, &leg.workload) else {
        return Layer::warn(NAME, "none: the call is plain text, and neither end proves who it is");
    };
    let mut said = Vec::new();
    let mut roots = Vec::new();
    for (whose, end) in [("caller", source), ("destination", workload)] {
        let Some(status) = status(told, end) else {
            return Layer::unknown(NAME, format!("the {whose}'s proxy was not asked"));
        };
        let certificate = &status["certificate"];
        if !certificate.is_object() {
            let what = format!("the {whose} has no certificate (yet)");
            return Layer::stopped(NAME, &codes::NO_CERTIFICATE, what);
        }
        let not_after = certificate["not_after"].as_str().unwrap_or_default();
        let ends = OffsetDateTime::parse(not_after, &Rfc3339).ok();
        if ends.is_some_and(|ends| ends <= now) {
            let what = format!("the {whose}'s certificate ended at {not_after}");
            return Layer::stopped(NAME, &codes::CERTIFICATE_ENDS, what);
        }
        let proven = certificate["identity"].as_str().unwrap_or_default();
        let expected = end.identity().map(|identity| identity.to_string()).unwrap_or_default();
        if proven != expected {
            let what = format!("the {whose} proves {proven}, and is expected to be {expected}");
            return Layer::stopped(NAME, &codes::PEER_IDENTITY, what);
        }
        said.push(format!("the {whose} proves {proven} until {not_after}"));
        let own = certificate["roots"].as_array().into_iter().flatten().filter_map(Value::as_str);
        roots.push(own.map(str::to_owned).collect::<Vec<_>>());
    }
    if let [caller, destination] = &roots[..]
        && !caller.iter().any(|root| destination.contains(root))
    {
        let layer = Layer::stopped(NAME, &codes::TRUST_DIFFERS, "the two ends trust no root in common");
        return layer
            .with(format!("caller: {}", caller.join(", ")))
            .with(format!("destination: {}", destination.join(", ")));
    }
    said.into_iter()
        .fold(Layer::ok(NAME, "both have good certificates, and trust a root in common"), Layer::with)
}

/// Whether the destination's proxy lets the call in.
pub(super) fn policy(look: &Look, told: &[Told], source: &Workload, leg: &Leg) -> Layer {
    const NAME: &str = "policy";
    let Some(workload) = leg.workload.as_ref().filter(|workload| workload.tunnel == Tunnel::Hbone) else {
        return Layer::warn(NAME, "none: the destination is not in the mesh, and lets in whom it wants");
    };
    let Some(pod) = look.pod(workload).filter(|pod| look.carrier(pod).is_some()) else {
        return Layer::warn(NAME, "none: the destination has no proxy that could decide");
    };
    let port = leg.target.port();
    if !leg.secured && excepted(pod).skip_inbound_ports.contains(&port) {
        return Layer::warn(
            NAME,
            format!("none: port {port} is excepted from what the destination's proxy carries"),
        );
    }
    let identity = source.identity().ok().filter(|_| leg.secured);
    let Some(from) = source.addresses.first().copied() else {
        return Layer::unknown(NAME, "the caller has no address yet");
    };
    let arrival = Arrival { identity: identity.as_ref(), source: from, address: leg.target.ip(), port };
    let decision = decide(&look.world, workload, &arrival);
    let rule = |key: &str| look.world.policy(key).and_then(|policy| policy.matching_rule(&arrival));
    let who = identity.as_ref().map_or_else(|| "an unproven caller".to_owned(), ToString::to_string);
    let layer = match (&decision.reason, decision.reason.code()) {
        (Reason::AllowedBy(key), _) => {
            let rule = rule(key).map(|rule| format!("rule {rule} of ")).unwrap_or_default();
            Layer::ok(NAME, format!("{who} is allowed by {rule}{key}"))
        }
        (Reason::DeniedBy(key), _) => {
            let rule = rule(key).map(|rule| format!("rule {rule} of ")).unwrap_or_default();
            Layer::stopped(NAME, &codes::DENIED, format!("{who} is denied by {rule}{key}"))
        }
        (Reason::NotAllowed { rules, policies }, _) => {
            Layer::stopped(NAME, &codes::NOT_ALLOWED, none_matched(*rules, policies))
                .with(format!("the caller is {who}"))
        }
        (reason, Some(code)) => Layer::stopped(NAME, code, reason.to_string()),
        (reason, None) => Layer::ok(NAME, reason.to_string()),
    };
    let tried = decision.would_refuse.iter().map(|what| format!("only tried, it would refuse: {what}"));
    let layer = tried.fold(layer, Layer::with);
    // It decides by what it was told, which may be older than what the cluster has.
    match status(told, workload).map(|status| &status["control_plane"]) {
        Some(control) if control["connected"] == false => {
            let since = control["since"].as_str().unwrap_or_default();
            layer.with(format!(
                "the destination's proxy has heard no control plane since {since}: it may know older policies"
            ))
        }
        _ => layer,
    }
}
