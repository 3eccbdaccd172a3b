use super::edit::{Add, apply};
use super::*;

fn change(path: &[Step], add: Add) -> (usize, Change) {
    (0, Change { path: path.to_vec(), add })
}

fn edited(text: &str, changes: &[(usize, Change)]) -> String {
    apply(text, &tree::parse(text).unwrap(), changes).unwrap()
}

fn key(key: &str, value: Value) -> Add {
    Add::Key(key.to_owned(), value)
}

fn map(entries: &[(&str, &str)]) -> Value {
    Value::mapping(entries.iter().map(|(k, v)| (*k, Value::string(*v))))
}

#[test]
fn a_key_is_inserted_after_the_last_line_of_its_mapping_and_its_comments() {
    let text = "a:\n  b: 1 # one\n  # more of a\n# of c\nc: 2\n";
    let got = edited(text, &[change(&["a".into()], key("k", map(&[("x", "y z")])))]);
    assert_eq!(got, "a:\n  b: 1 # one\n  # more of a\n  k:\n    x: \"y z\"\n# of c\nc: 2\n");
}

#[test]
fn items_are_appended_to_lists_of_every_indentation() {
    for (text, want) in [
        ("l:\n- a: 1\n# of m\nm: 2\n", "l:\n- a: 1\n- k: v\n# of m\nm: 2\n"),
        ("l:\n  - a: 1\n    b: 2\nm: 2\n", "l:\n  - a: 1\n    b: 2\n  - k: v\nm: 2\n"),
        ("l:\n    -   a: 1\n    # end\nm: 2\n", "l:\n    -   a: 1\n    # end\n    - k: v\nm: 2\n"),
        ("l: [a, b]\n", "l: [a, b, {\"k\": \"v\"}]\n"),
        ("l:\r\n- a: 1\r\nm: 2\r\n", "l:\r\n- a: 1\r\n- k: v\r\nm: 2\r\n"),
        ("l:\n- a: 1", "l:\n- a: 1\n- k: v"),
        ("{\"l\": [\n  {\"a\": 1}\n]}", "{\"l\": [\n  {\"a\": 1},\n  {\"k\": \"v\"}\n]}"),
        ("l:\n- |\n  - a: 1\n  # no comment\nm: 2\n", "l:\n- |\n  - a: 1\n  # no comment\n- k: v\nm: 2\n"),
        ("l:\n- \"a\n  b\"\nm: 2\n", "l:\n- \"a\n  b\"\n- k: v\nm: 2\n"),
    ] {
        let got = edited(text, &[change(&["l".into()], Add::Items(vec![map(&[("k", "v")])]))]);
        assert_eq!(got, want, "{text}");
    }
}

#[test]
fn empty_values_are_filled() {
    for (text, want) in [
        ("a: {} # none\nb: 1\n", "a: # none\n  k: v\nb: 1\n"),
        ("a:\nb: 1\n", "a:\n  k: v\nb: 1\n"),
        ("a:   \n  # later\nb: 1\n", "a:   \n  k: v\n  # later\nb: 1\n"),
        ("a: null\nb: 1\n", "a:\n  k: v\nb: 1\n"),
        ("a: {\n  }\nb: 1\n", "a: {\"k\": \"v\"}\nb: 1\n"),
        ("\"a\": ~", "\"a\":\n  k: v"),
        ("{\"a\": {}}", "{\"a\": {\"k\": \"v\"}}"),
        ("x: {y: 1}\na:", "x: {y: 1}\na:\n  k: v"),
    ] {
        let got = edited(text, &[change(&[], key("a", map(&[("k", "v")])))]);
        assert_eq!(got, want, "{text}");
    }
}

#[test]
fn several_changes_at_one_place_stay_in_order() {
    let text = "a:\n- name: x\n  image: y\n";
    let at = ["a".into(), 0.into()];
    let got = edited(
        text,
        &[
            change(&at, key("env", Value::Sequence(vec![map(&[("name", "A")])]))),
            change(&at, key("mounts", Value::Sequence(vec![map(&[("name", "B")])]))),
        ],
    );
    assert_eq!(got, "a:\n- name: x\n  image: y\n  env:\n  - name: A\n  mounts:\n  - name: B\n");
}

#[test]
fn shared_nodes_are_refused() {
    for text in ["b: &x\n  c: 1\na: *x\n", "a: &x\n  c: 1\nb: *x\n", "b: &x\n  a: {}\n<<: *x\n"] {
        let documents = tree::parse(text).unwrap();
        let outcome = apply(text, &documents, &[change(&["a".into()], key("k", Value::string("v")))]);
        assert!(matches!(outcome, Err(Unsafe::Form { .. })), "{text}: {outcome:?}");
    }
}

#[test]
fn an_anchor_without_alias_and_a_second_document_are_no_obstacle() {
    let text = "--- # first\na: &x\n  c: 1\n--- # second\na:\n  c: 2\n...\n";
    let got = apply(
        text,
        &tree::parse(text).unwrap(),
        &[
            change(&["a".into()], key("k", Value::number(1))),
            (1, change(&["a".into()], key("k", Value::truth(true))).1),
        ],
    )
    .unwrap();
    assert_eq!(got, "--- # first\na: &x\n  c: 1\n  k: 1\n--- # second\na:\n  c: 2\n  k: true\n...\n");
}

#[test]
fn bare_scalars_are_read_as_kubectl_reads_them() {
    for (text, want) in [
        ("0400", "256"),
        ("0o400", "256"),
        ("256", "256"),
        ("yes", "true"),
        ("1e3", "1000.0"),
        ("1.5", "1.5"),
        ("0x10", "16"),
        ("~", "null"),
        ("-7", "-7"),
        ("1.2.3", "\"1.2.3\""),
        ("08", "8.0"),
        ("100m", "\"100m\""),
        ("e1", "\"e1\""),
        ("-", "\"-\""),
        ("10.0.0.1", "\"10.0.0.1\""),
        ("1_000", "1000"),
        ("_1", "\"_1\""),
    ] {
        assert_eq!(Value::Scalar(text.into(), true).to_json().to_string(), want, "{text}");
    }
}

#[test]
fn bad_yaml_has_a_place() {
    let refused = tree::parse("a: 1\nb: [1, 2\nc: 3\n").unwrap_err();
    assert!(refused.span.start >= 5, "{refused:?}");
    assert!(tree::parse("a: 1\na: 2\n").unwrap_err().message.contains("twice"));
    assert!(tree::parse("a: *nowhere\n").is_err());
    assert!(tree::parse(&"[".repeat(1000)).is_err());
}
