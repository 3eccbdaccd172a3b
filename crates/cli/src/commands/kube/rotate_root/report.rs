//! What is printed after a step, and by `status`.

use certs::rfc3339;
use controller::authority::{Standing, State, Step, Subject};
use serde::Serialize;

use super::judge::{Finding, Kind};
use super::steps::{Asked, Judged};
use crate::failure::Failure;
use crate::output::{self, Format};

/// The document; `version` is that of the format.
#[derive(Debug, Serialize)]
pub struct Report {
    version: u8,
    /// The step that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    asked: Option<&'static str>,
    dry_run: bool,
    going_on: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    step: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    since: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    to: Option<String>,
    /// After the switch: when the last certificate ends that the old authority can have signed.
    #[serde(skip_serializing_if = "Option::is_none")]
    old_certificates_end: Option<String>,
    authorities: Vec<Authority>,
    objects_looked_at: usize,
    pods_looked_at: usize,
    findings: Vec<Finding>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    left_behind: Vec<Finding>,
    next: String,
}

#[derive(Debug, Serialize)]
struct Authority {
    name: String,
    standing: &'static str,
    not_after: String,
}

impl Report {
    /// Of a state, and what was found before.
    pub fn new(asked: Option<Asked>, state: &State, dry_run: bool, judged: &Judged) -> Self {
        let rotation = state.rotation.as_ref();
        let of = |member: &controller::authority::Member| Authority {
            name: member.name.clone(),
            standing: member.standing.as_str(),
            not_after: rfc3339(member.certificate.not_after),
        };
        Self {
            version: 1,
            asked: asked.map(Asked::word),
            dry_run,
            going_on: rotation.is_some(),
            subject: rotation.map(|rotation| rotation.subject.as_str()),
            step: rotation.map(|rotation| rotation.step.as_str()),
            since: rotation.map(|rotation| rfc3339(rotation.since)),
            from: rotation.map(|rotation| rotation.old.clone()),
            to: rotation.map(|rotation| rotation.new.clone()),
            old_certificates_end: state.old_leaves_end().map(rfc3339),
            authorities: state.members.iter().filter(|m| m.standing != Standing::Retired).map(of).collect(),
            objects_looked_at: judged.looked.0,
            pods_looked_at: judged.looked.1,
            findings: judged.findings.clone(),
            left_behind: judged.left_behind.clone(),
            next: next(state),
        }
    }

    /// Prints it.
    ///
    /// # Errors
    ///
    /// When it cannot be written in this format.
    pub fn print(&self, format: Format) -> Result<(), Failure> {
        output::print(format, self, || self.table())
    }

    fn table(&self) -> String {
        let mut text = String::new();
        for finding in &self.findings {
            let kind = if finding.kind == Kind::Stale { "stale " } else { "unseen" };
            text.push_str(&format!("{kind}  {}: {}\n", finding.object, finding.why));
        }
        for finding in &self.left_behind {
            text.push_str(&format!("left behind  {}: {}\n", finding.object, finding.why));
        }
        if self.objects_looked_at > 0 {
            text.push_str(&format!(
                "looked at {} objects and {} pods, {} findings\n",
                self.objects_looked_at,
                self.pods_looked_at,
                self.findings.len()
            ));
        }
        let rows: Vec<Vec<String>> = self
            .authorities
            .iter()
            .map(|all| vec![all.name.clone(), all.standing.to_owned(), all.not_after.clone()])
            .collect();
        text.push_str(&output::columns(&["AUTHORITY", "STANDING", "VALID UNTIL"], &rows));
        let would = match (self.dry_run, self.asked) {
            (true, Some(asked)) if self.findings.is_empty() => {
                format!("(after {asked}, which was not done) ")
            }
            _ => String::new(),
        };
        if let (Some(subject), Some(step), Some(from), Some(to)) =
            (self.subject, self.step, &self.from, &self.to)
        {
            text.push_str(&format!("{would}rotation of the {subject}: {step} ({from} -> {to})\n"));
        } else {
            text.push_str(&format!("{would}no rotation goes on\n"));
        }
        text + &format!("next: {}\n", self.next)
    }
}

fn next(state: &State) -> String {
    let Some(rotation) = &state.rotation else {
        return "begin a rotation with: handfast kube rotate-root start, or let it be done: handfast kube rotate-root run"
            .to_owned();
    };
    match (rotation.subject, rotation.step) {
        (_, Step::Distributing) => {
            "look whether every verifier knows it: handfast kube rotate-root confirm".to_owned()
        }
        (_, Step::Confirmed) => "let the new authority issue: handfast kube rotate-root switch".to_owned(),
        (Subject::Root | Subject::Intermediate, Step::Switched) => match state.old_leaves_end() {
            Some(end) => format!(
                "end the old authority after {}, or when nothing of it is in use: handfast kube rotate-root retire",
                rfc3339(end)
            ),
            None => "end the old authority: handfast kube rotate-root retire".to_owned(),
        },
    }
}
