//! Who is connected, and how far each has come: for `mesh status`, the dashboard and metrics.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use crate::catalog::{Catalog, Type};

/// The proxies that are connected. Copies show the same.
#[derive(Clone, Debug, Default)]
pub struct Proxies(Arc<Mutex<Connected>>);

#[derive(Debug, Default)]
struct Connected {
    next: u64,
    all: BTreeMap<u64, Record>,
}

#[derive(Clone, Debug)]
struct Record {
    proxy: Proxy,
    types: BTreeMap<Type, Progress>,
}

/// A proxy, and how far it has come.
#[derive(Clone, Debug)]
pub struct Proxy {
    /// What it calls itself.
    pub node: String,
    /// Where it is connected from.
    pub address: SocketAddr,
    /// Who it proved to be.
    pub identity: String,
    /// Since when it is connected.
    pub since: SystemTime,
}

/// How far a proxy has come in one type.
#[derive(Clone, Debug, Default)]
pub struct Progress {
    /// The generation that it was last brought to.
    pub sent: u64,
    /// The generation that it said yes to.
    pub acknowledged: u64,
    /// The last answer that it refused, and when; also when it has taken later ones.
    pub refused: Option<(String, SystemTime)>,
}

/// What a proxy lacks of one type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Behind {
    /// How many resources became otherwise since what it said yes to; none where that is so long ago that nobody
    /// remembers.
    pub resources: Option<usize>,
    /// Since when.
    pub since: SystemTime,
}

/// A proxy at one moment.
#[derive(Clone, Debug)]
pub struct Status {
    /// Who.
    pub proxy: Proxy,
    /// What it asked for, how far it has come there, and what it lacks.
    pub types: Vec<(Type, Progress, Option<Behind>)>,
}

impl Proxies {
    /// All proxies that are connected, in the order of their coming, beside what there is to be known.
    pub fn status(&self, catalog: &Catalog) -> Vec<Status> {
        let records: Vec<Record> = self.lock().all.values().cloned().collect();
        let one = |record: Record| {
            let types = record.types.into_iter().map(|(of, progress)| {
                let behind = behind(catalog, of, &progress);
                (of, progress, behind)
            });
            Status { proxy: record.proxy, types: types.collect() }
        };
        records.into_iter().map(one).collect()
    }

    /// How many are connected.
    pub fn len(&self) -> usize {
        self.lock().all.len()
    }

    /// Whether nobody is connected.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(crate) fn enter(&self, proxy: Proxy) -> Entered {
        let mut all = self.lock();
        let number = all.next;
        all.next += 1;
        all.all.insert(number, Record { proxy, types: BTreeMap::new() });
        Entered { proxies: self.clone(), number }
    }

    fn lock(&self) -> MutexGuard<'_, Connected> {
        // Whoever panicked while holding it left numbers and texts, each of them whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn behind(catalog: &Catalog, of: Type, progress: &Progress) -> Option<Behind> {
    let resources = catalog.resources(of);
    match resources.since(progress.acknowledged) {
        Some(names) if names.is_empty() => None,
        names => {
            let since = resources.changed_after(progress.acknowledged).unwrap_or(catalog.at());
            Some(Behind { resources: names.map(|names| names.len()), since: since.clock })
        }
    }
}

/// A proxy's place among those that are connected, until it is dropped.
#[derive(Debug)]
pub(crate) struct Entered {
    proxies: Proxies,
    number: u64,
}

impl Entered {
    pub(crate) fn progress(&self, of: Type, (sent, acknowledged): (u64, u64), refused: Option<String>) {
        let mut all = self.proxies.lock();
        let Some(record) = all.all.get_mut(&self.number) else { return };
        let progress = record.types.entry(of).or_default();
        progress.sent = sent;
        progress.acknowledged = acknowledged;
        if let Some(text) = refused {
            progress.refused = Some((text, SystemTime::now()));
        }
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        self.proxies.lock().all.remove(&self.number);
    }
}
