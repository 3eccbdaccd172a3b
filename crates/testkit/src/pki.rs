//! The test authority: one good client certificate, one server certificate, and one certificate for each way
//! to be bad that the contract of refusals names. Everything is written to a folder of its own, as PEM, because
//! the programs that use it want files. Nothing here calls our own issuing code, which is under test.
//!
//! ```text
//! clients root ─ issuing ─ good, stranger, expired, revoked, ...      (CRLs: root, issuing, stale, ...)
//!              ├ uncovered ─ revocation unknown                        (no CRL)
//!              ├ stale ─ revocation stale                              (an expired CRL)
//!              ├ short (path length 0) ─ sub ─ path too long
//!              └ constrained (DNS permitted.test) ─ name constraint broken
//! other root ─ other CA
//! site root ─ server
//! ```

mod authority;
mod openssl;

use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, CertificateParams, CustomExtension, IsCa};
use tempfile::TempDir;
use time::{Duration, OffsetDateTime};

pub use authority::{Authority, Issued};
pub use rcgen::{ExtendedKeyUsagePurpose, SanType};

/// A certificate chain and its key, as files.
#[derive(Clone, Debug)]
pub struct Credential {
    /// What is special about it; also the stem of its files.
    pub name: &'static str,
    /// Leaf first, then what a client sends with it.
    pub chain: PathBuf,
    /// PKCS#8 in PEM, mode 0600.
    pub key: PathBuf,
    /// The leaf's serial number in lower-case hex without leading zeros.
    pub serial: String,
}

/// All of the certificates. The folder goes away with it.
pub struct Pki {
    folder: TempDir,
    /// Signs the clients' intermediates.
    pub clients: Authority,
    /// Signs the clients' leaves.
    pub issuing: Authority,
    /// Signs the server's certificate.
    pub site: Authority,
    /// The client that is let in: `spiffe://cluster.local/ns/local/sa/client`, DNS `client.test`.
    pub good: Credential,
    /// As good, but nobody's list names it: `spiffe://cluster.local/ns/local/sa/stranger`.
    pub stranger: Credential,
    /// Signed by its own key.
    pub self_signed: Credential,
    /// Signed by an authority that nobody here trusts.
    pub other_ca: Credential,
    /// Its time ended yesterday.
    pub expired: Credential,
    /// Its time begins tomorrow.
    pub not_yet_valid: Credential,
    /// Extended key usage serverAuth only.
    pub wrong_usage: Credential,
    /// On the issuer's CRL.
    pub revoked: Credential,
    /// Its issuer has no CRL.
    pub uncovered: Credential,
    /// Its issuer's CRL has expired.
    pub stale: Credential,
    /// basicConstraints cA:TRUE, used as a leaf.
    pub ca_as_leaf: Credential,
    /// One authority more than the path length of the first allows.
    pub path_too_long: Credential,
    /// A DNS name outside of what its authority may issue.
    pub name_constraint: Credential,
    /// A 1024-bit RSA key.
    pub rsa_1024: Credential,
    /// ecdsa-with-SHA1.
    pub sha1: Credential,
    /// X.509 version 1.
    pub v1: Credential,
    /// The good leaf, alone.
    pub missing_intermediate: Credential,
    /// A critical extension that nobody knows.
    pub critical_extension: Credential,
    /// A subjectAltName that is no DER.
    pub malformed_name: Credential,
    /// A certificate cut short: no DER at all.
    pub malformed: Credential,
    /// The good certificate with somebody else's key.
    pub mismatched_key: Credential,
    /// More than 64 KiB of certificates behind a good leaf.
    pub huge_chain: Credential,
    /// `localhost`, `app.test`, `other.test`, `*.wild.test`, 127.0.0.1.
    pub server: Credential,
}

const DAY: Duration = Duration::DAY;

impl Default for Pki {
    fn default() -> Self {
        Self::new()
    }
}

impl Pki {
    /// Makes everything; takes about half a second, most of it the openssl command's.
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path();
        let now = OffsetDateTime::now_utc();
        let clients = Authority::root("Test clients root");
        let issuing = clients.intermediate("Test clients issuing", |_| {});
        let uncovered = clients.intermediate("Test clients uncovered", |_| {});
        let stale = clients.intermediate("Test clients stale", |_| {});
        let short = clients
            .intermediate("Test clients short", |p| p.is_ca = IsCa::Ca(BasicConstraints::Constrained(0)));
        let sub = short.intermediate("Test clients sub", |_| {});
        let constrained = clients.intermediate("Test clients constrained", |p| {
            p.name_constraints = Some(rcgen::NameConstraints {
                permitted_subtrees: vec![rcgen::GeneralSubtree::DnsName("permitted.test".into())],
                excluded_subtrees: Vec::new(),
            });
        });
        let other = Authority::root("Test other root");
        let site = Authority::root("Test site root");

        let good = issuing.client("good", "client", |_| {});
        let revoked = issuing.client("revoked", "client", |_| {});
        let huge = {
            let junk = other.leaf("junk", |p| {
                let mut padding =
                    CustomExtension::from_oid_content(&[1, 3, 6, 1, 4, 1, 55555, 1], vec![4; 20_000]);
                padding.set_criticality(false);
                p.custom_extensions.push(padding);
            });
            let mut chain = good.chain.clone();
            chain.extend(std::iter::repeat_n(junk.chain[0].clone(), 4));
            Issued { chain, ..good.clone() }
        };
        let write = |name: &'static str, issued: &Issued| issued.write(dir, name);
        let client = |authority: &Authority, name: &'static str, edit: &dyn Fn(&mut CertificateParams)| {
            write(name, &authority.client(name, "client", edit))
        };
        let pki = Self {
            good: write("good", &good),
            stranger: write("stranger", &issuing.client("stranger", "stranger", |_| {})),
            self_signed: write("self_signed", &authority::self_signed("self-signed")),
            other_ca: client(&other, "other_ca", &|_| {}),
            expired: client(&issuing, "expired", &|p| {
                (p.not_before, p.not_after) = (now - DAY * 20, now - DAY);
            }),
            not_yet_valid: client(&issuing, "not_yet_valid", &|p| {
                (p.not_before, p.not_after) = (now + DAY, now + DAY * 20);
            }),
            wrong_usage: client(&issuing, "wrong_usage", &|p| {
                p.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
            }),
            uncovered: client(&uncovered, "uncovered", &|_| {}),
            stale: client(&stale, "stale", &|_| {}),
            ca_as_leaf: client(&issuing, "ca_as_leaf", &|p| {
                p.is_ca = IsCa::Ca(BasicConstraints::Unconstrained)
            }),
            path_too_long: client(&sub, "path_too_long", &|_| {}),
            name_constraint: client(&constrained, "name_constraint", &|p| {
                p.subject_alt_names = vec![SanType::DnsName("client.forbidden.test".try_into().unwrap())];
            }),
            rsa_1024: openssl::issue(dir, &issuing, "rsa_1024", openssl::Fault::Rsa1024),
            sha1: openssl::issue(dir, &issuing, "sha1", openssl::Fault::Sha1),
            v1: openssl::issue(dir, &issuing, "v1", openssl::Fault::VersionOne),
            missing_intermediate: write(
                "missing_intermediate",
                &Issued { chain: vec![good.chain[0].clone()], ..good.clone() },
            ),
            critical_extension: client(&issuing, "critical_extension", &|p| {
                let mut unknown =
                    CustomExtension::from_oid_content(&[1, 3, 6, 1, 4, 1, 55555, 2], vec![5, 0]);
                unknown.set_criticality(true);
                p.custom_extensions.push(unknown);
            }),
            malformed_name: client(&issuing, "malformed_name", &|p| {
                p.subject_alt_names.clear();
                // SEQUENCE of 200 bytes, of which two are there.
                let broken =
                    CustomExtension::from_oid_content(&[2, 5, 29, 17], vec![0x30, 0x81, 0xc8, 0x82, 0x00]);
                p.custom_extensions.push(broken);
            }),
            malformed: write("malformed", &{
                let mut cut = good.clone();
                let length = cut.chain[0].len();
                cut.chain[0].truncate(length - 20);
                cut
            }),
            mismatched_key: write(
                "mismatched_key",
                &Issued { key: issuing.client("x", "x", |_| {}).key, ..good.clone() },
            ),
            huge_chain: write("huge_chain", &huge),
            server: write(
                "server",
                &site.leaf("server", |p| {
                    p.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
                    p.subject_alt_names = ["localhost", "app.test", "other.test", "*.wild.test"]
                        .map(|name| SanType::DnsName(name.try_into().unwrap()))
                        .to_vec();
                    p.subject_alt_names.push(SanType::IpAddress([127, 0, 0, 1].into()));
                }),
            ),
            revoked: write("revoked", &revoked),
            clients,
            issuing,
            site,
            folder,
        };
        let week = (now - DAY, now + DAY * 7);
        let crls = [
            pki.clients.crl(&[], week),
            pki.issuing.crl(&[&revoked.serial], week),
            stale.crl(&[], (now - DAY * 7, now - DAY)),
            short.crl(&[], week),
            sub.crl(&[], week),
            constrained.crl(&[], week),
        ];
        pki.save("clients.crl", &crls.concat());
        pki.save("clients.pem", &pki.clients.pem());
        pki.save("issuing.pem", &pki.issuing.pem());
        pki.save("other.pem", &other.pem());
        pki.save("site.pem", &pki.site.pem());
        pki
    }

    /// The folder with all files. Besides the credentials: `clients.pem` (root), `issuing.pem` (intermediate),
    /// `clients.crl` (all lists, one of them stale), `site.pem` (the server's root), `other.pem`.
    pub fn dir(&self) -> &Path {
        self.folder.path()
    }

    /// The path of one of the files.
    pub fn file(&self, name: &str) -> PathBuf {
        self.dir().join(name)
    }

    /// Replaces a file as an administrator's tool does: written beside it, then renamed over it.
    pub fn save(&self, name: &str, content: &str) -> PathBuf {
        let (path, new) = (self.file(name), self.file(&format!("{name}.new")));
        std::fs::write(&new, content).unwrap();
        std::fs::rename(&new, &path).unwrap();
        path
    }
}
