//! Whatever happens to objects, and in whatever order: what was kept up is what everything at once gives.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use k8s_openapi::api::core::v1::{Namespace, Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use model::mesh::Tunnel;
use rand::rngs::StdRng;
use rand::seq::{IndexedRandom as _, SliceRandom as _};
use rand::{Rng as _, SeedableRng as _};
use serde_json::{Value, json};

use super::super::tests::custom;
use super::super::{Index, Objects, index};
use super::*;

const NAMESPACES: [&str; 3] = ["shop", "bank", "handfast-system"];

/// All objects, and what is kept up beside them.
struct Scene {
    random: StdRng,
    namespaces: BTreeMap<String, Namespace>,
    pods: BTreeMap<Key, Pod>,
    services: BTreeMap<Key, Service>,
    slices: BTreeMap<Key, EndpointSlice>,
    policies: BTreeMap<Key, Custom>,
    peers: BTreeMap<Key, Custom>,
    made: u64,
    options: Options,
    live: Live,
    world: Arc<World>,
    problems: Vec<Problem>,
}

fn object<T: serde::de::DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).unwrap()
}

impl Scene {
    fn new(seed: u64) -> Self {
        let mut random = StdRng::seed_from_u64(seed);
        let options = Options { injected: random.random_bool(0.5), ..Options::default() };
        Self {
            random,
            namespaces: BTreeMap::new(),
            pods: BTreeMap::new(),
            services: BTreeMap::new(),
            slices: BTreeMap::new(),
            policies: BTreeMap::new(),
            peers: BTreeMap::new(),
            made: 0,
            live: Live::new(options.clone()),
            options,
            world: Arc::default(),
            problems: Vec::new(),
        }
    }

    fn one_of<T: Clone>(&mut self, all: &[T]) -> T {
        all.choose(&mut self.random).unwrap().clone()
    }

    fn chance(&mut self, of: f64) -> bool {
        self.random.random_bool(of)
    }

    fn key(&mut self, kind: &str, most: u32) -> Key {
        let namespace = self.one_of(&NAMESPACES);
        (namespace.to_owned(), format!("{kind}{}", self.random.random_range(0..most)))
    }

    fn address(&mut self) -> String {
        format!("10.0.0.{}", self.random.random_range(1..8))
    }

    fn labels(&mut self) -> Value {
        let mut labels = serde_json::Map::new();
        for key in ["app", "tier"] {
            if self.chance(0.7) {
                labels.insert(key.to_owned(), self.one_of(&["a", "b"]).into());
            }
        }
        labels.into()
    }

    fn metadata(&mut self, key: &Key) -> Value {
        self.made += 1;
        let uid = format!("{}-{}", key.1, self.random.random_range(0..3));
        let second = self.random.random_range(0..4);
        json!({ "namespace": key.0, "name": key.1, "labels": self.labels(), "uid": uid,
                "creationTimestamp": format!("2026-01-01T00:00:0{second}Z") })
    }

    fn new_pod(&mut self, key: &Key) -> Pod {
        let mut metadata = self.metadata(key);
        if self.chance(0.15) {
            metadata["deletionTimestamp"] = "2026-01-01T00:01:00Z".into();
        }
        metadata["annotations"] = match self.random.random_range(0..5) {
            0 => json!({ "handfast.dev/mesh": "disabled" }),
            1 => json!({ "handfast.dev/mesh": "odd" }),
            2 => json!({ "handfast.dev/outbound-mode": "odd" }),
            3 => json!({ "handfast.dev/injected": "1" }),
            _ => json!({}),
        };
        let phase = self.one_of(&["Running", "Running", "Running", "Pending", "Failed"]);
        let ready = self.one_of(&["True", "False"]);
        let port = self.random.random_range(8080..8083);
        object(json!({
            "metadata": metadata,
            "spec": { "nodeName": "n1", "serviceAccountName": self.one_of(&["one", "two", "bad name"]),
                      "hostNetwork": self.chance(0.1),
                      "initContainers": [{ "name": "handfast-proxy" }],
                      "containers": [{ "name": "c", "ports": [{ "name": "web", "containerPort": port }] }] },
            "status": { "podIP": self.address(), "phase": phase,
                        "conditions": [{ "type": "Ready", "status": ready }] },
        }))
    }

    fn new_service(&mut self, key: &Key) -> Service {
        let selector = if self.chance(0.8) { self.labels() } else { Value::Null };
        let target = self.one_of(&[json!("web"), json!(9090), Value::Null]);
        object(json!({
            "metadata": self.metadata(key),
            "spec": { "clusterIP": format!("10.96.0.{}", self.random.random_range(1..5)), "selector": selector,
                      "type": self.one_of(&["ClusterIP", "ClusterIP", "ExternalName"]),
                      "publishNotReadyAddresses": self.chance(0.2),
                      "ports": [{ "name": "http", "port": 80, "targetPort": target }] },
        }))
    }

    fn new_slice(&mut self, key: &Key) -> EndpointSlice {
        let mut metadata = self.metadata(key);
        metadata["labels"]["kubernetes.io/service-name"] =
            format!("s{}", self.random.random_range(0..3)).into();
        let mut endpoints = Vec::new();
        for _ in 0..self.random.random_range(0..4) {
            let pod = format!("p{}", self.random.random_range(0..4));
            let mut endpoint =
                json!({ "addresses": [self.address()], "conditions": { "ready": self.chance(0.6) } });
            match self.random.random_range(0..3) {
                0 => endpoint["targetRef"] = json!({ "kind": "Pod", "name": pod }),
                1 => {
                    let uid = format!("{pod}-{}", self.random.random_range(0..3));
                    endpoint["targetRef"] = json!({ "kind": "Pod", "name": pod, "uid": uid });
                }
                _ => {}
            }
            endpoints.push(endpoint);
        }
        object(json!({
            "metadata": metadata, "endpoints": endpoints,
            "addressType": self.one_of(&["IPv4", "IPv4", "IPv4", "FQDN"]),
            "ports": [{ "name": "http", "port": self.random.random_range(9000..9003) }],
        }))
    }

    fn new_custom(&mut self, key: &Key, specs: &[Value]) -> Custom {
        let mut spec = self.one_of(specs);
        if self.chance(0.4) {
            spec["selector"] = json!({ "matchLabels": { "app": self.one_of(&["a", "b"]) } });
        }
        let mut made = custom(&key.0, &key.1, spec);
        made.metadata.creation_timestamp =
            object::<k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta>(self.metadata(key))
                .creation_timestamp;
        made
    }

    /// One object is made, changed or taken away.
    fn change(&mut self) {
        let gone = self.chance(0.3);
        match self.random.random_range(0..10) {
            0 => {
                let name = self.one_of(&NAMESPACES).to_owned();
                let labels = self.one_of(&[json!("enabled"), json!("node"), json!("odd"), json!("disabled")]);
                let mode = self.one_of(&["strict", "permissive", "odd"]);
                let made: Namespace = object(json!({ "metadata": { "name": name,
                    "labels": { "handfast.dev/mesh": labels },
                    "annotations": { "handfast.dev/outbound-mode": mode } } }));
                let now = set(&mut self.namespaces, name.clone(), (!gone).then_some(made));
                self.live.namespace(&name, now.map(Arc::new));
            }
            1..=4 => {
                let key = self.key("p", 4);
                let made = self.new_pod(&key);
                let now = set(&mut self.pods, key.clone(), (!gone).then_some(made));
                self.live.pod(key, now.map(Arc::new));
            }
            5 => {
                let key = self.key("s", 3);
                let made = self.new_service(&key);
                let now = set(&mut self.services, key.clone(), (!gone).then_some(made));
                self.live.service(key, now.map(Arc::new));
            }
            6 | 7 => {
                let key = self.key("e", 4);
                let made = self.new_slice(&key);
                let now = set(&mut self.slices, key.clone(), (!gone).then_some(made));
                self.live.slice(key, now.map(Arc::new));
            }
            8 => {
                let key = self.key("a", 3);
                let made = self.new_custom(
                    &key,
                    &[
                        json!({ "rules": [{}] }),
                        json!({ "action": "DENY", "rules": [{}] }),
                        json!({ "rules": 1 }),
                        json!({ "action": "AUDIT", "rules": 1 }),
                    ],
                );
                let now = set(&mut self.policies, key.clone(), (!gone).then_some(made));
                self.live.authorization_policy(key, now.as_ref());
            }
            _ => {
                let key = self.key("m", 3);
                let made = self.new_custom(
                    &key,
                    &[
                        json!({ "mtls": { "mode": "STRICT" } }),
                        json!({ "mtls": { "mode": "DISABLE" } }),
                        json!({ "mtls": { "mode": "UNSET" }, "portLevelMtls": { "80": { "mode": "STRICT" } } }),
                        json!({ "mtls": 1 }),
                    ],
                );
                let now = set(&mut self.peers, key.clone(), (!gone).then_some(made));
                self.live.peer_authentication(&key, now);
            }
        }
    }

    fn reference(&mut self) -> Index {
        let mut objects = Objects {
            namespaces: self.namespaces.values().cloned().collect(),
            service_accounts: Vec::new(),
            services: self.services.values().cloned().collect(),
            pods: self.pods.values().cloned().collect(),
            endpoint_slices: self.slices.values().cloned().collect(),
            authorization_policies: self.policies.values().cloned().collect(),
            peer_authentications: self.peers.values().cloned().collect(),
        };
        objects.pods.shuffle(&mut self.random);
        objects.services.shuffle(&mut self.random);
        objects.endpoint_slices.shuffle(&mut self.random);
        objects.authorization_policies.shuffle(&mut self.random);
        objects.peer_authentications.shuffle(&mut self.random);
        index(&objects, &self.options)
    }

    fn compare(&mut self, seed: u64) {
        let before = Arc::clone(&self.world);
        let update = self.live.update();
        assert!(!self.live.is_dirty());
        self.world = Arc::clone(&update.world);
        if let Some(problems) = update.problems {
            self.problems = problems;
        }
        let expected = self.reference();
        let (found, all) = (&update.world, expected.world());
        let mut workloads: Vec<_> = found.workloads().map(|one| (**one).clone()).collect();
        workloads.sort_by(|a, b| a.uid.cmp(&b.uid));
        assert_eq!(workloads, expected.workloads, "seed {seed}");
        let mut services: Vec<_> = found.services().map(|one| (**one).clone()).collect();
        services.sort_by(|a, b| a.name.cmp(&b.name));
        assert_eq!(services, expected.services, "seed {seed}");
        let mut policies: Vec<_> = found.policies().map(|one| (**one).clone()).collect();
        policies.sort_by_key(model::mesh::Policy::key);
        assert_eq!(policies, expected.policies, "seed {seed}");
        assert_eq!(self.problems, expected.problems, "seed {seed}");
        for last in 0..10 {
            for address in [IpAddr::from([10, 0, 0, last]), IpAddr::from([10, 96, 0, last])] {
                let text = |world: &World| format!("{:?}", world.at(address));
                assert_eq!(text(found), text(&all), "seed {seed}: {address}");
            }
        }
        for service in expected.services {
            let uids = |world: &World| -> Vec<String> {
                world.endpoints(&service.name).map(|one| one.uid.clone()).collect()
            };
            assert_eq!(uids(found), uids(&all), "seed {seed}");
        }
        assert!(differs(&before, found).is_subset(&names(&update.touched)), "seed {seed}");
    }
}

fn set<K: Ord, T: Clone>(all: &mut BTreeMap<K, T>, key: K, now: Option<T>) -> Option<T> {
    match now.clone() {
        Some(now) => all.insert(key, now),
        None => all.remove(&key),
    };
    now
}

fn names(touched: &Touched) -> BTreeSet<String> {
    let services = touched.services.iter().map(ToString::to_string);
    touched.workloads.iter().chain(&touched.policies).cloned().chain(services).collect()
}

/// The names of what is not the same in two worlds.
fn differs(one: &World, other: &World) -> BTreeSet<String> {
    let all = |world: &World| -> BTreeMap<String, String> {
        let workloads = world.workloads().map(|one| (one.uid.clone(), format!("{one:?}")));
        let services = world.services().map(|one| (one.name.to_string(), format!("{one:?}")));
        let policies = world.policies().map(|one| (one.key(), format!("{one:?}")));
        workloads.chain(services).chain(policies).collect()
    };
    let (one, other) = (all(one), all(other));
    let keys: BTreeSet<&String> = one.keys().chain(other.keys()).collect();
    keys.into_iter().filter(|key| one.get(*key) != other.get(*key)).cloned().collect()
}

#[test]
fn whatever_changes_the_result_is_that_of_everything_at_once() {
    for seed in 0..60 {
        let mut scene = Scene::new(seed);
        for _ in 0..60 {
            for _ in 0..scene.random.random_range(1..5) {
                scene.change();
            }
            scene.compare(seed);
        }
    }
}

#[test]
fn a_change_touches_what_depends_on_it_and_nothing_else() {
    let mut scene = Scene::new(1);
    for _ in 0..200 {
        scene.change();
    }
    scene.compare(1);
    // The same objects once more, as after a list: nothing became otherwise.
    for (key, pod) in scene.pods.clone() {
        scene.live.pod(key, Some(Arc::new(pod)));
    }
    for (key, service) in scene.services.clone() {
        scene.live.service(key, Some(Arc::new(service)));
    }
    for (key, slice) in scene.slices.clone() {
        scene.live.slice(key, Some(Arc::new(slice)));
    }
    let update = scene.live.update();
    assert_eq!(update.touched, Touched::default());
    assert!(Arc::ptr_eq(&update.world, &scene.world), "nobody has to be told");
}

#[test]
fn a_label_takes_in_no_pod_of_the_clusters_own() {
    let mut live = Live::new(Options { injected: true, ..Options::default() });
    for of in ["shop", "kube-system"] {
        let pod = object(json!({ "metadata": { "namespace": of, "name": "dns" },
            "spec": { "nodeName": "n1", "containers": [] }, "status": { "phase": "Running" } }));
        live.pod((of.to_owned(), "dns".to_owned()), Some(Arc::new(pod)));
    }
    live.update();
    for of in ["shop", "kube-system"] {
        let labelled =
            object(json!({ "metadata": { "name": of, "labels": { "handfast.dev/mesh": "node" } } }));
        live.namespace(of, Some(Arc::new(labelled)));
    }
    let update = live.update();
    let tunnel = |of| update.world.workload(&format!("Kubernetes//Pod/{of}/dns")).unwrap().tunnel;
    assert_eq!((tunnel("shop"), tunnel("kube-system")), (Tunnel::Hbone, Tunnel::None));
    let named: Vec<String> = update.problems.unwrap().into_iter().map(|problem| problem.name).collect();
    assert_eq!(named, ["kube-system"]);
}

/// A pod of a StatefulSet comes back under its name: its address and its readiness are its own from the first moment.
#[test]
fn a_pod_that_comes_after_another_of_its_name_has_nothing_of_it() {
    let pod = |uid: &str, address: Option<&str>| -> Option<Arc<Pod>> {
        let status = match address {
            Some(address) => json!({ "phase": "Running", "podIP": address,
                "conditions": [{ "type": "Ready", "status": "True" }] }),
            None => json!({ "phase": "Pending" }),
        };
        Some(Arc::new(object(json!({
            "metadata": { "namespace": "shop", "name": "db-0", "uid": uid, "labels": { "app": "db" } },
            "spec": { "nodeName": "n1", "containers": [] }, "status": status }))))
    };
    let key = || ("shop".to_owned(), "db-0".to_owned());
    let mut live = Live::new(Options::default());
    let service = object::<Service>(json!({ "metadata": { "namespace": "shop", "name": "db" },
        "spec": { "clusterIP": "10.96.0.7", "selector": { "app": "db" }, "ports": [{ "port": 80 }] } }));
    live.service(("shop".to_owned(), "db".to_owned()), Some(Arc::new(service)));
    let slice = object::<EndpointSlice>(json!({
        "metadata": { "namespace": "shop", "name": "db-x", "labels": { "kubernetes.io/service-name": "db" } },
        "addressType": "IPv4", "ports": [{ "port": 80 }],
        "endpoints": [{ "addresses": ["10.0.0.1"], "conditions": { "ready": true },
                        "targetRef": { "kind": "Pod", "name": "db-0", "uid": "first" } }] }));
    live.slice(("shop".to_owned(), "db-x".to_owned()), Some(Arc::new(slice)));
    live.pod(key(), pod("first", Some("10.0.0.1")));
    let old: IpAddr = "10.0.0.1".parse().unwrap();
    let first = live.update().world;
    assert!(first.at(old).is_some() && first.workload("Kubernetes//Pod/shop/db-0").unwrap().healthy);
    // The slice still lists the first one, by its uid.
    live.pod(key(), pod("second", None));
    let second = live.update().world;
    let workload = second.workload("Kubernetes//Pod/shop/db-0").unwrap();
    assert!(second.at(old).is_none(), "the address is the first one's, and it is gone");
    assert!(workload.addresses.is_empty() && !workload.healthy && workload.services.is_empty());
    live.pod(key(), pod("second", Some("10.0.0.2")));
    let third = live.update().world;
    assert!(third.at(old).is_none() && third.at("10.0.0.2".parse().unwrap()).is_some());
    assert!(third.workload("Kubernetes//Pod/shop/db-0").unwrap().services.is_empty());
}
