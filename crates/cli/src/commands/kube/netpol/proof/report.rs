//! How the proof is printed: table, JSON, YAML or JUnit, and one sentence that says what it means.

use std::fmt::Write as _;

use model::codes::Code;
use model::codes::kube::{NETPOL_ALLOWED_BLOCKED, NETPOL_NOT_ENFORCED, NETPOL_UNDECLARED_OPEN};
use serde::Serialize;

use super::control::Enforced;
use super::matrix::{Row, Verdict};
use crate::failure::Failure;
use crate::output::{self, Format};

/// The whole result.
#[derive(Serialize)]
pub(super) struct Report {
    version: u8,
    enforced: Enforced,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<&'static str>,
    summary: String,
    rows: Vec<Row>,
    pub(super) ok: usize,
    pub(super) failed: usize,
    pub(super) skipped: usize,
    #[serde(skip)]
    found: Vec<&'static Code>,
}

impl Report {
    pub(super) fn new(enforced: Enforced, rows: Vec<Row>) -> Self {
        let count = |verdict| rows.iter().filter(|row| row.verdict == verdict).count();
        let (ok, mut failed, skipped) = (count(Verdict::Ok), count(Verdict::Fail), count(Verdict::Skipped));
        let blocked = rows.iter().filter(|row| row.verdict == Verdict::Fail && row.allowed).count();
        let open = rows.iter().filter(|row| row.verdict == Verdict::Fail && !row.allowed).count();
        let mut found: Vec<&'static Code> = Vec::new();
        let mut sentences = Vec::new();
        match (enforced.ingress, enforced.egress) {
            (true, true) => {}
            (false, false) => sentences.push(
                "this cluster does not enforce NetworkPolicies: a pair that a policy denies still connects"
                    .to_owned(),
            ),
            (true, false) => {
                sentences.push("this cluster enforces ingress policies but not egress".to_owned())
            }
            (false, true) => {
                sentences.push("this cluster enforces egress policies but not ingress".to_owned())
            }
        }
        if !sentences.is_empty() {
            found.push(&NETPOL_NOT_ENFORCED);
            // Half an enforcement may satisfy every row and is none all the same.
            failed = failed.max(1);
        }
        if blocked > 0 {
            found.push(&NETPOL_ALLOWED_BLOCKED);
            sentences.push(format!("{blocked} declared connections are blocked"));
        }
        if open > 0 && (enforced.ingress || enforced.egress) {
            found.push(&NETPOL_UNDECLARED_OPEN);
            sentences.push(format!("{open} connections that nobody declared are open"));
        }
        if sentences.is_empty() {
            sentences.push(
                "this cluster enforces the policies: what is declared connects, nothing else does".to_owned(),
            );
        }
        let code = found.first().map(|code| code.id);
        Self { version: 1, enforced, code, summary: sentences.join("; "), rows, ok, failed, skipped, found }
    }

    fn table(&self) -> String {
        let rows: Vec<Vec<String>> = self
            .rows
            .iter()
            .map(|row| {
                let mark = match row.verdict {
                    Verdict::Ok => "ok",
                    Verdict::Fail => "FAIL",
                    Verdict::Skipped => "skip",
                };
                let wanted = if row.allowed { "connects" } else { "denied" };
                vec![
                    mark.to_owned(),
                    row.client.clone(),
                    row.server.clone(),
                    row.port.clone(),
                    wanted.to_owned(),
                    row.detail.clone(),
                ]
            })
            .collect();
        let mut text = output::columns(&["", "CLIENT", "SERVER", "PORT", "EXPECTED", "SEEN"], &rows);
        let _ = writeln!(text, "\n{}", self.summary);
        for code in &self.found {
            let _ = writeln!(
                text,
                "  {}: {}\n  cause: {}\n  fix:   {}",
                code.id, code.title, code.cause, code.fix
            );
        }
        let _ = writeln!(text, "{} ok, {} failed, {} skipped", self.ok, self.failed, self.skipped);
        text
    }

    fn junit(&self) -> String {
        let enforced = self.enforced.ingress && self.enforced.egress;
        let failed =
            self.rows.iter().filter(|row| row.verdict == Verdict::Fail).count() + usize::from(!enforced);
        let mut text = format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuite name=\"handfast kube netpol test\" tests=\"{}\" \
             failures=\"{}\" skipped=\"{}\">\n",
            self.rows.len() + 1,
            failed,
            self.skipped
        );
        case(&mut text, "the cluster enforces policies", (!enforced).then_some(self.summary.as_str()), None);
        for row in &self.rows {
            let wanted = if row.allowed { "connects" } else { "is denied" };
            let name = format!("{} to {} {} {wanted}", row.client, row.server, row.port);
            let detail = row.detail.as_str();
            case(
                &mut text,
                &name,
                (row.verdict == Verdict::Fail).then_some(detail),
                (row.verdict == Verdict::Skipped).then_some(detail),
            );
        }
        text.push_str("</testsuite>\n");
        text
    }
}

fn case(text: &mut String, name: &str, failure: Option<&str>, skipped: Option<&str>) {
    let _ = write!(text, "  <testcase classname=\"netpol\" name=\"{}\"", escape(name));
    let _ = match (failure, skipped) {
        (Some(why), _) => writeln!(text, "><failure message=\"{}\"/></testcase>", escape(why)),
        (_, Some(why)) => writeln!(text, "><skipped message=\"{}\"/></testcase>", escape(why)),
        _ => writeln!(text, "/>"),
    };
}

fn escape(text: &str) -> String {
    text.chars()
        .filter(|c| !c.is_control())
        .collect::<String>()
        .replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

/// Prints the report in the format that was asked for.
pub(super) fn print(report: &Report, format: Format, junit: bool) -> Result<(), Failure> {
    if junit {
        return output::print(Format::Table, &(), || report.junit());
    }
    output::print(format, report, || report.table())
}
