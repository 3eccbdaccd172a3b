//! The way to what listens on loopback in a pod: a port-forward through the API server, and HTTP/1.1 in it.

use std::time::Duration;

use controller::error::chain;
use futures_util::{Stream, stream};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::header::HOST;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, Client};
use serde_json::Value;

/// The port of every admin page of the mesh.
const ADMIN: u16 = 15000;
/// How long a document may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// No document is as long as this.
const LONGEST: usize = 16 << 20;
/// No line is as long as this.
const LONGEST_LINE: usize = 1 << 20;

/// A page that is one JSON document.
///
/// # Errors
///
/// Why there is none, in words.
pub async fn get(client: &Client, namespace: &str, pod: &str, path: &str) -> Result<Value, String> {
    get_within(client, namespace, pod, path, PATIENCE).await
}

/// The same, which may take longer.
///
/// # Errors
///
/// As [`get`].
pub async fn get_within(
    client: &Client,
    namespace: &str,
    pod: &str,
    path: &str,
    patience: Duration,
) -> Result<Value, String> {
    let asking = async {
        let response = request(client, namespace, pod, path).await?;
        let status = response.status();
        let body =
            Limited::new(response.into_body(), LONGEST).collect().await.map_err(|error| error.to_string())?;
        if !status.is_success() {
            return Err(format!("it answers {status} to {path}: it is of another version"));
        }
        serde_json::from_slice(&body.to_bytes()).map_err(|error| format!("its answer is no JSON: {error}"))
    };
    tokio::time::timeout(patience, asking).await.map_err(|_| format!("no answer within {patience:?}"))?
}

/// A page that goes on: its lines, each a JSON document.
///
/// # Errors
///
/// Why it cannot be opened, in words.
pub async fn lines(
    client: &Client,
    namespace: &str,
    pod: &str,
    path: &str,
) -> Result<impl Stream<Item = Result<Value, String>> + Send + use<>, String> {
    let opening = tokio::time::timeout(PATIENCE, request(client, namespace, pod, path));
    let response = opening.await.map_err(|_| format!("no answer within {PATIENCE:?}"))??;
    Ok(stream::unfold((response.into_body(), Vec::new()), |(mut body, mut rest)| async move {
        loop {
            if let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = rest.drain(..=end).collect();
                let line =
                    serde_json::from_slice(&line).map_err(|error| format!("a line is no JSON: {error}"));
                return Some((line, (body, rest)));
            }
            match body.frame().await? {
                Ok(frame) => rest.extend(frame.into_data().unwrap_or_default()),
                Err(error) => return Some((Err(error.to_string()), (body, Vec::new()))),
            }
            if rest.len() > LONGEST_LINE {
                return None;
            }
        }
    }))
}

async fn request(
    client: &Client,
    namespace: &str,
    pod: &str,
    path: &str,
) -> Result<Response<Incoming>, String> {
    let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
    let mut forwarder = pods
        .portforward(pod, &[ADMIN])
        .await
        .map_err(|error| format!("the API server forwards no port of it: {}", chain(&error)))?;
    let stream = forwarder.take_stream(ADMIN).ok_or("the API server forwards no port of it")?;
    let (mut sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(|error| error.to_string())?;
    tokio::spawn(async move {
        // What goes wrong here is what the request says.
        let _ = connection.await;
        drop(forwarder);
    });
    let request = Request::get(path).header(HOST, "127.0.0.1").body(Empty::<Bytes>::new());
    let request = request.map_err(|error| error.to_string())?;
    sender
        .send_request(request)
        .await
        .map_err(|error| format!("nothing answers on port {ADMIN} there: {error}"))
}
