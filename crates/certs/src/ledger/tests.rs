use super::*;

#[test]
fn a_newer_ledger_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ledger.sqlite");
    drop(Ledger::open(&path).unwrap());
    Connection::open(&path).unwrap().pragma_update(None, "user_version", SCHEMA + 1).unwrap();
    assert!(matches!(Ledger::open(&path), Err(Error::LedgerNewer { .. })));
}

#[test]
fn a_change_that_fails_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut ledger = Ledger::open(&dir.path().join("ledger.sqlite")).unwrap();
    let failed: Result<()> = ledger.change(|tx| {
        event(tx, OffsetDateTime::UNIX_EPOCH, "me", "something")?;
        Err(Error::LedgerFull)
    });
    assert!(failed.is_err());
    let events: i64 =
        ledger.read(|c| c.query_row("SELECT count(*) FROM event", [], |row| row.get(0))).unwrap();
    assert_eq!(events, 0);
}

#[test]
fn commits_are_synced_and_the_file_is_closed_to_others() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ledger.sqlite");
    let ledger = Ledger::open(&path).unwrap();
    let mode: String = ledger.read(|c| c.query_row("PRAGMA journal_mode", [], |row| row.get(0))).unwrap();
    let sync: i64 = ledger.read(|c| c.query_row("PRAGMA synchronous", [], |row| row.get(0))).unwrap();
    assert_eq!((mode.as_str(), sync), ("wal", 2));
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(ledger.damage().unwrap().is_empty());
}

#[test]
fn a_ledger_of_the_first_schema_is_brought_up_when_it_is_opened_even_for_looking() {
    for reading in [true, false] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ledger.sqlite");
        let old = Connection::open(&path).unwrap();
        old.execute_batch(CREATE).unwrap();
        old.pragma_update(None, "user_version", 1).unwrap();
        drop(old);
        let ledger = if reading { Ledger::open_reading(&path) } else { Ledger::open(&path) }.unwrap();
        assert!(ledger.records().unwrap().is_empty());
        assert_eq!(ledger.check_schema().unwrap(), SCHEMA);
    }
}
