//! The layers of a call, each judged from what is known. Pure: what could not be looked at is said to be so, and stops
//! nothing.

use std::net::SocketAddr;
use std::sync::Arc;

use controller::inject::Redirected;
use controller::netpol::evaluate::{Connection, End, Rules, Verdict, Way};
use k8s_openapi::api::core::v1::Pod;
use model::codes::{Code, mesh as codes};
use model::mesh::policy::Network;
use model::mesh::{Mode, Owner, Route, Tunnel, Workload, route};
use serde::Serialize;
use serde_json::Value;
use time::OffsetDateTime;

use super::ends::{To, destination};
use super::secured;
use crate::commands::mesh::look::{self, Look, Told, Uncarried};

/// Endpoints of a service that are looked at.
const ENDPOINTS: usize = 16;

/// One layer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Layer {
    pub(super) layer: &'static str,
    /// `ok`, `warn`, `stopped` or `unknown`.
    pub(super) verdict: &'static str,
    pub(super) what: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) evidence: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) code: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) fix: Option<String>,
}

impl Layer {
    fn new(layer: &'static str, verdict: &'static str, what: String) -> Self {
        Self { layer, verdict, what, evidence: Vec::new(), code: None, fix: None }
    }

    pub(super) fn ok(layer: &'static str, what: impl Into<String>) -> Self {
        Self::new(layer, "ok", what.into())
    }

    pub(super) fn warn(layer: &'static str, what: impl Into<String>) -> Self {
        Self::new(layer, "warn", what.into())
    }

    pub(super) fn unknown(layer: &'static str, what: impl Into<String>) -> Self {
        Self::new(layer, "unknown", what.into())
    }

    pub(super) fn stopped(layer: &'static str, code: &'static Code, what: impl Into<String>) -> Self {
        let fix = Some(code.fix.to_owned());
        Self { code: Some(code.id), fix, ..Self::new(layer, "stopped", what.into()) }
    }

    pub(super) fn fix(self, fix: String) -> Self {
        Self { fix: Some(fix), ..self }
    }

    pub(super) fn with(mut self, line: impl Into<String>) -> Self {
        self.evidence.push(line.into());
        self
    }

    pub(super) fn stops(&self) -> bool {
        self.verdict == "stopped"
    }
}

/// The way to one endpoint.
#[derive(Clone, Debug, Default)]
pub(super) struct Walk {
    pub(super) endpoint: String,
    pub(super) layers: Vec<Layer>,
}

impl Walk {
    pub(super) fn stopped_by(&self) -> Option<&'static str> {
        self.layers.iter().find(|layer| layer.stops()).map(|layer| layer.layer)
    }
}

/// A route to an endpoint, and who is there.
pub(super) struct Leg {
    /// Whether it is through HBONE.
    pub(super) secured: bool,
    /// What it says of itself.
    pub(super) what: String,
    pub(super) target: SocketAddr,
    pub(super) workload: Option<Arc<Workload>>,
}

/// The caller as its connections are, and why they do not go through a proxy, where they do not: then they go as they
/// are, whatever the label says.
fn effective(look: &Look, told: &[Told], source: &Workload, to: SocketAddr) -> (Workload, Option<String>) {
    let around = around(look, told, source, to);
    let mut effective = source.clone();
    if around.is_some() {
        effective.modes.outbound = Mode::Disabled.into();
    }
    (effective, around)
}

fn around(look: &Look, told: &[Told], source: &Workload, to: SocketAddr) -> Option<String> {
    let pod = look.pod(source).filter(|pod| source.tunnel == Tunnel::Hbone && look.carrier(pod).is_some());
    let Some(pod) = pod else { return Some("the caller has no proxy".to_owned()) };
    let excepted = excepted(pod);
    if to.port() == 53 || excepted.skip_outbound_ports.contains(&to.port()) {
        return Some(format!("port {} is excepted from what the caller's proxy carries", to.port()));
    }
    let within = |text: &&String| {
        let network = text
            .split_once('/')
            .and_then(|(address, length)| Network::new(address.parse().ok()?, length.parse().ok()?));
        network.is_some_and(|network| network.contains(to.ip()))
    };
    if let Some(subnet) = excepted.skip_outbound_subnets.iter().find(within) {
        return Some(format!("{subnet} is excepted from what the caller's proxy carries"));
    }
    let own = of(told, source)?;
    if let Some(why) = own.uncarried {
        return Some(format!("of the caller: {} ({})", why.why(), why.code().id));
    }
    let in_force = own.status.as_ref().ok()?["redirection"]["in_force"].as_bool();
    (in_force == Some(false))
        .then(|| format!("the caller's calls are not redirected ({})", codes::NOT_REDIRECTED.id))
}

/// What was said of a workload's pod.
fn of<'a>(told: &'a [Told], workload: &Workload) -> Option<&'a Told> {
    told.iter().find(|one| one.pod == workload.name && one.namespace == workload.namespace)
}

/// What a pod's annotations except.
pub(super) fn excepted(pod: &Pod) -> Redirected {
    let annotations = serde_json::to_value(&pod.metadata.annotations).unwrap_or_default();
    Redirected::read(&annotations).unwrap_or_default()
}

fn legs(look: &Look, told: &[Told], source: &Workload, address: SocketAddr) -> Result<Vec<Leg>, Layer> {
    if let Some(away @ Uncarried::NodeAway) = of(told, source).and_then(|own| own.uncarried) {
        let what = format!("of the caller: {}; what it had redirected is refused", away.why());
        return Err(Layer::stopped("route", away.code(), what));
    }
    let (source, around) = effective(look, told, source, address);
    let mut legs: Vec<Leg> = Vec::new();
    let mut count = 1;
    while legs.len() < count.min(ENDPOINTS) {
        let at = legs.len();
        let found = route(&look.world, &source, address, |all| {
            count = all;
            at
        });
        legs.push(match found {
            Err(refused) => return Err(Layer::stopped("route", refused.code, refused.detail)),
            Ok(Route::Mesh { workload, target, identity, proxy, .. }) => Leg {
                secured: true,
                what: format!("{target} by mutual TLS: through {proxy}, which has to prove {identity}"),
                target,
                workload: Some(workload),
            },
            Ok(Route::Plain { target, why, .. }) => Leg {
                secured: false,
                what: match &around {
                    None => format!("{target} in plain text ({})", why.as_str()),
                    Some(around) => format!("{target} in plain text: {around}"),
                },
                target,
                workload: match look.world.at(target.ip()) {
                    Some(Owner::Workload(workload)) => Some(workload),
                    _ => None,
                },
            },
        });
    }
    Ok(legs)
}

/// The workloads that a call can reach.
pub(super) fn reached(look: &Look, source: &Workload, to: &To) -> Vec<Arc<Workload>> {
    let Ok((address, _)) = destination(look, source, to) else { return Vec::new() };
    legs(look, &[], source, address).unwrap_or_default().into_iter().filter_map(|leg| leg.workload).collect()
}

/// Goes the way to every endpoint that a call can reach.
pub(super) fn walk(look: &Look, told: &[Told], source: &Workload, to: &To, now: OffsetDateTime) -> Vec<Walk> {
    let (address, how) = match destination(look, source, to) {
        Ok(found) => found,
        Err(layer) => return vec![Walk { endpoint: to.host.clone(), layers: vec![*layer] }],
    };
    let named = Layer::ok("name", how);
    let legs = match legs(look, told, source, address) {
        Ok(legs) => legs,
        Err(layer) => return vec![Walk { endpoint: address.to_string(), layers: vec![named, layer] }],
    };
    let one = |leg: &Leg| {
        let mut layers = vec![named.clone(), Layer::ok("route", leg.what.clone())];
        layers.push(network_policy(look, source, leg));
        layers.push(tcp(look, told, leg));
        layers.push(secured::tls(told, source, leg, now));
        layers.push(secured::policy(look, told, source, leg));
        // What comes after the layer that stops it is never reached.
        if let Some(last) = layers.iter().position(Layer::stops) {
            layers.truncate(last + 1);
        }
        let place =
            leg.workload.as_ref().map(|workload| format!("{}/{}, ", workload.namespace, workload.name));
        Walk { endpoint: format!("{}{}", place.unwrap_or_default(), leg.target), layers }
    };
    legs.iter().map(one).collect()
}

fn network_policy(look: &Look, source: &Workload, leg: &Leg) -> Layer {
    const NAME: &str = "network policy";
    let policies = match &look.policies {
        Ok(policies) => policies,
        Err(why) => return Layer::unknown(NAME, format!("not looked at: {why}")),
    };
    let port = if leg.secured { model::mesh::HBONE_PORT } else { leg.target.port() };
    let from = End { address: source.addresses.first().copied(), pod: look.pod(source) };
    let to = End {
        address: Some(leg.target.ip()),
        pod: leg.workload.as_ref().and_then(|workload| look.pod(workload)),
    };
    let rules = Rules { policies, namespaces: &look.listed.objects.namespaces };
    let connection = Connection { from, to, port };
    let mut said = Vec::new();
    for way in [Way::Egress, Way::Ingress] {
        match rules.judge(&connection, way) {
            Verdict::Blocked { policies, rules } => {
                let whose = if way == Way::Egress { "the caller" } else { "the destination" };
                let what = format!("{way} of {whose} to TCP port {port}: {}", none_matched(rules, &policies));
                let layer = Layer::stopped(NAME, &codes::NETWORK_POLICY_BLOCKS, what);
                return layer
                    .with("whether the cluster's network does what policies say: handfast kube netpol test");
            }
            Verdict::Allowed { policy, rule } => said.push(format!("{way} by rule {rule} of {policy}")),
            Verdict::Unselected => said.push(format!("{way}: no policy selects it")),
        }
    }
    Layer::ok(NAME, format!("TCP port {port}: {}", said.join("; ")))
}

/// `3 rules considered, none matched`.
pub(super) fn none_matched(rules: usize, policies: &[String]) -> String {
    let plural = if rules == 1 { "" } else { "s" };
    format!("{rules} rule{plural} of {} considered, none matched", policies.join(", "))
}

fn tcp(look: &Look, told: &[Told], leg: &Leg) -> Layer {
    const NAME: &str = "TCP";
    let Some(workload) = &leg.workload else {
        return Layer::unknown(NAME, format!("not looked at: nobody known has {}", leg.target.ip()));
    };
    let place = format!("{}/{}", workload.namespace, workload.name);
    let Some(pod) = look.pod(workload) else {
        return Layer::unknown(NAME, format!("not looked at: {place} is no pod"));
    };
    if leg.secured && look.carrier(pod).is_none() {
        let what =
            format!("{place} belongs to the mesh and has no proxy: nobody listens on port 15008 there");
        return Layer::stopped(NAME, &codes::NOT_INJECTED, what);
    }
    if !look::is_running(pod) {
        return Layer::stopped(NAME, &codes::PEER_UNREACHABLE, format!("{place} does not run"));
    }
    let ready = if workload.healthy { "" } else { "; it is not ready" };
    if !leg.secured {
        let what =
            format!("whether {place} listens on port {} was not tried: --live{ready}", leg.target.port());
        return Layer::unknown(NAME, what);
    }
    match of(told, workload) {
        Some(Told { uncarried: Some(why), .. }) => {
            let what = format!("{place}: {}: nobody listens on port 15008 there", why.why());
            Layer::stopped(NAME, why.code(), what)
        }
        Some(Told { status: Ok(_), .. }) => {
            Layer::ok(NAME, format!("the proxy of {place} runs and answers{ready}"))
                .with("whether the application listens was not tried: --live")
        }
        Some(Told { status: Err(why), .. }) => {
            Layer::unknown(NAME, format!("the proxy of {place} was not asked: {why}"))
        }
        None => Layer::unknown(NAME, format!("the proxy of {place} was not asked")),
    }
}

/// What became of a real call, as the caller's proxy tells it.
pub(super) fn of_call(answer: &Value) -> Layer {
    const NAME: &str = "live";
    let record = &answer["record"];
    let text = |name: &str| record[name].as_str().unwrap_or_default();
    if let Some(error) = answer["error"].as_str() {
        return Layer::stopped(
            NAME,
            &codes::NOT_REDIRECTED,
            format!("the connection did not reach the caller's own proxy: {error}"),
        );
    }
    if !record.is_object() {
        return Layer::unknown(
            NAME,
            "the caller's proxy has not seen the call: it is slow, or the call goes around it",
        );
    }
    match text("code") {
        "" => Layer::ok(NAME, format!("a real connection was made: {}", text("secured"))).with(
            match text("ending") {
                "" => "it ended in order".to_owned(),
                ending => ending.to_owned(),
            },
        ),
        id => {
            let code =
                codes::ALL.iter().find(|code| code.id == id).copied().unwrap_or(&codes::PEER_UNREACHABLE);
            Layer::stopped(NAME, code, format!("{}: {}", code.title, text("detail")))
        }
    }
}
