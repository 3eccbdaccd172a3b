//! Where certificates, keys, authorities and lists come from: files that are watched, or whatever a caller
//! has. The proxy asks for content by path, and hears when something changed.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use notify::{RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::watch;

/// Largest file that is read: a bundle of all public authorities has less than 1 MiB.
const LARGEST: u64 = 64 << 20;
/// How often files are looked at, beside what the operating system tells. Some file systems tell nothing.
const POLL: Duration = Duration::from_secs(5);
/// Changes come in bursts (a chain, then its key): they are looked at together.
const SETTLE: Duration = Duration::from_millis(150);

/// Content by path.
pub trait Source: Send + Sync + 'static {
    /// The content.
    ///
    /// # Errors
    ///
    /// Why it cannot be read.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;

    /// The permission bits, where there are any.
    fn permissions(&self, _path: &Path) -> Option<u32> {
        None
    }

    /// From now on changes of these, and no others, are told.
    fn watch(&self, paths: &BTreeSet<PathBuf>);

    /// Changes whenever something that is watched did.
    fn changes(&self) -> watch::Receiver<u64>;
}

/// Files, watched by notifications of the operating system and, in case these do not come, by looking.
pub struct Files {
    watched: Arc<Mutex<Watched>>,
    changes: Arc<watch::Sender<u64>>,
    wake: std::sync::mpsc::Sender<()>,
    system: Mutex<Option<RecommendedWatcher>>,
}

#[derive(Default)]
struct Watched {
    files: BTreeMap<PathBuf, Option<Stamp>>,
    folders: BTreeSet<PathBuf>,
}

/// What changes when a file does, also when a symbolic link on its way was switched (kubelet's `..data`).
#[derive(Clone, Copy, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    length: u64,
    modified: Option<SystemTime>,
}

impl Stamp {
    fn of(path: &Path) -> Option<Self> {
        use std::os::unix::fs::MetadataExt as _;
        let metadata = std::fs::metadata(path).ok()?;
        Some(Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            length: metadata.len(),
            modified: metadata.modified().ok(),
        })
    }
}

impl Default for Files {
    fn default() -> Self {
        Self::new()
    }
}

impl Files {
    /// Watches nothing yet.
    pub fn new() -> Self {
        let (wake, woken) = std::sync::mpsc::channel::<()>();
        let watched = Arc::new(Mutex::new(Watched::default()));
        let changes = Arc::new(watch::Sender::new(0));
        let (list, sender) = (Arc::downgrade(&watched), Arc::clone(&changes));
        let spawned = std::thread::Builder::new().name("files".into()).spawn(move || {
            while let Ok(()) | Err(std::sync::mpsc::RecvTimeoutError::Timeout) = woken.recv_timeout(POLL) {
                std::thread::sleep(SETTLE);
                while woken.try_recv().is_ok() {}
                let Some(list) = list.upgrade() else { return };
                if lock(&list).look() {
                    sender.send_modify(|version| *version += 1);
                }
            }
        });
        if let Err(error) = spawned {
            tracing::error!("files are not watched, only SIGHUP reads them again: {error}");
        }
        let waker = wake.clone();
        let system = notify::recommended_watcher(move |_: notify::Result<notify::Event>| {
            // The other end ends with the process.
            let _ = waker.send(());
        });
        let system = match system {
            Ok(system) => Some(system),
            Err(error) => {
                tracing::info!("files are looked at every {} s: {error}", POLL.as_secs());
                None
            }
        };
        Self { watched, changes, wake, system: Mutex::new(system) }
    }
}

impl Watched {
    /// Looks at each file; whether one changed since the last look.
    fn look(&mut self) -> bool {
        let mut changed = false;
        for (path, known) in &mut self.files {
            let stamp = Stamp::of(path);
            changed |= stamp != *known;
            *known = stamp;
        }
        changed
    }
}

impl Source for Files {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        use std::io::Read as _;
        // The stamp is older than the content: a change in between is seen at the next look.
        let stamp = Stamp::of(path);
        lock(&self.watched).files.entry(path.to_owned()).or_insert(stamp);
        let file = std::fs::File::open(path)?;
        if !file.metadata()?.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a file"));
        }
        let mut content = Vec::new();
        file.take(LARGEST + 1).read_to_end(&mut content)?;
        if content.len() as u64 > LARGEST {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "it is larger than 64 MiB"));
        }
        Ok(content)
    }

    fn permissions(&self, path: &Path) -> Option<u32> {
        use std::os::unix::fs::MetadataExt as _;
        Some(std::fs::metadata(path).ok()?.mode() & 0o777)
    }

    fn watch(&self, paths: &BTreeSet<PathBuf>) {
        let mut watched = lock(&self.watched);
        watched.files.retain(|path, _| paths.contains(path));
        for path in paths {
            watched.files.entry(path.clone()).or_insert_with(|| Stamp::of(path));
        }
        // Folders are watched, not files: files are replaced by renaming, and links are switched.
        let folders: BTreeSet<PathBuf> =
            paths.iter().filter_map(|path| path.parent()).map(folder_or_here).collect();
        if let Some(system) = lock(&self.system).as_mut() {
            for folder in watched.folders.difference(&folders) {
                let _ = system.unwatch(folder);
            }
            for folder in folders.difference(&watched.folders) {
                // One that cannot be watched is looked at.
                let _ = system.watch(folder, RecursiveMode::NonRecursive);
            }
        }
        watched.folders = folders;
        let _ = self.wake.send(());
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }
}

fn folder_or_here(folder: &Path) -> PathBuf {
    if folder.as_os_str().is_empty() { PathBuf::from(".") } else { folder.to_owned() }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
