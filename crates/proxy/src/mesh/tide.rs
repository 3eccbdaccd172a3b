//! What was needed once and is free again goes back to the kernel: after a change of the world, of which a copy was made,
//! and after many connections have ended. A proxy stands beside every pod; what it keeps is multiplied by the pods.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use model::mesh::World;
use tokio::sync::watch;

/// Connections that end without it being worth a look.
const FEW: usize = 64;
/// Changes of the world that come within this time are one.
const GATHER: Duration = Duration::from_secs(5);

/// The open connections: how many, and the most since memory was given back.
#[derive(Default)]
pub(super) struct Tide {
    open: AtomicUsize,
    most: AtomicUsize,
}

/// One open connection.
pub(super) struct Counted<T: AsRef<Tide>>(Arc<T>);

impl<T: AsRef<Tide>> Counted<T> {
    pub(super) fn new(of: Arc<T>) -> Self {
        let tide = T::as_ref(&of);
        let open = tide.open.fetch_add(1, Ordering::Relaxed) + 1;
        tide.most.fetch_max(open, Ordering::Relaxed);
        Self(of)
    }
}

impl<T: AsRef<Tide>> Drop for Counted<T> {
    fn drop(&mut self) {
        T::as_ref(&self.0).open.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Tide {
    /// Gives memory back where fewer than half of the connections are left that there were.
    pub(super) fn turn(&self) {
        let open = self.open.load(Ordering::Relaxed);
        if self.is_low(open) {
            self.most.store(open, Ordering::Relaxed);
            sys::memory::give_back();
        }
    }

    fn is_low(&self, open: usize) -> bool {
        self.most.load(Ordering::Relaxed) > 2 * open + FEW
    }
}

impl AsRef<Self> for Tide {
    fn as_ref(&self) -> &Self {
        self
    }
}

/// Gives memory back after each change of the world, for as long as there are any.
pub(super) async fn after_changes(mut world: watch::Receiver<Arc<World>>) {
    while world.changed().await.is_ok() {
        tokio::time::sleep(GATHER).await;
        world.mark_unchanged();
        sys::memory::give_back();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_given_back_when_most_connections_have_ended_and_then_not_again() {
        let tide = Arc::new(Tide::default());
        let mut all: Vec<_> = (0..400).map(|_| Counted::new(Arc::clone(&tide))).collect();
        let low = |tide: &Tide| tide.is_low(tide.open.load(Ordering::Relaxed));
        assert!(!low(&tide));
        all.truncate(200);
        assert!(!low(&tide), "half of them are there");
        all.truncate(160);
        assert!(low(&tide));
        tide.turn();
        assert!(!low(&tide));
        drop(all);
        assert!(low(&tide));
    }
}
