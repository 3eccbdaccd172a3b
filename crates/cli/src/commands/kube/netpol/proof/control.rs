//! What has to be shown before a refused connection means anything, and whether a policy changes it.

use std::time::{Duration, Instant};

use model::codes::kube::NETPOL_PROBE;
use serde::Serialize;

use super::super::agent::{Dialled, Seen};
use super::pods::{Role, Run, SPARE, Stand};
use crate::failure::Failure;

/// Whether this cluster enforces a policy, by direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Enforced {
    /// On the way into a pod.
    pub(super) ingress: bool,
    /// On the way out of one.
    pub(super) egress: bool,
}

const PAUSE: Duration = Duration::from_millis(500);

/// Every listener answers its own pod, which no policy can forbid.
pub(super) async fn listening(run: &Run, stands: &[Stand], patience: Duration) -> Result<(), Failure> {
    let each = stands.iter().map(|stand| async move {
        let targets: Vec<String> = stand.ports.iter().map(|port| stand.target(*port)).collect();
        let begin = Instant::now();
        loop {
            let results = run.dial(stand, &targets).await?;
            let Some(bad) = results.iter().find(|result| result.seen != Seen::Answered) else {
                return Ok(());
            };
            if begin.elapsed() >= patience {
                return Err(Failure::new(
                    &NETPOL_PROBE,
                    format!(
                        "the probe for {} does not hear itself at {}: {}",
                        stand.title, bad.target, bad.detail
                    ),
                ));
            }
            tokio::time::sleep(PAUSE).await;
        }
    });
    futures_util::future::try_join_all(each).await.map(drop)
}

/// Connects a pair, denies it by a policy, and connects again: in both directions, with the other direction as
/// control that the pods are still alive.
pub(super) async fn enforcement(run: &Run, stands: &[Stand], settle: Duration) -> Result<Enforced, Failure> {
    let of = |role: Role| {
        stands.iter().find(|stand| stand.role == role).ok_or_else(|| {
            Failure::new(&model::codes::usage::INTERNAL, "a control pod is missing from the plan")
        })
    };
    let (open, ingress, egress) = (of(Role::Open)?, of(Role::ClosedIngress)?, of(Role::ClosedEgress)?);
    for (from, to) in [(open, ingress), (egress, open), (ingress, open), (open, egress)] {
        let seen = until(run, from, to, settle, |seen| seen == Seen::Answered).await?;
        if seen.seen != Seen::Answered {
            return Err(Failure::new(
                &NETPOL_PROBE,
                format!(
                    "two pods of namespace {} cannot connect though no policy of ours forbids it: {} -> {}: {}",
                    open.namespace, from.title, to.title, seen.detail
                ),
            )
            .fix("choose a namespace without policies: --control-namespace NAMESPACE"));
        }
    }
    run.deny(ingress, "Ingress").await?;
    run.deny(egress, "Egress").await?;
    let denied = |seen: Seen| matches!(seen, Seen::Refused | Seen::Silent);
    let (into, out) = tokio::try_join!(
        until(run, open, ingress, settle, denied),
        until(run, egress, open, settle, denied),
    )?;
    let enforced = Enforced { ingress: denied(into.seen), egress: denied(out.seen) };
    for (from, to, matters) in [(ingress, open, enforced.ingress), (open, egress, enforced.egress)] {
        let seen = until(run, from, to, settle, |seen| seen == Seen::Answered).await?;
        if matters && seen.seen != Seen::Answered {
            return Err(Failure::new(
                &NETPOL_PROBE,
                format!(
                    "a policy for one direction closed both: {} -> {}: {}",
                    from.title, to.title, seen.detail
                ),
            ));
        }
    }
    Ok(enforced)
}

/// Dials until it is as wanted, or the time is over; then as it is.
async fn until(
    run: &Run,
    from: &Stand,
    to: &Stand,
    patience: Duration,
    wanted: impl Fn(Seen) -> bool,
) -> Result<Dialled, Failure> {
    let begin = Instant::now();
    let target = [to.target(SPARE)];
    loop {
        let mut results = run.dial(from, &target).await?;
        let result = results.swap_remove(0);
        if result.seen == Seen::Failed {
            return Err(Failure::new(
                &NETPOL_PROBE,
                format!("the probe for {} could not try {}: {}", from.title, result.target, result.detail),
            ));
        }
        if wanted(result.seen) || begin.elapsed() >= patience {
            return Ok(result);
        }
        tokio::time::sleep(PAUSE).await;
    }
}
