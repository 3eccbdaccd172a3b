//! Asking a process of the mesh about itself: its pages are on its pod's loopback address, and the API server forwards a
//! port there. Who may do that may look into the pod anyway (`pods/portforward`).

use std::time::Duration;

use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::HOST;
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, Client};

/// Where the pages of control planes and proxies are, in their pods.
pub const ADMIN_PORT: u16 = 15000;
/// For one answer.
const LIMIT: Duration = Duration::from_secs(20);
/// The longest answer, bytes: a line for each of a hundred thousand proxies.
const LONGEST: usize = 64 << 20;

/// `GET` of a page of a pod.
///
/// # Errors
///
/// In words for people, when nothing or something else answers.
pub async fn get(
    client: &Client,
    namespace: &str,
    pod: &str,
    port: u16,
    path: &str,
) -> Result<Bytes, String> {
    let asked = tokio::time::timeout(LIMIT, ask(client, namespace, pod, port, path)).await;
    asked.unwrap_or_else(|_| Err(format!("no answer within {} s", LIMIT.as_secs())))
}

async fn ask(client: &Client, namespace: &str, pod: &str, port: u16, path: &str) -> Result<Bytes, String> {
    let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
    let mut forward =
        pods.portforward(pod, &[port]).await.map_err(|error| controller::error::chain(&error))?;
    let stream = forward.take_stream(port).ok_or("the API server forwards no stream")?;
    let (mut sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(|error| controller::error::chain(&error))?;
    let answered = async {
        let request = Request::get(path).header(HOST, "localhost").body(Empty::<Bytes>::new());
        let request = request.map_err(|error| error.to_string())?;
        let answer = sender.send_request(request).await.map_err(|error| controller::error::chain(&error))?;
        let status = answer.status();
        let body =
            Limited::new(answer.into_body(), LONGEST).collect().await.map_err(|error| error.to_string())?;
        match status {
            StatusCode::OK => Ok(body.to_bytes()),
            other => Err(format!("it answers {other} to GET {path}")),
        }
    };
    // How the connection ends is learnt by the request.
    let carrying = tokio::spawn(async move { drop(connection.await) });
    let answer = answered.await;
    carrying.abort();
    forward.abort();
    answer
}
