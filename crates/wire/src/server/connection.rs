//! One connection: TLS, then HTTP/2, whose limits are all said here.

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls_pki_types::CertificateDer;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_rustls::TlsAcceptor;

use super::dispatch::Dispatch;
use super::{Limits, Shared};
use crate::error::chain;

/// The longest headers of a request, bytes; this also bounds how many CONTINUATION frames they may come in.
const HEADERS: u32 = 16 << 10;
/// What may be under way on a stream, and on all of a connection, before it was read, bytes.
const STREAM_WINDOW: u32 = 256 << 10;
const CONNECTION_WINDOW: u32 = 1 << 20;
/// What may wait to be sent on a stream, bytes.
const SEND_BUFFER: usize = 256 << 10;
/// How many streams may have been reset by the caller before they were looked at; with one more the connection ends.
const RESETS_OF_CALLER: usize = 20;
/// How many streams we may have reset for what the caller did.
const RESETS_OF_OURS: usize = 64;

/// How often it is looked whether a connection is idle, at most.
const SHORTEST_LOOK: Duration = Duration::from_millis(10);

pub(super) async fn run(
    stream: TcpStream,
    address: SocketAddr,
    acceptor: Option<TlsAcceptor>,
    shared: Arc<Shared>,
) {
    let Some(acceptor) = acceptor else {
        return serve(stream, address, Arc::new([]), shared).await;
    };
    let handshake = timeout(shared.options.limits.handshake, acceptor.accept(stream));
    let accepted = tokio::select! {
        accepted = handshake => accepted,
        () = shared.ending.cancelled() => return,
    };
    match accepted {
        Ok(Ok(tls)) => {
            let chain = tls.get_ref().1.peer_certificates().unwrap_or_default();
            let chain: Arc<[CertificateDer<'static>]> = chain.to_vec().into();
            serve(tls, address, chain, shared).await;
        }
        Ok(Err(error)) => tracing::debug!(%address, %error, "no TLS"),
        Err(_) => tracing::debug!(%address, "TLS took too long"),
    }
}

async fn serve<S>(stream: S, address: SocketAddr, chain: Arc<[CertificateDer<'static>]>, shared: Arc<Shared>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let open = Arc::new(AtomicUsize::new(0));
    let dispatch = Dispatch { shared: Arc::clone(&shared), address, chain, open: Arc::clone(&open) };
    let service = service_fn(move |request| dispatch.clone().answer(request));
    let limits = shared.options.limits.clone();
    let mut connection = pin!(builder(&limits).serve_connection(TokioIo::new(stream), service));
    let mut ending = false;
    // Seen twice in a row without a request, it is idle.
    let mut looks = interval((limits.idle / 2).max(SHORTEST_LOOK));
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    looks.tick().await;
    let mut unused = 0;
    let ended = loop {
        tokio::select! {
            ended = connection.as_mut() => break ended,
            () = shared.ending.cancelled(), if !ending => {
                ending = true;
                connection.as_mut().graceful_shutdown();
            }
            _ = looks.tick() => {
                unused = if open.load(Ordering::Relaxed) == 0 { unused + 1 } else { 0 };
                if unused == 2 && !ending {
                    ending = true;
                    connection.as_mut().graceful_shutdown();
                } else if unused > 4 {
                    break Ok(());
                }
            }
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%address, error = chain_of(&error), "a connection ends");
    }
}

fn chain_of(error: &hyper::Error) -> String {
    chain(error)
}

fn builder(limits: &Limits) -> http2::Builder<TokioExecutor> {
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.streams)
        .max_header_list_size(HEADERS)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buf_size(SEND_BUFFER)
        .max_pending_accept_reset_streams(RESETS_OF_CALLER)
        .max_local_error_reset_streams(RESETS_OF_OURS)
        .keep_alive_interval(limits.keep_alive)
        .keep_alive_timeout(limits.keep_alive_timeout);
    builder
}
