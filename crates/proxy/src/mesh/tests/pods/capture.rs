//! What a wire carries: every frame that passes the node, by a packet socket.

use std::io::Read as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::atomic::{AtomicBool, Ordering};

use super::*;

/// One TCP segment with a payload.
#[derive(Clone, Debug)]
pub(super) struct Segment {
    pub(super) from: SocketAddr,
    pub(super) to: SocketAddr,
    pub(super) payload: Vec<u8>,
}

/// Takes down what passes the node until it is asked.
pub(super) struct Capture {
    thread: std::thread::JoinHandle<Vec<Segment>>,
    ends: Arc<AtomicBool>,
}

impl Capture {
    pub(super) fn start(network: &Network) -> Self {
        let node = Namespace::open(&network.node().path()).unwrap();
        // ETH_P_ALL, as the network has it.
        let all = socket2::Protocol::from(i32::from(3_u16.to_be()));
        let made =
            node.run(move || socket2::Socket::new(socket2::Domain::PACKET, socket2::Type::RAW, Some(all)));
        let mut socket = made.unwrap().unwrap();
        socket.set_recv_buffer_size(8 << 20).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        let ends = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&ends);
        let thread = std::thread::spawn(move || {
            let mut segments = Vec::new();
            let mut frame = vec![0; 1 << 17];
            loop {
                match socket.read(&mut frame) {
                    Ok(length) => segments.extend(segment(&frame[..length])),
                    // What was sent before it was told is in the socket's queue, which is read to its end.
                    Err(_) if told.load(Ordering::SeqCst) => return segments,
                    Err(_) => {}
                }
            }
        });
        Self { thread, ends }
    }

    pub(super) fn end(self) -> Vec<Segment> {
        self.ends.store(true, Ordering::SeqCst);
        self.thread.join().unwrap()
    }
}

fn segment(frame: &[u8]) -> Option<Segment> {
    let packet = frame.get(14..)?;
    let (from, to, segment): (IpAddr, IpAddr, &[u8]) = match frame.get(12..14)? {
        [0x08, 0x00] if packet.get(9) == Some(&6) => {
            let ip = |at: usize| Some(Ipv4Addr::from(<[u8; 4]>::try_from(packet.get(at..at + 4)?).ok()?));
            let total = usize::from(u16::from_be_bytes([packet[2], packet[3]]));
            let header = usize::from(packet[0] & 15) * 4;
            (ip(12)?.into(), ip(16)?.into(), packet.get(header..total.max(header).min(packet.len()))?)
        }
        [0x86, 0xdd] if packet.get(6) == Some(&6) => {
            let ip = |at: usize| Some(Ipv6Addr::from(<[u8; 16]>::try_from(packet.get(at..at + 16)?).ok()?));
            (ip(8)?.into(), ip(24)?.into(), packet.get(40..)?)
        }
        _ => return None,
    };
    let port = |at: usize| Some(u16::from_be_bytes([*segment.get(at)?, *segment.get(at + 1)?]));
    let payload = segment.get(usize::from(segment.get(12)? >> 4) * 4..)?.to_vec();
    let (from, to) = (SocketAddr::new(from, port(0)?), SocketAddr::new(to, port(2)?));
    (!payload.is_empty()).then_some(Segment { from, to, payload })
}

/// Whether a text is anywhere in what was sent, also where it was cut into segments.
pub(super) fn contains(segments: &[Segment], text: &str) -> bool {
    let mut flows = std::collections::BTreeMap::<_, Vec<u8>>::new();
    for segment in segments {
        flows.entry((segment.from, segment.to)).or_default().extend(&segment.payload);
    }
    flows.values().any(|flow| flow.windows(text.len()).any(|part| part == text.as_bytes()))
}
