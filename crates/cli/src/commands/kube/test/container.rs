//! An ephemeral container in a pod: it shares the pod's network, mounts its Secret, runs
//! `handfast kube probe` once and ends by itself. (The API has no way to remove one.)

use std::time::{Duration, Instant};

use controller::error::chain;
use k8s_openapi::api::core::v1::{ContainerState, Pod};
use kube::api::{AttachParams, Patch, PatchParams};
use kube::{Api, Client};
use model::codes::kube as codes;
use probe::edge::{EdgePlan, Findings};
use serde_json::json;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use zeroize::Zeroizing;

use super::find::ClientPod;
use crate::failure::Failure;

/// Where the client's Secret is in the ephemeral container: where the application has it, too.
pub const FOLDER: &str = controller::names::CLIENT_MOUNT;
/// No findings are as long as this.
const LONGEST: u64 = 16 << 20;

/// How the container is made.
pub struct Settings<'a> {
    pub image: &'a str,
    /// For the image and the start.
    pub start: Duration,
    /// For the work.
    pub work: Duration,
}

/// Starts it, hands over the plan, and takes what was found.
pub async fn run(
    client: &Client,
    namespace: &str,
    target: &ClientPod,
    plan: &EdgePlan,
    settings: &Settings<'_>,
) -> Result<Findings, Failure> {
    let failed = |why: &dyn std::fmt::Display| {
        Failure::new(&codes::PROBE_NOT_STARTED, format!("the test in pod {}: {why}", target.name))
    };
    let line = Zeroizing::new(serde_json::to_string(plan).map_err(|error| failed(&error))?);
    let mount = (target.mounted.volume.clone(), FOLDER.to_owned());
    let answer = ask(client, namespace, &target.pod, &[], &[mount], &line, settings).await?;
    serde_json::from_str(&answer).map_err(|error| failed(&format!("its answer is not understood: {error}")))
}

/// Starts `handfast kube probe` in a pod, with these further arguments and these of its volumes (name and path),
/// hands over one line, and takes the one that comes back.
pub async fn ask(
    client: &Client,
    namespace: &str,
    pod: &Pod,
    arguments: &[&str],
    mounts: &[(String, String)],
    line: &str,
    settings: &Settings<'_>,
) -> Result<String, Failure> {
    let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
    let name = format!("handfast-test-{:08x}", nonce());
    let pod_name = pod.metadata.name.as_deref().unwrap_or_default();
    let refused = |what: &str, error: &dyn std::fmt::Display| {
        Failure::new(&codes::PROBE_NOT_STARTED, format!("{what} in pod {pod_name}: {error}"))
    };
    let container = container(&name, pod, arguments, mounts, settings.image);
    let patch = json!({"spec": {"ephemeralContainers": [container]}});
    pods.patch_ephemeral_containers(pod_name, &PatchParams::default(), &Patch::Strategic(patch))
        .await
        .map_err(|error| refused("no ephemeral container can be added", &chain(&error)))?;
    started(&pods, pod_name, &name, settings.start).await.map_err(|why| refused("the container", &why))?;

    let work = async {
        let attach = AttachParams::default().container(&name).stdin(true).stdout(true).stderr(true);
        let mut attached = pods.attach(pod_name, &attach).await.map_err(|error| chain(&error))?;
        let (Some(mut input), Some(output), Some(mut errors)) =
            (attached.stdin(), attached.stdout(), attached.stderr())
        else {
            return Err("its streams are not there".to_owned());
        };
        let line = Zeroizing::new(format!("{line}\n"));
        input.write_all(line.as_bytes()).await.map_err(|error| error.to_string())?;
        input.flush().await.map_err(|error| error.to_string())?;
        let mut answer = String::new();
        let mut said = String::new();
        let mut output = BufReader::new(output.take(LONGEST));
        let (read, _) = tokio::join!(output.read_line(&mut answer), errors.read_to_string(&mut said));
        read.map_err(|error| error.to_string())?;
        attached.abort();
        match (answer.trim(), said.trim()) {
            ("", "") => Err("it said nothing".to_owned()),
            ("", said) => Err(said.to_owned()),
            _ => Ok(answer),
        }
    };
    match tokio::time::timeout(settings.work, work).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(why)) => Err(refused("the test", &why)),
        Err(_) => Err(refused("the test", &format!("no answer in {} s", settings.work.as_secs()))),
    }
}

/// A number that no other run has.
fn nonce() -> u32 {
    use std::hash::{BuildHasher as _, Hasher as _};
    std::collections::hash_map::RandomState::new().build_hasher().finish() as u32
}

/// What Pod Security's `restricted` asks for, as the user that can read the pod's files.
fn container(
    name: &str,
    pod: &Pod,
    arguments: &[&str],
    mounts: &[(String, String)],
    image: &str,
) -> serde_json::Value {
    let spec = pod.spec.as_ref();
    let pod = spec.and_then(|spec| spec.security_context.as_ref());
    let main = spec.and_then(|spec| spec.containers.first()).and_then(|main| main.security_context.as_ref());
    let user =
        main.and_then(|context| context.run_as_user).or_else(|| pod.and_then(|context| context.run_as_user));
    let non_root = main
        .and_then(|context| context.run_as_non_root)
        .or_else(|| pod.and_then(|context| context.run_as_non_root))
        .unwrap_or(false);
    let grouped = pod.is_some_and(|context| context.fs_group.is_some());
    // Files of a Secret belong to root, and to fsGroup where there is one.
    let user = match user {
        Some(user) => user,
        None if grouped || non_root => 65532,
        None => 0,
    };
    let arguments: Vec<&str> = ["kube", "probe"].iter().chain(arguments).copied().collect();
    let mounts: Vec<_> = mounts
        .iter()
        .map(|(volume, path)| json!({"name": volume, "mountPath": path, "readOnly": true}))
        .collect();
    json!({
        "name": name,
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "args": arguments,
        "stdin": true,
        "stdinOnce": true,
        "securityContext": {
            "runAsUser": user,
            "runAsNonRoot": user != 0,
            "allowPrivilegeEscalation": false,
            "readOnlyRootFilesystem": true,
            "capabilities": {"drop": ["ALL"]},
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "volumeMounts": mounts,
    })
}

/// Waits until it runs.
async fn started(pods: &Api<Pod>, pod: &str, container: &str, limit: Duration) -> Result<(), String> {
    let deadline = Instant::now() + limit;
    let mut last = "it was not started".to_owned();
    loop {
        let found = pods.get(pod).await.map_err(|error| error.to_string())?;
        let statuses =
            found.status.and_then(|status| status.ephemeral_container_statuses).unwrap_or_default();
        let state =
            statuses.into_iter().find(|status| status.name == container).and_then(|status| status.state);
        match state {
            Some(ContainerState { running: Some(_), .. }) => return Ok(()),
            Some(ContainerState { terminated: Some(end), .. }) => {
                let why = end.message.or(end.reason).unwrap_or_default();
                return Err(format!("it ended at once, exit code {}: {why}", end.exit_code));
            }
            Some(ContainerState { waiting: Some(waiting), .. }) => {
                let reason = waiting.reason.unwrap_or_default();
                last = format!("{reason}: {}", waiting.message.unwrap_or_default());
                // An image that was not pulled at once may still come; these do not heal by waiting.
                if ["InvalidImageName", "ErrImageNeverPull", "CreateContainerConfigError"]
                    .contains(&reason.as_str())
                {
                    return Err(last);
                }
            }
            _ => {}
        }
        if Instant::now() >= deadline {
            return Err(format!("not started in {} s: {last}", limit.as_secs()));
        }
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
}
