//! How the proof is printed: a table whose equal lines for both versions are one, JSON, YAML or JUnit.

use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use probe::test::{Plan, Report, Row, Verdict, check};

use crate::failure::Failure;
use crate::output::{self, Format};

/// A bar on stderr while the rows are being tried, when that is a terminal.
pub(super) struct Progress(ProgressBar);

impl Progress {
    pub(super) fn new(plan: &Plan) -> Self {
        if !std::io::stderr().is_terminal() {
            return Self(ProgressBar::hidden());
        }
        let rows: usize = check::ALL.iter().map(|spec| if spec.per_version { 2 } else { 1 }).sum();
        let bar = ProgressBar::new(rows as u64);
        if let Ok(style) = ProgressStyle::with_template("{bar:30} {pos}/{len} {msg}") {
            bar.set_style(style);
        }
        bar.set_message(format!("testing {}", plan.target.endpoint));
        bar.enable_steady_tick(Duration::from_millis(200));
        Self(bar)
    }

    pub(super) fn done(&self, row: &Row) {
        self.0.inc(1);
        self.0.set_message(row.title);
    }

    pub(super) fn clear(&self) {
        self.0.finish_and_clear();
    }
}

/// Prints the report in the format that was asked for.
pub(super) fn report(report: &Report, format: Format, junit: bool) -> Result<(), Failure> {
    if junit {
        print!("{}", report.junit());
        return Ok(());
    }
    output::print(format, report, || table(report, output::colours_stdout()))
}

/// Prints the rows that exist.
pub(super) fn rows(format: Format) -> Result<(), Failure> {
    let list: Vec<_> = check::ALL
        .iter()
        .map(|spec| {
            serde_json::json!({
                "id": spec.id, "title": spec.title, "expected": spec.expected, "code": spec.finding.id
            })
        })
        .collect();
    output::print(format, &serde_json::json!({ "version": 1, "rows": list }), || {
        let width = check::ALL.iter().map(|spec| spec.id.len()).max().unwrap_or(0);
        let line =
            |spec: &check::Spec| format!("{:width$}  {:42} -> {}\n", spec.id, spec.title, spec.expected);
        check::ALL.iter().map(line).collect()
    })
}

/// The table for people.
pub(crate) fn table(report: &Report, colour: bool) -> String {
    let paint = |code: &str, text: &str| match colour {
        true => format!("\x1b[{code}m{text}\x1b[0m"),
        false => text.to_owned(),
    };
    let mut lines: Vec<(Vec<&Row>, String)> = Vec::new();
    for row in &report.rows {
        let said = match row.verdict {
            Verdict::Skipped => row.reason.clone().unwrap_or_default(),
            _ => row.observed.clone(),
        };
        match lines.last_mut() {
            Some((same, text)) if *text == said && same[0].id == row.id && same[0].verdict == row.verdict => {
                same.push(row);
            }
            _ => lines.push((vec![row], said)),
        }
    }
    let width = report.rows.iter().map(|row| row.title.len()).max().unwrap_or(0);
    let spoken: Vec<String> = report.spoken.iter().map(ToString::to_string).collect();
    let mut out = format!(
        "{} as {}: {}, {}\n\n",
        report.target,
        report.servername,
        report.expect,
        if spoken.is_empty() { "neither TLS 1.2 nor 1.3".to_owned() } else { spoken.join(" and ") }
    );
    for (same, said) in &lines {
        let row = same[0];
        let mark = match row.verdict {
            Verdict::Ok => paint("32", "ok  "),
            Verdict::Warn => paint("33", "warn"),
            Verdict::Fail => paint("1;31", "FAIL"),
            Verdict::Skipped => paint("2", "skip"),
        };
        let versions: Vec<String> = same
            .iter()
            .filter_map(|row| row.version)
            .map(|version| version.to_string().trim_start_matches("TLS ").to_owned())
            .collect();
        out.push_str(&format!("{mark}  {:width$}  {:7}  -> {said}\n", row.title, versions.join(" ")));
        if let Some(warning) = &row.warning {
            out.push_str(&format!("      warning: {warning}\n"));
        }
        if row.verdict == Verdict::Fail {
            out.push_str(&format!("      expected: {}\n", row.expected));
            for (name, text) in [("cause", &row.cause), ("fix", &row.fix)] {
                if let Some(text) = text {
                    out.push_str(&format!("      {name}: {text}\n"));
                }
            }
            if let Some(code) = row.code {
                out.push_str(&format!("      more: handfast explain {code}\n"));
            }
        }
    }
    let seconds = report.milliseconds as f64 / 1000.0;
    out.push_str(&format!(
        "\n{} ok, {}{} failed, {} skipped in {seconds:.1} s\n",
        report.ok,
        if report.warned > 0 { format!("{} with a warning, ", report.warned) } else { String::new() },
        report.failed,
        report.skipped
    ));
    out
}
