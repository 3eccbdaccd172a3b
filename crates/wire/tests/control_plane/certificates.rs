//! Asking for certificates.

use std::time::Duration;

use handfast_wire::Error;
use handfast_wire::client::{Ask, create_certificate};

use crate::plane::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_proxy_asks_reaches_the_authority_and_its_answer_the_proxy() {
    let plane = Plane::start(world(0)).await;
    let ask = Ask {
        csr: "a request".into(),
        validity: Duration::from_secs(3600),
        impersonated: Some("spiffe://cluster.local/ns/shop/sa/web".into()),
        cluster: Some("here".into()),
    };
    let chain = create_certificate(&plane.target(), Some("good"), &ask).await.unwrap();
    assert_eq!(chain, ["leaf", "issuing", "root"]);
    let asked = plane.asked.lock().unwrap().remove(0);
    assert_eq!((asked.csr.as_str(), asked.validity), ("a request", Some(Duration::from_secs(3600))));
    assert_eq!(asked.impersonated.as_deref(), Some("spiffe://cluster.local/ns/shop/sa/web"));
    assert_eq!(
        (asked.caller.token.as_deref(), asked.caller.cluster.as_deref()),
        (Some("good"), Some("here"))
    );
    assert!(!format!("{asked:?}").contains("good"), "a token is for nobody's eyes");
    let own = Ask { impersonated: None, validity: Duration::ZERO, ..ask.clone() };
    create_certificate(&plane.target(), Some("good"), &own).await.unwrap();
    let asked = plane.asked.lock().unwrap().remove(0);
    assert_eq!((asked.impersonated, asked.validity), (None, None));
    let refused = create_certificate(&plane.target(), Some("bad"), &ask).await.unwrap_err();
    assert!(matches!(refused, Error::Refused { .. }), "{refused}");
    assert!(plane.asked.lock().unwrap().is_empty());
    let long = Ask { csr: "x".repeat(65 << 10), ..ask.clone() };
    assert!(create_certificate(&plane.target(), Some("good"), &long).await.is_err());
    let mut target = plane.target();
    target.address = format!("127.0.0.1:{}", testkit::free_port());
    let away = create_certificate(&target, Some("good"), &ask).await.unwrap_err();
    assert!(matches!(away, Error::Unreachable { .. }), "{away}");
}
