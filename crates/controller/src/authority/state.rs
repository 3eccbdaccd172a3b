//! What the authority is, and the steps from one state to the next. Pure: time and, for retiring, what is live
//! are passed in; a step either gives the whole next state or a reason.
//!
//! ```text
//! start    makes the new authority; a new root joins the trust bundle   -> distributing
//! confirm  all verifiers have the new bundle                            -> confirmed
//! switch   leaves come from the new authority from now on               -> switched
//! retire   the old one leaves the bundle, when nothing live needs it     -> (none)
//! abort    up to the switch: the new one is dropped                     -> (none)
//! ```

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use certs::{CaCertificate, Issuer, Reason, Serial, rfc3339};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use model::identity::TrustDomain;
use time::{Duration, OffsetDateTime};

use crate::error::{Error, Result};

#[cfg(test)]
mod tests;

/// Where a member of the authority stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// New: its root is trusted, it does not issue yet.
    Standby,
    /// It issues.
    Active,
    /// It does not issue any more; its root is still trusted.
    Former,
    /// It is trusted no longer.
    Retired,
}

impl Standing {
    /// Lower-case word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Standby => "standby",
            Self::Active => "active",
            Self::Former => "former",
            Self::Retired => "retired",
        }
    }
}

/// A root or an intermediate.
#[derive(Clone, Debug)]
pub struct Member {
    /// As in `root-1` and `intermediate-1`.
    pub name: String,
    /// The root above an intermediate.
    pub parent: Option<String>,
    /// Where it stands.
    pub standing: Standing,
    /// Its certificate.
    pub certificate: CaCertificate,
    /// Certificates between it and its root, PEM; of imported intermediates only.
    pub above: String,
    /// Its certificate with its key, where the key is here.
    pub issuer: Option<Arc<Issuer>>,
}

impl Member {
    /// Whether it is a root.
    pub fn is_root(&self) -> bool {
        self.parent.is_none()
    }
}

/// What is rotated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// The root, and with it the intermediate.
    Root,
    /// The intermediate alone.
    Intermediate,
}

impl Subject {
    /// Lower-case word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Root => "root",
            Self::Intermediate => "intermediate",
        }
    }
}

/// How far a rotation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The new authority exists; verifiers are being told of it.
    Distributing,
    /// Every verifier knows it.
    Confirmed,
    /// It issues; the old one is still trusted.
    Switched,
}

impl Step {
    /// Lower-case word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Distributing => "distributing",
            Self::Confirmed => "confirmed",
            Self::Switched => "switched",
        }
    }
}

/// A rotation that goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rotation {
    /// What is rotated.
    pub subject: Subject,
    /// How far it is.
    pub step: Step,
    /// The issuing authority before.
    pub old: String,
    /// The issuing authority after.
    pub new: String,
    /// When this step was reached.
    pub since: OffsetDateTime,
    /// From the switch on: the longest lifetime of a leaf that the old authority may have signed. What is asked for
    /// later comes from the new one, and does not keep the old one.
    pub old_longest: Option<Duration>,
}

/// A step that was taken, for the audit log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taken {
    /// Counts them, from 1.
    pub number: u64,
    /// When.
    pub at: OffsetDateTime,
    /// A word in CamelCase.
    pub reason: String,
    /// A sentence.
    pub text: String,
}

/// A certificate that is not to be accepted any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revocation {
    /// The authority that signed it.
    pub issuer: String,
    /// Why.
    pub reason: Reason,
    /// When.
    pub at: OffsetDateTime,
    /// When it would have ended: the entry is forgotten some time after.
    pub not_after: OffsetDateTime,
}

/// The whole authority. Cloning is cheap: keys are shared.
#[derive(Clone, Debug)]
pub struct State {
    /// The trust domain of its SPIFFE IDs.
    pub trust_domain: TrustDomain,
    /// Roots and intermediates, in the order in which they were made.
    pub members: Vec<Member>,
    /// The rotation that goes on.
    pub rotation: Option<Rotation>,
    /// What is revoked, by serial number.
    pub revocations: BTreeMap<Serial, Revocation>,
    /// The longest lifetime of a leaf that the authority that issues may have signed. It is raised, in the Secret,
    /// before a longer one is: an authority can be retired when this time has passed since it issued last.
    pub longest_leaf: Duration,
    /// Numbers of the revocation lists, by authority; they only grow.
    pub crl_numbers: BTreeMap<String, u64>,
    /// The last steps: whoever leads next records those that were taken while nobody did.
    pub taken: Vec<Taken>,
    /// The state of the Secret that it was read from; none where that is not known. It is not written.
    pub version: Option<Version>,
}

/// A state of the Secret that an authority lies in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    /// Uid of the Secret. Another one of the same name is another Secret, whose versions say nothing of this one's.
    pub uid: String,
    /// Its resource version.
    pub number: String,
}

impl Version {
    /// Of the object that has this metadata; none where it does not come from an API server.
    pub fn of(metadata: &ObjectMeta) -> Option<Self> {
        let (uid, number) = (metadata.uid.clone()?, metadata.resource_version.clone()?);
        Some(Self { uid, number })
    }

    /// Whether it is a later state of the same Secret.
    pub fn is_after(&self, other: &Self) -> bool {
        // Versions of one resource are numbers that grow (KEP-5504). One that is none is after no other.
        let number = |version: &Self| version.number.parse::<u128>().ok();
        self.uid == other.uid && number(self).zip(number(other)).is_some_and(|(own, other)| own > other)
    }
}

/// `UID/NUMBER`.
impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.uid, self.number)
    }
}

impl std::str::FromStr for Version {
    type Err = ();

    fn from_str(text: &str) -> std::result::Result<Self, ()> {
        let (uid, number) = text.split_once('/').ok_or(())?;
        Ok(Self { uid: uid.to_owned(), number: number.to_owned() })
    }
}

impl State {
    /// The member of this name.
    pub fn member(&self, name: &str) -> Option<&Member> {
        self.members.iter().find(|member| member.name == name)
    }

    /// The authority that issues.
    ///
    /// # Errors
    ///
    /// When there is none, which no step leaves behind.
    pub fn active(&self) -> Result<(&Member, &Arc<Issuer>)> {
        let found = self.members.iter().find(|m| !m.is_root() && m.standing == Standing::Active);
        found.and_then(|member| member.issuer.as_ref().map(|issuer| (member, issuer))).ok_or_else(|| {
            Error::AuthorityBroken("it names no issuing authority, or its key is missing".to_owned())
        })
    }

    /// The certificates between a leaf of this authority and its root, PEM.
    pub fn intermediates_pem(&self, member: &Member) -> String {
        member.certificate.to_pem() + &member.above
    }

    /// The certificates above an intermediate, up to its root.
    ///
    /// # Errors
    ///
    /// When one of them cannot be read, which reading the Secret excludes.
    pub fn above(&self, member: &Member) -> Result<Vec<CaCertificate>> {
        let mut above = certs::read_chain(&member.above)?;
        let root = member.parent.as_deref().and_then(|root| self.member(root));
        above.extend(root.map(|root| root.certificate.clone()));
        Ok(above)
    }

    /// Every root that is trusted, PEM: old ones until they are retired, new ones from the beginning.
    pub fn trust_bundle_pem(&self) -> String {
        self.trusted_roots().map(|root| root.certificate.to_pem()).collect()
    }

    /// The roots of the trust bundle.
    pub fn trusted_roots(&self) -> impl Iterator<Item = &Member> {
        self.members.iter().filter(|member| member.is_root() && member.standing != Standing::Retired)
    }

    /// The authority whose key signed this certificate, and whose root is still trusted.
    pub fn issuer_of(&self, der: &[u8]) -> Option<&Member> {
        self.members
            .iter()
            .find(|m| !m.is_root() && m.standing != Standing::Retired && m.certificate.signed(der).is_ok())
    }

    /// Begins a rotation. A new root needs nothing of the old one, which may have expired.
    ///
    /// # Errors
    ///
    /// While another one goes on; a new intermediate below a root that has ended or whose key is elsewhere.
    pub fn start(&self, subject: Subject, now: OffsetDateTime) -> Result<Self> {
        if let Some(rotation) = &self.rotation {
            return Err(Error::Step(format!(
                "a rotation of the {} goes on already (step: {}); finish it, or abort it",
                rotation.subject.as_str(),
                rotation.step.as_str()
            )));
        }
        let mut next = self.clone();
        let (old, _) = self.active()?;
        let root = match subject {
            Subject::Root => next.make_root(now, Standing::Standby)?,
            Subject::Intermediate => old.parent.clone().unwrap_or_default(),
        };
        let new = next.make_intermediate(&root, now, Standing::Standby)?;
        next.rotation = Some(Rotation {
            subject,
            step: Step::Distributing,
            old: old.name.clone(),
            new,
            since: whole_second(now),
            old_longest: None,
        });
        next.note(now);
        Ok(next)
    }

    /// Records that every verifier has the new bundle.
    ///
    /// # Errors
    ///
    /// When no rotation waits for it.
    pub fn confirm(&self, now: OffsetDateTime) -> Result<Self> {
        self.need(&[Step::Distributing])?;
        let mut next = self.clone();
        next.advance(Step::Confirmed, now);
        next.note(now);
        Ok(next)
    }

    /// Lets the new authority issue.
    ///
    /// # Errors
    ///
    /// Before the confirmation, and while the new authority cannot be used.
    pub fn switch(&self, now: OffsetDateTime) -> Result<Self> {
        let rotation = self.need(&[Step::Confirmed])?.clone();
        let mut next = self.clone();
        for member in &mut next.members {
            let of_root = rotation.subject == Subject::Root && member.is_root();
            match member.standing {
                Standing::Active if of_root || member.name == rotation.old => {
                    member.standing = Standing::Former
                }
                Standing::Standby => {
                    member.certificate.check_time(now)?;
                    member.standing = Standing::Active;
                }
                _ => {}
            }
        }
        next.active()?;
        next.advance(Step::Switched, now);
        if let Some(rotation) = &mut next.rotation {
            rotation.old_longest = Some(self.longest_leaf);
        }
        next.longest_leaf = certs::DEFAULT_LIFETIME;
        next.note(now);
        Ok(next)
    }

    /// When the last leaf that the old authority can have signed ends.
    pub fn old_leaves_end(&self) -> Option<OffsetDateTime> {
        let rotation = self.rotation.as_ref().filter(|rotation| rotation.step == Step::Switched)?;
        let old = self.member(&rotation.old)?;
        Some((rotation.since + self.longest_leaf_of(&rotation.old)).min(old.certificate.not_after))
    }

    /// The longest lifetime of a leaf that this authority may have signed.
    pub fn longest_leaf_of(&self, authority: &str) -> Duration {
        let rotation = self.rotation.as_ref().filter(|rotation| rotation.old == authority);
        rotation.and_then(|rotation| rotation.old_longest).unwrap_or(self.longest_leaf)
    }

    /// Ends the rotation: the old authority is trusted no longer. `live` names what still shows one of its
    /// certificates; `all_replaced` says that somebody has made sure that there are no others, so that the end of
    /// the longest life need not be awaited.
    ///
    /// # Errors
    ///
    /// While something live needs it.
    pub fn retire(&self, live: &[String], all_replaced: bool, now: OffsetDateTime) -> Result<Self> {
        let rotation = self.need(&[Step::Switched])?.clone();
        if !live.is_empty() {
            let shown = live.iter().take(5).map(String::as_str).collect::<Vec<_>>().join(", ");
            let more = live.len().saturating_sub(5);
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            return Err(Error::Step(format!(
                "certificates of {} are still in use: {shown}{more}",
                rotation.old
            )));
        }
        if let Some(end) = self.old_leaves_end().filter(|end| now < *end && !all_replaced) {
            return Err(Error::Step(format!(
                "a certificate of {} that nobody sees may live until {}",
                rotation.old,
                rfc3339(end)
            )));
        }
        let mut next = self.clone();
        for member in &mut next.members {
            let of_root = rotation.subject == Subject::Root && member.standing == Standing::Former;
            if of_root || member.name == rotation.old {
                member.standing = Standing::Retired;
                // What is not trusted any more need not be able to sign.
                member.issuer = None;
            }
        }
        next.rotation = None;
        next.note_end("RotationRetired", &rotation, now);
        Ok(next)
    }

    /// Drops the new authority.
    ///
    /// # Errors
    ///
    /// After the switch, for certificates of it may be in use.
    pub fn abort(&self, now: OffsetDateTime) -> Result<Self> {
        let rotation = self.need(&[Step::Distributing, Step::Confirmed])?.clone();
        let mut next = self.clone();
        for member in next.members.iter_mut().filter(|member| member.standing == Standing::Standby) {
            member.standing = Standing::Retired;
            member.issuer = None;
        }
        next.rotation = None;
        next.note_end("RotationAborted", &rotation, now);
        Ok(next)
    }

    /// Revokes a certificate. Revoking it again changes nothing, unless it is said to be of another authority than
    /// before: then it was on the wrong list, where it revoked nothing.
    #[must_use]
    pub fn revoke(&self, serial: Serial, revocation: Revocation) -> Self {
        let mut next = self.clone();
        match next.revocations.get(&serial) {
            Some(before) if before.issuer == revocation.issuer => {}
            _ => {
                next.revocations.insert(serial, revocation);
            }
        }
        next
    }

    /// Forgets revocations of certificates that ended longer ago than a list lives: each was named once after its end.
    #[must_use]
    pub fn pruned(&self, now: OffsetDateTime) -> Self {
        let mut next = self.clone();
        next.revocations.retain(|_, revocation| revocation.not_after + certs::LIST_LIFETIME > now);
        next
    }

    /// The next numbers for the lists of these authorities.
    #[must_use]
    pub fn with_next_lists(&self, names: &[String], now: OffsetDateTime) -> Self {
        let mut next = self.pruned(now);
        for name in names {
            *next.crl_numbers.entry(name.clone()).or_default() += 1;
        }
        next
    }

    fn need(&self, steps: &[Step]) -> Result<&Rotation> {
        let rotation = self
            .rotation
            .as_ref()
            .ok_or_else(|| Error::Step("no rotation goes on; begin one with start".to_owned()))?;
        if steps.contains(&rotation.step) {
            return Ok(rotation);
        }
        Err(Error::Step(format!(
            "the rotation is at the step {}, and this needs {}",
            rotation.step.as_str(),
            steps.iter().map(|step| step.as_str()).collect::<Vec<_>>().join(" or ")
        )))
    }

    fn advance(&mut self, step: Step, now: OffsetDateTime) {
        if let Some(rotation) = &mut self.rotation {
            rotation.step = step;
            rotation.since = whole_second(now);
        }
    }
}

pub(super) fn whole_second(at: OffsetDateTime) -> OffsetDateTime {
    at.replace_nanosecond(0).unwrap_or(at)
}
