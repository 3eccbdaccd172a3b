//! The certificates of a node's pods: one for each identity, however many pods have it, for as long as one of them is
//! carried.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use model::identity::SpiffeId;
use model::mesh::Trust;
use proxy::mesh::Credential;
use tokio::sync::watch;
use wire::client::Adopting;

use crate::commands::mesh::proxy::identity::ControlPlane;
use crate::commands::mesh::proxy::keep::{Keeping, keep};

/// A certificate, once there is one; then each that follows it.
pub type Awaited = watch::Receiver<Option<watch::Receiver<Arc<Credential>>>>;

/// How certificates are asked for, and who is told of what was taken up.
pub struct Asking {
    /// Who gives them; the identity is put into it.
    pub source: ControlPlane,
    /// The roots of the volume, PEM.
    pub roots: watch::Receiver<Arc<Vec<u8>>>,
    /// Whom to trust and who issues, as the control plane says.
    pub trust: watch::Receiver<Option<Arc<Trust>>>,
    /// How far each is.
    pub adopting: Adopting,
}

/// All of them.
pub struct Identities {
    asking: Asking,
    known: Mutex<HashMap<SpiffeId, Awaited>>,
}

impl Identities {
    /// With nobody yet.
    pub fn new(asking: Asking) -> Self {
        Self { asking, known: Mutex::default() }
    }

    /// The certificate of an identity, which is asked for if nobody has it yet.
    pub fn of(&self, identity: &SpiffeId) -> Awaited {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = known.get(identity) {
            return found.clone();
        }
        let (sender, receiver) = watch::channel(None);
        known.insert(identity.clone(), receiver.clone());
        let Asking { source, roots, trust, adopting } = &self.asking;
        let keeping = Keeping {
            source: ControlPlane { identity: identity.clone(), impersonated: true, ..source.clone() },
            identity: identity.clone(),
            roots: roots.clone(),
            trust: trust.clone(),
            adopter: adopting.enter(&identity.to_string()),
        };
        tokio::spawn(async move {
            let first = tokio::select! {
                kept = keep(keeping) => kept,
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
