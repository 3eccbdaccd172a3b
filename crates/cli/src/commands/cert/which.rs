//! Which certificate of the ledger is meant: by serial number, by file or by name.

use std::path::Path;

use certs::{Ledger, Record, Status};
use time::OffsetDateTime;

use crate::failure::Failure;

/// Finds the certificate that `text` means: an existing file, else a name, else a serial number. A name
/// with several live certificates is refused.
pub fn single(ledger: &Ledger, text: &str, now: OffsetDateTime) -> Result<Record, Failure> {
    if let Some(record) = of_file(ledger, text)? {
        return Ok(record);
    }
    let mut named = ledger.by_name(text)?;
    let live = named.iter().filter(|record| record.status(now) == Status::Valid).count();
    if live > 1 {
        return Err(certs::Error::Ambiguous { name: text.to_owned(), count: live }.into());
    }
    // The live one; with none, the newest of all.
    let at = named.iter().position(|record| record.status(now) == Status::Valid).unwrap_or(0);
    if at < named.len() {
        return Ok(named.swap_remove(at));
    }
    of_serial(ledger, text)
}

/// As [`single`], but of a name the newest certificate, whatever became of it: an older one was replaced by
/// it, and does not come back because the newest was revoked.
pub fn newest(ledger: &Ledger, text: &str) -> Result<Record, Failure> {
    if let Some(record) = of_file(ledger, text)? {
        return Ok(record);
    }
    match ledger.by_name(text)?.into_iter().next() {
        Some(record) => Ok(record),
        None => of_serial(ledger, text),
    }
}

fn of_file(ledger: &Ledger, text: &str) -> Result<Option<Record>, Failure> {
    let path = Path::new(text);
    if !path.is_file() {
        return Ok(None);
    }
    let pem = std::fs::read_to_string(path).map_err(|e| Failure::reading(path, &e))?;
    let leaf = certs::certificates_of_pem(&pem).ok().and_then(|all| all.into_iter().next());
    let all = ledger.records()?;
    match leaf.and_then(|leaf| all.into_iter().find(|record| record.der == leaf)) {
        Some(record) => Ok(Some(record)),
        None => Err(certs::Error::Unknown(text.to_owned()).into()),
    }
}

fn of_serial(ledger: &Ledger, text: &str) -> Result<Record, Failure> {
    let by_serial = text.parse().ok().map(|serial| ledger.by_serial(&serial)).transpose()?.flatten();
    by_serial.ok_or_else(|| certs::Error::Unknown(text.to_owned()).into())
}
