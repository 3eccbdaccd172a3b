//! How securely a workload is called, by Istio's PeerAuthentication, and how securely it calls, by our own annotations.
//! Whatever is not understood counts as `strict`: nothing falls back to plain text by a slip of the pen (invariant 3).

use std::collections::BTreeMap;

use model::codes::mesh as codes;
use model::mesh::{Mode, PortModes};

use super::istio::{Custom, Peer, selects};
use super::read::Wrong;
use super::{Options, Path, Problem};
use crate::names::{OUTBOUND_MODE_ANNOTATION, OUTBOUND_MODES_ANNOTATION};

const KIND: &str = "PeerAuthentication";

/// All PeerAuthentications, the oldest first.
pub(super) struct Peers {
    root: String,
    all: Vec<Peer>,
}

impl Peers {
    pub(super) fn new(options: &Options) -> Self {
        Self { root: options.root_namespace.clone(), all: Vec::new() }
    }

    pub(super) fn read(customs: &[Custom], options: &Options) -> Self {
        let mut peers = Self::new(options);
        peers.all = customs.iter().map(|custom| Peer::read(custom.clone(), options)).collect();
        peers.all.sort_by_key(age);
        peers
    }

    /// Takes one in, in the place of an older one of its name.
    pub(super) fn insert(&mut self, custom: Custom, options: &Options) {
        let peer = Peer::read(custom, options);
        self.remove(&peer.custom.key());
        let at = self.all.partition_point(|other| age(other) < age(&peer));
        self.all.insert(at, peer);
    }

    /// Forgets the one of this name, `namespace/name`.
    pub(super) fn remove(&mut self, key: &str) {
        self.all.retain(|peer| peer.custom.key() != key);
    }

    /// How a workload is to be called. The mesh's mode, that of the namespace and that of the workload: the narrowest
    /// that says something. Those that an older one keeps from being used here are added to the problems.
    pub(super) fn inbound(
        &self,
        namespace: &str,
        labels: &BTreeMap<String, String>,
        problems: &mut Vec<Problem>,
    ) -> PortModes {
        // For the mesh, for the namespace, for the workload.
        let mut levels: [Option<&Peer>; 3] = [None; 3];
        for peer in &self.all {
            if !selects((peer.custom.namespace(), &peer.selector), &self.root, namespace, labels) {
                continue;
            }
            if peer.modes.is_err() {
                return Mode::Strict.into();
            }
            let level = match &peer.selector {
                Some(_) => 2,
                None if peer.custom.namespace() == self.root => 0,
                None => 1,
            };
            match levels[level] {
                Some(older) => problems.push(unused(peer, older)),
                None => levels[level] = Some(peer),
            }
        }
        let mut modes = PortModes::from(Mode::Permissive);
        for found in levels.into_iter().flatten().filter_map(|peer| peer.modes.as_ref().ok()) {
            modes.all = found.all.unwrap_or(modes.all);
            modes.ports.extend(found.ports.iter().filter_map(|(port, mode)| Some((*port, (*mode)?))));
        }
        modes
    }

    /// What is wrong with them themselves.
    pub(super) fn problems(&self) -> impl Iterator<Item = Problem> {
        self.all.iter().filter_map(|peer| {
            let wrong = peer.modes.as_ref().err()?;
            Some(peer.custom.problem(KIND, wrong.clone(), true))
        })
    }
}

/// The oldest first, and of one age by name.
fn age(peer: &Peer) -> impl Ord + use<> {
    (peer.custom.metadata.creation_timestamp.as_ref().map(|time| time.0), peer.custom.key())
}

fn unused(peer: &Peer, older: &Peer) -> Problem {
    let wrong = Wrong {
        path: Path::of(&["spec"]),
        code: &codes::PEER_AUTHENTICATION_UNUSED,
        message: format!("{} is older and applies to the same workloads", older.custom.key()),
    };
    peer.custom.problem(KIND, wrong, false)
}

/// Annotations of an object.
pub(super) type Annotations<'a> = Option<&'a BTreeMap<String, String>>;

/// Which object an annotation stands on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum On {
    Pod,
    Namespace,
}

/// How a workload is to call others, and what is wrong with the annotations that say so. A pod's own mode takes the place
/// of all that its namespace says; its modes of ports take the place of the namespace's modes of ports.
pub(super) fn outbound(pod: Annotations<'_>, namespace: Annotations<'_>) -> (PortModes, Vec<(On, Wrong)>) {
    let mut wrong = Vec::new();
    let find = |key: &str| {
        let on = |on: On, all: Annotations<'_>| Some((on, all?.get(key)?.clone()));
        on(On::Pod, pod).or_else(|| on(On::Namespace, namespace))
    };
    let all = find(OUTBOUND_MODE_ANNOTATION);
    let ports = find(OUTBOUND_MODES_ANNOTATION);
    let mut modes = PortModes::default();
    if let Some((on, text)) = &all {
        match mode(text.trim()) {
            Some(mode) => modes.all = mode,
            None => {
                wrong.push((*on, annotation(OUTBOUND_MODE_ANNOTATION, format!("there is no mode {text:?}"))))
            }
        }
    }
    let overruled = |on: On| on == On::Namespace && all.as_ref().is_some_and(|(all, _)| *all == On::Pod);
    if let Some((on, text)) = ports.filter(|(on, _)| !overruled(*on)) {
        match by_port(&text) {
            Ok(found) => modes.ports = found,
            Err(message) => wrong.push((on, annotation(OUTBOUND_MODES_ANNOTATION, message))),
        }
    }
    if !wrong.is_empty() {
        modes = Mode::Strict.into();
    }
    (modes, wrong)
}

fn annotation(key: &str, message: String) -> Wrong {
    Wrong {
        path: Path::of(&["metadata", "annotations", key]),
        code: &codes::MESH_ANNOTATION,
        message: format!("{message}; there are strict, permissive and disabled"),
    }
}

fn mode(text: &str) -> Option<Mode> {
    [Mode::Strict, Mode::Permissive, Mode::Disabled].into_iter().find(|mode| mode.as_str() == text)
}

/// `443=permissive,5432=strict`
fn by_port(text: &str) -> Result<BTreeMap<u16, Mode>, String> {
    let mut ports = BTreeMap::new();
    for item in text.split(',').map(str::trim) {
        let Some((port, written)) = item.split_once('=') else {
            return Err(format!("{item:?} is not PORT=MODE"));
        };
        let (port, written) = (port.trim(), written.trim());
        let number = port.parse::<u16>().ok().filter(|number| *number > 0 && !port.starts_with('+'));
        let Some(number) = number else { return Err(format!("{port:?} is no port")) };
        let Some(mode) = mode(written) else { return Err(format!("there is no mode {written:?}")) };
        if ports.insert(number, mode).is_some() {
            return Err(format!("port {number} stands twice"));
        }
    }
    Ok(ports)
}
