//! What proxies may be told, kept up with what the API server knows: the mesh, and whom to trust.

use std::collections::HashSet;
use std::sync::Arc;

use controller::authority::State;
use controller::mesh::Problem;
use controller::mesh::control::trust;
use controller::mesh::watch::Watched;
use model::codes::Coded as _;
use tokio::sync::watch;
use wire::catalog::Catalog;

/// The catalog, now and later. At generation 0 nothing is known yet.
pub type Receiver = watch::Receiver<Arc<Catalog>>;

/// Makes a catalog of each change of the mesh and of each step of the authority, for as long as the future is run.
pub fn keep(
    mut watched: Watched,
    mut authority: watch::Receiver<Option<Arc<State>>>,
) -> (Receiver, impl Future<Output = ()> + Send) {
    let (sender, receiver) = watch::channel(Arc::new(Catalog::default()));
    let keep = async move {
        let mut said = HashSet::new();
        loop {
            let mut next = Arc::clone(&sender.borrow());
            tokio::select! {
                update = watched.next() => {
                    if let Some(problems) = &update.problems {
                        complain(problems, &mut said);
                    }
                    next = next.changed(&update.world, &update.touched);
                }
                changed = authority.changed() => if changed.is_err() {
                    return;
                },
            }
            // What the authority said before the mesh was known is said with it.
            let state = authority.borrow_and_update().clone();
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
