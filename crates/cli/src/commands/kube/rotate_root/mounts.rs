//! Where running containers have a managed Secret or a trust bundle: from the pod as it is, without asking anybody.

use std::collections::{BTreeMap, BTreeSet};

use controller::names::{INJECTED_ANNOTATION, MESH_PROXY, MESH_VOLUME, SIGNER, TRUST_CONFIG_MAP};
use controller::trust::CLUSTER_TRUST_BUNDLE;
use k8s_openapi::api::core::v1::{Container, ContainerStatus, KeyToPath, Pod, Volume};
use time::OffsetDateTime;

use super::super::test::find;

#[cfg(test)]
mod tests;

/// What a volume is filled from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// A managed Secret, by name.
    Secret(String),
    /// The trust bundle's ConfigMap.
    Trust,
    /// The ClusterTrustBundle.
    Cluster,
    /// A certificate that the kubelet asked our signer for, for this pod alone.
    Pod,
}

/// What lies in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holds {
    /// Roots.
    Bundle,
    /// A leaf with its chain.
    Leaf,
    /// A form that is not read here, such as a keystore.
    Other,
}

/// A file that a container has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The container.
    pub container: String,
    /// Where it is there.
    pub path: String,
    /// What it comes from.
    pub source: Source,
    /// What lies in it.
    pub holds: Holds,
    /// The volume, and where the file is in it.
    pub volume: String,
    /// See [`volume`](Self::volume).
    pub inside: String,
    /// Mounted with subPath: what lies there is from the container's start, for ever.
    pub frozen: bool,
}

/// A copy of what an object held when a container started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// The container.
    pub container: String,
    /// What it comes from.
    pub source: Source,
    /// In its environment; else the container has ended, and may have copied it.
    pub in_environment: bool,
}

/// A pod that uses our objects.
#[derive(Clone, Debug)]
pub struct User {
    /// The pod.
    pub pod: Pod,
    /// As in `shop/web-5d8f`.
    pub name: String,
    /// As in `shop/web`.
    pub workload: String,
    /// Its files.
    pub places: Vec<Place>,
    /// What holds the state of an earlier moment without being a file that is looked at.
    pub kept: Vec<Kept>,
    /// When each running container was started.
    pub started: BTreeMap<String, OffsetDateTime>,
    /// When the pod was made.
    pub made: OffsetDateTime,
}

impl User {
    /// Namespace.
    pub fn namespace(&self) -> &str {
        self.name.split_once('/').map_or("", |(namespace, _)| namespace)
    }

    /// What it uses.
    pub fn sources(&self) -> BTreeSet<Source> {
        let places = self.places.iter().map(|place| place.source.clone());
        places.chain(self.kept.iter().map(|kept| kept.source.clone())).collect()
    }

    /// Without what the mesh gave its proxy, which says itself whom it trusts; `None` when nothing else is left.
    pub fn without_proxy(mut self) -> Option<Self> {
        let annotations = self.pod.metadata.annotations.as_ref();
        if annotations.is_some_and(|all| all.contains_key(INJECTED_ANNOTATION)) {
            self.places.retain(|place| place.container != MESH_PROXY || place.volume != MESH_VOLUME);
            self.kept.retain(|kept| kept.container != MESH_PROXY);
        }
        (!self.places.is_empty() || !self.kept.is_empty()).then_some(self)
    }
}

/// A pod with what it uses of ours; `None` when that is nothing, or no container of it runs. `managed` names the
/// managed Secrets of its namespace.
pub fn user(pod: &Pod, managed: &BTreeSet<String>) -> Option<User> {
    let (spec, status) = (pod.spec.as_ref()?, pod.status.as_ref()?);
    let statuses = [&status.container_statuses, &status.init_container_statuses];
    let started: BTreeMap<String, OffsetDateTime> = statuses
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|status| Some((status.name.clone(), running_since(status)?)))
        .collect();
    let volumes: BTreeMap<&str, Vec<File>> = spec
        .volumes
        .iter()
        .flatten()
        .map(|volume| (volume.name.as_str(), files(volume, managed)))
        .filter(|(_, files)| !files.is_empty())
        .collect();
    let (mut places, mut kept) = (Vec::new(), Vec::new());
    let containers = spec.containers.iter().chain(spec.init_containers.iter().flatten());
    let keep = |container: &Container, source: Source, in_environment: bool| Kept {
        container: container.name.clone(),
        source,
        in_environment,
    };
    for container in containers {
        if !started.contains_key(&container.name) {
            // An init container that has ended may have copied what it had.
            let mounts = container.volume_mounts.iter().flatten();
            let files = mounts.flat_map(|mount| volumes.get(mount.name.as_str()).into_iter().flatten());
            let sources: BTreeSet<Source> = files.map(|file| file.source.clone()).collect();
            kept.extend(sources.into_iter().map(|source| keep(container, source, false)));
            continue;
        }
        for mount in container.volume_mounts.iter().flatten() {
            for file in volumes.get(mount.name.as_str()).into_iter().flatten() {
                let part =
                    mount.sub_path.as_deref().or(mount.sub_path_expr.as_deref()).filter(|p| !p.is_empty());
                let folder = mount.mount_path.trim_end_matches('/');
                let path = match part.map(|part| file.inside.strip_prefix(part.trim_end_matches('/'))) {
                    None => format!("{folder}/{}", file.inside),
                    Some(Some("")) => folder.to_owned(),
                    Some(Some(rest)) if rest.starts_with('/') => format!("{folder}{rest}"),
                    // An expression is known to the container only; another file is not this one.
                    Some(_) if mount.sub_path_expr.is_some() => folder.to_owned(),
                    Some(_) => continue,
                };
                places.push(Place {
                    container: container.name.clone(),
                    path,
                    source: file.source.clone(),
                    holds: file.holds,
                    volume: mount.name.clone(),
                    inside: file.inside.clone(),
                    frozen: part.is_some(),
                });
            }
        }
        kept.extend(of_environment(container, managed).map(|source| keep(container, source, true)));
    }
    if started.is_empty() || (places.is_empty() && kept.is_empty()) {
        return None;
    }
    let namespace = pod.metadata.namespace.clone().unwrap_or_default();
    let made = pod.metadata.creation_timestamp.as_ref().map_or(0, |at| at.0.as_second());
    Some(User {
        name: format!("{namespace}/{}", pod.metadata.name.as_deref().unwrap_or_default()),
        workload: format!("{namespace}/{}", find::workload(pod)),
        pod: pod.clone(),
        places,
        kept,
        started,
        made: OffsetDateTime::from_unix_timestamp(made).unwrap_or(OffsetDateTime::UNIX_EPOCH),
    })
}

/// Whether a pod has the revocation lists of the trust bundle's ConfigMap mounted.
pub fn has_lists(pod: &Pod) -> bool {
    let lists = |items: Option<&[KeyToPath]>| {
        items.is_none_or(|items| items.iter().any(|item| item.key == controller::trust::LISTS_KEY))
    };
    let volumes = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
    volumes.into_iter().any(|volume| {
        let own = volume.config_map.as_ref().map(|map| (&map.name, map.items.as_deref()));
        let projected = volume.projected.iter().flat_map(|all| all.sources.iter().flatten());
        let projected = projected.filter_map(|source| source.config_map.as_ref());
        own.into_iter()
            .chain(projected.map(|map| (&map.name, map.items.as_deref())))
            .any(|(name, items)| name == TRUST_CONFIG_MAP && lists(items))
    })
}

fn running_since(status: &ContainerStatus) -> Option<OffsetDateTime> {
    let running = status.state.as_ref()?.running.as_ref()?;
    let at = running.started_at.as_ref().map_or(0, |at| at.0.as_second());
    OffsetDateTime::from_unix_timestamp(at).ok()
}

/// A file of a volume.
struct File {
    source: Source,
    holds: Holds,
    inside: String,
}

fn files(volume: &Volume, managed: &BTreeSet<String>) -> Vec<File> {
    let mut files = Vec::new();
    if let Some(secret) = &volume.secret
        && let Some(name) = secret.secret_name.as_ref().filter(|name| managed.contains(*name))
    {
        of_secret(name, secret.items.as_deref(), &mut files);
    }
    if let Some(map) = volume.config_map.as_ref().filter(|map| map.name == TRUST_CONFIG_MAP) {
        of_trust(map.items.as_deref(), &mut files);
    }
    for source in volume.projected.iter().flat_map(|projected| projected.sources.iter().flatten()) {
        if let Some(secret) = source.secret.as_ref().filter(|secret| managed.contains(&secret.name)) {
            of_secret(&secret.name, secret.items.as_deref(), &mut files);
        }
        if let Some(map) = source.config_map.as_ref().filter(|map| map.name == TRUST_CONFIG_MAP) {
            of_trust(map.items.as_deref(), &mut files);
        }
        if let Some(asked) = source.pod_certificate.as_ref().filter(|asked| asked.signer_name == SIGNER) {
            // The bundle has the key in it, too: it is read only where there is no other file.
            let chain = asked.certificate_chain_path.as_ref().or(asked.credential_bundle_path.as_ref());
            files.extend(chain.map(|inside| File {
                source: Source::Pod,
                holds: Holds::Leaf,
                inside: inside.clone(),
            }));
        }
        if let Some(bundle) = &source.cluster_trust_bundle {
            let ours = bundle.name.as_deref() == Some(CLUSTER_TRUST_BUNDLE)
                || bundle.signer_name.as_deref() == Some(SIGNER);
            if ours {
                let inside = bundle.path.clone();
                files.push(File { source: Source::Cluster, holds: Holds::Bundle, inside });
            }
        }
    }
    files
}

fn of_secret(name: &str, items: Option<&[KeyToPath]>, files: &mut Vec<File>) {
    let source = || Source::Secret(name.to_owned());
    let whole = [("tls.crt", "tls.crt"), ("ca.crt", "ca.crt")];
    let keys: Vec<(&str, &str)> = match items {
        Some(items) => items.iter().map(|item| (item.key.as_str(), item.path.as_str())).collect(),
        None => whole.to_vec(),
    };
    let readable = keys.iter().any(|(key, _)| ["tls.crt", "ca.crt", "tls-combined.pem"].contains(key));
    for (key, path) in keys {
        let holds = match key {
            "ca.crt" => Holds::Bundle,
            "tls.crt" | "tls-combined.pem" => Holds::Leaf,
            // Files of one volume change together: the readable ones speak for these.
            _ if readable || key == "tls.key" => continue,
            _ => Holds::Other,
        };
        files.push(File { source: source(), holds, inside: path.to_owned() });
    }
}

fn of_trust(items: Option<&[KeyToPath]>, files: &mut Vec<File>) {
    let path = match items {
        Some(items) => items.iter().find(|item| item.key == controller::trust::KEY).map(|item| &*item.path),
        None => Some(controller::trust::KEY),
    };
    let inside = path.map(str::to_owned);
    files.extend(inside.map(|inside| File { source: Source::Trust, holds: Holds::Bundle, inside }));
}

fn of_environment<'a>(
    container: &'a Container,
    managed: &'a BTreeSet<String>,
) -> impl Iterator<Item = Source> + 'a {
    let secret = |name: &str| managed.contains(name).then(|| Source::Secret(name.to_owned()));
    let map = |name: &str| (name == TRUST_CONFIG_MAP).then_some(Source::Trust);
    let single = container.env.iter().flatten().filter_map(|variable| variable.value_from.as_ref());
    let single = single.filter_map(move |from| {
        let of_secret = from.secret_key_ref.as_ref().and_then(|key| secret(&key.name));
        of_secret.or_else(|| from.config_map_key_ref.as_ref().and_then(|key| map(&key.name)))
    });
    let whole = container.env_from.iter().flatten().filter_map(move |from| {
        let of_secret = from.secret_ref.as_ref().and_then(|from| secret(&from.name));
        of_secret.or_else(|| from.config_map_ref.as_ref().and_then(|from| map(&from.name)))
    });
    single.chain(whole)
}
