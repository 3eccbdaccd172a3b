//! Access logs that never hold traffic up: lines are appended to a bounded buffer, one thread writes them.
//! What does not fit is dropped and counted.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use model::snapshot::LogTarget;
use prometheus_client::metrics::counter::Counter;

use crate::error::Error;

/// Bytes that wait for the writer at most.
const MOST_WAITING: usize = 4 << 20;
/// How long lines gather before they are written: fewer, larger writes.
const GATHER: Duration = Duration::from_millis(50);

/// All open logs; one sink per target, kept over reloads.
pub struct Logs {
    base: PathBuf,
    dropped: Counter,
    sinks: Mutex<Vec<(LogTarget, Weak<Sink>)>>,
}

/// One place where lines go.
pub struct Sink(Arc<Shared>);

/// What the sink and its writer share.
struct Shared {
    waiting: Mutex<Waiting>,
    wake: Condvar,
    dropped: Counter,
}

#[derive(Default)]
struct Waiting {
    lines: Vec<u8>,
    reopen: Option<File>,
    /// The writer is awake, and looks again by itself.
    awake: bool,
    /// Nobody holds the sink any more.
    closed: bool,
    /// Lines were taken, and are being written.
    writing: bool,
}

impl Logs {
    /// Logs whose relative paths start at `base`.
    pub fn new(base: &Path, dropped: Counter) -> Self {
        Self { base: base.to_owned(), dropped, sinks: Mutex::default() }
    }

    /// The sink of a target; none for [`LogTarget::Off`].
    ///
    /// # Errors
    ///
    /// When the file cannot be opened for appending.
    pub fn open(&self, target: &LogTarget) -> Result<Option<Arc<Sink>>, Error> {
        if *target == LogTarget::Off {
            return Ok(None);
        }
        let mut sinks = lock(&self.sinks);
        let known = sinks.iter().find(|(known, _)| known == target);
        if let Some(sink) = known.and_then(|(_, sink)| sink.upgrade()) {
            return Ok(Some(sink));
        }
        let output = self.output(target)?;
        let shared = Arc::new(Shared {
            waiting: Mutex::default(),
            wake: Condvar::new(),
            dropped: self.dropped.clone(),
        });
        let writer = Arc::clone(&shared);
        std::thread::Builder::new()
            .name("access-log".into())
            .spawn(move || write_lines(&writer, output))
            .map_err(|error| {
                Error::new(&model::codes::usage::INTERNAL, format!("no thread for the access log: {error}"))
            })?;
        let sink = Arc::new(Sink(shared));
        sinks.retain(|(_, sink)| sink.strong_count() > 0);
        sinks.push((target.clone(), Arc::downgrade(&sink)));
        Ok(Some(sink))
    }

    /// Waits, at most a second, until all lines are written. For the end of the process.
    pub fn flush(&self) {
        let open: Vec<_> = lock(&self.sinks).iter().filter_map(|(_, sink)| sink.upgrade()).collect();
        let deadline = Instant::now() + Duration::from_secs(1);
        let busy = |sink: &Sink| {
            let waiting = lock(&sink.0.waiting);
            waiting.writing || !waiting.lines.is_empty()
        };
        while open.iter().any(|sink| busy(sink)) && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Opens all files again, after log rotation. A file that cannot be opened goes on as it was.
    pub fn reopen(&self) {
        for (target, sink) in lock(&self.sinks).iter() {
            let (LogTarget::File(path), Some(sink)) = (target, sink.upgrade()) else { continue };
            match append(&self.base.join(path)) {
                Ok(file) => {
                    lock(&sink.0.waiting).reopen = Some(file);
                    sink.0.wake.notify_one();
                }
                Err(error) => tracing::error!(
                    code = model::codes::usage::FILE_NOT_WRITTEN.id,
                    "cannot open the access log {} again: {error}",
                    path.display()
                ),
            }
        }
    }

    fn output(&self, target: &LogTarget) -> Result<Output, Error> {
        Ok(match target {
            LogTarget::Stdout => Output::Stdout(io::stdout()),
            LogTarget::File(path) => {
                let path = self.base.join(path);
                let file = append(&path).map_err(|error| {
                    Error::new(
                        &model::codes::usage::FILE_NOT_WRITTEN,
                        format!("cannot write the access log {}: {error}", path.display()),
                    )
                })?;
                Output::File(file)
            }
            LogTarget::Stderr | LogTarget::Off => Output::Stderr(io::stderr()),
        })
    }
}

fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(0o640).open(path)
}

impl Sink {
    /// Appends one line; the end of the line is added. Lost, and counted, where too much waits already.
    pub fn write(&self, line: &[u8]) {
        let shared = &*self.0;
        let mut waiting = lock(&shared.waiting);
        if waiting.lines.len() + line.len() + 1 > MOST_WAITING {
            drop(waiting);
            shared.dropped.inc();
            return;
        }
        waiting.lines.extend_from_slice(line);
        waiting.lines.push(b'\n');
        let asleep = !std::mem::replace(&mut waiting.awake, true);
        drop(waiting);
        if asleep {
            shared.wake.notify_one();
        }
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        lock(&self.0.waiting).closed = true;
        self.0.wake.notify_one();
    }
}

enum Output {
    Stderr(io::Stderr),
    Stdout(io::Stdout),
    File(File),
}

impl Output {
    fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        match self {
            Self::Stderr(out) => out.write_all(lines),
            Self::Stdout(out) => out.write_all(lines).and_then(|()| out.flush()),
            Self::File(out) => out.write_all(lines),
        }
    }
}

/// The writer's thread: ends when nobody holds the sink any more and all is written.
fn write_lines(shared: &Shared, mut output: Output) {
    let mut lines = Vec::new();
    loop {
        let mut waiting = lock(&shared.waiting);
        while waiting.lines.is_empty() && waiting.reopen.is_none() && !waiting.closed {
            waiting.awake = false;
            waiting = shared.wake.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
        waiting.awake = true;
        waiting.writing = true;
        std::mem::swap(&mut lines, &mut waiting.lines);
        let (reopen, closed) = (waiting.reopen.take(), waiting.closed);
        drop(waiting);
        if !lines.is_empty() && output.write(&lines).is_err() {
            shared.dropped.inc_by(lines.iter().filter(|byte| **byte == b'\n').count() as u64);
        }
        lock(&shared.waiting).writing = false;
        lines.clear();
        lines.shrink_to(256 << 10);
        if let Some(file) = reopen {
            output = Output::File(file);
        }
        if closed {
            return;
        }
        std::thread::sleep(GATHER);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
