//! The threads that carry traffic. Each has a runtime of its own; a connection lives on one of them for its
//! whole life, with its connections to services, so that no request crosses threads.

use std::io;
use std::sync::Arc;

use tokio::sync::mpsc;
use tokio_util::task::TaskTracker;

use crate::listener::{self, Bound};

/// All workers.
pub(crate) struct Workers {
    orders: Vec<mpsc::UnboundedSender<Arc<Bound>>>,
    threads: Vec<std::thread::JoinHandle<()>>,
    /// Every connection; it is empty when a drain is complete.
    pub(crate) connections: TaskTracker,
    stop: tokio::sync::watch::Sender<bool>,
}

impl Workers {
    /// Starts so many workers.
    pub(crate) fn start(count: usize) -> io::Result<Self> {
        let connections = TaskTracker::new();
        let stop = tokio::sync::watch::Sender::new(false);
        let (mut orders, mut threads) = (Vec::new(), Vec::new());
        for number in 0..count.max(1) {
            let (sender, receiver) = mpsc::unbounded_channel();
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            let work = work(number, receiver, connections.clone(), stop.subscribe());
            let thread = std::thread::Builder::new().name(format!("worker-{number}")).spawn(move || {
                runtime.block_on(work);
                // What is left is cut off; a blocking read of a file is not waited for.
                runtime.shutdown_background();
            })?;
            orders.push(sender);
            threads.push(thread);
        }
        Ok(Self { orders, threads, connections, stop })
    }

    /// Has every worker accept from a socket.
    pub(crate) fn listen(&self, bound: &Arc<Bound>) {
        for orders in &self.orders {
            // A worker ends only when all do.
            let _ = orders.send(Arc::clone(bound));
        }
    }

    /// Ends all workers, and what they still carry.
    pub(crate) fn stop(self) {
        self.stop.send_replace(true);
        drop(self.orders);
        for thread in self.threads {
            if thread.join().is_err() {
                tracing::error!(code = model::codes::usage::INTERNAL.id, "a worker failed");
            }
        }
    }
}

async fn work(
    number: usize,
    mut orders: mpsc::UnboundedReceiver<Arc<Bound>>,
    connections: TaskTracker,
    mut stop: tokio::sync::watch::Receiver<bool>,
) {
    loop {
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => return,
            order = orders.recv() => match order {
                Some(bound) => {
                    tokio::spawn(listener::run(bound, number, connections.clone()));
                }
                None => return,
            },
        }
    }
}
