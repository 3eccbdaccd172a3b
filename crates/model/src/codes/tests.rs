use std::collections::HashSet;

use super::*;

#[test]
fn every_code_is_unique_well_formed_and_explained() {
    let (mut ids, mut labels) = (HashSet::new(), HashSet::new());
    for code in all() {
        assert!(code.id.len() == 6 && code.id.starts_with("HF"), "{}", code.id);
        assert!(code.id[2..].bytes().all(|b| b.is_ascii_digit()), "{}", code.id);
        assert!(ids.insert(code.id), "{} stands twice", code.id);
        assert!(labels.insert(code.label), "{} stands twice", code.label);
        assert!(
            code.label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_'),
            "{}",
            code.label
        );
        for text in [code.title, code.cause, code.fix] {
            assert!(text.len() > 10, "{} lacks an explanation", code.id);
        }
    }
    assert!(ids.len() > 20);
}

#[test]
fn a_code_is_found_in_any_case() {
    let code = find(" hf9001 ").unwrap();
    assert_eq!(code.id, "HF9001");
    assert!(find("HF0000").is_none());
}
