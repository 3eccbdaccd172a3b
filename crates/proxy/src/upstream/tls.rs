//! TLS to a service: its certificate is verified against given authorities or the system's, by name or by
//! SPIFFE ID; ours is shown where mutual TLS is configured.

use std::fmt;
use std::sync::Arc;

use certs::verify::{self, Rejection, Trust};
use model::codes::{refusals, serving};
use model::peer::Verification;
use model::snapshot::UpstreamTls;
use rustls::client::Resumption;
use rustls::client::danger::{ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::sign::SingleCertAndKey;
use rustls::{ClientConfig, Error as TlsError, HandshakeKind};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::TlsConnector;

use super::connect::UpstreamError;
use super::{Target, UpstreamStream};
use crate::error::Error;
use crate::policy::sha256;
use crate::state::Assembly;
use crate::tls::provider::{self, Choice};
use crate::tls::signature::check_signatures;
use crate::tls::{context, peer};
use crate::transport::Transport;

/// Sessions that are kept per service, for resumption.
const SESSIONS: usize = 64;

/// What a service must show, and what it is shown.
pub(super) struct ServerIdentity {
    http: TlsConnector,
    stream: TlsConnector,
    verifier: Arc<Verifier>,
    name: Option<ServerName<'static>>,
    /// Everything that a connection depends on, by content.
    pub(super) content: [u8; 32],
}

impl ServerIdentity {
    pub(super) fn new(
        service: &str,
        tls: &UpstreamTls,
        protocols: &[&[u8]],
        assembly: &mut Assembly<'_>,
    ) -> Result<Self, Error> {
        let choice =
            Choice { ciphers: &tls.ciphers, groups: &[], min: tls.min_version, max: tls.max_version };
        let (provider, versions) = provider::chosen(choice)?;
        let mut content = vec![format!("{tls:?}").into_bytes()];
        let trust = match (tls.verify, tls.ca.is_empty()) {
            (false, _) => {
                tracing::warn!(
                    code = serving::UPSTREAM_NOT_VERIFIED.id,
                    service,
                    "{}",
                    serving::UPSTREAM_NOT_VERIFIED.title
                );
                Trust::default()
            }
            (true, true) => system_trust(tls, assembly)?,
            (true, false) => {
                let trusted = assembly.trust(&tls.ca, &tls.crl)?;
                content.push(trusted.content.to_vec());
                trusted.trust
            }
        };
        let name = match &tls.name {
            Some(name) => Some(server_name(name)?),
            None => None,
        };
        let verifier = Arc::new(Verifier {
            trust,
            verify: tls.verify,
            depth: tls.depth.into(),
            revocation: if tls.crl.is_empty() {
                verify::Revocation::Off
            } else {
                verify::Revocation::Require
            },
            identities: tls.identities.clone(),
            provider: Arc::clone(&provider),
        });
        let settings =
            |error: TlsError| Error::new(&serving::TLS_SETTINGS, format!("service {service}: {error}"));
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&versions)
            .map_err(settings)?
            .dangerous()
            .with_custom_certificate_verifier(Arc::clone(&verifier) as _);
        let mut config = match &tls.certificate {
            Some(files) => {
                let certificate = assembly.certificate(files)?;
                content.push(certificate.content.to_vec());
                builder
                    .with_client_cert_resolver(Arc::new(SingleCertAndKey::from(Arc::clone(&certificate.key))))
            }
            None => builder.with_no_client_auth(),
        };
        config.enable_sni = tls.sni;
        config.resumption =
            if tls.resume { Resumption::in_memory_sessions(SESSIONS) } else { Resumption::disabled() };
        let stream = TlsConnector::from(Arc::new(config.clone()));
        config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
        let http = TlsConnector::from(Arc::new(config));
        Ok(Self { http, stream, verifier, name, content: sha256(content) })
    }

    /// Makes the handshake.
    pub(super) async fn handshake(
        &self,
        transport: Transport,
        target: &Target,
        is_http: bool,
    ) -> Result<UpstreamStream, UpstreamError> {
        let fail =
            |reason, detail| UpstreamError::Tls { endpoint: target.as_str().to_owned(), reason, detail };
        let name = match &self.name {
            Some(name) => name.clone(),
            None => server_name(target.host())
                .map_err(|error| fail(&refusals::SERVER_NAME_MISMATCH, error.to_string()))?,
        };
        let connector = if is_http { &self.http } else { &self.stream };
        let (done, notes) = context::within(connector.connect(name.clone(), transport)).await;
        let stream = done.map_err(|error| {
            if let Some(rejection) = notes.rejection {
                return fail(rejection.code, rejection.to_string());
            }
            let alert = matches!(
                error.get_ref().and_then(|inner| inner.downcast_ref::<TlsError>()),
                Some(TlsError::AlertReceived(_))
            );
            let code = if alert { &refusals::PEER_ALERT } else { &serving::UPSTREAM_TLS };
            fail(code, error.to_string())
        })?;
        let tls = stream.get_ref().1;
        let chain = tls.peer_certificates().unwrap_or_default();
        // A resumed session passes the same gate as a full handshake (invariant 6).
        if tls.handshake_kind() == Some(HandshakeKind::Resumed) {
            self.verifier
                .judge(chain, &name, UnixTime::now())
                .map_err(|rejection| fail(rejection.code, rejection.to_string()))?;
        }
        let verification =
            if self.verifier.verify { Verification::Verified } else { Verification::Unverified };
        let seen = (!chain.is_empty()).then(|| peer::shared(chain, verification));
        Ok(UpstreamStream::tls(stream, seen))
    }
}

fn server_name(text: &str) -> Result<ServerName<'static>, Error> {
    ServerName::try_from(text.to_owned()).map_err(|_| {
        Error::new(&serving::TLS_SETTINGS, format!("{text:?} is not a name that a certificate can have"))
    })
}

/// The system's store, as OpenSSL and Go find it (`SSL_CERT_FILE`, `SSL_CERT_DIR` are honoured).
fn system_trust(tls: &UpstreamTls, assembly: &mut Assembly<'_>) -> Result<Trust, Error> {
    let found = rustls_native_certs::load_native_certs();
    // One odd certificate among a hundred is no reason not to start; each is tried by itself.
    let usable: Vec<CertificateDer<'static>> =
        found.certs.into_iter().filter(|der| Trust::new(std::slice::from_ref(der)).is_ok()).collect();
    if usable.is_empty() {
        return Err(Error::new(&serving::TLS_SETTINGS, "the system has no trusted certificates")
            .fix("install them (apt install ca-certificates), or name authorities under tls.ca"));
    }
    let lists = assembly.lists(&tls.crl)?;
    let trust = Trust::new(&usable).map_err(|error| Error::from_coded("the system's store", &error))?;
    trust.with_crls(&lists).map_err(|error| Error::from_coded("tls.crl", &error))
}

struct Verifier {
    trust: Trust,
    verify: bool,
    depth: usize,
    revocation: verify::Revocation,
    identities: Vec<String>,
    provider: Arc<CryptoProvider>,
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verifier").field("verify", &self.verify).finish_non_exhaustive()
    }
}

impl Verifier {
    fn judge(
        &self,
        chain: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        now: UnixTime,
    ) -> Result<(), Rejection> {
        if !self.verify {
            return Ok(());
        }
        let by_name = self.identities.is_empty();
        let options = verify::Options {
            depth: Some(self.depth),
            revocation: self.revocation,
            ..verify::Options::server(now, by_name.then_some(name))
        };
        verify::verify(chain, &self.trust, &options).map_err(|rejection| named(rejection, chain))?;
        if by_name {
            return Ok(());
        }
        let seen = peer::describe(chain, Verification::Verified);
        match seen.spiffe_id() {
            Some(id) if self.identities.iter().any(|wanted| wanted == id) => Ok(()),
            _ => Err(Rejection {
                code: &refusals::SERVER_NAME_MISMATCH,
                what: format!(
                    "the server is {}, expected {}",
                    if seen.uris.is_empty() { seen.name().to_owned() } else { seen.uris.join(", ") },
                    self.identities.join(" or ")
                ),
                evidence: Vec::new(),
            }),
        }
    }
}

/// Says for which names a certificate is valid, when it is not for the wanted one.
fn named(mut rejection: Rejection, chain: &[CertificateDer<'_>]) -> Rejection {
    if rejection.code == &refusals::SERVER_NAME_MISMATCH {
        let seen = peer::describe(chain, Verification::Unverified);
        let names: Vec<String> = seen.dns.iter().chain(&seen.uris).cloned().collect();
        if !names.is_empty() {
            rejection.what = format!("{}; it is valid for {}", rejection.what, names.join(", "));
        }
    }
    rejection
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, TlsError> {
        let mut chain = vec![end_entity.clone()];
        chain.extend(intermediates.iter().cloned());
        match self.judge(&chain, server_name, now) {
            Ok(()) => Ok(ServerCertVerified::assertion()),
            Err(rejection) => Err(context::reject(rejection)),
        }
    }

    check_signatures!(provider);
}
