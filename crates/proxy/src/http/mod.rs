//! Everything HTTP.

pub mod hosts;

use std::sync::Arc;

use model::snapshot::Listener;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};

pub use hosts::HostIndex;

use crate::connection::Connection;
use crate::error::Error;
use crate::state::Assembly;

/// The hosts and routes of one listener, compiled.
pub struct Site {}

impl Site {
    /// Compiles the hosts and routes of a listener.
    ///
    /// # Errors
    ///
    /// An [`Error`] when a file is missing or a value makes no sense.
    pub fn compile(_listener: &Listener, _assembly: &mut Assembly<'_>) -> Result<Self, Error> {
        Ok(Self {})
    }
}

/// Serves HTTP on a connection until it ends.
pub async fn serve<IO>(mut io: IO, _connection: Arc<Connection>)
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let _ = io
        .write_all(b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
        .await;
    let _ = io.shutdown().await;
}
