//! Who gets a certificate of the mesh: real tokens, asked for with the real client.

use std::sync::Arc;
use std::time::Duration;

use certs::{AltName, Csr, KeyKind, PrivateKey};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, ServerName};
use testkit::cluster::Cluster;
use wire::client::{Ask, Target, create_certificate};

use super::stage::{self, Stage};

/// Asks the control plane, as anybody in the cluster's network can.
struct Asking {
    target: Target,
    runtime: tokio::runtime::Runtime,
}

impl Asking {
    fn new(cluster: &Cluster, namespace: &str) -> Self {
        let map =
            cluster.wait(&["-n", namespace, "configmap", "handfast-trust"], stage::POD, |map| !map.is_null());
        let mut roots = RootCertStore::empty();
        for root in CertificateDer::pem_slice_iter(map["data"]["ca.crt"].as_str().unwrap().as_bytes()) {
            roots.add(root.unwrap()).unwrap();
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"h2".to_vec()];
        let (_, tls) = tokio::sync::watch::channel(Arc::new(config));
        let service = cluster.get(&["-n", "handfast-system", "service", "handfast-mesh"]);
        let address = format!("{}:15012", service["spec"]["clusterIP"].as_str().unwrap());
        let inside = sys::Namespace::open(&cluster.network()).unwrap();
        let name = ServerName::try_from("handfast-mesh.handfast-system.svc").unwrap();
        let socket: wire::client::Socket =
            Arc::new(move |to| inside.run(move || sys::outgoing(to, &sys::Outgoing::default()))?);
        let target = Target { socket: Some(socket), ..Target::new(address, name, tls) };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        Self { target, runtime }
    }

    /// The chain, or why not.
    fn ask(&self, token: Option<&str>, uri: &str, impersonated: Option<&str>) -> Result<Vec<String>, String> {
        let key = PrivateKey::generate(KeyKind::P256).unwrap();
        let csr = Csr::request(&key, &[AltName::uri(uri).unwrap()]).unwrap();
        let ask = Ask {
            csr,
            validity: Duration::from_secs(3600),
            impersonated: impersonated.map(str::to_owned),
            cluster: Some("Kubernetes".to_owned()),
        };
        let asked = create_certificate(&self.target, token, &ask);
        self.runtime.block_on(asked).map_err(|error| error.to_string())
    }
}

/// Invariant 8: the identity comes from what the API server vouches for, and never from the request's own words.
#[test]
fn invariant_8_a_certificate_is_for_whom_the_api_server_vouches_and_nobody_else() {
    let Some(turn) = stage::take_turn() else { return };
    let cluster: &Cluster = &turn;
    let stage = Stage::new(cluster, "tokens");
    stage.client("web");
    let uid = stage.ready("web")["metadata"]["uid"].as_str().unwrap().to_owned();
    let token = |audience: &str, bound: bool| {
        let mut words = vec!["-n", "tokens", "create", "token", "web", "--audience", audience];
        if bound {
            words.extend([
                "--bound-object-kind",
                "Pod",
                "--bound-object-name",
                "web",
                "--bound-object-uid",
                &uid,
            ]);
        }
        cluster.kubectl(&words).trim().to_owned()
    };
    let asking = Asking::new(cluster, "tokens");
    let (own, other) = (
        "spiffe://cluster.local/ns/tokens/sa/web",
        "spiffe://cluster.local/ns/handfast-system/sa/handfast-mesh",
    );
    let good = token("handfast-ca", true);
    for audience in ["handfast-ca", "istio-ca"] {
        let chain = asking.ask(Some(&token(audience, true)), own, None).unwrap();
        let leaf = certs::certificates_of_pem(&chain[0]).unwrap();
        let leaf = certs::inspect::certificate(&leaf[0]).unwrap();
        assert_eq!(leaf.spiffe_id.as_deref(), Some(own));
        // An hour was asked for, and nothing longer came.
        assert!(chain.len() >= 3, "leaf, intermediate, roots: {chain:?}");
    }
    let refused = |token: Option<&str>, uri: &str, impersonated: Option<&str>, why: &str| {
        let said = asking.ask(token, uri, impersonated).expect_err(why);
        assert!(said.contains(why), "wanted {why:?}: {said}");
    };
    refused(None, own, None, "no token");
    refused(Some("not.a.token"), own, None, "HF7080");
    refused(Some(&token("https://kubernetes.default.svc", true)), own, None, "HF7080");
    refused(Some(&token("handfast-ca", false)), own, None, "not bound to a pod");
    refused(Some(&good), other, None, "justifies only");
    refused(Some(&good), other, Some(other), "may not ask in the name of");
    // What was issued and what was refused is in the audit log.
    let log = cluster.kubectl(&[
        "-n",
        "handfast-system",
        "logs",
        "-l",
        "app.kubernetes.io/name=handfast-mesh",
        "--tail=-1",
    ]);
    let audit = |action: &str| {
        log.lines().any(|line| {
            line.contains("\"audit\":1")
                && line.contains(&format!("\"action\":\"{action}\""))
                && line.contains("\"namespace\":\"tokens\"")
        })
    };
    assert!(audit("issue") && audit("deny"), "{log}");
    assert!(!log.contains(&good), "a token is in the log");
    // A token is worth nothing when its pod is gone.
    cluster.kubectl(&["-n", "tokens", "delete", "pod", "web", "--grace-period=1"]);
    let deadline = std::time::Instant::now() + Duration::from_secs(30);
    while asking.ask(Some(&good), own, None).is_ok() {
        assert!(std::time::Instant::now() < deadline, "the token of a pod that is gone is good");
        std::thread::sleep(Duration::from_millis(500));
    }
    stage.end();
}
