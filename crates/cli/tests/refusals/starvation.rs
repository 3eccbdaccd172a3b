//! Rows about clients that take without giving: nothing at all, a ClientHello in drips, and what it costs us.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use model::codes::refusals;

use crate::server::{At, Server};

/// Resident memory of a process in KiB.
fn resident(pid: u32) -> i64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// Waits for the end of a connection; the seconds that it took, counted from `started`.
fn closed_after(mut stream: TcpStream, started: Instant) -> f64 {
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let mut rest = Vec::new();
    let ended = stream.read_to_end(&mut rest);
    assert!(
        !matches!(&ended, Err(e) if matches!(e.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut)),
        "still open after {:?}",
        started.elapsed()
    );
    started.elapsed().as_secs_f64()
}

#[test]
fn nothing_at_all_and_a_hello_in_drips_are_closed_after_ten_seconds() {
    let server = Server::start();
    let addr = server.addr(At::Strict);
    let code = refusals::HANDSHAKE_TIMEOUT.id;
    // A first round warms up what is allocated once.
    drop(TcpStream::connect(addr).unwrap());
    std::thread::sleep(Duration::from_millis(300));
    let before = resident(server.handfast.program.pid());
    let started = Instant::now();
    let silent: Vec<TcpStream> = (0..50).map(|_| TcpStream::connect(addr).unwrap()).collect();
    let mut drip = TcpStream::connect(addr).unwrap();
    let feeding = drip.try_clone().unwrap();
    let dripping = std::thread::spawn(move || {
        let mut feeding = feeding;
        // One byte each 250 ms of a ClientHello that would take minutes.
        for byte in [0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3].into_iter().chain(std::iter::repeat(0x41)) {
            if feeding.write_all(&[byte]).is_err() || started.elapsed() > Duration::from_secs(20) {
                return;
            }
            std::thread::sleep(Duration::from_millis(250));
        }
    });
    std::thread::sleep(Duration::from_secs(2));
    let grown = resident(server.handfast.program.pid()) - before;
    assert!(grown < 1024, "51 waiting connections took {grown} KiB");
    let _ = drip.flush();
    for stream in silent {
        let seconds = closed_after(stream, started);
        assert!((9.0..14.0).contains(&seconds), "closed after {seconds} s");
    }
    let seconds = closed_after(drip, started);
    assert!((9.0..14.0).contains(&seconds), "the dripping one was closed after {seconds} s");
    dripping.join().unwrap();
    assert!(testkit::handfast::eventually(Duration::from_secs(3), || server.lines(code).len() == 51));
    assert_eq!(server.failures("handshake_timeout"), 51.0);
    assert_eq!(server.upstream(), (0, 0));
}
