//! The authority as it is now.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{self, watcher};
use model::codes::Coded as _;
use model::identity::TrustDomain;
use tokio::sync::watch;

use crate::authority::{AuthorityStore, State, Watched};
use crate::error::chain;
use crate::names::AUTHORITY_SECRET;

/// Follows the authority's Secret: `None` until there is one. What cannot be used is refused, and the last good one stays
/// in force. Does not end.
pub async fn follow(
    store: AuthorityStore,
    trust_domain: TrustDomain,
    sender: watch::Sender<Option<Arc<State>>>,
) {
    // A watch that went silent is given up soon after this.
    let config = watcher::Config::default().timeout(30).fields(&format!("metadata.name={AUTHORITY_SECRET}"));
    let mut watched = Watched::new(&trust_domain);
    loop {
        let mut events = std::pin::pin!(watcher(store.api().clone(), config.clone()).default_backoff());
        while let Some(event) = events.next().await {
            match event.map(|event| watched.next(event)) {
                Ok(Some(Ok(state))) => {
                    sender.send_replace(Some(Arc::new(state)));
                }
                Ok(Some(Err(error))) => {
                    tracing::error!(
                        code = error.code().id,
                        "the authority cannot be used: {}; a last good one stays in force",
                        chain(&error)
                    );
                }
                Ok(None) => {}
                Err(error) => tracing::warn!("the authority cannot be watched: {}", chain(&error)),
            }
        }
        // Watches end only by a defect.
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}
