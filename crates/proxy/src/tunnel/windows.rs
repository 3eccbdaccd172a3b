//! How much other proxies may have in flight to us over HTTP/2. What their windows let in waits in memory until an
//! application takes it, so the windows of all connections together are bounded, and those of one address within that.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Windows of all connections above [`LEAST`], in bytes.
const ALL: usize = 64 << 20;
/// Of them, those of one address.
const OF_ONE: usize = 32 << 20;
/// Most for one connection: what fills a link of 1 Gbit/s over 60 ms.
const MOST: usize = 8 << 20;
/// What each connection has in any case: HTTP/2 knows no smaller one for it (RFC 9113, section 6.9.2).
const LEAST: usize = 65_535;
/// What one stream may have of its connection's.
const STREAM: usize = 2 << 20;

/// The windows of a process.
#[derive(Clone, Default)]
pub(crate) struct Windows {
    granted: Arc<Mutex<Granted>>,
}

#[derive(Default)]
struct Granted {
    all: usize,
    by: HashMap<IpAddr, usize>,
}

/// The window of one connection; dropping it gives it back.
pub(crate) struct Window {
    windows: Windows,
    from: IpAddr,
    /// Beyond [`LEAST`].
    more: usize,
}

impl Windows {
    /// A window for a connection with a proxy at `from`: a quarter of what is left for its address, so that the first ones
    /// have most and none is ever without.
    pub(crate) fn take(&self, from: IpAddr) -> Window {
        let mut granted = self.lock();
        let own = granted.by.get(&from).copied().unwrap_or_default();
        let left = OF_ONE.saturating_sub(own).min(ALL.saturating_sub(granted.all));
        let more = (left / 4).min(MOST - LEAST);
        granted.all += more;
        granted.by.insert(from, own + more);
        Window { windows: self.clone(), from, more }
    }

    fn lock(&self) -> MutexGuard<'_, Granted> {
        self.granted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Window {
    /// Of the connection, in bytes.
    pub(crate) fn connection(&self) -> u32 {
        u32::try_from(LEAST + self.more).unwrap_or(u32::MAX >> 1)
    }

    /// Of each of its streams, in bytes.
    pub(crate) fn stream(&self) -> u32 {
        u32::try_from((LEAST + self.more).min(STREAM)).unwrap_or(u32::MAX >> 1)
    }
}

impl Drop for Window {
    fn drop(&mut self) {
        let mut granted = self.windows.lock();
        granted.all = granted.all.saturating_sub(self.more);
        let own = granted.by.get(&self.from).copied().unwrap_or_default();
        match own.saturating_sub(self.more) {
            // The last one of its address, or one that had none beyond the least: it leaves no trace either way.
            0 => granted.by.remove(&self.from),
            left => granted.by.insert(self.from, left),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_stay_within_their_bounds_and_are_given_back() {
        let windows = Windows::default();
        let one: Vec<Window> = (0..100).map(|_| windows.take(IpAddr::from([10, 0, 0, 1]))).collect();
        assert_eq!(one[0].connection(), 8 << 20);
        assert!(one.iter().all(|window| window.connection() >= 65_535));
        assert!(one.is_sorted_by_key(|window| std::cmp::Reverse(window.connection())));
        let sum: usize = one.iter().map(|window| window.more).sum();
        assert!(sum <= OF_ONE, "{sum}");
        // Another address has its own, until all is given.
        let other = windows.take(IpAddr::from([10, 0, 0, 2]));
        assert!(other.connection() >= 7 << 20, "{}", other.connection());
        let many: Vec<Window> = (0..100).map(|n| windows.take(IpAddr::from([10, 0, 1, n]))).collect();
        assert!(windows.lock().all <= ALL);
        assert!(many.iter().all(|window| window.stream() <= window.connection()));
        drop((one, other, many));
        let granted = windows.lock();
        assert_eq!((granted.all, granted.by.len()), (0, 0));
    }
}
