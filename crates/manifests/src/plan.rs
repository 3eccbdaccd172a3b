//! Who serves, who calls, and which certificates that takes.

use config::Finding;
use controller::{Restarted, RestartedKind, names};
use model::codes::manifests as codes;

use crate::error::Error;
use crate::object::{Manifest, objects};
use crate::reload::Reload;
use crate::sidecar::{self, Sidecar};
use crate::workload::{Service, Workload};

/// What a person decides.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Calls, as in `client=web`, beside those in annotations.
    pub edges: Vec<(String, String)>,
    /// `server-tls-secret` and `client-tls-secret` as names.
    pub simple: bool,
    /// The group of the files.
    pub group: Group,
    /// How workloads take renewed files that do not say so themselves.
    pub reload: Option<Reload>,
    /// Handfast's image, for sidecars. Default: this version's.
    pub image: Option<String>,
    /// Domain of the cluster's Services. Default: `cluster.local`.
    pub cluster_domain: Option<String>,
}

impl Options {
    /// Handfast's image.
    pub fn image(&self) -> &str {
        self.image.as_deref().unwrap_or(names::IMAGE)
    }

    /// Domain of the cluster's Services.
    pub fn cluster_domain(&self) -> &str {
        self.cluster_domain.as_deref().unwrap_or("cluster.local")
    }
}

/// The group that may read the mounted files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Group {
    /// The pod's own, else one is added where it does not run as root.
    #[default]
    Needed,
    /// This one, in every pod that has none.
    Given(i64),
    /// None is added: the files are readable by all users of the pod.
    Never,
}

/// All that was read.
#[derive(Debug)]
pub struct Input<'a> {
    /// What has pods.
    pub workloads: Vec<Workload<'a>>,
    /// What leads to them.
    pub services: Vec<Service<'a>>,
}

/// A workload and its certificates.
#[derive(Clone, Debug)]
pub struct Wiring<'a> {
    /// The workload.
    pub workload: Workload<'a>,
    /// Services that lead to it: it is a server if there are any.
    pub services: Vec<String>,
    /// Secret and Certificate of the server.
    pub server: Option<String>,
    /// Secret and Certificate of the client.
    pub client: Option<String>,
    /// Handfast beside an application that cannot do TLS; the certificates are then its, not the application's.
    pub sidecar: Option<Sidecar>,
    /// How it takes renewed files.
    pub reload: Option<Reload>,
}

impl Wiring<'_> {
    /// What the controller is to restart, if it is.
    pub fn restarted(&self) -> Option<Restarted> {
        let kind = RestartedKind::of(self.workload.object.kind)?;
        let name = self.workload.object.name.to_owned();
        (self.reload == Some(Reload::Restart)).then_some(Restarted { kind, name })
    }
}

impl<'a> Input<'a> {
    /// Looks for workloads and Services.
    ///
    /// # Errors
    ///
    /// Objects of a wrong form, and two workloads whose certificates would have one name.
    pub fn of(manifests: &'a [Manifest]) -> Result<Self, Error> {
        let (mut workloads, mut services, mut wrong) = (Vec::<Workload<'a>>::new(), Vec::new(), Vec::new());
        for (position, object) in objects(manifests)? {
            services.extend(Service::of(&position, object));
            if crate::workload::template_path(object.kind).is_none() {
                continue;
            }
            let Some(workload) = Workload::of(&position, object).filter(|w| !w.all_containers().is_empty())
            else {
                let message = format!("{} {} has no pod template with containers", object.kind, object.name);
                wrong.push(Finding::new(&codes::MANIFEST_SHAPE, message).at(object.place(object.node)));
                continue;
            };
            let same = |other: &&Workload<'_>| {
                other.object.name == object.name && other.object.namespace == object.namespace
            };
            if let Some(other) = workloads.iter().find(same) {
                let message = format!(
                    "{} {} has the name of the {} at {}: their certificates would share one Secret",
                    object.kind,
                    object.name,
                    other.object.kind,
                    other.object.place(other.object.node)
                );
                wrong.push(Finding::new(&codes::MANIFEST_TWICE, message).at(object.place(object.node)));
            }
            workloads.push(workload);
        }
        if wrong.is_empty() { Ok(Self { workloads, services }) } else { Err(Error(wrong)) }
    }

    /// Calls from workload to server, of the options and of annotations.
    pub fn edges(&self, options: &Options) -> Vec<(String, String)> {
        let mut edges = options.edges.clone();
        for workload in &self.workloads {
            for called in workload.annotation(names::CALLS_ANNOTATION).unwrap_or_default().split(',') {
                let edge = (workload.object.name.to_owned(), called.trim().to_owned());
                if !edge.1.is_empty() && !edges.contains(&edge) {
                    edges.push(edge);
                }
            }
        }
        edges
    }

    /// Which workload gets which certificates.
    ///
    /// # Errors
    ///
    /// When there is no workload, a call comes from nowhere, or the simple names do not suffice.
    pub fn plan(&self, options: &Options) -> Result<Vec<Wiring<'a>>, Error> {
        if self.workloads.is_empty() {
            return Err(
                Finding::new(&codes::MANIFEST_NOTHING, "there is no workload in what was given").into()
            );
        }
        let edges = self.edges(options);
        for (client, called) in &edges {
            let known = self.workloads.iter().any(|workload| workload.object.name == client);
            if !known {
                let message = format!("{client} is to call {called}, but there is no workload {client}");
                return Err(Finding::new(&codes::MANIFEST_EDGE, message).into());
            }
        }
        let mut plan: Vec<Wiring<'a>> = Vec::new();
        for workload in &self.workloads {
            let name = workload.object.name;
            let services: Vec<String> = self
                .services
                .iter()
                .filter(|service| service.selects(workload))
                .map(|service| service.object.name.to_owned())
                .collect();
            let sidecar = sidecar::of(workload, self, options)?;
            // Nobody said who calls whom: all may, but for those that have a sidecar only to be called.
            let calls = match (&sidecar, edges.is_empty()) {
                (Some(sidecar), true) => !sidecar.outbound.is_empty(),
                (None, true) => true,
                (_, false) => edges.iter().any(|(client, _)| client == name),
            };
            let server = (!services.is_empty()).then(|| names::server_secret(name));
            let client = calls.then(|| names::client_secret(name));
            let lacks = |what: &str| {
                let object = workload.object;
                let message = format!("{} {} is to have a sidecar, but {what}", object.kind, object.name);
                Error::from(Finding::new(&codes::MANIFEST_SIDECAR, message).at(object.place(workload.pod)))
            };
            if sidecar.as_ref().is_some_and(|sidecar| !sidecar.inbound.is_empty()) && server.is_none() {
                return Err(lacks("no Service leads to it, so it gets no server certificate"));
            }
            let reload = reload(workload, options)?;
            plan.push(Wiring { workload: workload.clone(), services, server, client, sidecar, reload });
        }
        if options.simple {
            let servers = plan.iter().filter(|wiring| wiring.server.is_some()).count();
            let clients = plan.iter().filter(|wiring| wiring.client.is_some()).count();
            if servers > 1 || clients > 1 {
                let message =
                    format!("--simple is for one server and one client; here are {servers} and {clients}");
                let help = "say who calls whom with --edge CLIENT=SERVER, or leave --simple out";
                return Err(Finding::new(&codes::MANIFEST_TWICE, message).help(help).into());
            }
            for wiring in &mut plan {
                wiring.server = wiring.server.take().map(|_| names::SIMPLE_SERVER_SECRET.to_owned());
                wiring.client = wiring.client.take().map(|_| names::SIMPLE_CLIENT_SECRET.to_owned());
            }
        }
        plan.retain(|wiring| wiring.server.is_some() || wiring.client.is_some());
        Ok(plan)
    }
}

/// What the workload says itself, else what the options say.
fn reload(workload: &Workload<'_>, options: &Options) -> Result<Option<Reload>, Error> {
    let path = ["metadata", "annotations", names::RELOAD_ANNOTATION];
    let Some(node) = workload.object.node.at(&path) else { return Ok(options.reload.clone()) };
    let parsed = node.text().unwrap_or_default().parse();
    parsed.map(Some).map_err(|why: String| {
        let message = format!("the annotation {} cannot be used: {why}", names::RELOAD_ANNOTATION);
        Finding::new(&codes::MANIFEST_SHAPE, message).at(workload.object.place(node)).into()
    })
}
