//! What a container runs, with which variables, and when it counts as ready.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use config::Finding;
use controller::mesh::{Path, Step};
use k8s_openapi::api::core::v1 as core;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use model::codes::{Code, mesh as codes};

use super::Findings;
use super::expand::expand;
use super::pods::LocalPod;
use super::sort::{Sorted, Template, Values, is_name};

/// When a container runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Before the application, to its end.
    Init,
    /// From before the application until after it.
    Sidecar,
    /// The application.
    App,
}

/// A container as a process of this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalContainer {
    /// Its name.
    pub name: String,
    /// When it runs.
    pub role: Role,
    /// Command and arguments, as they are written: see [`LocalContainer::command`].
    pub written: Vec<String>,
    /// Variables in their order; a later one takes the place of an earlier one.
    pub env: Vec<Variable>,
    /// The folder that it runs in.
    pub working_dir: Option<String>,
    /// TCP ports that it says it listens on.
    pub ports: Vec<LocalPort>,
    /// When it counts as ready; without one, as soon as it runs.
    pub readiness: Option<Readiness>,
}

/// A variable of the environment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Variable {
    /// Its name.
    pub name: String,
    /// Where its value comes from.
    pub source: Source,
}

/// Where the value of a variable comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// Written, with `$(NAME)` for earlier variables.
    Written(String),
    /// From a ConfigMap, as it is.
    Config(String),
    /// From a Secret, as it is.
    Secret(SecretText),
    /// Of the pod itself.
    Field(Field),
}

/// What a variable can say of its pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// `metadata.name`
    Name,
    /// `metadata.namespace`
    Namespace,
    /// `status.podIP`
    Address,
    /// `spec.serviceAccountName`
    ServiceAccount,
    /// `spec.nodeName`
    Node,
}

/// A value of a Secret; it is shown nowhere (invariant 9).
#[derive(Clone, PartialEq, Eq)]
pub struct SecretText(String);

impl SecretText {
    pub(super) fn new(text: String) -> Self {
        Self(text)
    }

    /// The value.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretText")
    }
}

/// A port that a container listens on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalPort {
    /// Its name.
    pub name: Option<String>,
    /// Its number.
    pub number: u16,
}

impl LocalPort {
    pub(super) fn to_kubernetes(&self) -> core::ContainerPort {
        let (name, container_port) = (self.name.clone(), self.number.into());
        core::ContainerPort { name, container_port, ..core::ContainerPort::default() }
    }
}

/// When a container counts as ready.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Readiness {
    /// What is tried.
    pub check: Check,
    /// How long to wait before the first time.
    pub initial_delay: Duration,
    /// How often.
    pub period: Duration,
    /// How long one try may take.
    pub timeout: Duration,
    /// So many successes in a row make it ready.
    pub successes: u32,
    /// So many failures in a row make it unready.
    pub failures: u32,
}

/// What is tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Check {
    /// GET, answered by a status from 200 to 399.
    Http {
        /// Whether by TLS, with any certificate.
        tls: bool,
        /// The host; the pod's address without one.
        host: Option<String>,
        /// The port.
        port: u16,
        /// The path.
        path: String,
        /// Headers of the request.
        headers: Vec<(String, String)>,
    },
    /// A connection is taken.
    Tcp {
        /// The host; the pod's address without one.
        host: Option<String>,
        /// The port.
        port: u16,
    },
    /// A command ends well. Its variables are written as in the container's own.
    Exec(Vec<String>),
}

impl LocalContainer {
    /// Its variables. `given` is what the machine sets, as Kubernetes sets the addresses of Services: it can be referred
    /// to, and gives way to the container's own.
    pub fn variables(
        &self,
        pod: &LocalPod,
        node: &str,
        given: &BTreeMap<String, String>,
    ) -> BTreeMap<String, String> {
        let mut all = given.clone();
        for variable in &self.env {
            let value = match &variable.source {
                Source::Written(text) => expand(text, |name| all.get(name).map(String::as_str)),
                Source::Config(text) => text.clone(),
                Source::Secret(text) => text.reveal().to_owned(),
                Source::Field(field) => match field {
                    Field::Name => pod.name.clone(),
                    Field::Namespace => pod.namespace.clone(),
                    Field::Address => pod.address.map(|address| address.to_string()).unwrap_or_default(),
                    Field::ServiceAccount => pod.service_account.clone(),
                    Field::Node => node.to_owned(),
                },
            };
            all.insert(variable.name.clone(), value);
        }
        all
    }

    /// Its command and arguments, with `$(NAME)` replaced by variables.
    pub fn command(&self, variables: &BTreeMap<String, String>) -> Vec<String> {
        self.written.iter().map(|text| expand(text, |name| variables.get(name).map(String::as_str))).collect()
    }
}

/// Reads the containers of one workload.
pub(super) struct Reader<'r, 'a> {
    pub(super) template: &'r Template<'a>,
    pub(super) sorted: &'r Sorted<'a>,
    pub(super) findings: &'r mut Findings,
    pub(super) what: &'r str,
}

impl Reader<'_, '_> {
    pub(super) fn container(
        &mut self,
        list: &'static str,
        index: usize,
        own: &core::Container,
        role: Role,
        names: &mut BTreeSet<String>,
    ) -> Option<LocalContainer> {
        let here = Here { list, index, name: own.name.clone() };
        if !is_name(&own.name) || !names.insert(own.name.clone()) {
            self.wrong(
                &model::codes::manifests::MANIFEST_SHAPE,
                &here,
                &[],
                "its name is no name, or stands twice",
            );
        }
        let command = own.command.clone().unwrap_or_default();
        if command.first().is_none_or(String::is_empty) {
            let image = own.image.as_deref().unwrap_or("none");
            let message = format!("it has no `command`; its image, {image}, is not run on one machine");
            self.wrong(&codes::LOCAL_NO_COMMAND, &here, &[], &message);
        }
        for (there, field) in [
            (own.lifecycle.is_some(), "lifecycle"),
            (own.liveness_probe.is_some(), "livenessProbe"),
            (own.startup_probe.is_some(), "startupProbe"),
        ] {
            if there {
                self.note(&here, &[Step::Key(field.into())], &format!("`{field}` is not carried out"));
            }
        }
        let ports: Vec<LocalPort> = own
            .ports
            .iter()
            .flatten()
            .filter(|port| port.protocol.as_deref().is_none_or(|protocol| protocol == "TCP"))
            .filter_map(|port| {
                Some(LocalPort { name: port.name.clone(), number: u16::try_from(port.container_port).ok()? })
            })
            .collect();
        let readiness = own.readiness_probe.as_ref().and_then(|probe| self.readiness(&here, probe, &ports));
        Some(LocalContainer {
            name: own.name.clone(),
            role,
            written: command.into_iter().chain(own.args.iter().flatten().cloned()).collect(),
            env: self.env(&here, own),
            working_dir: own.working_dir.clone(),
            ports,
            readiness,
        })
    }

    fn env(&mut self, here: &Here, own: &core::Container) -> Vec<Variable> {
        let mut all = Vec::new();
        let (sorted, namespace) = (self.sorted, &self.template.namespace);
        for (index, from) in own.env_from.iter().flatten().enumerate() {
            let path = [Step::Key("envFrom".into()), Step::Index(index)];
            let prefix = from.prefix.as_deref().unwrap_or_default();
            let mut add = |key: &str, source| {
                // Kubernetes leaves out what cannot be a name.
                if !key.is_empty() && !key.contains(['=', '\0']) {
                    all.push(Variable { name: format!("{prefix}{key}"), source });
                }
            };
            if let Some(map) = &from.config_map_ref {
                match sorted.config_maps.get(&(namespace.clone(), map.name.clone())) {
                    Some(values) => {
                        values.iter().for_each(|(key, value)| add(key, Source::Config(value.clone())))
                    }
                    None if map.optional == Some(true) => {}
                    None => self.missing(here, &path, "ConfigMap", &map.name),
                }
            }
            if let Some(secret) = &from.secret_ref {
                match sorted.secrets.get(&(namespace.clone(), secret.name.clone())) {
                    Some(values) => {
                        values.iter().for_each(|(key, value)| add(key, Source::Secret(value.clone())))
                    }
                    None if secret.optional == Some(true) => {}
                    None => self.missing(here, &path, "Secret", &secret.name),
                }
            }
        }
        for (index, variable) in own.env.iter().flatten().enumerate() {
            let path = [Step::Key("env".into()), Step::Index(index)];
            if variable.name.is_empty() || variable.name.contains(['=', '\0']) {
                let message = format!("{:?} is no name of a variable", variable.name);
                self.wrong(&model::codes::manifests::MANIFEST_SHAPE, here, &path, &message);
                continue;
            }
            let source = match &variable.value_from {
                None => Some(Source::Written(variable.value.clone().unwrap_or_default())),
                Some(from) => self.value_from(here, &path, &variable.name, from),
            };
            all.extend(source.map(|source| Variable { name: variable.name.clone(), source }));
        }
        all
    }

    fn value_from(
        &mut self,
        here: &Here,
        path: &[Step],
        name: &str,
        from: &core::EnvVarSource,
    ) -> Option<Source> {
        let sorted = self.sorted;
        if let Some(map) = &from.config_map_key_ref {
            let (of, key) = ((map.name.as_str(), map.key.as_str()), map.optional == Some(true));
            return self.value(here, path, "ConfigMap", &sorted.config_maps, of, key).map(Source::Config);
        }
        if let Some(secret) = &from.secret_key_ref {
            let (of, key) = ((secret.name.as_str(), secret.key.as_str()), secret.optional == Some(true));
            return self.value(here, path, "Secret", &sorted.secrets, of, key).map(Source::Secret);
        }
        let field = from.field_ref.as_ref().map(|field| field.field_path.as_str());
        let found = match field {
            Some("metadata.name") => Field::Name,
            Some("metadata.namespace") => Field::Namespace,
            Some("status.podIP") => Field::Address,
            Some("spec.serviceAccountName") => Field::ServiceAccount,
            Some("spec.nodeName") => Field::Node,
            other => {
                let what = other.unwrap_or("what it asks for");
                let message = format!("variable {name}: {what} is not known on one machine");
                self.wrong(&codes::LOCAL_UNSUPPORTED, here, path, &message);
                return None;
            }
        };
        Some(Source::Field(found))
    }

    fn value<T: Clone>(
        &mut self,
        here: &Here,
        path: &[Step],
        kind: &str,
        values: &Values<T>,
        (name, key): (&str, &str),
        optional: bool,
    ) -> Option<T> {
        let of = values.get(&(self.template.namespace.clone(), name.to_owned()));
        let found = of.and_then(|of| of.get(key)).cloned();
        match (of, &found) {
            (_, Some(_)) => {}
            _ if optional => {}
            (None, _) => self.missing(here, path, kind, name),
            (Some(_), None) => {
                let message = format!("{kind} {name} has no text with the key {key:?}");
                self.wrong(&codes::LOCAL_REFERENCE, here, path, &message);
            }
        }
        found
    }

    fn readiness(&mut self, here: &Here, probe: &core::Probe, ports: &[LocalPort]) -> Option<Readiness> {
        let path = Path::of(&["readinessProbe"]).0;
        let number = |port: &IntOrString| match port {
            IntOrString::Int(number) => u16::try_from(*number).ok().filter(|number| *number > 0),
            IntOrString::String(name) => {
                ports.iter().find(|port| port.name.as_ref() == Some(name)).map(|port| port.number)
            }
        };
        let check = if let Some(http) = &probe.http_get {
            number(&http.port).map(|port| Check::Http {
                tls: http.scheme.as_deref() == Some("HTTPS"),
                host: http.host.clone(),
                port,
                path: http.path.clone().filter(|path| !path.is_empty()).unwrap_or_else(|| "/".to_owned()),
                headers: http
                    .http_headers
                    .iter()
                    .flatten()
                    .map(|h| (h.name.clone(), h.value.clone()))
                    .collect(),
            })
        } else if let Some(tcp) = &probe.tcp_socket {
            number(&tcp.port).map(|port| Check::Tcp { host: tcp.host.clone(), port })
        } else if let Some(exec) = &probe.exec {
            exec.command.clone().filter(|command| !command.is_empty()).map(Check::Exec)
        } else {
            self.note(here, &path, "its readinessProbe is of a kind that is not carried out");
            return None;
        };
        let Some(check) = check else {
            let message = "its readinessProbe has no command, or a port that the container does not name";
            self.wrong(&model::codes::manifests::MANIFEST_SHAPE, here, &path, message);
            return None;
        };
        let least = |value: Option<i32>, default: u32| {
            value.and_then(|value| u32::try_from(value).ok()).filter(|value| *value > 0).unwrap_or(default)
        };
        let seconds = |value, default| Duration::from_secs(least(value, default).into());
        Some(Readiness {
            check,
            initial_delay: seconds(probe.initial_delay_seconds, 0),
            period: seconds(probe.period_seconds, 10),
            timeout: seconds(probe.timeout_seconds, 1),
            successes: least(probe.success_threshold, 1),
            failures: least(probe.failure_threshold, 3),
        })
    }

    fn missing(&mut self, here: &Here, path: &[Step], kind: &str, name: &str) {
        let message = format!("there is no {kind} {}/{name}", self.template.namespace);
        self.wrong(&codes::LOCAL_REFERENCE, here, path, &message);
    }

    fn wrong(&mut self, code: &'static Code, here: &Here, path: &[Step], message: &str) {
        let finding = self.finding(code, here, path, message);
        self.findings.wrong.push(finding);
    }

    fn note(&mut self, here: &Here, path: &[Step], message: &str) {
        let finding = self.finding(&codes::LOCAL_NOT_DONE, here, path, message);
        self.findings.notes.push(finding);
    }

    fn finding(&self, code: &'static Code, here: &Here, path: &[Step], message: &str) -> Finding {
        let start = [Step::Key("spec".into()), Step::Key(here.list.into()), Step::Index(here.index)];
        let whole: Vec<Step> = start.into_iter().chain(path.iter().cloned()).collect();
        let message = format!("{}, container {:?}: {message}", self.what, here.name);
        Finding::new(code, message).at(self.template.spot.place(&whole))
    }
}

/// A container's place in its pod.
struct Here {
    list: &'static str,
    index: usize,
    name: String,
}
