//! Rotation: a new root or intermediate takes over in four guarded steps.
//!
//! ```text
//! start    makes the new authority; a new root joins the trust bundle   -> distributing
//! confirm  the operator says that every verifier has the new bundle     -> confirmed
//! switch   leaves come from the new authority from now on               -> switched
//! retire   the old one leaves the bundle, when nothing live needs it     -> (none)
//! abort    up to the switch: the new one is dropped                     -> (none)
//! ```
//!
//! Each step is one transaction of the ledger, and what lies in files follows from the ledger when the
//! authority is opened: a kill at any point leaves the step before or the step after.

use std::path::Path;

use rusqlite::{OptionalExtension as _, Transaction};
use time::OffsetDateTime;

use crate::authority::{Authority, Member, members, read_issuer};
use crate::constraints::Constraints;
use crate::create::{new_intermediate, new_root};
use crate::error::{Error, Result};
use crate::issuer::Issuer;
use crate::ledger::{Ledger, event};
use crate::store::read_public;
use crate::text::{certificates_of_pem, rfc3339};

#[cfg(test)]
mod tests;

/// What is rotated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// The root, and with it the intermediate.
    Root,
    /// The intermediate alone, below the same root.
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
    /// The root before, `root-1`.
    pub old_root: String,
    /// The root after; the same when only the intermediate is rotated.
    pub new_root: String,
    /// The issuing authority before.
    pub old_issuer: String,
    /// The issuing authority after.
    pub new_issuer: String,
    /// When this step was reached.
    pub since: OffsetDateTime,
}

/// The rotation that goes on, if any.
pub fn current(ledger: &Ledger) -> Result<Option<Rotation>> {
    type Columns = (String, String, String, String, String, String, i64);
    let row: Option<Columns> = ledger.read(|c| {
        c.query_row(
            "SELECT what, step, old_root, new_root, old_issuer, new_issuer, since FROM rotation",
            [],
            |r| Ok((r.get(0)?, r.get(1)?, r.get(2)?, r.get(3)?, r.get(4)?, r.get(5)?, r.get(6)?)),
        )
        .optional()
    })?;
    let Some((what, step, old_root, new_root, old_issuer, new_issuer, since)) = row else { return Ok(None) };
    Ok(Some(Rotation {
        subject: if what == "root" { Subject::Root } else { Subject::Intermediate },
        step: match step.as_str() {
            "distributing" => Step::Distributing,
            "confirmed" => Step::Confirmed,
            _ => Step::Switched,
        },
        old_root,
        new_root,
        old_issuer,
        new_issuer,
        since: OffsetDateTime::from_unix_timestamp(since)
            .map_err(|_| Error::Broken("the rotation's date is wrong".into()))?,
    }))
}

impl Authority {
    /// The rotation that goes on, if any.
    pub fn rotation(&self) -> Result<Option<Rotation>> {
        current(&self.ledger)
    }

    /// Whether a rotation may start now; for an intermediate its root with the key comes back.
    pub(crate) fn start_below(
        &self,
        subject: Subject,
        now: OffsetDateTime,
    ) -> Result<Option<(String, Issuer)>> {
        if let Some(rotation) = self.rotation()? {
            return Err(refuse(format!(
                "a rotation of the {} goes on already (step: {}); finish it, or abort it",
                rotation.subject.as_str(),
                rotation.step.as_str()
            )));
        }
        if subject == Subject::Root {
            return Ok(None);
        }
        let name = self.root_name().to_owned();
        let all = self.members()?;
        let member = member(&all, &name)?;
        if member.certificate.not_after <= now {
            return Err(refuse(format!(
                "{name} expired at {}, and nothing below it would be accepted; rotate the root",
                rfc3339(member.certificate.not_after)
            )));
        }
        Ok(Some((name, read_issuer(&self.layout, member)?)))
    }

    /// Whether [`Self::rotate_start`] would be accepted.
    pub fn check_start(&self, subject: Subject, now: OffsetDateTime) -> Result<()> {
        self.start_below(subject, now).map(|_| ())
    }

    /// Makes the new authority. Refused while another rotation goes on; a new intermediate needs its root's
    /// key, and a root that lives. A new root needs nothing of the old one, which may have expired.
    pub fn rotate_start(&mut self, subject: Subject, who: &str, now: OffsetDateTime) -> Result<Rotation> {
        let root = self.start_below(subject, now)?;
        let (old_issuer, old_root) = (self.issuer.clone(), self.root_name().to_owned());
        let constraints = Constraints::of(&old_issuer.certificate)?;
        let (layout, settings) = (self.layout.clone(), self.settings.clone());
        self.ledger.change(|tx| {
            let root = match root {
                Some(root) => root,
                None => new_root(tx, &layout, &settings, "standby", who, now)?,
            };
            let new_issuer =
                new_intermediate(tx, &layout, &settings, &root, &constraints, "standby", who, now)?;
            tx.execute(
                "INSERT INTO rotation (id, what, step, old_root, new_root, old_issuer, new_issuer, since) \
                 VALUES (1, ?1, 'distributing', ?2, ?3, ?4, ?5, ?6)",
                (subject.as_str(), &old_root, &root.0, &old_issuer.name, &new_issuer, now.unix_timestamp()),
            )?;
            event(tx, now, who, &format!("started the rotation of the {} to {new_issuer}", subject.as_str()))
        })?;
        self.reload(now)?;
        self.need(None)
    }

    /// Records that every verifier has the new bundle. Each copy that is given is read, and must hold all
    /// roots of the bundle; a root is confirmed with at least one copy or with `all_have_it`.
    pub fn rotate_confirm(
        &mut self,
        copies: &[&Path],
        all_have_it: bool,
        who: &str,
        now: OffsetDateTime,
    ) -> Result<Rotation> {
        self.check_confirm(copies, all_have_it)?;
        self.advance(Step::Confirmed, who, now)
    }

    /// Whether [`Self::rotate_confirm`] would be accepted.
    pub fn check_confirm(&self, copies: &[&Path], all_have_it: bool) -> Result<Rotation> {
        let rotation = self.need(Some(&[Step::Distributing]))?;
        if rotation.subject == Subject::Root {
            if copies.is_empty() && !all_have_it {
                return Err(refuse(
                    "nobody has said that the verifiers have the new root: a server that lacks it would refuse \
                     every certificate after the switch"
                        .into(),
                ));
            }
            let wanted = certificates_of_pem(&self.trust_bundle_pem()?)
                .map_err(|e| Error::Broken(format!("the trust bundle cannot be read: {e}")))?;
            for copy in copies {
                if same_file(copy, &self.layout.bundle()) {
                    return Err(refuse(format!(
                        "{} is the authority's own bundle: give a copy as a verifier has it",
                        copy.display()
                    )));
                }
                let found = certificates_of_pem(&read_public(copy)?)
                    .map_err(|e| refuse(format!("{} is no PEM file: {e}", copy.display())))?;
                let lacking = wanted.iter().filter(|root| !found.contains(root)).count();
                if lacking > 0 {
                    return Err(refuse(format!(
                        "{} lacks {lacking} of the {} roots of {}",
                        copy.display(),
                        wanted.len(),
                        self.layout.bundle().display()
                    )));
                }
            }
        }
        Ok(rotation)
    }

    /// Lets the new authority issue. Refused before the confirmation, and while the new authority or its key
    /// cannot be used now.
    pub fn rotate_switch(&mut self, who: &str, now: OffsetDateTime) -> Result<Rotation> {
        let rotation = self.check_switch(now)?;
        self.ledger.change(|tx| {
            let state = |name: &str, state: &str| {
                tx.execute("UPDATE authority SET state = ?2 WHERE name = ?1", (name, state))
            };
            state(&rotation.old_issuer, "former")?;
            state(&rotation.new_issuer, "active")?;
            if rotation.subject == Subject::Root {
                state(&rotation.old_root, "former")?;
                state(&rotation.new_root, "active")?;
            }
            tx.execute("UPDATE rotation SET step = 'switched', since = ?1", [now.unix_timestamp()])?;
            event(tx, now, who, &format!("switched to {}", rotation.new_issuer))
        })?;
        self.reload(now)?;
        self.need(None)
    }

    /// Whether [`Self::rotate_switch`] would be accepted.
    pub fn check_switch(&self, now: OffsetDateTime) -> Result<Rotation> {
        let rotation = self.need(Some(&[Step::Confirmed]))?;
        let all = self.members()?;
        let new = member(&all, &rotation.new_issuer)?;
        new.certificate.check_time(now)?;
        let root = member(&all, &rotation.new_root)?;
        root.certificate.check_time(now)?;
        root.certificate.signed(&new.certificate.der)?;
        read_issuer(&self.layout, new)?;
        Ok(rotation)
    }

    /// Ends the rotation: the old authority is trusted no longer. Refused while a certificate that it signed
    /// is neither expired nor revoked.
    pub fn rotate_retire(&mut self, who: &str, now: OffsetDateTime) -> Result<Rotation> {
        let rotation = self.check_retire(now)?;
        self.ledger.change(|tx| {
            retire(tx, &rotation.old_issuer)?;
            if rotation.subject == Subject::Root {
                // Intermediates of earlier rotations below this root go with it.
                tx.execute("UPDATE authority SET state = 'retired' WHERE parent = ?1", [&rotation.old_root])?;
                retire(tx, &rotation.old_root)?;
            }
            tx.execute("DELETE FROM rotation", [])?;
            event(tx, now, who, &format!("retired {}", rotation.old_issuer))
        })?;
        self.reload(now)?;
        Ok(rotation)
    }

    /// Whether [`Self::rotate_retire`] would be accepted.
    pub fn check_retire(&self, now: OffsetDateTime) -> Result<Rotation> {
        let rotation = self.need(Some(&[Step::Switched]))?;
        let live = self.old_live(&rotation, now)?;
        if let Some(last) = live.iter().max_by_key(|record| record.not_after) {
            let mut names: Vec<&str> = live.iter().map(|record| record.name.as_str()).collect();
            names.sort_unstable();
            names.dedup();
            let shown = names.iter().take(5).copied().collect::<Vec<_>>().join(", ");
            let more = names.len().saturating_sub(5);
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            return Err(refuse(format!(
                "{} live certificates still chain to {} ({shown}{more}); the last of them ends at {}: renew or \
                 revoke them first",
                live.len(),
                rotation.old_issuer,
                rfc3339(last.not_after)
            )));
        }
        Ok(rotation)
    }

    /// Whether [`Self::rotate_abort`] would be accepted.
    pub fn check_abort(&self) -> Result<Rotation> {
        self.need(Some(&[Step::Distributing, Step::Confirmed]))
    }

    /// Drops the new authority. Refused after the switch, for certificates of it may be in use.
    pub fn rotate_abort(&mut self, who: &str, now: OffsetDateTime) -> Result<Rotation> {
        let rotation = self.check_abort()?;
        self.ledger.change(|tx| {
            retire(tx, &rotation.new_issuer)?;
            if rotation.subject == Subject::Root {
                retire(tx, &rotation.new_root)?;
            }
            tx.execute("DELETE FROM rotation", [])?;
            event(tx, now, who, &format!("aborted the rotation to {}", rotation.new_issuer))
        })?;
        self.reload(now)?;
        Ok(rotation)
    }

    /// The live certificates that keep the old authority from being retired.
    pub fn old_live(&self, rotation: &Rotation, now: OffsetDateTime) -> Result<Vec<crate::ledger::Record>> {
        let mut live = Vec::new();
        for member in self.members()? {
            let below =
                rotation.subject == Subject::Root && member.parent.as_ref() == Some(&rotation.old_root);
            if below || member.name == rotation.old_issuer || member.name == rotation.old_root {
                let records = self.ledger.live_of(&member.name, now)?;
                live.extend(records.into_iter().filter(|record| !record.is_proof()));
            }
        }
        Ok(live)
    }

    fn advance(&mut self, step: Step, who: &str, now: OffsetDateTime) -> Result<Rotation> {
        self.ledger.change(|tx| {
            tx.execute("UPDATE rotation SET step = ?1, since = ?2", (step.as_str(), now.unix_timestamp()))?;
            event(tx, now, who, &format!("rotation: {}", step.as_str()))
        })?;
        self.need(None)
    }

    fn need(&self, steps: Option<&[Step]>) -> Result<Rotation> {
        let rotation =
            self.rotation()?.ok_or_else(|| refuse("no rotation goes on; begin one with start".into()))?;
        match steps {
            Some(steps) if !steps.contains(&rotation.step) => Err(refuse(format!(
                "the rotation is at the step {}, and this needs {}",
                rotation.step.as_str(),
                steps.iter().map(|step| step.as_str()).collect::<Vec<_>>().join(" or ")
            ))),
            _ => Ok(rotation),
        }
    }

    /// Takes over what the ledger says now: who issues, and the public files.
    fn reload(&mut self, now: OffsetDateTime) -> Result<()> {
        let all = members(&self.ledger)?;
        let issuer = crate::authority::active_issuer(&all)
            .ok_or_else(|| Error::Broken("the ledger names no issuing authority".into()))?;
        if issuer.name != self.issuer.name {
            self.key = read_issuer(&self.layout, issuer)?;
            self.issuer = issuer.clone();
        }
        self.publish(&all)?;
        self.publish_lists(now, false).map(|_| ())
    }
}

/// Trusts this authority no longer.
fn retire(tx: &Transaction<'_>, name: &str) -> rusqlite::Result<()> {
    tx.execute("UPDATE authority SET state = 'retired' WHERE name = ?1", [name]).map(|_| ())
}

fn same_file(one: &Path, other: &Path) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    let file = |path: &Path| std::fs::metadata(path).ok().map(|found| (found.dev(), found.ino()));
    file(one).is_some_and(|one| Some(one) == file(other))
}

fn refuse(why: String) -> Error {
    Error::Rotation(why)
}

fn member<'a>(all: &'a [Member], name: &str) -> Result<&'a Member> {
    all.iter()
        .find(|member| member.name == name)
        .ok_or_else(|| Error::Broken(format!("the ledger lacks {name}")))
}
