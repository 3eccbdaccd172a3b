//! What proxies may be told, kept up with what the API server knows.

use std::collections::HashSet;
use std::sync::Arc;

use controller::mesh::{Index, Problem};
use tokio::sync::watch;
use wire::catalog::Catalog;

/// The catalog, now and later. At generation 0 nothing is known yet.
pub type Receiver = watch::Receiver<Arc<Catalog>>;

/// Makes a catalog of each index, for as long as the future is run.
pub fn keep(mut index: watch::Receiver<Option<Arc<Index>>>) -> (Receiver, impl Future<Output = ()> + Send) {
    let (sender, receiver) = watch::channel(Arc::new(Catalog::default()));
    let keep = async move {
        let mut said = HashSet::new();
        loop {
            let now = index.borrow_and_update().clone();
            if let Some(now) = now {
                complain(&now.problems, &mut said);
                let next = sender.borrow().next(&Arc::new(now.world()));
                sender.send_if_modified(|before| {
                    let changed = before.generation() != next.generation();
                    *before = next;
                    changed
                });
            }
            if index.changed().await.is_err() {
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
