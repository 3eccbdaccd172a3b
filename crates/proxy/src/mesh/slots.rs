//! How many tunnels to a workload may be open: in all, and by one caller, so that one who opens them without end keeps
//! nobody else out.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use model::identity::SpiffeId;

/// Tunnels to one workload at one time.
const ALL: usize = 8192;
/// Of them, those of one identity.
const OF_ONE: usize = ALL / 4;

/// The open tunnels to a workload.
#[derive(Default)]
pub(super) struct Slots(Mutex<Taken>);

#[derive(Default)]
struct Taken {
    all: usize,
    by: HashMap<SpiffeId, usize>,
}

/// The place of one tunnel; dropping it gives it back.
pub(super) struct Slot {
    slots: Arc<Slots>,
    caller: SpiffeId,
}

impl Slots {
    /// A place for a tunnel of this caller; or why there is none.
    pub(super) fn take(self: &Arc<Self>, caller: &SpiffeId) -> Result<Slot, String> {
        let mut taken = self.lock();
        if taken.all >= ALL {
            return Err(format!("{ALL} are open"));
        }
        let own = taken.by.entry(caller.clone()).or_default();
        if *own >= OF_ONE {
            return Err(format!("{OF_ONE} of this caller are open"));
        }
        *own += 1;
        taken.all += 1;
        Ok(Slot { slots: Arc::clone(self), caller: caller.clone() })
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut taken = self.slots.lock();
        taken.all = taken.all.saturating_sub(1);
        match taken.by.get_mut(&self.caller) {
            Some(own) if *own > 1 => *own -= 1,
            _ => {
                taken.by.remove(&self.caller);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_caller_keeps_nobody_else_out() {
        let slots = Arc::new(Slots::default());
        let id = |name: &str| format!("spiffe://cluster.local/ns/a/sa/{name}").parse::<SpiffeId>().unwrap();
        let mut taken: Vec<Slot> =
            (0..OF_ONE).map(|_| slots.take(&id("one")).unwrap_or_else(|e| panic!("{e}"))).collect();
        assert!(slots.take(&id("one")).is_err_and(|why| why.contains("of this caller")));
        let other = slots.take(&id("two")).unwrap_or_else(|e| panic!("{e}"));
        taken.pop();
        taken.push(slots.take(&id("one")).unwrap_or_else(|e| panic!("{e}")));
        for name in ["three", "four", "five"] {
            taken.extend((0..OF_ONE).map_while(|_| slots.take(&id(name)).ok()));
        }
        assert!(slots.take(&id("six")).is_err_and(|why| why == format!("{ALL} are open")));
        drop((taken, other));
        assert!(slots.lock().by.is_empty() && slots.lock().all == 0, "callers are forgotten");
    }
}
