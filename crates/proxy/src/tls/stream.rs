//! Either end of a TLS connection over any byte stream, on rustls' unbuffered interface.
//!
//! A connection that waits holds no buffer at all: records are read and written through scratch memory that
//! belongs to the worker thread, and only what is left over (half a record, bytes that the socket or the
//! reader had no room for) is kept with the connection until it is used. Reads take up to [`MOST_READ_BYTES`]
//! from the socket at once, writes send up to [`WRITE_RECORDS`] full records with one call.
//!
//! Neighbours: `accept` decides which configuration a ClientHello gets and calls [`ServerStream::accept`];
//! `http` and `tcp` read and write the stream. The mesh's proxies talk to one another through it at both ends.

use std::cell::Cell;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use rustls::client::UnbufferedClientConnection;
use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{
    ConnectionState, EncodeError, EncodeTlsData, EncryptError, UnbufferedStatus, WriteTraffic,
};
use rustls::{ClientConfig, CommonState, ServerConfig};
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

pub use side::Side;

mod bytes;
mod side;
#[cfg(test)]
mod tests;

/// What is read from a socket at once, in bytes, for a reader who takes it piece by piece.
const READ_BYTES: usize = 128 << 10;
/// Most that is read at once, for one who takes as much.
const MOST_READ_BYTES: usize = 256 << 10;
/// And least: a whole record with its overhead, and more. As much is never kept of what a peer began to say.
const LEAST_READ_BYTES: usize = 2 * RECORD_BYTES;
/// Most full records that are sent with one call.
pub(crate) const WRITE_RECORDS: usize = 17;
/// Plaintext of a full record (RFC 8446, section 5.1).
pub(crate) const RECORD_BYTES: usize = 16 << 10;
/// Room for a record's header, explicit nonce, content type and tag in any of our cipher suites.
const RECORD_OVERHEAD: usize = 64;
/// Slices up to this size share a record with their neighbours; larger ones are encrypted where they are.
const GATHER_BYTES: usize = 4 << 10;

thread_local! {
    /// Taken while in use and put back; a nested stream finds it gone and makes its own.
    static INCOMING: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
    static OUTGOING: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
    static GATHERED: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// Why a handshake did not succeed. An alert, where one was due, has been sent.
#[derive(Debug, thiserror::Error)]
pub enum AcceptError {
    /// TLS was refused, by us or by the peer.
    #[error(transparent)]
    Tls(#[from] rustls::Error),
    /// The byte stream failed, or the peer closed it.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The peer sent more than a handshake may have.
    #[error("the handshake is larger than {0} bytes")]
    TooLarge(usize),
}

/// How far the peer's direction is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Incoming {
    Open,
    /// close_notify came: the end is where the peer meant it to be.
    Closed,
}

/// Where plaintext goes as it is decrypted.
pub(crate) trait Sink {
    /// About how much it can take, in bytes.
    fn room(&self) -> usize;

    /// Takes from the front of `bytes` and says how many; what it leaves is offered again.
    fn take(&mut self, bytes: &[u8]) -> usize;

    /// Whether it has something for its reader.
    fn is_satisfied(&self) -> bool;
}

/// The server's end.
pub type ServerStream<IO> = Stream<IO, UnbufferedServerConnection>;
/// The client's end.
pub type ClientStream<IO> = Stream<IO, UnbufferedClientConnection>;

/// A TLS connection after its handshake.
pub struct Stream<IO, S> {
    io: IO,
    tls: S,
    /// Received and not yet processed: part of a record, or of a handshake message in several of them.
    ciphertext: Vec<u8>,
    /// Decrypted and not yet read; from `read_at` on.
    plaintext: Vec<u8>,
    read_at: usize,
    /// Encrypted and not yet sent; from `sent_at` on.
    unsent: Vec<u8>,
    sent_at: usize,
    incoming: Incoming,
    close_notify_sent: bool,
}

impl<IO: AsyncRead + AsyncWrite + Unpin> ServerStream<IO> {
    /// Makes the handshake. `received` is what was already read from `io`, the ClientHello usually;
    /// `most_bytes` bounds what the client may send before the handshake is complete. A failure gives the byte
    /// stream back, so that the alert can be waited for.
    pub async fn accept(
        io: IO,
        received: Vec<u8>,
        config: Arc<ServerConfig>,
        most_bytes: usize,
    ) -> Result<Self, (AcceptError, IO)> {
        let tls = match UnbufferedServerConnection::new(config) {
            Ok(tls) => tls,
            Err(error) => return Err((error.into(), io)),
        };
        Self::begin(io, tls, received, most_bytes).await
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> ClientStream<IO> {
    /// Makes the handshake with a server that has to prove `name`; `most_bytes` bounds what it may send before the
    /// handshake is complete. A failure gives the byte stream back.
    pub async fn connect(
        io: IO,
        name: ServerName<'static>,
        config: Arc<ClientConfig>,
        most_bytes: usize,
    ) -> Result<Self, (AcceptError, IO)> {
        let tls = match UnbufferedClientConnection::new(config, name) {
            Ok(tls) => tls,
            Err(error) => return Err((error.into(), io)),
        };
        Self::begin(io, tls, Vec::new(), most_bytes).await
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin, S: Side> Stream<IO, S> {
    async fn begin(io: IO, tls: S, received: Vec<u8>, most_bytes: usize) -> Result<Self, (AcceptError, IO)> {
        let mut stream = Self {
            io,
            tls,
            ciphertext: received,
            plaintext: Vec::new(),
            read_at: 0,
            unsent: Vec::new(),
            sent_at: 0,
            incoming: Incoming::Open,
            close_notify_sent: false,
        };
        match stream.handshake(most_bytes).await {
            Ok(()) => Ok(stream),
            Err(error) => Err((error, stream.io)),
        }
    }

    async fn handshake(&mut self, most_bytes: usize) -> Result<(), AcceptError> {
        let stream = self;
        let mut taken = stream.ciphertext.len();
        loop {
            let mut held = std::mem::take(&mut stream.ciphertext);
            let progress = stream.process(&mut held, None);
            stream.ciphertext = held;
            if let Err(error) = progress {
                // The alert is worth a try; the refusal stands whether or not it arrives.
                let _ = stream.flush().await;
                return Err(error.into());
            }
            if !stream.session().is_handshaking() {
                if S::IS_SERVER
                    && stream.session().protocol_version() == Some(rustls::ProtocolVersion::TLSv1_3)
                {
                    // Tickets go out as far as the socket takes them: a client may write before it reads.
                    std::future::poll_fn(|cx| match stream.poll_send(cx) {
                        Poll::Ready(result) => Poll::Ready(result),
                        Poll::Pending => Poll::Ready(Ok(())),
                    })
                    .await?;
                } else {
                    // The handshake's last word: the client's in TLS 1.3, and mostly the server's in TLS 1.2.
                    stream.flush().await?;
                }
                // Capacity for a chain of certificates is of no use from here on.
                stream.ciphertext.shrink_to_fit();
                return Ok(());
            }
            stream.flush().await?;
            // The buffer lives for one poll: a client that lets us wait costs none.
            let received = std::future::poll_fn(|cx| {
                let mut part = [0u8; 4096];
                let mut buffer = ReadBuf::new(&mut part);
                ready!(Pin::new(&mut stream.io).poll_read(cx, &mut buffer))?;
                stream.ciphertext.extend_from_slice(buffer.filled());
                Poll::Ready(io::Result::Ok(buffer.filled().len()))
            })
            .await?;
            if received == 0 {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
            }
            taken += received;
            if taken > most_bytes {
                return Err(AcceptError::TooLarge(most_bytes));
            }
        }
    }

    /// What was negotiated.
    pub fn session(&self) -> &CommonState {
        self.tls.session()
    }

    /// The byte stream below.
    pub fn io(&self) -> &IO {
        &self.io
    }

    /// The byte stream below, to change its settings.
    pub fn io_mut(&mut self) -> &mut IO {
        &mut self.io
    }

    async fn flush(&mut self) -> io::Result<()> {
        std::future::poll_fn(|cx| self.poll_send(cx)).await
    }

    /// Processes whole records at the front of `data` and leaves in it what is not a whole record yet.
    /// Plaintext goes to `reader` while it has room, else it is kept; what TLS wants to say is kept unsent.
    fn process(&mut self, data: &mut Vec<u8>, reader: Option<&mut dyn Sink>) -> Result<(), rustls::Error> {
        let end = data.len();
        let done = self.process_slice(&mut data[..end], reader);
        let done = done?;
        data.drain(..done);
        if data.is_empty() {
            *data = Vec::new();
        }
        Ok(())
    }

    /// As [`process`](Self::process), and says how many bytes at the front are done with.
    fn process_slice(
        &mut self,
        data: &mut [u8],
        mut reader: Option<&mut dyn Sink>,
    ) -> Result<usize, rustls::Error> {
        let mut done = 0;
        loop {
            let UnbufferedStatus { discard, state } = self.tls.process_tls_records(&mut data[done..]);
            let mut more = true;
            match state {
                Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                    while let Some(record) = traffic.next_record() {
                        let mut payload = record?.payload;
                        if let Some(reader) = reader.as_deref_mut()
                            && self.plaintext.is_empty()
                        {
                            let taken = reader.take(payload);
                            payload = &payload[taken..];
                        }
                        self.plaintext.extend_from_slice(payload);
                    }
                }
                Ok(ConnectionState::EncodeTlsData(mut message)) => {
                    encode(&mut self.unsent, &mut message);
                }
                // The message is in `unsent`; every way out of here flushes that before anything else.
                Ok(ConnectionState::TransmitTlsData(transmit)) => transmit.done(),
                Ok(ConnectionState::PeerClosed) => self.incoming = Incoming::Closed,
                Ok(_) => more = false,
                Err(error) => {
                    self.queue_alert(&mut data[done + discard..]);
                    return Err(error);
                }
            }
            done += discard;
            if !more {
                return Ok(done);
            }
        }
    }

    /// Takes the alert that follows an error, and what was to be said before it (a ServerHello, when the error is
    /// in the answer to it). `rest` is what was not processed: the deframer knows places in it. The alert is the
    /// last word: one call more would read the same bad bytes again, for which the TLS library has a panic.
    fn queue_alert(&mut self, rest: &mut [u8]) {
        const CHANGE_CIPHER_SPEC: u8 = 0x14;
        const HANDSHAKE: u8 = 0x16;
        let mut done = 0;
        loop {
            let UnbufferedStatus { discard, state } = self.tls.process_tls_records(&mut rest[done..]);
            let Ok(ConnectionState::EncodeTlsData(mut message)) = state else { return };
            let start = self.unsent.len();
            encode(&mut self.unsent, &mut message);
            // An alert is of its own type in the clear and in TLS 1.2, and application data in TLS 1.3.
            if !matches!(self.unsent.get(start), Some(&(CHANGE_CIPHER_SPEC | HANDSHAKE))) {
                return;
            }
            done += discard;
        }
    }

    /// Sends what is unsent, and gives its memory back.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.sent_at < self.unsent.len() {
            match ready!(Pin::new(&mut self.io).poll_write(cx, &self.unsent[self.sent_at..]))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                sent => self.sent_at += sent,
            }
        }
        if self.unsent.capacity() > 0 {
            (self.unsent, self.sent_at) = (Vec::new(), 0);
        }
        Poll::Ready(Ok(()))
    }

    /// Encrypts with `seal`, given the connection ready to write, into `out`; says how much was written.
    fn seal(
        &mut self,
        out: &mut [u8],
        mut seal: impl FnMut(&mut WriteTraffic<'_, S::Data>, &mut [u8]) -> Result<usize, EncryptError>,
    ) -> io::Result<usize> {
        let mut held = std::mem::take(&mut self.ciphertext);
        let mut at = 0;
        let sealed = loop {
            let UnbufferedStatus { discard, state } = self.tls.process_tls_records(&mut held[at..]);
            let result = match state {
                Ok(ConnectionState::WriteTraffic(mut traffic)) => {
                    Some(seal(&mut traffic, out).map_err(|error| io::Error::other(error.to_string())))
                }
                Ok(ConnectionState::EncodeTlsData(mut message)) => {
                    encode(&mut self.unsent, &mut message);
                    None
                }
                Ok(ConnectionState::TransmitTlsData(transmit)) => {
                    transmit.done();
                    None
                }
                Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                    while let Some(record) = traffic.next_record() {
                        match record {
                            Ok(record) => self.plaintext.extend_from_slice(record.payload),
                            Err(error) => return Err(invalid(error)),
                        }
                    }
                    None
                }
                Ok(ConnectionState::PeerClosed) => {
                    self.incoming = Incoming::Closed;
                    None
                }
                Ok(_) => Some(Err(io::ErrorKind::BrokenPipe.into())),
                Err(error) => Some(Err(invalid(error))),
            };
            at += discard;
            if let Some(result) = result {
                break result;
            }
        };
        held.drain(..at);
        self.ciphertext = held;
        sealed
    }

    /// Encrypts `plaintext`, as much as [`WRITE_RECORDS`] full records hold, and hands it to the socket; what the socket
    /// does not take stays unsent. Says how much it was.
    fn send_records(
        &mut self,
        cx: &mut Context<'_>,
        plaintext: &[IoSlice<'_>],
        gathered: &mut Vec<u8>,
        out: &mut Vec<u8>,
    ) -> io::Result<usize> {
        // Every slice may begin a record of its own. It grows with what is sent: a worker that carries small messages only
        // has no large one.
        let all: usize = plaintext.iter().map(|slice| slice.len()).sum();
        let all = all.min(WRITE_RECORDS * RECORD_BYTES);
        let room = all + RECORD_OVERHEAD * (all / RECORD_BYTES + plaintext.len() + 1);
        if out.len() < room {
            out.resize(room, 0);
        }
        let mut taken = 0;
        let length = self.seal(out, |traffic, out| {
            let mut length = 0;
            for slice in plaintext {
                let take = slice.len().min(WRITE_RECORDS * RECORD_BYTES - taken);
                taken += take;
                if take <= GATHER_BYTES {
                    gathered.extend_from_slice(&slice[..take]);
                    continue;
                }
                // What is large is encrypted where it is; what came before it has a record of its own.
                for run in [gathered.as_slice(), &slice[..take]] {
                    if !run.is_empty() {
                        length += traffic.encrypt(run, &mut out[length..])?;
                    }
                }
                gathered.clear();
            }
            if !gathered.is_empty() {
                length += traffic.encrypt(gathered, &mut out[length..])?;
            }
            Ok(length)
        })?;
        let mut sent = 0;
        // A key update that became due goes first; then nothing may overtake it.
        if self.unsent.is_empty() {
            while sent < length {
                match Pin::new(&mut self.io).poll_write(cx, &out[sent..length]) {
                    Poll::Ready(Ok(0)) => return Err(io::ErrorKind::WriteZero.into()),
                    Poll::Ready(Ok(n)) => sent += n,
                    Poll::Ready(Err(error)) => return Err(error),
                    Poll::Pending => break,
                }
            }
        }
        self.unsent.extend_from_slice(&out[sent..length]);
        Ok(taken)
    }
}

/// Appends a message that TLS wants to say to `out`.
fn encode<Data>(out: &mut Vec<u8>, message: &mut EncodeTlsData<'_, Data>) {
    let start = out.len();
    if let Err(EncodeError::InsufficientSize(size)) = message.encode(&mut []) {
        out.resize(start + size.required_size, 0);
        let written = message.encode(&mut out[start..]).unwrap_or(0);
        out.truncate(start + written);
    }
}

fn invalid(error: rustls::Error) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}
