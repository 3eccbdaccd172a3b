//! What differs between the two ends of a TLS connection: which of rustls' state machines it is.

use rustls::CommonState;
use rustls::client::{ClientConnectionData, UnbufferedClientConnection};
use rustls::server::{ServerConnectionData, UnbufferedServerConnection};
use rustls::unbuffered::UnbufferedStatus;

/// One end of a TLS connection, without a byte stream.
pub trait Side: Unpin {
    /// What rustls keeps for this end.
    type Data;
    /// Which end it is.
    const IS_SERVER: bool;

    /// Processes what was received, see [`rustls::unbuffered`].
    fn process_tls_records<'c, 'i>(
        &'c mut self,
        received: &'i mut [u8],
    ) -> UnbufferedStatus<'c, 'i, Self::Data>;

    /// What was negotiated.
    fn session(&self) -> &CommonState;
}

impl Side for UnbufferedServerConnection {
    type Data = ServerConnectionData;
    const IS_SERVER: bool = true;

    fn process_tls_records<'c, 'i>(
        &'c mut self,
        received: &'i mut [u8],
    ) -> UnbufferedStatus<'c, 'i, Self::Data> {
        (**self).process_tls_records(received)
    }

    fn session(&self) -> &CommonState {
        self
    }
}

impl Side for UnbufferedClientConnection {
    type Data = ClientConnectionData;
    const IS_SERVER: bool = false;

    fn process_tls_records<'c, 'i>(
        &'c mut self,
        received: &'i mut [u8],
    ) -> UnbufferedStatus<'c, 'i, Self::Data> {
        (**self).process_tls_records(received)
    }

    fn session(&self) -> &CommonState {
        self
    }
}
