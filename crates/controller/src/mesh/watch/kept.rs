//! The objects of one kind as the API server last told them, and which of them nobody has looked at since.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use tokio::sync::Notify;

use super::super::pods::Key;

/// What all kinds have in common: somebody waits for changes of any.
#[derive(Debug, Default)]
pub(super) struct Noted {
    /// How many changes were noted, of all kinds.
    count: AtomicU64,
    pub(super) changed: Notify,
}

impl Noted {
    pub(super) fn count(&self) -> u64 {
        self.count.load(Ordering::Acquire)
    }

    fn add(&self) {
        self.count.fetch_add(1, Ordering::AcqRel);
        self.changed.notify_one();
    }
}

/// The objects of one kind.
#[derive(Debug)]
pub struct Kept<T> {
    kind: &'static str,
    state: Mutex<State<T>>,
    noted: Arc<Noted>,
}

#[derive(Debug)]
struct State<T> {
    objects: HashMap<Key, (Arc<str>, Arc<T>)>,
    dirty: HashSet<Key>,
    listed: bool,
    heard: Option<Instant>,
}

impl<T> Kept<T> {
    pub(super) fn new(kind: &'static str, noted: &Arc<Noted>) -> Arc<Self> {
        let state = State { objects: HashMap::new(), dirty: HashSet::new(), listed: false, heard: None };
        Arc::new(Self { kind, state: Mutex::new(state), noted: Arc::clone(noted) })
    }

    /// The name of the kind.
    pub fn kind(&self) -> &'static str {
        self.kind
    }

    /// An object as it is now.
    pub fn object(&self, namespace: &str, name: &str) -> Option<Arc<T>> {
        let key = (namespace.to_owned(), name.to_owned());
        self.lock().objects.get(&key).map(|(_, object)| Arc::clone(object))
    }

    /// All objects as they are now.
    pub fn objects(&self) -> Vec<Arc<T>> {
        self.lock().objects.values().map(|(_, object)| Arc::clone(object)).collect()
    }

    /// How long ago the API server was last heard of about this kind; none where it never was.
    pub fn silent_for(&self) -> Option<Duration> {
        self.lock().heard.map(|heard| heard.elapsed())
    }

    /// Whether all of them are known.
    pub(super) fn is_listed(&self) -> bool {
        self.lock().listed
    }

    /// The API server was heard of: nothing changed.
    pub(super) fn heard(&self) {
        self.lock().heard = Some(Instant::now());
    }

    /// An object is so now.
    pub(super) fn put(&self, metadata: &ObjectMeta, object: T) {
        let (key, version) = place(metadata);
        let mut state = self.lock();
        state.heard = Some(Instant::now());
        state.objects.insert(key.clone(), (version, Arc::new(object)));
        state.dirty.insert(key);
        self.noted.add();
    }

    /// An object is gone.
    pub(super) fn remove(&self, metadata: &ObjectMeta) {
        let (key, _) = place(metadata);
        let mut state = self.lock();
        state.heard = Some(Instant::now());
        state.objects.remove(&key);
        state.dirty.insert(key);
        self.noted.add();
    }

    /// These are all, and no others. What is as it was is no change.
    pub(super) fn replace(&self, all: Vec<(ObjectMeta, T)>) {
        let mut state = self.lock();
        state.heard = Some(Instant::now());
        let mut old = std::mem::take(&mut state.objects);
        for (metadata, object) in all {
            let (key, version) = place(&metadata);
            match old.remove(&key) {
                Some(same) if same.0 == version && !version.is_empty() => {
                    state.objects.insert(key, same);
                }
                _ => {
                    state.dirty.insert(key.clone());
                    state.objects.insert(key, (version, Arc::new(object)));
                }
            }
        }
        state.dirty.extend(old.into_keys());
        state.listed = true;
        self.noted.add();
    }

    /// What changed since this was asked last; an object that is gone is none.
    pub(super) fn drain(&self) -> Vec<(Key, Option<Arc<T>>)> {
        let mut state = self.lock();
        let dirty = std::mem::take(&mut state.dirty);
        let object = |key: &Key| state.objects.get(key).map(|(_, object)| Arc::clone(object));
        dirty.into_iter().map(|key| (key.clone(), object(&key))).collect()
    }

    /// An object, and how many changes were noted when it was so.
    pub(super) fn object_at(&self, namespace: &str, name: &str) -> (Option<Arc<T>>, u64) {
        let key = (namespace.to_owned(), name.to_owned());
        let state = self.lock();
        (state.objects.get(&key).map(|(_, object)| Arc::clone(object)), self.noted.count())
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        // Whoever panicked while holding it left whole entries.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// By what an object is found, and which state of it this is: a successor of the same name is another one.
fn place(metadata: &ObjectMeta) -> (Key, Arc<str>) {
    let (uid, version) = (metadata.uid.as_deref(), metadata.resource_version.as_deref());
    let version = match version {
        Some(version) => format!("{}/{version}", uid.unwrap_or_default()).into(),
        None => Arc::from(""),
    };
    (super::super::pods::key_of(metadata), version)
}
