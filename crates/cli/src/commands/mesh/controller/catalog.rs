//! What proxies may be told, kept up with what the API server knows: the mesh, and whom to trust.

use std::collections::HashSet;
use std::sync::Arc;

use controller::authority::State;
use controller::mesh::control::trust;
use controller::mesh::{Index, Problem};
use model::codes::Coded as _;
use tokio::sync::watch;
use wire::catalog::Catalog;

/// The catalog, now and later. At generation 0 nothing is known yet.
pub type Receiver = watch::Receiver<Arc<Catalog>>;

/// Makes a catalog of each index and of each step of the authority, for as long as the future is run.
pub fn keep(
    mut index: watch::Receiver<Option<Arc<Index>>>,
    mut authority: watch::Receiver<Option<Arc<State>>>,
) -> (Receiver, impl Future<Output = ()> + Send) {
    let (sender, receiver) = watch::channel(Arc::new(Catalog::default()));
    let keep = async move {
        let mut said = HashSet::new();
        let mut seen: Option<Arc<Index>> = None;
        loop {
            let now = index.borrow_and_update().clone();
            let state = authority.borrow_and_update().clone();
            let mut next = Arc::clone(&sender.borrow());
            if let Some(now) = now {
                // A step of a rotation is no reason to make the whole world anew.
                if !seen.as_ref().is_some_and(|before| Arc::ptr_eq(before, &now)) {
                    complain(&now.problems, &mut said);
                    next = next.next(&Arc::new(now.world()));
                    seen = Some(now);
                }
            }
            if let Some(state) = state {
                match trust(&state) {
                    Ok(trust) => next = next.trusting(&Arc::new(trust)),
                    Err(error) => tracing::error!(
                        code = error.code().id,
                        "proxies are not told of the authority: {error}"
                    ),
                }
            }
            sender.send_if_modified(|before| {
                let changed = before.generation() != next.generation();
                *before = next;
                changed
            });
            let gone = tokio::select! {
                changed = index.changed() => changed.is_err(),
                changed = authority.changed() => changed.is_err(),
            };
            if gone {
                return;
            }
        }
    };
    (receiver, keep)
}

/// Each problem once, for as long as it is there.
fn complain(problems: &[Problem], said: &mut HashSet<String>) {
    let now: HashSet<String> = problems.iter().map(ToString::to_string).collect();
    for problem in problems {
        if !said.contains(&problem.to_string()) {
            tracing::warn!(code = problem.code.id, closes = problem.closes, "{problem}");
        }
    }
    *said = now;
}
