//! A request for a tunnel, and its answer.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use h2::RecvStream;
use h2::server::SendResponse;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use rustls::server::UnbufferedServerConnection;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::tls::stream::ServerStream;
use crate::tunnel::direct::message::{self, Open};
use crate::tunnel::direct::stream::Home;
use crate::tunnel::direct::{self, DirectStream};
use crate::tunnel::{Tunnel, TunnelStream};

#[cfg(test)]
mod tests;

/// A request for a tunnel.
pub(crate) enum Asked {
    /// A stream of HTTP/2.
    Shared(Request<RecvStream>, SendResponse<Bytes>),
    /// A flow of the plainer framing, with the connection that it is on.
    Direct(Open, Box<ServerStream<TcpStream>>, Home<UnbufferedServerConnection>),
}

impl Asked {
    /// The address that is asked for, or why the request is malformed.
    pub(crate) fn target(&self) -> Result<SocketAddr, String> {
        let authority = match self {
            Self::Shared(request, _) if request.method() != Method::CONNECT => {
                return Err(format!("the method is {}", request.method()));
            }
            Self::Shared(request, _) => {
                request.uri().authority().map(|authority| authority.as_str()).unwrap_or_default()
            }
            Self::Direct(open, ..) => &open.authority,
        };
        authority.parse().map_err(|_| format!("{authority:?} is no address and port"))
    }

    /// Its headers.
    pub(crate) fn headers(&self) -> &HeaderMap {
        match self {
            Self::Shared(request, _) => request.headers(),
            Self::Direct(open, ..) => &open.headers,
        }
    }

    /// Says yes. None: the peer has gone, or takes no answer within `limit`, for it does not read.
    pub(crate) async fn grant(self, limit: Duration) -> Option<Tunnel<UnbufferedServerConnection>> {
        match self {
            Self::Shared(request, mut respond) => {
                let send = respond.send_response(answer(StatusCode::OK), false).ok()?;
                Some(Tunnel::Shared(TunnelStream::new(send, request.into_body(), None)))
            }
            Self::Direct(_, mut connection, home) => {
                let answer = message::answer(StatusCode::OK.as_u16());
                timeout(limit, direct::send(&mut *connection, &answer)).await.ok()?.ok()?;
                Some(Tunnel::Direct(Box::new(DirectStream::new(connection, home))))
            }
        }
    }

    /// Says no. A peer that has gone needs no answer, and one that takes none within `limit` loses its connection.
    pub(crate) async fn refuse(self, status: StatusCode, limit: Duration) {
        match self {
            Self::Shared(_, mut respond) => {
                let _ = respond.send_response(answer(status), true);
            }
            Self::Direct(_, mut connection, home) => {
                let answer = message::answer(status.as_u16());
                if let Ok(Ok(())) = timeout(limit, direct::send(&mut *connection, &answer)).await {
                    home(connection);
                }
            }
        }
    }
}

fn answer(status: StatusCode) -> Response<()> {
    let mut response = Response::new(());
    *response.status_mut() = status;
    response
}
