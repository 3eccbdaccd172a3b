//! Work in another network namespace. A thread enters it and stays there until it ends: were a thread of a pool to
//! enter and come back, a failure in between would leave the next one's sockets in a stranger's network.

use std::fmt;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

static NEXT: AtomicU64 = AtomicU64::new(1);

/// It makes sockets and sends rules; a node may have a hundred of them.
const STACK: usize = 256 << 10;

type Work = Box<dyn FnOnce() + Send>;

/// A network namespace, with a thread of its own in it. Cheap to clone; the thread ends with the last one.
#[derive(Clone)]
pub struct Namespace {
    id: u64,
    work: Arc<mpsc::Sender<Work>>,
}

impl fmt::Debug for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Namespace").field("id", &self.id).finish_non_exhaustive()
    }
}

impl Namespace {
    /// Enters the namespace that a path stands for: `/proc/PID/ns/net`, `/run/netns/NAME`.
    ///
    /// # Errors
    ///
    /// When it cannot be opened, is none, or it may not be entered (`CAP_SYS_ADMIN`).
    pub fn open(path: &Path) -> io::Result<Self> {
        Self::enter(File::open(path)?.into())
    }

    /// Enters a namespace.
    ///
    /// # Errors
    ///
    /// When the descriptor is none of a network namespace, or it may not be entered (`CAP_SYS_ADMIN`).
    pub fn enter(namespace: OwnedFd) -> io::Result<Self> {
        let (work, waiting) = mpsc::channel::<Work>();
        let (entered, answer) = mpsc::channel();
        let thread = std::thread::Builder::new().name("netns".to_owned()).stack_size(STACK);
        thread.spawn(move || {
            let inside = move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network));
            let is_inside = inside.is_ok();
            // Nobody waiting is nobody who wants it.
            if entered.send(inside.map_err(io::Error::from)).is_err() || !is_inside {
                return;
            }
            for work in waiting {
                // A panic of one work is that one's failure: its sender is dropped, which it sees.
                let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
            }
        })?;
        answer.recv().map_err(|_| gone())??;
        Ok(Self { id: NEXT.fetch_add(1, Ordering::Relaxed), work: Arc::new(work) })
    }

    /// Another number for each namespace that was entered.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Does something inside, and waits for it: a socket that is made there stays there. Nothing that takes long may be
    /// done, for others wait.
    ///
    /// # Errors
    ///
    /// When the work panicked.
    pub fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
        let (done, result) = mpsc::channel();
        let work = Box::new(move || {
            let _ = done.send(work());
        });
        self.work.send(work).map_err(|_| gone())?;
        result.recv().map_err(|_| gone())
    }
}

fn gone() -> io::Error {
    io::Error::other("the work in the namespace came to no end")
}
