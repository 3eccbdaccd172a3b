//! A signed list as it is read back from where it was published. Others can write there: it counts only when its
//! authority signed it.

use rustls_pki_types::CertificateRevocationListDer;
use rustls_pki_types::pem::PemObject as _;
use time::OffsetDateTime;
use x509_parser::prelude::{FromDer as _, X509Certificate};
use x509_parser::revocation_list::CertificateRevocationList;

use super::List;
use crate::error::{Error, Result};
use crate::issuer::CaCertificate;
use crate::serial::Serial;

impl List {
    /// Reads a list in PEM, with the serial numbers on it.
    ///
    /// # Errors
    ///
    /// When it is none, or this authority did not sign it.
    pub fn read(name: &str, text: &str, issuer: &CaCertificate) -> Result<(Self, Vec<Serial>)> {
        let broken = |why: &str| Error::Broken(format!("the revocation list of {name} {why}"));
        let der = CertificateRevocationListDer::from_pem_slice(text.as_bytes())
            .map_err(|_| broken("is no list in PEM"))?;
        let (_, list) = CertificateRevocationList::from_der(&der).map_err(|_| broken("cannot be read"))?;
        let (_, above) = X509Certificate::from_der(&issuer.der).map_err(|_| broken("has no authority"))?;
        if list.issuer().as_raw() != issuer.subject_der || list.verify_signature(above.public_key()).is_err()
        {
            return Err(broken("was not signed by it"));
        }
        let date = |seconds| {
            OffsetDateTime::from_unix_timestamp(seconds).map_err(|_| broken("has a date that is none"))
        };
        let next = list.next_update().ok_or_else(|| broken("does not say when the next one comes"))?;
        let number = list.crl_number().map(|number| number.to_bytes_be()).unwrap_or_default();
        let number = number.iter().fold(0_u64, |all, byte| (all << 8) | u64::from(*byte));
        let serials = list.iter_revoked_certificates().map(|e| Serial::from_bytes(e.raw_serial())).collect();
        let read = Self {
            authority: name.to_owned(),
            number,
            this_update: date(list.last_update().timestamp())?,
            next_update: date(next.timestamp())?,
            der: der.to_vec(),
            offline: false,
            outdated: false,
            retired: false,
        };
        Ok((read, serials))
    }
}
