//! Rows about the control plane, its webhook and the cluster's objects. Pure.

use std::collections::{BTreeMap, BTreeSet};

use controller::names::{MESH, SYSTEM_NAMESPACE};
use model::codes::mesh as codes;
use model::mesh::ServiceName;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;

use super::gather::Facts;
use super::report::Row;

pub(super) fn rows(facts: &Facts) -> Vec<Row> {
    let mut rows = vec![deployed(facts), reachable(facts), versions(facts), kinds(facts)];
    rows.extend(webhook(facts));
    rows.push(trust(facts));
    rows.push(objects(facts));
    rows
}

fn deployed(facts: &Facts) -> Row {
    const ID: &str = "control-plane";
    let Some(deployment) = &facts.look.control_plane else {
        return Row::fail(
            ID,
            &codes::CONTROL_PLANE_WRONG,
            format!("there is no Deployment {SYSTEM_NAMESPACE}/{MESH}"),
        )
        .fix("handfast mesh install --apply");
    };
    let wanted = deployment.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
    let status = deployment.status.as_ref();
    let ready = status.and_then(|status| status.ready_replicas).unwrap_or_default();
    let what = format!("{ready} of {wanted} replicas are ready");
    match ready {
        0 => Row::fail(ID, &codes::CONTROL_PLANE_WRONG, what),
        ready if ready < wanted => Row::warn(ID, &codes::CONTROL_PLANE_WRONG, what),
        _ if wanted == 1 => {
            Row::ok(ID, format!("{what}; with one alone, no pod can be made while it restarts"))
        }
        _ => Row::ok(ID, what),
    }
}

fn reachable(facts: &Facts) -> Row {
    const ID: &str = "replicas";
    if facts.control_planes.is_empty() {
        return Row::skipped(ID, "no pod of the control plane runs");
    }
    let failed: Vec<String> = facts
        .control_planes
        .iter()
        .filter_map(|one| Some(format!("{}: {}", one.pod, one.status.as_ref().err()?)))
        .collect();
    if !failed.is_empty() {
        return Row::fail(ID, &codes::CONTROL_PLANE_WRONG, "not all replicas answer").with(failed);
    }
    let silent = facts.control_planes.iter().filter_map(|one| {
        let kind = one.status.as_ref().ok()?["silent"].as_str()?;
        Some(format!("{}: nothing of any {kind} for more than a minute; it lets no proxy in", one.pod))
    });
    let silent: Vec<String> = silent.collect();
    if !silent.is_empty() {
        return Row::warn(ID, &codes::CONTROL_PLANE_WRONG, "not all replicas hear the API server")
            .with(silent);
    }
    let said = facts.control_planes.iter().filter_map(|one| {
        let status = one.status.as_ref().ok()?;
        let proxies = status["proxies"].as_array().map_or(0, Vec::len);
        Some(format!("{}: generation {}, {proxies} proxies", one.pod, status["generation"]))
    });
    Row::ok(ID, format!("{} answer", facts.control_planes.len())).with(said)
}

fn versions(facts: &Facts) -> Row {
    const ID: &str = "versions";
    let own = env!("CARGO_PKG_VERSION");
    let mut found: BTreeMap<String, Vec<String>> =
        BTreeMap::from([(own.to_owned(), vec!["this command".to_owned()])]);
    let told = facts.control_planes.iter().chain(&facts.proxies);
    for one in told {
        let Ok(status) = &one.status else { continue };
        let version = status["handfast"].as_str().unwrap_or("unknown").to_owned();
        found.entry(version).or_default().push(format!("{}/{}", one.namespace, one.pod));
    }
    if found.len() == 1 {
        let count = found.values().map(Vec::len).sum::<usize>() - 1;
        return Row::ok(ID, format!("this command, and {count} control planes and proxies: {own}"));
    }
    let said = found.iter().map(|(version, who)| format!("{version}: {}", few(who)));
    Row::warn(ID, &codes::VERSIONS_DIFFER, format!("{} versions", found.len())).with(said)
}

/// The first of many.
pub(super) fn few(all: &[String]) -> String {
    const SHOWN: usize = 8;
    let first = all.iter().take(SHOWN).cloned().collect::<Vec<_>>().join(", ");
    match all.len().checked_sub(SHOWN) {
        Some(more) if more > 0 => format!("{first} and {more} more"),
        _ => first,
    }
}

fn kinds(facts: &Facts) -> Row {
    const ID: &str = "kinds";
    match &facts.look.listed.absent[..] {
        [] => Row::ok(ID, "AuthorizationPolicy and PeerAuthentication are there"),
        absent => {
            Row::warn(ID, &codes::MESH_OBJECT, format!("the cluster has no kind {}", absent.join(", ")))
                .fix("handfast mesh install --apply --crds")
        }
    }
}

fn webhook(facts: &Facts) -> Vec<Row> {
    const ID: &str = "webhook";
    let configuration = match &facts.webhook {
        Err(why) => return vec![Row::skipped(ID, format!("it cannot be read: {why}"))],
        Ok(None) => {
            let what = format!("there is no MutatingWebhookConfiguration {MESH}: new pods get no proxy");
            return vec![Row::fail(ID, &codes::WEBHOOK_WRONG, what)];
        }
        Ok(Some(configuration)) => configuration,
    };
    let Some(hook) = configuration.webhooks.as_ref().and_then(|hooks| hooks.first()) else {
        return vec![Row::fail(ID, &codes::WEBHOOK_WRONG, "its configuration has no webhook in it")];
    };
    let mut rows = Vec::new();
    rows.push(match hook.failure_policy.as_deref() {
        None | Some("Fail") => Row::ok(ID, "failurePolicy Fail: without its proxy no pod is made"),
        Some(other) => {
            let what = format!(
                "failurePolicy {other}: while the control plane is away, pods are made without a proxy"
            );
            Row::fail(ID, &codes::WEBHOOK_WRONG, what)
        }
    });
    let bundle = hook.client_config.ca_bundle.as_ref().map(|bundle| bundle.0.clone()).unwrap_or_default();
    // The controller writes none into our own namespace unless that asks for it.
    let mut bundles = facts.trust.get(SYSTEM_NAMESPACE).into_iter().chain(facts.trust.values());
    let system = bundles.find_map(|found| found.as_ref().ok()?.as_deref());
    rows.push(match (certificates(&bundle), system.map(|text| certificates(text.as_bytes()))) {
        (own, _) if own.is_empty() => Row::fail(
            "webhook-trust",
            &codes::WEBHOOK_WRONG,
            "its caBundle is empty: the API server cannot believe it",
        ),
        (_, None) => Row::skipped("webhook-trust", "there is no trust bundle to compare it with"),
        (own, Some(system)) if own == system => {
            Row::ok("webhook-trust", format!("its caBundle has the {} roots of the authority", own.len()))
        }
        (own, Some(system)) => {
            let missing = system.difference(&own).count();
            let what = format!(
                "its caBundle and the authority's trust bundle differ: {missing} roots are missing in it"
            );
            Row::fail("webhook-trust", &codes::TRUST_DIFFERS, what)
        }
    });
    let service = facts.look.world.services().find(|service| {
        let ServiceName { namespace, .. } = &service.name;
        service.short == MESH && namespace == SYSTEM_NAMESPACE
    });
    rows.push(match service {
        None => Row::fail(
            "webhook-service",
            &codes::WEBHOOK_WRONG,
            format!("there is no Service {SYSTEM_NAMESPACE}/{MESH}"),
        ),
        Some(service) => match facts.look.world.endpoints(&service.name).filter(|one| one.healthy).count() {
            0 => {
                let what = "nobody is ready behind its Service: no pod of a labelled namespace can be made";
                Row::fail("webhook-service", &codes::CONTROL_PLANE_WRONG, what)
            }
            count => Row::ok("webhook-service", format!("{count} endpoints are ready")),
        },
    });
    rows
}

/// The certificates of a bundle, whatever stands between them.
fn certificates(pem: &[u8]) -> BTreeSet<Vec<u8>> {
    CertificateDer::pem_slice_iter(pem).filter_map(|der| Some(der.ok()?.to_vec())).collect()
}

fn trust(facts: &Facts) -> Row {
    // The controller writes none into our own namespace unless that asks for it: then the first one is the measure.
    let system = facts.trust.get(SYSTEM_NAMESPACE).and_then(|found| found.as_ref().ok()?.as_deref());
    compare(facts, system.map(|system| certificates(system.as_bytes())))
}

fn compare(facts: &Facts, system: Option<BTreeSet<Vec<u8>>>) -> Row {
    const ID: &str = "trust-bundles";
    let mut reference = system;
    let (mut same, mut wrong, mut skipped) = (0, Vec::new(), Vec::new());
    for (place, bundle) in &facts.trust {
        match bundle {
            Err(why) => skipped.push(format!("{place}: {why}")),
            Ok(None) if place == SYSTEM_NAMESPACE => {}
            Ok(None) => {
                wrong.push(format!("{place}: there is no ConfigMap handfast-trust: pods there do not start"))
            }
            Ok(Some(text)) => {
                let own = certificates(text.as_bytes());
                match &reference {
                    Some(reference) if *reference != own => {
                        wrong.push(format!("{place}: other roots than elsewhere"))
                    }
                    Some(_) => same += 1,
                    None => {
                        same += 1;
                        reference = Some(own);
                    }
                }
            }
        }
    }
    let count = reference.map_or(0, |reference| reference.len());
    match (wrong.is_empty(), skipped.is_empty()) {
        (false, _) => {
            Row::fail(ID, &codes::TRUST_DIFFERS, "not every namespace of the mesh has the same roots")
                .with(wrong)
        }
        (true, false) => Row::skipped(ID, "some cannot be read").with(skipped),
        (true, true) => Row::ok(ID, format!("{same} namespaces have the same {count} roots")),
    }
}

fn objects(facts: &Facts) -> Row {
    const ID: &str = "objects";
    let problems = &facts.look.index.problems;
    if problems.is_empty() {
        let policies = facts.look.index.policies.len();
        return Row::ok(
            ID,
            format!("{policies} policies are understood, and no label or annotation is wrong"),
        );
    }
    let said = problems.iter().map(|problem| format!("{}: {problem}", problem.code.id));
    let what = format!("{} are not understood", problems.len());
    match problems.iter().any(|problem| problem.closes) {
        true => {
            Row::fail(ID, &codes::MESH_OBJECT, format!("{what}; what they would apply to refuses")).with(said)
        }
        false => Row::warn(ID, &codes::MESH_OBJECT, what).with(said),
    }
}
