//! What is on the wire, by tshark.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::program::Program;

/// A TCP segment with something in it.
#[derive(Clone, Debug)]
pub struct Segment {
    /// Its sender's address.
    pub from: String,
    /// Its receiver's address.
    pub to: String,
    /// Its receiver's port.
    pub port: u16,
    /// What is in it.
    pub payload: Vec<u8>,
}

/// The segments of a capture that one of whose ports is this one, in their order.
pub fn segments(file: &Path, port: u16) -> Vec<Segment> {
    let mut read = Command::new("tshark");
    let filter = format!("tcp.port == {port} && tcp.len > 0");
    read.arg("-r").arg(file).args(["-Y", &filter, "-T", "fields"]);
    read.args(["-e", "ip.src", "-e", "ip.dst", "-e", "tcp.dstport", "-e", "tcp.payload"]);
    let done = Program::run(&mut read, b"", Duration::from_secs(60));
    assert_eq!(done.code, Some(0), "{}", done.all());
    done.out().lines().map(segment).collect()
}

fn segment(line: &str) -> Segment {
    let mut fields = line.split('\t');
    let mut next = || fields.next().unwrap_or_default().to_owned();
    let (from, to, port) = (next(), next(), next().parse().unwrap());
    let digits: Vec<u8> = next().bytes().filter(u8::is_ascii_hexdigit).collect();
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    Segment { from, to, port, payload: digits.chunks(2).map(byte).collect() }
}

/// Whether a text is readable in any of them.
pub fn holds(segments: &[Segment], text: &str) -> bool {
    segments.iter().any(|one| one.payload.windows(text.len()).any(|window| window == text.as_bytes()))
}

/// How many of them begin with a TLS record (RFC 8446, section 5.1): its type and version.
pub fn tls_records(segments: &[Segment]) -> usize {
    segments.iter().filter(|one| matches!(one.payload[..], [20..=23, 3, 1 | 3, ..])).count()
}
