//! How far this clock is from the API server's. Whatever signs asks here first; as long as nobody could compare the two,
//! the answer is no.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use kube::Client;
use kube::api::GetParams;
use kube::core::Request;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc2822;

use crate::error::{Error, Result};

/// Clocks may differ so much: certificates begin five minutes in the past.
const TOLERANCE: i64 = 120;
/// Stands for a difference that nobody knows.
const UNKNOWN: i64 = i64::MIN;

/// The difference, as it was measured last. Clones share it.
#[derive(Clone, Debug)]
pub struct Clock(Arc<AtomicI64>);

impl Default for Clock {
    fn default() -> Self {
        Self(Arc::new(AtomicI64::new(UNKNOWN)))
    }
}

impl Clock {
    /// What was measured: so many seconds ahead of the API server. `None` when its answer had no time in it.
    pub fn set(&self, ahead: Option<i64>) {
        self.0.store(ahead.unwrap_or(UNKNOWN), Ordering::Relaxed);
    }

    /// What was measured last.
    pub fn ahead(&self) -> Option<i64> {
        Some(self.0.load(Ordering::Relaxed)).filter(|ahead| *ahead != UNKNOWN)
    }

    /// Refuses to sign by a clock that differs from the API server's, or that was compared with nothing.
    ///
    /// # Errors
    ///
    /// When it does.
    pub fn check(&self) -> Result<()> {
        let Some(ahead) = self.ahead() else { return Err(Error::ClockUnknown) };
        if ahead.abs() <= TOLERANCE {
            return Ok(());
        }
        let direction = if ahead > 0 { "ahead of" } else { "behind" };
        Err(Error::Clock { seconds: ahead.unsigned_abs(), direction })
    }
}

/// Asks the API server for its time: by the header of an answer, which every HTTP server with a clock gives. For a
/// controller that writes no Lease; its stamp is as good.
///
/// # Errors
///
/// When it does not answer.
pub async fn measure(client: &Client) -> Result<Option<i64>> {
    let action = || "tell its time".to_owned();
    let request = Request::new("").get("version", &GetParams::default());
    let request =
        request.map_err(|error| Error::Unreachable { action: action(), reason: error.to_string() })?;
    let answer = client.send(request.map(Into::into)).await.map_err(Error::api(action()))?;
    let date = answer.headers().get("date").and_then(|value| value.to_str().ok());
    Ok(date.and_then(|date| ahead(date, OffsetDateTime::now_utc())))
}

/// How far `now` is ahead of a date as HTTP writes it (RFC 9110, 5.6.7: RFC 5322 with GMT).
fn ahead(date: &str, now: OffsetDateTime) -> Option<i64> {
    let server = OffsetDateTime::parse(date, &Rfc2822).ok()?;
    Some(now.unix_timestamp() - server.unix_timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_was_not_compared_signs_nothing() {
        let clock = Clock::default();
        assert!(matches!(clock.check(), Err(Error::ClockUnknown)));
        clock.set(Some(-3));
        assert!(clock.check().is_ok());
        // The answer had no time in it: what was known before counts no longer.
        clock.set(None);
        assert!(matches!(clock.check(), Err(Error::ClockUnknown)));
    }

    #[test]
    fn two_minutes_are_the_limit_in_both_directions() {
        let clock = Clock::default();
        for (ahead, fine) in [(120, true), (-120, true), (121, false), (-121, false), (3600, false)] {
            clock.set(Some(ahead));
            assert_eq!(clock.check().is_ok(), fine, "{ahead}");
        }
        clock.set(Some(-3600));
        let why = clock.check().unwrap_err().to_string();
        assert!(why.contains("3600") && why.contains("behind"), "{why}");
    }

    #[test]
    fn a_date_of_http_is_read() {
        let now = time::macros::datetime!(2026-11-01 12:00:05 UTC);
        assert_eq!(ahead("Sun, 01 Nov 2026 12:00:00 GMT", now), Some(5));
        assert_eq!(ahead("yesterday", now), None);
    }
}
