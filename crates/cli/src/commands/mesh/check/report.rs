//! The rows, and how they are shown.

use std::fmt::Write as _;

use model::codes::Code;
use serde::Serialize;

/// What was found of one thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Verdict {
    Ok,
    Warn,
    Fail,
    /// It could not be looked at.
    Skipped,
}

/// One thing.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Row {
    pub(super) id: &'static str,
    pub(super) verdict: Verdict,
    /// One sentence.
    pub(super) what: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) evidence: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) code: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) fix: Option<String>,
}

impl Row {
    pub(super) fn ok(id: &'static str, what: impl Into<String>) -> Self {
        Self { id, verdict: Verdict::Ok, what: what.into(), evidence: Vec::new(), code: None, fix: None }
    }

    pub(super) fn skipped(id: &'static str, why: impl Into<String>) -> Self {
        Self { verdict: Verdict::Skipped, ..Self::ok(id, why) }
    }

    pub(super) fn warn(id: &'static str, code: &'static Code, what: impl Into<String>) -> Self {
        let fix = Some(code.fix.to_owned());
        Self { verdict: Verdict::Warn, code: Some(code.id), fix, ..Self::ok(id, what) }
    }

    pub(super) fn fail(id: &'static str, code: &'static Code, what: impl Into<String>) -> Self {
        Self { verdict: Verdict::Fail, ..Self::warn(id, code, what) }
    }

    pub(super) fn with(mut self, lines: impl IntoIterator<Item = String>) -> Self {
        self.evidence.extend(lines);
        self
    }

    pub(super) fn fix(self, fix: impl Into<String>) -> Self {
        Self { fix: Some(fix.into()), ..self }
    }
}

/// The document.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    pub(super) version: u32,
    pub(super) rows: Vec<Row>,
    pub(super) ok: usize,
    pub(super) warned: usize,
    pub(super) failed: usize,
    pub(super) skipped: usize,
}

impl Report {
    pub(super) fn new(rows: Vec<Row>) -> Self {
        let count = |verdict| rows.iter().filter(|row| row.verdict == verdict).count();
        let (ok, warned) = (count(Verdict::Ok), count(Verdict::Warn));
        let (failed, skipped) = (count(Verdict::Fail), count(Verdict::Skipped));
        Self { version: 1, rows, ok, warned, failed, skipped }
    }

    /// For people.
    pub(super) fn table(&self) -> String {
        let mut text = String::new();
        for row in &self.rows {
            let mark = match row.verdict {
                Verdict::Ok => "ok  ",
                Verdict::Warn => "warn",
                Verdict::Fail => "FAIL",
                Verdict::Skipped => "skip",
            };
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{mark}  {:18} {}", row.id, row.what);
            for line in &row.evidence {
                let _ = writeln!(text, "                         {line}");
            }
            if let Some(fix) = &row.fix {
                let _ = writeln!(text, "                         fix: {fix}");
            }
            if let Some(code) = row.code {
                let _ = writeln!(text, "                         more: handfast explain {code}");
            }
        }
        let _ = writeln!(
            text,
            "\n{} ok, {} warnings, {} failed, {} skipped",
            self.ok, self.warned, self.failed, self.skipped
        );
        text
    }
}
