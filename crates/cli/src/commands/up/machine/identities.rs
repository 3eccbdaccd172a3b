//! Certificates of workloads: one for each service account, held in memory, renewed at about half of its day.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use certs::{AltName, Authority, InitOptions, Request, Usage};
use model::codes::usage;
use model::identity::{SpiffeId, TrustDomain};
use proxy::mesh::Credential;
use time::OffsetDateTime;
use tokio::sync::watch;

use crate::failure::Failure;
use crate::operator;

/// How long a certificate is valid: nobody has to revoke what ends by itself.
const LIFETIME: time::Duration = time::Duration::hours(24);
/// So often it is looked whether one is due, and whether the roots are others.
pub const LOOK: Duration = Duration::from_secs(5);

/// Issues certificates from an authority's folder.
pub struct Identities {
    dir: PathBuf,
    trust_domain: TrustDomain,
    known: BTreeMap<SpiffeId, Known>,
}

struct Known {
    credential: watch::Sender<Arc<Credential>>,
    renew_at: OffsetDateTime,
    /// The roots and the issuer that it was made with.
    authority: String,
}

impl Identities {
    /// Opens the authority, or makes one. It is closed again, so that other commands can use it.
    pub fn open(dir: &Path) -> Result<Self, Failure> {
        let now = OffsetDateTime::now_utc();
        let authority = if certs::Layout::new(dir).ledger().exists() {
            Authority::open(dir)?
        } else {
            eprintln!("made a certificate authority in {}", dir.display());
            Authority::init(dir, &InitOptions::default(), &operator::who(), now)?
        };
        let trust_domain = authority.trust_domain().clone();
        Ok(Self { dir: dir.to_owned(), trust_domain, known: BTreeMap::new() })
    }

    /// The trust domain of all identities.
    pub fn trust_domain(&self) -> &TrustDomain {
        &self.trust_domain
    }

    /// The certificate of an identity, now and later.
    pub fn of(&mut self, identity: &SpiffeId) -> Result<watch::Receiver<Arc<Credential>>, Failure> {
        if let Some(known) = self.known.get(identity) {
            return Ok(known.credential.subscribe());
        }
        let (credential, renew_at, authority) = issue(&mut Authority::open(&self.dir)?, identity)?;
        let (credential, receiver) = watch::channel(credential);
        self.known.insert(identity.clone(), Known { credential, renew_at, authority });
        Ok(receiver)
    }

    /// Renews what is due, and everything where the roots or the issuer became others. What fails is tried again; the
    /// old one serves until it ends.
    pub fn renew(&mut self) {
        if let Err(failure) = self.try_renew() {
            tracing::error!(
                code = usage::INTERNAL.id,
                "certificates were not renewed: {}",
                failure.sentence()
            );
        }
    }

    fn try_renew(&mut self) -> Result<(), Failure> {
        let now = OffsetDateTime::now_utc();
        let mut authority = None;
        let bundle = std::fs::read_to_string(certs::Layout::new(&self.dir).bundle()).unwrap_or_default();
        let due: Vec<SpiffeId> = self
            .known
            .iter()
            .filter(|(_, known)| known.renew_at <= now || !known.authority.starts_with(&bundle))
            .map(|(identity, _)| identity.clone())
            .collect();
        for identity in due {
            let open = match &mut authority {
                Some(open) => open,
                none => none.insert(Authority::open(&self.dir)?),
            };
            let (credential, renew_at, made_by) = issue(open, &identity)?;
            if let Some(known) = self.known.get_mut(&identity) {
                known.credential.send_replace(credential);
                (known.renew_at, known.authority) = (renew_at, made_by);
            }
        }
        Ok(())
    }
}

type Issued = (Arc<Credential>, OffsetDateTime, String);

fn issue(authority: &mut Authority, identity: &SpiffeId) -> Result<Issued, Failure> {
    let now = OffsetDateTime::now_utc();
    let name =
        [identity.namespace(), identity.service_account_name()].map(Option::unwrap_or_default).join(".");
    let request = Request::new(&name).with(AltName::from(identity)).usage(Usage::Both).lifetime(LIFETIME);
    let issued = authority.issue(&request, &operator::who(), now)?;
    let bundle = authority.trust_bundle_pem()?;
    let key = issued.key_pem.as_ref().map(|key| key.as_bytes()).unwrap_or_default();
    let credential = Credential::new(issued.chain_pem.as_bytes(), key, bundle.as_bytes())?;
    // Not all at one moment: a tenth of the half to either side.
    let half = LIFETIME / 2;
    let jitter = half * (f64::from(issued.leaf_der.last().copied().unwrap_or_default()) / 255.0 - 0.5) / 5.0;
    Ok((Arc::new(credential), now + half + jitter, format!("{bundle}{}", authority.issuer().name)))
}
