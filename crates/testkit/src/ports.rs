//! Ports for servers that cannot be told to take any free one.

use std::fs::{File, TryLockError};
use std::net::TcpStream;
use std::sync::Mutex;

/// Below the ports that a kernel gives to clients and to port 0 (from 32768), so that no connection of another
/// test and no server that takes any port lands on one; below a cluster's node ports (from 30000) too.
const RANGE: std::ops::Range<u16> = 13_000..29_000;

/// A port of 127.0.0.1 that nobody listens on and that no test of any process here is given before this process
/// ends: each is claimed by a lock on a file of its own, which the kernel takes back however the process ends.
///
/// Asking for port 0 and giving it back is no way to find one: until the server listens the kernel may give it to
/// somebody else, and it does when two cores run tests.
pub fn free_port() -> u16 {
    static CLAIMED: Mutex<Vec<File>> = Mutex::new(Vec::new());
    let folder = std::env::temp_dir().join("handfast-test-ports");
    std::fs::create_dir_all(&folder).unwrap();
    let mut claimed = CLAIMED.lock().unwrap();
    // Each process begins elsewhere, so that they seldom meet.
    let first = usize::try_from(std::process::id()).unwrap() * 97 + claimed.len();
    for port in RANGE.cycle().skip(first % RANGE.len()).take(RANGE.len()) {
        let claim = File::create(folder.join(port.to_string())).unwrap();
        match claim.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => continue,
            Err(TryLockError::Error(error)) => panic!("the claim of port {port}: {error}"),
        }
        if TcpStream::connect(("127.0.0.1", port)).is_ok() {
            continue;
        }
        claimed.push(claim);
        return port;
    }
    panic!("no port of {RANGE:?} is free")
}
