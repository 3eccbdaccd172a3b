//! Netlink messages (RFC 3549, section 2.3.2; `linux/netlink.h`): as much as packet rules, routes and interfaces need.

use std::io;
use std::time::Duration;

use rustix::net::{
    AddressFamily, Protocol, RecvFlags, SendFlags, SocketFlags, SocketType, netlink, recv, sendto,
    socket_with, sockopt,
};

/// The message is a request.
pub(crate) const REQUEST: u16 = 0x1;
/// The kernel says so when it is done.
const ACK: u16 = 0x4;
/// What is there is refused.
pub(crate) const EXCL: u16 = 0x200;
/// What is not there is made.
pub(crate) const CREATE: u16 = 0x400;
/// At the end of a list.
pub(crate) const APPEND: u16 = 0x800;

/// `NLMSG_ERROR`: an error, or the news that there was none.
const ERROR: u16 = 2;
/// `NLA_F_NESTED`.
const NESTED: u16 = 0x8000;
/// The kernel answers within the call; this is for one that never does.
const PATIENCE: Duration = Duration::from_secs(5);
/// More than an answer has: the kernel sends a refused message back.
const ANSWER: usize = 64 << 10;

/// Messages, one after the other.
#[derive(Default)]
pub(crate) struct Messages {
    bytes: Vec<u8>,
    count: u32,
    /// Where the last one begins.
    last: usize,
}

impl Messages {
    /// Adds a message: its type, flags, fixed part and attributes.
    pub(crate) fn push(
        &mut self,
        kind: u16,
        flags: u16,
        fixed: &[u8],
        body: impl FnOnce(&mut Attributes<'_>),
    ) {
        let start = self.bytes.len();
        (self.last, self.count) = (start, self.count + 1);
        self.bytes.extend(0_u32.to_ne_bytes());
        self.bytes.extend(kind.to_ne_bytes());
        self.bytes.extend((flags | REQUEST).to_ne_bytes());
        self.bytes.extend(self.count.to_ne_bytes());
        // The kernel's own number for this socket: it is filled in there.
        self.bytes.extend(0_u32.to_ne_bytes());
        self.bytes.extend(fixed);
        body(&mut Attributes { bytes: &mut self.bytes });
        let length = (self.bytes.len() - start) as u32;
        self.bytes[start..start + 4].copy_from_slice(&length.to_ne_bytes());
        pad(&mut self.bytes);
    }

    /// Has the kernel say when the message that was added last is done; gives its number.
    pub(crate) fn acknowledge(&mut self) -> u32 {
        // The flags, in the fixed header.
        if let Some(flags) = self.bytes.get_mut(self.last + 6..self.last + 8) {
            let asked = u16::from_ne_bytes([flags[0], flags[1]]) | ACK;
            flags.copy_from_slice(&asked.to_ne_bytes());
        }
        self.count
    }

    /// Sends them all at once, and waits until the kernel has acknowledged number `acknowledged`.
    pub(crate) fn send(&self, protocol: Option<Protocol>, acknowledged: u32) -> io::Result<()> {
        self.ask(protocol, acknowledged, |_| {})
    }

    /// The same; `heard` gets what the kernel sends before that, as it comes.
    pub(crate) fn ask(
        &self,
        protocol: Option<Protocol>,
        acknowledged: u32,
        mut heard: impl FnMut(&[u8]),
    ) -> io::Result<()> {
        let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, protocol)?;
        sockopt::set_socket_timeout(&socket, sockopt::Timeout::Recv, Some(PATIENCE))?;
        let kernel = netlink::SocketAddrNetlink::new(0, 0);
        let sent = sendto(&socket, &self.bytes, SendFlags::empty(), &kernel)?;
        if sent != self.bytes.len() {
            return Err(io::ErrorKind::WriteZero.into());
        }
        let mut answer = vec![0; ANSWER];
        loop {
            let (length, _) = recv(&socket, &mut answer[..], RecvFlags::empty())?;
            let answers = &answer[..length.min(ANSWER)];
            heard(answers);
            if done(answers, acknowledged)? {
                return Ok(());
            }
        }
    }
}

/// Whether the awaited acknowledgement is among these answers.
pub(crate) fn done(mut answers: &[u8], acknowledged: u32) -> io::Result<bool> {
    let u32_at = |bytes: &[u8], at: usize| Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
    let cut = || io::Error::new(io::ErrorKind::InvalidData, "the kernel's answer is cut off");
    while !answers.is_empty() {
        let length = u32_at(answers, 0).ok_or_else(cut)? as usize;
        let one = answers.get(..length).filter(|one| one.len() >= 16).ok_or_else(cut)?;
        let kind = u16::from_ne_bytes([one[4], one[5]]);
        if kind == ERROR {
            match u32_at(one, 16).ok_or_else(cut)? as i32 {
                0 => {}
                error => return Err(io::Error::from_raw_os_error(error.saturating_neg())),
            }
            if u32_at(one, 8) == Some(acknowledged) {
                return Ok(true);
            }
        }
        answers = answers.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Ok(false)
}

/// The value of an attribute that is a number as the network has it. `attributes` is all that comes after the fixed part.
pub(crate) fn network_number(mut attributes: &[u8], kind: u16) -> Option<u32> {
    while let Some(header) = attributes.get(..4) {
        let length = usize::from(u16::from_ne_bytes([header[0], header[1]]));
        let own = u16::from_ne_bytes([header[2], header[3]]) & !NESTED;
        let value = attributes.get(4..length.max(4))?;
        if own == kind {
            return Some(u32::from_be_bytes(value.try_into().ok()?));
        }
        attributes = attributes.get(length.max(4).next_multiple_of(4)..)?;
    }
    None
}

/// The attributes of a message, or of an attribute.
pub(crate) struct Attributes<'a> {
    bytes: &'a mut Vec<u8>,
}

impl Attributes<'_> {
    /// Bytes as they are.
    pub(crate) fn bytes(&mut self, kind: u16, value: &[u8]) {
        self.put(kind, |own| own.bytes.extend(value));
    }

    /// A number as the machine has it.
    pub(crate) fn native(&mut self, kind: u16, value: u32) {
        self.bytes(kind, &value.to_ne_bytes());
    }

    /// A number as the network has it; nf_tables wants all of its numbers so.
    pub(crate) fn network(&mut self, kind: u16, value: u32) {
        self.bytes(kind, &value.to_be_bytes());
    }

    /// A text with its end.
    pub(crate) fn text(&mut self, kind: u16, value: &str) {
        self.put(kind, |own| {
            own.bytes.extend(value.as_bytes());
            own.bytes.push(0);
        });
    }

    /// Attributes within one.
    pub(crate) fn nested(&mut self, kind: u16, body: impl FnOnce(&mut Attributes<'_>)) {
        self.put(kind | NESTED, body);
    }

    /// A fixed part before the attributes within one: some have it.
    pub(crate) fn fixed(&mut self, part: &[u8]) {
        self.bytes.extend(part);
        pad(self.bytes);
    }

    fn put(&mut self, kind: u16, body: impl FnOnce(&mut Attributes<'_>)) {
        let start = self.bytes.len();
        self.bytes.extend(0_u16.to_ne_bytes());
        self.bytes.extend(kind.to_ne_bytes());
        body(&mut Attributes { bytes: self.bytes });
        // Rules are bounded (see `Redirection::validate`): no attribute comes near 64 KiB.
        let length = (self.bytes.len() - start) as u16;
        self.bytes[start..start + 2].copy_from_slice(&length.to_ne_bytes());
        pad(self.bytes);
    }
}

fn pad(bytes: &mut Vec<u8>) {
    bytes.resize(bytes.len().next_multiple_of(4), 0);
}
