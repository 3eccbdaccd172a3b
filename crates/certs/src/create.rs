//! New roots and intermediates: the key is on disk before the transaction that names it commits.

use rusqlite::Transaction;
use time::OffsetDateTime;

use crate::authority::list_url;
use crate::constraints::Constraints;
use crate::error::Result;
use crate::issue::{self, AuthoritySpec};
use crate::issuer::{CaCertificate, Issuer};
use crate::key::PrivateKey;
use crate::ledger::{Record, RecordKind, insert, unused_serial};
use crate::serial::Serial;
use crate::settings::Settings;
use crate::store::{Layout, set_aside, write_private};

/// Makes a root: its key in the folder, its certificate in the ledger.
pub(crate) fn new_root(
    tx: &Transaction<'_>,
    layout: &Layout,
    settings: &Settings,
    state: &str,
    who: &str,
    now: OffsetDateTime,
) -> Result<(String, Issuer)> {
    let (name, number) = next_name(tx, "root")?;
    let serial = unused_serial(tx)?;
    let spec = AuthoritySpec {
        common_name: common_name(settings, "Root CA", number, &serial),
        organization: settings.organization.clone(),
        lifetime: settings.root_lifetime,
        path_length: Some(1),
        constraints: Constraints::default(),
        crl_url: None,
    };
    let key = PrivateKey::generate(settings.key)?;
    let signed = issue::root(&spec, &key, &serial, now)?;
    save_key(layout, &name, &key)?;
    let certificate = CaCertificate::parse(&signed.der)?;
    save_member(tx, &name, &name, None, state, &certificate, "", who, now)?;
    Ok((name, Issuer::new(certificate, key)?))
}

/// Makes an intermediate below a root.
#[allow(clippy::too_many_arguments, reason = "each is one fact of the new authority")]
pub(crate) fn new_intermediate(
    tx: &Transaction<'_>,
    layout: &Layout,
    settings: &Settings,
    root: &(String, Issuer),
    constraints: &Constraints,
    state: &str,
    who: &str,
    now: OffsetDateTime,
) -> Result<String> {
    let (name, number) = next_name(tx, "intermediate")?;
    let serial = unused_serial(tx)?;
    let spec = AuthoritySpec {
        common_name: common_name(settings, "Intermediate CA", number, &serial),
        organization: settings.organization.clone(),
        lifetime: settings.intermediate_lifetime,
        path_length: Some(0),
        constraints: constraints.clone(),
        crl_url: settings.crl_url.as_deref().map(|base| list_url(base, &root.0)),
    };
    let key = PrivateKey::generate(settings.key)?;
    let signed = issue::intermediate(&spec, &key, &serial, &root.1, now)?;
    save_key(layout, &name, &key)?;
    let certificate = CaCertificate::parse(&signed.der)?;
    save_member(tx, &name, &root.0, Some(&root.0), state, &certificate, "", who, now)?;
    Ok(name)
}

/// A file of that name belongs to a try that was killed before its commit, or to a lost ledger. It is kept.
pub(crate) fn save_key(layout: &Layout, name: &str, key: &PrivateKey) -> Result<()> {
    let path = layout.key(name);
    if let Some(folder) = path.parent() {
        crate::store::create_folder(folder)?;
    }
    set_aside(&path)?;
    write_private(&path, key.to_pem().as_bytes())
}

#[allow(clippy::too_many_arguments, reason = "each is one column")]
pub(crate) fn save_member(
    tx: &Transaction<'_>,
    name: &str,
    issuer: &str,
    parent: Option<&str>,
    state: &str,
    certificate: &CaCertificate,
    above: &str,
    who: &str,
    now: OffsetDateTime,
) -> Result<()> {
    let record = Record {
        serial: certificate.serial.clone(),
        issuer: issuer.to_owned(),
        kind: if name.starts_with("root") { RecordKind::Root } else { RecordKind::Intermediate },
        name: name.to_owned(),
        subject: certificate.subject.clone(),
        names: Vec::new(),
        usage: "authority".to_owned(),
        not_before: certificate.not_before,
        not_after: certificate.not_after,
        issued_at: issue::whole_second(now),
        who: who.to_owned(),
        der: certificate.der.clone(),
        revoked: None,
        lifetime: None,
        own_key: None,
    };
    insert(tx, &record)?;
    tx.execute(
        "INSERT INTO authority (name, parent, state, serial, above) VALUES (?1, ?2, ?3, ?4, ?5)",
        (name, parent, state, certificate.serial.to_string(), above),
    )?;
    Ok(())
}

/// The next free name of a kind: `root-1`, `root-2`, ...
pub(crate) fn next_name(tx: &Transaction<'_>, kind: &str) -> Result<(String, u32)> {
    let pattern = format!("{kind}-%");
    let used: u32 =
        tx.query_row("SELECT count(*) FROM authority WHERE name LIKE ?1", [pattern], |row| row.get(0))?;
    Ok((format!("{kind}-{}", used + 1), used + 1))
}

/// The part of the serial number keeps authorities of different machines apart in one trust store.
fn common_name(settings: &Settings, kind: &str, number: u32, serial: &Serial) -> String {
    let text = serial.to_string();
    let tail = text.get(..6).unwrap_or(&text);
    format!("{} {kind} {number} ({tail})", settings.name)
}
