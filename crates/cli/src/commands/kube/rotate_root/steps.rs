//! One step: look, judge, and change the authority's Secret only if it is still the one that was judged.

use std::time::Duration;

use controller::Error;
use controller::authority::{AuthorityStore, Rotation, State, Subject};
use kube::Client;
use model::codes::kube as codes;
use time::OffsetDateTime;

use super::evidence::{self, Evidence, new_roots};
use super::judge::{self, Choices, Finding, Kind};
use super::look::How;
use super::mesh;
use super::mounts::{Holds, Place, Source, User};
use super::report::Report;
use super::requests;
use crate::failure::{EXIT_FINDINGS, Failure};
use crate::output::Format;

/// How many findings an error names; the report has them all.
const NAMED: usize = 10;

/// Which step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// See [`State::start`].
    Start(Subject),
    /// See [`State::confirm`].
    Confirm,
    /// See [`State::switch`].
    Switch,
    /// See [`State::retire`].
    Retire {
        /// The end of the longest life need not be awaited.
        all_replaced: bool,
    },
    /// See [`State::abort`].
    Abort,
}

impl Asked {
    /// Its word on the command line.
    pub fn word(self) -> &'static str {
        match self {
            Self::Start(_) => "start",
            Self::Confirm => "confirm",
            Self::Switch => "switch",
            Self::Retire { .. } => "retire",
            Self::Abort => "abort",
        }
    }

    fn next(self, state: &State, live: &[String], now: OffsetDateTime) -> Result<State, Error> {
        match self {
            Self::Start(subject) => state.start(subject, now),
            Self::Confirm => state.confirm(now),
            Self::Switch => state.switch(now),
            Self::Retire { all_replaced } => state.retire(live, all_replaced, now),
            Self::Abort => state.abort(now),
        }
    }
}

/// What was found.
#[derive(Debug, Default)]
pub struct Judged {
    /// Why the step is not safe.
    pub findings: Vec<Finding>,
    /// What was found and is left behind, because somebody said so.
    pub left_behind: Vec<Finding>,
    /// How many objects and pods were looked at.
    pub looked: (usize, usize),
}

/// Who does it, and how.
pub struct Cast {
    /// The API server.
    pub client: Client,
    /// The authority's Secret.
    pub store: AuthorityStore,
    /// Namespace of the controller.
    pub system: String,
    /// Image for looks from beside.
    pub image: String,
    /// For its start.
    pub start: Duration,
    /// Only look.
    pub dry_run: bool,
    /// Format of the report.
    pub output: Format,
}

impl Cast {
    /// The authority as it is.
    pub async fn load(&self) -> Result<State, Failure> {
        let found = self.store.load().await?;
        found.ok_or_else(|| {
            Failure::new(
                &codes::AUTHORITY_MISSING,
                "there is no authority yet: the controller has not started",
            )
        })
    }

    /// How far it is.
    pub async fn status(&self) -> Result<Report, Failure> {
        Ok(Report::new(None, &self.load().await?, false, &Judged::default()))
    }

    /// Takes a step when it is safe; the report is of the state after it. A refusal is printed with all its findings.
    pub async fn step(&self, asked: &Asked, choices: &Choices) -> Result<Report, Failure> {
        let state = self.load().await?;
        // What the state itself does not allow needs no look.
        let trial = match asked {
            Asked::Retire { .. } => Asked::Retire { all_replaced: true },
            other => *other,
        };
        trial.next(&state, &[], OffsetDateTime::now_utc()).map_err(refused)?;
        let judged = self.judge(*asked, &state, choices, Duration::ZERO).await?;
        if let Some(failure) = failure(*asked, &judged.findings) {
            Report::new(Some(*asked), &state, self.dry_run, &judged).print(self.output)?;
            return Err(failure);
        }
        let state = self.take(*asked, &state, &judged).await?;
        Ok(Report::new(Some(*asked), &state, self.dry_run, &judged))
    }

    /// Changes the Secret, if the rotation in it is still the one that was judged.
    pub async fn take(&self, asked: Asked, judged_of: &State, judged: &Judged) -> Result<State, Failure> {
        let live: Vec<String> = judged.findings.iter().map(|finding| finding.object.clone()).collect();
        for finding in &judged.left_behind {
            eprintln!("left behind: {}: {}", finding.object, finding.why);
        }
        if self.dry_run {
            return asked.next(judged_of, &live, OffsetDateTime::now_utc()).map_err(refused);
        }
        let mut changed = false;
        let taken = self.store.change(|state| {
            if mark(state) != mark(judged_of) {
                changed = true;
                return Err(Error::Step("the rotation is not where it was when this looked".to_owned()));
            }
            asked.next(state, &live, OffsetDateTime::now_utc())
        });
        let taken = taken.await;
        if changed {
            let what = "the rotation is not where it was when this looked at the pods";
            return Err(Failure::new(&codes::ROTATE_CHANGED, what).exit(EXIT_FINDINGS));
        }
        taken.map_err(|error| match error {
            Error::Step(_) => refused(error),
            other => other.into(),
        })
    }

    /// Looks at what this step's safety depends on. `wait` is how long a look inside of a pod may wait for what it
    /// should find. Pods are not looked at while the objects themselves are not as they have to be.
    pub async fn judge(
        &self,
        asked: Asked,
        state: &State,
        choices: &Choices,
        wait: Duration,
    ) -> Result<Judged, Failure> {
        if matches!(asked, Asked::Start(_) | Asked::Abort) {
            return Ok(Judged::default());
        }
        let mesh = mesh::look(&self.client, &self.system).await?;
        let now = OffsetDateTime::now_utc();
        let of_mesh = mesh.as_ref().map(|mesh| mesh::judge(state, mesh, choices, now)).unwrap_or_default();
        let proxies = mesh.as_ref().map_or(0, |mesh| mesh.pods.len());
        let confirm = match asked {
            Asked::Confirm => true,
            Asked::Retire { .. } => false,
            // Somebody may have come since it was confirmed.
            _ => {
                let (findings, left_behind) = choices.part(of_mesh);
                return Ok(Judged { findings, left_behind, looked: (0, proxies) });
            }
        };
        let mut evidence = evidence::objects(&self.client, &self.system, state).await?;
        evidence.mesh = mesh.is_some();
        let objects = evidence.bundles.len() + evidence.secrets.len();
        let mut of_objects = match confirm {
            true => judge::bundles(state, &evidence, OffsetDateTime::now_utc()),
            false => judge::secrets(state, &evidence),
        };
        of_objects.extend(of_mesh);
        let (findings, mut left_behind) = choices.part(of_objects);
        let intermediate = state.rotation.as_ref().is_some_and(|r| r.subject == Subject::Intermediate);
        if !findings.is_empty() || (confirm && intermediate) {
            return Ok(Judged { findings, left_behind, looked: (objects, proxies) });
        }
        let how = How { image: &self.image, start: self.start, wait };
        let root = new_roots(state).into_iter().next();
        let wanted = move |evidence: &Evidence, user: &User, place: &Place| match (confirm, place.holds) {
            (true, Holds::Bundle) => root.clone(),
            (false, Holds::Leaf) => leaf(evidence, user, place),
            _ => None,
        };
        evidence::pods(&self.client, &mut evidence, &how, &wanted, true).await?;
        let now = OffsetDateTime::now_utc();
        let mut findings = match confirm {
            true => judge::verifiers(state, &evidence, choices),
            false => judge::presenters(state, &evidence, choices, now),
        };
        // Who waits for the longest life waits for these, too.
        if let Asked::Retire { all_replaced: true } = asked {
            let answered = requests::answered(&self.client).await?;
            findings.extend(requests::of_former(state, &answered, choices, now));
        }
        let (findings, left) = choices.part(findings);
        left_behind.extend(left);
        Ok(Judged { findings, left_behind, looked: (objects, evidence.pods.len() + proxies) })
    }
}

/// The leaf that a place should hold.
fn leaf(evidence: &Evidence, user: &User, place: &Place) -> Option<Vec<u8>> {
    let Source::Secret(name) = &place.source else { return None };
    let secret = evidence.secrets.get(&(user.namespace().to_owned(), name.clone()))?;
    secret.chain.as_ref().ok()?.first().cloned()
}

/// Why the step is refused; `None` when nothing was found.
pub fn failure(asked: Asked, findings: &[Finding]) -> Option<Failure> {
    let first = findings.first()?;
    let stale = findings.iter().any(|finding| finding.kind == Kind::Stale);
    let code = if stale { &codes::ROTATE_GUARD } else { &codes::ROTATE_UNSEEN };
    let word = asked.word();
    let what = match findings.len() {
        1 => format!("{word} is refused: {}: {}", first.object, first.why),
        count => format!("{word} is refused for {count} reasons"),
    };
    let named = findings.iter().take(NAMED);
    let failure = named.fold(Failure::new(code, what), |failure, finding| {
        let name = if finding.kind == Kind::Stale { "stale" } else { "unseen" };
        failure.with(name, format!("{}: {}", finding.object, finding.why))
    });
    Some(failure.exit(EXIT_FINDINGS))
}

/// A step that the state does not allow: nothing failed, so the exit code is that of a finding.
pub fn refused(error: Error) -> Failure {
    Failure::from(error).exit(EXIT_FINDINGS)
}

fn mark(state: &State) -> (Option<Rotation>, Option<String>) {
    (state.rotation.clone(), state.active().ok().map(|(member, _)| member.name.clone()))
}
