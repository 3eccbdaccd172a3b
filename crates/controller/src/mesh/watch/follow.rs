//! One kind: listed, then watched, for as long as the process runs.
//!
//! A watch may go silent without an end: the connection is half open, or the API server is away and nobody says so. So a
//! watch lasts half a minute and is then asked for anew from where it was, which costs nothing where nothing changed; the
//! API server ends it, and one that it does not end is given up. A kind that is followed is heard of at least this often,
//! and one that is not can be told from one where nothing happens.
//!
//! What the API server has may also be put back to what it was, when its etcd is restored. A watch from a version that does
//! not exist yet is accepted then and says nothing. So whatever ends a watch before its time means a new list, as the API
//! server is restarted with its etcd; and after one in which nothing came, a list of one object says whether there is
//! something older now.

use std::fmt::Debug;
use std::time::Duration;

use futures_util::StreamExt as _;
use kube::Api;
use kube::api::{WatchEvent, WatchParams};
use serde::de::DeserializeOwned;
use tokio::time::{Instant, sleep, timeout};

use super::super::list::{newest, pages};
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
    /// After the first error, at most; twice as long after each further one, up to `longest`.
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

/// What is waited after errors: longer after each one, and not as long as others wait that lost the same API server.
struct Pause {
    periods: Periods,
    next: Duration,
}

impl Pause {
    fn new(periods: Periods) -> Self {
        Self { periods, next: periods.again }
    }

    async fn wait(&mut self) {
        sleep(self.next.mul_f64(rand::random_range(0.5..=1.0))).await;
        self.next = (self.next * 2).min(self.periods.longest);
    }

    fn reset(&mut self) {
        self.next = self.periods.again;
    }
}

/// Why a watch is over.
enum Over {
    /// Its time has come: the next one goes on where it was.
    Time,
    /// The same, and nothing came.
    Silent,
    /// What it would go on from is forgotten.
    Forgotten,
    /// What it would go on from does not exist: the API server's newest is older.
    PutBack,
    /// The kind is not there any more.
    Absent,
    Failed(String),
}

/// Keeps a kind. Returns only when the API server has no such kind.
pub(super) async fn follow<O, T>(api: &Api<O>, kept: &Kept<T>, keep: fn(O) -> T, periods: Periods)
where
    O: kube::Resource + Clone + DeserializeOwned + Debug + Send + 'static,
{
    let mut pause = Pause::new(periods);
    loop {
        let with_place = |object: O| (object.meta().clone(), keep(object));
        let mut version = match timeout(periods.list, pages(api, with_place)).await {
            Ok(Ok((all, version))) => {
                kept.replace(all);
                version
            }
            Ok(Err(error)) if is_absent(&error) => return,
            failed => {
                let why = failed.map_or_else(
                    |_| "the API server does not answer".to_owned(),
                    |listed| listed.err().map(|error| chain(&error)).unwrap_or_default(),
                );
                tracing::warn!("{} cannot be listed: {why}", kept.kind());
                pause.wait().await;
                continue;
            }
        };
        loop {
            let begun = Instant::now();
            let over = watch(api, kept, keep, periods, &mut version).await;
            let lasted = begun.elapsed();
            let over = match over {
                // A lost connection looks the same as an end.
                Over::Time | Over::Silent if lasted < periods.watch.mul_f64(0.9) => {
                    Over::Failed("it ended before its time".to_owned())
                }
                Over::Silent => compare(api, kept, periods, &version).await,
                over => over,
            };
            match over {
                Over::Time | Over::Silent => pause.reset(),
                Over::Forgotten if lasted >= periods.again => break,
                Over::Forgotten => {
                    pause.wait().await;
                    break;
                }
                Over::PutBack => {
                    tracing::warn!("{} was put back to an older state: it is listed anew", kept.kind());
                    pause.wait().await;
                    break;
                }
                Over::Absent => return,
                Over::Failed(why) => {
                    tracing::warn!("{} cannot be watched: {why}", kept.kind());
                    pause.wait().await;
                    break;
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
    // That it accepts one says nothing: it does so where it will never have anything to say, too.
    let mut silent = true;
    let mut events = std::pin::pin!(events);
    loop {
        let event = match timeout(periods.watch + periods.margin, events.next()).await {
            Ok(Some(Ok(event))) => event,
            Ok(Some(Err(error))) => return over(error),
            Ok(None) if silent => return Over::Silent,
            Ok(None) => return Over::Time,
            Err(_) => return Over::Failed("nothing was heard for too long".to_owned()),
        };
        let object = match event {
            WatchEvent::Bookmark(mark) => {
                *version = mark.metadata.resource_version;
                kept.heard();
                silent = false;
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
        silent = false;
        match object {
            Ok(object) => kept.put(&metadata, keep(object)),
            Err(_) => kept.remove(&metadata),
        }
    }
}

/// Whether nothing came of a watch because nothing happened. The API server marks where it is only when that moved.
async fn compare<O, T>(api: &Api<O>, kept: &Kept<T>, periods: Periods, version: &str) -> Over
where
    O: kube::Resource + Clone + DeserializeOwned + Debug,
{
    let newest = match timeout(periods.margin, newest(api)).await {
        Ok(Ok(newest)) => newest,
        Ok(Err(error)) => return over(error),
        Err(_) => return Over::Failed("the API server does not answer".to_owned()),
    };
    kept.heard();
    // Versions of one resource are numbers that grow (KEP-5504). One that is none says nothing.
    let number = |version: &str| version.parse::<u128>().ok();
    match number(&newest).zip(number(version)) {
        Some((newest, version)) if newest < version => Over::PutBack,
        _ => Over::Time,
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
