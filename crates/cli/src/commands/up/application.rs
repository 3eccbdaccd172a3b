//! The small application that `handfast up` puts behind its two sites: a notice board that knows nothing
//! of TLS. It speaks plain HTTP on loopback, keeps its notes in memory, and learns who is calling from the
//! `x-forwarded-client-cert` header alone, as an application of a user would.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;

/// Longest note, in bytes.
const MOST_BYTES: usize = 1000;
/// Notes that are kept; the oldest goes first.
const MOST_NOTES: usize = 100;

#[derive(Clone, serde::Serialize)]
struct Note {
    from: String,
    text: String,
}

type Board = Arc<Mutex<Vec<Note>>>;

/// Starts the application on a free loopback port; it runs until the runtime ends.
pub async fn start() -> std::io::Result<SocketAddr> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let address = listener.local_addr()?;
    tokio::spawn(accept(listener, Board::default()));
    Ok(address)
}

async fn accept(listener: TcpListener, board: Board) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // No file descriptor is left: wait until some connection has gone.
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            continue;
        };
        let board = board.clone();
        tokio::spawn(async move {
            let service = service_fn(move |request| answer(request, board.clone()));
            // A client that goes away in the middle is no concern of the application.
            let _ = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

async fn answer(request: Request<Incoming>, board: Board) -> Result<Response<Full<Bytes>>, Infallible> {
    let caller = caller(&request);
    Ok(match (request.method(), request.uri().path()) {
        (&Method::GET | &Method::HEAD, "/") => page(&caller, &notes(&board)),
        (&Method::GET, "/whoami") => json(StatusCode::OK, &serde_json::json!({ "caller": caller })),
        (&Method::GET, "/notes") => json(StatusCode::OK, &serde_json::json!({ "notes": notes(&board) })),
        (&Method::POST, "/notes") => add(request, caller, &board).await,
        _ => plain(StatusCode::NOT_FOUND, "there is only /, /whoami and /notes\n"),
    })
}

async fn add(request: Request<Incoming>, from: String, board: &Board) -> Response<Full<Bytes>> {
    let Ok(body) = Limited::new(request.into_body(), MOST_BYTES).collect().await else {
        return plain(StatusCode::PAYLOAD_TOO_LARGE, "a note has 1000 bytes at most\n");
    };
    let Ok(text) = String::from_utf8(body.to_bytes().into()) else {
        return plain(StatusCode::BAD_REQUEST, "a note is UTF-8 text\n");
    };
    let mut notes = board.lock().unwrap_or_else(PoisonError::into_inner);
    if notes.len() == MOST_NOTES {
        notes.remove(0);
    }
    notes.push(Note { from, text });
    json(StatusCode::CREATED, &serde_json::json!({ "notes": notes.len() }))
}

fn notes(board: &Board) -> Vec<Note> {
    board.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

/// The caller's name from `x-forwarded-client-cert`: its URI, else its subject, else nobody in particular.
fn caller(request: &Request<Incoming>) -> String {
    let header = request.headers().get("x-forwarded-client-cert").and_then(|value| value.to_str().ok());
    let field = |name: &str| {
        let rest = &header?[header?.find(&format!("{name}="))? + name.len() + 1..];
        let value = rest.strip_prefix('"').and_then(|quoted| quoted.split('"').next());
        let value = value.unwrap_or_else(|| rest.split([';', ',']).next().unwrap_or_default());
        (!value.is_empty()).then(|| value.to_owned())
    };
    field("URI").or_else(|| field("Subject")).unwrap_or_else(|| "somebody without a certificate".to_owned())
}

fn page(caller: &str, notes: &[Note]) -> Response<Full<Bytes>> {
    let escape = |text: &str| text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let list: String =
        notes.iter().map(|n| format!("<li><b>{}</b>: {}</li>\n", escape(&n.from), escape(&n.text))).collect();
    let body = format!(
        "<!doctype html>\n<title>Notice board</title>\n<h1>Notice board</h1>\n\
         <p>You are {}.</p>\n<ul>\n{list}</ul>\n",
        escape(caller)
    );
    with_type(StatusCode::OK, "text/html; charset=utf-8", body)
}

fn json(status: StatusCode, value: &serde_json::Value) -> Response<Full<Bytes>> {
    with_type(status, "application/json", format!("{value}\n"))
}

fn plain(status: StatusCode, text: &'static str) -> Response<Full<Bytes>> {
    with_type(status, "text/plain; charset=utf-8", text.to_owned())
}

fn with_type(status: StatusCode, content_type: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}
