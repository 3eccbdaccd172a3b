//! The certificates of a node's pods: one for each identity, however many pods have it, for as long as one of them is
//! carried.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use model::identity::SpiffeId;
use proxy::mesh::Credential;
use tokio::sync::watch;

use crate::commands::mesh::proxy::identity::{Asking, keep};

/// A certificate, once there is one; then each that follows it.
pub type Awaited = watch::Receiver<Option<watch::Receiver<Arc<Credential>>>>;

/// All of them.
pub struct Identities {
    /// How it is asked for; the identity is put into it.
    asking: Asking,
    known: Mutex<HashMap<SpiffeId, Awaited>>,
}

impl Identities {
    /// With nobody yet.
    pub fn new(asking: Asking) -> Self {
        Self { asking: Asking { for_another: true, ..asking }, known: Mutex::default() }
    }

    /// The certificate of an identity, which is asked for if nobody has it yet.
    pub fn of(&self, identity: &SpiffeId) -> Awaited {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = known.get(identity) {
            return found.clone();
        }
        let (sender, receiver) = watch::channel(None);
        known.insert(identity.clone(), receiver.clone());
        let asking = Asking { identity: identity.clone(), ..self.asking.clone() };
        tokio::spawn(async move {
            let first = tokio::select! {
                kept = keep(asking) => kept,
                () = sender.closed() => return,
            };
            sender.send_replace(Some(first));
            sender.closed().await;
        });
        receiver
    }

    /// Lets go of those that nobody has any more.
    pub fn keep_only(&self, used: &std::collections::HashSet<SpiffeId>) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|identity, _| used.contains(identity));
    }
}
