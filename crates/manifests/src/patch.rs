//! What a pod template lacks to use its certificates: volumes, mounts, variables, the group, the annotation. What is
//! there already is left alone, so that a second run changes nothing.

use config::Finding;
use controller::names;
use model::codes::manifests as codes;

use crate::error::Error;
use crate::plan::{Group, Options, Wiring};
use crate::reload::{self, Reload};
use crate::sidecar::{self, Moved, Sidecar};
use crate::workload::{Container, User};
use crate::yaml::edit::Add;
use crate::yaml::{Change, Node, Step, Value};

/// Files that only root may read, and their group too.
const OWNER_ONLY: i64 = 0o400;
const OWNER_AND_GROUP: i64 = 0o440;
const ALL: i64 = 0o444;

/// The changes of a workload's document.
///
/// # Errors
///
/// Where something else is in the place of what would be added.
pub fn changes(wiring: &Wiring<'_>, options: &Options) -> Result<Vec<(usize, Change)>, Error> {
    let workload = &wiring.workload;
    let base: Vec<Step> = workload.position.path.iter().chain(&workload.template_path).cloned().collect();
    let mut patch = Patch { wiring, changes: Vec::new(), base };
    let mounts: Vec<(&str, &str, &str)> = [
        wiring.server.as_deref().map(|secret| (names::SERVER_VOLUME, names::SERVER_MOUNT, secret)),
        wiring.client.as_deref().map(|secret| (names::CLIENT_VOLUME, names::CLIENT_MOUNT, secret)),
    ]
    .into_iter()
    .flatten()
    .collect();
    let mode = patch.group(options)?;
    patch.annotations()?;
    patch.volumes(&mounts, mode)?;
    // A key that the sidecar uses is of no use to the application, which does not get it.
    let (its, own): (Vec<_>, Vec<_>) = mounts.iter().partition(|(volume, ..)| {
        wiring.sidecar.as_ref().is_some_and(|sidecar| match *volume {
            names::SERVER_VOLUME => !sidecar.inbound.is_empty(),
            _ => !sidecar.outbound.is_empty(),
        })
    });
    patch.reload(options, &own)?;
    for container in workload.containers().into_iter().filter(|container| !is_ours(*container)) {
        patch.mounts(container, &own)?;
        patch.environment(container, &own);
    }
    if let Some(sidecar) = &wiring.sidecar {
        patch.sidecar(sidecar, options, &its)?;
    }
    Ok(patch.changes.into_iter().map(|change| (workload.position.document, change)).collect())
}

/// The change of a Service's port that has to lead to a sidecar.
pub fn target(moved: &Moved<'_>) -> Change {
    let port: Vec<Step> = [Step::from("spec"), "ports".into(), moved.index.into()].into();
    let (key, value) = ("targetPort".to_owned(), Value::number(moved.to.into()));
    let add = match moved.written {
        Some(_) => Add::Replace(key, value),
        None => Add::Key(key, value),
    };
    Change { path: port, add }
}

struct Patch<'p, 'a> {
    wiring: &'p Wiring<'a>,
    changes: Vec<Change>,
    base: Vec<Step>,
}

impl Patch<'_, '_> {
    fn add(&mut self, below: &[Step], add: Add) {
        let path = self.base.iter().chain(below).cloned().collect();
        self.changes.push(Change { path, add });
    }

    /// Adds items to a list, which is made where it is missing or empty.
    fn items(&mut self, owner: &Node, below: &[Step], key: &str, items: Vec<Value>) {
        if items.is_empty() {
            return;
        }
        match owner.get(key) {
            Some(list) if !list.is_null() && !list.is_empty_collection() => {
                let path: Vec<Step> = below.iter().cloned().chain([Step::from(key)]).collect();
                self.add(&path, Add::Items(items));
            }
            _ => self.add(below, Add::Key(key.to_owned(), Value::Sequence(items))),
        }
    }

    /// Adds a key to a mapping, which is made where it is missing or empty.
    fn key(&mut self, owner: &Node, below: &[Step], mapping: &str, key: &str, value: Value) {
        match owner.get(mapping) {
            Some(inner) if !inner.is_null() && !inner.is_empty_collection() => {
                let path: Vec<Step> = below.iter().cloned().chain([Step::from(mapping)]).collect();
                self.add(&path, Add::Key(key.to_owned(), value));
            }
            _ => self.add(below, Add::Key(mapping.to_owned(), Value::mapping([(key, value)]))),
        }
    }

    fn taken(&self, node: &Node, message: String) -> Error {
        Finding::new(&codes::MANIFEST_TAKEN, message).at(self.wiring.workload.object.place(node)).into()
    }

    /// Makes sure that the pod's user can read the files, and says with which mode. With an fsGroup kubelet gives
    /// the files to that group and lets it read them, whatever the mode says: 0440 is then the truth.
    fn group(&mut self, options: &Options) -> Result<i64, Error> {
        let workload = &self.wiring.workload;
        if workload.group().is_some() {
            return Ok(OWNER_AND_GROUP);
        }
        // A sidecar is nobody's user, whoever the application is; so is one that asks a hook.
        let user = match &self.wiring.reload {
            _ if self.wiring.sidecar.is_some() => User::Other,
            Some(Reload::Hook(_)) => User::Other,
            _ => workload.user(),
        };
        let group = match (options.group, user) {
            (Group::Never, User::Other) => return Ok(ALL),
            (Group::Needed, User::Other) if workload.has_disks() => {
                let message = format!(
                    "{} {} does not run as root and has persistent volumes, but no fsGroup",
                    workload.object.kind, workload.object.name
                );
                let place = workload.object.place(workload.pod);
                return Err(Finding::new(&codes::MANIFEST_GROUP, message).at(place).into());
            }
            (Group::Given(group), _) => group,
            (Group::Needed, User::Other) => names::FILES_GROUP,
            _ => return Ok(OWNER_ONLY),
        };
        self.key(workload.pod, &["spec".into()], "securityContext", "fsGroup", Value::number(group));
        Ok(OWNER_AND_GROUP)
    }

    /// On the template, what is mounted; on the workload itself, how renewed files come into force.
    fn annotations(&mut self) -> Result<(), Error> {
        let wiring = self.wiring;
        let value = match (&wiring.server, &wiring.client) {
            (Some(_), Some(_)) => "server,client",
            (Some(_), None) => "server",
            _ => "client",
        };
        let template = wiring.workload.template;
        let mut of_template = Vec::new();
        match template.at(&["metadata", "annotations", names::WIRED_ANNOTATION]) {
            Some(old) if old.text() == Some(value) => {}
            Some(old) => {
                let message = format!("the annotation {} would be {value}", names::WIRED_ANNOTATION);
                return Err(self.taken(old, message));
            }
            None => of_template.push((names::WIRED_ANNOTATION, Value::string(value))),
        }
        let object = wiring.workload.object.node;
        let says = object.at(&["metadata", "annotations", names::RELOAD_ANNOTATION]).is_some();
        let mut of_workload = Vec::new();
        if let Some(reload) = wiring
            .reload
            .as_ref()
            .filter(|reload| !says && (**reload != Reload::Restart || wiring.restarted().is_some()))
        {
            of_workload.push((names::RELOAD_ANNOTATION, Value::string(reload.to_string())));
        }
        let workload_path = wiring.workload.position.path.clone();
        if wiring.workload.template_path.is_empty() {
            of_template.append(&mut of_workload);
        }
        self.annotate(self.base.clone(), template, of_template);
        self.annotate(workload_path, object, of_workload);
        Ok(())
    }

    /// Adds annotations to the `metadata` of what stands at a path.
    fn annotate(&mut self, at: Vec<Step>, owner: &Node, annotations: Vec<(&str, Value)>) {
        if annotations.is_empty() {
            return;
        }
        let filled = |node: Option<&Node>| node.is_some_and(|n| !n.is_null() && !n.is_empty_collection());
        let path = |steps: &[&str]| at.iter().cloned().chain(steps.iter().map(|s| Step::from(*s))).collect();
        if filled(owner.at(&["metadata", "annotations"])) {
            for (name, value) in annotations {
                let add = Add::Key(name.to_owned(), value);
                self.changes.push(Change { path: path(&["metadata", "annotations"]), add });
            }
            return;
        }
        let all = Value::mapping(annotations);
        let change = match filled(owner.get("metadata")) {
            true => Change { path: path(&["metadata"]), add: Add::Key("annotations".to_owned(), all) },
            false => {
                let metadata = Value::mapping([("annotations", all)]);
                Change { path: path(&[]), add: Add::Key("metadata".to_owned(), metadata) }
            }
        };
        self.changes.push(change);
    }

    /// Adds the sidecar that tells the application of renewed files, and what it needs of the pod.
    fn reload(&mut self, options: &Options, mounts: &[(&str, &str, &str)]) -> Result<(), Error> {
        let wiring = self.wiring;
        if mounts.is_empty() {
            return Ok(());
        }
        let (workload, pod) = (&wiring.workload, wiring.workload.pod);
        let Some(reload) = &wiring.reload else { return Ok(()) };
        let Some(wanted) = reload::sidecar(workload, reload, options.image(), mounts)? else { return Ok(()) };
        if matches!(reload, Reload::Signal { .. }) {
            match pod.get("shareProcessNamespace") {
                Some(shared) if shared.text() == Some("true") => {}
                Some(other) => {
                    let message = "a signal needs shareProcessNamespace: true".to_owned();
                    return Err(self.taken(other, message));
                }
                None => {
                    let add = Add::Key("shareProcessNamespace".to_owned(), Value::truth(true));
                    self.add(&["spec".into()], add);
                }
            }
        }
        match named(pod.get("initContainers"), names::RELOAD_CONTAINER) {
            // Its image and further settings are the user's.
            Some(old) if old.get("args").map(Value::of).as_ref() == wanted.get("args") => {}
            Some(old) => {
                return Err(self.taken(old, format!("{} would be for {reload}", names::RELOAD_CONTAINER)));
            }
            None => self.items(pod, &["spec".into()], "initContainers", vec![wanted]),
        }
        Ok(())
    }

    fn volumes(&mut self, mounts: &[(&str, &str, &str)], mode: i64) -> Result<(), Error> {
        let pod = self.wiring.workload.pod;
        let mut missing = Vec::new();
        for (volume, _, secret) in mounts {
            match named(pod.get("volumes"), volume) {
                Some(old) if old.text_at(&["secret", "secretName"]) == Some(secret) => {}
                Some(old) => {
                    let message = format!("the volume {volume} would hold the Secret {secret}");
                    return Err(self.taken(old, message));
                }
                None => missing.push(Value::mapping([
                    ("name", Value::string(*volume)),
                    (
                        "secret",
                        Value::mapping([
                            ("secretName", Value::string(*secret)),
                            ("defaultMode", Value::number(mode)),
                        ]),
                    ),
                ])),
            }
        }
        if self.wiring.sidecar.is_some() {
            match named(pod.get("volumes"), names::LISTS_VOLUME) {
                Some(old) if old.text_at(&["configMap", "name"]) == Some(names::TRUST_CONFIG_MAP) => {}
                Some(old) => {
                    let message = format!("the volume {} would hold revocation lists", names::LISTS_VOLUME);
                    return Err(self.taken(old, message));
                }
                None => missing.push(sidecar::lists()),
            }
        }
        self.items(pod, &["spec".into()], "volumes", missing);
        Ok(())
    }

    /// One that is there already stays as it is, if it does the same.
    fn sidecar(
        &mut self,
        sidecar: &Sidecar,
        options: &Options,
        mounts: &[(&str, &str, &str)],
    ) -> Result<(), Error> {
        let pod = self.wiring.workload.pod;
        let all = self.wiring.workload.all_containers();
        let old = all.into_iter().find(|found| found.node.text_at(&["name"]) == Some(names::SIDECAR));
        match old {
            Some(container) => {
                let old = container.node;
                let same = old.get("args").map(Value::of) == Some(sidecar.args(options.cluster_domain()));
                if !same {
                    let message =
                        format!("the sidecar {} would be started with other arguments", names::SIDECAR);
                    return Err(self.taken(old, message));
                }
                // One of a version that did not ask for revocation has no such mount.
                self.mounts(container, &[sidecar::LISTS])?;
            }
            None => {
                let mounts: Vec<_> = mounts.iter().copied().chain([sidecar::LISTS]).collect();
                let container = sidecar.container(options, &mounts);
                self.items(pod, &["spec".into()], "initContainers", vec![container]);
            }
        }
        let old = pod.get("hostAliases").map(Node::items).unwrap_or_default();
        let mut missing = Vec::new();
        for alias in sidecar.host_aliases(self.wiring.workload.object.namespace) {
            let ip = alias.get("ip").and_then(Value::text);
            match old.iter().find(|own| own.text_at(&["ip"]) == ip) {
                Some(own) if Value::of(own) == alias => {}
                Some(own) => {
                    let message = format!("the host alias {} would have other names", ip.unwrap_or_default());
                    return Err(self.taken(own, message));
                }
                None => missing.push(alias),
            }
        }
        self.items(pod, &["spec".into()], "hostAliases", missing);
        Ok(())
    }

    fn mounts(&mut self, container: Container<'_>, mounts: &[(&str, &str, &str)]) -> Result<(), Error> {
        let old = container.node.get("volumeMounts").map(Node::items).unwrap_or_default();
        let mut missing = Vec::new();
        for (volume, path, _) in mounts {
            let at_path = old.iter().find(|mount| {
                mount.text_at(&["mountPath"]).is_some_and(|own| own.trim_end_matches('/') == *path)
            });
            match at_path {
                Some(mount) if mount.text_at(&["name"]) == Some(volume) => {}
                Some(mount) => {
                    return Err(self.taken(mount, format!("{path} would be the mount of {volume}")));
                }
                None => missing.push(Value::mapping([
                    ("name", Value::string(*volume)),
                    ("mountPath", Value::string(*path)),
                    ("readOnly", Value::truth(true)),
                ])),
            }
        }
        self.items(container.node, &steps(container), "volumeMounts", missing);
        Ok(())
    }

    /// A variable of that name that is there already is the user's decision.
    fn environment(&mut self, container: Container<'_>, mounts: &[(&str, &str, &str)]) {
        let missing: Vec<Value> = names::ENVIRONMENT
            .iter()
            .filter(|(name, folder, _)| {
                mounts.iter().any(|(_, path, _)| path == folder)
                    && named(container.node.get("env"), name).is_none()
            })
            .map(|(name, folder, file)| {
                Value::mapping([
                    ("name", Value::string(*name)),
                    ("value", Value::string(format!("{folder}/{file}"))),
                ])
            })
            .collect();
        self.items(container.node, &steps(container), "env", missing);
    }
}

/// Ours, which has all that it needs.
fn is_ours(container: Container<'_>) -> bool {
    let name = container.node.text_at(&["name"]);
    let first = container.node.get("args").and_then(|args| args.items().first()).and_then(Node::text);
    matches!(name, Some(names::SIDECAR | names::RELOAD_CONTAINER)) && first == Some("kube")
}

fn steps(container: Container<'_>) -> [Step; 3] {
    ["spec".into(), container.list.into(), container.index.into()]
}

/// The item of a list with this `name`.
fn named<'a>(list: Option<&'a Node>, name: &str) -> Option<&'a Node> {
    list?.items().iter().find(|item| item.text_at(&["name"]) == Some(name))
}
