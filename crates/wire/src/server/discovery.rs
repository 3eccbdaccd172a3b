//! One proxy's stream: its requests in, answers out, until one side has enough.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures_util::Stream;
use model::codes::mesh as codes;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::time::{Instant, sleep_until};
use tonic::{Request, Response, Status, Streaming};

use super::Shared;
use super::caller::Caller;
use super::listen::OfAddress;
use super::proxies::{Entered, Proxy};
use super::session::{Ended, Session, Verdict};
use crate::catalog::{Catalog, Type};
use crate::proto::discovery::{DeltaDiscoveryRequest, DeltaDiscoveryResponse};

/// How long a proxy that asked for addresses is waited for to ask for policies as well.
const POLICIES_FIRST: Duration = Duration::from_millis(250);
/// How long a proxy may take for the first answer of all before others need not wait for it any more.
const BEGINNING: Duration = Duration::from_secs(10);
/// The longest name of a proxy that is kept.
const LONGEST_NODE: usize = 512;
/// The longest reason of a proxy that is kept.
const LONGEST_REASON: usize = 2048;

type Answer = Result<DeltaDiscoveryResponse, Status>;

/// Lets a proxy in, and begins to speak with it.
pub(super) async fn open(
    shared: Arc<Shared>,
    request: Request<Streaming<DeltaDiscoveryRequest>>,
    caller: Caller,
) -> Result<Response<impl Stream<Item = Answer> + Send + use<>>, Status> {
    let asked = shared.options.authenticator.authenticate(&caller);
    let limit = shared.options.limits.handshake;
    let identity = tokio::time::timeout(limit, asked)
        .await
        .map_err(|_| Status::unavailable("who calls could not be found out in time"))??;
    let address = caller.address.ip().to_canonical();
    let most = if address.is_loopback() { usize::MAX } else { shared.options.limits.proxies_of_one_address };
    let place = OfAddress::take(&shared.listening, address, most)
        .ok_or_else(|| Status::resource_exhausted(format!("{most} proxies listen from {address} already")))?;
    // Of each type one answer is under way, and what ends the stream.
    let (answers, receiver) = mpsc::channel(Type::ALL.len() + 1);
    let stream = Conversation {
        shared,
        requests: request.into_inner(),
        answers,
        caller,
        identity,
        entered: None,
        beginning: None,
        _place: place,
    };
    tokio::spawn(stream.run());
    Ok(Response::new(futures_util::stream::unfold(receiver, |mut receiver| async move {
        receiver.recv().await.map(|answer| (answer, receiver))
    })))
}

struct Conversation {
    shared: Arc<Shared>,
    requests: Streaming<DeltaDiscoveryRequest>,
    answers: mpsc::Sender<Answer>,
    caller: Caller,
    identity: String,
    entered: Option<Entered>,
    /// The place among those who are sent all at once, and until when it is kept.
    beginning: Option<(OwnedSemaphorePermit, Instant)>,
    _place: OfAddress,
}

impl Conversation {
    async fn run(mut self) {
        if let Err(status) = self.talk().await {
            tracing::debug!(identity = %self.identity, address = %self.caller.address, %status, "a proxy's stream ends");
            // Nobody may be there to hear it.
            let _ = self.answers.try_send(Err(status));
        }
    }

    async fn talk(&mut self) -> Result<(), Status> {
        let shared = Arc::clone(&self.shared);
        let mut catalogs = shared.options.catalog.clone();
        let mut session = Session::new(shared.options.limits.names);
        let begun = Instant::now();
        // Since when the proxy has said nothing while it owes an answer.
        let mut silent: Option<Instant> = None;
        loop {
            let wait = session.waits_for_policies().then_some(begun + POLICIES_FIRST);
            if wait.is_none_or(|until| until <= Instant::now()) {
                let catalog = Arc::clone(&catalogs.borrow_and_update());
                if catalog.generation() > 0 && session.is_beginning() && self.beginning.is_none() {
                    self.beginning = self.place().await?;
                }
                self.answer(&mut session, &catalog)?;
            }
            let patience = shared.options.limits.patience;
            silent = silent.filter(|_| session.owes()).or_else(|| session.owes().then(Instant::now));
            if silent.is_some_and(|since| since.elapsed() >= patience) {
                return Err(Status::deadline_exceeded(
                    "it said neither yes nor no to what it was told; it may come again",
                ));
            }
            let kept = self.beginning.as_ref().map(|(_, until)| *until);
            let timer = async {
                let wait = wait.filter(|until| *until > Instant::now());
                match wait.into_iter().chain(kept).chain(silent.map(|since| since + patience)).min() {
                    Some(until) => sleep_until(until).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                request = self.requests.message() => match request? {
                    Some(request) => {
                        if self.heard(&mut session, request, &catalogs.borrow())? {
                            silent = None;
                        }
                    }
                    None => return Ok(()),
                },
                changed = catalogs.changed() => {
                    changed.map_err(|_| Status::unavailable("the control plane ends"))?;
                }
                () = self.answers.closed() => return Ok(()),
                () = shared.ending.cancelled() => {
                    return Err(Status::unavailable("the control plane ends; ask another one"));
                }
                () = timer => {
                    if kept.is_some_and(|until| until <= Instant::now()) {
                        self.beginning = None;
                    }
                }
            }
        }
    }

    /// Waits for a place among those who are sent all at once.
    async fn place(&self) -> Result<Option<(OwnedSemaphorePermit, Instant)>, Status> {
        let place = Arc::clone(&self.shared.beginnings).acquire_owned();
        tokio::select! {
            place = place => Ok(place.ok().map(|place| (place, Instant::now() + BEGINNING))),
            () = self.answers.closed() => Err(Status::cancelled("it went away")),
            () = self.shared.ending.cancelled() => Err(Status::unavailable("the control plane ends")),
        }
    }

    /// Takes in what the proxy says; whether it was its word about an answer.
    fn heard(
        &mut self,
        session: &mut Session,
        request: DeltaDiscoveryRequest,
        catalog: &Catalog,
    ) -> Result<bool, Status> {
        if self.entered.is_none() {
            let node = request.node.as_ref().map(|node| node.id.as_str()).filter(|id| !id.is_empty());
            let node = node.ok_or_else(|| Status::invalid_argument("the first request says no node"))?;
            self.entered = Some(self.shared.options.proxies.enter(Proxy {
                node: shortened(node, LONGEST_NODE),
                address: self.caller.address,
                identity: self.identity.clone(),
                since: SystemTime::now(),
            }));
        }
        let verdict = session.request(request).map_err(ended)?;
        if let Some(Verdict { of, before, refused }) = verdict {
            if let Some(reason) = &refused {
                let node = self.identity.as_str();
                let code = match of {
                    Type::Trust => &codes::TRUST_BEHIND,
                    Type::Authorization | Type::Address => &codes::RESOURCE_REFUSED,
                };
                tracing::warn!(code = code.id, proxy = node, of = of.url(), reason = %shortened(reason, LONGEST_REASON), "a proxy refuses what it was told");
            } else if let Some(applied) = &self.shared.options.applied
                && before > 0
                && let Some(since) = catalog.resources(of).changed_after(before)
            {
                applied(of, since.instant.elapsed());
            }
            self.note(session, of, refused.map(|reason| shortened(&reason, LONGEST_REASON)));
            if !session.is_beginning() {
                self.beginning = None;
            }
            return Ok(Type::WORLD.contains(&of));
        }
        Ok(false)
    }

    fn answer(&mut self, session: &mut Session, catalog: &Catalog) -> Result<(), Status> {
        for answer in session.answers(catalog).map_err(ended)? {
            // There is a place for each that may be under way.
            self.answers.try_send(Ok(answer)).map_err(|_| Status::internal("no place for an answer"))?;
        }
        for of in Type::ALL {
            self.note(session, of, None);
        }
        Ok(())
    }

    fn note(&self, session: &Session, of: Type, refused: Option<String>) {
        let watch = session.watch(of);
        if let Some(entered) = self.entered.as_ref().filter(|_| watch.is_subscribed()) {
            entered.progress(of, watch.generations(), refused);
        }
    }
}

fn ended(why: Ended) -> Status {
    match why {
        Ended::TooManyNames => Status::resource_exhausted("it asks for more names than one proxy may"),
        Ended::TooFarBehind => Status::unavailable("it is too far behind; come back, and say what is there"),
    }
}

fn shortened(text: &str, longest: usize) -> String {
    let end = (0..=longest.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    text.get(..end).unwrap_or_default().to_owned()
}
