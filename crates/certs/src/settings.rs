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

impl InitOptions {
    /// Refuses texts that cannot stand in a certificate.
    pub fn check(&self) -> Result<()> {
        let good = |text: &str, longest| {
            let length = text.chars().count();
            (1..=longest).contains(&length) && !text.chars().any(char::is_control)
        };
        let refuse = |why: &str| Err(Error::Request(why.to_owned()));
        if !good(&self.name, 32) {
            return refuse("the authority's name has 1 to 32 characters, none of them a control character");
        }
        // RFC 5280, appendix A: ub-organization-name.
        if self.organization.as_deref().is_some_and(|text| !good(text, 64)) {
            return refuse("the organisation has 1 to 64 characters, none of them a control character");
        }
        match &self.crl_url {
            Some(url) => check_url(url),
            None => Ok(()),
        }
    }
}

/// A URL in a certificate is ASCII (RFC 5280, section 4.2.1.6), and each client must be able to fetch it.
fn check_url(url: &str) -> Result<()> {
    let refuse =
        |why: &str| Err(Error::Request(format!("{url:?} is no URL of a folder of revocation lists: {why}")));
    let Some(rest) = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://")) else {
        return refuse("it begins with http://");
    };
    if url.len() > 1024 || !url.bytes().all(|b| b.is_ascii_graphic() && !b"\"<>\\^`{|}?#".contains(&b)) {
        return refuse("it is a host and a path in ASCII; write other letters as xn--... or as %41");
    }
    let host = rest.split('/').next().unwrap_or_default();
    let named = host.bytes().any(|b| b.is_ascii_alphanumeric());
    if !named || !host.bytes().all(|b| b.is_ascii_alphanumeric() || b".-_:[]".contains(&b)) {
        return refuse("a host name or an address follows the two slashes");
    }
    Ok(())
}

pub(crate) fn save_settings(tx: &Transaction<'_>, options: &InitOptions) -> Result<()> {
    let days = |lifetime: Duration| lifetime.whole_seconds().to_string();
    options.check()?;
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
