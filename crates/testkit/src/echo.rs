//! A raw TCP upstream that sends back what it gets, and counts: the witness of "zero bytes upstream".

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// What reached an upstream so far.
#[derive(Default, Debug)]
pub struct Counters {
    connections: AtomicUsize,
    bytes: AtomicUsize,
}

impl Counters {
    /// Connections accepted.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// Bytes received over all connections.
    pub fn bytes(&self) -> usize {
        self.bytes.load(Ordering::SeqCst)
    }

    pub(crate) fn accepted(&self) {
        self.connections.fetch_add(1, Ordering::SeqCst);
    }

    pub(crate) fn received(&self, bytes: usize) {
        self.bytes.fetch_add(bytes, Ordering::SeqCst);
    }

    /// Waits until at least this many bytes have come; says whether they did.
    pub fn reached(&self, bytes: usize, limit: Duration) -> bool {
        let deadline = Instant::now() + limit;
        while self.bytes() < bytes && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(5));
        }
        self.bytes() >= bytes
    }
}

/// An echo server on a free port of 127.0.0.1. Dropping it ends the accepting.
pub struct Echo {
    addr: SocketAddr,
    counters: Arc<Counters>,
    stop: Arc<AtomicBool>,
}

impl Echo {
    /// Starts it.
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let counters = Arc::new(Counters::default());
        let stop = Arc::new(AtomicBool::new(false));
        let (seen, over) = (Arc::clone(&counters), Arc::clone(&stop));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if over.load(Ordering::SeqCst) {
                    return;
                }
                let Ok(stream) = stream else { continue };
                seen.accepted();
                let seen = Arc::clone(&seen);
                std::thread::spawn(move || serve(stream, &seen));
            }
        });
        Self { addr, counters, stop }
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// What reached it.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.addr);
    }
}

fn serve(mut stream: TcpStream, counters: &Counters) {
    let mut buffer = [0; 16 << 10];
    while let Ok(n @ 1..) = stream.read(&mut buffer) {
        counters.received(n);
        if stream.write_all(&buffer[..n]).is_err() {
            return;
        }
    }
    // The half-close goes back only after all of the echo: a test of half-close sees both.
    let _ = stream.shutdown(Shutdown::Write);
}
