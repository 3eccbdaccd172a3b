//! The audit log: one JSON object per line on stdout, never rewritten. A line about a certificate is written before
//! the certificate leaves, so that none exists that is not in it; a write that failed after all is followed by a line
//! `discard` with the same serial number.

use std::io::Write as _;

use certs::rfc3339;
use serde::Serialize;
use time::OffsetDateTime;

/// What was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// A first certificate was signed.
    Issue,
    /// A certificate was signed in place of another.
    Renew,
    /// What was signed could not be handed out, and is gone.
    Discard,
    /// A certificate is not to be accepted any more.
    Revoke,
    /// A request was approved.
    Approve,
    /// A request was refused.
    Deny,
    /// The authority took a step.
    Rotate,
    /// A workload was restarted, so that it serves what was renewed.
    Restart,
}

/// One line.
#[derive(Clone, Debug, Serialize)]
pub struct Record<'a> {
    /// What was done.
    pub action: Action,
    /// The object that it is about, as in `Certificate`.
    pub kind: &'a str,
    /// Its namespace.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub namespace: &'a str,
    /// Its name.
    pub name: &'a str,
    /// Serial number of the certificate.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub serial: &'a str,
    /// Names in the certificate.
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    pub names: &'a [String],
    /// The authority that signed.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub issuer: &'a str,
    /// End of validity, RFC 3339.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub not_after: &'a str,
    /// Why.
    pub reason: &'a str,
}

impl<'a> Record<'a> {
    /// A line about an object; the rest is filled in where it is known.
    pub fn new(action: Action, kind: &'a str, namespace: &'a str, name: &'a str, reason: &'a str) -> Self {
        Self { action, kind, namespace, name, serial: "", names: &[], issuer: "", not_after: "", reason }
    }
}

#[derive(Serialize)]
struct Line<'a> {
    audit: u8,
    time: String,
    who: &'a str,
    #[serde(flatten)]
    record: &'a Record<'a>,
}

/// Writes the lines of one process.
#[derive(Clone, Debug)]
pub struct Audit {
    who: String,
}

impl Audit {
    /// `who` is this process, as in `handfast-controller/POD`.
    pub fn new(who: &str) -> Self {
        Self { who: who.to_owned() }
    }

    /// Writes a line.
    ///
    /// # Errors
    ///
    /// When stdout does not take it: what it was about is then not to be done.
    pub fn write(&self, record: &Record<'_>) -> std::io::Result<()> {
        let line = self.line(record, OffsetDateTime::now_utc())?;
        let mut out = std::io::stdout().lock();
        out.write_all(line.as_bytes())?;
        out.flush()
    }

    fn line(&self, record: &Record<'_>, now: OffsetDateTime) -> std::io::Result<String> {
        let line = Line { audit: 1, time: rfc3339(now), who: &self.who, record };
        serde_json::to_string(&line).map(|text| text + "\n").map_err(std::io::Error::other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_one_json_object_and_stays_one_line() {
        let audit = Audit::new("handfast-controller/pod-1");
        let names = ["DNS:web".to_owned()];
        let mut record = Record::new(Action::Issue, "Certificate", "shop", "web", "two\nlines \"quoted\"");
        record.names = &names;
        record.serial = "0A";
        let line = audit.line(&record, time::macros::datetime!(2026-11-01 12:00 UTC)).unwrap();
        assert_eq!(line.matches('\n').count(), 1);
        let read: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(read["action"], "issue");
        assert_eq!(read["time"], "2026-11-01T12:00:00Z");
        assert_eq!(read["who"], "handfast-controller/pod-1");
        assert!(read.get("issuer").is_none());
    }
}
