//! Many proxies that listen to a control plane, each over a connection of its own, and say when they have acknowledged.
//!
//! They keep nothing of what they are told: thousands fit beside the control plane that is measured. After
//! `{"ready":true}` each line on stdin begins a change: `{"armed":true}` is answered, and when all proxies have
//! acknowledged an answer of workloads or services, `{"applied_ns":[...]}` with the time of each, since 1970.

use std::convert::Infallible;
use std::io::BufRead as _;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, bail};
use bytes::{Bytes, BytesMut};
use futures_util::stream;
use http::Request;
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::Frame;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::sync::{Semaphore, mpsc};

use crate::tls::{Client, Resume};
use crate::{Load, ads};

/// Proxies that are told everything at a time.
const OPENING: usize = 16;
/// A control plane takes only so many connections from one address.
const OF_ONE_ADDRESS: u64 = 200;
/// What the proxies' own client has.
const WINDOW: u32 = 1 << 20;
/// For a change to reach all.
const LIMIT: Duration = Duration::from_secs(30);

enum Heard {
    /// A proxy has been told everything.
    Whole,
    /// A proxy has acknowledged a change; nanoseconds since 1970.
    Applied(u64),
    /// A proxy's stream ended.
    Failed(anyhow::Error),
}

/// `--count` proxies, until stdin is closed.
pub async fn listen(load: &Load, token: &Path) -> anyhow::Result<()> {
    let token = std::fs::read_to_string(token).with_context(|| format!("cannot read {}", token.display()))?;
    let client = Arc::new(Client::new(load, "h2", Resume::Never)?);
    let (events, mut heard) = mpsc::unbounded_channel();
    let seats = Arc::new(Semaphore::new(OPENING));
    for index in 0..load.count {
        let (client, events, seats) = (client.clone(), events.clone(), seats.clone());
        let (host, token) = (load.name.clone(), token.trim().to_owned());
        tokio::spawn(async move {
            let error = match proxy(index, &client, &host, &token, &events, &seats).await {
                Ok(()) => anyhow::anyhow!("the control plane ended the stream"),
                Err(error) => error,
            };
            // Nobody hears it once the run is over.
            let _ = events.send(Heard::Failed(error.context(format!("proxy {index}"))));
        });
    }
    for _ in 0..load.count {
        match heard.recv().await.context("no proxy is left")? {
            Heard::Whole | Heard::Applied(_) => {}
            Heard::Failed(error) => return Err(error),
        }
    }
    println!("{{\"ready\":true}}");
    while tokio::task::spawn_blocking(|| std::io::stdin().lock().read_line(&mut String::new())).await?? > 0 {
        while let Ok(earlier) = heard.try_recv() {
            if let Heard::Failed(error) = earlier {
                return Err(error);
            }
        }
        println!("{{\"armed\":true}}");
        let applied = tokio::time::timeout(LIMIT, change(&mut heard, load.count)).await;
        let applied = applied.context("the change has not reached all proxies")??;
        println!("{}", serde_json::json!({ "applied_ns": applied }));
    }
    Ok(())
}

/// When each proxy had acknowledged.
async fn change(heard: &mut mpsc::UnboundedReceiver<Heard>, count: u64) -> anyhow::Result<Vec<u64>> {
    let mut applied = Vec::new();
    while (applied.len() as u64) < count {
        match heard.recv().await.context("no proxy is left")? {
            Heard::Applied(at) => applied.push(at),
            Heard::Whole => {}
            Heard::Failed(error) => return Err(error),
        }
    }
    Ok(applied)
}

/// One proxy, for as long as its stream goes on.
async fn proxy(
    index: u64,
    client: &Client,
    host: &str,
    token: &str,
    events: &mpsc::UnboundedSender<Heard>,
    seats: &Semaphore,
) -> anyhow::Result<()> {
    let mut seat = Some(seats.acquire().await?);
    let tcp = client.connect_from(Some(source(index)?)).await?;
    let (mut sender, connection) = hyper::client::conn::http2::Builder::new(TokioExecutor::new())
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(2 * WINDOW)
        .handshake(TokioIo::new(tcp))
        .await
        .context("HTTP/2 preface")?;
    // How it ended is learnt of the stream.
    tokio::spawn(async move { drop(connection.await) });
    let (requests, waiting) = mpsc::channel::<Bytes>(8);
    let body = StreamBody::new(stream::unfold(waiting, |mut waiting| async move {
        let request = waiting.recv().await?;
        Some((Ok::<_, Infallible>(Frame::data(request)), waiting))
    }));
    // An unfolding stream may not be moved while it waits.
    let body = Box::pin(body);
    let node = format!("ztunnel~10.251.0.1~proxy-{index}.bench~bench.svc.cluster.local");
    requests.send(ads::request(Some(&node), ads::ADDRESSES, "")).await?;
    requests.send(ads::request(None, ads::POLICIES, "")).await?;
    let request = Request::post(format!("https://{host}{}", ads::PATH))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("authorization", format!("Bearer {token}"))
        .header("clusterid", "Kubernetes")
        .body(body)?;
    let answer = sender.send_request(request).await.context("request")?;
    if let Some(status) = answer.headers().get("grpc-status") {
        bail!("refused: {status:?} {:?}", answer.headers().get("grpc-message"));
    }
    let mut body = answer.into_body();
    let mut read = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.context("body")?;
        if let Some(trailers) = frame.trailers_ref() {
            bail!("ended: {trailers:?}");
        }
        read.extend_from_slice(frame.data_ref().map_or(&[], |data| data));
        while let Some(message) = ads::message(&mut read)? {
            let answer = ads::answer(&message)?;
            requests.send(ads::request(None, &answer.type_url, &answer.nonce)).await?;
            if answer.type_url == ads::ADDRESSES {
                let event = if seat.take().is_some() { Heard::Whole } else { Heard::Applied(now()?) };
                if events.send(event).is_err() {
                    return Ok(());
                }
            }
        }
        if read.is_empty() {
            // What everything took at the start is given back.
            read = BytesMut::new();
        }
    }
    Ok(())
}

fn now() -> anyhow::Result<u64> {
    Ok(u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_nanos())?)
}

/// An address of this machine's for a proxy.
fn source(index: u64) -> anyhow::Result<IpAddr> {
    Ok(Ipv4Addr::new(127, 0, 1, u8::try_from(1 + index / OF_ONE_ADDRESS).context("too many proxies")?).into())
}
