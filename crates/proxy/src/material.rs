//! What a state has loaded from files: kept to be carried over, watched for its end, and counted.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use certs::PemProblem;
use certs::verify::Trust;
use model::codes::certificates as codes;
use model::snapshot::CertificateFiles;
use rustls::DistinguishedName;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer};
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer as _;
use x509_parser::revocation_list::CertificateRevocationList;

use crate::error::Error;
use crate::policy::CompiledPolicy;
use crate::state::Assembly;
use crate::tls::certificates::{self, Certificate};

/// All of it.
#[derive(Default)]
pub(crate) struct Material {
    pub(crate) certificates: HashMap<CertificateFiles, Arc<Certificate>>,
    pub(crate) policies: Vec<Arc<CompiledPolicy>>,
    pub(crate) lists: Vec<List>,
}

/// A revocation list.
pub(crate) struct List {
    pub(crate) file: PathBuf,
    pub(crate) issuer: String,
    /// When it ends, seconds since 1970; none: it does not say.
    pub(crate) until: Option<i64>,
    der: Vec<u8>,
}

/// The certificates of authority files.
#[derive(Default)]
pub(crate) struct Authorities {
    list: Vec<CertificateDer<'static>>,
    files: Vec<PathBuf>,
}

impl Authorities {
    pub(crate) fn read(paths: &[PathBuf], assembly: &mut Assembly<'_>) -> Result<Self, Error> {
        let mut all = Self::default();
        for path in paths {
            let pem = assembly.read(path)?;
            all.list.extend(certificates::certificates(&pem, &assembly.path(path))?);
            all.files.push(assembly.path(path));
        }
        Ok(all)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// The subjects, for the certificate request.
    pub(crate) fn subjects(&self) -> Vec<DistinguishedName> {
        self.list
            .iter()
            .filter_map(|der| {
                let (_, cert) = X509Certificate::from_der(der).ok()?;
                Some(DistinguishedName::from(cert.subject().as_raw().to_vec()))
            })
            .collect()
    }

    pub(crate) fn content(&self) -> Vec<u8> {
        lengths_and_bytes(self.list.iter().map(AsRef::as_ref))
    }

    pub(crate) fn and(mut self, mut other: Self) -> Self {
        self.list.append(&mut other.list);
        self.files.append(&mut other.files);
        self
    }

    /// What is believed.
    pub(crate) fn trust(self, lists: &Lists) -> Result<Trust, Error> {
        let place = |files: &[PathBuf]| {
            files.iter().map(|file| file.display().to_string()).collect::<Vec<_>>().join(", ")
        };
        let trust = Trust::new(&self.list).map_err(|error| Error::from_coded(place(&self.files), &error))?;
        let ders: Vec<&[u8]> = lists.0.iter().map(|list| list.der.as_slice()).collect();
        let files: Vec<PathBuf> = lists.0.iter().map(|list| list.file.clone()).collect();
        trust.with_crls(&ders).map_err(|error| Error::from_coded(place(&files), &error))
    }
}

/// Revocation lists of some files.
pub(crate) struct Lists(Vec<List>);

impl Lists {
    pub(crate) fn read(paths: &[PathBuf], assembly: &mut Assembly<'_>) -> Result<Self, Error> {
        let mut all = Vec::new();
        for path in paths {
            let bytes = assembly.read(path)?;
            let file = assembly.path(path);
            for der in ders(&bytes, &file)? {
                let (_, list) = CertificateRevocationList::from_der(&der)
                    .map_err(|error| unreadable(&file, &error.to_string()))?;
                all.push(List {
                    file: file.clone(),
                    issuer: list.issuer().to_string(),
                    until: list.next_update().map(|time| time.timestamp()),
                    der,
                });
            }
        }
        Ok(Self(all))
    }

    pub(crate) fn content(&self) -> Vec<u8> {
        lengths_and_bytes(self.0.iter().map(|list| list.der.as_slice()))
    }

    /// When they end.
    pub(crate) fn until(&self) -> Vec<i64> {
        self.0.iter().filter_map(|list| list.until).collect()
    }

    pub(crate) fn ders(&self) -> Vec<Vec<u8>> {
        self.0.iter().map(|list| list.der.clone()).collect()
    }

    pub(crate) fn into_entries(self) -> Vec<List> {
        self.0
    }
}

/// PEM (any number) or one DER.
fn ders(bytes: &[u8], file: &Path) -> Result<Vec<Vec<u8>>, Error> {
    if bytes.first() == Some(&0x30) {
        return Ok(vec![bytes.to_vec()]);
    }
    let lists = CertificateRevocationListDer::pem_slice_iter(bytes)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| unreadable(file, &PemProblem::from(error).to_string()))?;
    if lists.is_empty() {
        return Err(unreadable(file, "it holds no revocation list"));
    }
    Ok(lists.into_iter().map(|list| list.to_vec()).collect())
}

fn unreadable(file: &Path, detail: &str) -> Error {
    Error::new(&codes::CRL_UNREADABLE, format!("{} cannot be used: {detail}", file.display()))
}

fn lengths_and_bytes<'a>(parts: impl Iterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut all = Vec::new();
    for part in parts {
        all.extend_from_slice(&(part.len() as u64).to_be_bytes());
        all.extend_from_slice(part);
    }
    all
}
