//! Work in another network namespace, one that is there or a new one. A thread enters it and stays there until it ends: were a thread of a pool to
//! enter and come back, a failure in between would leave the next one's sockets in a stranger's network.

use std::fmt;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};

use rustix::mount::MountPropagationFlags;
use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space};

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
        Self::with("netns", move || {
            move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))
        })
    }

    /// Makes a new network, empty but for a loopback interface that is down. It has no name in the file system: it goes
    /// with the last thread, process and socket in it, however those end. `name` is the thread's, for people.
    ///
    /// # Errors
    ///
    /// When it may not be made (`CAP_SYS_ADMIN`).
    pub fn create(name: &str) -> io::Result<Self> {
        Self::with(name, || unshare(UnshareFlags::NEWNET))
    }

    /// Makes a new network for processes that are started from its thread: they also have mounts and a host name of
    /// their own, which are copies at first, and process numbers, shared memory, semaphores and message queues of their
    /// own (ipc_namespaces(7)). The first one that is started is their init (pid_namespaces(7)): with its end the kernel
    /// ends all others, and none can be started any more.
    ///
    /// Mounts that come to the machine later come here too (but see [`crate::mounts::processes`]); what is mounted here is seen nowhere else.
    ///
    /// # Errors
    ///
    /// When it may not be made (`CAP_SYS_ADMIN`), or mounts may not be changed.
    pub fn create_for_processes(name: &str) -> io::Result<Self> {
        Self::with(name, || {
            let own = UnshareFlags::NEWNS | UnshareFlags::NEWUTS | UnshareFlags::NEWPID;
            unshare(UnshareFlags::NEWNET | UnshareFlags::NEWIPC | own)?;
            rustix::mount::mount_change("/", MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC)
        })
    }

    /// Starts the thread, which begins with `go`.
    fn with(name: &str, go: impl FnOnce() -> rustix::io::Result<()> + Send + 'static) -> io::Result<Self> {
        let (work, waiting) = mpsc::channel::<Work>();
        let (entered, answer) = mpsc::channel();
        let thread = std::thread::Builder::new().name(name.to_owned()).stack_size(STACK);
        thread.spawn(move || {
            let inside = go();
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

/// Gives the calling thread namespaces of its own, whatever other threads have.
fn unshare(flags: UnshareFlags) -> rustix::io::Result<()> {
    debug_assert!(!flags.contains(UnshareFlags::FILES));
    #[expect(
        unsafe_code,
        reason = "with one flag, which is not given here, descriptors would differ by thread"
    )]
    // SAFETY: all callers are above, and none gives `UnshareFlags::FILES`.
    unsafe {
        rustix::thread::unshare_unsafe(flags)
    }
}

fn gone() -> io::Error {
    io::Error::other("the work in the namespace came to no end")
}
