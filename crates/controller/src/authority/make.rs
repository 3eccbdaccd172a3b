//! New roots and intermediates, and authorities that are taken over. Pure but for the random numbers of keys.

use std::collections::BTreeMap;
use std::sync::Arc;

use certs::issue::{self, AuthoritySpec};
use certs::{CaCertificate, Constraints, Issuer, KeyKind, PrivateKey, Serial};
use model::identity::TrustDomain;
use time::{Duration, OffsetDateTime};

use super::state::{Member, Standing, State};
use crate::error::{Error, Result};

/// Lifetime of a root that is made.
pub const ROOT_LIFETIME: Duration = Duration::days(3650);
/// Lifetime of an intermediate that is made.
pub const INTERMEDIATE_LIFETIME: Duration = Duration::days(1825);

impl State {
    /// A new root and an intermediate below it.
    ///
    /// # Errors
    ///
    /// When no key can be made.
    pub fn new(trust_domain: TrustDomain, now: OffsetDateTime) -> Result<Self> {
        let mut state = Self::empty(trust_domain);
        let root = state.make_root(now, Standing::Active)?;
        state.make_intermediate(&root, now, Standing::Active)?;
        Ok(state)
    }

    /// Takes over a root with its key, or an intermediate with its key and the certificates up to its root.
    ///
    /// # Errors
    ///
    /// When the chain or the key cannot be used.
    pub fn import(
        trust_domain: TrustDomain,
        chain_pem: &str,
        key: PrivateKey,
        now: OffsetDateTime,
    ) -> Result<Self> {
        let chain = certs::read_chain(chain_pem)?;
        let unusable = |certificate: &CaCertificate, why: &str| {
            let reason = why.to_owned();
            Error::from(certs::Error::Unusable { subject: certificate.subject.clone(), reason })
        };
        let Some((first, above)) = chain.split_first() else {
            return Err(certs::Error::Request("the file holds no certificate".to_owned()).into());
        };
        first.check_time(now)?;
        let issuer = Some(Arc::new(Issuer::new(first.clone(), key)?));
        let mut state = Self::empty(trust_domain);
        if first.self_issued {
            if first.path_length == Some(0) {
                return Err(unusable(first, "its path length of 0 forbids the intermediate below it"));
            }
            state.members.push(member("root-1", None, first.clone(), issuer));
            state.make_intermediate("root-1", now, Standing::Active)?;
            return Ok(state);
        }
        let Some((root, between)) = above.split_last().filter(|(root, _)| root.self_issued) else {
            return Err(unusable(
                first,
                "its chain does not end in a root; give the certificates up to the root",
            ));
        };
        root.check_time(now)?;
        state.members.push(member("root-1", None, root.clone(), None));
        let mut intermediate = member("intermediate-1", Some("root-1"), first.clone(), issuer);
        intermediate.above = between.iter().map(CaCertificate::to_pem).collect();
        state.members.push(intermediate);
        Ok(state)
    }

    fn empty(trust_domain: TrustDomain) -> Self {
        Self {
            trust_domain,
            members: Vec::new(),
            rotation: None,
            revocations: BTreeMap::new(),
            longest_leaf: certs::DEFAULT_LIFETIME,
            crl_numbers: BTreeMap::new(),
            taken: Vec::new(),
            version: None,
        }
    }

    pub(super) fn make_root(&mut self, now: OffsetDateTime, standing: Standing) -> Result<String> {
        let (number, serial) = (self.next_number(true), Serial::random()?);
        let spec = self.spec("Root CA", number, &serial, ROOT_LIFETIME, 1);
        let key = PrivateKey::generate(KeyKind::P256)?;
        let certificate = CaCertificate::parse(&issue::root(&spec, &key, &serial, now)?.der)?;
        let issuer = Some(Arc::new(Issuer::new(certificate.clone(), key)?));
        let name = format!("root-{number}");
        self.members.push(Member { standing, ..member(&name, None, certificate, issuer) });
        Ok(name)
    }

    pub(super) fn make_intermediate(
        &mut self,
        root: &str,
        now: OffsetDateTime,
        standing: Standing,
    ) -> Result<String> {
        let above = self.member(root).and_then(|root| root.issuer.clone()).ok_or_else(|| {
            Error::Step(format!("the key of {root} is not here: only a new root can follow"))
        })?;
        let (number, serial) = (self.next_number(false), Serial::random()?);
        let spec = self.spec("Intermediate CA", number, &serial, INTERMEDIATE_LIFETIME, 0);
        let key = PrivateKey::generate(KeyKind::P256)?;
        let certificate = CaCertificate::parse(&issue::intermediate(&spec, &key, &serial, &above, now)?.der)?;
        let issuer = Some(Arc::new(Issuer::new(certificate.clone(), key)?));
        let name = format!("intermediate-{number}");
        self.members.push(Member { standing, ..member(&name, Some(root), certificate, issuer) });
        Ok(name)
    }

    fn next_number(&self, root: bool) -> usize {
        self.members.iter().filter(|member| member.is_root() == root).count() + 1
    }

    /// The part of the serial number keeps authorities of different clusters apart in one trust store.
    fn spec(
        &self,
        kind: &str,
        number: usize,
        serial: &Serial,
        lifetime: Duration,
        path: u8,
    ) -> AuthoritySpec {
        let serial = serial.to_string();
        AuthoritySpec {
            common_name: format!("Handfast {kind} {number} ({})", serial.get(..6).unwrap_or(&serial)),
            organization: Some(self.trust_domain.as_str().chars().take(64).collect()),
            lifetime,
            path_length: Some(path),
            constraints: Constraints::default(),
            crl_url: None,
        }
    }
}

fn member(
    name: &str,
    parent: Option<&str>,
    certificate: CaCertificate,
    issuer: Option<Arc<Issuer>>,
) -> Member {
    Member {
        name: name.to_owned(),
        parent: parent.map(str::to_owned),
        standing: Standing::Active,
        certificate,
        above: String::new(),
        issuer,
    }
}
