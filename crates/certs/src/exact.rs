//! The issuer's name byte for byte. rcgen rebuilds it from its parts, which loses names that hold one
//! attribute twice (`DC=corp, DC=example`, the rule in Active Directory) or in an unusual string type;
//! verifiers compare the bytes, so a certificate with a rebuilt name would chain to nothing.
//! Where the name differs, it is put into the signed part as it is, and that is signed again.

use rcgen::SigningKey as _;
use x509_parser::prelude::{FromDer as _, X509Certificate};
use x509_parser::revocation_list::CertificateRevocationList;

use crate::error::{Error, Result};
use crate::issuer::Issuer;

/// Gives a certificate the exact name of its issuer.
pub(crate) fn with_issuer_name(der: &[u8], issuer: &Issuer) -> Result<Vec<u8>> {
    let (_, x509) = X509Certificate::from_der(der).map_err(unreadable)?;
    rename(der, x509.tbs_certificate.as_ref(), x509.issuer().as_raw(), issuer)
}

/// Gives a revocation list the exact name of its issuer.
pub(crate) fn crl_with_issuer_name(der: &[u8], issuer: &Issuer) -> Result<Vec<u8>> {
    let (_, crl) = CertificateRevocationList::from_der(der).map_err(unreadable)?;
    rename(der, crl.tbs_cert_list.as_ref(), crl.tbs_cert_list.issuer.as_raw(), issuer)
}

fn unreadable(error: impl std::fmt::Display) -> Error {
    Error::Signing(format!("what was signed cannot be read back: {error}"))
}

fn rename(der: &[u8], signed: &[u8], name: &[u8], issuer: &Issuer) -> Result<Vec<u8>> {
    let wanted = issuer.certificate().subject_der.as_slice();
    if name == wanted {
        return Ok(der.to_vec());
    }
    let lost = || Error::Signing("the issuer's name was not found in what was signed".into());
    // `name` is a slice of `signed`, which begins with its own tag and length.
    let at = (name.as_ptr() as usize).checked_sub(signed.as_ptr() as usize).ok_or_else(lost)?;
    let header = header_length(signed).ok_or_else(lost)?;
    let before = signed.get(header..at).ok_or_else(lost)?;
    let after = signed.get(at + name.len()..).ok_or_else(lost)?;
    let inner = sequence(&[before, wanted, after].concat());

    // The outer sequence: signed part, algorithm, signature. The algorithm is the same as before.
    let outer = header_length(der).ok_or_else(lost)?;
    let tail = der.get(outer + signed.len()..).ok_or_else(lost)?;
    let algorithm = tail.get(..element_length(tail).ok_or_else(lost)?).ok_or_else(lost)?;
    let signature = issuer.key().sign(&inner)?;
    let bits = element(0x03, &[&[0], signature.as_slice()].concat());
    Ok(sequence(&[inner.as_slice(), algorithm, &bits].concat()))
}

fn sequence(content: &[u8]) -> Vec<u8> {
    element(0x30, content)
}

/// A DER element: tag, length in its shortest form (X.690, section 10.1), content.
fn element(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut out = vec![tag];
    match u8::try_from(content.len()) {
        Ok(short) if short < 0x80 => out.push(short),
        _ => {
            let bytes = content.len().to_be_bytes();
            let digits = &bytes[bytes.iter().position(|b| *b != 0).unwrap_or(bytes.len() - 1)..];
            out.push(0x80 | digits.len() as u8);
            out.extend_from_slice(digits);
        }
    }
    out.extend_from_slice(content);
    out
}

/// How many bytes the tag and length of the first element take.
fn header_length(der: &[u8]) -> Option<usize> {
    match *der.get(1)? {
        short if short < 0x80 => Some(2),
        long => Some(2 + usize::from(long & 0x7f)),
    }
}

/// How many bytes the first element takes as a whole.
fn element_length(der: &[u8]) -> Option<usize> {
    let header = header_length(der)?;
    let length = match header {
        2 => usize::from(*der.get(1)?),
        _ => der
            .get(2..header)?
            .iter()
            .try_fold(0usize, |sum, b| sum.checked_mul(256)?.checked_add(usize::from(*b)))?,
    };
    header.checked_add(length)
}
