//! What is wrong with how manifests handle certificates, keys and identities.

use config::Finding;
use model::codes::Code;
use model::codes::manifests as codes;

use crate::plan::{Input, Options};
use crate::workload::{Container, Service, User, Workload};
use crate::yaml::Node;

/// Looks for findings in all workloads and Services.
pub fn lint(input: &Input<'_>, options: &Options) -> Vec<Finding> {
    let mut findings = Vec::new();
    for service in &input.services {
        selection(service, input, &mut findings);
    }
    for (client, called) in input.edges(options) {
        // `db.other` is in another namespace, which is not looked at here.
        let known = called.contains('.')
            || input.services.iter().any(|service| service.object.name == called)
            || input.workloads.iter().any(|workload| workload.object.name == called);
        if !known {
            let message = format!("{client} calls {called}, of which nothing was given");
            findings.push(Finding::new(&codes::MANIFEST_EDGE, message));
        }
    }
    for workload in &input.workloads {
        let mut look = Look { workload, findings: &mut findings };
        look.account();
        look.volumes();
        for container in workload.all_containers() {
            look.mounts(container);
            look.environment(container);
        }
    }
    findings
}

fn selection(service: &Service<'_>, input: &Input<'_>, findings: &mut Vec<Finding>) {
    let object = service.object;
    let place = object.place(object.node.at(&["spec", "selector"]).unwrap_or(object.node));
    if service.selector().is_empty() {
        let message = format!("Service {} has no selector", object.name);
        findings.push(Finding::new(&codes::LINT_SERVICE_NO_SELECTOR, message).at(place));
    } else if !input.workloads.iter().any(|workload| service.selects(workload)) {
        let message = format!("Service {} selects no pod of what was given", object.name);
        findings.push(Finding::new(&codes::LINT_SERVICE_NO_PODS, message).at(place));
    }
}

struct Look<'l, 'a> {
    workload: &'l Workload<'a>,
    findings: &'l mut Vec<Finding>,
}

impl<'a> Look<'_, 'a> {
    fn add(&mut self, code: &'static Code, node: &Node, what: &str) {
        let object = self.workload.object;
        let message = format!("{} {}: {what}", object.kind, object.name);
        self.findings.push(Finding::new(code, message).at(object.place(node)));
    }

    fn account(&mut self) {
        let pod = self.workload.pod;
        if self.workload.account() == "default" {
            self.add(
                &codes::LINT_DEFAULT_ACCOUNT,
                pod,
                "it uses the service account `default`, and so its identity",
            );
        }
        if pod.text_at(&["automountServiceAccountToken"]).is_none() {
            self.add(
                &codes::LINT_TOKEN,
                pod,
                "automountServiceAccountToken is not set, so the pod gets a token",
            );
        }
        if self.workload.user() == User::Unknown && self.workload.group().is_none() {
            self.add(&codes::LINT_USER_UNKNOWN, pod, "its image decides as which user it runs");
        }
    }

    fn volume(&self, name: &str) -> Option<&'a Node> {
        let volumes = self.workload.pod.get("volumes").map(Node::items).unwrap_or_default();
        volumes.iter().find(|volume| volume.text_at(&["name"]) == Some(name))
    }

    fn volumes(&mut self) {
        for volume in self.workload.pod.get("volumes").map(Node::items).unwrap_or_default() {
            let name = volume.text_at(&["name"]).unwrap_or_default();
            if let Some(secret) = volume.get("secret")
                && holds_pair(volume)
            {
                let mode = match secret.get("defaultMode").map(|mode| crate::yaml::Value::of(mode).to_json())
                {
                    Some(mode) => mode.as_i64(),
                    None => Some(0o644),
                };
                let others = |mode: i64| mode & 0o007 != 0;
                let items = secret.get("items").map(Node::items).unwrap_or_default();
                let key = items.iter().find(|item| item.text_at(&["key"]).is_some_and(is_key));
                let mode = key
                    .and_then(|key| key.get("mode"))
                    .and_then(|mode| crate::yaml::Value::of(mode).to_json().as_i64())
                    .or(mode);
                if let Some(mode) = mode.filter(|mode| others(*mode)) {
                    let what = format!("the volume {name} gives its key the mode {mode:04o}");
                    self.add(&codes::LINT_KEY_MODE, volume, &what);
                }
            }
            if let Some(path) = volume.text_at(&["hostPath", "path"])
                && names_certificates(path)
            {
                self.add(&codes::LINT_HOST_PATH, volume, &format!("the volume {name} is {path} of the node"));
            }
        }
    }

    fn mounts(&mut self, container: Container<'a>) {
        let mounts = container.node.get("volumeMounts").map(Node::items).unwrap_or_default();
        let (mut key, mut certificate) = (None, None);
        for mount in mounts {
            let Some(volume) = mount.text_at(&["name"]).and_then(|name| self.volume(name)) else { continue };
            let sub = mount.text_at(&["subPath"]).or_else(|| mount.text_at(&["subPathExpr"]));
            let Some(secret) = volume.text_at(&["secret", "secretName"]) else { continue };
            if sub.is_some() && holds_pair(volume) {
                let what = format!("the Secret {secret} is mounted with subPath");
                self.add(&codes::LINT_SUB_PATH, mount, &what);
            }
            let items = volume.at(&["secret", "items"]).map(Node::items).unwrap_or_default();
            let only: Vec<&str> = match sub {
                Some(sub) => vec![sub],
                None => items.iter().filter_map(|item| item.text_at(&["key"])).collect(),
            };
            // A volume that holds both is a pair; one that holds one of the two has its other half elsewhere.
            let (has_key, has_certificate) =
                (only.iter().any(|name| is_key(name)), only.iter().any(|name| is_certificate(name)));
            if has_key && !has_certificate {
                key = Some((secret, mount));
            }
            if has_certificate && !has_key {
                certificate = Some((secret, mount));
            }
        }
        if let (Some((key, mount)), Some((certificate, _))) = (key, certificate) {
            let what = format!(
                "the key is from the Secret {key}, its certificate from {certificate}, in two mounts"
            );
            self.add(&codes::LINT_PAIR_APART, mount, &what);
        }
    }

    fn environment(&mut self, container: Container<'a>) {
        for variable in container.node.get("env").map(Node::items).unwrap_or_default() {
            let name = variable.text_at(&["name"]).unwrap_or_default();
            let text = variable.text_at(&["value"]).unwrap_or_default();
            let from = ["secretKeyRef", "configMapKeyRef"]
                .iter()
                .find_map(|kind| variable.text_at(&["valueFrom", kind, "key"]))
                .unwrap_or_default();
            // Placed at the name: the value may be a private key, and errors draw what they are about.
            let place = variable.get("name").unwrap_or(variable);
            if text.contains("PRIVATE KEY-----") || is_key(from) {
                self.add(&codes::LINT_KEY_IN_ENV, place, &format!("{name} holds a private key"));
            } else if text.contains("-----BEGIN CERTIFICATE")
                || (is_certificate(from) && !from.starts_with("ca."))
            {
                self.add(&codes::LINT_CERTIFICATE_IN_ENV, place, &format!("{name} holds a certificate"));
            }
        }
    }
}

fn is_key(name: &str) -> bool {
    let name = name.rsplit('/').next().unwrap_or_default();
    name == "tls.key" || name.ends_with(".key") || name.ends_with("-key.pem") || name == "key.pem"
}

fn is_certificate(name: &str) -> bool {
    let name = name.rsplit('/').next().unwrap_or_default();
    name.ends_with(".crt") || name.ends_with("cert.pem") || name.ends_with(".cer")
}

/// Whether a volume is, by its names, one with a private key.
fn holds_pair(volume: &Node) -> bool {
    let items = volume.at(&["secret", "items"]).map(Node::items).unwrap_or_default();
    let secret = volume.text_at(&["secret", "secretName"]).unwrap_or_default();
    let telling = |name: &str| {
        name.split(['-', '.', '_']).any(|word| matches!(word, "tls" | "cert" | "certs" | "ssl" | "pki"))
    };
    if items.is_empty() {
        telling(secret)
    } else {
        items.iter().any(|i| i.text_at(&["key"]).is_some_and(is_key))
    }
}

fn names_certificates(path: &str) -> bool {
    let path = path.to_ascii_lowercase();
    ["/ssl", "/pki", "cert", "/tls", "letsencrypt"].iter().any(|part| path.contains(part))
}
