//! A native sidecar for applications that cannot do TLS, asked for by the annotation `handfast.dev/sidecar`: which ports
//! it ends mutual TLS for, which Services it calls, and what that takes in the pod template and in Services.
//! The container runs `handfast kube sidecar`.
//!
//! The application stays as it is. What it calls by the name of a Service leads to the sidecar by an entry in the pod's
//! hosts file (`hostAliases`); what calls it arrives at the sidecar because the Service's `targetPort` does.

use config::Finding;
use controller::names;
use controller::trust::LISTS_KEY;
use model::codes::manifests as codes;

use crate::error::Error;
use crate::plan::{Input, Options};
use crate::workload::{Service, Workload};
use crate::yaml::{Node, Value};

/// The variable in which the pod's namespace is, for the names of Services.
const NAMESPACE: &str = "HANDFAST_POD_NAMESPACE";

/// Volume and mount of the revocation lists, and what fills it.
pub const LISTS: (&str, &str, &str) = (names::LISTS_VOLUME, names::LISTS_MOUNT, names::TRUST_CONFIG_MAP);

/// The volume of the revocation lists. A pod starts without them, where the controller has not brought them. Its whole
/// folder is mounted, for what subPath mounts never changes.
pub fn lists() -> Value {
    // Only this key: whoever takes roots from the ConfigMap is waited for by a rotation.
    let item = Value::mapping([("key", Value::string(LISTS_KEY)), ("path", Value::string(LISTS_KEY))]);
    let map = Value::mapping([
        ("name", Value::string(names::TRUST_CONFIG_MAP)),
        ("optional", Value::truth(true)),
        ("items", Value::Sequence(vec![item])),
    ]);
    Value::mapping([("name", Value::string(names::LISTS_VOLUME)), ("configMap", map)])
}

/// What a sidecar does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sidecar {
    /// Mutual TLS comes in.
    pub inbound: Vec<Inbound>,
    /// Mutual TLS goes out.
    pub outbound: Vec<Call>,
}

/// One port of the application.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inbound {
    /// The sidecar's port.
    pub listen: u16,
    /// `http`, `grpc` or `tcp`.
    pub kind: &'static str,
    /// The application's port.
    pub port: u16,
}

/// A Service that is called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// Its name.
    pub service: String,
    /// Its namespace, where it is named.
    pub namespace: Option<String>,
    /// Its ports.
    pub ports: Vec<u16>,
}

/// What the annotation of a workload asks for; `None` without one.
///
/// # Errors
///
/// An annotation that is not understood, or that cannot be carried out here.
pub fn of(workload: &Workload<'_>, input: &Input<'_>, options: &Options) -> Result<Option<Sidecar>, Error> {
    let Some(text) = workload.annotation(names::SIDECAR_ANNOTATION) else { return Ok(None) };
    let object = workload.object;
    let wrong = |why: String| {
        let message = format!("{} {}: {}: {why}", object.kind, object.name, names::SIDECAR_ANNOTATION);
        Error::from(Finding::new(&codes::MANIFEST_SIDECAR, message).at(object.place(workload.pod)))
    };
    if workload.pod.text_at(&["hostNetwork"]) == Some("true") {
        return Err(wrong("the pod is in the node's network, where its loopback is everybody's".to_owned()));
    }
    let mut sidecar = Sidecar { inbound: Vec::new(), outbound: Vec::new() };
    for item in text.split(',').map(str::trim).filter(|item| !item.is_empty()) {
        if item == "calls" {
            sidecar.outbound = calls(workload, input, options).map_err(wrong)?;
            continue;
        }
        let number = |text: &str| text.parse::<u16>().ok().filter(|port| *port != 0);
        let ports = item.split_once(':').and_then(|(listen, port)| Some((number(listen)?, number(port)?)));
        let Some((listen, port)) = ports.filter(|(listen, port)| listen != port) else {
            return Err(wrong(format!("{item:?} is neither LISTEN:PORT, two different ports, nor `calls`")));
        };
        let taken = |other: &Inbound| other.listen == listen || other.port == port;
        if sidecar.inbound.iter().any(taken) || listen == names::SIDECAR_READY_PORT {
            return Err(wrong(format!("a port of {item:?} is taken already")));
        }
        sidecar.inbound.push(Inbound { listen, kind: kind(workload, input, listen, port), port });
    }
    if sidecar.inbound.is_empty() && sidecar.outbound.is_empty() {
        return Err(wrong("it asks for nothing".to_owned()));
    }
    Ok(Some(sidecar))
}

/// The Services that a workload calls, with all of their TCP ports.
fn calls(workload: &Workload<'_>, input: &Input<'_>, options: &Options) -> Result<Vec<Call>, String> {
    let mut calls: Vec<Call> = Vec::new();
    let edges = input.edges(options);
    for (_, called) in edges.iter().filter(|(client, _)| client == workload.object.name) {
        let (name, port) = called.split_once(':').map_or((called.as_str(), None), |(n, p)| (n, Some(p)));
        let named =
            port.map(|port| port.parse().map_err(|_| format!("{called:?} has no number as its port")));
        let named: Option<u16> = named.transpose()?;
        if let Some((service, namespace)) = name.split_once('.') {
            let port = named.ok_or_else(|| {
                format!("{called} is not among the manifests; say its port, as in {called}:8443")
            })?;
            let namespace = namespace.split('.').next().map(str::to_owned);
            calls.push(Call { service: service.to_owned(), namespace, ports: vec![port] });
            continue;
        }
        let behind = |service: &&Service<'_>| {
            let workload_is_called =
                || input.workloads.iter().any(|other| other.object.name == name && service.selects(other));
            service.object.namespace == workload.object.namespace
                && (service.object.name == name || workload_is_called())
        };
        let found: Vec<&Service<'_>> = input.services.iter().filter(behind).collect();
        if found.is_empty() {
            return Err(format!("no Service {called} is among the manifests, so its ports are not known"));
        }
        for service in found {
            let mut ports: Vec<u16> = service.ports().iter().filter_map(|port| port.number()).collect();
            ports.retain(|port| named.is_none_or(|named| named == *port));
            if ports.is_empty() {
                return Err(format!(
                    "Service {} has no TCP port {}",
                    service.object.name,
                    port.unwrap_or("")
                ));
            }
            let call = Call { service: service.object.name.to_owned(), namespace: None, ports };
            if !calls.contains(&call) {
                calls.push(call);
            }
        }
    }
    if calls.len() > 200 {
        return Err("it calls more than 200 Services".to_owned());
    }
    match calls.is_empty() {
        true => Err(format!("nothing says whom it calls: {} or --edge", names::CALLS_ANNOTATION)),
        false => Ok(calls),
    }
}

/// What the Service says of the port: `appProtocol`, or the port's name as is the custom.
fn kind(workload: &Workload<'_>, input: &Input<'_>, listen: u16, port: u16) -> &'static str {
    let leading = input.services.iter().filter(|service| service.selects(workload));
    for found in leading.flat_map(Service::ports) {
        if ![Some(listen), Some(port)].contains(&found.target(workload)) {
            continue;
        }
        let words = [found.node.text_at(&["appProtocol"]), found.node.text_at(&["name"])];
        for word in words.into_iter().flatten() {
            if word.contains("grpc") || word.contains("h2c") {
                return "grpc";
            }
            if word.starts_with("http") || word == "kubernetes.io/ws" {
                return "http";
            }
        }
    }
    "tcp"
}

impl Sidecar {
    /// The address on which calls of the `index`th Service are taken: each has its own, so that ports do not meet.
    fn address(index: usize) -> String {
        format!("127.0.0.{}", index + 2)
    }

    /// Entries of the hosts file: the short names of the Services. The full name still leads to the Service itself.
    pub fn host_aliases(&self, own_namespace: Option<&str>) -> Vec<Value> {
        let alias = |(index, call): (usize, &Call)| {
            let service = &call.service;
            let short = call.namespace.is_none().then(|| service.clone());
            let namespace = call.namespace.as_deref().or(own_namespace);
            let longer = namespace.map(|ns| [format!("{service}.{ns}"), format!("{service}.{ns}.svc")]);
            let all = short.into_iter().chain(longer.into_iter().flatten()).map(Value::string).collect();
            Value::mapping([("ip", Value::string(Self::address(index))), ("hostnames", Value::Sequence(all))])
        };
        self.outbound.iter().enumerate().map(alias).collect()
    }

    /// What the container is started with.
    pub fn args(&self, cluster_domain: &str) -> Value {
        let mut args = vec!["kube".to_owned(), "sidecar".to_owned()];
        for Inbound { listen, kind, port } in &self.inbound {
            args.extend(["--inbound".to_owned(), format!("{listen}={kind}:{port}")]);
        }
        for (index, call) in self.outbound.iter().enumerate() {
            // Kubernetes puts the value in the place of $(NAME).
            let namespace = call.namespace.clone().unwrap_or_else(|| format!("$({NAMESPACE})"));
            for port in &call.ports {
                let (address, service) = (Self::address(index), &call.service);
                let to = format!("{address}:{port}={service}.{namespace}.svc.{cluster_domain}:{port}");
                args.extend(["--outbound".to_owned(), to]);
            }
        }
        Value::Sequence(args.iter().map(Value::string).collect())
    }

    /// The container, with what Pod Security's `restricted` asks for.
    pub fn container(&self, options: &Options, mounts: &[(&str, &str, &str)]) -> Value {
        let port = |inbound: &Inbound| {
            Value::mapping([
                ("name", Value::string(format!("tls-{}", inbound.listen))),
                ("containerPort", Value::number(inbound.listen.into())),
            ])
        };
        let mount = |(volume, path, _): &(&str, &str, &str)| {
            Value::mapping([
                ("name", Value::string(*volume)),
                ("mountPath", Value::string(*path)),
                ("readOnly", Value::truth(true)),
            ])
        };
        let field = Value::mapping([("fieldPath", Value::string("metadata.namespace"))]);
        let namespace = Value::mapping([
            ("name", Value::string(NAMESPACE)),
            ("valueFrom", Value::mapping([("fieldRef", field)])),
        ]);
        let ready = Value::mapping([
            ("path", Value::string("/readyz")),
            ("port", Value::number(names::SIDECAR_READY_PORT.into())),
        ]);
        let probe = |failures: i64| {
            Value::mapping([
                ("httpGet", ready.clone()),
                ("periodSeconds", Value::number(2)),
                ("failureThreshold", Value::number(failures)),
            ])
        };
        let security = Value::mapping([
            ("runAsNonRoot", Value::truth(true)),
            ("runAsUser", Value::number(names::FILES_GROUP)),
            ("readOnlyRootFilesystem", Value::truth(true)),
            ("allowPrivilegeEscalation", Value::truth(false)),
            ("capabilities", Value::mapping([("drop", Value::Sequence(vec![Value::string("ALL")]))])),
            ("seccompProfile", Value::mapping([("type", Value::string("RuntimeDefault"))])),
        ]);
        let mut container = vec![
            ("name", Value::string(names::SIDECAR)),
            ("image", Value::string(options.image())),
            ("restartPolicy", Value::string("Always")),
            ("args", self.args(options.cluster_domain())),
            ("env", Value::Sequence(vec![namespace])),
        ];
        if !self.inbound.is_empty() {
            container.push(("ports", Value::Sequence(self.inbound.iter().map(port).collect())));
        }
        container.extend([
            // The application is not started before, and not sent to while it is not so.
            ("startupProbe", probe(60)),
            ("readinessProbe", probe(3)),
            ("securityContext", security),
            ("volumeMounts", Value::Sequence(mounts.iter().map(mount).collect())),
        ]);
        Value::mapping(container)
    }
}

/// A port of a Service whose `targetPort` has to move to the sidecar.
#[derive(Clone, Debug)]
pub struct Moved<'a> {
    /// The Service.
    pub service: Service<'a>,
    /// The number of the port in its list.
    pub index: usize,
    /// Its present target, where it is written down.
    pub written: Option<&'a Node>,
    /// The sidecar's port.
    pub to: u16,
}

/// The ports of Services that lead past the sidecars.
///
/// # Errors
///
/// A Service that also leads to pods without such a sidecar: these would not be reached any more.
pub fn moved<'a>(input: &Input<'a>, sidecars: &[(&Workload<'a>, &Sidecar)]) -> Result<Vec<Moved<'a>>, Error> {
    let mut all = Vec::new();
    for service in &input.services {
        for found in service.ports() {
            let listens = |workload: &Workload<'a>| {
                let target = found.target(workload)?;
                let same = |other: &Workload<'_>| other.object.name == workload.object.name;
                let (_, sidecar) = sidecars.iter().find(|(other, _)| same(other))?;
                let there = |inbound: &&Inbound| inbound.port == target || inbound.listen == target;
                sidecar.inbound.iter().find(there).map(|inbound| inbound.listen)
            };
            let behind: Vec<_> =
                input.workloads.iter().filter(|workload| service.selects(workload)).collect();
            let mut wanted: Vec<Option<u16>> = behind.iter().map(|workload| listens(workload)).collect();
            wanted.dedup();
            match wanted.as_slice() {
                [Some(to)] => {
                    let written = found.node.get("targetPort");
                    if written.and_then(Node::text) != Some(to.to_string().as_str()) {
                        all.push(Moved { service: service.clone(), index: found.index, written, to: *to });
                    }
                }
                [] | [None] => {}
                _ => {
                    let message = format!(
                        "Service {} leads to pods with a sidecar at this port and to others without",
                        service.object.name
                    );
                    let place = service.object.place(found.node);
                    return Err(Finding::new(&codes::MANIFEST_SIDECAR, message).at(place).into());
                }
            }
        }
    }
    Ok(all)
}
