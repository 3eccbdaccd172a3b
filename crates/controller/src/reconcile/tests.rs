use kube::runtime::reflector;
use kube::runtime::watcher::Event as Seen;

use super::*;

fn certificate(uid: &str) -> Certificate {
    serde_json::from_value(serde_json::json!({
        "apiVersion": "handfast.dev/v1",
        "kind": "Certificate",
        "metadata": { "name": "web", "namespace": "shop", "uid": uid },
        "spec": { "secretName": "web" },
    }))
    .unwrap()
}

#[test]
fn a_certificate_that_is_gone_gets_no_metrics_again() {
    let (certificates, mut writer) = reflector::store::<Certificate>();
    let metrics = Metrics::default();
    let told = |metrics: &Metrics| metrics.text().contains("name=\"web\"");
    let old = certificate("1");
    writer.apply_watcher_event(&Seen::Apply(old.clone()));
    set_metrics(&metrics, &certificates, &old, true, None);
    assert!(told(&metrics));
    // It is deleted while it is looked at.
    writer.apply_watcher_event(&Seen::Delete(old.clone()));
    metrics.forget_certificate("shop", "web");
    set_metrics(&metrics, &certificates, &old, true, None);
    assert!(!told(&metrics), "{}", metrics.text());
    // Made anew under the same name: what the old one was says nothing of it.
    let new = certificate("2");
    writer.apply_watcher_event(&Seen::Apply(new.clone()));
    set_metrics(&metrics, &certificates, &old, true, None);
    assert!(!told(&metrics));
    set_metrics(&metrics, &certificates, &new, false, None);
    assert!(told(&metrics));
}
