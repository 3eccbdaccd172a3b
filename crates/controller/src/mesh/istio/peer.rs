//! PeerAuthentication: how securely workloads are to be called.

use std::collections::BTreeMap;

use model::mesh::Mode;

use super::super::Options;
use super::super::read::{Json, Result};
use super::{Custom, Selector};

/// A PeerAuthentication, or what is known of one that cannot be understood.
#[derive(Debug)]
pub(in super::super) struct Peer {
    pub(in super::super) custom: Custom,
    pub(in super::super) selector: Selector,
    pub(in super::super) modes: Result<PeerModes>,
}

/// What it says. `None` means what the next wider one says.
#[derive(Debug, Default, PartialEq, Eq)]
pub(in super::super) struct PeerModes {
    pub(in super::super) all: Option<Mode>,
    pub(in super::super) ports: BTreeMap<u16, Option<Mode>>,
}

impl Peer {
    pub(in super::super) fn read(custom: Custom, options: &Options) -> Self {
        let modes = custom.is_of_size().and_then(|()| modes(&custom, options));
        let selector =
            if modes.is_ok() { custom.selector().ok().flatten() } else { custom.selector_at_worst() };
        Self { custom, selector, modes }
    }
}

/// Each workload that it selects carries them.
const PORTS: usize = 100;

fn modes(custom: &Custom, options: &Options) -> Result<PeerModes> {
    let spec = custom.spec();
    spec.fields(&["selector", "mtls", "portLevelMtls"], &["targetRef", "targetRefs"])?;
    let selector = custom.selector()?;
    if let Some(place) = spec.get("selector").filter(|_| selector.is_some())
        && custom.namespace() == options.root_namespace
    {
        return place.wrong("in the root namespace it is for the whole mesh, and can have no selector");
    }
    let all = spec.get("mtls").map(|mtls| mode(&mtls)).transpose()?.flatten();
    let mut ports = BTreeMap::new();
    if let Some(levels) = spec.get("portLevelMtls") {
        let Some(entries) = levels.value.as_object() else { return levels.wrong("this must be a mapping") };
        if entries.len() > PORTS {
            return levels.wrong(format!("it names {} ports; {PORTS} are the most", entries.len()));
        }
        if selector.is_none() && !entries.is_empty() {
            return levels.wrong("ports can be named only where `selector` names workloads");
        }
        for (key, value) in entries {
            let level = Json::new(value, levels.path.key(key));
            match key.parse::<u16>() {
                Ok(port) if port > 0 && !key.starts_with('+') => ports.insert(port, mode(&level)?),
                _ => return level.wrong(format!("{key:?} is no port")),
            };
        }
    }
    Ok(PeerModes { all, ports })
}

fn mode(mtls: &Json<'_>) -> Result<Option<Mode>> {
    mtls.fields(&["mode"], &[])?;
    let Some(mode) = mtls.get("mode") else { return Ok(None) };
    match mode.text()? {
        "UNSET" => Ok(None),
        "DISABLE" => Ok(Some(Mode::Disabled)),
        "PERMISSIVE" => Ok(Some(Mode::Permissive)),
        "STRICT" => Ok(Some(Mode::Strict)),
        other => {
            mode.wrong(format!("there is no mode {other:?}; there are STRICT, PERMISSIVE, DISABLE and UNSET"))
        }
    }
}
