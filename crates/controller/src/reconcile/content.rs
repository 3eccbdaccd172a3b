//! What is written into a Secret: the same keys as `kubectl create secret tls`, `ca.crt`, and the further forms that
//! are asked for, with the record of the certificate in the annotations of the same write.

use std::collections::BTreeMap;

use certs::formats::{combined, jks, pkcs12};
use certs::{certificates_of_pem, rfc3339};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::Resource as _;
use rustls_pki_types::CertificateDer;

use super::pair::Pair;
use super::wanted::Wanted;
use crate::authority::State;
use crate::certificate::Certificate;
use crate::error::{Error, Result};
use crate::names::{MANAGED_LABEL, secret as annotation};

/// The alias of the pair in keystores, and the beginning of those of roots in trust stores.
const ALIAS: &str = "handfast";

const COMBINED: &str = "tls-combined.pem";
const KEYSTORE_P12: &str = "keystore.p12";
const TRUSTSTORE_P12: &str = "truststore.p12";
const KEYSTORE_JKS: &str = "keystore.jks";
const TRUSTSTORE_JKS: &str = "truststore.jks";

/// The keys beyond those of every Secret.
pub const KEYS: [&str; 5] = [COMBINED, KEYSTORE_P12, TRUSTSTORE_P12, KEYSTORE_JKS, TRUSTSTORE_JKS];

/// Those of [`KEYS`] that are asked for.
pub fn keys(wanted: &Wanted) -> Vec<&'static str> {
    let mut keys = Vec::new();
    if wanted.combined {
        keys.push(COMBINED);
    }
    if let Some(stores) = &wanted.stores {
        if stores.pkcs12 {
            keys.extend([KEYSTORE_P12, TRUSTSTORE_P12]);
        }
        if stores.jks {
            keys.extend([KEYSTORE_JKS, TRUSTSTORE_JKS]);
        }
    }
    keys
}

/// The lifetime that is asked for, as it stands in the annotation.
pub fn lifetime(wanted: &Wanted) -> String {
    wanted.lifetime.whole_seconds().to_string()
}

/// How many certificates were issued into the Secret.
pub fn revision(found: &Secret) -> i64 {
    let text = found.metadata.annotations.as_ref().and_then(|all| all.get(annotation::REVISION));
    text.and_then(|text| text.parse().ok()).unwrap_or(1).max(1)
}

/// The leaf and the certificates above it, without the root.
///
/// # Errors
///
/// When its issuer is not known.
pub fn chain_pem(pair: &Pair, authority: &State) -> Result<String> {
    let leaf = pair.chain.first().map(Vec::as_slice).unwrap_or_default();
    let issuer = authority
        .issuer_of(leaf)
        .ok_or_else(|| Error::AuthorityBroken("the issuer of a new certificate is not in it".to_owned()))?;
    Ok(certs::pem("CERTIFICATE", leaf) + &authority.intermediates_pem(issuer))
}

/// The whole Secret. `at` is the resourceVersion that it replaces.
///
/// # Errors
///
/// When a keystore cannot be written.
pub fn secret(
    certificate: &Certificate,
    wanted: &Wanted,
    authority: &State,
    pair: &Pair,
    revision: i64,
    at: Option<String>,
) -> Result<Secret> {
    let chain = chain_pem(pair, authority)?;
    let mut data = BTreeMap::from([
        ("tls.crt".to_owned(), ByteString(chain.clone().into_bytes())),
        ("tls.key".to_owned(), ByteString(pair.key.to_pem().as_bytes().to_vec())),
        ("ca.crt".to_owned(), ByteString(authority.trust_bundle_pem().into_bytes())),
    ]);
    let ders = ders(&chain)?;
    for key in keys(wanted) {
        data.insert(key.to_owned(), ByteString(form(key, wanted, authority, pair, &ders)?));
    }
    let mut metadata = metadata(certificate, wanted, authority, pair, revision);
    metadata.resource_version = at;
    Ok(Secret {
        metadata,
        data: Some(data),
        type_: Some("kubernetes.io/tls".to_owned()),
        ..Secret::default()
    })
}

/// Name, labels, annotations and owner.
pub fn metadata(
    certificate: &Certificate,
    wanted: &Wanted,
    authority: &State,
    pair: &Pair,
    revision: i64,
) -> ObjectMeta {
    let leaf = pair.chain.first().map(Vec::as_slice).unwrap_or_default();
    let issuer = authority.issuer_of(leaf).map(|issuer| issuer.name.clone()).unwrap_or_default();
    let name = certificate.metadata.name.clone().unwrap_or_default();
    let annotations = [
        (annotation::CERTIFICATE, name),
        (annotation::SERIAL, pair.serial.to_string().to_lowercase()),
        (annotation::NOT_AFTER, rfc3339(pair.not_after)),
        (annotation::RENEW_AT, rfc3339(pair.renew_at())),
        (annotation::ISSUER, issuer),
        (annotation::USAGE, wanted.usage.to_string()),
        (annotation::LIFETIME, lifetime(wanted)),
        (annotation::REVISION, revision.to_string()),
    ];
    // Blocking the owner's deletion would need a right on its finalizers.
    let owner = certificate
        .controller_owner_ref(&())
        .map(|owner| OwnerReference { block_owner_deletion: None, ..owner });
    ObjectMeta {
        name: Some(certificate.spec.secret_name.clone()),
        namespace: certificate.metadata.namespace.clone(),
        labels: Some(BTreeMap::from([(MANAGED_LABEL.to_owned(), "true".to_owned())])),
        annotations: Some(annotations.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()),
        owner_references: owner.map(|owner| vec![owner]),
        ..ObjectMeta::default()
    }
}

/// The first further form that does not hold what it should, or does not open with the password.
///
/// # Errors
///
/// When the chain is not known.
pub fn stale_form(
    data: &BTreeMap<String, ByteString>,
    wanted: &Wanted,
    authority: &State,
    pair: &Pair,
) -> Result<Option<&'static str>> {
    let chain = ders(&chain_pem(pair, authority)?)?;
    let roots: Vec<Vec<u8>> = authority.trusted_roots().map(|root| root.certificate.der.clone()).collect();
    for key in keys(wanted) {
        let bytes = data.get(key).map(|value| value.0.as_slice()).unwrap_or_default();
        let password = wanted.stores.as_ref().map(|stores| stores.password.as_str());
        let contents = match key {
            COMBINED => combined::parse(bytes),
            KEYSTORE_P12 | TRUSTSTORE_P12 => pkcs12::parse(bytes, password),
            _ => jks::parse(bytes, password),
        };
        let good = contents.is_ok_and(|contents| {
            let held: Vec<&[u8]> = contents.certificates.iter().map(AsRef::as_ref).collect();
            match key {
                TRUSTSTORE_P12 | TRUSTSTORE_JKS => {
                    held.len() == roots.len() && roots.iter().all(|root| held.contains(&root.as_slice()))
                }
                _ => held == chain && contents.keys.first().is_some_and(|key| *key.0 == pair.key.pkcs8_der()),
            }
        });
        if !good {
            return Ok(Some(key));
        }
    }
    Ok(None)
}

fn form(key: &str, wanted: &Wanted, authority: &State, pair: &Pair, chain: &[Vec<u8>]) -> Result<Vec<u8>> {
    let chain: Vec<CertificateDer<'_>> =
        chain.iter().map(|der| CertificateDer::from(der.as_slice())).collect();
    let roots: Vec<(String, CertificateDer<'_>)> = authority
        .trusted_roots()
        .enumerate()
        .map(|(i, root)| {
            (format!("{ALIAS}-{}", i + 1), CertificateDer::from(root.certificate.der.as_slice()))
        })
        .collect();
    let password = wanted.stores.as_ref().map(|stores| stores.password.as_str()).unwrap_or_default();
    // Java shows it as the entry's date. That of the certificate, so that the same content gives the same bytes.
    let date = u64::try_from(pair.not_before.unix_timestamp()).unwrap_or_default();
    let pkcs8 = pair.key.pkcs8_der();
    Ok(match key {
        COMBINED => combined::write(&chain, pkcs8).as_bytes().to_vec(),
        KEYSTORE_P12 => pkcs12::write(ALIAS, &chain, pkcs8, password)?.to_vec(),
        TRUSTSTORE_P12 => pkcs12::write_truststore(&roots, password)?.to_vec(),
        KEYSTORE_JKS => jks::write(ALIAS, &chain, pkcs8, password, date)?.to_vec(),
        _ => jks::write_truststore(&roots, password, date)?.to_vec(),
    })
}

fn ders(chain: &str) -> Result<Vec<Vec<u8>>> {
    certificates_of_pem(chain).map_err(|why| Error::AuthorityBroken(why.to_string()))
}
