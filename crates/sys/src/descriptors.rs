//! Open descriptors handed from one process to another over a Unix socket.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};

/// How many go with one message.
pub const MOST_DESCRIPTORS: usize = 4;

/// Sends bytes, and with their first one the descriptors (`SCM_RIGHTS`, unix(7)). Says how many bytes were taken.
///
/// # Errors
///
/// When there are more than [`MOST_DESCRIPTORS`], or the other end is gone.
pub fn send_descriptors(
    stream: impl AsFd,
    bytes: &[u8],
    descriptors: &[BorrowedFd<'_>],
) -> io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_DESCRIPTORS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    // The space is rounded up, and would take one more than the other end expects.
    let fits = descriptors.len() <= MOST_DESCRIPTORS;
    let taken = descriptors.is_empty() || fits && control.push(SendAncillaryMessage::ScmRights(descriptors));
    if !taken {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "too many descriptors for one message"));
    }
    Ok(sendmsg(stream, &[IoSlice::new(bytes)], &mut control, SendFlags::NOSIGNAL)?)
}

/// Receives bytes and the descriptors that came with them, which no program started later gets.
///
/// # Errors
///
/// As of recvmsg(2).
pub fn receive_descriptors(stream: impl AsFd, bytes: &mut [u8]) -> io::Result<(usize, Vec<OwnedFd>)> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_DESCRIPTORS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::CMSG_CLOEXEC;
    let got = recvmsg(stream, &mut [IoSliceMut::new(bytes)], &mut control, flags)?.bytes;
    let mut received = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(descriptors) = message {
            received.extend(descriptors);
        }
    }
    Ok((got, received))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test stops where something is not as expected")]
mod tests {
    use std::net::{TcpListener, TcpStream};
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn a_listener_goes_on_listening_in_other_hands() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        assert_eq!(send_descriptors(&ours, b"one", &[listener.as_fd()]).unwrap(), 3);
        drop(listener);
        let mut bytes = [0; 16];
        let (got, mut received) = receive_descriptors(&theirs, &mut bytes).unwrap();
        assert_eq!((&bytes[..got], received.len()), (&b"one"[..], 1));
        let listener = TcpListener::from(received.remove(0));
        let _called = TcpStream::connect(address).unwrap();
        listener.accept().unwrap();
    }

    #[test]
    fn more_than_fit_are_refused_and_none_are_none() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let many = vec![ours.as_fd(); MOST_DESCRIPTORS + 1];
        assert_eq!(send_descriptors(&ours, b"x", &many).unwrap_err().kind(), io::ErrorKind::InvalidInput);
        send_descriptors(&ours, b"x", &[]).unwrap();
        let (got, received) = receive_descriptors(&theirs, &mut [0; 4]).unwrap();
        assert_eq!((got, received.len()), (1, 0));
    }
}
