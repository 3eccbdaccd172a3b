//! Against an API server that has what the test says: states of a Secret that a real one has only after a restore.

use std::sync::Mutex;

use k8s_openapi::api::admissionregistration::v1::MutatingWebhook;
use model::identity::TrustDomain;
use time::OffsetDateTime;

use super::super::super::api_server::{Request, serve};
use super::*;

fn state(version: &str) -> State {
    let mut state = State::new(TrustDomain::default(), OffsetDateTime::now_utc()).unwrap();
    state.version = Some(version.parse().unwrap());
    state
}

/// What the API server has.
#[derive(Clone)]
struct Cluster {
    webhook: Arc<Mutex<MutatingWebhookConfiguration>>,
    secret: Arc<Mutex<Option<Version>>>,
    client: Client,
}

impl Cluster {
    /// With the authority's Secret in this state, and a webhook without roots.
    async fn new(secret: Option<&str>) -> Self {
        let hook = |name: &str| MutatingWebhook { name: name.to_owned(), ..MutatingWebhook::default() };
        let webhooks = Some(vec![hook("one"), hook("two")]);
        let webhook = MutatingWebhookConfiguration { webhooks, ..MutatingWebhookConfiguration::default() };
        let webhook = Arc::new(Mutex::new(webhook));
        let secret = Arc::new(Mutex::new(secret.map(|version| version.parse().unwrap())));
        let (of_webhook, of_secret) = (Arc::clone(&webhook), Arc::clone(&secret));
        let client = serve(move |request| {
            answer(request, &mut of_webhook.lock().unwrap(), &of_secret.lock().unwrap())
        })
        .await;
        Self { webhook, secret, client }
    }

    async fn write(&self, state: &State) -> Done {
        trust(&self.client, state).await.unwrap()
    }

    /// The state whose roots are there, as the annotation says.
    fn annotation(&self) -> Option<String> {
        self.webhook.lock().unwrap().metadata.annotations.as_ref()?.get(VERSION_ANNOTATION).cloned()
    }

    /// Whether all webhooks have the roots of this state.
    fn trusts(&self, state: &State) -> bool {
        let wanted = ByteString(state.trust_bundle_pem().into_bytes());
        let webhook = self.webhook.lock().unwrap();
        webhook.webhooks.iter().flatten().all(|hook| hook.client_config.ca_bundle.as_ref() == Some(&wanted))
    }
}

/// As the API server answers, and merges.
fn answer(
    request: &Request,
    webhook: &mut MutatingWebhookConfiguration,
    secret: &Option<Version>,
) -> (u16, Value) {
    if request.path.ends_with("/secrets/handfast-authority") {
        return match secret {
            Some(version) => {
                let metadata = json!({ "uid": version.uid, "resourceVersion": version.number });
                let form = ("meta.k8s.io/v1", "PartialObjectMetadata");
                (200, json!({ "apiVersion": form.0, "kind": form.1, "metadata": metadata }))
            }
            None => {
                let status = json!({ "kind": "Status", "status": "Failure", "code": 404, "reason": "NotFound",
                                     "message": "there is none", "metadata": {} });
                (404, status)
            }
        };
    }
    assert!(request.path.ends_with("/mutatingwebhookconfigurations/handfast-mesh"), "{}", request.path);
    if request.method == "PATCH" {
        let annotations = request.body["metadata"]["annotations"].clone();
        webhook.metadata.annotations = serde_json::from_value(annotations).unwrap();
        let patched = request.body["webhooks"].as_array().unwrap();
        for hook in webhook.webhooks.iter_mut().flatten() {
            let of = patched.iter().find(|of| of["name"] == *hook.name).unwrap();
            hook.client_config.ca_bundle =
                serde_json::from_value(of["clientConfig"]["caBundle"].clone()).unwrap();
        }
    }
    (200, serde_json::to_value(&*webhook).unwrap())
}

#[tokio::test]
async fn replicas_that_know_different_states_do_not_take_turns() {
    let (old, new) = (state("a/9"), state("a/10"));
    let cluster = Cluster::new(Some("a/9")).await;
    assert_eq!(cluster.write(&old).await, Done::Trusted);
    assert!(cluster.trusts(&old));
    *cluster.secret.lock().unwrap() = new.version.clone();
    assert_eq!(cluster.write(&new).await, Done::Trusted);
    for _ in 0..3 {
        let refused = Done::Refused { written: "a/10".parse().unwrap(), own: "a/9".parse().unwrap() };
        assert_eq!(cluster.write(&old).await, refused, "the older one does not write over the newer one");
        assert_eq!(cluster.write(&new).await, Done::Trusted);
        assert!(cluster.trusts(&new));
    }
    assert_eq!(cluster.annotation().as_deref(), Some("a/10"));
}

/// Each case: what the annotation says, what the API server has, and whether a process that knows `a/10` writes.
#[tokio::test]
async fn what_seems_newer_counts_only_where_the_api_server_says_so() {
    let corrected = |written: &str| Done::Corrected { written: written.parse().unwrap() };
    let refused =
        |written: &str| Done::Refused { written: written.parse().unwrap(), own: "a/10".parse().unwrap() };
    let cases = [
        // An older state of the same Secret: nobody has to be asked.
        ("a/9", Some("a/10"), Done::Trusted),
        // A newer one, and the API server has it, or has gone on since.
        ("a/11", Some("a/11"), refused("a/11")),
        ("a/11", Some("a/12"), refused("a/11")),
        // A newer one, and what is known here is what the API server has: etcd was put back.
        ("a/11", Some("a/10"), corrected("a/11")),
        // Put back as well, and what is known here is not yet what the API server has.
        ("a/11", Some("a/8"), refused("a/11")),
        // Nobody can tell.
        ("a/11", None, refused("a/11")),
        // Brought from another cluster, with a larger number and a smaller one.
        ("b/99", Some("a/10"), corrected("b/99")),
        ("b/1", Some("a/11"), corrected("b/1")),
        ("b/99", None, corrected("b/99")),
        // The Secret was made anew, and that is not known here yet.
        ("b/12", Some("b/12"), refused("b/12")),
        ("b/12", Some("b/13"), refused("b/12")),
        // Neither of this form nor a number: nobody is kept from writing.
        ("99", Some("a/10"), Done::Trusted),
        ("odd", Some("a/10"), Done::Trusted),
        ("a/odd", Some("a/10"), Done::Trusted),
    ];
    let own = state("a/10");
    for (written, secret, wanted) in cases {
        let cluster = Cluster::new(secret).await;
        cluster.webhook.lock().unwrap().metadata.annotations =
            Some([(VERSION_ANNOTATION.to_owned(), written.to_owned())].into());
        assert_eq!(cluster.write(&own).await, wanted, "{written} where there is {secret:?}");
        let writes = !matches!(wanted, Done::Refused { .. });
        assert_eq!(cluster.trusts(&own), writes, "{written} where there is {secret:?}");
        let says = if writes { "a/10" } else { written };
        assert_eq!(cluster.annotation().as_deref(), Some(says));
        assert_eq!(cluster.write(&own).await, if writes { Done::Trusted } else { wanted });
    }
}

#[tokio::test]
async fn what_somebody_else_wrote_is_put_back() {
    let own = state("a/10");
    let cluster = Cluster::new(Some("a/10")).await;
    for odd in [Some("a/10"), Some("odd"), None] {
        {
            let mut webhook = cluster.webhook.lock().unwrap();
            webhook.webhooks.as_mut().unwrap()[0].client_config.ca_bundle = None;
            webhook.metadata.annotations =
                odd.map(|odd| [(VERSION_ANNOTATION.to_owned(), odd.to_owned())].into());
        }
        assert_eq!(cluster.write(&own).await, Done::Trusted);
        assert!(cluster.trusts(&own), "{odd:?}");
    }
}

#[test]
fn a_refusal_is_told_once_until_it_is_another() {
    let refused =
        |written: &str| Done::Refused { written: written.parse().unwrap(), own: "a/9".parse().unwrap() };
    let mut told = Told::default();
    let news = [refused("a/10"), refused("a/10"), refused("a/11"), Done::Trusted, refused("a/11")];
    assert_eq!(news.map(|done| told.is_new(done)), [true, false, true, true, true]);
}
