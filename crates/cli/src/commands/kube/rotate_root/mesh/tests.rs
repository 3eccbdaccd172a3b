//! Who is named, and why.

use controller::authority::Subject;
use serde_json::json;
use time::OffsetDateTime;

use super::*;

fn started() -> State {
    let now = OffsetDateTime::now_utc();
    State::new(Default::default(), now).unwrap().start(Subject::Root, now).unwrap()
}

fn proxy(pod: &str, account: &str, since: &str, trust: serde_json::Value) -> serde_json::Value {
    json!({
        "node": format!("ztunnel~10.0.0.1~{pod}.shop~shop.svc.cluster.local"),
        "address": "10.0.0.1:4711",
        "identity": format!("spiffe://cluster.local/ns/shop/sa/{account}"),
        "since": since,
        "types": trust,
    })
}

fn plane(step: u64, proxies: &[serde_json::Value]) -> Result<Said, String> {
    let text =
        json!({ "version": 1, "trust": { "step": step, "issuer": "intermediate-1" }, "proxies": proxies });
    Ok(serde_json::from_value(text).unwrap())
}

fn mesh(state: &State, planes: Vec<Result<Said, String>>, pods: &[&str]) -> Mesh {
    let planes =
        planes.into_iter().enumerate().map(|(number, said)| (format!("mesh-{number}"), said)).collect();
    let pods = pods.iter().map(|name| Carried {
        name: format!("shop/{name}"),
        workload: format!("shop/{name}"),
        account: (*name).to_owned(),
    });
    Mesh { system: "handfast-system".into(), planes, pods: pods.collect(), webhook: Some(new_roots(state)) }
}

fn judged(state: &State, mesh: &Mesh, choices: &Choices) -> Vec<Finding> {
    judge(state, mesh, choices, OffsetDateTime::now_utc())
}

fn named(state: &State, mesh: &Mesh, choices: &Choices) -> Vec<(String, String)> {
    judge(state, mesh, choices, OffsetDateTime::now_utc())
        .into_iter()
        .map(|finding| (finding.object, finding.why))
        .collect()
}

const EARLY: &str = "2026-11-27T08:00:00Z";
const LATE: &str = "2026-11-27T09:00:00Z";

#[test]
fn a_step_waits_for_every_proxy_and_names_it() {
    let state = started();
    let step = state.taken.last().unwrap().number;
    let done = json!({ "trust": { "behind": null, "refused": null } });
    let behind = json!({ "trust": { "behind": { "resources": 1, "since": EARLY }, "refused": null } });
    let refused = json!({ "trust": { "behind": { "resources": 1, "since": EARLY },
        "refused": { "why": "no certificate", "at": EARLY } } });
    let none = Choices::default();
    let all = [proxy("web", "web", EARLY, done.clone()), proxy("db", "db", EARLY, done.clone())];
    let good = mesh(&state, vec![plane(step, &all[..1]), plane(step, &all[1..])], &["web", "db"]);
    assert_eq!(named(&state, &good, &none), []);

    let slow =
        [all[0].clone(), proxy("db", "db", EARLY, behind.clone()), proxy("job", "job", EARLY, refused)];
    let found = named(&state, &mesh(&state, vec![plane(step, &slow)], &["web", "db", "job"]), &none);
    assert_eq!(
        found.iter().map(|(object, _)| object.as_str()).collect::<Vec<_>>(),
        ["Pod shop/db", "Pod shop/job"]
    );
    assert!(found[0].1.contains("has not taken up") && found[1].1.contains("no certificate"), "{found:?}");

    // The newest of two connections counts, on whatever control plane.
    let twice = vec![
        plane(step, &[proxy("db", "db", EARLY, behind.clone())]),
        plane(step, &[proxy("db", "db", LATE, done.clone())]),
    ];
    assert_eq!(named(&state, &mesh(&state, twice, &["db"]), &none), []);

    // Not connected at all; or somebody else calls himself so.
    let impostor = plane(step, &[proxy("db", "web", EARLY, done.clone())]);
    let found = named(&state, &mesh(&state, vec![impostor], &["db"]), &none);
    assert!(found.len() == 1 && found[0].1.contains("is not connected"), "{found:?}");
    let leave = Choices { leave_behind: vec!["shop/db".into()], ..Choices::default() };
    let (left, behind_us) = leave.part(judged(&state, &mesh(&state, vec![plane(step, &[])], &["db"]), &none));
    assert_eq!((left.len(), behind_us.len()), (0, 1));
}

#[test]
fn a_control_plane_that_is_behind_silent_or_away_is_no_evidence() {
    let state = started();
    let step = state.taken.last().unwrap().number;
    let none = Choices::default();
    let old = plane(step - 1, &[]);
    let found =
        named(&state, &mesh(&state, vec![old, Err("no answer".into()), plane(step, &[])], &[]), &none);
    assert_eq!(
        found.iter().map(|(object, _)| object.as_str()).collect::<Vec<_>>(),
        ["Pod handfast-system/mesh-0", "Pod handfast-system/mesh-1"]
    );
    let found = named(&state, &mesh(&state, vec![], &[]), &none);
    assert_eq!(found[0].0, "Deployment handfast-system/handfast-mesh");
    let mut unknown = mesh(&state, vec![plane(step, &[])], &[]);
    unknown.webhook = Some(Vec::new());
    assert_eq!(named(&state, &unknown, &none)[0].0, "MutatingWebhookConfiguration handfast-mesh");
}

#[test]
fn a_foreign_proxy_is_unseen_until_somebody_has_looked() {
    let state = started();
    let step = state.taken.last().unwrap().number;
    let foreign = mesh(&state, vec![plane(step, &[proxy("web", "web", EARLY, json!({}))])], &["web"]);
    let found = judged(&state, &foreign, &Choices::default());
    assert!(found.len() == 1 && found[0].kind == Kind::Unseen, "{found:?}");
    let looked = Choices { accept_unseen: vec!["shop/web".into()], ..Choices::default() };
    assert_eq!(judged(&state, &foreign, &looked), []);
}

#[test]
fn an_authority_that_has_ended_keeps_no_proxy_waiting_before_another_one_issues() {
    let state = started();
    let step = state.taken.last().unwrap().number;
    let none = Choices::default();
    // Nobody can come anew: the control plane's own certificate has ended, too.
    let away = mesh(&state, vec![plane(step, &[])], &["web"]);
    assert_eq!(judged(&state, &away, &none).len(), 1);
    let (active, _) = state.active().unwrap();
    let later = active.certificate.not_after;
    assert_eq!(judge(&state, &away, &none, later), []);
    // After the switch they count again.
    let new = state
        .confirm(later - time::Duration::days(1))
        .unwrap()
        .switch(later - time::Duration::days(1))
        .unwrap();
    let step = new.taken.last().unwrap().number;
    let at = later - time::Duration::days(1);
    assert_eq!(judge(&new, &mesh(&new, vec![plane(step, &[])], &["web"]), &none, at).len(), 1);
}

#[test]
fn pods_with_a_proxy_beside_them_and_the_proxies_of_nodes_are_waited_for_and_no_others() {
    let running = json!({ "running": {} });
    let pod = |namespace: &str, account: &str, annotations: serde_json::Value| -> Pod {
        let container = json!({ "name": "proxy", "image": "i", "imageID": "", "ready": true, "restartCount": 0,
                                "state": running });
        let sidecar = json!({ "name": "handfast-proxy", "image": "i", "imageID": "", "ready": true,
                              "restartCount": 0, "state": running });
        serde_json::from_value(json!({
            "metadata": { "name": "one", "namespace": namespace, "annotations": annotations },
            "spec": { "serviceAccountName": account, "containers": [] },
            "status": { "phase": "Running", "containerStatuses": [container], "initContainerStatuses": [sidecar] },
        }))
        .unwrap()
    };
    let name = |pod: &Pod| carried(pod).map(|carried| carried.name);
    let injected = json!({ "handfast.dev/injected": "1" });
    assert_eq!(name(&pod("shop", "web", injected)).as_deref(), Some("shop/one"));
    assert_eq!(name(&pod("shop", "web", json!({}))), None);
    assert_eq!(name(&pod("handfast-node", "handfast-node", json!({}))).as_deref(), Some("handfast-node/one"));
    assert_eq!(name(&pod("handfast-node", "other", json!({}))), None);
    let mut ended = pod("handfast-node", "handfast-node", json!({}));
    ended.status.as_mut().unwrap().phase = Some("Failed".to_owned());
    assert_eq!(name(&ended), None);
}
