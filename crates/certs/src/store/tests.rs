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

#[test]
fn a_folder_of_another_user_a_link_and_an_open_one_are_no_private_folders() {
    let dir = tempfile::tempdir().unwrap();
    let own = dir.path().join("own/deep");
    create_private_folder(&own).unwrap();
    create_private_folder(&own).unwrap();
    assert_eq!(fs::metadata(&own).unwrap().mode() & 0o777, 0o700);

    let link = dir.path().join("link");
    std::os::unix::fs::symlink(&own, &link).unwrap();
    assert!(matches!(create_private_folder(&link), Err(Error::File { .. })));
    let open = dir.path().join("open");
    fs::create_dir(&open).unwrap();
    fs::set_permissions(&open, fs::Permissions::from_mode(0o777)).unwrap();
    assert!(matches!(create_private_folder(&open), Err(Error::File { .. })));
    let foreign = dir.path().join("foreign");
    fs::create_dir(&foreign).unwrap();
    // Only root can give a folder away.
    if std::os::unix::fs::chown(&foreign, Some(65534), None).is_ok() {
        assert!(matches!(create_private_folder(&foreign), Err(Error::File { .. })));
    }
}

#[test]
fn what_a_killed_process_left_is_removed_and_other_files_are_not() {
    let dir = tempfile::tempdir().unwrap();
    let layout = Layout::new(dir.path());
    layout.create().unwrap();
    let left = dir.path().join("root/.root-1.key.0123456789abcdef");
    let (fresh, old) = ("certs/.web.key.0123456789abcdef", "certs/.api.key.0123456789abcdef");
    let others = ["root/root-1.key", "certs/.profile", "certs/.web.key.old", "certs/web.0123456789abcdef"];
    for name in [fresh, old].iter().chain(&others) {
        fs::write(dir.path().join(name), b"secret").unwrap();
    }
    fs::write(&left, b"secret").unwrap();
    let file = File::options().write(true).open(dir.path().join(old)).unwrap();
    file.set_modified(SystemTime::now() - Duration::from_secs(600)).unwrap();
    remove_leftovers(&layout);
    assert!(!left.exists() && !dir.path().join(old).exists());
    for name in others.iter().chain([&fresh]) {
        assert!(dir.path().join(name).exists(), "{name}");
    }
}

#[test]
fn a_folder_in_the_place_of_a_key_is_called_a_folder() {
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    assert!(matches!(read_private(dir.path()), Err(Error::File { action: "read", .. })));
}
