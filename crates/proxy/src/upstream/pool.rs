//! Connections to endpoints that are kept open. Each worker has its own, in its thread: nothing is locked and
//! no request crosses threads.
//!
//! An HTTP/1 connection is driven by whoever uses it, inside of the request's own task: no task of its own, no
//! wake-up between tasks. While it is idle nobody drives it; whether it was closed meanwhile is seen when it
//! is taken out. HTTP/2 connections have a task each and are shared.

use std::cell::RefCell;
use std::collections::HashMap;
use std::future::Future as _;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body as _, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};

use super::health::now_ms;
use super::service::{Busy, Open};
use super::{ServiceState, UpstreamStream};
use crate::http::body::{BodyError, Patience, RequestBody};

/// An HTTP/1 connection with the future that moves its bytes.
pub struct Http1 {
    sender: http1::SendRequest<RequestBody>,
    connection: Option<http1::Connection<TokioIo<UpstreamStream>, RequestBody>>,
    _open: Open,
}

impl std::fmt::Debug for Http1 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Http1").finish_non_exhaustive()
    }
}

/// Where an idle connection goes back to.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    /// The endpoint and the way in which connections to it are made.
    pub key: (u64, u64),
    /// How many may wait there.
    pub most: usize,
    /// For how long.
    pub timeout: Duration,
}

#[derive(Default)]
struct Endpoint {
    idle: Vec<Idle>,
    shared: Option<http2::SendRequest<RequestBody>>,
}

struct Idle {
    connection: Box<Http1>,
    until: u64,
}

#[derive(Default)]
struct Pools {
    endpoints: HashMap<(u64, u64), Endpoint>,
    sweeping: bool,
}

thread_local! {
    static POOLS: RefCell<Pools> = RefCell::default();
}

/// How often idle connections are looked at that nobody takes.
const SWEEP: Duration = Duration::from_secs(5);

/// An idle HTTP/1 connection to an endpoint; closed and outdated ones are thrown away on the way.
pub fn take(place: Place) -> Option<Box<Http1>> {
    POOLS.with_borrow_mut(|pools| {
        let idle = &mut pools.endpoints.get_mut(&place.key)?.idle;
        let now = now_ms();
        while let Some(mut kept) = idle.pop() {
            if kept.until > now && kept.connection.is_alive() {
                return Some(kept.connection);
            }
        }
        None
    })
}

/// The shared HTTP/2 connection to an endpoint, if there is one that works.
pub fn shared(place: Place) -> Option<http2::SendRequest<RequestBody>> {
    POOLS.with_borrow_mut(|pools| {
        let slot = &mut pools.endpoints.get_mut(&place.key)?.shared;
        if slot.as_ref().is_some_and(http2::SendRequest::is_closed) {
            *slot = None;
        }
        slot.clone()
    })
}

/// Keeps a shared HTTP/2 connection.
pub fn share(place: Place, sender: &http2::SendRequest<RequestBody>) {
    POOLS
        .with_borrow_mut(|pools| pools.endpoints.entry(place.key).or_default().shared = Some(sender.clone()));
}

fn put_back(place: Place, connection: Box<Http1>) {
    if place.most == 0 {
        return;
    }
    let sweep = POOLS.with_borrow_mut(|pools| {
        let idle = &mut pools.endpoints.entry(place.key).or_default().idle;
        if idle.len() >= place.most {
            return false;
        }
        let span = u64::try_from(place.timeout.as_millis()).unwrap_or(u64::MAX >> 1);
        idle.push(Idle { connection, until: now_ms() + span });
        !std::mem::replace(&mut pools.sweeping, true)
    });
    if sweep && let Ok(runtime) = tokio::runtime::Handle::try_current() {
        runtime.spawn(sweep_pools());
    }
}

/// Throws away idle connections whose time is over or that were closed; ends when none is left.
async fn sweep_pools() {
    loop {
        tokio::time::sleep(SWEEP).await;
        let gone: Vec<Idle> = POOLS.with_borrow_mut(|pools| {
            let now = now_ms();
            let mut gone = Vec::new();
            for endpoint in pools.endpoints.values_mut() {
                let kept = std::mem::take(&mut endpoint.idle);
                for mut idle in kept {
                    if idle.until > now && idle.connection.is_alive() {
                        endpoint.idle.push(idle);
                    } else {
                        gone.push(idle);
                    }
                }
            }
            pools.endpoints.retain(|_, e| {
                !e.idle.is_empty() || e.shared.as_ref().is_some_and(|shared| !shared.is_closed())
            });
            pools.sweeping = pools.endpoints.values().any(|e| !e.idle.is_empty());
            gone
        });
        drop(gone);
        if !POOLS.with_borrow(|pools| pools.sweeping) {
            return;
        }
    }
}

/// Forgets all connections of this worker, as a drain does.
pub fn clear() {
    let pools = POOLS.take();
    drop(pools);
}

impl Http1 {
    /// Speaks HTTP/1 on a new connection.
    pub async fn new(stream: UpstreamStream, open: Open) -> Result<Box<Self>, hyper::Error> {
        let (sender, connection) =
            http1::Builder::new().max_buf_size(256 << 10).handshake(TokioIo::new(stream)).await?;
        Ok(Box::new(Self { sender, connection: Some(connection), _open: open }))
    }

    /// Whether the other end has not closed it while it was idle. Also lets go of the task that drove it last.
    fn is_alive(&mut self) -> bool {
        let mut cx = Context::from_waker(Waker::noop());
        self.drive(&mut cx);
        self.connection.is_some() && self.sender.is_ready()
    }

    /// Moves its bytes.
    fn drive(&mut self, cx: &mut Context<'_>) {
        if let Some(connection) = &mut self.connection
            && Pin::new(connection).poll(cx).is_ready()
        {
            // How it ended is told to the request or body that waits on it.
            self.connection = None;
        }
    }

    /// Sends a request and waits for the answer's headers.
    pub async fn send(
        &mut self,
        request: Request<RequestBody>,
    ) -> Result<Response<Incoming>, http1_error::SendError> {
        let mut answer = std::pin::pin!(self.sender.try_send_request(request));
        let connection = &mut self.connection;
        std::future::poll_fn(|cx| {
            if let Some(driven) = connection
                && Pin::new(driven).poll(cx).is_ready()
            {
                *connection = None;
            }
            answer.as_mut().poll(cx)
        })
        .await
        .map_err(|mut error| http1_error::SendError {
            unsent: error.take_message().is_some(),
            error: error.into_error(),
        })
    }

    /// Gives the connection a task of its own, for an upgrade: the answer's extensions then lead to the raw
    /// bytes.
    pub fn into_task(mut self: Box<Self>) -> (http1::SendRequest<RequestBody>, Open) {
        if let Some(connection) = self.connection.take() {
            tokio::spawn(async move {
                let _ = connection.with_upgrades().await;
            });
        }
        let Self { sender, _open, .. } = *self;
        (sender, _open)
    }
}

/// Errors of sending.
pub mod http1_error {
    /// Why there is no answer.
    #[derive(Debug)]
    pub struct SendError {
        /// Nothing of the request was written: it may be sent again, whatever its method.
        pub unsent: bool,
        /// What happened.
        pub error: hyper::Error,
    }
}

/// Speaks HTTP/2 on a new connection, in a task of its own.
pub async fn http2(
    stream: UpstreamStream,
    open: Open,
) -> Result<http2::SendRequest<RequestBody>, hyper::Error> {
    let (sender, connection) = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .initial_stream_window_size(1 << 20)
        .initial_connection_window_size(4 << 20)
        .max_frame_size(64 << 10)
        .max_header_list_size(256 << 10)
        .keep_alive_interval(Duration::from_secs(30))
        .keep_alive_timeout(Duration::from_secs(20))
        .handshake(TokioIo::new(stream))
        .await?;
    tokio::spawn(async move {
        let _ = connection.await;
        drop(open);
    });
    Ok(sender)
}

/// The body of a service's answer. When it has ended, its connection goes back to the pool.
#[derive(Debug)]
pub struct UpstreamBody {
    incoming: Incoming,
    connection: Option<Box<Http1>>,
    place: Place,
    read: Duration,
    patience: Patience,
    busy: Option<Busy>,
    ended: bool,
}

impl UpstreamBody {
    /// The body of an answer on an HTTP/1 connection (`Some`) or a stream of a shared one.
    pub fn new(
        incoming: Incoming,
        connection: Option<Box<Http1>>,
        service: &ServiceState,
        read: Duration,
        busy: Busy,
    ) -> Self {
        let place = service.place(busy.endpoint());
        let mut body = Self {
            incoming,
            connection,
            place,
            read,
            patience: Patience::default(),
            busy: Some(busy),
            ended: false,
        };
        if body.incoming.is_end_stream() {
            body.finish();
        }
        body
    }

    /// The next frame.
    pub fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        let mut polled = Pin::new(&mut self.incoming).poll_frame(cx);
        if polled.is_pending()
            && let Some(connection) = &mut self.connection
        {
            connection.drive(cx);
            polled = Pin::new(&mut self.incoming).poll_frame(cx);
        }
        match polled {
            Poll::Ready(Some(Ok(frame))) => {
                self.patience.moved(self.read);
                if self.incoming.is_end_stream() {
                    self.finish();
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => {
                self.give_up();
                Poll::Ready(Some(Err(BodyError::Truncated(error))))
            }
            Poll::Ready(None) => {
                self.finish();
                Poll::Ready(None)
            }
            Poll::Pending => {
                std::task::ready!(self.patience.poll_waited(self.read, cx));
                self.give_up();
                Poll::Ready(Some(Err(BodyError::UpstreamSlow)))
            }
        }
    }

    /// Whether nothing more will come.
    pub fn is_end_stream(&self) -> bool {
        self.ended || self.incoming.is_end_stream()
    }

    /// How much will come.
    pub fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }

    fn give_up(&mut self) {
        self.ended = true;
        self.connection = None;
        self.busy = None;
    }

    fn finish(&mut self) {
        self.ended = true;
        self.busy = None;
        if let Some(mut connection) = self.connection.take()
            && connection.is_alive()
        {
            put_back(self.place, connection);
        }
    }
}
