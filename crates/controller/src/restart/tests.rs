use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::{Value, json};

use super::*;
use crate::certificate::RestartedKind;

const MADE: &str = "2026-11-01T12:00:00Z";

fn held(public: &str, revision: i64, after: i64) -> BTreeMap<String, Held> {
    let made = time::macros::datetime!(2026-11-01 12:00 UTC);
    let issued = made + time::Duration::seconds(after);
    BTreeMap::from([("web-tls".to_owned(), Held::new(public.as_bytes(), revision, issued))])
}

#[test]
fn a_namespace_that_is_being_looked_at_keeps_no_other_one_waiting() {
    let place = |namespace: &str, name: &str| -> Place {
        let workload = Restarted { kind: RestartedKind::Deployment, name: name.to_owned() };
        (namespace.to_owned(), workload)
    };
    let (crowd, shop) = ([place("crowd", "a"), place("crowd", "b")], place("shop", "web"));
    let mut told = Told::default();
    told.open.extend(crowd.clone());
    let looking = BTreeSet::from(["crowd".to_owned()]);
    assert_eq!(told.take(&BTreeSet::new()), BTreeMap::from([("crowd".to_owned(), crowd.to_vec())]));
    told.open.extend(crowd.clone());
    told.open.insert(shop.clone());
    assert_eq!(told.take(&looking), BTreeMap::from([("shop".to_owned(), vec![shop.clone()])]));
    assert_eq!(told.open.len(), 2, "they are looked at when their namespace's turn is over");

    // What has to wait is not looked at again in a circle.
    told.open.clear();
    told.later.extend(crowd.clone());
    told.later.insert(shop.clone());
    assert!(told.take(&BTreeSet::new()).is_empty());
    told.reopen(Some("shop"));
    assert_eq!(told.take(&BTreeSet::new()).into_keys().collect::<Vec<_>>(), ["shop"]);
    told.reopen(None);
    assert_eq!(told.take(&BTreeSet::new()).into_keys().collect::<Vec<_>>(), ["crowd"]);
}

fn metadata(annotations: Value) -> ObjectMeta {
    let metadata =
        json!({"name": "web", "generation": 3, "creationTimestamp": MADE, "annotations": annotations});
    serde_json::from_value(metadata).unwrap()
}

fn asked(started_for: Option<&str>) -> ObjectMeta {
    match started_for {
        None => metadata(json!({"handfast.dev/reload": "restart"})),
        Some(record) => {
            metadata(json!({"handfast.dev/reload": "restart", "handfast.dev/started-for": record}))
        }
    }
}

fn deployment(more: Value) -> Workload {
    let mut data = json!({
        "spec": {"replicas": 4, "template": {"metadata": {"labels": {"app": "web", "tier": "front"}}}},
        "status": {"observedGeneration": 3, "replicas": 4, "updatedReplicas": 4, "availableReplicas": 4},
    });
    for part in ["spec", "status"] {
        for (key, value) in more[part].as_object().into_iter().flatten() {
            data[part][key] = value.clone();
        }
    }
    Workload::read(&data).unwrap()
}

fn budget(selector: Value, allowed: i32) -> PodDisruptionBudget {
    serde_json::from_value(json!({
        "metadata": {"name": "pdb", "generation": 1},
        "spec": {"selector": selector},
        "status": {"observedGeneration": 1, "disruptionsAllowed": allowed, "currentHealthy": 4,
                   "desiredHealthy": 4, "expectedPods": 4},
    }))
    .unwrap()
}

fn verdict(metadata: &ObjectMeta, workload: &Workload, budgets: &[PodDisruptionBudget]) -> Verdict {
    judge(RestartedKind::Deployment, metadata, workload, budgets, &held("new", 2, 60))
}

fn code(verdict: &Verdict) -> &'static str {
    match verdict {
        Verdict::Wait(code, _) => code.id,
        other => panic!("{other:?}"),
    }
}

const OLD: &str = "web-tls=old";

#[test]
fn only_who_asks_is_restarted_and_once_for_each_state() {
    let whole = deployment(json!({}));
    for annotations in
        [json!({}), json!({"handfast.dev/reload": "watch"}), json!({"handfast.dev/wired": "server"})]
    {
        assert_eq!(verdict(&metadata(annotations), &whole, &[]), Verdict::Settled);
    }
    let Verdict::Restart(record) = verdict(&asked(Some(OLD)), &whole, &[]) else { panic!() };
    assert!(record.starts_with("web-tls=") && record != OLD);
    assert_eq!(verdict(&asked(Some(&record)), &whole, &[]), Verdict::Settled);
}

#[test]
fn without_a_record_the_ages_decide() {
    let whole = deployment(json!({}));
    let judged = |revision, after| {
        judge(RestartedKind::Deployment, &asked(None), &whole, &[], &held("new", revision, after))
    };
    assert!(matches!(judged(1, 60), Verdict::Record(_)), "no pod starts before there is a Secret");
    assert!(matches!(judged(2, -60), Verdict::Record(_)), "older than the workload");
    assert!(matches!(judged(2, 60), Verdict::Restart(_)), "younger than the workload");
}

#[test]
fn budgets_that_select_its_pods_must_allow_what_a_rollout_takes() {
    let whole = deployment(json!({}));
    let of = |selector: Value, allowed| verdict(&asked(Some(OLD)), &whole, &[budget(selector, allowed)]);
    assert_eq!(code(&of(json!({"matchLabels": {"app": "web"}}), 0)), "HF7060");
    assert_eq!(code(&of(json!({}), 0)), "HF7060", "an empty selector is all pods");
    let expression =
        json!({"matchExpressions": [{"key": "tier", "operator": "In", "values": ["front", "back"]}]});
    assert_eq!(code(&of(expression, 0)), "HF7060");
    assert!(matches!(of(json!({"matchLabels": {"app": "web"}}), 1), Verdict::Restart(_)));
    assert!(matches!(of(json!({"matchLabels": {"app": "other"}}), 0), Verdict::Restart(_)));
    let mut unseen = budget(json!({}), 4);
    unseen.metadata.generation = Some(2);
    assert_eq!(
        code(&verdict(&asked(Some(OLD)), &whole, &[unseen])),
        "HF7060",
        "not judged by its controller yet"
    );

    let all = budget(json!({}), 1);
    let takes = |strategy: Value| {
        let workload = deployment(json!({"spec": {"strategy": strategy}}));
        verdict(&asked(Some(OLD)), &workload, std::slice::from_ref(&all))
    };
    assert_eq!(code(&takes(json!({"rollingUpdate": {"maxUnavailable": 2}}))), "HF7060");
    assert_eq!(code(&takes(json!({"rollingUpdate": {"maxUnavailable": "50%"}}))), "HF7060");
    assert_eq!(code(&takes(json!({"type": "Recreate"}))), "HF7060");
    assert!(matches!(takes(json!({"rollingUpdate": {"maxUnavailable": 0}})), Verdict::Restart(_)));
}

#[test]
fn what_is_not_whole_or_cannot_roll_waits() {
    for status in [
        json!({"availableReplicas": 3}),
        json!({"updatedReplicas": 3}),
        json!({"replicas": 5}),
        json!({"observedGeneration": 2}),
    ] {
        let workload = deployment(json!({"status": status}));
        assert_eq!(code(&verdict(&asked(Some(OLD)), &workload, &[])), "HF7061", "{status}");
    }
    assert_eq!(
        code(&verdict(&asked(Some(OLD)), &deployment(json!({"spec": {"paused": true}})), &[])),
        "HF7062"
    );
    let none = deployment(json!({"spec": {"replicas": 0}}));
    assert!(matches!(verdict(&asked(Some(OLD)), &none, &[]), Verdict::Record(_)), "no pod has old files");

    let set = Workload::read(&json!({
        "spec": {"updateStrategy": {"type": "OnDelete"}},
        "status": {"observedGeneration": 3, "desiredNumberScheduled": 2, "updatedNumberScheduled": 2, "numberAvailable": 2},
    }))
    .unwrap();
    let judged = judge(RestartedKind::DaemonSet, &asked(Some(OLD)), &set, &[], &held("new", 2, 60));
    assert_eq!(code(&judged), "HF7062");
    let parted = |partition: i64| {
        let set = Workload::read(&json!({
            "spec": {"replicas": 2, "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": partition}}},
            "status": {"observedGeneration": 3, "replicas": 2, "availableReplicas": 2,
                       "currentRevision": "a", "updateRevision": "a"},
        }));
        judge(RestartedKind::StatefulSet, &asked(Some(OLD)), &set.unwrap(), &[], &held("new", 2, 60))
    };
    assert_eq!(code(&parted(1)), "HF7062", "pod 0 would keep the old certificate, and nobody would be told");
    assert!(matches!(parted(0), Verdict::Restart(_)));
    let set = Workload::read(&json!({
        "spec": {"replicas": 1},
        "status": {"observedGeneration": 3, "replicas": 1, "availableReplicas": 1,
                   "currentRevision": "a", "updateRevision": "b"},
    }))
    .unwrap();
    let judged = judge(RestartedKind::StatefulSet, &asked(Some(OLD)), &set, &[], &held("new", 2, 60));
    assert_eq!(code(&judged), "HF7061");
}

#[test]
fn a_mark_says_nothing_of_a_key_and_fits_between_commas() {
    let mark = Held::new(b"certificates", 1, OffsetDateTime::UNIX_EPOCH).mark;
    assert!(mark.len() >= 12 && mark.chars().all(|c| c.is_ascii_alphanumeric()), "{mark}");
    assert_ne!(mark, Held::new(b"other certificates", 1, OffsetDateTime::UNIX_EPOCH).mark);
}
