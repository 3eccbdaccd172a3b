//! Times as logs and headers write them. All are UTC.

use std::cell::RefCell;
use std::sync::OnceLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use time::OffsetDateTime;
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;

const LOG: &[BorrowedFormatItem<'static>] =
    format_description!("[day]/[month repr:short]/[year]:[hour]:[minute]:[second] +0000");
const ISO: &[BorrowedFormatItem<'static>] =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]+00:00");
const CERTIFICATE: &[BorrowedFormatItem<'static>] =
    format_description!("[month repr:short] [day padding:space] [hour]:[minute]:[second] [year] GMT");
const HTTP: &[BorrowedFormatItem<'static>] =
    format_description!("[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] GMT");

fn since_epoch() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

fn format(seconds: i64, form: &[BorrowedFormatItem<'static>]) -> String {
    OffsetDateTime::from_unix_timestamp(seconds).ok().and_then(|t| t.format(form).ok()).unwrap_or_default()
}

/// `$time_iso8601`: the second is formatted once.
pub(super) fn iso8601() -> String {
    thread_local!(static LAST: RefCell<(i64, String)> = const { RefCell::new((0, String::new())) });
    cached(&LAST, ISO)
}

/// `$time_local`, as in `24/Nov/2026:03:53:29 +0000`.
pub fn log_time() -> String {
    thread_local!(static LAST: RefCell<(i64, String)> = const { RefCell::new((0, String::new())) });
    cached(&LAST, LOG)
}

fn cached(
    last: &'static std::thread::LocalKey<RefCell<(i64, String)>>,
    form: &[BorrowedFormatItem<'static>],
) -> String {
    let now = since_epoch().as_secs().cast_signed();
    last.with_borrow_mut(|last| {
        if last.0 != now {
            *last = (now, format(now, form));
        }
        last.1.clone()
    })
}

/// `$msec`.
pub(super) fn msec() -> String {
    super::seconds(since_epoch())
}

/// As OpenSSL prints a certificate's dates: `Nov 24 03:53:29 2026 GMT`.
pub(super) fn certificate_date(seconds: i64) -> String {
    format(seconds, CERTIFICATE)
}

/// Days from now, rounded down; 0 where it is past.
pub(super) fn days_until(seconds: i64) -> i64 {
    (seconds - since_epoch().as_secs().cast_signed()).max(0) / 86_400
}

/// An HTTP date (RFC 9110, section 5.6.7).
pub fn http_date(time: SystemTime) -> String {
    let seconds = match time.duration_since(UNIX_EPOCH) {
        Ok(after) => after.as_secs().cast_signed(),
        Err(before) => -before.duration().as_secs().cast_signed(),
    };
    format(seconds, HTTP)
}

/// `$hostname`, read once.
pub(super) fn hostname() -> &'static str {
    static NAME: OnceLock<String> = OnceLock::new();
    NAME.get_or_init(|| {
        std::fs::read_to_string("/proc/sys/kernel/hostname")
            .map(|name| name.trim().to_owned())
            .unwrap_or_default()
    })
}
