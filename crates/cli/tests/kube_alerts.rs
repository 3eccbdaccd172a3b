//! The alerts in `deploy/monitoring`, by the real promtool: each one fires where it must and keeps still where it must.
//! That the metrics in them are there is tried by kube_deploy.rs, with a controller that runs.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops where something is not as expected")]

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use testkit::program::{Finished, Program};
use testkit::{find_program, skipped};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy/monitoring");

fn promtool(folder: &Path, words: &[&str]) -> Option<Finished> {
    let Some(promtool) = find_program("promtool") else {
        skipped("promtool is not installed (make tools)");
        return None;
    };
    let mut command = Command::new(promtool);
    Some(Program::run(command.args(words).current_dir(folder), b"", Duration::from_secs(120)))
}

fn text(name: &str) -> String {
    std::fs::read_to_string(Path::new(FOLDER).join(name)).unwrap()
}

/// All rules of the file.
fn rules() -> Vec<Value> {
    let alerts: Value = serde_saphyr::from_str(&text("alerts.yaml")).unwrap();
    let groups = alerts["groups"].as_array().unwrap();
    groups.iter().flat_map(|group| group["rules"].as_array().unwrap()).cloned().collect()
}

#[test]
fn promtool_takes_the_rules_and_their_tests_hold() {
    let Some(checked) = promtool(Path::new(FOLDER), &["check", "rules", "alerts.yaml"]) else { return };
    assert_eq!(checked.code, Some(0), "{}", checked.all());
    assert!(checked.all().contains(&format!("{} rules found", rules().len())), "{}", checked.all());
    let Some(tested) = promtool(Path::new(FOLDER), &["test", "rules", "alerts_test.yaml"]) else { return };
    assert_eq!(tested.code, Some(0), "{}", tested.all());
}

#[test]
fn every_alert_is_seen_to_fire_and_to_keep_still() {
    let tests: Value = serde_saphyr::from_str(&text("alerts_test.yaml")).unwrap();
    let cases: Vec<&Value> = tests["tests"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|test| test["alert_rule_test"].as_array().unwrap())
        .collect();
    for rule in rules() {
        let name = rule["alert"].as_str().unwrap();
        let of = |fires: bool| {
            cases
                .iter()
                .filter(|case| case["alertname"] == name)
                .any(|case| case["exp_alerts"].as_array().is_some_and(|alerts| alerts.is_empty() != fires))
        };
        assert!(of(true), "no test sees {name} fire");
        assert!(of(false), "no test sees {name} keep still");
        for part in ["summary", "description"] {
            assert!(rule["annotations"][part].as_str().is_some_and(|text| text.len() > 20), "{name}: {part}");
        }
        assert!(["warning", "critical"].contains(&rule["labels"]["severity"].as_str().unwrap()), "{name}");
    }
}

/// The tests of the rules are worth something only if a rule that can never fire, or always does, fails them.
#[test]
fn a_rule_that_cannot_fire_or_always_does_is_found() {
    for broken in ["absent(vector(1))", "vector(1)"] {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("alerts.yaml"), with_expressions(broken)).unwrap();
        std::fs::write(dir.path().join("alerts_test.yaml"), text("alerts_test.yaml")).unwrap();
        let Some(done) = promtool(dir.path(), &["test", "rules", "alerts_test.yaml"]) else { return };
        assert_eq!(done.code, Some(1), "{}", done.all());
        for rule in rules() {
            let name = rule["alert"].as_str().unwrap();
            assert!(
                done.all().contains(&format!("alertname: {name},")),
                "{name} may be {broken}: {}",
                done.all()
            );
        }
    }
}

/// The text of the rules with another expression in each.
fn with_expressions(expression: &str) -> String {
    let mut lines = Vec::new();
    let mut inside = false;
    for line in text("alerts.yaml").lines() {
        let depth = line.len() - line.trim_start().len();
        if line.trim_start().starts_with("expr:") {
            lines.push(format!("        expr: {expression}"));
            inside = true;
        } else if !inside || depth <= 8 {
            inside = false;
            lines.push(line.to_owned());
        }
    }
    lines.join("\n") + "\n"
}
