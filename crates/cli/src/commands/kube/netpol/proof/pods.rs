//! The probe pods: Jobs that end and delete themselves, with the labels of the workload that each stands for.
//!
//! A pod with a workload's labels must not become part of it: its Job is its controller, so that no ReplicaSet adopts
//! it, and a readiness gate that nobody opens keeps every Service from sending it traffic.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use controller::netpol::{Graph, Peer, Port, Protocol, TEST_LABEL};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::api::{AttachParams, DeleteParams, ListParams, PostParams};
use kube::{Api, Client};
use model::codes::kube::{NETPOL_CLUSTER, NETPOL_PROBE};
use serde_json::{Value, json};
use tokio::io::AsyncReadExt as _;

use super::super::agent::Dialled;
use super::listing;
use crate::failure::Failure;

/// A port that no edge opens, on every stand-in; also what a workload without ports is tried at.
pub(super) const SPARE: Port = Port { protocol: Protocol::Tcp, number: 60_606 };
const POD_LABEL: &str = "handfast.dev/netpol-test-pod";
const GATE: &str = "handfast.dev/takes-no-traffic";
/// What no waiting mends.
const HOPELESS: [&str; 6] = [
    "ErrImageNeverPull",
    "ImagePullBackOff",
    "InvalidImageName",
    "CreateContainerConfigError",
    "CreateContainerError",
    "RunContainerError",
];
const START: Duration = Duration::from_secs(90);

/// Whom a pod stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// A workload, by index.
    Workload(usize),
    /// A stranger in another namespace, without any policy.
    Open,
    /// A control pod that a policy of ours lets nobody in to.
    ClosedIngress,
    /// A control pod that a policy of ours lets nowhere out from.
    ClosedEgress,
}

/// A pod that is to be started, or was.
#[derive(Clone, Debug)]
pub(super) struct Stand {
    pub(super) role: Role,
    pub(super) title: String,
    pub(super) namespace: String,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) ports: Vec<Port>,
    pub(super) pod: String,
    pub(super) address: String,
    job: String,
    uid: String,
}

impl Stand {
    /// This port of the pod, as the agent takes it.
    pub(super) fn target(&self, port: Port) -> String {
        let protocol = port.protocol.as_str().to_ascii_lowercase();
        match self.address.contains(':') {
            true => format!("{protocol}:[{}]:{}", self.address, port.number),
            false => format!("{protocol}:{}:{}", self.address, port.number),
        }
    }
}

/// A stand-in for each workload on which policies can hold, then the control pods.
pub(super) fn plan(graph: &Graph, most: usize, published: bool) -> Result<Vec<Stand>, Failure> {
    let eager = graph.objects.services.iter().filter(|service| service.publishes_not_ready);
    if let Some(service) = eager.into_iter().find(|service| graph.objects.behind(service).next().is_some())
        && !published
    {
        return Err(Failure::usage(format!(
            "Service {}/{} publishes pods that are not ready, so for some seconds clients would reach a probe; where \
             that does no harm, say --allow-published",
            service.namespace, service.name
        )));
    }
    let mut stands = Vec::new();
    let stand = |role, title: String, namespace: &str, labels, ports| Stand {
        role,
        title,
        namespace: namespace.to_owned(),
        labels,
        ports,
        pod: String::new(),
        address: String::new(),
        job: String::new(),
        uid: String::new(),
    };
    for (index, workload) in graph.objects.workloads.iter().enumerate().filter(|(_, own)| !own.host_network) {
        let mut ports: BTreeSet<Port> = workload.ports.iter().map(|(_, port)| *port).collect();
        let peer = Peer::Workload(index);
        ports.extend(graph.allowed.iter().filter(|edge| edge.server == peer).map(|edge| edge.port));
        ports.extend([SPARE]);
        let ports = ports.into_iter().filter(|port| port.protocol != Protocol::Sctp).collect();
        // What a controller adds to its own pods only.
        let mut labels = workload.labels.clone();
        labels.remove("pod-template-hash");
        stands.push(stand(Role::Workload(index), workload.to_string(), &workload.namespace, labels, ports));
    }
    for (role, title) in [
        (Role::Open, "stranger"),
        (Role::ClosedIngress, "control with denied ingress"),
        (Role::ClosedEgress, "control with denied egress"),
    ] {
        stands.push(stand(role, title.to_owned(), "", BTreeMap::new(), vec![SPARE]));
    }
    if stands.len() > most {
        return Err(Failure::usage(format!(
            "the proof needs {} pods, more than --max-pods {most} allows",
            stands.len()
        )));
    }
    Ok(stands)
}

/// All namespaces that get a pod.
pub(super) fn namespaces(graph: &Graph, control: &str) -> BTreeSet<String> {
    let own = graph.objects.workloads.iter().map(|workload| workload.namespace.clone());
    own.chain([control.to_owned()]).collect()
}

/// One run of the proof.
pub(super) struct Run {
    client: Client,
    id: String,
    token: String,
    image: String,
    program: String,
    control: String,
    /// Seconds after which the pods end by themselves, whatever became of us.
    deadline: i64,
}

impl Run {
    pub(super) fn new(client: &Client, image: &str, program: &str, control: &str, deadline: i64) -> Self {
        // Unlike any other run that may be on at the same time; nothing has to be secret.
        let nanoseconds = time::OffsetDateTime::now_utc().unix_timestamp_nanos();
        let id = format!("{:08x}", (nanoseconds / 1000) as u32 ^ std::process::id().rotate_left(16));
        Self {
            client: client.clone(),
            token: format!("handfast-netpol-test {id}\n"),
            id,
            image: image.to_owned(),
            program: program.to_owned(),
            control: control.to_owned(),
            deadline,
        }
    }

    /// Starts all pods and waits until each runs and has its address.
    pub(super) async fn start(&self, mut stands: Vec<Stand>) -> Result<Vec<Stand>, Failure> {
        eprintln!("starting {} probe pods; they end by themselves", stands.len());
        for (number, stand) in stands.iter_mut().enumerate() {
            if stand.namespace.is_empty() {
                stand.namespace.clone_from(&self.control);
            }
            stand.job = format!("handfast-netpol-test-{}-{number}", self.id);
            let job: Job = serde_json::from_value(self.job(stand))
                .map_err(|error| Failure::new(&model::codes::usage::INTERNAL, error))?;
            let api: Api<Job> = Api::namespaced(self.client.clone(), &stand.namespace);
            let created = api.create(&PostParams::default(), &job).await.map_err(|error| {
                let what = format!("the probe for {} cannot be started in {}", stand.title, stand.namespace);
                listing::failed(&NETPOL_PROBE, &what, &error)
            })?;
            stand.uid = created.metadata.uid.unwrap_or_default();
        }
        let begin = Instant::now();
        loop {
            let mut waiting = String::new();
            for stand in stands.iter_mut().filter(|stand| stand.address.is_empty()) {
                match self.look(stand).await? {
                    None => {}
                    Some(why) => waiting = format!("{}: {why}", stand.title),
                }
            }
            if waiting.is_empty() {
                return Ok(stands);
            }
            if begin.elapsed() > START {
                return Err(Failure::new(&NETPOL_PROBE, format!("a probe pod does not start; {waiting}")));
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }

    /// Fills in name and address once the pod runs; until then says what it waits for.
    async fn look(&self, stand: &mut Stand) -> Result<Option<String>, Failure> {
        let api: Api<Pod> = Api::namespaced(self.client.clone(), &stand.namespace);
        let list = api.list(&ListParams::default().labels(&format!("{POD_LABEL}={}", stand.job))).await;
        let list =
            list.map_err(|error| listing::failed(&NETPOL_CLUSTER, "cannot list the probe pods", &error))?;
        let Some(pod) = list.items.into_iter().next() else {
            let api: Api<Job> = Api::namespaced(self.client.clone(), &stand.namespace);
            let gone = api.get_opt(&stand.job).await.ok().flatten().is_none();
            if gone {
                return Err(Failure::new(&NETPOL_PROBE, format!("the Job {} was deleted", stand.job)));
            }
            return Ok(Some(format!(
                "its Job has no pod yet (kubectl describe job -n {} {})",
                stand.namespace, stand.job
            )));
        };
        let status = pod.status.unwrap_or_default();
        let container = status.container_statuses.unwrap_or_default().into_iter().next();
        let state = container.and_then(|container| container.state).unwrap_or_default();
        if state.terminated.is_some() {
            return Err(Failure::new(&NETPOL_PROBE, format!("the probe for {} ended at once", stand.title))
                .with("logs", format!("kubectl logs -n {} job/{}", stand.namespace, stand.job))
                .fix("the image needs this very version of Handfast at --program; see the logs"));
        }
        if state.running.is_some()
            && let Some(address) = status.pod_ip.filter(|address| !address.is_empty())
        {
            stand.pod = pod.metadata.name.unwrap_or_default();
            stand.address = address;
            return Ok(None);
        }
        let waiting = state.waiting;
        let hopeless = waiting.as_ref().is_some_and(|waiting| {
            waiting.reason.as_deref().is_some_and(|reason| HOPELESS.contains(&reason))
        });
        let waiting = waiting.map(|waiting| {
            format!("{} {}", waiting.reason.unwrap_or_default(), waiting.message.unwrap_or_default())
        });
        if let (true, Some(why)) = (hopeless, &waiting) {
            return Err(Failure::new(
                &NETPOL_PROBE,
                format!("the probe for {} cannot start: {why}", stand.title),
            )
            .with("image", &self.image)
            .fix("name an image that holds this program with --image, and its path with --program"));
        }
        let unscheduled =
            status.conditions.iter().flatten().find_map(|condition| {
                (condition.status == "False").then(|| condition.message.clone()).flatten()
            });
        Ok(Some(waiting.or(unscheduled).unwrap_or_else(|| "not started yet".to_owned())))
    }

    fn job(&self, stand: &Stand) -> Value {
        let numbers = |protocol: Protocol| {
            let own = stand.ports.iter().filter(|port| port.protocol == protocol);
            own.map(|port| port.number.to_string()).collect::<Vec<_>>().join(",")
        };
        let mut command: Vec<String> =
            [&self.program, "kube", "netpol", "agent", "listen", "--token", &self.token]
                .map(str::to_owned)
                .to_vec();
        command.extend(["--seconds".to_owned(), self.deadline.to_string()]);
        for (option, ports) in [("--tcp", numbers(Protocol::Tcp)), ("--udp", numbers(Protocol::Udp))] {
            if !ports.is_empty() {
                command.extend([option.to_owned(), ports]);
            }
        }
        let mut labels = stand.labels.clone();
        // A stand-in for a Job's pods has labels that the API server would otherwise set for its own Job.
        let by_hand = labels.keys().any(|key| key.ends_with("job-name"));
        labels.insert(TEST_LABEL.to_owned(), self.id.clone());
        labels.insert(POD_LABEL.to_owned(), stand.job.clone());
        let low = stand.ports.iter().any(|port| port.number < 1024);
        let sysctls: &[Value] = &if low {
            vec![json!({ "name": "net.ipv4.ip_unprivileged_port_start", "value": "0" })]
        } else {
            vec![]
        };
        let mut spec = json!({
            "backoffLimit": 0,
            "activeDeadlineSeconds": self.deadline,
            "ttlSecondsAfterFinished": 0,
            "template": {
                "metadata": { "labels": labels, "annotations": { "sidecar.istio.io/inject": "false" } },
                "spec": {
                    "restartPolicy": "Never",
                    "terminationGracePeriodSeconds": 1,
                    "automountServiceAccountToken": false,
                    "enableServiceLinks": false,
                    "readinessGates": [{ "conditionType": GATE }],
                    "securityContext": {
                        "runAsNonRoot": true, "runAsUser": 65532, "runAsGroup": 65532,
                        "seccompProfile": { "type": "RuntimeDefault" },
                        "sysctls": sysctls
                    },
                    "containers": [{
                        "name": "probe",
                        "image": self.image,
                        "imagePullPolicy": "IfNotPresent",
                        "command": command,
                        "securityContext": {
                            "allowPrivilegeEscalation": false,
                            "readOnlyRootFilesystem": true,
                            "capabilities": { "drop": ["ALL"] }
                        },
                        "resources": {
                            "requests": { "cpu": "5m", "memory": "16Mi" },
                            "limits": { "cpu": "500m", "memory": "128Mi" }
                        }
                    }]
                }
            }
        });
        if by_hand {
            spec["manualSelector"] = json!(true);
            spec["selector"] = json!({ "matchLabels": { POD_LABEL: stand.job } });
        }
        json!({
            "apiVersion": "batch/v1", "kind": "Job",
            "metadata": {
                "name": stand.job,
                "labels": { TEST_LABEL: self.id },
                "annotations": { "handfast.dev/stands-for": stand.title }
            },
            "spec": spec
        })
    }

    /// Denies everything in one direction to one of our own pods, until its Job is gone.
    pub(super) async fn deny(&self, stand: &Stand, direction: &str) -> Result<(), Failure> {
        let policy = json!({
            "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
            "metadata": {
                "name": stand.job,
                "labels": { TEST_LABEL: self.id },
                "ownerReferences": [{ "apiVersion": "batch/v1", "kind": "Job", "name": stand.job, "uid": stand.uid }]
            },
            "spec": { "podSelector": { "matchLabels": { POD_LABEL: stand.job } }, "policyTypes": [direction] }
        });
        let policy: NetworkPolicy = serde_json::from_value(policy)
            .map_err(|error| Failure::new(&model::codes::usage::INTERNAL, error))?;
        let api: Api<NetworkPolicy> = Api::namespaced(self.client.clone(), &stand.namespace);
        api.create(&PostParams::default(), &policy)
            .await
            .map(drop)
            .map_err(|error| listing::failed(&NETPOL_PROBE, "the control policy cannot be created", &error))
    }

    /// Tries all targets from one pod.
    pub(super) async fn dial(&self, stand: &Stand, targets: &[String]) -> Result<Vec<Dialled>, Failure> {
        let failed = |why: String| {
            Failure::new(&NETPOL_PROBE, format!("the probe for {} cannot be asked: {why}", stand.title))
                .with("pod", format!("{}/{}", stand.namespace, stand.pod))
        };
        let mut command = [&self.program, "kube", "netpol", "agent", "dial", "--token", &self.token]
            .map(str::to_owned)
            .to_vec();
        command.extend(targets.iter().cloned());
        let api: Api<Pod> = Api::namespaced(self.client.clone(), &stand.namespace);
        let parameters = AttachParams::default().container("probe").stdout(true).stderr(true);
        let exchange = async {
            let mut process = api
                .exec(&stand.pod, command, &parameters)
                .await
                .map_err(|error| failed(error.to_string()))?;
            let (mut text, mut errors) = (String::new(), String::new());
            if let Some(mut out) = process.stdout() {
                out.read_to_string(&mut text).await.map_err(|error| failed(error.to_string()))?;
            }
            if let Some(mut out) = process.stderr() {
                let _ = out.read_to_string(&mut errors).await;
            }
            Ok::<_, Failure>((text, errors))
        };
        let (text, errors) = tokio::time::timeout(Duration::from_secs(30), exchange)
            .await
            .map_err(|_| failed("no answer in 30 s".to_owned()))??;
        let results: Vec<Dialled> = serde_json::from_str(text.trim())
            .map_err(|_| failed(format!("it answered {:?} {:?}", text.trim(), errors.trim())))?;
        if results.len() != targets.len()
            || results.iter().zip(targets).any(|(result, target)| result.target != *target)
        {
            return Err(failed("it answered for other targets".to_owned()));
        }
        Ok(results)
    }

    /// Deletes what this run made. What cannot be deleted now ends by itself.
    pub(super) async fn clean_up(&self, namespaces: &BTreeSet<String>) {
        let ours = ListParams::default().labels(&format!("{TEST_LABEL}={}", self.id));
        for namespace in namespaces {
            let jobs: Api<Job> = Api::namespaced(self.client.clone(), namespace);
            let policies: Api<NetworkPolicy> = Api::namespaced(self.client.clone(), namespace);
            let jobs = jobs.delete_collection(&DeleteParams::background(), &ours).await.map(drop);
            let policies = policies.delete_collection(&DeleteParams::default(), &ours).await.map(drop);
            for error in [jobs, policies].into_iter().filter_map(Result::err) {
                eprintln!(
                    "warning: the probes in {namespace} are not deleted ({error}); they end by themselves within \
                     {} seconds",
                    self.deadline
                );
            }
        }
    }
}
