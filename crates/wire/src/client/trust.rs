//! Whom to trust, from being told to being in force. A proxy says yes to what it is told only when all of its credentials
//! trust exactly these roots and are of who issues now; so at the control plane "acknowledged" means that the next step of a
//! rotation breaks nothing here. Pure but for a watch; the stream is in [`super::discovery`].

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use model::mesh::Trust;
use tokio::sync::watch;
use tokio::time::Instant;

/// How long a proxy may take before it says why it is not done.
pub(super) const PATIENCE: Duration = Duration::from_secs(90);
/// How many credentials are named of those that are not done.
const NAMED: usize = 3;

/// How far each credential of a proxy is. Copies show the same.
#[derive(Clone, Debug)]
pub struct Adopting(watch::Sender<BTreeMap<String, Stand>>);

/// How far one credential is.
#[derive(Clone, Debug, Default)]
pub(super) struct Stand {
    /// What it has wholly taken up.
    in_force: Option<Arc<Trust>>,
    /// Why it has not taken up what is newer.
    why: Option<String>,
}

impl Default for Adopting {
    fn default() -> Self {
        Self(watch::channel(BTreeMap::new()).0)
    }
}

impl Adopting {
    /// A credential that has to take up whatever is told, until what is given is dropped.
    pub fn enter(&self, who: &str) -> Adopter {
        self.0.send_modify(|all| drop(all.insert(who.to_owned(), Stand::default())));
        Adopter { all: self.clone(), who: who.to_owned() }
    }

    pub(super) fn watch(&self) -> watch::Receiver<BTreeMap<String, Stand>> {
        self.0.subscribe()
    }

    /// Who has not taken it up, and why; empty where everybody has.
    pub fn missing(&self, trust: &Trust) -> Missing {
        let all = self.0.borrow();
        let missing = all.iter().filter(|(_, stand)| stand.in_force.as_deref() != Some(trust));
        let why =
            |stand: &Stand| stand.why.clone().unwrap_or_else(|| "it has not taken it up yet".to_owned());
        missing.map(|(who, stand)| (who.clone(), why(stand))).collect()
    }
}

/// What is missing of each credential that is not done, by its name.
pub type Missing = BTreeMap<String, String>;

fn named(missing: &Missing) -> String {
    let mut text: Vec<String> =
        missing.iter().take(NAMED).map(|(who, why)| format!("{who}: {why}")).collect();
    if missing.len() > NAMED {
        text.push(format!("and {} more", missing.len() - NAMED));
    }
    text.join("; ")
}

/// One credential's word.
#[derive(Debug)]
pub struct Adopter {
    all: Adopting,
    who: String,
}

impl Adopter {
    /// New handshakes trust exactly its roots, and the certificate is of who issues now.
    pub fn in_force(&self, trust: &Arc<Trust>) {
        self.say(Stand { in_force: Some(Arc::clone(trust)), why: None });
    }

    /// It was not taken up, for now.
    pub fn not_yet(&self, why: &str) {
        self.all.0.send_modify(|all| {
            if let Some(stand) = all.get_mut(&self.who) {
                stand.why = Some(why.to_owned());
            }
        });
    }

    fn say(&self, stand: Stand) {
        self.all.0.send_modify(|all| {
            if let Some(own) = all.get_mut(&self.who) {
                *own = stand;
            }
        });
    }
}

impl Drop for Adopter {
    fn drop(&mut self) {
        self.all.0.send_modify(|all| drop(all.remove(&self.who)));
    }
}

/// An answer that was taken in, and is not in force yet.
#[derive(Debug)]
pub(super) struct Waiting {
    /// The answer.
    pub(super) nonce: String,
    /// What it said; none where the control plane has no trust to tell of.
    pub(super) trust: Option<Arc<Trust>>,
    /// When it is said why it is not in force.
    pub(super) late: Instant,
    /// It was said.
    pub(super) refused: bool,
}

/// What is to be said on an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Word {
    Yes,
    NotYet(String),
}

impl Waiting {
    pub(super) fn new(nonce: String, trust: Option<Arc<Trust>>, now: Instant) -> Self {
        Self { nonce, trust, late: now + PATIENCE, refused: false }
    }

    /// What can be said now. A yes may come after a no, when what was missing came at last.
    pub(super) fn word(&self, adopting: &Adopting, now: Instant) -> Option<Word> {
        let missing = self.trust.as_deref().map(|trust| adopting.missing(trust)).unwrap_or_default();
        if missing.is_empty() {
            return Some(Word::Yes);
        }
        (now >= self.late && !self.refused).then(|| Word::NotYet(named(&missing)))
    }
}
