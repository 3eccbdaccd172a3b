//! Revocation: a mark in the ledger, and the signed lists that tell everybody (RFC 5280, section 5).
//! There is one list per issuer, the roots too, for rustls asks for one at every step of a chain.
//! The number of a list only ever grows: it is taken in the transaction that stores the list.

use std::fmt;
use std::str::FromStr;

use rcgen::{CertificateRevocationListParams, RevocationReason, RevokedCertParams, SerialNumber};
use time::{Duration, OffsetDateTime};

use crate::authority::{Authority, Member, read_issuer};
use crate::error::{Error, Result};
use crate::exact::crl_with_issuer_name;
use crate::issue::{SKEW, whole_second};
use crate::issuer::Issuer;
use crate::ledger::{Record, RecordKind, event};
use crate::serial::Serial;
use crate::store::write_public;
use crate::text::{pem, rfc3339};

mod read;
#[cfg(test)]
mod tests;

/// How long a list of an intermediate is valid; it is renewed at half of it.
pub const LIST_LIFETIME: Duration = Duration::days(7);
/// How long a root's list is valid: long, because the root's key is offline.
pub const ROOT_LIST_LIFETIME: Duration = Duration::days(180);

/// Why a certificate is revoked (RFC 5280, section 5.3.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reason {
    /// No reason.
    #[default]
    Unspecified,
    /// Somebody else has the key, or may have it.
    KeyCompromise,
    /// Somebody else has the authority's key.
    CaCompromise,
    /// The owner's name or organisation changed.
    AffiliationChanged,
    /// Another certificate took its place.
    Superseded,
    /// What it was for is no more.
    CessationOfOperation,
    /// Its owner lost a right.
    PrivilegeWithdrawn,
}

impl Reason {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Unspecified,
        Self::KeyCompromise,
        Self::CaCompromise,
        Self::AffiliationChanged,
        Self::Superseded,
        Self::CessationOfOperation,
        Self::PrivilegeWithdrawn,
    ];

    /// The number of the standard.
    pub fn number(self) -> u8 {
        match self {
            Self::Unspecified => 0,
            Self::KeyCompromise => 1,
            Self::CaCompromise => 2,
            Self::AffiliationChanged => 3,
            Self::Superseded => 4,
            Self::CessationOfOperation => 5,
            Self::PrivilegeWithdrawn => 9,
        }
    }

    /// The reason with this number; an unknown number is no reason.
    pub fn of_number(number: u8) -> Self {
        Self::ALL.into_iter().find(|reason| reason.number() == number).unwrap_or_default()
    }

    fn for_rcgen(self) -> RevocationReason {
        match self {
            Self::Unspecified => RevocationReason::Unspecified,
            Self::KeyCompromise => RevocationReason::KeyCompromise,
            Self::CaCompromise => RevocationReason::CaCompromise,
            Self::AffiliationChanged => RevocationReason::AffiliationChanged,
            Self::Superseded => RevocationReason::Superseded,
            Self::CessationOfOperation => RevocationReason::CessationOfOperation,
            Self::PrivilegeWithdrawn => RevocationReason::PrivilegeWithdrawn,
        }
    }
}

/// The standard's word: `keyCompromise`.
impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unspecified => "unspecified",
            Self::KeyCompromise => "keyCompromise",
            Self::CaCompromise => "cACompromise",
            Self::AffiliationChanged => "affiliationChanged",
            Self::Superseded => "superseded",
            Self::CessationOfOperation => "cessationOfOperation",
            Self::PrivilegeWithdrawn => "privilegeWithdrawn",
        })
    }
}

/// Any case, with or without hyphens and underscores.
impl FromStr for Reason {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let plain = |text: &str| text.replace(['-', '_'], "").to_ascii_lowercase();
        Self::ALL.into_iter().find(|reason| plain(&reason.to_string()) == plain(text)).ok_or_else(|| {
            let all = Self::ALL.map(|reason| reason.to_string()).join(", ");
            Error::Request(format!("{text:?} is no reason; there are {all}"))
        })
    }
}

/// A certificate that is not to be accepted any more, as a list needs it.
#[derive(Clone, Debug)]
pub struct Revoked {
    /// Its serial number.
    pub serial: Serial,
    /// When it was revoked.
    pub at: OffsetDateTime,
    /// Why.
    pub reason: Reason,
    /// Its end of validity.
    pub not_after: OffsetDateTime,
}

impl Revoked {
    fn of(record: &Record) -> Option<Self> {
        let (at, reason) = record.revoked?;
        let reason = Reason::of_number(reason);
        Some(Self { serial: record.serial.clone(), at, reason, not_after: record.not_after })
    }
}

/// The revocation list of one authority.
#[derive(Clone, Debug)]
pub struct List {
    /// The authority, as in `intermediate-1`.
    pub authority: String,
    /// Its number.
    pub number: u64,
    /// When it was signed.
    pub this_update: OffsetDateTime,
    /// When the next one comes at the latest; verifiers refuse it from then on.
    pub next_update: OffsetDateTime,
    /// The list.
    pub der: Vec<u8>,
    /// Set when a new one is due but cannot be signed: the root's key is offline.
    pub offline: bool,
    /// Set when a certificate was revoked that is not on it yet.
    pub outdated: bool,
    /// Set when its authority was retired: it is kept as long as it may matter.
    pub retired: bool,
}

/// Which lists are signed anew.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Which {
    /// Those that lack a revocation.
    Outdated,
    /// Those, and those whose half time is over.
    Due,
    /// All.
    All,
}

impl List {
    /// Signs a list. Pure: what is revoked, the number and the time are passed in.
    pub fn sign(
        name: &str,
        number: u64,
        issuer: &Issuer,
        revoked: &[Revoked],
        now: OffsetDateTime,
    ) -> Result<Self> {
        let lifetime = if name.starts_with("root") { ROOT_LIST_LIFETIME } else { LIST_LIFETIME };
        let this_update = whole_second(now) - SKEW;
        let next_update = (whole_second(now) + lifetime).min(issuer.certificate().not_after);
        // An expired certificate leaves the list once a whole list has named it after its end (RFC 5280, section 3.3).
        let named = revoked.iter().filter(|revoked| revoked.not_after + lifetime > now);
        let params = CertificateRevocationListParams {
            this_update,
            next_update,
            crl_number: SerialNumber::from(minimal(number)),
            issuing_distribution_point: None,
            revoked_certs: named
                .map(|revoked| RevokedCertParams {
                    serial_number: SerialNumber::from(revoked.serial.as_bytes().to_vec()),
                    revocation_time: revoked.at,
                    reason_code: Some(revoked.reason.for_rcgen()),
                    invalidity_date: None,
                })
                .collect(),
            key_identifier_method: issuer.key_id(),
        };
        let der = crl_with_issuer_name(params.signed_by(issuer.signer())?.der(), issuer)?;
        Ok(Self {
            authority: name.to_owned(),
            number,
            this_update,
            next_update,
            der,
            offline: false,
            outdated: false,
            retired: false,
        })
    }

    /// PEM.
    pub fn to_pem(&self) -> String {
        pem("X509 CRL", &self.der)
    }

    /// When half of its time is over: a new one is due then.
    pub fn half_time(&self) -> OffsetDateTime {
        self.this_update + (self.next_update - self.this_update) / 2
    }
}

impl Authority {
    /// Revokes a certificate and publishes a new list. Refuses roots: nobody could sign their list.
    pub fn revoke(
        &mut self,
        serial: &Serial,
        reason: Reason,
        who: &str,
        now: OffsetDateTime,
    ) -> Result<Record> {
        let record = self.ledger.by_serial(serial)?.ok_or_else(|| Error::Unknown(serial.to_string()))?;
        if let Some((at, _)) = record.revoked {
            // Said only once it is true for everybody.
            self.publish_lists(now, false)?;
            return Err(Error::AlreadyRevoked { serial: serial.to_string(), at: rfc3339(at) });
        }
        if record.kind == RecordKind::Root {
            return Err(Error::Request(format!(
                "{} is a root, which nobody can revoke: take it out of the trust stores and rotate",
                record.name
            )));
        }
        if record.kind == RecordKind::Intermediate && !self.layout.key(&record.issuer).exists() {
            return Err(Error::RootOffline(self.layout.key(&record.issuer)));
        }
        let at = whole_second(now);
        self.ledger.change(|tx| {
            tx.execute(
                "UPDATE certificate SET revoked_at = ?2, reason = ?3 WHERE serial = ?1",
                (serial.to_string(), at.unix_timestamp(), reason.number()),
            )?;
            // The stored list is out of date from this moment on, even if the process dies before the new one.
            tx.execute("UPDATE authority SET crl_at = NULL WHERE name = ?1", [&record.issuer])?;
            event(tx, now, who, &format!("revoked {serial} ({}): {reason}", record.name))
        })?;
        self.publish_lists(now, false)?;
        Ok(Record { revoked: Some((at, reason.number())), ..record })
    }

    /// The lists of all authorities, PEM: those that are due are signed anew first.
    pub fn crl_pem(&mut self, now: OffsetDateTime) -> Result<String> {
        Ok(self.publish_lists(now, false)?.iter().map(List::to_pem).collect())
    }

    /// Signs the lists that are due (all of them with `force`), and writes them into the folder.
    pub fn publish_lists(&mut self, now: OffsetDateTime, force: bool) -> Result<Vec<List>> {
        self.publish_which(now, if force { Which::All } else { Which::Due })
    }

    /// Signs the lists that lack a revocation, and heals the files: a process may have been killed in between.
    pub(crate) fn publish_dirty(&mut self, now: OffsetDateTime) -> Result<()> {
        self.publish_which(now, Which::Outdated).map(|_| ())
    }

    fn publish_which(&mut self, now: OffsetDateTime, which: Which) -> Result<Vec<List>> {
        let mut lists = Vec::new();
        for member in self.members()?.iter().filter(|member| publishes(member, now)) {
            if let Some(list) = self.list_of(member, now, which)?
                && list.counts(now)
            {
                lists.push(list);
            }
        }
        for list in &lists {
            let path = self.layout.crl_of(&list.authority);
            if std::fs::read(&path).ok().as_deref() != Some(list.der.as_slice()) {
                write_public(&path, &list.der)?;
            }
        }
        let all: String = lists.iter().map(List::to_pem).collect();
        if std::fs::read_to_string(self.layout.crl()).ok().as_deref() != Some(all.as_str()) {
            write_public(&self.layout.crl(), all.as_bytes())?;
        }
        Ok(lists)
    }

    fn list_of(&mut self, member: &Member, now: OffsetDateTime, which: Which) -> Result<Option<List>> {
        let stored = stored_list(&self.ledger, member)?;
        let due = match (&stored, which) {
            (None, _) | (_, Which::All) => true,
            (Some(list), Which::Due) => list.outdated || is_due(list, now),
            (Some(list), Which::Outdated) => list.outdated,
        };
        if !due {
            return Ok(stored);
        }
        let issuer = match self.issuer.name == member.name {
            true => None,
            false => match read_issuer(&self.layout, member) {
                Ok(issuer) => Some(issuer),
                // An offline root is as it should be; its last list goes on being served.
                Err(Error::RootOffline(_)) => return Ok(stored.map(|list| List { offline: true, ..list })),
                // The key of one that issues no longer may be gone; that must not stop the others.
                Err(Error::File { .. }) if !self.layout.key(&member.name).exists() => {
                    return Ok(stored.map(|list| List { offline: true, ..list }));
                }
                Err(error) => return Err(error),
            },
        };
        let issuer = issuer.as_ref().unwrap_or(&self.key);
        // An authority that has expired signs nothing; what it signed has expired too.
        if issuer.certificate().check_time(now).is_err() {
            return Ok(stored);
        }
        let revoked: Vec<Revoked> =
            self.ledger.revoked_of(&member.name)?.iter().filter_map(Revoked::of).collect();
        let (name, retired) = (member.name.clone(), member.state == "retired");
        let list = self.ledger.change(|tx| {
            let number: u64 = tx.query_row(
                "UPDATE authority SET crl_number = crl_number + 1 WHERE name = ?1 RETURNING crl_number",
                [&name],
                |row| row.get(0),
            )?;
            let list = List { retired, ..List::sign(&name, number, issuer, &revoked, now)? };
            tx.execute(
                "UPDATE authority SET crl_at = ?2, crl_next = ?3, crl = ?4 WHERE name = ?1",
                (&name, list.this_update.unix_timestamp(), list.next_update.unix_timestamp(), &list.der),
            )?;
            Ok(list)
        })?;
        Ok(Some(list))
    }

    /// The lists as they are stored, without signing any.
    pub fn lists(ledger: &crate::ledger::Ledger, now: OffsetDateTime) -> Result<Vec<List>> {
        let mut lists = Vec::new();
        for member in crate::authority::members(ledger)?.iter().filter(|member| publishes(member, now)) {
            lists.extend(stored_list(ledger, member)?.filter(|list| list.counts(now)));
        }
        Ok(lists)
    }
}

/// Whether an authority has a list. A retired intermediate may still chain to a trusted root, so that without
/// its list what it revoked would be good again: it goes on until its certificate ends.
fn publishes(member: &Member, now: OffsetDateTime) -> bool {
    member.certificate.signs_crls && (member.state != "retired" || member.certificate.not_after > now)
}

impl List {
    /// A retired root's key is gone, and its stale list says nothing that anybody asks for.
    fn counts(&self, now: OffsetDateTime) -> bool {
        !self.retired || self.next_update > now
    }
}

/// Whether half of a list's time is over, or the clock was turned back behind its beginning.
fn is_due(list: &List, now: OffsetDateTime) -> bool {
    now < list.this_update || now >= list.half_time()
}

fn minimal(number: u64) -> Vec<u8> {
    let bytes = number.to_be_bytes();
    bytes[bytes.iter().position(|b| *b != 0).unwrap_or(7)..].to_vec()
}

fn stored_list(ledger: &crate::ledger::Ledger, member: &Member) -> Result<Option<List>> {
    let row: (u64, Option<i64>, Option<i64>, Option<Vec<u8>>) = ledger.read(|c| {
        c.query_row(
            "SELECT crl_number, crl_at, crl_next, crl FROM authority WHERE name = ?1",
            [&member.name],
            |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)),
        )
    })?;
    let at = |seconds: i64| {
        OffsetDateTime::from_unix_timestamp(seconds)
            .map_err(|_| Error::Broken("a list's date is wrong".into()))
    };
    let (number, this_update, next_update, der) = row;
    let (Some(next), Some(der)) = (next_update, der) else { return Ok(None) };
    Ok(Some(List {
        authority: member.name.clone(),
        number,
        this_update: at(this_update.unwrap_or(0))?,
        next_update: at(next)?,
        der,
        offline: false,
        outdated: this_update.is_none(),
        retired: member.state == "retired",
    }))
}
