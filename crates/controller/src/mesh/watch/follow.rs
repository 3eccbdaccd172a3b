//! One kind: listed, then watched, for as long as the process runs.
//!
//! A watch may go silent without an end: the connection is half open, or the API server is away and nobody says so. So a
//! watch lasts half a minute and is then asked for anew from where it was, which costs nothing where nothing changed; the
//! API server ends it, and one that it does not end is given up. A kind that is followed is heard of at least this often,
//! and one that is not can be told from one where nothing happens.

use std::fmt::Debug;
use std::time::Duration;

use futures_util::StreamExt as _;
use kube::Api;
use kube::api::{WatchEvent, WatchParams};
use serde::de::DeserializeOwned;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::super::list::pages;
use super::kept::Kept;
use crate::error::chain;

/// How long things may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Periods {
    /// A watch; whole seconds, and at least one.
    pub(super) watch: Duration,
    /// What is waited beyond that, and for the answer to a request.
    pub(super) margin: Duration,
    /// A list of everything.
    pub(super) list: Duration,
    /// After the first error; twice as long after each further one, up to `longest`.
    pub(super) again: Duration,
    pub(super) longest: Duration,
}

impl Default for Periods {
    fn default() -> Self {
        Self {
            watch: Duration::from_secs(30),
            margin: Duration::from_secs(10),
            list: Duration::from_secs(60),
            again: Duration::from_secs(1),
            longest: Duration::from_secs(15),
        }
    }
}

/// Why a watch is over.
enum Over {
    /// Its time has come: the next one goes on where it was.
    Time,
    /// What it would go on from is forgotten.
    Forgotten,
    /// The kind is not there any more.
    Absent,
    Failed(String),
}

/// Keeps a kind. Returns only when the API server has no such kind.
pub(super) async fn follow<O, T>(api: &Api<O>, kept: &Kept<T>, keep: fn(O) -> T, periods: Periods)
where
    O: kube::Resource + Clone + DeserializeOwned + Debug + Send + 'static,
{
    let mut wait = periods.again;
    loop {
        let with_place = |object: O| (object.meta().clone(), keep(object));
        let mut version = match timeout(periods.list, pages(api, with_place)).await {
            Ok(Ok((all, version))) => {
                kept.replace(all);
                wait = periods.again;
                version
            }
            Ok(Err(error)) if is_absent(&error) => return,
            failed => {
                let why = failed.map_or_else(
                    |_| "the API server does not answer".to_owned(),
                    |listed| listed.err().map(|error| chain(&error)).unwrap_or_default(),
                );
                tracing::warn!("{} cannot be listed: {why}", kept.kind());
                sleep(wait).await;
                wait = (wait * 2).min(periods.longest);
                continue;
            }
        };
        loop {
            let begun = Instant::now();
            match watch(api, kept, keep, periods, &mut version).await {
                Over::Time => {
                    wait = periods.again;
                    // One that ends at once is none.
                    sleep_until(begun + periods.again).await;
                }
                Over::Forgotten => break,
                Over::Absent => return,
                Over::Failed(why) => {
                    tracing::warn!("{} cannot be watched: {why}", kept.kind());
                    sleep(wait).await;
                    wait = (wait * 2).min(periods.longest);
                }
            }
        }
    }
}

async fn watch<O, T>(
    api: &Api<O>,
    kept: &Kept<T>,
    keep: fn(O) -> T,
    periods: Periods,
    version: &mut String,
) -> Over
where
    O: kube::Resource + Clone + DeserializeOwned + Debug + Send + 'static,
{
    let seconds = u32::try_from(periods.watch.as_secs()).unwrap_or(u32::MAX).max(1);
    let params = WatchParams::default().timeout(seconds);
    let events = match timeout(periods.margin, api.watch(&params, version)).await {
        Ok(Ok(events)) => events,
        Ok(Err(error)) => return over(error),
        Err(_) => return Over::Failed("the API server does not answer".to_owned()),
    };
    // It knows of the kind, and has nothing else to say than what follows.
    kept.heard();
    let mut events = std::pin::pin!(events);
    loop {
        let event = match timeout(periods.watch + periods.margin, events.next()).await {
            Ok(Some(Ok(event))) => event,
            Ok(Some(Err(error))) => return over(error),
            Ok(None) => return Over::Time,
            Err(_) => return Over::Failed("nothing was heard for too long".to_owned()),
        };
        let object = match event {
            WatchEvent::Bookmark(mark) => {
                *version = mark.metadata.resource_version;
                kept.heard();
                continue;
            }
            WatchEvent::Error(status) if status.code == 410 => return Over::Forgotten,
            WatchEvent::Error(status) => return Over::Failed(status.message),
            WatchEvent::Added(object) | WatchEvent::Modified(object) => Ok(object),
            WatchEvent::Deleted(object) => Err(object),
        };
        let (Ok(of) | Err(of)) = &object;
        let metadata = of.meta().clone();
        if let Some(new) = &metadata.resource_version {
            version.clone_from(new);
        }
        match object {
            Ok(object) => kept.put(&metadata, keep(object)),
            Err(_) => kept.remove(&metadata),
        }
    }
}

fn over(error: kube::Error) -> Over {
    match &error {
        kube::Error::Api(status) if status.code == 410 => Over::Forgotten,
        error if is_absent(error) => Over::Absent,
        error => Over::Failed(chain(error)),
    }
}

fn is_absent(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 404)
}
