//! How many retries a service may take: a share of its requests over ten seconds, beside a few a second, so
//! that a service that fails is not killed by being asked again (retry storms).

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use http::Method;

#[cfg(test)]
mod tests;

/// Retries that are always granted in ten seconds: three a second.
const FLOOR: u64 = 30;
const WINDOW_MS: u64 = 10_000;

/// Counts requests and retries of the present and the last ten seconds.
#[derive(Debug, Default)]
pub struct RetryBudget {
    /// The number of the window, requests and retries, in one word: 24, 20 and 20 bits.
    now: AtomicU64,
    last: AtomicU64,
}

const COUNT: u64 = (1 << 20) - 1;

fn unpack(word: u64) -> (u64, u64, u64) {
    (word >> 40, (word >> 20) & COUNT, word & COUNT)
}

fn pack(window: u64, requests: u64, retries: u64) -> u64 {
    (window & 0xff_ffff) << 40 | requests.min(COUNT) << 20 | retries.min(COUNT)
}

impl RetryBudget {
    /// A request begins.
    pub fn request(&self, now_ms: u64) {
        self.update(now_ms, |requests, retries| (requests + 1, retries));
    }

    /// Asks for one retry; it is counted when it is granted.
    pub fn retry(&self, now_ms: u64, percent: u32) -> bool {
        let window = (now_ms / WINDOW_MS) & 0xff_ffff;
        let (mut requests, mut retries) = (0, 0);
        for word in [self.now.load(Relaxed), self.last.load(Relaxed)] {
            let (of, some_requests, some_retries) = unpack(word);
            if window.wrapping_sub(of) & 0xff_ffff <= 1 {
                requests += some_requests;
                retries += some_retries;
            }
        }
        if retries >= FLOOR + requests * u64::from(percent) / 100 {
            return false;
        }
        self.update(now_ms, |requests, retries| (requests, retries + 1));
        true
    }

    fn update(&self, now_ms: u64, change: impl Fn(u64, u64) -> (u64, u64)) {
        let window = (now_ms / WINDOW_MS) & 0xff_ffff;
        let result = self.now.fetch_update(Relaxed, Relaxed, |word| {
            let (known, requests, retries) = unpack(word);
            let (requests, retries) = if known == window { change(requests, retries) } else { change(0, 0) };
            Some(pack(window, requests, retries))
        });
        if let Ok(before) = result
            && unpack(before).0 != window
        {
            self.last.store(before, Relaxed);
        }
    }
}

/// Whether a request may be sent twice although the first may have had its effect (RFC 9110, section 9.2.2).
pub fn is_idempotent(method: &Method) -> bool {
    matches!(
        *method,
        Method::GET | Method::HEAD | Method::OPTIONS | Method::TRACE | Method::PUT | Method::DELETE
    )
}
