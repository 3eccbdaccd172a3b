//! What a workload proves itself with, and whom it believes.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use certs::PemProblem;
use certs::verify::{self, Rejection, Trust};
use model::codes::{certificates as codes, refusals, serving};
use model::identity::{SpiffeId, TrustDomain};
use model::peer::{Peer, Verification};
use rustls::client::Resumption;
use rustls::client::danger::{ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::server::NoServerSessionStorage;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, DistinguishedName, ServerConfig};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};

use crate::error::Error;
use crate::tls::signature::check_signatures;
use crate::tls::{context, peer, provider};
use crate::tunnel::{ALPN, direct};

static EPOCH: AtomicU64 = AtomicU64::new(1);

/// A workload's certificate with its key, and the roots that its peers are judged by.
pub struct Credential {
    /// The workload's identity.
    pub identity: SpiffeId,
    /// When the certificate ends, seconds since 1970.
    pub not_after: i64,
    /// When it begins, seconds since 1970.
    pub not_before: i64,
    /// Who issued it: a name.
    pub issuer: String,
    /// Its serial number, hexadecimal.
    pub serial: String,
    /// The roots that peers are judged by, each as its SHA-256, in order and without doubles.
    pub roots: Vec<String>,
    /// Another number for each credential: connections of an old one carry nothing new.
    pub(crate) epoch: u64,
    key: Arc<CertifiedKey>,
    judge: Arc<Judge>,
    server: Arc<ServerConfig>,
    shared_only: Arc<ServerConfig>,
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credential").field("identity", &self.identity).finish_non_exhaustive()
    }
}

impl Credential {
    /// From PEM: the chain leaf first, its key, and the trusted roots.
    ///
    /// # Errors
    ///
    /// When one of them cannot be read, they do not belong together, or the certificate is no X.509-SVID.
    pub fn new(chain: &[u8], key: &[u8], roots: &[u8]) -> Result<Self, Error> {
        let unreadable = |error: rustls_pki_types::pem::Error| {
            Error::new(&codes::CERTIFICATE_UNREADABLE, PemProblem::from(error))
        };
        let chain =
            CertificateDer::pem_slice_iter(chain).collect::<Result<Vec<_>, _>>().map_err(unreadable)?;
        let roots =
            CertificateDer::pem_slice_iter(roots).collect::<Result<Vec<_>, _>>().map_err(unreadable)?;
        if roots.is_empty() {
            return Err(Error::new(&codes::CERTIFICATE_UNREADABLE, "there are no trusted roots"));
        }
        let key = PrivateKeyDer::from_pem_slice(key)
            .map_err(|error| Error::new(&serving::KEY_UNREADABLE, PemProblem::from(error)))?;
        let provider = provider::default_provider();
        let key = provider
            .key_provider
            .load_private_key(key)
            .map_err(|error| Error::new(&serving::KEY_UNREADABLE, error))?;
        let own = peer::describe(&chain, Verification::Unverified);
        let identity: SpiffeId = own.spiffe_id().unwrap_or_default().parse().map_err(
            |error: model::identity::IdentityError| {
                Error::new(&codes::CERTIFICATE_UNREADABLE, format!("it has no SPIFFE ID: {error}"))
            },
        )?;
        let certified = CertifiedKey::new(chain, key);
        certified.keys_match().map_err(|error| Error::new(&codes::KEY_MISMATCH, error))?;
        let mut fingerprints: Vec<String> = roots
            .iter()
            .map(|root| peer::describe(std::slice::from_ref(root), Verification::Unverified).sha256)
            .collect();
        fingerprints.sort();
        fingerprints.dedup();
        let trust = Trust::new(&roots).map_err(|error| Error::from_coded("the trusted roots", &error))?;
        let judge = Arc::new(Judge {
            trust,
            domain: identity.trust_domain().clone(),
            provider: Arc::clone(&provider),
        });
        let key = Arc::new(certified);
        let settings = |error: rustls::Error| Error::new(&serving::TLS_SETTINGS, error);
        let mut server = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(settings)?
            .with_client_cert_verifier(Arc::new(OfClients(Arc::clone(&judge))))
            .with_cert_resolver(Arc::new(SingleCertAndKey::from(Arc::clone(&key))));
        server.alpn_protocols = vec![ALPN.to_vec()];
        // Every connection is a full handshake: what was revoked or renewed takes effect with the next one.
        server.session_storage = Arc::new(NoServerSessionStorage {});
        server.send_tls13_tickets = 0;
        let shared_only = Arc::new(server.clone());
        // The first that the caller offers too.
        server.alpn_protocols.insert(0, direct::ALPN.to_vec());
        Ok(Self {
            identity,
            not_after: own.not_after,
            not_before: own.not_before,
            issuer: own.issuer,
            serial: own.serial,
            roots: fingerprints,
            epoch: EPOCH.fetch_add(1, Ordering::Relaxed),
            key,
            judge,
            server: Arc::new(server),
            shared_only,
        })
    }

    /// For connections of other proxies; without `takes_direct` they get HTTP/2, whatever else they know.
    pub(crate) fn server(&self, takes_direct: bool) -> Arc<ServerConfig> {
        Arc::clone(if takes_direct { &self.server } else { &self.shared_only })
    }

    /// For a connection to a proxy that has to prove `identity`; with `offers_direct` it may choose the plainer framing.
    pub(crate) fn client(
        &self,
        identity: &SpiffeId,
        offers_direct: bool,
    ) -> Result<Arc<ClientConfig>, Error> {
        let verifier = OfServer { judge: Arc::clone(&self.judge), expected: identity.clone() };
        let mut client = ClientConfig::builder_with_provider(Arc::clone(&self.judge.provider))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(|error| Error::new(&serving::TLS_SETTINGS, error))?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_client_cert_resolver(Arc::new(SingleCertAndKey::from(Arc::clone(&self.key))));
        client.enable_sni = false;
        client.resumption = Resumption::disabled();
        if offers_direct {
            client.alpn_protocols.push(direct::ALPN.to_vec());
        }
        client.alpn_protocols.push(ALPN.to_vec());
        Ok(Arc::new(client))
    }
}

/// Whom a workload believes: who chains to a root, and is of its trust domain.
struct Judge {
    trust: Trust,
    domain: TrustDomain,
    provider: Arc<CryptoProvider>,
}

impl fmt::Debug for Judge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Judge").field("domain", &self.domain).finish_non_exhaustive()
    }
}

/// Who the other end is, once its chain was verified.
pub(crate) fn identity_of(peer: &Peer) -> Result<SpiffeId, Rejection> {
    let refuse =
        |what: String| Rejection { code: &refusals::IDENTITY_NOT_ALLOWED, what, evidence: Vec::new() };
    let text = peer.spiffe_id().ok_or_else(|| {
        refuse(format!("the certificate has {} URI names, an X.509-SVID has one", peer.uris.len()))
    })?;
    text.parse().map_err(|error| refuse(format!("{text:?} is no SPIFFE ID: {error}")))
}

impl Judge {
    fn judge(
        &self,
        chain: &[CertificateDer<'_>],
        options: &verify::Options<'_>,
    ) -> Result<SpiffeId, Rejection> {
        verify::verify(chain, &self.trust, options)?;
        let identity = identity_of(&peer::describe(chain, Verification::Verified))?;
        if *identity.trust_domain() != self.domain {
            return Err(Rejection {
                code: &refusals::IDENTITY_NOT_ALLOWED,
                what: format!("{identity} is of another trust domain than {}", self.domain),
                evidence: Vec::new(),
            });
        }
        Ok(identity)
    }
}

fn chain<'a>(leaf: &CertificateDer<'a>, rest: &[CertificateDer<'a>]) -> Vec<CertificateDer<'a>> {
    std::iter::once(leaf).chain(rest).cloned().collect()
}

#[derive(Debug)]
struct OfClients(Arc<Judge>);

impl ClientCertVerifier for OfClients {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        let chain = chain(end_entity, intermediates);
        match self.0.judge(&chain, &verify::Options::client(now)) {
            Ok(_) => Ok(ClientCertVerified::assertion()),
            Err(rejection) => {
                let described = peer::shared(&chain, Verification::Failed(rejection.code));
                context::note(|notes| notes.peer = Some(described));
                Err(context::reject(rejection))
            }
        }
    }

    check_signatures!(0.provider);
}

#[derive(Debug)]
struct OfServer {
    judge: Arc<Judge>,
    expected: SpiffeId,
}

impl ServerCertVerifier for OfServer {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let chain = chain(end_entity, intermediates);
        let judged = self.judge.judge(&chain, &verify::Options::server(now, None)).and_then(|identity| {
            match identity == self.expected {
                true => Ok(ServerCertVerified::assertion()),
                false => Err(Rejection {
                    code: &refusals::SERVER_NAME_MISMATCH,
                    what: format!("it is {identity}, expected {}", self.expected),
                    evidence: Vec::new(),
                }),
            }
        });
        judged.map_err(context::reject)
    }

    check_signatures!(judge.provider);
}
