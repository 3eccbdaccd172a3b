//! Listening to the control plane, for as long as the proxy lives: the last good world stays in force while nobody is
//! there (invariant 10).

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::uri::PathAndQuery;
use model::codes::{Coded as _, mesh as codes};
use model::mesh::{Trust, World};
use prost_types::value::Kind;
use prost_types::{Struct, Value};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};
use tonic::{Request, Streaming};
use tonic_prost::ProstCodec;

use super::Target;
use super::connect::introduce;
use super::mirror::Mirror;
use super::trust::{Adopting, Waiting, Word};
use crate::catalog::Type;
use crate::convert::Context;
use crate::error::{Error, chain};
use crate::proto::discovery::{
    self as proto, DELTA_AGGREGATED_RESOURCES, DeltaDiscoveryRequest, DeltaDiscoveryResponse,
};

/// How long the other end may take to open a stream: it may still be finding out who we are.
const OPENING: Duration = Duration::from_secs(60);
/// How long the other end may leave our words unread.
const SAYING: Duration = Duration::from_secs(30);
/// `INVALID_ARGUMENT` of gRPC, which an answer that is not understood is refused with.
const INVALID_ARGUMENT: i32 = 3;
/// `UNAVAILABLE` of gRPC: what was understood, and is not in force yet.
const UNAVAILABLE: i32 = 14;
/// How many resources that are not understood are shown in the state.
const SHOWN: usize = 64;

/// Reads the token that says who we are; at each connection, for it is renewed meanwhile.
pub type Token = Arc<dyn Fn() -> Result<Option<String>, String> + Send + Sync>;

/// What a proxy says of itself.
#[derive(Clone, Debug, Default)]
pub struct Node {
    /// `ztunnel~<address>~<pod>.<namespace>~<namespace>.svc.cluster.local`.
    pub id: String,
    /// What it belongs to.
    pub cluster: String,
    /// More, such as `NAMESPACE` and `NODE_NAME`.
    pub metadata: BTreeMap<String, String>,
}

/// How long to wait before trying again: up to the first, then twice as long each time, any time up to that.
#[derive(Clone, Copy, Debug)]
pub struct Backoff {
    /// The longest first wait.
    pub first: Duration,
    /// The longest of all.
    pub longest: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { first: Duration::from_millis(500), longest: Duration::from_secs(15) }
    }
}

/// Whom to listen to, and as whom.
#[derive(Clone)]
pub struct Options {
    /// The control plane.
    pub target: Target,
    /// Who we say we are.
    pub node: Node,
    /// What proves it.
    pub token: Token,
    /// The cluster that we are of.
    pub cluster: Option<String>,
    /// What messages leave out.
    pub context: Context,
    /// How long to wait before trying again.
    pub backoff: Backoff,
    /// Who takes up whom to trust. None does not ask for it: a foreign control plane knows nothing of it.
    pub adopting: Option<Adopting>,
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("target", &self.target)
            .field("node", &self.node)
            .finish_non_exhaustive()
    }
}

/// How it stands with the control plane.
#[derive(Clone, Debug)]
pub struct State {
    /// Whether there is a stream.
    pub connected: bool,
    /// Since when it is so.
    pub since: SystemTime,
    /// Why there was none the last time.
    pub error: Option<String>,
    /// Whether everything was heard once.
    pub ready: bool,
    /// What the control plane called the last state that was taken in.
    pub generation: String,
    /// How many answers were taken in.
    pub taken: u64,
    /// How many resources they had, those that are gone among them.
    pub resources: u64,
    /// How many answers were refused, or a part of them.
    pub refused: u64,
    /// Resources that are not understood at this time, and why; the first of them.
    pub not_understood: Vec<(String, String)>,
}

/// What is heard.
#[derive(Clone, Debug)]
pub struct Discovery {
    /// The mesh, as far as it is known.
    pub world: watch::Receiver<Arc<World>>,
    /// Whom to trust, once that was said.
    pub trust: watch::Receiver<Option<Arc<Trust>>>,
    /// How it stands with the control plane.
    pub state: watch::Receiver<State>,
}

impl Discovery {
    /// Waits until everything was heard once.
    pub async fn ready(&self) {
        let mut state = self.state.clone();
        if state.wait_for(|state| state.ready).await.is_err() {
            // Nobody listens any more, so it will never be.
            std::future::pending::<()>().await;
        }
    }
}

/// Listens for as long as the future is run. It ends when nobody looks any more.
pub fn discover(options: Options) -> (Discovery, impl Future<Output = ()> + Send + 'static) {
    let (world, worlds) = watch::channel(Arc::default());
    let (trust, trusts) = watch::channel(None);
    let (state, states) = watch::channel(State {
        connected: false,
        since: SystemTime::now(),
        error: None,
        ready: false,
        generation: String::new(),
        taken: 0,
        resources: 0,
        refused: 0,
        not_understood: Vec::new(),
    });
    let listener = Listener { mirror: Mirror::new(options.context.clone()), options, world, trust, state };
    (Discovery { world: worlds, trust: trusts, state: states }, listener.run())
}

struct Listener {
    options: Options,
    mirror: Mirror,
    world: watch::Sender<Arc<World>>,
    trust: watch::Sender<Option<Arc<Trust>>>,
    state: watch::Sender<State>,
}

impl Listener {
    async fn run(mut self) {
        let Backoff { first, longest } = self.options.backoff;
        let mut wait = first;
        let (world, state) = (self.world.clone(), self.state.clone());
        loop {
            let taken = self.state.borrow().taken;
            let ended = tokio::select! {
                ended = self.listen() => ended,
                () = unwatched(&world, &state) => return,
            };
            // What was heard was good: it is no failure that somebody ended.
            if self.state.borrow().taken > taken {
                wait = first;
            }
            if let Err(error) = &ended {
                let again = wait.as_secs_f32();
                tracing::warn!(code = error.code().id, %error, "not connected to the control plane; it is tried again within {again} s");
            }
            self.disconnected(ended.err().map(|error| error.to_string()));
            // A whole mesh that lost its control plane does not come back at once.
            let pause = wait.mul_f64(rand::random_range(0.0..=1.0));
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = unwatched(&world, &state) => return,
            }
            wait = (wait * 2).min(longest);
        }
    }

    fn disconnected(&self, error: Option<String>) {
        self.state.send_modify(|state| {
            if state.connected {
                state.since = SystemTime::now();
            }
            state.connected = false;
            state.error = error.or_else(|| Some("the control plane ended the stream".to_owned()));
        });
    }

    /// One stream, to its end.
    async fn listen(&mut self) -> Result<(), Error> {
        let token = (self.options.token)().map_err(Error::Token)?;
        let address = self.options.target.address.clone();
        let mut grpc = self.options.target.connect().await?;
        let (requests, receiver) = mpsc::channel(2 * Type::ALL.len());
        let asked = Type::ALL.into_iter().filter(|of| *of != Type::Trust || self.options.adopting.is_some());
        for (number, of) in asked.enumerate() {
            let request = DeltaDiscoveryRequest {
                node: (number == 0).then(|| self.node()),
                type_url: of.url().to_owned(),
                initial_resource_versions: self.mirror.versions(of),
                ..DeltaDiscoveryRequest::default()
            };
            say(&requests, request, &address).await?;
        }
        let stream = futures_util::stream::unfold(receiver, |mut receiver| async move {
            receiver.recv().await.map(|request| (request, receiver))
        });
        let mut request = Request::new(stream);
        introduce(request.metadata_mut(), token.as_deref(), self.options.cluster.as_deref())?;
        let unreachable = |reason: String| Error::Unreachable { address: address.clone(), reason };
        grpc.ready().await.map_err(|error| unreachable(chain(&error)))?;
        let codec = ProstCodec::<DeltaDiscoveryRequest, DeltaDiscoveryResponse>::default();
        let path = PathAndQuery::from_static(DELTA_AGGREGATED_RESOURCES);
        let opened = tokio::time::timeout(OPENING, grpc.streaming(request, path, codec)).await;
        let opened = opened.map_err(|_| unreachable("no stream was opened in time".to_owned()))?;
        let mut answers: Streaming<DeltaDiscoveryResponse> =
            opened.map_err(|status| Error::of_status(&address, &status))?.into_inner();
        self.state.send_modify(|state| {
            state.connected = true;
            state.since = SystemTime::now();
            state.error = None;
        });
        let mut waiting: Option<Waiting> = None;
        let adopting = self.options.adopting.clone().unwrap_or_default();
        let mut adopted = adopting.watch();
        loop {
            if let Some(word) = waiting.as_ref().and_then(|waiting| waiting.word(&adopting, Instant::now())) {
                say(&requests, on_trust(&mut waiting, word), &address).await?;
            }
            let late = waiting.as_ref().filter(|waiting| !waiting.refused).map(|waiting| waiting.late);
            let late = async {
                match late {
                    Some(late) => sleep_until(late).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                answer = answers.message() => {
                    let Some(answer) = answer.map_err(|status| Error::of_status(&address, &status))? else {
                        return Ok(());
                    };
                    let (of, nonce) = (Type::of(&answer.type_url), answer.nonce.clone());
                    let word = self.heard(answer);
                    match of {
                        // What is understood is not in force yet.
                        Some(Type::Trust) if word.error_detail.is_none() => {
                            waiting = Some(Waiting::new(nonce, self.mirror.trust().cloned(), Instant::now()));
                        }
                        _ => say(&requests, word, &address).await?,
                    }
                }
                // The sender is here.
                _ = adopted.changed() => {}
                () = late => {}
            }
        }
    }

    /// Takes an answer in, and has a word on it.
    fn heard(&mut self, answer: DeltaDiscoveryResponse) -> DeltaDiscoveryRequest {
        let (type_url, response_nonce) = (answer.type_url.clone(), answer.nonce.clone());
        let generation = answer.system_version_info.clone();
        let resources = answer.resources.len() + answer.removed_resources.len();
        let taken = self.mirror.take(answer);
        if taken.changed {
            self.world.send_replace(Arc::clone(self.mirror.world()));
        }
        let told = self.mirror.trust();
        self.trust.send_if_modified(|before| {
            let changed = before.as_ref() != told;
            *before = told.cloned();
            changed
        });
        if let Some(reason) = &taken.refused {
            tracing::error!(code = codes::RESOURCE_REFUSED.id, %reason, "not understood; what is not a policy stays as it was");
        }
        self.state.send_modify(|state| {
            state.ready |= self.mirror.is_whole();
            state.taken += 1;
            state.resources += resources as u64;
            state.refused += u64::from(taken.refused.is_some());
            state.generation = generation;
            let shown = self.mirror.refused().iter().take(SHOWN);
            state.not_understood = shown.map(|(name, why)| (name.clone(), why.clone())).collect();
        });
        let error_detail = taken.refused.map(|message| proto::Status {
            code: INVALID_ARGUMENT,
            message,
            details: Vec::new(),
        });
        DeltaDiscoveryRequest { type_url, response_nonce, error_detail, ..DeltaDiscoveryRequest::default() }
    }

    fn node(&self) -> proto::Node {
        let Node { id, cluster, metadata } = self.options.node.clone();
        let text = |value| Value { kind: Some(Kind::StringValue(value)) };
        let fields = metadata.into_iter().map(|(key, value)| (key, text(value))).collect();
        proto::Node {
            id,
            cluster,
            metadata: Some(Struct { fields }),
            build_version: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }
}

/// A word on whom to trust.
fn on_trust(waiting: &mut Option<Waiting>, word: Word) -> DeltaDiscoveryRequest {
    let response_nonce = waiting.as_ref().map(|waiting| waiting.nonce.clone()).unwrap_or_default();
    let error_detail = match word {
        Word::Yes => {
            *waiting = None;
            None
        }
        Word::NotYet(message) => {
            if let Some(waiting) = waiting {
                waiting.refused = true;
            }
            Some(proto::Status { code: UNAVAILABLE, message, details: Vec::new() })
        }
    };
    DeltaDiscoveryRequest {
        type_url: Type::Trust.url().to_owned(),
        response_nonce,
        error_detail,
        ..DeltaDiscoveryRequest::default()
    }
}

/// Nobody looks at what is heard any more.
async fn unwatched(world: &watch::Sender<Arc<World>>, state: &watch::Sender<State>) {
    world.closed().await;
    state.closed().await;
}

/// Answers are read no faster than words on them are taken: nothing queues up.
async fn say(
    requests: &mpsc::Sender<DeltaDiscoveryRequest>,
    request: DeltaDiscoveryRequest,
    address: &str,
) -> Result<(), Error> {
    match requests.send_timeout(request, SAYING).await {
        Ok(()) => Ok(()),
        Err(_) => {
            let reason = "it takes no word on its answers".to_owned();
            Err(Error::Answer { address: address.to_owned(), reason })
        }
    }
}
