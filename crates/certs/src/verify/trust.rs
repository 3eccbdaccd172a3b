//! What a listener, a client or a command believes in: anchors, intermediates, revocation lists.
//!
//! Built once when the configuration is loaded (everything that is wrong with a file is said then) and
//! shared by every handshake.

use std::collections::{BTreeMap, BTreeSet};

use model::codes::{Code, Coded, certificates, refusals};
use rustls_pki_types::{CertificateDer, TrustAnchor, UnixTime};
use webpki::{CertRevocationList, OwnedCertRevocationList, anchor_from_trusted_cert};
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;
use x509_parser::revocation_list::CertificateRevocationList;

use super::{Rejection, reason, strength};

/// At most so many ways of choosing one list per issuer name are tried.
const MAX_CRL_CHOICES: usize = 16;

/// Anchors, intermediates and revocation lists, checked and ready for use.
#[derive(Debug, Default)]
pub struct Trust {
    anchors: Vec<TrustAnchor<'static>>,
    /// The certificate of each anchor, at the same index.
    certificates: Vec<CertificateDer<'static>>,
    completing: Vec<CertificateDer<'static>>,
    known: Vec<CertificateDer<'static>>,
    /// The newest list of each issuer key; by the issuer's name.
    crls: BTreeMap<Vec<u8>, Vec<CertRevocationList<'static>>>,
    /// The names, DER, of the authorities that have a revocation list here: whoever names one of them as its
    /// issuer is no stranger, only incomplete.
    listing: BTreeSet<Vec<u8>>,
}

/// A trusted certificate or a revocation list that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// A certificate cannot be understood.
    #[error("the trusted certificate number {position} cannot be understood: {detail}")]
    Certificate {
        /// Its place in the list, from 1.
        position: usize,
        /// What is wrong with it.
        detail: String,
    },
    /// A certificate of the list is not an authority's.
    #[error("the trusted certificate {subject} is not a certificate authority")]
    NotAnAuthority {
        /// Whom it names.
        subject: String,
    },
    /// A revocation list cannot be understood.
    #[error("the revocation list number {position} cannot be understood: {detail}")]
    RevocationList {
        /// Its place in the list, from 1.
        position: usize,
        /// What is wrong with it.
        detail: String,
    },
}

impl Coded for TrustError {
    fn code(&self) -> &'static Code {
        match self {
            Self::Certificate { .. } => &certificates::CERTIFICATE_UNREADABLE,
            Self::NotAnAuthority { .. } => &certificates::NOT_AN_AUTHORITY,
            Self::RevocationList { .. } => &certificates::CRL_UNREADABLE,
        }
    }
}

impl Trust {
    /// Trusts the certificates of a CA file.
    ///
    /// One whose issuer stands in the same list is no anchor: it completes chains, and its dates and its
    /// revocation are checked as if the peer had sent it. All others are anchors, also those that are
    /// not self-signed.
    ///
    /// # Errors
    ///
    /// [`TrustError`] when a certificate is malformed or says that it is no authority.
    pub fn new(list: &[CertificateDer<'_>]) -> Result<Self, TrustError> {
        let mut parsed = Vec::with_capacity(list.len());
        for (index, der) in list.iter().enumerate() {
            let unreadable = |detail: String| TrustError::Certificate { position: index + 1, detail };
            let (rest, cert) =
                X509Certificate::from_der(der).map_err(|error| unreadable(error.to_string()))?;
            if !rest.is_empty() {
                return Err(unreadable("data follows it".to_owned()));
            }
            // Version 1 has no basic constraints; such old roots are anchors all the same.
            let authority = match cert.basic_constraints() {
                Ok(Some(constraints)) => constraints.value.ca,
                Ok(None) => cert.version.0 == 0,
                Err(error) => return Err(unreadable(error.to_string())),
            };
            if !authority {
                return Err(TrustError::NotAnAuthority { subject: cert.subject().to_string() });
            }
            parsed.push(cert);
        }
        let mut trust = Self::default();
        for (index, (der, cert)) in list.iter().zip(&parsed).enumerate() {
            let owned = der.clone().into_owned();
            let issued_here = cert.subject().as_raw() != cert.issuer().as_raw()
                && parsed.iter().any(|issuer| reason::may_have_issued(issuer, cert));
            if issued_here {
                trust.completing.push(owned);
                continue;
            }
            let anchor = anchor_from_trusted_cert(&owned)
                .map_err(|error| TrustError::Certificate {
                    position: index + 1,
                    detail: reason::in_words(&error),
                })?
                .to_owned();
            trust.anchors.push(anchor);
            trust.certificates.push(owned);
        }
        Ok(trust)
    }

    /// Names intermediates that exist but are not trusted to complete a chain: a peer that forgot to send
    /// one of them is told so. What cannot be understood is left out.
    pub fn with_known_intermediates(mut self, list: &[CertificateDer<'_>]) -> Self {
        self.known.extend(
            list.iter()
                .filter(|der| X509Certificate::from_der(der).is_ok())
                .map(|der| der.clone().into_owned()),
        );
        self
    }

    /// Adds revocation lists (DER). Of several lists of one authority the newest is kept.
    ///
    /// # Errors
    ///
    /// [`TrustError::RevocationList`] when one is malformed or of a kind that is not supported (delta,
    /// indirect, or split by reason).
    pub fn with_crls<D: AsRef<[u8]>>(mut self, ders: &[D]) -> Result<Self, TrustError> {
        /// Issuer, its key identifier and the distribution point tell lists of one name apart.
        type Scope = (Vec<u8>, Vec<u8>, Vec<u8>);
        let mut newest: BTreeMap<Scope, (i64, CertRevocationList<'static>)> = BTreeMap::new();
        for (index, der) in ders.iter().enumerate() {
            let der = der.as_ref();
            let unreadable = |detail: String| TrustError::RevocationList { position: index + 1, detail };
            let (_, list) =
                CertificateRevocationList::from_der(der).map_err(|error| unreadable(error.to_string()))?;
            let owned = OwnedCertRevocationList::from_der(der)
                .map_err(|error| unreadable(reason::in_words(&error)))?;
            let crl = CertRevocationList::from(owned);
            let key = (
                crl.issuer().to_vec(),
                reason::authority_key_id(list.extensions()).unwrap_or_default().to_vec(),
                crl.issuing_distribution_point().unwrap_or_default().to_vec(),
            );
            self.listing.insert(list.issuer().as_raw().to_vec());
            let issued = list.last_update().timestamp();
            match newest.get(&key) {
                Some((known, _)) if *known > issued => {}
                _ => {
                    newest.insert(key, (issued, crl));
                }
            }
        }
        for ((issuer, ..), (_, crl)) in newest {
            self.crls.entry(issuer).or_default().push(crl);
        }
        Ok(self)
    }

    /// Whether anything is trusted at all.
    pub fn is_empty(&self) -> bool {
        self.anchors.is_empty()
    }

    /// The certificates of the anchors; a listener names their subjects in its certificate request.
    pub fn roots(&self) -> &[CertificateDer<'static>] {
        &self.certificates
    }

    /// The intermediates that complete chains.
    pub fn completing(&self) -> &[CertificateDer<'static>] {
        &self.completing
    }

    /// The intermediates that are known by name only.
    pub(super) fn known(&self) -> &[CertificateDer<'static>] {
        &self.known
    }

    /// Whether an authority of this name (DER) has a revocation list here.
    pub(super) fn lists(&self, issuer: &[u8]) -> bool {
        self.listing.contains(issuer)
    }

    /// Whether a revocation list is there.
    pub fn has_crls(&self) -> bool {
        !self.crls.is_empty()
    }

    pub(super) fn anchors(&self) -> &[TrustAnchor<'static>] {
        &self.anchors
    }

    pub(super) fn certificate_of(&self, anchor: &TrustAnchor<'_>) -> Option<&CertificateDer<'static>> {
        // Two anchors may share name and key (a renewed root): the address tells them apart.
        let index = self.anchors.iter().position(|own| std::ptr::addr_eq(own, anchor))?;
        self.certificates.get(index)
    }

    /// webpki looks at nothing but an anchor's name, key and name constraints; its dates and the strength
    /// of its key count too, as they do for OpenSSL.
    pub(super) fn check_anchor(&self, anchor: &TrustAnchor<'_>, now: UnixTime) -> Result<(), Rejection> {
        let Some(der) = self.certificate_of(anchor) else {
            return Err(Rejection::new(&refusals::UNKNOWN_ISSUER, "its authority is not trusted"));
        };
        let (_, cert) = X509Certificate::from_der(der)
            .map_err(|error| Rejection::new(&refusals::BAD_CERTIFICATE, error))?;
        strength::require(&cert)?;
        reason::check_dates(&cert, now).map_err(|rejection| rejection.with("root", cert.subject()))
    }

    /// Every way to choose lists such that there is one per issuer name and partition. Usually one way.
    pub(super) fn crl_choices(&self) -> Vec<Vec<&CertRevocationList<'static>>> {
        if self.crls.is_empty() {
            return Vec::new();
        }
        let mut choices: Vec<Vec<&CertRevocationList<'static>>> = vec![Vec::new()];
        for lists in self.crls.values() {
            let mut longer = Vec::new();
            for choice in &choices {
                for turn in 0..lists.len() {
                    let (head, tail) = lists.split_at(turn);
                    longer.push(choice.iter().copied().chain(tail).chain(head).collect());
                }
            }
            longer.truncate(MAX_CRL_CHOICES);
            choices = longer;
        }
        choices
    }
}
