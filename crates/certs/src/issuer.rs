//! An issuing certificate as it is read from its DER, and the pair of it with its key that signs.
//! Own ones and imported ones go the same way.

use rcgen::{Issuer as RcgenIssuer, PublicKeyData as _};
use rustls_pki_types::CertificateDer;
use time::OffsetDateTime;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::error::{Error, Result};
use crate::key::PrivateKey;
use crate::serial::Serial;
use crate::text::{pem, rfc3339};

/// What matters of an authority's certificate.
#[derive(Clone, Debug)]
pub struct CaCertificate {
    /// The certificate itself.
    pub der: Vec<u8>,
    /// Subject, as OpenSSL's one-line form.
    pub subject: String,
    /// The subject's DER: what must stand as issuer in all that it signs.
    pub subject_der: Vec<u8>,
    /// Serial number.
    pub serial: Serial,
    /// Start of validity.
    pub not_before: OffsetDateTime,
    /// End of validity.
    pub not_after: OffsetDateTime,
    /// Subject key identifier, when it has one.
    pub key_id: Option<Vec<u8>>,
    /// How many intermediates may follow; `None` is any number.
    pub path_length: Option<u32>,
    /// Whether it may sign revocation lists.
    pub signs_crls: bool,
    /// Whether subject and issuer are the same name.
    pub self_issued: bool,
    /// SubjectPublicKeyInfo, DER.
    pub public_key: Vec<u8>,
}

impl CaCertificate {
    /// Reads a certificate, and refuses what cannot be an authority.
    pub fn parse(der: &[u8]) -> Result<Self> {
        let (rest, x509) = X509Certificate::from_der(der)
            .map_err(|e| Error::Broken(format!("this is no X.509 certificate: {e}")))?;
        if !rest.is_empty() {
            return Err(Error::Broken("bytes follow the certificate".into()));
        }
        let subject = x509.subject().to_string();
        let unusable = |reason: &str| Error::Unusable { subject: subject.clone(), reason: reason.to_owned() };
        let constraints = x509
            .basic_constraints()
            .map_err(|_| unusable("its basicConstraints cannot be read"))?
            .ok_or_else(|| unusable("it has no basicConstraints"))?;
        if !constraints.value.ca {
            return Err(unusable("its basicConstraints say CA:FALSE"));
        }
        let usage = x509.key_usage().map_err(|_| unusable("its keyUsage cannot be read"))?;
        if usage.as_ref().is_some_and(|usage| !usage.value.key_cert_sign()) {
            return Err(unusable("its keyUsage lacks keyCertSign"));
        }
        let key_id = x509.extensions().iter().find_map(|extension| match extension.parsed_extension() {
            x509_parser::extensions::ParsedExtension::SubjectKeyIdentifier(id) => Some(id.0.to_vec()),
            _ => None,
        });
        Ok(Self {
            subject_der: x509.subject().as_raw().to_vec(),
            serial: Serial::from_bytes(x509.raw_serial()),
            not_before: x509.validity().not_before.to_datetime(),
            not_after: x509.validity().not_after.to_datetime(),
            path_length: constraints.value.path_len_constraint,
            signs_crls: usage.is_none_or(|usage| usage.value.crl_sign()),
            self_issued: x509.subject().as_raw() == x509.issuer().as_raw(),
            public_key: x509.public_key().raw.to_vec(),
            der: der.to_vec(),
            key_id,
            subject,
        })
    }

    /// PEM.
    pub fn to_pem(&self) -> String {
        pem("CERTIFICATE", &self.der)
    }

    /// Refuses to sign outside of the certificate's own validity, which also shows a wrong clock.
    pub fn check_time(&self, now: OffsetDateTime) -> Result<()> {
        if now < self.not_before {
            return Err(Error::Clock {
                now: rfc3339(now),
                issuer: self.subject.clone(),
                from: rfc3339(self.not_before),
            });
        }
        if now >= self.not_after {
            return Err(Error::IssuerExpired { issuer: self.subject.clone(), at: rfc3339(self.not_after) });
        }
        Ok(())
    }

    /// Verifies that this certificate's key signed the other one.
    pub fn signed(&self, der: &[u8]) -> Result<()> {
        let broken = || Error::Broken(format!("a certificate was not signed by {}", self.subject));
        let (_, issuer) = X509Certificate::from_der(&self.der).map_err(|_| broken())?;
        let (_, signed) = X509Certificate::from_der(der).map_err(|_| broken())?;
        if signed.issuer().as_raw() != issuer.subject().as_raw() {
            return Err(broken());
        }
        signed.verify_signature(Some(issuer.public_key())).map_err(|_| broken())
    }
}

/// An authority's certificate with its key.
#[derive(Debug)]
pub struct Issuer {
    certificate: CaCertificate,
    signer: RcgenIssuer<'static, PrivateKey>,
}

impl Issuer {
    /// Pairs them, and refuses a key of another certificate.
    pub fn new(certificate: CaCertificate, key: PrivateKey) -> Result<Self> {
        if key.subject_public_key_info() != certificate.public_key {
            return Err(Error::KeyMismatch(certificate.subject));
        }
        let der = CertificateDer::from(certificate.der.as_slice());
        let signer = RcgenIssuer::from_ca_cert_der(&der, key).map_err(|e| Error::Unusable {
            subject: certificate.subject.clone(),
            reason: format!("its name or extensions cannot be read: {e}"),
        })?;
        Ok(Self { certificate, signer })
    }

    /// The certificate.
    pub fn certificate(&self) -> &CaCertificate {
        &self.certificate
    }

    /// For rcgen: the name and key that sign.
    pub(crate) fn signer(&self) -> &RcgenIssuer<'static, PrivateKey> {
        &self.signer
    }

    /// The key.
    pub fn key(&self) -> &PrivateKey {
        self.signer.key()
    }

    /// The key identifier that goes into what it signs.
    pub(crate) fn key_id(&self) -> rcgen::KeyIdMethod {
        match &self.certificate.key_id {
            Some(id) => rcgen::KeyIdMethod::PreSpecified(id.clone()),
            None => rcgen::KeyIdMethod::Sha256,
        }
    }
}
