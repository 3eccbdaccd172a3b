//! What clients made of gRPC's core (Python, C++, Ruby, ...) say as `:authority` on a Unix socket is the socket's path,
//! percent-encoded: `run%2Fapi.sock`. That is no authority (RFC 3986, section 3.2, has no such port or host in HTTP/2's
//! use), and h2 resets the stream for it. Nobody asks for the authority here, so each `%` in it becomes a `-` on the way
//! in: as long in plain as in Huffman's code (RFC 7541, appendix B: six bits both), so that nothing else moves and the
//! tables of both ends stay alike.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The preface of a client (RFC 9113, section 3.4).
const PREFACE: usize = 24;
/// The head of a frame (section 4.1).
const HEAD: usize = 9;
/// The type of HEADERS, and its flags PADDED and PRIORITY (section 6.2).
const HEADERS: u8 = 1;
const PADDED: u8 = 0x8;
const PRIORITY: u8 = 0x20;
/// The largest frame while nothing else was agreed on (section 4.2): what is longer goes on as it is, to be refused.
const LARGEST: usize = 16_384;
/// The index of `:authority` in the static table (RFC 7541, appendix A).
const AUTHORITY: usize = 1;
/// How many symbols of Huffman's code have so many bits, from 5 on (appendix B). It is canonical: that is all it takes
/// to tell where a symbol ends.
const OF_LENGTH: [u32; 26] =
    [10, 26, 32, 6, 0, 5, 3, 2, 6, 2, 3, 0, 0, 0, 3, 8, 13, 26, 29, 12, 4, 15, 19, 29, 0, 4];
/// `%` and `-`, both of six bits.
const PERCENT: u32 = 0b01_0101;
const HYPHEN: u32 = 0b01_0110;

/// A connection whose client's authority is readable.
pub(super) struct Readable<S> {
    inner: S,
    /// What was read and is no whole frame yet, after what is: `ready` bytes of it may go on.
    buffer: Vec<u8>,
    ready: usize,
    begun: bool,
    /// So many bytes of a frame that is too long follow as they are.
    pass: usize,
}

impl<S> Readable<S> {
    pub(super) fn new(inner: S) -> Self {
        Self { inner, buffer: Vec::new(), ready: 0, begun: false, pass: 0 }
    }

    /// Moves whole frames to what may go on.
    fn look(&mut self) {
        loop {
            let rest = self.buffer.get_mut(self.ready..).unwrap_or_default();
            if self.pass > 0 {
                let taken = self.pass.min(rest.len());
                (self.ready, self.pass) = (self.ready + taken, self.pass - taken);
                if taken == 0 || self.pass > 0 {
                    return;
                }
                continue;
            }
            if !self.begun {
                if rest.len() < PREFACE {
                    return;
                }
                (self.begun, self.ready) = (true, self.ready + PREFACE);
                continue;
            }
            let &[a, b, c, kind, flags, ..] = &*rest else { return };
            if rest.len() < HEAD {
                return;
            }
            let length = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
            if length > LARGEST {
                self.pass = HEAD + length;
                continue;
            }
            let Some(payload) = rest.get_mut(HEAD..HEAD + length) else { return };
            if kind == HEADERS {
                let skipped = usize::from(flags & PADDED != 0) + if flags & PRIORITY != 0 { 5 } else { 0 };
                fields(payload.get_mut(skipped..).unwrap_or_default());
            }
            self.ready += HEAD + length;
        }
    }
}

/// Goes through the fields of a block; what makes no sense is left for others to refuse.
fn fields(block: &mut [u8]) {
    let mut at = 0;
    while let Some(&first) = block.get(at) {
        let (prefix, literal) = match first {
            0x80.. => (7, false),
            0x40.. => (6, true),
            0x20.. => (5, false),
            _ => (4, true),
        };
        let Some((index, after)) = integer(block, at, prefix) else { return };
        at = after;
        if !literal {
            continue;
        }
        let mut is_authority = index == AUTHORITY;
        if index == 0 {
            let Some((name, _, after)) = text(block, at) else { return };
            is_authority = block.get(name) == Some(b":authority".as_slice());
            at = after;
        }
        let Some((value, huffman, after)) = text(block, at) else { return };
        if is_authority && let Some(value) = block.get_mut(value) {
            if huffman { replace_coded(value) } else { replace(value) }
        }
        at = after;
    }
}

/// An integer whose first byte has so many bits for it (RFC 7541, section 5.1), and where it ends.
fn integer(block: &[u8], at: usize, prefix: u32) -> Option<(usize, usize)> {
    let full = (1_usize << prefix) - 1;
    let first = usize::from(*block.get(at)?) & full;
    if first < full {
        return Some((first, at + 1));
    }
    let mut value = full;
    for (n, &byte) in block.get(at + 1..)?.iter().take(4).enumerate() {
        value += (usize::from(byte) & 0x7f) << (7 * n);
        if byte & 0x80 == 0 {
            return Some((value, at + 2 + n));
        }
    }
    None
}

/// A string (section 5.2): where it is, whether in Huffman's code, and where it ends.
fn text(block: &[u8], at: usize) -> Option<(std::ops::Range<usize>, bool, usize)> {
    let huffman = block.get(at)? & 0x80 != 0;
    let (length, begin) = integer(block, at, 7)?;
    let end = begin.checked_add(length).filter(|end| *end <= block.len())?;
    Some((begin..end, huffman, end))
}

fn replace(value: &mut [u8]) {
    value.iter_mut().filter(|byte| **byte == b'%').for_each(|byte| *byte = b'-');
}

fn replace_coded(value: &mut [u8]) {
    let bits = value.len() * 8;
    let bit = |value: &[u8], at: usize| u32::from(value[at / 8] >> (7 - at % 8) & 1);
    let mut at = 0;
    loop {
        // The first code of each length, as it follows from how many shorter ones there are.
        let (mut code, mut first, mut length) = (0, 0, 0);
        let ended = loop {
            if at + length >= bits {
                return;
            }
            code = code << 1 | bit(value, at + length);
            length += 1;
            let Some(count) = length.checked_sub(5) else { continue };
            let Some(&count) = OF_LENGTH.get(count) else { return };
            if code < first + count {
                break length;
            }
            first = (first + count) << 1;
        };
        if ended == 6 && code == PERCENT {
            // They differ in the last two bits.
            for (n, shift) in (0..6).rev().enumerate() {
                let (byte, mask) = ((at + n) / 8, 0x80 >> ((at + n) % 8));
                if HYPHEN >> shift & 1 == 1 { value[byte] |= mask } else { value[byte] &= !mask }
            }
        }
        at += ended;
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Readable<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            if self.ready > 0 {
                let taken = self.ready.min(out.remaining());
                out.put_slice(&self.buffer[..taken]);
                self.buffer.drain(..taken);
                self.ready -= taken;
                return Poll::Ready(Ok(()));
            }
            let mut space = [0; 4096];
            let mut read = ReadBuf::new(&mut space);
            ready!(Pin::new(&mut self.inner).poll_read(context, &mut read))?;
            if read.filled().is_empty() {
                // The end: what is left is no whole frame, and goes on to be refused.
                self.ready = self.buffer.len();
                if self.ready == 0 {
                    return Poll::Ready(Ok(()));
                }
                continue;
            }
            self.buffer.extend_from_slice(read.filled());
            self.look();
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Readable<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percent_becomes_hyphen_and_nothing_else_changes() {
        let mut plain = *b"\x82\x41\x05a%2Fb\x40\x01x\x03a%b";
        fields(&mut plain);
        assert_eq!(&plain, b"\x82\x41\x05a-2Fb\x40\x01x\x03a%b");
        // `www.example.com` as RFC 7541, C.4.1 has it: nothing to change.
        let example = [0x41, 0x8c, 0xf1, 0xe3, 0xc2, 0xe5, 0xf2, 0x3a, 0x6b, 0xa0, 0xab, 0x90, 0xf4, 0xff];
        let mut same = example;
        fields(&mut same);
        assert_eq!(same, example);
        // `%%%%` in Huffman's code is four times 010101.
        let mut coded = [0x41, 0x83, 0b0101_0101, 0b0101_0101, 0b0101_0101];
        fields(&mut coded);
        assert_eq!(coded, [0x41, 0x83, 0b0101_1001, 0b0110_0101, 0b1001_0110]);
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_survived(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..200)) {
            let mut changed = bytes.clone();
            fields(&mut changed);
            assert_eq!(changed.len(), bytes.len());
        }

        #[test]
        fn frames_go_on_whole_however_they_come(
            frames in proptest::collection::vec((proptest::num::u8::ANY, 0_usize..300), 0..10),
            cut in 1_usize..50,
        ) {
            let mut sent = vec![b'x'; PREFACE];
            for (kind, length) in frames {
                let kind = if kind == HEADERS { 0 } else { kind };
                sent.extend([0, u8::try_from(length >> 8).unwrap(), u8::try_from(length & 0xff).unwrap(), kind]);
                sent.extend([0; 5]);
                sent.extend(std::iter::repeat_n(b'%', length));
            }
            let mut readable = Readable::new(());
            let mut out = Vec::new();
            for part in sent.chunks(cut) {
                readable.buffer.extend_from_slice(part);
                readable.look();
                out.extend(readable.buffer.drain(..readable.ready));
                readable.ready = 0;
            }
            assert_eq!(out, sent);
        }
    }
}
