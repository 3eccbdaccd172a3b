//! Which certificate of the ledger is meant: by serial number, by file or by name.

use std::path::Path;

use certs::{Ledger, Record, Status};
use time::OffsetDateTime;

use crate::failure::Failure;

/// Finds the certificate that `text` means: an existing file, else a name, else a serial number. A name
/// with several live certificates is refused when `single` is set; else the newest is taken.
pub fn find(ledger: &Ledger, text: &str, single: bool, now: OffsetDateTime) -> Result<Record, Failure> {
    let path = Path::new(text);
    if path.is_file() {
        let pem = std::fs::read_to_string(path).map_err(|e| Failure::reading(path, &e))?;
        let leaf = certs::certificates_of_pem(&pem).ok().and_then(|all| all.into_iter().next());
        let all = ledger.records()?;
        return match leaf.and_then(|leaf| all.into_iter().find(|record| record.der == leaf)) {
            Some(record) => Ok(record),
            None => Err(certs::Error::Unknown(text.to_owned()).into()),
        };
    }
    let mut named = ledger.by_name(text)?;
    let live = named.iter().filter(|record| record.status(now) == Status::Valid).count();
    if single && live > 1 {
        return Err(certs::Error::Ambiguous { name: text.to_owned(), count: live }.into());
    }
    // The newest live one; with none, the newest of all.
    if let Some(at) = named.iter().position(|record| record.status(now) == Status::Valid) {
        return Ok(named.swap_remove(at));
    }
    if let Some(record) = named.into_iter().next() {
        return Ok(record);
    }
    let by_serial = text.parse().ok().map(|serial| ledger.by_serial(&serial)).transpose()?.flatten();
    by_serial.ok_or_else(|| certs::Error::Unknown(text.to_owned()).into())
}
