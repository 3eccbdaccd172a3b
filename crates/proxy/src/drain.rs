//! The wish that connections end: said once per listener generation, heard by each of its connections.
//! HTTP/1 then closes after the request under way, HTTP/2 sends GOAWAY, TCP goes on until the deadline.

use std::sync::Arc;

use tokio::sync::watch;

/// Says the wish. Kept by the listener's state; generations that behave alike share it.
#[derive(Clone, Debug)]
pub struct DrainTrigger(Arc<watch::Sender<bool>>);

impl Default for DrainTrigger {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(false)))
    }
}

impl DrainTrigger {
    /// From now on every connection that listens is asked to end.
    pub fn begin(&self) {
        self.0.send_replace(true);
    }

    /// Something to listen with.
    pub fn subscribe(&self) -> Drain {
        Drain(self.0.subscribe())
    }

    /// Whether it was said.
    pub fn has_begun(&self) -> bool {
        *self.0.borrow()
    }

    /// Whether both are one.
    pub(crate) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

/// Hears the wish.
#[derive(Clone, Debug)]
pub struct Drain(watch::Receiver<bool>);

impl Drain {
    /// Whether it was said.
    pub fn has_begun(&self) -> bool {
        *self.0.borrow()
    }

    /// Waits until it is said; also returns when the listener's state is gone.
    pub async fn begun(&mut self) {
        // An error means that the trigger was dropped with its listener: there is nothing to stay for.
        let _ = self.0.wait_for(|begun| *begun).await;
    }
}
