//! How many file descriptors connections may take. A reserve is kept from them: for the control plane's stream, the ports of
//! `/status`, metrics and readiness, and files that are read again. Whoever floods the proxy takes none of these away.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Kept free, at least and at most; an eighth of the limit in between.
const RESERVE: (usize, usize) = (32, 1024);
/// Enough for everything else that limits connections, and below what a semaphore counts.
const MOST: usize = 1 << 20;

/// Descriptors that connections may take.
pub(super) struct Descriptors {
    free: Arc<Semaphore>,
    most: usize,
    /// Somebody waits, and that was said.
    short: AtomicBool,
}

/// Some of them. Dropping it gives them back.
pub(super) type Held = OwnedSemaphorePermit;

impl Descriptors {
    /// Those of this process that are left, by its limit (`RLIMIT_NOFILE`).
    pub(super) fn of_process() -> Self {
        let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
        // Linux alone tells; the reserve is for what is open on others.
        let open = std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count);
        Self::new(limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(usize::MAX), open)
    }

    fn new(limit: usize, open: usize) -> Self {
        let reserve = (limit / 8).clamp(RESERVE.0, RESERVE.1);
        // With a limit that leaves nothing a few are tried all the same: the kernel says no where it has to.
        let most = limit.saturating_sub(open + reserve).clamp(8, MOST);
        Self { free: Arc::new(Semaphore::new(most)), most, short: AtomicBool::new(false) }
    }

    /// Waits until so many are free; `say` is called when the wait begins, once for all who wait.
    pub(super) async fn wait(&self, count: u32, say: impl FnOnce(String)) -> Option<Held> {
        if let Some(held) = self.take(count) {
            self.short.store(false, Ordering::Relaxed);
            return Some(held);
        }
        if !self.short.swap(true, Ordering::Relaxed) {
            say(self.none_left());
        }
        // The semaphore is never closed.
        Arc::clone(&self.free).acquire_many_owned(count).await.ok()
    }

    /// So many, if they are free.
    pub(super) fn take(&self, count: u32) -> Option<Held> {
        Arc::clone(&self.free).try_acquire_many_owned(count).ok()
    }

    /// Why somebody got none.
    pub(super) fn none_left(&self) -> String {
        format!("connections have all {} descriptors that this process may give them", self.most)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reserve_is_kept_and_a_small_limit_leaves_a_few() {
        let most = |limit, open| Descriptors::new(limit, open).most;
        assert_eq!(most(1024, 20), 1024 - 20 - 128);
        assert_eq!(most(256, 20), 256 - 20 - 32);
        assert_eq!(most(65_536, 20), 65_536 - 20 - 1024);
        assert_eq!(most(30, 20), 8);
        assert_eq!(most(usize::MAX, 20), MOST);
    }

    #[tokio::test]
    async fn a_shortage_is_said_once_and_again_only_after_it_was_over() {
        let descriptors = Descriptors::new(64, 20);
        let all: Vec<Held> = (0..descriptors.most).map(|_| descriptors.take(1).unwrap()).collect();
        let said = std::cell::Cell::new(0);
        let say = |_| said.set(said.get() + 1);
        let (one, other) = (descriptors.wait(1, say), descriptors.wait(1, say));
        let free = async {
            tokio::task::yield_now().await;
            drop(all);
        };
        let (one, other, ()) = tokio::join!(one, other, free);
        assert!(one.is_some() && other.is_some());
        assert_eq!(said.get(), 1);
        drop((one, other));
        let held = descriptors.wait(u32::try_from(descriptors.most).unwrap(), say).await;
        assert_eq!(said.get(), 1);
        let again = tokio::time::timeout(std::time::Duration::ZERO, descriptors.wait(1, say)).await;
        assert!(again.is_err(), "none is free");
        assert_eq!(said.get(), 2);
        drop(held);
    }
}
