use serde_json::{Value, json};

use super::*;

fn wanted(spec: Value) -> Result<Wanted> {
    Wanted::of(&serde_json::from_value(spec).unwrap(), &Lifetimes::default())
}

#[test]
fn what_is_no_name_of_an_object_gets_into_no_url() {
    assert!(wanted(json!({"secretName": "web-tls.v2"})).is_ok());
    let long = "a".repeat(254);
    for name in
        ["", "lo?dryRun=All&x=", "../../x", "a/b", "A", "a b", "-a", "a-", "a..b", "a.-b", "%2e", &long]
    {
        for spec in [
            json!({"secretName": name}),
            json!({"secretName": "web", "keystores": {"passwordSecret": name}}),
            json!({"secretName": "web", "restart": [{"kind": "Deployment", "name": name}]}),
        ] {
            let why = wanted(spec.clone()).unwrap_err();
            assert!(why.to_string().contains("is no name of an object"), "{spec}: {why}");
        }
    }
}

#[test]
fn a_certificate_names_twenty_workloads_at_most() {
    let restart = |count: usize| {
        let all: Vec<Value> =
            (0..count).map(|i| json!({"kind": "Deployment", "name": format!("w{i}")})).collect();
        wanted(json!({"secretName": "web", "restart": all}))
    };
    assert!(restart(20).is_ok());
    assert!(restart(21).unwrap_err().to_string().contains("21 workloads"));
}

#[test]
fn the_kind_itself_refuses_the_same() {
    use kube::CustomResourceExt as _;
    let kind = serde_json::to_value(crate::Certificate::crd()).unwrap();
    let spec = &kind["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"];
    let restart = &spec["restart"];
    assert_eq!(restart["maxItems"], MOST_RESTARTS);
    for field in [
        &spec["secretName"],
        &spec["keystores"]["properties"]["passwordSecret"],
        &restart["items"]["properties"]["name"],
    ] {
        assert_eq!(
            (&field["maxLength"], &field["pattern"]),
            (&json!(253), &json!(crate::names::OBJECT_NAME))
        );
    }
}
