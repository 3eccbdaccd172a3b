//! How securely a workload is called, by Istio's PeerAuthentication, and how securely it calls, by our own annotations.
//! Whatever is not understood counts as `strict`: nothing falls back to plain text by a slip of the pen (invariant 3).

use std::collections::{BTreeMap, BTreeSet};

use model::codes::mesh as codes;
use model::mesh::{Mode, PortModes};

use super::istio::{Custom, Peer, selects};
use super::read::Wrong;
use super::{Options, Path, Problem};
use crate::names::{OUTBOUND_MODE_ANNOTATION, OUTBOUND_MODES_ANNOTATION};

const KIND: &str = "PeerAuthentication";

/// All PeerAuthentications, the oldest first.
pub(super) struct Peers<'a> {
    root: &'a str,
    all: Vec<Peer<'a>>,
    /// Those that an older one keeps from being used somewhere, and that one.
    unused: BTreeSet<(usize, usize)>,
}

impl<'a> Peers<'a> {
    pub(super) fn read(customs: &'a [Custom], options: &'a Options) -> Self {
        let mut sorted: Vec<&Custom> = customs.iter().collect();
        sorted.sort_by_key(|custom| {
            (custom.metadata.creation_timestamp.as_ref().map(|time| time.0), custom.key())
        });
        let all = sorted.into_iter().map(|custom| Peer::read(custom, options)).collect();
        Self { root: &options.root_namespace, all, unused: BTreeSet::new() }
    }

    /// How a workload is to be called. The mesh's mode, that of the namespace and that of the workload: the narrowest
    /// that says something.
    pub(super) fn inbound(&mut self, namespace: &str, labels: &BTreeMap<String, String>) -> PortModes {
        // For the mesh, for the namespace, for the workload.
        let mut levels: [Option<usize>; 3] = [None; 3];
        for (index, peer) in self.all.iter().enumerate() {
            if !selects((peer.custom.namespace(), &peer.selector), self.root, namespace, labels) {
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
                Some(older) => {
                    self.unused.insert((index, older));
                }
                None => levels[level] = Some(index),
            }
        }
        let mut modes = PortModes::from(Mode::Permissive);
        for index in levels.into_iter().flatten() {
            let Some(Ok(found)) = self.all.get(index).map(|peer| &peer.modes) else { continue };
            modes.all = found.all.unwrap_or(modes.all);
            modes.ports.extend(found.ports.iter().filter_map(|(port, mode)| Some((*port, (*mode)?))));
        }
        modes
    }

    /// What was wrong; after all workloads were asked for.
    pub(super) fn problems(self) -> Vec<Problem> {
        let mut problems = Vec::new();
        for peer in &self.all {
            if let Err(wrong) = &peer.modes {
                problems.push(peer.custom.problem(KIND, wrong.clone(), true));
            }
        }
        for (index, older) in self.unused {
            let (Some(peer), Some(older)) = (self.all.get(index), self.all.get(older)) else { continue };
            let wrong = Wrong {
                path: Path::of(&["spec"]),
                code: &codes::PEER_AUTHENTICATION_UNUSED,
                message: format!("{} is older and applies to the same workloads", older.custom.key()),
            };
            problems.push(peer.custom.problem(KIND, wrong, false));
        }
        problems
    }
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
