//! Whether a peer proved that it holds the key of its certificate. Checked always, whatever the policy, and
//! from the bare key: a pinned certificate may be of a kind (X.509 version 1, say) that webpki does not read.

use certs::verify::Rejection;
use model::codes::refusals;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls::{CertificateError, DigitallySignedStruct, Error, SignatureScheme};
use rustls_pki_types::{CertificateDer, SubjectPublicKeyInfoDer};
use webpki::RawPublicKeyEntity;
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;

use super::context::{note, reject};

/// The methods of rustls' `ClientCertVerifier` and `ServerCertVerifier` about signatures, which are the same for every
/// verifier here: `$provider` is the field, or path of fields, that holds the crypto provider.
macro_rules! check_signatures {
    ($($provider:tt).+) => {
        fn verify_tls12_signature(
            &self,
            message: &[u8],
            cert: &rustls_pki_types::CertificateDer<'_>,
            dss: &rustls::DigitallySignedStruct,
        ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
            let supported = &self.$($provider).+.signature_verification_algorithms;
            crate::tls::signature::verify_tls12(message, cert, dss, supported)
        }

        fn verify_tls13_signature(
            &self,
            message: &[u8],
            cert: &rustls_pki_types::CertificateDer<'_>,
            dss: &rustls::DigitallySignedStruct,
        ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
            let supported = &self.$($provider).+.signature_verification_algorithms;
            crate::tls::signature::verify_tls13(message, cert, dss, supported)
        }

        fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
            self.$($provider).+.signature_verification_algorithms.supported_schemes()
        }
    };
}
pub(crate) use check_signatures;

/// Checks the signature over the handshake in TLS 1.2 (RFC 5246, section 7.4.8).
pub(crate) fn verify_tls12(
    message: &[u8],
    certificate: &CertificateDer<'_>,
    signed: &DigitallySignedStruct,
    supported: &WebPkiSupportedAlgorithms,
) -> Result<HandshakeSignatureValid, Error> {
    // The scheme's curve does not bind the key's: each algorithm of the scheme may be the one.
    verify(message, certificate, signed, supported, usize::MAX)
}

/// Checks the signature over the handshake in TLS 1.3 (RFC 8446, section 4.4.3): RSA with PSS only.
pub(crate) fn verify_tls13(
    message: &[u8],
    certificate: &CertificateDer<'_>,
    signed: &DigitallySignedStruct,
    supported: &WebPkiSupportedAlgorithms,
) -> Result<HandshakeSignatureValid, Error> {
    if !is_for_tls13(signed.scheme) {
        return Err(rustls::PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme.into());
    }
    // The scheme names the curve, and the first algorithm is that one.
    verify(message, certificate, signed, supported, 1)
}

fn verify(
    message: &[u8],
    certificate: &CertificateDer<'_>,
    signed: &DigitallySignedStruct,
    supported: &WebPkiSupportedAlgorithms,
    most: usize,
) -> Result<HandshakeSignatureValid, Error> {
    let (_, parsed) =
        X509Certificate::from_der(certificate).map_err(|_| Error::from(CertificateError::BadEncoding))?;
    let spki = SubjectPublicKeyInfoDer::from(parsed.public_key().raw);
    let key = RawPublicKeyEntity::try_from(&spki).map_err(|_| Error::from(CertificateError::BadEncoding))?;
    let algorithms = supported
        .mapping
        .iter()
        .find(|(scheme, _)| *scheme == signed.scheme)
        .map(|(_, algorithms)| *algorithms)
        .ok_or(rustls::PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme)?;
    for algorithm in algorithms.iter().take(most) {
        match key.verify_signature(*algorithm, message, signed.signature()) {
            Ok(()) => return Ok(HandshakeSignatureValid::assertion()),
            #[allow(deprecated)] // Either form says that the key is of another kind: try the next algorithm.
            Err(
                webpki::Error::UnsupportedSignatureAlgorithmForPublicKey
                | webpki::Error::UnsupportedSignatureAlgorithmForPublicKeyContext(_),
            ) => {}
            Err(_) => break,
        }
    }
    let described = super::peer::shared(
        std::slice::from_ref(certificate),
        model::peer::Verification::Failed(&refusals::BAD_SIGNATURE),
    );
    note(|notes| notes.peer = Some(described));
    Err(reject(Rejection {
        code: &refusals::BAD_SIGNATURE,
        what: "the signature over the handshake does not fit the certificate's key".to_owned(),
        evidence: Vec::new(),
    }))
}

fn is_for_tls13(scheme: SignatureScheme) -> bool {
    matches!(
        scheme,
        SignatureScheme::ECDSA_NISTP256_SHA256
            | SignatureScheme::ECDSA_NISTP384_SHA384
            | SignatureScheme::ECDSA_NISTP521_SHA512
            | SignatureScheme::RSA_PSS_SHA256
            | SignatureScheme::RSA_PSS_SHA384
            | SignatureScheme::RSA_PSS_SHA512
            | SignatureScheme::ED25519
            | SignatureScheme::ED448
    )
}
