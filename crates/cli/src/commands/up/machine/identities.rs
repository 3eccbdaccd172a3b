//! Certificates of workloads: one for each service account, held in memory, renewed at about half of its day.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

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
    /// When the ledger was changed last, as far as that was looked at.
    stamp: Option<SystemTime>,
}

struct Known {
    credential: watch::Sender<Arc<Credential>>,
    /// A clock before this was set back.
    issued_at: OffsetDateTime,
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
        Ok(Self { dir: dir.to_owned(), trust_domain, known: BTreeMap::new(), stamp: None })
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
        let issued_at = OffsetDateTime::now_utc();
        self.known.insert(identity.clone(), Known { credential, issued_at, renew_at, authority });
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
        let layout = certs::Layout::new(&self.dir);
        // The ledger changes with every certificate, and with every step of a rotation: only then it is opened.
        let stamp = std::fs::metadata(layout.ledger()).and_then(|ledger| ledger.modified()).ok();
        let is_due = |known: &Known| known.renew_at <= now || now < known.issued_at;
        if stamp == self.stamp && !self.known.values().any(is_due) {
            return Ok(());
        }
        let mut authority = Authority::open(&self.dir)?;
        let made_now = made_by(&authority)?;
        let due: Vec<SpiffeId> = self
            .known
            .iter()
            .filter(|(_, known)| is_due(known) || known.authority != made_now)
            .map(|(identity, _)| identity.clone())
            .collect();
        self.stamp = stamp;
        for identity in due {
            let (credential, renew_at, made_by) = issue(&mut authority, &identity)?;
            if let Some(known) = self.known.get_mut(&identity) {
                known.credential.send_replace(credential);
                (known.issued_at, known.renew_at, known.authority) = (now, renew_at, made_by);
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
    let made_by = made_by(authority)?;
    let bundle = authority.trust_bundle_pem()?;
    let key = issued.key_pem.as_ref().map(|key| key.as_bytes()).unwrap_or_default();
    let credential = Credential::new(issued.chain_pem.as_bytes(), key, bundle.as_bytes())?;
    // Not all at one moment: a tenth of the half to either side.
    let half = LIFETIME / 2;
    let jitter = half * (f64::from(issued.leaf_der.last().copied().unwrap_or_default()) / 255.0 - 0.5) / 5.0;
    Ok((Arc::new(credential), now + half + jitter, made_by))
}

/// The roots and the issuer, for comparing.
fn made_by(authority: &Authority) -> Result<String, Failure> {
    Ok(format!("{}{}", authority.trust_bundle_pem()?, authority.issuer().name))
}
