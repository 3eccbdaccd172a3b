//! The proof of all edges: who refused, where and why, for both directions.

use probe::alert::Alert;
use probe::edge::Seen;
use serde::Serialize;

/// The whole of it; `version` is that of the format.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    pub version: u32,
    pub namespace: String,
    pub edges: Vec<EdgeReport>,
    /// What was left out, in words.
    pub notes: Vec<String>,
    pub ok: usize,
    pub failed: usize,
    pub skipped: usize,
}

/// One client and the pods of one Service.
#[derive(Debug, Serialize)]
pub struct EdgeReport {
    pub client: String,
    pub client_pod: String,
    pub server: String,
    pub rows: Vec<Row>,
}

/// One line.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Row {
    /// `server-authenticates-client`, `client-authenticates-server` or `served`.
    pub direction: &'static str,
    pub id: String,
    pub title: String,
    /// The pod that the row is about.
    pub pod: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<String>,
    pub expected: String,
    pub observed: String,
    /// Who refused, where a refusal came.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused_by: Option<String>,
    /// At which step.
    #[serde(rename = "where", skip_serializing_if = "Option::is_none")]
    pub at: Option<String>,
    /// Its reason, in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// `ok`, `warn`, `fail` or `skipped`.
    pub verdict: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fix: Option<String>,
}

impl Row {
    /// A row of the probe, before a server.
    pub fn of_server(seen: &Seen, pod: &str) -> Self {
        let refused = seen.observed.starts_with("refused");
        let (at, why) = match (seen.alert, seen.status) {
            (Some(number), _) => {
                let alert = Alert(number);
                (Some(format!("TLS, alert {alert}")), Some(alert.meaning().to_owned()))
            }
            (_, Some(status)) => (Some(format!("HTTP, status {status}")), None),
            _ if refused => (Some("the connection".to_owned()), None),
            _ => (None, None),
        };
        Self {
            direction: "server-authenticates-client",
            refused_by: refused.then(|| format!("pod {pod}")),
            at: at.filter(|_| refused),
            why: why.filter(|_| refused).or_else(|| seen.reason.clone()),
            ..Self::plain(seen, pod)
        }
    }

    /// A row of the probe, about the client's bundle.
    pub fn of_client(seen: &Seen, pod: &str) -> Self {
        let refused = seen.observed.strip_prefix("refused: ");
        Self {
            direction: "client-authenticates-server",
            refused_by: refused.map(|_| format!("pod {pod}, the bundle of its client Secret")),
            at: refused.map(|_| "TLS, the server's certificate".to_owned()),
            why: refused.map(str::to_owned).or_else(|| seen.reason.clone()),
            ..Self::plain(seen, pod)
        }
    }

    fn plain(seen: &Seen, pod: &str) -> Self {
        Self {
            direction: "",
            id: seen.id.clone(),
            title: seen.title.clone(),
            pod: pod.to_owned(),
            tls: seen.tls.clone(),
            expected: seen.expected.clone(),
            observed: seen.observed.clone(),
            refused_by: None,
            at: None,
            why: None,
            verdict: seen.verdict.clone(),
            code: seen.code.clone(),
            cause: seen.cause.clone(),
            fix: seen.fix.clone(),
        }
    }
}

impl Report {
    /// Counts what was found.
    pub fn count(&mut self) {
        let count = |wanted: &[&str]| {
            let rows = self.edges.iter().flat_map(|edge| &edge.rows);
            rows.filter(|row| wanted.contains(&row.verdict.as_str())).count()
        };
        (self.ok, self.failed, self.skipped) =
            (count(&["ok", "warn"]), count(&["fail"]), count(&["skipped"]));
    }

    /// For people.
    pub fn table(&self) -> String {
        let mut text = String::new();
        for edge in &self.edges {
            text.push_str(&format!("{} (pod {}) -> {}\n", edge.client, edge.client_pod, edge.server));
            let mut direction = "";
            let mut rows = edge.rows.iter().peekable();
            while let Some(row) = rows.next() {
                if row.direction != direction {
                    direction = row.direction;
                    text.push_str(&format!("\n  {}\n", direction.replace('-', " ")));
                }
                let mut versions: Vec<&str> =
                    row.tls.iter().map(|tls| tls.trim_start_matches("TLS ")).collect();
                // The same for both versions is one line.
                if let Some(next) = rows.next_if(|next| same(row, next)) {
                    versions.extend(next.tls.iter().map(|tls| tls.trim_start_matches("TLS ")));
                }
                text.push_str(&line(row, &versions.join(" ")));
            }
            text.push('\n');
        }
        for note in &self.notes {
            text.push_str(&format!("note: {note}\n"));
        }
        text.push_str(&format!("{} ok, {} failed, {} skipped\n", self.ok, self.failed, self.skipped));
        text
    }

    /// For continuous integration.
    pub fn junit(&self) -> String {
        let mut text = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n");
        for edge in &self.edges {
            let count = |verdict: &str| edge.rows.iter().filter(|row| row.verdict == verdict).count();
            text.push_str(&format!(
                "  <testsuite name=\"{}\" tests=\"{}\" failures=\"{}\" skipped=\"{}\">\n",
                escape(&format!("{} -> {}", edge.client, edge.server)),
                edge.rows.len(),
                count("fail"),
                count("skipped")
            ));
            for row in &edge.rows {
                let name = format!("{} {} {}", row.id, row.tls.as_deref().unwrap_or_default(), row.pod);
                text.push_str(&format!(
                    "    <testcase classname=\"{}\" name=\"{}\"",
                    escape(row.direction),
                    escape(&name)
                ));
                let why = row.why.as_deref().unwrap_or_default();
                text.push_str(&match row.verdict.as_str() {
                    "fail" => format!("><failure message=\"{}\"/></testcase>\n", escape(&row.observed)),
                    "skipped" => format!("><skipped message=\"{}\"/></testcase>\n", escape(why)),
                    _ => "/>\n".to_owned(),
                });
            }
            text.push_str("  </testsuite>\n");
        }
        text + "</testsuites>\n"
    }
}

fn same(row: &Row, next: &Row) -> bool {
    row.id == next.id
        && row.pod == next.pod
        && row.observed == next.observed
        && row.verdict == next.verdict
        && row.why == next.why
}

fn line(row: &Row, versions: &str) -> String {
    let mark = match row.verdict.as_str() {
        "ok" => "ok  ",
        "warn" => "warn",
        "fail" => "FAIL",
        _ => "skip",
    };
    let said = if row.verdict == "skipped" { String::new() } else { row.observed.clone() };
    let mut text = format!("  {mark}  {:42} {versions:8} {}: {said}\n", row.title, row.pod);
    let by = row.refused_by.iter().zip(&row.at).map(|(by, at)| format!("by {by}, in {at}"));
    let whole: Vec<String> = by.chain(row.why.clone()).collect();
    if !whole.is_empty() {
        text.push_str(&format!("        {}\n", whole.join(": ")));
    }
    if row.verdict == "fail" {
        text.push_str(&format!("        expected: {}\n", row.expected));
        for (name, value) in [("cause", &row.cause), ("fix", &row.fix)] {
            if let Some(value) = value {
                text.push_str(&format!("        {name}: {value}\n"));
            }
        }
        if let Some(code) = &row.code {
            text.push_str(&format!("        more: handfast explain {code}\n"));
        }
    }
    text
}

fn escape(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
    out
}
