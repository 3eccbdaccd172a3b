//! A public client library of SPIFFE's against a real socket.

use std::process::Command;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, SanType};
use testkit::clients::python_with;
use testkit::program::Program;

use super::*;

const ID: &str = "spiffe://cluster.local/ns/shop/sa/web";

fn svid() -> Svid {
    let ca_key = KeyPair::generate().unwrap();
    let mut ca = CertificateParams::default();
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let root = ca.self_signed(&ca_key).unwrap();
    let key = KeyPair::generate().unwrap();
    let mut leaf = CertificateParams::default();
    leaf.subject_alt_names = vec![SanType::URI(ID.try_into().unwrap())];
    leaf.is_ca = IsCa::ExplicitNoCa;
    leaf.key_usages = vec![rcgen::KeyUsagePurpose::DigitalSignature];
    let issuer = Issuer::new(ca, ca_key);
    let chain = leaf.signed_by(&key, &issuer).unwrap().der().to_vec();
    Svid {
        id: ID.to_owned(),
        trust_domain: "spiffe://cluster.local".to_owned(),
        chain,
        key: Zeroizing::new(key.serialize_der()),
        bundle: root.der().to_vec(),
    }
}

/// Prints the identity and serial number of each certificate that it is sent, until it has seen two.
const CLIENT: &str = r#"
import sys, threading
from spiffe import WorkloadApiClient
client = WorkloadApiClient("unix://" + sys.argv[1])
once = client.fetch_x509_svid()
print("fetched", once.spiffe_id, hex(once.leaf.serial_number), len(once.cert_chain), flush=True)
bundles = client.fetch_x509_bundles()
for bundle in bundles.bundles:
    print("bundle", bundle.trust_domain, len(bundle.x509_authorities), flush=True)
seen, done = set(), threading.Event()
def told(context):
    serial = context.default_svid.leaf.serial_number
    if serial not in seen:
        seen.add(serial)
        print("told", hex(serial), flush=True)
    if len(seen) == 2:
        done.set()
client.stream_x509_contexts(told, lambda error: print("error", error, flush=True))
print("ended" if done.wait(30) else "late", flush=True)
try:
    client.fetch_jwt_svid(audience={"a"})
    print("jwt")
except Exception as error:
    print("no jwt", type(error).__name__)
"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_public_client_gets_the_identity_and_hears_of_its_renewal() {
    let Some(python) = python_with("spiffe", "0.3.2") else { return };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("api.sock");
    let first = Arc::new(svid());
    let (sender, receiver) = watch::channel(Some(Arc::clone(&first)));
    let serving = tokio::spawn(serve(UnixListener::bind(&path).unwrap(), receiver));
    let mut client = Command::new(python);
    client.args(["-c", CLIENT]).arg(&path);
    let done = tokio::task::spawn_blocking(move || {
        let mut client = Program::start(&mut client);
        client.wait_for("the stream", Duration::from_secs(30), |client| client.stdout().contains("told"));
        sender.send_replace(Some(Arc::new(svid())));
        client.finish(Duration::from_secs(60))
    });
    let done = done.await.unwrap();
    let said = done.out();
    assert_eq!(done.code, Some(0), "{}", done.all());
    assert!(
        said.contains(&format!("fetched {ID}")) && said.contains("bundle cluster.local 1"),
        "{}",
        done.all()
    );
    assert_eq!(said.matches("told 0x").count(), 2, "{}", done.all());
    assert!(said.contains("ended") && said.contains("no jwt"), "{}", done.all());
    serving.abort();
}

#[tokio::test]
async fn who_does_not_say_the_header_gets_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("api.sock");
    let (_sender, receiver) = watch::channel(Some(Arc::new(svid())));
    let serving = tokio::spawn(serve(UnixListener::bind(&path).unwrap(), receiver));
    let stream = TokioIo::new(UnixStream::connect(&path).await.unwrap());
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), stream).await.unwrap();
    let driving = tokio::spawn(connection);
    let request = http::Request::post(format!("http://localhost{FETCH_X509_SVID}"))
        .header("content-type", "application/grpc")
        .body(Body::empty())
        .unwrap();
    let answer = sender.send_request(request).await.unwrap();
    // INVALID_ARGUMENT, as the specification asks for.
    assert_eq!(answer.headers()["grpc-status"], "3");
    driving.abort();
    serving.abort();
}

#[test]
fn a_key_is_not_in_what_is_logged() {
    let svid = svid();
    let shown = format!("{svid:?}");
    assert!(shown.contains(ID) && shown.len() < 100, "{shown}");
}
