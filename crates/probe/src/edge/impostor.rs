//! Servers that the client's bundle has to refuse: started here, on loopback, where the client is.
//!
//! What is tried is the bundle and the name, with a verifier that does its work (rustls). Whether the application
//! itself verifies is not seen from here, and no row says so.

use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::{EdgePlan, Own, Seen};
use crate::forge::Issuer;
use crate::forge::certificate::Purpose;
use crate::identity::ClientIdentity;

/// Id, title, expectation.
const ROWS: [(&str, &str, &str); 3] = [
    ("impostor-other-ca", "server certificate of another CA", "refused by the client, unknown issuer"),
    ("impostor-wrong-name", "server certificate for another name", "refused by the client, wrong name"),
    ("impostor-expired", "expired server certificate", "refused by the client, expired"),
];

/// All rows.
pub(super) async fn rows(plan: &EdgePlan, own: &Own, name: &str) -> Result<Vec<Seen>, String> {
    let mut seen = Vec::new();
    for (id, title, expected) in ROWS {
        let impostor = match plan.impostors.iter().find(|sent| sent.row == id) {
            Some(sent) => Some(sent.identity()?),
            None if id == "impostor-other-ca" => Some(stranger(name)?),
            None => None,
        };
        let blank = Seen {
            id: id.to_owned(),
            title: title.to_owned(),
            tls: None,
            expected: expected.to_owned(),
            observed: String::new(),
            alert: None,
            status: None,
            verdict: "skipped".to_owned(),
            reason: None,
            code: None,
            cause: None,
            fix: None,
        };
        seen.push(match impostor {
            None => Seen { reason: Some("needs the authority: --ca-dir DIR".into()), ..blank },
            Some(impostor) => {
                let limit = Duration::from_millis(plan.timeout);
                match tokio::time::timeout(limit, meet(own, impostor, name)).await {
                    Err(_) => Seen { verdict: "fail".into(), observed: "no answer in time".into(), ..blank },
                    Ok(Err(why)) => Seen { reason: Some(why), ..blank },
                    Ok(Ok(None)) => Seen {
                        verdict: "fail".into(),
                        observed: "accepted by the client's bundle".into(),
                        code: Some(model::codes::findings::OTHER_CA_ACCEPTED.id.into()),
                        cause: Some(
                            "the bundle in ca.crt trusts more than the authority of this cluster".into(),
                        ),
                        fix: Some("look at it: handfast cert inspect ca.crt".into()),
                        ..blank
                    },
                    Ok(Ok(Some(why))) => Seen { verdict: "ok".into(), observed: why, ..blank },
                }
            }
        });
    }
    Ok(seen)
}

/// The right name, by an authority that nobody trusts.
fn stranger(name: &str) -> Result<ClientIdentity, String> {
    let issuer = Issuer::unknown("handfast-test other CA").map_err(|error| error.to_string())?;
    let made = issuer.issue(|draft| {
        draft.purpose = Purpose::Server;
        draft.uri = None;
        draft.dns = vec![name.to_owned()];
    });
    made.map_err(|error| error.to_string())
}

/// Why the client refused; `None` when it did not.
async fn meet(own: &Own, impostor: ClientIdentity, name: &str) -> Result<Option<String>, String> {
    let text = |error: &dyn std::fmt::Display| error.to_string();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut roots = RootCertStore::empty();
    for root in &own.roots {
        roots.add(root.clone()).map_err(|e| format!("ca.crt: {e}"))?;
    }
    let client = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|e| text(&e))?
        .with_root_certificates(roots)
        .with_client_cert_resolver(Arc::new(rustls::sign::SingleCertAndKey::from(
            own.identity.certified.clone(),
        )));
    let server = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|e| text(&e))?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(rustls::sign::SingleCertAndKey::from(impostor.certified)));
    let listener = TcpListener::bind("127.0.0.1:0").await.map_err(|e| text(&e))?;
    let address = listener.local_addr().map_err(|e| text(&e))?;
    let serving = async {
        if let Ok((tcp, _)) = listener.accept().await {
            // The client's end is the one that counts.
            let _ = TlsAcceptor::from(Arc::new(server)).accept(tcp).await;
        }
    };
    let calling = async {
        let name = ServerName::try_from(name.to_owned()).map_err(|e| text(&e))?;
        let tcp = TcpStream::connect(address).await.map_err(|e| text(&e))?;
        match TlsConnector::from(Arc::new(client)).connect(name, tcp).await {
            Ok(_) => Ok(None),
            Err(error) => match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
                Some(rustls::Error::InvalidCertificate(why)) => Ok(Some(format!("refused: {why}"))),
                _ => Err(format!("the handshake broke for another reason: {error}")),
            },
        }
    };
    let (_, seen) = tokio::join!(serving, calling);
    seen
}
