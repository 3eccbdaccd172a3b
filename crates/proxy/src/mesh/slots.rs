//! How much of something may be taken: in all, and by one, so that one who takes it without end keeps nobody else out.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Places, and who has them.
pub(super) struct Slots<K: Eq + Hash> {
    all: usize,
    of_one: usize,
    taken: Mutex<Taken<K>>,
}

struct Taken<K> {
    all: usize,
    by: HashMap<K, usize>,
}

/// One place; dropping it gives it back.
pub(super) struct Slot<K: Eq + Hash> {
    slots: Arc<Slots<K>>,
    who: K,
}

impl<K: Eq + Hash + Clone> Slots<K> {
    /// So many in all, and so many for one.
    pub(super) fn new(all: usize, of_one: usize) -> Arc<Self> {
        Arc::new(Self { all, of_one, taken: Mutex::new(Taken { all: 0, by: HashMap::new() }) })
    }

    /// A place; or why there is none.
    pub(super) fn take(self: &Arc<Self>, who: &K) -> Result<Slot<K>, String> {
        let mut taken = self.lock();
        if taken.all >= self.all {
            return Err(format!("{} are open", self.all));
        }
        let own = taken.by.get(who).copied().unwrap_or_default();
        if own >= self.of_one {
            return Err(format!("{} of this caller are open", self.of_one));
        }
        taken.by.insert(who.clone(), own + 1);
        taken.all += 1;
        Ok(Slot { slots: Arc::clone(self), who: who.clone() })
    }
}

impl<K: Eq + Hash> Slots<K> {
    fn lock(&self) -> MutexGuard<'_, Taken<K>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Eq + Hash> Drop for Slot<K> {
    fn drop(&mut self) {
        let mut taken = self.slots.lock();
        taken.all = taken.all.saturating_sub(1);
        match taken.by.get_mut(&self.who) {
            Some(own) if *own > 1 => *own -= 1,
            _ => {
                taken.by.remove(&self.who);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_caller_keeps_nobody_else_out() {
        let slots = Slots::new(10, 3);
        let take = |who: &str, count: usize| -> Vec<_> {
            (0..count).map(|_| slots.take(&who.to_owned()).unwrap_or_else(|e| panic!("{e}"))).collect()
        };
        let mut one = take("one", 3);
        assert!(slots.take(&"one".to_owned()).is_err_and(|why| why == "3 of this caller are open"));
        let other = take("two", 3);
        one.pop();
        one.extend(take("one", 1));
        let more = (take("three", 3), take("four", 1));
        assert!(slots.take(&"five".to_owned()).is_err_and(|why| why == "10 are open"));
        drop((one, other, more));
        assert!(slots.lock().by.is_empty() && slots.lock().all == 0, "callers are forgotten");
    }
}
