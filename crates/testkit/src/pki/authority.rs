//! An authority of the tests and what it signs, on rcgen alone.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertificateSigningRequestParams,
    CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyIdMethod, KeyPair, KeyUsagePurpose,
    RevokedCertParams, SanType, SerialNumber,
};
use rustls_pki_types::CertificateDer;
use time::{Duration, OffsetDateTime};

use super::Credential;

/// A certificate authority with a P-256 key.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    /// What a leaf of this authority is sent with: this certificate and those above it, without the root.
    above: Vec<Vec<u8>>,
}

/// A certificate that was just made, before it is written to files.
#[derive(Clone)]
pub struct Issued {
    /// DER, leaf first.
    pub chain: Vec<Vec<u8>>,
    /// PKCS#8 in PEM.
    pub key: String,
    /// Lower-case hex.
    pub serial: String,
}

impl Authority {
    /// A root.
    pub fn root(name: &str) -> Self {
        let issuer =
            CertifiedIssuer::self_signed(authority_params(name), KeyPair::generate().unwrap()).unwrap();
        Self { issuer, above: Vec::new() }
    }

    /// An authority below this one.
    pub fn intermediate(&self, name: &str, edit: impl FnOnce(&mut CertificateParams)) -> Self {
        let mut params = authority_params(name);
        edit(&mut params);
        let issuer = CertifiedIssuer::signed_by(params, KeyPair::generate().unwrap(), &self.issuer).unwrap();
        let mut above = vec![issuer.der().to_vec()];
        above.extend_from_slice(&self.above);
        Self { issuer, above }
    }

    /// A client's certificate with the identity `spiffe://cluster.local/ns/local/sa/ACCOUNT`.
    pub fn client(&self, name: &str, account: &str, edit: impl FnOnce(&mut CertificateParams)) -> Issued {
        self.leaf(name, |params| {
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
            params.subject_alt_names = vec![
                SanType::URI(format!("spiffe://cluster.local/ns/local/sa/{account}").try_into().unwrap()),
                SanType::DnsName(format!("{account}.test").try_into().unwrap()),
            ];
            edit(params);
        })
    }

    /// A certificate that this authority signs: a leaf for thirty days, unless `edit` says otherwise.
    pub fn leaf(&self, name: &str, edit: impl FnOnce(&mut CertificateParams)) -> Issued {
        let mut params = leaf_params(name);
        params.use_authority_key_identifier_extension = true;
        edit(&mut params);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let mut chain = vec![certificate.der().to_vec()];
        chain.extend_from_slice(&self.above);
        Issued { chain, key: key.serialize_pem(), serial: serial_of(&params) }
    }

    /// What is asked for in a request (PEM), for a workload of a mesh: client and server at once. Leaf first, PEM.
    pub fn sign_workload(&self, csr: &str) -> String {
        let mut asked = CertificateSigningRequestParams::from_pem(csr).unwrap();
        asked.params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        asked.params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth];
        asked.signed_by(&self.issuer).unwrap().pem()
    }

    /// A revocation list, valid from the first to the second time, in PEM.
    pub fn crl(
        &self,
        serials: &[&str],
        (this_update, next_update): (OffsetDateTime, OffsetDateTime),
    ) -> String {
        let revoked = |serial: &&str| RevokedCertParams {
            serial_number: SerialNumber::from(u64::from_str_radix(serial, 16).unwrap()),
            revocation_time: this_update,
            reason_code: Some(rcgen::RevocationReason::KeyCompromise),
            invalidity_date: None,
        };
        CertificateRevocationListParams {
            this_update,
            next_update,
            crl_number: SerialNumber::from(next_serial()),
            issuing_distribution_point: None,
            revoked_certs: serials.iter().map(revoked).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        }
        .signed_by(&self.issuer)
        .unwrap()
        .pem()
        .unwrap()
    }

    /// Its certificate.
    pub fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// Its certificate in DER, for trust stores in the process.
    pub fn der(&self) -> CertificateDer<'static> {
        self.issuer.der().clone()
    }

    /// Its key, PKCS#8 in PEM: for the openssl command.
    pub fn key_pem(&self) -> String {
        self.issuer.key().serialize_pem()
    }
}

impl Issued {
    /// Writes `NAME.crt` and `NAME.key`.
    pub fn write(&self, dir: &Path, name: &'static str) -> Credential {
        let chain: String = self.chain.iter().map(|der| pem(der)).collect();
        let (crt, key) = (dir.join(format!("{name}.crt")), dir.join(format!("{name}.key")));
        std::fs::write(&crt, chain).unwrap();
        write_key(&key, &self.key);
        Credential { name, chain: crt, key, serial: self.serial.clone() }
    }
}

/// A leaf that signs itself.
pub(super) fn self_signed(name: &str) -> Issued {
    let mut params = leaf_params(name);
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    params.subject_alt_names =
        vec![SanType::URI("spiffe://cluster.local/ns/local/sa/client".try_into().unwrap())];
    let key = KeyPair::generate().unwrap();
    let certificate = params.self_signed(&key).unwrap();
    Issued { chain: vec![certificate.der().to_vec()], key: key.serialize_pem(), serial: serial_of(&params) }
}

pub(super) fn write_key(path: &Path, pem: &str) {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).unwrap();
    file.write_all(pem.as_bytes()).unwrap();
}

/// A serial that no other certificate of this process has: eight bytes, easy to find in a log.
pub(super) fn next_serial() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(0x4861_6e64_0000_0001);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

fn authority_params(name: &str) -> CertificateParams {
    let mut params = leaf_params(name);
    params.use_authority_key_identifier_extension = true;
    params.not_before -= Duration::DAY * 30;
    params.not_after += Duration::DAY * 30;
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

fn leaf_params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    let now = OffsetDateTime::now_utc();
    (params.not_before, params.not_after) = (now - Duration::HOUR, now + Duration::DAY * 30);
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.serial_number = Some(SerialNumber::from(next_serial()));
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params
}

fn serial_of(params: &CertificateParams) -> String {
    let bytes = params.serial_number.as_ref().unwrap().to_bytes();
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    hex.trim_start_matches('0').to_owned()
}

fn pem(der: &[u8]) -> String {
    use base64::Engine as _;
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    let lines: Vec<&str> =
        text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
    format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", lines.join("\n"))
}
