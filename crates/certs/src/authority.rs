//! The certificate authority in a folder: made, opened, and asked to issue. What it does is spread over
//! its neighbours: `revoke` (lists), `rotate` (new authorities), `import` (existing ones).

use std::path::Path;
use time::{Duration, OffsetDateTime};
use zeroize::Zeroizing;

use model::identity::TrustDomain;
use rcgen::PublicKeyData;

use crate::constraints::Constraints;
use crate::create::{new_intermediate, new_root};
use crate::error::{Error, Result};
use crate::issue;
use crate::issuer::{CaCertificate, Issuer};
use crate::key::{KeyKind, PrivateKey};
use crate::ledger::{Ledger, Record, RecordKind, event, insert, unused_serial};
use crate::lock::{Lock, PATIENCE};
use crate::request::{AltName, Request};
use crate::serial::Serial;
use crate::settings::{Settings, save_settings, settings_of};
use crate::store::{Layout, read_private, read_public, remove_leftovers, write_public};
use crate::text::{certificates_of_pem, pem};

#[cfg(test)]
mod tests;

/// How a new authority is made.
#[derive(Clone, Debug)]
pub struct InitOptions {
    /// The beginning of the authorities' names.
    pub name: String,
    /// Organisation in the authorities' names.
    pub organization: Option<String>,
    /// The kind of both keys.
    pub key: KeyKind,
    /// How long the root is valid.
    pub root_lifetime: Duration,
    /// How long the intermediate is valid, never longer than the root.
    pub intermediate_lifetime: Duration,
    /// What the intermediate may issue.
    pub constraints: Constraints,
    /// The trust domain of SPIFFE IDs.
    pub trust_domain: TrustDomain,
    /// The URL of the folder where revocation lists are served; each certificate names its issuer's list.
    pub crl_url: Option<String>,
}

impl Default for InitOptions {
    fn default() -> Self {
        Self {
            name: "Handfast".to_owned(),
            organization: None,
            key: KeyKind::default(),
            root_lifetime: Duration::days(3650),
            intermediate_lifetime: Duration::days(1825),
            constraints: Constraints::default(),
            trust_domain: TrustDomain::default(),
            crl_url: None,
        }
    }
}

/// A certificate that was issued and recorded, with its key. Its `Debug` shows no key.
pub struct Issued {
    /// The ledger's record of it.
    pub record: Record,
    /// Serial number.
    pub serial: Serial,
    /// The leaf, then its intermediates, PEM: what a server is configured with. The root is not in it.
    pub chain_pem: String,
    /// The leaf, DER.
    pub leaf_der: Vec<u8>,
    /// The private key, PKCS#8 PEM; absent when somebody else's public key was certified.
    pub key_pem: Option<Zeroizing<String>>,
    /// Whether it ends earlier than asked for, because its issuer does.
    pub shortened: bool,
}

impl std::fmt::Debug for Issued {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Issued")
            .field("record", &self.record)
            .field("shortened", &self.shortened)
            .field("key", &self.key_pem.as_ref().map(|_| ".."))
            .finish_non_exhaustive()
    }
}

/// A certificate authority, opened and locked: no other process changes it meanwhile.
#[derive(Debug)]
pub struct Authority {
    pub(crate) layout: Layout,
    pub(crate) ledger: Ledger,
    pub(crate) settings: Settings,
    pub(crate) issuer: Member,
    pub(crate) key: Issuer,
    _lock: Lock,
}

/// One root or intermediate, as the ledger knows it.
#[derive(Clone, Debug)]
pub struct Member {
    /// `root-1`, `intermediate-2`, ...
    pub name: String,
    /// The authority above it; a root and an imported intermediate have none here.
    pub parent: Option<String>,
    /// `active` (issues, or is trusted), `standby` (new, not used yet), `former` (still trusted), `retired`.
    pub state: String,
    /// Its certificate.
    pub certificate: CaCertificate,
    /// Further intermediates between it and its root, PEM.
    pub above: String,
}

impl Authority {
    /// Makes a root and an intermediate in a folder that has none.
    pub fn init(dir: &Path, options: &InitOptions, who: &str, now: OffsetDateTime) -> Result<Self> {
        options.check()?;
        if options.root_lifetime < options.intermediate_lifetime {
            return Err(Error::Request("the intermediate would outlive its root".into()));
        }
        let (layout, lock, mut ledger) = prepare(dir)?;
        ledger.change(|tx| {
            save_settings(tx, options)?;
            let settings = settings_of(tx)?;
            let root = new_root(tx, &layout, &settings, "active", who, now)?;
            new_intermediate(tx, &layout, &settings, &root, &options.constraints, "active", who, now)?;
            event(tx, now, who, "made the authority")
        })?;
        // While the root's key is at hand: chains need the root's list too, which loading signs.
        Self::load(layout, lock, ledger, now)
    }

    /// Opens the authority of a folder; waits a few seconds for another process that has it open.
    pub fn open(dir: &Path) -> Result<Self> {
        let layout = Layout::new(dir);
        if !layout.ledger().exists() {
            return Err(Error::Missing(dir.to_owned()));
        }
        let lock = Lock::take(&layout, PATIENCE)?;
        let ledger = Ledger::open(&layout.ledger())?;
        Self::load(layout, lock, ledger, OffsetDateTime::now_utc())
    }

    /// Opens the ledger alone, to look things up: no lock, no keys.
    pub fn open_ledger(dir: &Path) -> Result<Ledger> {
        let layout = Layout::new(dir);
        if !layout.ledger().exists() {
            return Err(Error::Missing(dir.to_owned()));
        }
        let ledger = Ledger::open_reading(&layout.ledger())?;
        match members(&ledger)?.is_empty() {
            true => Err(Error::Missing(dir.to_owned())),
            false => Ok(ledger),
        }
    }

    pub(crate) fn load(layout: Layout, lock: Lock, ledger: Ledger, now: OffsetDateTime) -> Result<Self> {
        remove_leftovers(&layout);
        let all = members(&ledger)?;
        if all.is_empty() {
            return Err(Error::Missing(layout.dir().to_owned()));
        }
        let issuer = active_issuer(&all)
            .ok_or_else(|| Error::Broken("the ledger names no issuing authority".into()))?
            .clone();
        let settings = ledger.read_settings()?;
        let key = read_issuer(&layout, &issuer)?;
        let mut authority = Self { layout, ledger, settings, issuer, key, _lock: lock };
        authority.publish(&all)?;
        // A revocation is not done before everybody can see it, even if its own process was killed.
        authority.publish_dirty(now)?;
        Ok(authority)
    }

    /// Writes the public files that follow from the ledger; those that are right already are left alone.
    /// A kill between a commit and these files is thereby healed at the next opening.
    pub(crate) fn publish(&self, all: &[Member]) -> Result<()> {
        for member in all {
            update_public(&self.layout.certificate(&member.name), &member.certificate.to_pem())?;
        }
        update_public(&self.layout.bundle(), &bundle(all))
    }

    /// Issues a certificate with a new key. It is in the ledger before this returns.
    pub fn issue(&mut self, request: &Request, who: &str, now: OffsetDateTime) -> Result<Issued> {
        // What is wrong with the request should not cost an RSA key first.
        request.check()?;
        self.issue_with(request, PrivateKey::generate(request.key)?, who, now)
    }

    /// Issues a certificate with a key that was just made: a long RSA key takes seconds, during which nobody
    /// should be kept out of the authority.
    pub fn issue_with(
        &mut self,
        request: &Request,
        key: PrivateKey,
        who: &str,
        now: OffsetDateTime,
    ) -> Result<Issued> {
        let mut issued = self.sign(request, &key, true, who, now)?;
        issued.key_pem = Some(key.to_pem());
        Ok(issued)
    }

    /// Issues a certificate for somebody else's public key.
    pub fn certify(
        &mut self,
        request: &Request,
        public_key: &impl PublicKeyData,
        who: &str,
        now: OffsetDateTime,
    ) -> Result<Issued> {
        self.sign(request, public_key, false, who, now)
    }

    fn sign(
        &mut self,
        request: &Request,
        public_key: &impl PublicKeyData,
        own_key: bool,
        who: &str,
        now: OffsetDateTime,
    ) -> Result<Issued> {
        let crl_url = self.settings.crl_url.as_deref().map(|base| list_url(base, &self.issuer.name));
        let above = self.above_issuer()?;
        let (issuer, key) = (&self.issuer, &self.key);
        let own = self.ledger.by_serial(&issuer.certificate.serial)?;
        if let Some((at, _)) = own.and_then(|record| record.revoked) {
            return Err(Error::Unusable {
                subject: issuer.certificate.subject.clone(),
                reason: format!("it was revoked at {}; rotate it", crate::text::rfc3339(at)),
            });
        }
        let (record, shortened) = self.ledger.change(|tx| {
            let serial = unused_serial(tx)?;
            let signed = issue::leaf(request, public_key, &serial, key, &above, crl_url.as_deref(), now)?;
            let record = Record {
                serial,
                issuer: issuer.name.clone(),
                kind: RecordKind::Leaf,
                name: request.name.clone(),
                subject: crate::text::subject_of(&signed.der)?,
                names: request.names.clone(),
                usage: request.effective_usage().to_string(),
                not_before: signed.not_before,
                not_after: signed.not_after,
                issued_at: issue::whole_second(now),
                who: who.to_owned(),
                der: signed.der,
                revoked: None,
                lifetime: Some(request.lifetime),
                own_key: Some(own_key),
            };
            insert(tx, &record)?;
            Ok((record, signed.shortened))
        })?;
        let leaf = pem("CERTIFICATE", &record.der);
        Ok(Issued {
            serial: record.serial.clone(),
            chain_pem: format!("{leaf}{}", self.chain_above_leaf()),
            leaf_der: record.der.clone(),
            key_pem: None,
            shortened,
            record,
        })
    }

    /// The certificates above the issuing one, up to the root: their limits hold for all below them.
    fn above_issuer(&self) -> Result<Vec<CaCertificate>> {
        let mut above = certificates_of_pem(&self.issuer.above)
            .map_err(|e| Error::Broken(format!("the chain of {} cannot be read: {e}", self.issuer.name)))?
            .iter()
            .map(|der| CaCertificate::parse(der))
            .collect::<Result<Vec<_>>>()?;
        if let Some(parent) = &self.issuer.parent {
            let all = self.members()?;
            let root = all.into_iter().find(|member| member.name == *parent);
            above.push(root.ok_or_else(|| Error::Broken(format!("the ledger lacks {parent}")))?.certificate);
        }
        Ok(above)
    }

    /// Refuses names that the issuing authority, or one above it, may not issue.
    pub fn check_names(&self, names: &[AltName]) -> Result<()> {
        for ca in std::iter::once(&self.issuer.certificate).chain(&self.above_issuer()?) {
            Constraints::of(ca)?.check(names, None, &ca.subject)?;
        }
        Ok(())
    }

    /// What the issuing authority may issue.
    pub fn constraints(&self) -> Result<Constraints> {
        Constraints::of(&self.issuer.certificate)
    }

    fn chain_above_leaf(&self) -> String {
        // A root that issues itself (imported so) is in every trust store already.
        match self.issuer.certificate.self_issued {
            true => String::new(),
            false => format!("{}{}", self.issuer.certificate.to_pem(), self.issuer.above),
        }
    }

    /// The root above the issuing intermediate, which may issue itself.
    pub(crate) fn root_name(&self) -> &str {
        self.issuer.parent.as_deref().unwrap_or(&self.issuer.name)
    }

    /// The root above the issuing intermediate, PEM.
    pub fn root_pem(&self) -> Result<String> {
        let all = self.members()?;
        let name = self.root_name();
        match all.iter().find(|member| member.name == name) {
            Some(root) => Ok(root.certificate.to_pem()),
            None => Err(Error::Broken(format!("the ledger lacks {name}"))),
        }
    }

    /// The issuing intermediate, PEM.
    pub fn intermediate_pem(&self) -> String {
        self.chain_above_leaf()
    }

    /// All roots that verifiers should trust now, PEM: two during a rotation of the root.
    pub fn trust_bundle_pem(&self) -> Result<String> {
        Ok(bundle(&self.members()?))
    }

    /// The trust domain of SPIFFE IDs.
    pub fn trust_domain(&self) -> &TrustDomain {
        &self.settings.trust_domain
    }

    /// Where its files lie.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// The ledger.
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// The authority that signs leaves now.
    pub fn issuer(&self) -> &Member {
        &self.issuer
    }

    /// Every root and intermediate there ever was, in the order in which they were made.
    pub fn members(&self) -> Result<Vec<Member>> {
        members(&self.ledger)
    }
}

/// Every root and intermediate of a ledger, in the order in which they were made.
pub fn members(ledger: &Ledger) -> Result<Vec<Member>> {
    type Columns = (String, Option<String>, String, String, Vec<u8>);
    let rows: Vec<Columns> = ledger.read(|c| {
        let mut statement = c.prepare_cached(
            "SELECT a.name, a.parent, a.state, a.above, c.der FROM authority a \
             JOIN certificate c ON c.serial = a.serial ORDER BY a.rowid",
        )?;
        let rows =
            statement.query_map([], |r| Ok((r.get(0)?, r.get(1)?, r.get(2)?, r.get(3)?, r.get(4)?)))?;
        rows.collect()
    })?;
    rows.into_iter()
        .map(|(name, parent, state, above, der)| {
            Ok(Member { certificate: CaCertificate::parse(&der)?, name, parent, state, above })
        })
        .collect()
}

/// The authority that signs leaves: the active intermediate, or an imported root without one.
pub fn active_issuer(all: &[Member]) -> Option<&Member> {
    let active = |member: &&Member| member.state == "active" && !member.name.starts_with("root");
    all.iter().find(active)
}

/// The roots that verifiers should trust, PEM.
pub(crate) fn bundle(all: &[Member]) -> String {
    let trusted = |member: &&Member| member.name.starts_with("root") && member.state != "retired";
    all.iter().filter(trusted).map(|member| member.certificate.to_pem()).collect()
}

/// The URL of an authority's revocation list below the folder's URL.
pub(crate) fn list_url(base: &str, authority: &str) -> String {
    format!("{}/{authority}.crl", base.trim_end_matches('/'))
}

/// Makes the folder, takes its lock and opens its ledger; refuses a folder that has an authority.
pub(crate) fn prepare(dir: &Path) -> Result<(Layout, Lock, Ledger)> {
    let layout = Layout::new(dir);
    layout.create()?;
    let lock = Lock::take(&layout, PATIENCE)?;
    let ledger = Ledger::open(&layout.ledger())?;
    if !members(&ledger)?.is_empty() {
        return Err(Error::Exists(dir.to_owned()));
    }
    Ok((layout, lock, ledger))
}

/// Reads the key of an authority and pairs it with its certificate.
pub(crate) fn read_issuer(layout: &Layout, member: &Member) -> Result<Issuer> {
    let path = layout.key(&member.name);
    if member.name.starts_with("root") && !path.exists() {
        return Err(Error::RootOffline(path));
    }
    let shown = path.display();
    let key = PrivateKey::from_pem(&read_private(&path)?, None).map_err(|error| match error {
        Error::Key(why) => Error::Key(format!("{shown}: {why}")),
        Error::WeakKey(why) => Error::WeakKey(format!("{shown}: {why}")),
        other => other,
    })?;
    Issuer::new(member.certificate.clone(), key).map_err(|error| match error {
        Error::KeyMismatch(subject) => Error::KeyMismatch(format!("{subject} (the key is in {shown})")),
        other => other,
    })
}

/// Whether the key of an authority is there, closed to others, whole, and of its certificate.
pub fn check_key(layout: &Layout, member: &Member) -> Result<()> {
    read_issuer(layout, member).map(|_| ())
}

fn update_public(path: &Path, text: &str) -> Result<()> {
    match read_public(path) {
        Ok(found) if found == text => Ok(()),
        _ => write_public(path, text.as_bytes()),
    }
}
