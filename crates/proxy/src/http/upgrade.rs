//! WebSocket and every other upgrade of an HTTP/1.1 connection (RFC 9110, section 7.8): after 101 on both
//! sides, bytes go both ways untouched.

use std::time::Duration;

use http::request::Parts;
use http::{HeaderValue, Response, StatusCode, Version, header};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;

use super::body::Kind;
use super::exchange::Exchange;
use super::headers::any_has_token;

/// The protocol that a request wants to switch to. Never h2c: what would follow could not be looked into.
pub fn wanted(request: &mut Parts) -> Option<HeaderValue> {
    if request.version != Version::HTTP_11 || !any_has_token(&request.headers, &header::CONNECTION, "upgrade")
    {
        return None;
    }
    let protocol = request.headers.get(header::UPGRADE)?;
    let text = protocol.to_str().ok()?;
    let forbidden = text.split(',').any(|item| {
        let item = item.trim();
        item.eq_ignore_ascii_case("h2c") || item.to_ascii_lowercase().starts_with("tls/")
    });
    if forbidden || text.is_empty() || request.extensions.get::<OnUpgrade>().is_none() {
        return None;
    }
    Some(protocol.clone())
}

/// Joins the two connections once the service has answered 101. The answer is what the client gets.
pub fn join(x: &mut Exchange, mut answer: Response<Kind>, idle: Duration) -> Response<Kind> {
    let service = answer.extensions_mut().remove::<OnUpgrade>();
    let client = x.request.extensions.remove::<OnUpgrade>();
    let protocol = answer.headers().get(header::UPGRADE).cloned();
    let (Some(service), Some(client)) = (service, client) else {
        // 101 that nobody asked for: RFC 9110, section 15.2.2.
        *answer.status_mut() = StatusCode::BAD_GATEWAY;
        *answer.body_mut() = Kind::Empty;
        return answer;
    };
    let connection = std::sync::Arc::clone(&x.connection);
    tokio::spawn(async move {
        let (Ok(client), Ok(service)) = tokio::join!(client, service) else { return };
        let (client, service) = (TokioIo::new(client), TokioIo::new(service));
        copy(client, service, idle).await;
        drop(connection);
    });
    super::headers::from_service(answer.headers_mut(), &[]);
    if let Some(protocol) = protocol {
        answer.headers_mut().insert(header::UPGRADE, protocol);
    }
    answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    answer
}

/// Bytes both ways until both ends closed, or nothing moved for the idle time.
async fn copy<A, B>(one: A, two: B, idle: Duration)
where
    A: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
    B: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    let moved = std::sync::atomic::AtomicU64::new(crate::upstream::health::now_ms());
    let (one_read, one_write) = tokio::io::split(one);
    let (two_read, two_write) = tokio::io::split(two);
    let both =
        async { tokio::join!(one_way(one_read, two_write, &moved), one_way(two_read, one_write, &moved)) };
    let watch = async {
        loop {
            let last = moved.load(std::sync::atomic::Ordering::Relaxed);
            let quiet = Duration::from_millis(crate::upstream::health::now_ms().saturating_sub(last));
            let Some(rest) = idle.checked_sub(quiet).filter(|rest| !rest.is_zero()) else { return };
            tokio::time::sleep(rest).await;
        }
    };
    tokio::select! {
        _ = both => {}
        () = watch => {}
    }
}

async fn one_way(
    mut from: impl tokio::io::AsyncRead + Unpin,
    mut to: impl tokio::io::AsyncWrite + Unpin,
    moved: &std::sync::atomic::AtomicU64,
) {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let mut buffer = vec![0; 16 << 10];
    while let Ok(n) = from.read(&mut buffer).await {
        if n == 0 || to.write_all(&buffer[..n]).await.is_err() || to.flush().await.is_err() {
            break;
        }
        moved.store(crate::upstream::health::now_ms(), std::sync::atomic::Ordering::Relaxed);
    }
    let _ = to.shutdown().await;
}
