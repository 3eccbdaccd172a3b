//! A file's bytes on their way: in pieces of 128 KiB, read when they are asked for.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::task::Poll;

use bytes::Bytes;
use http_body::Frame;

use crate::http::body::BodyError;

/// One read where many answers share a connection: each stream holds one that the client does not take.
const SMALL_PIECE: u64 = 16 << 10;
/// One read. Larger pieces make fewer TLS records' worth of system calls, smaller ones less memory.
const PIECE: u64 = 128 << 10;

/// A file, or ranges of it with what stands between them.
#[derive(Debug)]
pub struct FileBody {
    file: File,
    segments: VecDeque<Segment>,
    piece: u64,
}

#[derive(Debug)]
pub(super) enum Segment {
    /// Bytes that are here.
    Bytes(Bytes),
    /// From this place on, so many.
    File { at: u64, length: u64 },
}

impl FileBody {
    pub(super) fn new(file: File, segments: impl IntoIterator<Item = Segment>) -> Self {
        let mut segments: VecDeque<_> = segments.into_iter().collect();
        segments.retain(|segment| segment.length() > 0);
        Self { file, segments, piece: PIECE }
    }

    /// Reads in small pieces from now on.
    pub fn in_small_pieces(&mut self) {
        self.piece = SMALL_PIECE;
    }

    /// Bytes that are left.
    pub fn size(&self) -> u64 {
        self.segments.iter().map(Segment::length).sum()
    }

    /// The next frame.
    pub fn poll_frame(&mut self) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let Some(segment) = self.segments.front_mut() else { return Poll::Ready(None) };
        match segment {
            Segment::Bytes(bytes) => {
                let bytes = std::mem::take(bytes);
                self.segments.pop_front();
                Poll::Ready(Some(Ok(Frame::data(bytes))))
            }
            Segment::File { at, length } => {
                let piece = (*length).min(self.piece);
                let mut buffer = Vec::with_capacity(usize::try_from(piece).unwrap_or(0));
                self.file.seek(SeekFrom::Start(*at))?;
                let n = (&self.file).take(piece).read_to_end(&mut buffer)? as u64;
                if n == 0 {
                    // It became shorter since its length was announced: the client must see a cut.
                    return Poll::Ready(Some(Err(
                        std::io::Error::from(std::io::ErrorKind::UnexpectedEof).into()
                    )));
                }
                *at += n;
                *length -= n;
                if *length == 0 {
                    self.segments.pop_front();
                }
                Poll::Ready(Some(Ok(Frame::data(buffer.into()))))
            }
        }
    }
}

impl Segment {
    fn length(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::File { length, .. } => *length,
        }
    }
}
