//! Taking over an existing authority: a root with its key (a new intermediate is made below it), or an
//! intermediate with its key and the chain up to its root (whose key stays where it is).

use std::path::Path;

use time::OffsetDateTime;

use crate::authority::{Authority, InitOptions, prepare};
use crate::create::{new_intermediate, save_key, save_member};
use crate::error::{Error, Result};
use crate::issuer::{CaCertificate, Issuer};
use crate::key::PrivateKey;
use crate::ledger::event;
use crate::settings::{save_settings, settings_of};
use crate::text::certificates_of_pem;

#[cfg(test)]
mod tests;

/// What is taken over.
#[derive(Debug)]
pub struct Import {
    /// The certificate of the authority, then those above it, PEM.
    pub chain_pem: String,
    /// Its key, opened.
    pub key: PrivateKey,
}

impl Import {
    /// Checks all that can be checked without writing anything: the chain up to its root, its dates, the key.
    /// The authority's certificate comes back.
    pub fn check(&self, options: &InitOptions, now: OffsetDateTime) -> Result<CaCertificate> {
        let chain = self.chain(options, now)?;
        let first = chain.first().ok_or_else(empty)?.clone();
        match self.key.public_key_info() == first.public_key {
            true => Ok(first),
            false => Err(Error::KeyMismatch(first.subject)),
        }
    }

    fn chain(&self, options: &InitOptions, now: OffsetDateTime) -> Result<Vec<CaCertificate>> {
        options.check()?;
        let chain = read_chain(&self.chain_pem)?;
        let (first, above) = chain.split_first().ok_or_else(empty)?;
        for ca in &chain {
            ca.check_time(now)?;
        }
        let root = above.last();
        if !first.self_issued && !root.is_some_and(|root| root.self_issued) {
            return Err(Error::Unusable {
                subject: first.subject.clone(),
                reason: "its chain does not end in a root; give the certificates up to the root".into(),
            });
        }
        if first.self_issued && first.path_length == Some(0) {
            return Err(Error::Unusable {
                subject: first.subject.clone(),
                reason: "its path length of 0 forbids the intermediate that would issue below it".into(),
            });
        }
        if !first.self_issued && !options.constraints.is_empty() {
            return Err(Error::Request(
                "an intermediate that is there already cannot be limited any more; only a new one below a root".into(),
            ));
        }
        Ok(chain)
    }
}

fn empty() -> Error {
    Error::Request("the file holds no certificate".into())
}

impl Authority {
    /// Makes an authority in a folder that has none, from an existing root or intermediate. The options say
    /// what is made anew; their constraints hold for the new intermediate below an imported root.
    pub fn import(
        dir: &Path,
        import: Import,
        options: &InitOptions,
        who: &str,
        now: OffsetDateTime,
    ) -> Result<Self> {
        let chain = import.chain(options, now)?;
        let (first, above) = chain.split_first().ok_or_else(empty)?;
        let issuer = Issuer::new(first.clone(), import.key)?;
        let (layout, lock, mut ledger) = prepare(dir)?;
        ledger.change(|tx| {
            save_settings(tx, options)?;
            let settings = settings_of(tx)?;
            // Numbers of earlier lists are not known here; seconds since 1970 are above any plausible count.
            let numbers = |tx: &rusqlite::Transaction<'_>| {
                tx.execute("UPDATE authority SET crl_number = ?1", [now.unix_timestamp()])
            };
            if first.self_issued {
                save_key(&layout, "root-1", issuer.key())?;
                save_member(tx, "root-1", "root-1", None, "active", first, "", who, now)?;
                numbers(tx)?;
                let root = ("root-1".to_owned(), issuer);
                new_intermediate(tx, &layout, &settings, &root, &options.constraints, "active", who, now)?;
            } else if let Some((root, between)) = above.split_last() {
                save_member(tx, "root-1", "root-1", None, "active", root, "", who, now)?;
                let between: String = between.iter().map(CaCertificate::to_pem).collect();
                save_key(&layout, "intermediate-1", issuer.key())?;
                let parent = Some("root-1");
                save_member(tx, "intermediate-1", "root-1", parent, "active", first, &between, who, now)?;
                numbers(tx)?;
            }
            event(tx, now, who, &format!("imported {}", first.subject))
        })?;
        Self::load(layout, lock, ledger, now)
    }
}

/// The certificates of a chain, each signed by the next; more than ten is no chain of authorities.
pub fn read_chain(text: &str) -> Result<Vec<CaCertificate>> {
    let ders = certificates_of_pem(text).map_err(|e| Error::Request(format!("this is no PEM text: {e}")))?;
    if ders.len() > 10 {
        return Err(Error::Request("the file holds more than ten certificates".into()));
    }
    let chain = ders.iter().map(|der| CaCertificate::parse(der)).collect::<Result<Vec<_>>>()?;
    for pair in chain.windows(2) {
        pair[1].signed(&pair[0].der).map_err(|_| Error::Unusable {
            subject: pair[0].subject.clone(),
            reason: format!("it was not signed by the next certificate in the file, {}", pair[1].subject),
        })?;
    }
    // A name that is its own issuer's is no root yet: anybody can write that. Its signature says it.
    if let Some(last) = chain.last().filter(|last| last.self_issued) {
        last.signed(&last.der).map_err(|_| Error::Unusable {
            subject: last.subject.clone(),
            reason: "it names itself as its issuer, but its own key did not sign it".to_owned(),
        })?;
    }
    Ok(chain)
}
