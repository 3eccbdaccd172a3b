//! What a pod's proxy does when it runs out of something, with the real process in a pod's network: file descriptors, and
//! clients that take nothing of what is sent to them.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    dead_code,
    reason = "a test stops where something is not as expected"
)]

#[path = "faults/plane.rs"]
mod plane;

use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use plane::{Plane, SOON, echo, is_served};
use testkit::program::Program;

/// Descriptors that the proxy may have: a tenth of what the flood wants.
const FILES: u32 = 160;
const FLOOD: usize = 200;
/// No more descriptors; its name in metrics.
const EXHAUSTED: (&str, &str) = ("HF4032", "file_descriptors_exhausted");

fn at(last: u8, port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::from(Ipv4Addr::new(10, 77, 0, last)), port)
}

/// Tries until it is so, or it is too late.
fn eventually(what: &str, mut so: impl FnMut() -> bool) {
    let end = Instant::now() + SOON;
    while !so() {
        assert!(Instant::now() < end, "never: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// The process that works, of the two that a proxy is (ADR 0095).
fn worker(proxy: &Program) -> u32 {
    let first = proxy.pid();
    let children = std::fs::read_to_string(format!("/proc/{first}/task/{first}/children")).unwrap();
    children.split_whitespace().next().unwrap().parse().unwrap()
}

fn descriptors(proxy: &Program) -> usize {
    std::fs::read_dir(format!("/proc/{}/fd", worker(proxy))).unwrap().count()
}

#[test]
fn without_descriptors_a_proxy_keeps_what_it_has_says_so_once_and_serves_again_afterwards() {
    let Some(mut plane) = Plane::start() else { return };
    plane.know_pod("web", 2);
    plane.know_pod("ledger", 3);
    plane.listen();
    let (web, _caller) = plane.carry("web", 2, 1024);
    let (ledger, proxy) = plane.carry("ledger", 3, FILES);
    let stranger = plane.pod(4);
    ledger.serve(8080, echo);
    let mut open = web.connect(at(3, 8080)).unwrap();
    assert!(is_served(&mut open));

    // More than it may have: the kernel takes them all for it, and some of them wait there.
    let mut flood: Vec<TcpStream> = (0..FLOOD).map(|_| stranger.connect(at(3, 8080)).unwrap()).collect();
    for socket in &mut flood {
        socket.write_all(b"hello").unwrap();
    }
    eventually("it says so", || proxy.stderr().contains(EXHAUSTED.0));

    // What is open goes on, and everything that is not a connection of an application's has its descriptors.
    assert!(is_served(&mut open));
    assert!(ledger.page(15021, "/readyz").contains("ready"));
    let before = ledger.status();
    assert_eq!(
        (before["control_plane"]["connected"].as_bool(), before["services"].as_u64()),
        (Some(true), Some(2))
    );
    plane.end();
    eventually("it hears that the control plane is away", || {
        ledger.status()["control_plane"]["connected"] == false
    });
    plane.know_service("new", 9);
    plane.listen();
    eventually("it hears the control plane again", || ledger.status()["services"] == 3);
    assert!(is_served(&mut open));
    let used = descriptors(&proxy);
    assert!(used < usize::try_from(FILES).unwrap() - 8, "{used} descriptors are open");

    // It was said once: nothing was tried again and again.
    let count = |proxy: &Program| proxy.stderr().matches(EXHAUSTED.0).count();
    assert_eq!(count(&proxy), 1, "{}", proxy.stderr());
    let counted = format!("reason=\"{}\"}} 1", EXHAUSTED.1);
    let metrics = ledger.page(15020, "/metrics");
    assert!(metrics.contains(&counted), "{metrics}");

    // Who waited is served as soon as others end, and so is whoever comes now.
    let mut last = flood.pop().unwrap();
    drop(flood);
    let mut back = [0; 5];
    std::io::Read::read_exact(&mut last, &mut back).unwrap();
    assert_eq!(&back, b"hello");
    eventually("calls are served again", || {
        web.connect(at(3, 8080)).is_ok_and(|mut socket| is_served(&mut socket))
            && stranger.connect(at(3, 8080)).is_ok_and(|mut socket| is_served(&mut socket))
    });
    eventually("descriptors are given back", || descriptors(&proxy) < used / 2);
}

/// Downloads that nobody reads. Each has a connection for itself (ADR 0099): none holds up another.
const STUCK: u64 = 8;
/// What each may hold in all: windows and buffers of two proxies.
const EACH: u64 = 8 << 20;
/// The proxies together, before any of them.
const PROXIES: u64 = 160 << 20;

/// The most memory that a process has had (VmHWM), bytes.
fn peak(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() << 10
}

#[test]
fn downloads_that_nobody_reads_take_bounded_memory_and_other_calls_go_on() {
    let Some(mut plane) = Plane::start() else { return };
    plane.know_pod("web", 2);
    plane.know_pod("ledger", 3);
    plane.listen();
    let (web, caller) = plane.carry("web", 2, 1024);
    let (ledger, called) = plane.carry("ledger", 3, 1024);
    ledger.serve(8080, echo);
    let sent = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&sent);
    // It would send without end.
    ledger.serve(8081, move |mut socket| {
        let part = vec![7; 64 << 10];
        while counter.load(Ordering::SeqCst) < 4 * STUCK * EACH && socket.write_all(&part).is_ok() {
            counter.fetch_add(part.len() as u64, Ordering::SeqCst);
        }
    });
    let mut open = web.connect(at(3, 8080)).unwrap();
    assert!(is_served(&mut open));
    let stuck: Vec<TcpStream> = (0..STUCK).map(|_| web.connect(at(3, 8081)).unwrap()).collect();
    // Until nothing moves any more, or it is far too much. What the kernel keeps for four sockets is not the proxies'.
    let mut last = 0;
    eventually("nothing moves any more", || {
        std::thread::sleep(Duration::from_millis(300));
        let now = sent.load(Ordering::SeqCst);
        let still = now > 0 && now == last;
        last = now;
        still
    });
    for _ in 0..20 {
        assert!(is_served(&mut open));
        assert!(is_served(&mut web.connect(at(3, 8080)).unwrap()));
    }
    let most = peak(worker(&caller)) + peak(worker(&called));
    assert!(most < PROXIES + STUCK * EACH, "{} MiB", most >> 20);
    eprintln!("{} MiB were sent, the proxies have {} MiB", last >> 20, most >> 20);
    drop(stuck);
    assert!(is_served(&mut open));
}
