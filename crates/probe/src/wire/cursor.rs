//! Reads big-endian fields from a slice; every step that would run over the end answers `None`.

/// A position in bytes that came from outside.
#[derive(Clone, Copy, Debug)]
pub struct Cursor<'a> {
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    /// Starts at the first byte.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// Whether all bytes were read.
    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// What has not been read.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// The next `count` bytes.
    pub fn bytes(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(count)?;
        self.rest = rest;
        Some(taken)
    }

    /// An unsigned number of `count` bytes (at most 8).
    pub fn number(&mut self, count: usize) -> Option<usize> {
        if count > 8 {
            return None;
        }
        let bytes = self.bytes(count)?;
        bytes.iter().try_fold(0usize, |sum, byte| sum.checked_mul(256)?.checked_add(usize::from(*byte)))
    }

    /// A byte.
    pub fn u8(&mut self) -> Option<u8> {
        self.number(1).and_then(|n| u8::try_from(n).ok())
    }

    /// Two bytes.
    pub fn u16(&mut self) -> Option<u16> {
        self.number(2).and_then(|n| u16::try_from(n).ok())
    }

    /// A vector that is preceded by its length in `prefix` bytes.
    pub fn vector(&mut self, prefix: usize) -> Option<Cursor<'a>> {
        let length = self.number(prefix)?;
        self.bytes(length).map(Cursor::new)
    }

    /// All remaining two-byte numbers, at most 256 of them.
    pub fn u16s(&mut self) -> Vec<u16> {
        let mut list = Vec::new();
        while let Some(number) = self.u16() {
            list.push(number);
            if list.len() == 256 {
                break;
            }
        }
        list
    }
}
