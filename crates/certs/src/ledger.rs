//! The ledger: every certificate that was ever signed here, in SQLite with a write-ahead log that is
//! synced at each commit. A serial number is reserved and its certificate recorded in one transaction, and
//! the certificate leaves this process after the commit only (invariant 11): a kill or a full disk at any
//! point leaves a complete record or none.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, OptionalExtension as _, Row, Transaction, TransactionBehavior};
use time::OffsetDateTime;

use crate::error::{Error, Result};
use crate::request::AltName;
use crate::serial::Serial;

#[cfg(test)]
mod tests;

/// The schema that this binary writes; older ones are brought up to it when the ledger is opened.
const SCHEMA: i64 = 2;

/// From schema 1 to 2: what was asked for, and whether the key was made here or is somebody else's.
const LIFETIME_AND_KEY: &str = "
ALTER TABLE certificate ADD COLUMN lifetime INTEGER;
ALTER TABLE certificate ADD COLUMN own_key INTEGER;
";

const CREATE: &str = "
CREATE TABLE setting (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
-- Every certificate, those of authorities too. Times are seconds since 1970 UTC.
CREATE TABLE certificate (
    serial      TEXT PRIMARY KEY,
    issuer      TEXT NOT NULL,
    kind        TEXT NOT NULL CHECK (kind IN ('root', 'intermediate', 'leaf')),
    name        TEXT NOT NULL,
    subject     TEXT NOT NULL,
    names       TEXT NOT NULL,
    usage       TEXT NOT NULL,
    not_before  INTEGER NOT NULL,
    not_after   INTEGER NOT NULL,
    issued_at   INTEGER NOT NULL,
    who         TEXT NOT NULL,
    der         BLOB NOT NULL,
    revoked_at  INTEGER,
    reason      INTEGER
) STRICT;
CREATE INDEX certificate_by_name ON certificate (name, issued_at);
CREATE INDEX certificate_by_issuer ON certificate (issuer, not_after);
-- The authorities: 'root-1', 'intermediate-1', ... and what each is doing now.
CREATE TABLE authority (
    name        TEXT PRIMARY KEY,
    parent      TEXT,
    state       TEXT NOT NULL CHECK (state IN ('active', 'standby', 'former', 'retired')),
    serial      TEXT NOT NULL REFERENCES certificate (serial),
    above       TEXT NOT NULL DEFAULT '',
    crl_number  INTEGER NOT NULL DEFAULT 0,
    crl_at      INTEGER,
    crl_next    INTEGER,
    crl         BLOB
) STRICT;
-- At most one rotation goes on at a time.
CREATE TABLE rotation (
    id          INTEGER PRIMARY KEY CHECK (id = 1),
    what        TEXT NOT NULL CHECK (what IN ('root', 'intermediate')),
    step        TEXT NOT NULL CHECK (step IN ('distributing', 'confirmed', 'switched')),
    old_root    TEXT NOT NULL,
    new_root    TEXT NOT NULL,
    old_issuer  TEXT NOT NULL,
    new_issuer  TEXT NOT NULL,
    since       INTEGER NOT NULL
) STRICT;
-- Who did what, for people.
CREATE TABLE event (at INTEGER NOT NULL, who TEXT NOT NULL, what TEXT NOT NULL) STRICT;
";

/// The kind of a recorded certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordKind {
    /// A root.
    Root,
    /// An intermediate.
    Intermediate,
    /// A leaf.
    Leaf,
}

impl RecordKind {
    fn as_str(self) -> &'static str {
        match self {
            Self::Root => "root",
            Self::Intermediate => "intermediate",
            Self::Leaf => "leaf",
        }
    }
}

/// A certificate as the ledger knows it.
#[derive(Clone, Debug)]
pub struct Record {
    /// Serial number.
    pub serial: Serial,
    /// The authority that signed it, as in `intermediate-1`.
    pub issuer: String,
    /// What it is.
    pub kind: RecordKind,
    /// The name that it was issued under.
    pub name: String,
    /// Subject, for people.
    pub subject: String,
    /// Subject alternative names.
    pub names: Vec<AltName>,
    /// `server`, `client`, `both`, or `authority`.
    pub usage: String,
    /// Start of validity.
    pub not_before: OffsetDateTime,
    /// End of validity.
    pub not_after: OffsetDateTime,
    /// When it was signed.
    pub issued_at: OffsetDateTime,
    /// Who asked for it.
    pub who: String,
    /// The certificate.
    pub der: Vec<u8>,
    /// When and why (RFC 5280, section 5.3.1: the reason's number) it was revoked.
    pub revoked: Option<(OffsetDateTime, u8)>,
    /// The lifetime that was asked for; the certificate's may be shorter, because its issuer ended earlier.
    pub lifetime: Option<time::Duration>,
    /// Whether its key was made here; not so where a signing request brought a public key.
    pub own_key: Option<bool>,
}

/// What a certificate is at a point in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Valid.
    Valid,
    /// Its validity has ended.
    Expired,
    /// It was revoked.
    Revoked,
}

impl Status {
    /// Lower-case word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Valid => "valid",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
        }
    }
}

impl Record {
    /// What it is now. A revoked one stays revoked after its end.
    pub fn status(&self, now: OffsetDateTime) -> Status {
        match self.revoked {
            Some(_) => Status::Revoked,
            None if now >= self.not_after => Status::Expired,
            None => Status::Valid,
        }
    }
}

/// The name of the certificates with which trust stores are tried. They live ten minutes, and their key is gone
/// when the try is over.
pub const PROOF: (&str, &str) = ("trust-check", "handfast trust");

impl Record {
    /// Whether it served to try a trust store, so that nobody depends on it.
    pub fn is_proof(&self) -> bool {
        (self.name.as_str(), self.who.as_str()) == PROOF
    }
}

/// The ledger of one authority.
#[derive(Debug)]
pub struct Ledger {
    connection: Connection,
    path: PathBuf,
}

impl Ledger {
    /// Opens the ledger for changes, and makes it when it is missing.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        // SQLite gives its other files the mode of this one.
        OpenOptions::new()
            .append(true)
            .create(true)
            .mode(0o600)
            .open(path)
            .map_err(Error::file("open", path))?;
        let mut ledger = Self::connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        ledger.migrate()?;
        Ok(ledger)
    }

    /// Opens the ledger for looking things up; needs no lock.
    pub(crate) fn open_reading(path: &Path) -> Result<Self> {
        // Read-write, because a reader of a write-ahead log keeps its place in a shared file; it only selects.
        let mut ledger = Self::connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        // What this binary looks up must be there; a ledger without any schema is not made here.
        if ledger.check_schema()? != 0 {
            ledger.migrate()?;
        }
        Ok(ledger)
    }

    fn connect(path: &Path, mode: OpenFlags) -> Result<Self> {
        Self::try_connect(path, mode).map_err(|error| full_or(error, path))
    }

    fn try_connect(path: &Path, mode: OpenFlags) -> Result<Self> {
        let flags = mode | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags)?;
        connection.busy_timeout(Duration::from_secs(5))?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.pragma_update(None, "foreign_keys", true)?;
        connection.pragma_update(None, "trusted_schema", false)?;
        Ok(Self { connection, path: path.to_owned() })
    }

    fn check_schema(&self) -> Result<i64> {
        let found: i64 = self.connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
        if found > SCHEMA { Err(Error::LedgerNewer { found, known: SCHEMA }) } else { Ok(found) }
    }

    fn migrate(&mut self) -> Result<()> {
        if self.check_schema()? >= SCHEMA {
            return Ok(());
        }
        self.change(|tx| {
            // Asked again within the transaction: another process may have done it meanwhile.
            let found: i64 = tx.query_row("PRAGMA user_version", [], |row| row.get(0))?;
            if found < 1 {
                tx.execute_batch(CREATE)?;
            }
            if found < 2 {
                tx.execute_batch(LIFETIME_AND_KEY)?;
            }
            Ok(tx.pragma_update(None, "user_version", SCHEMA)?)
        })
    }

    /// Runs a change as one transaction: all of it is kept, or nothing.
    pub(crate) fn change<T>(&mut self, work: impl FnOnce(&Transaction<'_>) -> Result<T>) -> Result<T> {
        let path = self.path.clone();
        self.try_change(work).map_err(|error| full_or(error, &path))
    }

    fn try_change<T>(&mut self, work: impl FnOnce(&Transaction<'_>) -> Result<T>) -> Result<T> {
        let tx = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let value = work(&tx)?;
        tx.commit()?;
        Ok(value)
    }

    pub(crate) fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Looks something up.
    pub(crate) fn read<T>(&self, work: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T> {
        work(&self.connection).map_err(|error| full_or(error.into(), &self.path))
    }

    /// A setting of the authority.
    pub fn setting(&self, name: &str) -> Result<Option<String>> {
        self.read(|c| {
            c.query_row("SELECT value FROM setting WHERE name = ?1", [name], |row| row.get(0)).optional()
        })
    }

    /// All certificates, the newest first.
    pub fn records(&self) -> Result<Vec<Record>> {
        self.select("1 = 1", [])
    }

    /// The certificate with this serial number.
    pub fn by_serial(&self, serial: &Serial) -> Result<Option<Record>> {
        Ok(self.select("serial = ?1", [serial.to_string()])?.pop())
    }

    /// The leaves of this name, the newest first.
    pub fn by_name(&self, name: &str) -> Result<Vec<Record>> {
        self.select("name = ?1 AND kind = 'leaf'", [name.to_owned()])
    }

    /// The certificates of an issuer that are neither expired nor revoked.
    pub fn live_of(&self, issuer: &str, now: OffsetDateTime) -> Result<Vec<Record>> {
        self.select(
            "issuer = ?1 AND kind = 'leaf' AND revoked_at IS NULL AND not_after > CAST(?2 AS INTEGER)",
            [issuer.to_owned(), now.unix_timestamp().to_string()],
        )
    }

    /// The revoked certificates of an issuer.
    pub fn revoked_of(&self, issuer: &str) -> Result<Vec<Record>> {
        self.select("issuer = ?1 AND revoked_at IS NOT NULL", [issuer.to_owned()])
    }

    fn select<const N: usize>(&self, condition: &str, values: [String; N]) -> Result<Vec<Record>> {
        let query = format!(
            "SELECT serial, issuer, kind, name, subject, names, usage, not_before, not_after, issued_at, who, \
             der, revoked_at, reason, lifetime, own_key FROM certificate WHERE {condition} ORDER BY issued_at DESC, rowid DESC"
        );
        self.read(|c| {
            let mut statement = c.prepare_cached(&query)?;
            let rows = statement.query_map(rusqlite::params_from_iter(values), read_record)?;
            rows.collect()
        })
    }

    /// Checks the whole file (SQLite's `integrity_check`): empty when it is sound.
    pub fn damage(&self) -> Result<Vec<String>> {
        self.read(|c| {
            let mut statement = c.prepare("PRAGMA integrity_check(20)")?;
            let rows = statement.query_map([], |row| row.get::<_, String>(0))?;
            Ok(rows.collect::<rusqlite::Result<Vec<_>>>()?.into_iter().filter(|line| line != "ok").collect())
        })
    }
}

/// SQLite calls a full disk an input or output error where its shared memory cannot grow, or its log cannot be
/// made: whether there is room is found out by writing.
fn full_or(error: Error, path: &Path) -> Error {
    use rusqlite::ErrorCode::{CannotOpen, SystemIoFailure};
    let suspect = matches!(&error, Error::Ledger(inner)
        if matches!(inner.sqlite_error_code(), Some(CannotOpen | SystemIoFailure)));
    if !suspect {
        return error;
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let tried = tempfile::tempfile_in(folder).and_then(|mut file| {
        std::io::Write::write_all(&mut file, &[0; 1 << 16]).and_then(|()| file.sync_all())
    });
    match tried.map_err(|e| e.kind()) {
        Err(std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded) => Error::LedgerFull,
        _ => error,
    }
}

/// A serial number that no certificate has. It is reserved by the record in the same transaction.
pub(crate) fn unused_serial(tx: &Transaction<'_>) -> Result<Serial> {
    loop {
        let serial = Serial::random()?;
        let known: i64 = tx.query_row(
            "SELECT count(*) FROM certificate WHERE serial = ?1",
            [serial.to_string()],
            |row| row.get(0),
        )?;
        if known == 0 {
            return Ok(serial);
        }
    }
}

/// A row of the ledger about what somebody did.
pub(crate) fn event(tx: &Transaction<'_>, now: OffsetDateTime, who: &str, what: &str) -> Result<()> {
    tx.execute("INSERT INTO event (at, who, what) VALUES (?1, ?2, ?3)", (now.unix_timestamp(), who, what))?;
    Ok(())
}

pub(crate) fn insert(tx: &Transaction<'_>, record: &Record) -> Result<()> {
    let names: Vec<String> = record.names.iter().map(ToString::to_string).collect();
    tx.execute(
        "INSERT INTO certificate (serial, issuer, kind, name, subject, names, usage, not_before, not_after, \
         issued_at, who, der, lifetime, own_key) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)",
        rusqlite::params![
            record.serial.to_string(),
            record.issuer,
            record.kind.as_str(),
            record.name,
            record.subject,
            names.join("\n"),
            record.usage,
            record.not_before.unix_timestamp(),
            record.not_after.unix_timestamp(),
            record.issued_at.unix_timestamp(),
            record.who,
            record.der,
            record.lifetime.map(time::Duration::whole_seconds),
            record.own_key,
        ],
    )?;
    Ok(())
}

fn read_record(row: &Row<'_>) -> rusqlite::Result<Record> {
    let wrong = |column: usize| {
        rusqlite::Error::FromSqlConversionFailure(
            column,
            rusqlite::types::Type::Text,
            "not as written".into(),
        )
    };
    let at = |column: usize| -> rusqlite::Result<OffsetDateTime> {
        OffsetDateTime::from_unix_timestamp(row.get(column)?).map_err(|_| wrong(column))
    };
    let revoked = match row.get::<_, Option<i64>>(12)? {
        Some(_) => Some((at(12)?, row.get::<_, Option<u8>>(13)?.unwrap_or(0))),
        None => None,
    };
    Ok(Record {
        serial: row.get::<_, String>(0)?.parse().map_err(|_| wrong(0))?,
        issuer: row.get(1)?,
        kind: match row.get::<_, String>(2)?.as_str() {
            "root" => RecordKind::Root,
            "intermediate" => RecordKind::Intermediate,
            _ => RecordKind::Leaf,
        },
        name: row.get(3)?,
        subject: row.get(4)?,
        names: row
            .get::<_, String>(5)?
            .lines()
            .map(|line| line.parse().map_err(|_| wrong(5)))
            .collect::<rusqlite::Result<_>>()?,
        usage: row.get(6)?,
        not_before: at(7)?,
        not_after: at(8)?,
        issued_at: at(9)?,
        who: row.get(10)?,
        der: row.get(11)?,
        revoked,
        lifetime: row.get::<_, Option<i64>>(14)?.map(time::Duration::seconds),
        own_key: row.get(15)?,
    })
}
