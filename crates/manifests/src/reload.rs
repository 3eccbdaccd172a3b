//! How a workload takes renewed files, and the sidecar that tells an application which does not watch them itself.

use std::fmt;
use std::str::FromStr;

use config::Finding;
use controller::names;
use model::codes::{kube, manifests as codes};

use crate::error::Error;
use crate::workload::{User, Workload};
use crate::yaml::Value;

/// A rung of the ladder, as `--reload` and the annotation name it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reload {
    /// The application watches the files.
    Watch,
    /// The controller restarts the workload pod by pod.
    Restart,
    /// A sidecar sends a signal to a process of the pod.
    Signal {
        /// Its name, as `ps -o comm` shows it.
        process: String,
        /// `HUP`, `USR1`, `USR2`.
        signal: String,
    },
    /// A sidecar sends POST to a URL of the pod.
    Hook(String),
}

impl Reload {
    /// Whether it takes a sidecar.
    pub fn needs_sidecar(&self) -> bool {
        matches!(self, Self::Signal { .. } | Self::Hook(_))
    }
}

impl FromStr for Reload {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            None if text == "watch" => Ok(Self::Watch),
            None if text == names::RELOAD_BY_RESTART => Ok(Self::Restart),
            Some(("signal", rest)) => signal(rest),
            Some(("hook", url)) => hook(url),
            _ => Err(format!(
                "{text:?} is not watch, restart, signal:PROCESS[:SIGNAL] or hook:URL \
                 (Handfast as the sidecar that ends TLS: handfast kube configure)"
            )),
        }
    }
}

fn signal(text: &str) -> Result<Reload, String> {
    let (process, signal) = text.split_once(':').unwrap_or((text, "HUP"));
    // The kernel keeps 15 bytes of a name.
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-+@".contains(c);
    if process.is_empty() || process.len() > 15 || !process.chars().all(plain) {
        return Err(format!(
            "{process:?} is no name of a process: it has 1 to 15 characters, see ps -o comm"
        ));
    }
    match signal {
        "HUP" | "USR1" | "USR2" => Ok(Reload::Signal { process: process.into(), signal: signal.into() }),
        _ => Err(format!("{signal:?} is not HUP, USR1 or USR2")),
    }
}

/// Only the pod itself: whoever writes a manifest may not make Handfast call others.
fn hook(url: &str) -> Result<Reload, String> {
    let wrong = || format!("{url:?} is not http://127.0.0.1:PORT/PATH, or localhost");
    let rest = url.strip_prefix("http://").ok_or_else(wrong)?;
    let (authority, path) = rest.split_once('/').map_or((rest, ""), |(authority, path)| (authority, path));
    let (host, port) = authority.rsplit_once(':').unwrap_or((authority, "80"));
    let local =
        matches!(host, "127.0.0.1" | "localhost" | "[::1]") && port.parse::<u16>().is_ok_and(|p| p > 0);
    let plain = path.chars().all(|c| c.is_ascii_graphic() && !"\"'\\`$".contains(c));
    if local && plain { Ok(Reload::Hook(url.to_owned())) } else { Err(wrong()) }
}

impl fmt::Display for Reload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Watch => f.write_str("watch"),
            Self::Restart => f.write_str(names::RELOAD_BY_RESTART),
            Self::Signal { process, signal } if signal == "HUP" => write!(f, "signal:{process}"),
            Self::Signal { process, signal } => write!(f, "signal:{process}:{signal}"),
            Self::Hook(url) => write!(f, "hook:{url}"),
        }
    }
}

/// The sidecar for a signal or a hook; `mounts` are volumes and folders.
///
/// # Errors
///
/// When it is not known as which user a signal has to be sent.
pub fn sidecar(
    workload: &Workload<'_>,
    reload: &Reload,
    image: &str,
    mounts: &[(&str, &str, &str)],
) -> Result<Option<Value>, Error> {
    let text = |text: &str| Value::string(text);
    let (told, user, root) = match reload {
        Reload::Watch | Reload::Restart => return Ok(None),
        Reload::Hook(url) => ([text("--hook"), text(url)], names::FILES_GROUP, false),
        Reload::Signal { process, signal } => {
            let user = signals_as(workload)?;
            ([text("--signal"), text(&format!("{process}:{signal}"))], user, user == 0)
        }
    };
    let mut args = vec![text("kube"), text("reload")];
    for (_, folder, _) in mounts {
        args.extend([text("--watch"), text(folder)]);
    }
    args.extend(told);
    let mut capabilities = vec![("drop", Value::Sequence(vec![text("ALL")]))];
    if root {
        // The application may have become another user since its start.
        capabilities.push(("add", Value::Sequence(vec![text("KILL")])));
    }
    let security = Value::mapping([
        ("runAsNonRoot", Value::truth(!root)),
        ("runAsUser", Value::number(user)),
        ("readOnlyRootFilesystem", Value::truth(true)),
        ("allowPrivilegeEscalation", Value::truth(false)),
        ("capabilities", Value::mapping(capabilities)),
        ("seccompProfile", Value::mapping([("type", text("RuntimeDefault"))])),
    ]);
    let mount = |(volume, folder, _): &(&str, &str, &str)| {
        Value::mapping([
            ("name", text(volume)),
            ("mountPath", text(folder)),
            ("readOnly", Value::truth(true)),
        ])
    };
    Ok(Some(Value::mapping([
        ("name", text(names::RELOAD_CONTAINER)),
        ("image", text(image)),
        // A native sidecar (Kubernetes 1.29 or newer): there before the application, and no obstacle to a Job's end.
        ("restartPolicy", text("Always")),
        ("args", Value::Sequence(args)),
        ("securityContext", security),
        ("volumeMounts", Value::Sequence(mounts.iter().map(mount).collect())),
    ])))
}

/// A process may be sent signals by its own user, or by root.
fn signals_as(workload: &Workload<'_>) -> Result<i64, Error> {
    let mut users: Vec<Option<&str>> = Vec::new();
    for container in workload.containers() {
        if container.node.text_at(&["name"]) == Some(names::RELOAD_CONTAINER) {
            continue;
        }
        let own = container.node.text_at(&["securityContext", "runAsUser"]);
        users.push(own.or_else(|| workload.pod.text_at(&["securityContext", "runAsUser"])));
    }
    users.dedup();
    match (users.as_slice(), workload.user()) {
        ([Some(user)], _) => user.parse().map_err(|_| {
            Finding::new(&codes::MANIFEST_SHAPE, format!("runAsUser {user:?} is no number")).into()
        }),
        ([None], User::Root | User::Unknown) => Ok(0),
        _ => {
            let message = format!(
                "{} {} does not say as which user its application runs",
                workload.object.kind, workload.object.name
            );
            Err(Finding::new(&kube::RELOAD_USER, message).at(workload.object.place(workload.pod)).into())
        }
    }
}
