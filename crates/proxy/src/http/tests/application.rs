//! Applications that behave badly, in ways that [`testkit::http_upstream`] does not.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

pub(crate) struct Application {
    pub(crate) addr: SocketAddr,
    pub(crate) requests: Arc<AtomicUsize>,
}

/// Runs this for each connection, on a thread of its own.
pub(crate) fn with(behave: impl Fn(TcpStream, &AtomicUsize) + Send + Sync + 'static) -> Application {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let requests = Arc::new(AtomicUsize::new(0));
    let (asked, behave) = (Arc::clone(&requests), Arc::new(behave));
    std::thread::spawn(move || {
        for socket in listener.incoming() {
            let (asked, behave) = (Arc::clone(&asked), Arc::clone(&behave));
            std::thread::spawn(move || behave(socket.unwrap(), &asked));
        }
    });
    Application { addr, requests }
}

/// Reads one request's headers; false at the end.
pub(crate) fn read_head(socket: &mut TcpStream) -> bool {
    let mut bytes = Vec::new();
    let mut one = [0; 1];
    while !bytes.ends_with(b"\r\n\r\n") {
        match socket.read(&mut one) {
            Ok(1) => bytes.push(one[0]),
            _ => return false,
        }
    }
    true
}

/// Answers with these bytes, then closes.
pub(crate) fn answers(bytes: &'static [u8]) -> Application {
    with(move |mut socket, requests| {
        if read_head(&mut socket) {
            requests.fetch_add(1, SeqCst);
            let _ = socket.write_all(bytes);
        }
    })
}

/// Promises to keep the connection, and closes it after one request.
pub(crate) fn one_request_each() -> Application {
    answers(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
}

/// Closes each connection without a word, after it has read the request.
pub(crate) fn resets() -> Application {
    with(|mut socket, requests| {
        if read_head(&mut socket) {
            requests.fetch_add(1, SeqCst);
        }
    })
}
