//! `run`: one step after the other, each when it is safe. What was done is in the authority's Secret and nowhere else,
//! so a run that is killed anywhere is gone on with by the next one.

use std::time::{Duration, Instant};

use certs::rfc3339;
use controller::authority::{State, Step, Subject};
use model::codes::kube as codes;
use time::OffsetDateTime;

use super::judge::{Choices, Finding, Kind};
use super::report::Report;
use super::steps::{Asked, Cast, Judged, failure};
use crate::failure::{EXIT_FINDINGS, Failure};

/// Between two looks.
const AGAIN: Duration = Duration::from_secs(5);
/// How long a look from beside waits inside of the pod: each look leaves an ended container in the pod's list.
const INSIDE: Duration = Duration::from_secs(90);

/// What is to be done.
pub struct Plan {
    /// What is rotated.
    pub subject: Subject,
    /// What the person takes upon himself.
    pub choices: Choices,
    /// See [`State::retire`].
    pub all_replaced: bool,
    /// For all of it.
    pub timeout: Duration,
    /// No rotation begins when the issuing root is younger.
    pub min_age: Duration,
}

/// Does it.
pub async fn run(cast: &Cast, plan: &Plan) -> Result<Report, Failure> {
    let deadline = Instant::now() + plan.timeout;
    let mut state = cast.load().await?;
    if state.rotation.is_none() && too_young(&state, plan) {
        eprintln!(
            "nothing to do: the authority that issues is younger than --min-age; another one: rotate-root start"
        );
        return Ok(Report::new(None, &state, cast.dry_run, &Judged::default()));
    }
    loop {
        let asked = match state.rotation.as_ref().map(|rotation| rotation.step) {
            None => Asked::Start(plan.subject),
            Some(Step::Distributing) => Asked::Confirm,
            Some(Step::Confirmed) => Asked::Switch,
            Some(Step::Switched) => Asked::Retire { all_replaced: plan.all_replaced },
        };
        let mut judged = wait(cast, plan, asked, &state, deadline).await?;
        if let (Asked::Retire { all_replaced: false }, Some(end)) = (asked, state.old_leaves_end())
            && sleep_until(end, deadline, cast.dry_run).await?
        {
            // What was seen before is old by now.
            judged = wait(cast, plan, asked, &state, deadline).await?;
        }
        state = cast.take(asked, &state, &judged).await?;
        eprintln!(
            "{}: done{}",
            asked.word(),
            if cast.dry_run { " (dry run, nothing was changed)" } else { "" }
        );
        let ended = state.rotation.is_none();
        if cast.dry_run || ended {
            return Ok(Report::new(Some(asked), &state, cast.dry_run, &judged));
        }
    }
}

/// Looks until the step is safe. What nobody sees does not become seen by waiting.
async fn wait(
    cast: &Cast,
    plan: &Plan,
    asked: Asked,
    state: &State,
    deadline: Instant,
) -> Result<Judged, Failure> {
    let mut told: Vec<Finding> = Vec::new();
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let inside = if cast.dry_run { Duration::ZERO } else { left.min(INSIDE) };
        // A look that takes longer than this command may is no look.
        let look = tokio::time::timeout(left, cast.judge(asked, state, &plan.choices, inside)).await;
        let judged = look.map_err(|_| {
            let what = format!("looking at the pods before {} takes longer than --timeout", asked.word());
            Failure::new(&codes::ROTATE_WAITS, what).exit(EXIT_FINDINGS)
        })??;
        let waits = judged.findings.iter().any(|finding| finding.kind == Kind::Stale);
        let Some(failure) = failure(asked, &judged.findings) else { return Ok(judged) };
        if cast.dry_run || !waits || Instant::now() + AGAIN >= deadline {
            Report::new(Some(asked), state, cast.dry_run, &judged).print(cast.output)?;
            return Err(failure);
        }
        if judged.findings != told {
            for finding in judged.findings.iter().filter(|finding| !told.contains(finding)) {
                eprintln!("{} waits for {}: {}", asked.word(), finding.object, finding.why);
            }
            told = judged.findings;
        }
        tokio::time::sleep(AGAIN).await;
        // Somebody else may have taken a step meanwhile: then what is waited for is another thing.
        let now = cast.load().await?;
        if now.rotation != state.rotation {
            let what = "the rotation is not where it was when this began to wait";
            return Err(Failure::new(&codes::ROTATE_CHANGED, what).exit(EXIT_FINDINGS));
        }
    }
}

/// Whether it slept.
async fn sleep_until(end: OffsetDateTime, deadline: Instant, dry_run: bool) -> Result<bool, Failure> {
    let left = Duration::try_from(end - OffsetDateTime::now_utc()).unwrap_or_default();
    if left.is_zero() || dry_run {
        return Ok(false);
    }
    let at = rfc3339(end);
    if Instant::now() + left > deadline {
        let what = format!("a certificate of the old authority that nobody sees may live until {at}");
        return Err(Failure::new(&codes::ROTATE_WAITS, what)
            .fix(format!(
                "run it again after {at}; or, when there are no others: handfast kube rotate-root run --all-replaced"
            ))
            .exit(EXIT_FINDINGS));
    }
    eprintln!("retire waits until {at}, when the last certificate of the old authority ends");
    tokio::time::sleep(left + Duration::from_secs(1)).await;
    Ok(true)
}

fn too_young(state: &State, plan: &Plan) -> bool {
    let Ok((active, _)) = state.active() else { return false };
    let root = active.parent.as_deref().and_then(|root| state.member(root));
    let rotated = match plan.subject {
        Subject::Root => root.unwrap_or(active),
        Subject::Intermediate => active,
    };
    let age = OffsetDateTime::now_utc() - rotated.certificate.not_before;
    // One that ends soon is rotated whatever its age.
    let life = rotated.certificate.not_after - rotated.certificate.not_before;
    age < plan.min_age && age < life * 2 / 3
}
