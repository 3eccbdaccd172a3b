//! Whether an endpoint may be used: passive (requests that failed), active (questions asked of it), and how
//! fast it has been. All of it is atomic, because every worker reads and writes it.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

#[cfg(test)]
mod tests;

/// Milliseconds since this process began to serve; never 0.
pub fn now_ms() -> u64 {
    static START: OnceLock<Instant> = OnceLock::new();
    let elapsed = START.get_or_init(Instant::now).elapsed();
    u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX - 1) + 1
}

/// What is known of an endpoint's health.
#[derive(Debug, Default)]
pub struct Health {
    fails: AtomicU32,
    /// When the present run of failures began, and when the last one was.
    first_fail: AtomicU64,
    /// Left out until then; 0 for not at all.
    out_until: AtomicU64,
    /// An active check found it ill.
    ill: AtomicBool,
    /// Answers of active checks in a row that disagree with `ill`.
    streak: AtomicU32,
    /// Moving average of the time to an answer's headers, in microseconds; 0 while unknown.
    latency_us: AtomicU64,
    last_sample: AtomicU64,
}

impl Health {
    /// Whether it may be used at this time.
    pub fn is_usable(&self, now: u64) -> bool {
        !self.ill.load(Relaxed) && self.out_until.load(Relaxed) <= now
    }

    /// Whether an active check found it ill.
    pub fn is_ill(&self) -> bool {
        self.ill.load(Relaxed)
    }

    /// A request failed on it. `max_fails` of them within `span` leave it out for `span`; 0 never does.
    /// Says whether it was left out just now.
    pub fn failed(&self, now: u64, max_fails: u32, span: Duration) -> bool {
        if max_fails == 0 {
            return false;
        }
        let span = millis(span);
        if now.saturating_sub(self.first_fail.load(Relaxed)) > span {
            self.first_fail.store(now, Relaxed);
            self.fails.store(0, Relaxed);
        }
        let fails = self.fails.fetch_add(1, Relaxed).saturating_add(1);
        if fails < max_fails {
            return false;
        }
        // One more failure after the time out is enough to leave it out again, as in nginx.
        self.out_until.swap(now + span, Relaxed) <= now
    }

    /// A request went well on it.
    pub fn succeeded(&self, now: u64) {
        // Plain reads first: this is on the way of every request, and the cache line is shared.
        if self.fails.load(Relaxed) != 0 && self.out_until.load(Relaxed) <= now {
            self.fails.store(0, Relaxed);
        }
    }

    /// An active check was answered. Says whether that changed the verdict.
    pub fn checked(&self, good: bool, rise: u32, fall: u32) -> bool {
        let ill = self.ill.load(Relaxed);
        if good != ill {
            self.streak.store(0, Relaxed);
            return false;
        }
        let streak = self.streak.fetch_add(1, Relaxed) + 1;
        let needed = if ill { rise } else { fall };
        if streak < needed.max(1) {
            return false;
        }
        self.streak.store(0, Relaxed);
        self.ill.store(!ill, Relaxed);
        if ill {
            self.out_until.store(0, Relaxed);
            self.fails.store(0, Relaxed);
        }
        true
    }

    /// Takes a request's latency into the moving average, which forgets over about ten seconds.
    pub fn observe(&self, latency: Duration, now: u64) {
        let sample = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX).clamp(1, u64::MAX >> 16);
        let before = self.latency_us.load(Relaxed);
        let age = now.saturating_sub(self.last_sample.swap(now, Relaxed));
        // A worse sample counts at once (peak EWMA), a better one by its share.
        let value = if before == 0 || sample > before {
            sample
        } else {
            let share = (age.saturating_mul(256) / 10_000).clamp(16, 256);
            (before * (256 - share) + sample * share) / 256
        };
        self.latency_us.store(value.max(1), Relaxed);
    }

    /// The moving average in microseconds; 0 while unknown.
    pub fn latency_us(&self) -> u64 {
        self.latency_us.load(Relaxed)
    }
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX >> 1)
}
