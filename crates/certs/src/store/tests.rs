use super::*;

#[test]
fn a_private_file_is_closed_and_replaced_as_a_whole() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("key");
    write_public(&path, b"old").unwrap();
    write_private(&path, b"new").unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"new");
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "no temporary file is left");
}

#[test]
fn a_failed_write_leaves_the_old_file_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    // A folder in the way makes the rename fail.
    let path = dir.path().join("key");
    fs::create_dir(&path).unwrap();
    fs::write(path.join("x"), b"").unwrap();
    assert!(write_private(&path, b"secret").is_err());
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[test]
fn a_key_that_the_world_may_read_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("key");
    write_private(&path, b"secret").unwrap();
    read_private(&path).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    assert!(matches!(read_private(&path), Err(Error::Exposed { mode: 0o644, .. })));
}
