//! What keeps the node's proxy going: watches, the plugin's socket and file, and a look at everything once a second.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use controller::error::chain;
use controller::names::NODE;
use futures_util::StreamExt as _;
use k8s_openapi::api::core::v1::{Namespace, Pod};
use kube::runtime::WatchStreamExt as _;
use kube::runtime::reflector::{self, ObjectRef, Store, reflector};
use kube::runtime::watcher::{Config, watcher};
use kube::{Api, Client};
use model::codes::{mesh as codes, serving};
use tokio::net::UnixListener;
use tokio::sync::Notify;
use tokio::task::JoinSet;

use super::agent::Agent;
use super::hand_over::{self, SOCKET};
use super::namespaces::Namespaces;
use super::setup::Place;
use crate::failure::Failure;

/// How often the list of plugins is looked at: other programs write it too.
const LIST: u32 = 5;

/// How often networks are compared that were found before.
const THOROUGH: u32 = 10;

/// Watches the pods of a node, and all namespaces.
pub fn watch(
    client: &Client,
    node: &str,
    changed: &Arc<Notify>,
    tasks: &mut JoinSet<()>,
) -> (Store<Pod>, Store<Namespace>) {
    let pods =
        follow::<Pod>(client, Config::default().fields(&format!("spec.nodeName={node}")), changed, tasks);
    let namespaces = follow::<Namespace>(client, Config::default(), changed, tasks);
    (pods, namespaces)
}

fn follow<K>(client: &Client, config: Config, changed: &Arc<Notify>, tasks: &mut JoinSet<()>) -> Store<K>
where
    K: kube::Resource<DynamicType = ()>
        + Clone
        + std::fmt::Debug
        + serde::de::DeserializeOwned
        + Send
        + Sync
        + 'static,
{
    let (store, writer) = reflector::store::<K>();
    let events = watcher(Api::<K>::all(client.clone()), config).default_backoff().modify(|object| {
        // Most of an object, and nothing is decided by it.
        object.meta_mut().managed_fields = None;
    });
    let changed = Arc::clone(changed);
    tasks.spawn(async move {
        let mut events = std::pin::pin!(reflector(writer, events));
        while let Some(event) = events.next().await {
            match event {
                Ok(_) => changed.notify_one(),
                Err(error) => tracing::warn!("{} cannot be watched: {}", K::kind(&()), chain(&error)),
            }
        }
    });
    store
}

/// Serves the plugin and keeps up with the cluster. Does not end by itself.
///
/// # Errors
///
/// When the socket cannot be had.
pub async fn serve(
    agent: Arc<Agent>,
    folder: PathBuf,
    place: Option<Place>,
    changed: Arc<Notify>,
    ready: Arc<AtomicBool>,
) -> Result<(), Failure> {
    // Before that it is not known who is labelled.
    let _ = agent.pods.wait_until_ready().await;
    let _ = agent.namespaces.wait_until_ready().await;
    let mut written = Namespaces::default();
    let mut keep_file = move |agent: &Agent, folder: &Path| {
        let known = agent.known_namespaces();
        if known != written {
            match known.write(folder) {
                Ok(()) => written = known,
                Err(error) => tracing::error!("{}: {error}", folder.display()),
            }
        }
    };
    keep_file(&agent, &folder);
    let failed = |error: std::io::Error| {
        Failure::new(&serving::LISTEN_FAILED, format!("{}: {error}", folder.join(SOCKET).display()))
    };
    let socket = listen(&folder).map_err(failed)?;
    let asked = tokio::spawn(answer(Arc::clone(&agent), socket));
    let _ended_with_us = tokio_util::task::AbortOnDropHandle::new(asked);
    if let Some(place) = place.clone() {
        let copied = tokio::task::spawn_blocking(move || place.program()).await;
        complain(&copied.unwrap_or_else(|error| Err(error.to_string())));
    }
    let mut said = String::new();
    let mut rounds = 0u32;
    loop {
        keep_file(&agent, &folder);
        if let Some(place) = place.as_ref().filter(|_| rounds.is_multiple_of(LIST)) {
            match place.entry() {
                Ok(true) => tracing::info!("the plugin is in the CNI's list"),
                Ok(false) => said.clear(),
                // Each reason once.
                Err(why) if why != said => {
                    complain(&Err(why.clone()));
                    said = why;
                }
                Err(_) => {}
            }
        }
        if agent.reconcile(rounds.is_multiple_of(THOROUGH)).await && !ready.swap(true, Ordering::AcqRel) {
            tracing::info!("the node's pods are carried");
        }
        rounds = rounds.wrapping_add(1);
        let _ = tokio::time::timeout(super::LOOK, changed.notified()).await;
        // Changes that come together are one.
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn complain(done: &Result<(), String>) {
    if let Err(why) = done {
        let code = &codes::NODE_PLUGIN;
        tracing::error!(code = code.id, "{}: {why}", code.title);
    }
}

/// Root's alone: who may write to it could hand over any network.
fn listen(folder: &Path) -> std::io::Result<UnixListener> {
    std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o700))?;
    let path = folder.join(SOCKET);
    // What a killed process left.
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let socket = UnixListener::bind(&path)?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
    Ok(socket)
}

async fn answer(agent: Arc<Agent>, socket: UnixListener) {
    loop {
        let Ok((stream, _)) = socket.accept().await else {
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let agent = Arc::clone(&agent);
        tokio::spawn(async move {
            let Ok(mut stream) = stream.into_std() else { return };
            let asked = tokio::task::spawn_blocking(move || {
                hand_over::question(&mut stream).map(|(question, network)| (question, network, stream))
            });
            match asked.await {
                Ok(Ok((question, network, mut stream))) => {
                    let answer = agent.answer(&question, network).await;
                    // Whoever has gone asks again.
                    let _ = hand_over::answer(&mut stream, &answer);
                }
                Ok(Err(error)) => tracing::warn!("a question at the plugin's socket is none: {error}"),
                Err(_) => {}
            }
        });
    }
}

/// The plugin goes with the mesh: when the namespace of the node's proxies is deleted. While namespaces are labelled it
/// stays, so that their pods do not start without protection.
pub fn farewell(agent: &Agent, place: Option<&Place>) {
    let own = agent.namespaces.get(&ObjectRef::new(NODE));
    let is_deleted = own.is_none_or(|own| own.metadata.deletion_timestamp.is_some());
    let Some(place) = place.filter(|_| is_deleted) else { return };
    let labelled = agent.known_namespaces().node;
    if labelled.is_empty() {
        complain(&place.remove());
        tracing::info!("the plugin is taken out of the CNI's list");
    } else {
        let why = format!("{labelled:?} are still labelled: the plugin stays, and their pods do not start");
        complain(&Err(why));
    }
}
