//! Judged tokens, remembered for a moment. Whoever reaches the port of proxies can have a token judged, and each time the
//! API server is asked; so equal questions are asked once, answers are kept for a while, and only so many are asked at one
//! time. What is kept is whose token it is, never what may be had for it: the pod is looked up each time.

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Shared};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};

use crate::mesh::issue::Bearer;
use crate::signer::Denial;

/// How long it is known whose a token is. A token that ends meanwhile is good for so much longer.
const GOOD: Duration = Duration::from_secs(60);
/// How long it is known that a token is nobody's.
const BAD: Duration = Duration::from_secs(5);
/// Reviews at one time.
const AT_ONCE: usize = 16;
/// How long one waits for its turn, and then for its answer.
const WAIT: Duration = Duration::from_secs(5);
/// Tokens that are remembered; beyond that everybody asks for himself.
const MOST: usize = 16_384;

/// The API server's answer; an error where it could not be asked.
pub(super) type Answer = Result<Result<Bearer, Denial>, String>;

type Pending = Shared<BoxFuture<'static, Answer>>;

/// The tokens that were judged a moment ago, or are being judged.
pub struct Reviews {
    /// By SHA-256 of the token, which is itself kept nowhere.
    known: Mutex<HashMap<String, Known>>,
    places: Arc<Semaphore>,
}

struct Known {
    asked: Instant,
    answer: Pending,
}

impl Default for Reviews {
    fn default() -> Self {
        Self { known: Mutex::default(), places: Arc::new(Semaphore::new(AT_ONCE)) }
    }
}

impl Known {
    /// Whether it answers who asks now.
    fn is_good(&self, now: Instant) -> bool {
        let age = now - self.asked;
        match self.answer.peek() {
            // Whoever comes meanwhile waits for the same answer.
            None => age < WAIT * 2,
            Some(Ok(Ok(_))) => age < GOOD,
            Some(Ok(Err(_))) => age < BAD,
            Some(Err(_)) => false,
        }
    }
}

impl Reviews {
    /// Whose token it is: known, or found out by `ask`.
    pub(super) async fn of<F>(&self, token: &str, ask: impl FnOnce() -> F) -> Answer
    where
        F: Future<Output = Answer> + Send + 'static,
    {
        let answer = self.pending(certs::inspect::fingerprint(token.as_bytes()), ask);
        answer.await
    }

    fn pending<F>(&self, key: String, ask: impl FnOnce() -> F) -> Pending
    where
        F: Future<Output = Answer> + Send + 'static,
    {
        let now = Instant::now();
        let mut known = self.lock();
        if let Some(found) = known.get(&key).filter(|found| found.is_good(now)) {
            return found.answer.clone();
        }
        let (places, asked) = (Arc::clone(&self.places), ask());
        // In a task of its own: whoever goes away takes neither the others' answer nor a place with him.
        let task = tokio::spawn(async move {
            let Ok(Ok(_place)) = timeout(WAIT, places.acquire_owned()).await else {
                return Err("too many tokens are to be judged at this time".to_owned());
            };
            timeout(WAIT, asked)
                .await
                .unwrap_or_else(|_| Err("the API server does not judge the token in time".to_owned()))
        });
        let answer = task.map(|ended| ended.unwrap_or_else(|error| Err(error.to_string()))).boxed().shared();
        if known.len() >= MOST {
            known.retain(|_, one| one.is_good(now));
        }
        if known.len() < MOST {
            known.insert(key, Known { asked: now, answer: answer.clone() });
        }
        answer
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Known>> {
        // Whoever panicked while holding it left whole entries.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
