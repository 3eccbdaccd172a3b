//! Connections of the plainer framing to one proxy: those that are free wait for the next flow.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::{Duration, Instant};

use http::StatusCode;
use model::codes::mesh as codes;
use rustls::client::UnbufferedClientConnection;
use tokio::io::{AsyncRead as _, ReadBuf};
use tokio::net::TcpStream;

use super::dial::Proof;
use super::{ANSWER, Failed, Lane, Lost, Wanted, dial, lock, refused};
use crate::tls::stream::ClientStream;
use crate::tunnel::direct::message::{self, Head, Open};
use crate::tunnel::direct::{self, DirectStream};

/// Connections at one time, with a flow or without. Further flows share others, by HTTP/2.
pub(crate) const MOST: usize = 64;
/// One without a flow is kept so long: shorter than one that is shared, for there are more of them.
const UNUSED: Duration = Duration::from_secs(60);

/// Those of one lane.
#[derive(Default)]
pub(super) struct Direct {
    spares: Mutex<Vec<Spare>>,
    count: Arc<AtomicUsize>,
    is_spoken: AtomicBool,
}

/// The right to one connection; dropping it gives it back.
pub(super) struct Place(Arc<AtomicUsize>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A connection without a flow.
pub(super) struct Spare {
    stream: Box<ClientStream<TcpStream>>,
    proof: Proof,
    place: Place,
    since: Instant,
}

impl Direct {
    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// How many are without a flow.
    #[cfg(test)]
    pub(super) fn spares(&self) -> usize {
        lock(&self.spares).len()
    }

    /// Whether the other end is known to speak it.
    pub(super) fn is_spoken(&self) -> bool {
        self.is_spoken.load(Ordering::Relaxed)
    }

    /// What was found out; somebody else may be at the address now.
    pub(super) fn speaks(&self, is_spoken: bool) {
        self.is_spoken.store(is_spoken, Ordering::Relaxed);
    }

    /// The right to make one more.
    pub(super) fn place(&self) -> Option<Place> {
        let more = |count| (count < MOST).then_some(count + 1);
        let taken = self.count.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
        taken.is_ok().then(|| Place(Arc::clone(&self.count)))
    }

    /// One that is free and that the other end has not ended: the one that was used last.
    pub(super) async fn spare(&self, epoch: u64) -> Option<Spare> {
        loop {
            let mut spare = {
                let mut spares = lock(&self.spares);
                // Those of an old credential, or with one whose certificate has ended, carry nothing new.
                spares.retain(|spare| spare.proof.is_good(epoch));
                spares.pop()?
            };
            if spare.is_silent().await {
                return Some(spare);
            }
        }
    }

    pub(super) fn let_go(&self, unused: Duration) {
        let unused = unused.min(UNUSED);
        lock(&self.spares).retain(|spare| spare.since.elapsed() < unused);
    }
}

impl Spare {
    pub(super) fn new(stream: Box<ClientStream<TcpStream>>, proof: Proof, place: Place) -> Self {
        Self { stream, proof, place, since: Instant::now() }
    }

    /// Whether nothing came since its last flow: what comes then is the end.
    async fn is_silent(&mut self) -> bool {
        std::future::poll_fn(|cx| {
            let mut space = [0; 1];
            let polled = std::pin::Pin::new(&mut *self.stream).poll_read(cx, &mut ReadBuf::new(&mut space));
            Poll::Ready(polled.is_pending())
        })
        .await
    }

    /// Asks for a flow.
    pub(super) async fn open(
        self,
        lane: &Arc<Lane>,
        wanted: &Wanted<'_>,
    ) -> Result<Box<DirectStream<UnbufferedClientConnection>>, Lost> {
        let Self { mut stream, proof, place, .. } = self;
        let open = Open { authority: wanted.target.to_string(), headers: dial::headers(wanted) };
        let failed = |detail: String| Lost::Failed(Failed::new(&codes::PEER_UNREACHABLE, detail));
        let Some(open) = open.message() else {
            return Err(Lost::Failed(Failed::new(
                &model::codes::usage::INTERNAL,
                "too much is said of the caller",
            )));
        };
        let asking = async {
            direct::send(&mut *stream, &open).await?;
            direct::receive(&mut *stream).await
        };
        let answer = match tokio::time::timeout(ANSWER, asking).await {
            Ok(Ok(Some((Head::Answer, said)))) => message::status(&said),
            // It said goodbye before it came to this: no application has heard of it.
            Ok(Ok(None)) => return Err(Lost::Connection),
            Ok(Ok(Some(_))) => return Err(failed(format!("{} answered out of turn", wanted.proxy))),
            Ok(Err(error)) => return Err(failed(format!("{} ended the request: {error}", wanted.proxy))),
            Err(_) => {
                // The others lead to the same silent peer: nobody waits for each of them.
                lock(&lane.direct.spares).clear();
                return Err(failed(format!("{} did not answer within {ANSWER:?}", wanted.proxy)));
            }
        };
        let status = answer.and_then(|status| StatusCode::from_u16(status).ok());
        let Some(status) = status else {
            return Err(failed(format!("{} answered no status", wanted.proxy)));
        };
        let home = {
            let lane = Arc::clone(lane);
            move |stream| lock(&lane.direct.spares).push(Self::new(stream, proof, place))
        };
        if status != StatusCode::OK {
            home(stream);
            return Err(refused(wanted, status));
        }
        Ok(Box::new(DirectStream::new(stream, Box::new(home))))
    }
}
