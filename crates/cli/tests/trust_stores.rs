//! `handfast trust` on the real stores of this machine: installed, proved by curl, Chromium and Java, taken
//! out again, proved again. One test, since the stores are shared; they are restored even when it fails.

#![allow(clippy::unwrap_used, clippy::panic)] // A test fails by panicking.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

fn handfast(dir: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_handfast"))
        .args(args)
        .current_dir(dir)
        .env("HOME", dir.join("home"))
        .output()
        .unwrap()
}

/// Takes the root out again, whatever happened.
struct Restore<'a>(&'a Path);

impl Drop for Restore<'_> {
    fn drop(&mut self) {
        for ca in [".handfast", "limited"].iter().filter(|ca| self.0.join(ca).exists()) {
            handfast(self.0, &["trust", "uninstall", "--dir", ca]);
        }
    }
}

fn rows(output: &Output) -> Vec<Value> {
    let text = String::from_utf8_lossy(&output.stdout);
    let document: Value = serde_json::from_str(&text)
        .unwrap_or_else(|error| panic!("{error}: {text}{}", String::from_utf8_lossy(&output.stderr)));
    document["stores"].as_array().unwrap().clone()
}

fn results(rows: &[Value]) -> Vec<(String, Option<bool>, bool)> {
    let tried =
        rows.iter().filter(|row| ["curl", "chromium", "java"].iter().any(|name| row["client"] == *name));
    tried
        .map(|row| {
            let connects = row["result"].as_str().unwrap() == "connects";
            (row["client"].as_str().unwrap().to_owned(), row["installed"].as_bool(), connects)
        })
        .collect()
}

/// How many of the system's files hold a root of these authorities; those of others on this machine do not count.
fn files_of_ours(dir: &Path) -> usize {
    let roots: Vec<_> = [".handfast", "limited"]
        .iter()
        .flat_map(|ca| std::fs::read_dir(dir.join(ca).join("authorities")).into_iter().flatten().flatten())
        .filter(|entry| entry.file_name().to_string_lossy().starts_with("root"))
        .map(|entry| std::fs::read(entry.path()).unwrap())
        .collect();
    ["/usr/local/share/ca-certificates", "/etc/ssl/certs"]
        .iter()
        .flat_map(|folder| std::fs::read_dir(folder).into_iter().flatten().flatten())
        .filter(|entry| entry.file_name().to_string_lossy().starts_with("handfast-"))
        .filter(|entry| std::fs::read(entry.path()).is_ok_and(|text| roots.contains(&text)))
        .count()
}

#[test]
fn the_root_goes_into_every_store_and_out_again() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("home")).unwrap();
    assert!(handfast(dir.path(), &["ca", "init"]).status.success());

    // A dry run shows the commands and does nothing.
    let before = files_of_ours(dir.path());
    let dry = handfast(dir.path(), &["trust", "install", "--dry-run"]);
    assert!(dry.status.success());
    assert!(String::from_utf8_lossy(&dry.stderr).contains("would: "), "{dry:?}");
    assert_eq!(files_of_ours(dir.path()), before);
    assert!(!dir.path().join("home/.pki").exists());

    // A root whose key others can read is not trusted.
    let key = dir.path().join(".handfast/root/root-1.key");
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).unwrap();
    let exposed = handfast(dir.path(), &["trust", "install"]);
    assert_eq!(exposed.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&exposed.stderr).contains("HF6003"), "{exposed:?}");
    assert_eq!(files_of_ours(dir.path()), before);
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();

    // Only a root belongs there.
    let leaf =
        handfast(dir.path(), &["trust", "install", "--ca", ".handfast/authorities/intermediate-1.crt"]);
    assert_eq!(leaf.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&leaf.stderr).contains("HF6002"), "{leaf:?}");

    // Somebody prepared the folders that were used once under names that can be guessed: they are not touched.
    let temporary = dir.path().join("tmp");
    std::fs::create_dir(&temporary).unwrap();
    let watched = Command::new(env!("CARGO_BIN_EXE_handfast"))
        .args(["trust", "check", "--store", "java"])
        .current_dir(dir.path())
        .env("HOME", dir.path().join("home"))
        .env("TMPDIR", &temporary)
        .output()
        .unwrap();
    assert_eq!(watched.status.code(), Some(0), "{watched:?}");
    assert_eq!(std::fs::read_dir(&temporary).unwrap().count(), 0, "a folder stayed behind");

    if std::fs::metadata("/proc/self").unwrap().uid() != 0 {
        testkit::skipped("the system's and Java's stores are root's to change");
        return;
    }
    for name in ["curl", "chromium", "certutil", "java", "update-ca-certificates"] {
        if testkit::find_program(name).is_none() {
            testkit::skipped(&format!("{name} is not installed"));
            return;
        }
    }
    // A Firefox profile, made by the program that Firefox's own library comes with.
    let profile = dir.path().join("home/.mozilla/firefox/x.default");
    std::fs::create_dir_all(&profile).unwrap();
    let database = format!("sql:{}", profile.display());
    let certutil = |args: &[&str]| {
        let output = Command::new("certutil").args(args).args(["-d", &database]).output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    certutil(&["-N", "--empty-password"]);
    let restore = Restore(dir.path());
    let untouched = handfast(dir.path(), &["trust", "check", "-o", "json"]);
    assert_eq!(untouched.status.code(), Some(0), "{untouched:?}");
    let seen = results(&rows(&untouched));
    assert!(
        seen.len() >= 3 && seen.iter().all(|(_, held, connects)| *held == Some(false) && !connects),
        "{seen:?}"
    );

    // Twice: the second time there is nothing to do.
    for time in 0..2 {
        let installed = handfast(dir.path(), &["trust", "install", "-o", "json"]);
        assert_eq!(installed.status.code(), Some(0), "{installed:?}");
        let seen = results(&rows(&installed));
        assert!(seen.iter().all(|(_, held, connects)| *held == Some(true) && *connects), "{seen:?}");
        let ran = String::from_utf8_lossy(&installed.stderr).contains("update-ca-certificates");
        assert_eq!(ran, time == 0, "{installed:?}");
    }
    assert!(files_of_ours(dir.path()) > before);
    assert!(certutil(&["-L"]).contains("handfast-"), "the Firefox profile lacks the root");
    let checked = handfast(dir.path(), &["trust", "check"]);
    assert_eq!(checked.status.code(), Some(0), "{checked:?}");

    let removed = handfast(dir.path(), &["trust", "uninstall", "-o", "json"]);
    assert_eq!(removed.status.code(), Some(0), "{removed:?}");
    let seen = results(&rows(&removed));
    assert!(seen.iter().all(|(_, held, connects)| *held == Some(false) && !connects), "{seen:?}");
    assert_eq!(files_of_ours(dir.path()), before);
    assert!(!certutil(&["-L"]).contains("handfast-"), "the Firefox profile still has the root");

    // While a new root is distributed, a store without it is not called good; after the old one was retired,
    // a store that still trusts it is not either, and it can be taken out.
    assert!(handfast(dir.path(), &["trust", "install", "--store", "system"]).status.success());
    assert!(handfast(dir.path(), &["ca", "rotate", "start"]).status.success());
    let lacks = handfast(dir.path(), &["trust", "check", "--store", "system"]);
    assert_eq!(lacks.status.code(), Some(3), "{lacks:?}");
    assert!(String::from_utf8_lossy(&lacks.stdout).contains("lacks CN=Handfast Root CA 2"), "{lacks:?}");
    for step in [&["confirm", "--all-have-it"][..], &["switch"], &["retire"]] {
        // The certificates of the tries before hold nothing up.
        let output = handfast(dir.path(), &[&["ca", "rotate"], step].concat());
        assert!(output.status.success(), "{output:?}");
    }
    let stale = handfast(dir.path(), &["trust", "check", "--store", "system"]);
    assert_eq!(stale.status.code(), Some(3), "{stale:?}");
    assert!(String::from_utf8_lossy(&stale.stdout).contains("still trusts the retired"), "{stale:?}");
    let removed = handfast(dir.path(), &["trust", "uninstall", "--store", "system"]);
    assert_eq!(removed.status.code(), Some(0), "{removed:?}");
    assert_eq!(files_of_ours(dir.path()), before);

    // A client that really refuses (curl, told to believe in another root): the store is as it was before.
    let programs = dir.path().join("programs");
    std::fs::create_dir(&programs).unwrap();
    let curl = testkit::find_program("curl").unwrap();
    let other = dir.path().join(".handfast/authorities/root-1.crt");
    let script = format!(
        "#!/bin/sh\nexec {} --cacert {} --capath {} \"$@\"\n",
        curl.display(),
        other.display(),
        programs.display()
    );
    std::fs::write(programs.join("curl"), script).unwrap();
    std::fs::set_permissions(programs.join("curl"), std::fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:{}", programs.display(), std::env::var("PATH").unwrap());
    let install = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_handfast"));
        command.args(["trust", "install", "--store", "system"]).current_dir(dir.path());
        command.env("HOME", dir.path().join("home")).env("PATH", &path).output().unwrap()
    };
    let unproved = install();
    assert_eq!(unproved.status.code(), Some(3), "{unproved:?}");
    assert!(String::from_utf8_lossy(&unproved.stdout).contains("taken out again"), "{unproved:?}");
    assert_eq!(files_of_ours(dir.path()), before);
    // A client that crashes proves neither, and is called so.
    std::fs::write(programs.join("curl"), "#!/bin/sh\nkill -SEGV $$\n").unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_handfast"));
    command.args(["trust", "check", "--store", "system"]).current_dir(dir.path()).env("PATH", &path);
    let crashed = command.output().unwrap();
    assert_eq!(crashed.status.code(), Some(3), "{crashed:?}");
    assert!(String::from_utf8_lossy(&crashed.stdout).contains("failed before it could say"), "{crashed:?}");

    // An authority that may not issue for localhost shows a name that it may issue.
    let limited = dir.path().join("limited");
    let init = ["ca", "init", "--dir", "limited", "--permit-dns", "example.com"];
    assert!(handfast(dir.path(), &init).status.success());
    let with = |command: &str| {
        handfast(dir.path(), &["trust", command, "--dir", "limited", "--store", "system,nss", "-o", "json"])
    };
    for (command, held) in [("install", true), ("uninstall", false)] {
        let output = with(command);
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        let seen = results(&rows(&output));
        assert!(
            seen.len() >= 2 && seen.iter().all(|(_, is, connects)| *is == Some(held) && *connects == held)
        );
    }
    assert!(limited.exists() && files_of_ours(dir.path()) == before);
    drop(restore);
}
