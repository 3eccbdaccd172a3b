use std::path::Path;

use super::*;

/// The committed schema is what editors load; `UPDATE_SCHEMA=1 cargo test -p handfast-config` writes it anew.
#[test]
fn the_committed_schema_is_current() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/handfast.schema.json");
    if std::env::var_os("UPDATE_SCHEMA").is_some() {
        std::fs::write(&path, schema()).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        committed == schema(),
        "docs/handfast.schema.json is not current: run the tests with UPDATE_SCHEMA=1"
    );
}

#[test]
fn a_file_is_known_by_its_name_or_its_content() {
    for (name, text, expected) in [
        ("a.yaml", "", Kind::Yaml),
        ("a.json", "", Kind::Yaml),
        ("a.conf", "", Kind::Nginx),
        ("a", "# x\nserver {\n", Kind::Nginx),
        ("a", "user www;\n", Kind::Nginx),
        ("a", "version: 1\n", Kind::Yaml),
    ] {
        assert_eq!(kind(Path::new(name), text).unwrap(), expected, "{name} {text}");
    }
    assert!(kind(Path::new("a"), "hello").is_err());
}

#[test]
fn a_missing_file_and_text_that_is_not_utf8_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.yaml");
    assert!(load(&path).unwrap_err().to_string().contains("x.yaml"));
    std::fs::write(&path, b"version: 1\n\xff").unwrap();
    assert!(load(&path).unwrap_err().to_string().contains(":2:1: the file is not UTF-8"));
}

#[test]
fn files_that_are_named_must_be_there_unless_told_otherwise() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("handfast.yaml");
    let text = "version: 1\nlisteners:\n- name: a\n  bind: [\":1\"]\n  tls: {certificates: [{chain: a.crt, key: a.key}]}\n  hosts: [{routes: [{respond: {status: 200}}]}]\n";
    std::fs::write(&path, text).unwrap();
    let error = load(&path).unwrap_err();
    assert_eq!(error.findings().len(), 2, "{error}");
    assert!(error.to_string().contains("a.key"), "{error}");
    assert!(load_with(&path, false).is_ok());
    std::fs::write(folder.path().join("a.crt"), "").unwrap();
    std::fs::write(folder.path().join("a.key"), "").unwrap();
    let loaded = load(&path).unwrap();
    assert_eq!(loaded.snapshot.base, folder.path().canonicalize().unwrap());
}

/// The examples of the documentation are configurations that work.
#[test]
fn the_examples_of_the_documentation_are_valid() {
    let text = include_str!("../../../docs/configuration.md");
    let mut count = 0;
    for block in text.split("```yaml\n").skip(1) {
        let example = block.split("```").next().unwrap_or_default();
        if let Err(error) = yaml::parse(example) {
            panic!("{error}\n{example}");
        }
        count += 1;
    }
    assert!(count >= 4, "{count}");
}

/// docs/variables.md names exactly the variables that exist.
#[test]
fn every_variable_is_documented() {
    let text = include_str!("../../../docs/variables.md");
    for name in variables::KNOWN.iter().filter(|name| !["pipe", "nginx_version"].contains(name)) {
        let stream =
            ["protocol", "bytes_received", "session_time", "upstream_bytes_sent", "upstream_bytes_received"];
        let other = ["realip_remote_addr", "realip_remote_port"];
        if stream.contains(name) || other.contains(name) {
            continue;
        }
        assert!(text.contains(&format!("`${name}`")), "${name} is not in docs/variables.md");
    }
}
