//! The renewal that stays: it waits for the time, renews, and tells whoever uses the certificate until that
//! worked. Neither a failing renewal nor a failing hook holds up the other.

use std::time::Duration;

use certs::{Authority, Record};
use time::OffsetDateTime;

use super::{Args, on_disk, renew, revoke_old};
use crate::commands::Globals;
use crate::commands::cert::written::{self, Files};
use crate::failure::{Failure, Outcome};

/// How long it waits after a failed renewal; it doubles up to `LONGEST_PAUSE`.
const FIRST_PAUSE: Duration = Duration::from_secs(10);
/// The same after a failed hook: a server that is just starting is ready soon.
const FIRST_HOOK_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(600);
/// It looks at the clock and the file this often: clocks are set, laptops sleep, people renew by hand.
const LOOK: Duration = Duration::from_secs(30);

/// Something that is tried until it works, less and less often.
struct Retry {
    at: OffsetDateTime,
    pause: Duration,
}

impl Retry {
    fn new(at: OffsetDateTime, pause: Duration) -> Self {
        Self { at, pause }
    }

    fn failed(&mut self, failure: &Failure) {
        eprintln!("{failure}  next:  it is tried again in {:?}", self.pause);
        self.at = OffsetDateTime::now_utc() + self.pause;
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
    }
}

/// Renews until the process is ended.
pub fn run(args: &Args, globals: &Globals, mut record: Record, files: &Files) -> Outcome {
    let mut renewal = Retry::new(OffsetDateTime::UNIX_EPOCH, FIRST_PAUSE);
    // Those who use the old certificates and were not told yet.
    let (mut untold, mut telling) = (Vec::new(), Retry::new(OffsetDateTime::UNIX_EPOCH, FIRST_HOOK_PAUSE));
    let mut announced = None;
    loop {
        // Somebody may have renewed it by hand, or put an older one back.
        let ledger = Authority::open_ledger(&globals.dir).ok();
        record = ledger.and_then(|ledger| on_disk(&ledger, files, &record.name)).unwrap_or(record);
        let due = record.renew_at();
        if announced.as_ref() != Some(&record.serial) {
            eprintln!("{} (serial {}) is renewed at {}", record.name, record.serial, certs::rfc3339(due));
            announced = Some(record.serial.clone());
        }
        let now = OffsetDateTime::now_utc();
        if now >= due.max(renewal.at) {
            match renew(globals, &record, files) {
                Ok(issued) => {
                    renewal = Retry::new(now, FIRST_PAUSE);
                    telling = Retry::new(now, FIRST_HOOK_PAUSE);
                    untold.push(std::mem::replace(&mut record, issued.record.clone()));
                    written::issued(globals, &issued, files)?;
                }
                Err(failure) => {
                    renewal.failed(&failure);
                    let left = record.not_after - OffsetDateTime::now_utc();
                    eprintln!("the old certificate is valid for {left:.0} more");
                }
            }
        }
        if !untold.is_empty() && now >= telling.at {
            // The certificate is in place; what does not reload now may read it later. The old one is
            // revoked only once its user has the new one.
            let told = args
                .reload
                .run()
                .and_then(|()| untold.iter().try_for_each(|old| revoke_old(globals, old, args.revoke_old)));
            match told {
                Ok(()) => untold.clear(),
                Err(failure) => telling.failed(&failure),
            }
        }
        let mut next = record.renew_at().max(renewal.at);
        if !untold.is_empty() {
            next = next.min(telling.at);
        }
        if let Ok(left) = Duration::try_from(next - OffsetDateTime::now_utc()) {
            std::thread::sleep(left.min(LOOK));
        }
    }
}
