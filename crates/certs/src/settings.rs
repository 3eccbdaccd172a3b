//! What was chosen when the authority was made; it holds for all authorities that are made later.

use model::identity::TrustDomain;
use rusqlite::{OptionalExtension as _, Transaction};
use time::Duration;

use crate::authority::InitOptions;
use crate::error::{Error, Result};
use crate::key::KeyKind;
use crate::ledger::Ledger;

/// What was chosen when the authority was made.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) name: String,
    pub(crate) organization: Option<String>,
    pub(crate) key: KeyKind,
    pub(crate) root_lifetime: Duration,
    pub(crate) intermediate_lifetime: Duration,
    pub(crate) trust_domain: TrustDomain,
    pub(crate) crl_url: Option<String>,
}

pub(crate) fn save_settings(tx: &Transaction<'_>, options: &InitOptions) -> Result<()> {
    let days = |lifetime: Duration| lifetime.whole_seconds().to_string();
    if options.name.is_empty()
        || options.name.chars().count() > 32
        || options.name.chars().any(char::is_control)
    {
        return Err(Error::Request("the authority's name has 1 to 32 characters".into()));
    }
    for (name, value) in [
        ("name", Some(options.name.clone())),
        ("organization", options.organization.clone()),
        ("key", Some(options.key.to_string())),
        ("root_lifetime", Some(days(options.root_lifetime))),
        ("intermediate_lifetime", Some(days(options.intermediate_lifetime))),
        ("trust_domain", Some(options.trust_domain.to_string())),
        ("crl_url", options.crl_url.clone()),
    ] {
        if let Some(value) = value {
            tx.execute("INSERT INTO setting (name, value) VALUES (?1, ?2)", (name, value))?;
        }
    }
    Ok(())
}

pub(crate) fn settings_of(connection: &rusqlite::Connection) -> Result<Settings> {
    let read = |name: &str| -> Result<Option<String>> {
        Ok(connection
            .query_row("SELECT value FROM setting WHERE name = ?1", [name], |row| row.get(0))
            .optional()?)
    };
    let broken = |name: &str| Error::Broken(format!("the ledger's setting {name:?} is missing or wrong"));
    let need = |name: &str| read(name)?.ok_or_else(|| broken(name));
    let seconds = |name: &str| -> Result<Duration> {
        Ok(Duration::seconds(need(name)?.parse().map_err(|_| broken(name))?))
    };
    Ok(Settings {
        name: need("name")?,
        organization: read("organization")?,
        key: need("key")?.parse()?,
        root_lifetime: seconds("root_lifetime")?,
        intermediate_lifetime: seconds("intermediate_lifetime")?,
        trust_domain: need("trust_domain")?.parse().map_err(|_| broken("trust_domain"))?,
        crl_url: read("crl_url")?,
    })
}

impl Ledger {
    pub(crate) fn read_settings(&self) -> Result<Settings> {
        settings_of(self.connection())
    }
}
