//! What a row found, and the report of all of them.

use serde::Serialize;

use super::alerts;
use super::check::Spec;
use super::judge::{self, Judgement};
use crate::attempt::{Answer, End, Version};

/// Whether the server did as expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// It did.
    Ok,
    /// It did, but not in the way that the standards ask for.
    Warn,
    /// It did not.
    Fail,
    /// The row was not tried; the reason says why.
    Skipped,
}

/// One line of the proof.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// The check's id, as in `no-certificate`.
    pub id: &'static str,
    /// The check in words.
    pub title: &'static str,
    /// The TLS version, where the row depends on it.
    pub version: Option<Version>,
    /// What a good server does.
    pub expected: String,
    /// What this server did.
    pub observed: String,
    /// The alert that came, by number.
    pub alert: Option<u8>,
    /// The HTTP status that came.
    pub status: Option<u16>,
    /// Whether that is as expected.
    pub verdict: Verdict,
    /// What is not as it should be in a row that did not fail.
    pub warning: Option<String>,
    /// Why the row was skipped.
    pub reason: Option<String>,
    /// The finding's code, for a failure.
    pub code: Option<&'static str>,
    /// The likely cause, for a failure.
    pub cause: Option<String>,
    /// What to do, for a failure.
    pub fix: Option<String>,
    /// How long the row took.
    pub milliseconds: u64,
}

impl Row {
    fn new(spec: &Spec, version: Option<Version>, verdict: Verdict) -> Self {
        Self {
            id: spec.id,
            title: spec.title,
            version,
            expected: spec.expected.into(),
            observed: String::new(),
            alert: None,
            status: None,
            verdict,
            warning: None,
            reason: None,
            code: None,
            cause: None,
            fix: None,
            milliseconds: 0,
        }
    }

    /// A row that was not tried.
    pub(super) fn skipped(spec: &Spec, version: Option<Version>, reason: impl Into<String>) -> Self {
        Self { reason: Some(reason.into()), ..Self::new(spec, version, Verdict::Skipped) }
    }

    /// A row that was tried; `good` says whether the end is as expected.
    pub(super) fn ended(spec: &Spec, version: Option<Version>, end: &End, good: bool) -> Self {
        let row = Self {
            alert: end.alert().map(|alert| alert.0),
            status: match end {
                End::Answered(Answer::Http(status, _)) => Some(*status),
                _ => None,
            },
            ..Self::said(spec, version, end.to_string(), good)
        };
        match end.alert().and_then(|alert| alerts::warning(spec.check, version, alert)) {
            Some(warning) => row.warning(warning),
            None => row,
        }
    }

    /// A row in which the client is to be refused.
    pub(super) fn refusal(spec: &Spec, version: Option<Version>, end: &End, judgement: Judgement) -> Self {
        let mut row = Self::ended(spec, version, end, judgement.is_refused());
        row.observed = judge::in_words(end, judgement);
        match judgement {
            Judgement::Perhaps => row.warning(
                "the status may be the application's own answer to everybody: only a good pair (--cert, --key) that is answered otherwise proves the refusal",
            ),
            Judgement::SameForAll => row.because(
                "the good certificate gets the same answer: it says nothing about the certificate",
                "name a path that is served to the good certificate: --http-path /PATH",
            ),
            Judgement::Unknown if matches!(end, End::Local(_)) => row.because(
                "this client ended the handshake itself, so nothing was learnt about the server's judgement",
                "see the rows about the server's certificate",
            ),
            _ => row,
        }
    }

    /// A row with an observation in words.
    pub(super) fn said(
        spec: &Spec,
        version: Option<Version>,
        observed: impl Into<String>,
        good: bool,
    ) -> Self {
        let verdict = if good { Verdict::Ok } else { Verdict::Fail };
        let mut row = Self { observed: observed.into(), ..Self::new(spec, version, verdict) };
        if !good {
            row.code = Some(spec.finding.id);
            row.cause = Some(spec.finding.cause.into());
            row.fix = Some(spec.finding.fix.into());
        }
        row
    }

    /// Something that is not as it should be, in a row that is as expected.
    pub(super) fn warning(mut self, warning: impl Into<String>) -> Self {
        if self.verdict == Verdict::Ok {
            self.verdict = Verdict::Warn;
            self.warning = Some(warning.into());
        }
        self
    }

    /// Another expectation than the table's.
    pub(super) fn expecting(mut self, expected: &str) -> Self {
        self.expected = expected.into();
        self
    }

    /// A better cause and fix for a failure, where more is known than the code says.
    pub(super) fn because(mut self, cause: impl Into<String>, fix: impl Into<String>) -> Self {
        if self.verdict == Verdict::Fail {
            self.cause = Some(cause.into());
            self.fix = Some(fix.into());
        }
        self
    }
}

/// The whole proof.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The version of this format.
    pub version: u32,
    /// The address that was tried.
    pub target: String,
    /// The server name that was asked for.
    pub servername: String,
    /// `mutual`, `one-way` or `optional`.
    pub expect: &'static str,
    /// The TLS versions that the server speaks, of 1.2 and 1.3; rows are tried for these.
    pub spoken: Vec<Version>,
    /// How many rows are as expected.
    pub ok: usize,
    /// How many are as expected with something to be said about them.
    pub warned: usize,
    /// How many are not.
    pub failed: usize,
    /// How many were not tried.
    pub skipped: usize,
    /// How long all of it took.
    pub milliseconds: u64,
    /// The rows, in the order of the table.
    pub rows: Vec<Row>,
}

impl Report {
    /// Whether no row failed and at least one was tried.
    pub fn is_good(&self) -> bool {
        self.failed == 0 && self.ok + self.warned > 0
    }

    /// JUnit XML: one test case per row.
    pub fn junit(&self) -> String {
        let mut out = format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites><testsuite name=\"handfast test {}\" tests=\"{}\" failures=\"{}\" skipped=\"{}\" time=\"{:.3}\">\n",
            escape(&self.target),
            self.rows.len(),
            self.failed,
            self.skipped,
            self.milliseconds as f64 / 1000.0
        );
        for row in &self.rows {
            let name = match row.version {
                Some(version) => format!("{} ({version})", row.title),
                None => row.title.to_owned(),
            };
            out.push_str(&format!(
                "  <testcase classname=\"{}\" name=\"{}\" time=\"{:.3}\">",
                escape(row.id),
                escape(&name),
                row.milliseconds as f64 / 1000.0
            ));
            match row.verdict {
                Verdict::Ok => {}
                Verdict::Warn => out.push_str(&format!(
                    "<system-out>warning: {}</system-out>",
                    escape(row.warning.as_deref().unwrap_or_default())
                )),
                Verdict::Skipped => out.push_str(&format!(
                    "<skipped message=\"{}\"/>",
                    escape(row.reason.as_deref().unwrap_or_default())
                )),
                Verdict::Fail => out.push_str(&format!(
                    "<failure type=\"{}\" message=\"expected {}, observed {}\">cause: {}\nfix: {}</failure>",
                    row.code.unwrap_or_default(),
                    escape(&row.expected),
                    escape(&row.observed),
                    escape(row.cause.as_deref().unwrap_or_default()),
                    escape(row.fix.as_deref().unwrap_or_default())
                )),
            }
            out.push_str("</testcase>\n");
        }
        out.push_str("</testsuite></testsuites>\n");
        out
    }
}

/// Text in XML: markup escaped, and what XML 1.0 does not allow left out.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            c if c.is_control() && !matches!(c, '\n' | '\t') => {}
            c => out.push(c),
        }
    }
    out
}
