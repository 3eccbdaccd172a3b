//! The CNI plugin, the last of the node's list: the same binary under the name `handfast-cni`. The container runtime calls
//! it when a pod has its network and no container yet (CNI 1.0: the command in the environment, the configuration on
//! stdin, the answer on stdout). It waits until nothing of the pod can go around the node's proxy, and says no otherwise:
//! kubelet tries again.

use std::fs::File;
use std::io::Read as _;
use std::net::IpAddr;
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use controller::install::node::RUN_DIR;
use model::codes::mesh as codes;
use serde_json::{Value, json};

use super::hand_over::{Answer, Command, Question, SOCKET, ask};
use super::namespaces::Namespaces;

#[cfg(test)]
mod tests;

/// The name under which the binary is the plugin, and its type in the list.
pub const NAME: &str = "handfast-cni";
/// The versions of CNI whose words are the same here.
const VERSIONS: [&str; 5] = ["0.3.1", "0.4.0", "1.0.0", "1.1.0", "0.3.0"];
/// What comes after these is a plugin's own; 11 is "try again later".
const INVALID: u32 = 7;
const AGAIN: u32 = 11;

/// What goes wrong, as CNI says it.
struct Failed {
    code: u32,
    message: String,
}

/// Does what the runtime asks for.
pub fn run() -> ExitCode {
    let variable = |name: &str| std::env::var(name).unwrap_or_default();
    let mut config = String::new();
    let _ = std::io::stdin().lock().read_to_string(&mut config);
    let config: Value = serde_json::from_str(&config).unwrap_or_default();
    let version = config["cniVersion"].as_str().unwrap_or("1.0.0").to_owned();
    let command = match variable("CNI_COMMAND").as_str() {
        "ADD" => Command::Add,
        "CHECK" => Command::Check,
        "DEL" => Command::Del,
        "VERSION" => {
            println!("{}", json!({ "cniVersion": version, "supportedVersions": VERSIONS }));
            return ExitCode::SUCCESS;
        }
        // STATUS and GC of CNI 1.1: other pods do not wait for us, and nothing of ours stays behind.
        _ => return ExitCode::SUCCESS,
    };
    let asked = Asked {
        command,
        arguments: variable("CNI_ARGS"),
        network: PathBuf::from(variable("CNI_NETNS")),
        container: variable("CNI_CONTAINERID"),
        folder: PathBuf::from(config["folder"].as_str().unwrap_or(RUN_DIR)),
    };
    match asked.done(&config) {
        Ok(Some(result)) => {
            println!("{result}");
            ExitCode::SUCCESS
        }
        Ok(None) => ExitCode::SUCCESS,
        Err(Failed { code, message }) => {
            println!("{}", json!({ "cniVersion": version, "code": code, "msg": message }));
            ExitCode::FAILURE
        }
    }
}

/// What the runtime asks for.
struct Asked {
    command: Command,
    arguments: String,
    network: PathBuf,
    container: String,
    folder: PathBuf,
}

impl Asked {
    /// What is said of the network: what the plugins before this one said of it.
    fn done(&self, config: &Value) -> Result<Option<Value>, Failed> {
        let before = &config["prevResult"];
        if self.command == Command::Add && before.is_null() {
            let message = format!("{NAME} stands at the end of a list of plugins, never alone");
            return Err(Failed { code: INVALID, message });
        }
        let result = (self.command == Command::Add).then(|| before.clone());
        let argument = |name: &str| {
            let found = self.arguments.split(';').find_map(|one| one.strip_prefix(name)?.strip_prefix('='));
            found.unwrap_or_default().to_owned()
        };
        let question = Question {
            command: self.command,
            namespace: argument("K8S_POD_NAMESPACE"),
            pod: argument("K8S_POD_NAME"),
            uid: argument("K8S_POD_UID"),
            container: self.container.clone(),
            addresses: addresses(before),
        };
        // Not Kubernetes': no business of ours.
        if question.namespace.is_empty() || question.pod.is_empty() {
            return Ok(result);
        }
        let network = match self.command {
            Command::Add => Some(File::open(&self.network).map_err(|error| Failed {
                code: AGAIN,
                message: format!("the network {}: {error}", self.network.display()),
            })?),
            Command::Check | Command::Del => None,
        };
        let answer = ask(&self.folder.join(SOCKET), &question, network.as_ref().map(File::as_fd));
        match (self.command, answer) {
            // What ends, ends, whoever hears of it.
            (Command::Del, _) | (_, Ok(Answer::NotOurs | Answer::Carried)) => Ok(result),
            (_, Ok(Answer::No(message))) => Err(Failed { code: AGAIN, message }),
            (_, Err(error)) => away(&self.folder, &question.namespace, &error).map(|()| result),
        }
    }
}

/// Nobody answers: only pods that are known not to be in the mesh by this node's proxy may start.
fn away(folder: &Path, namespace: &str, error: &std::io::Error) -> Result<(), Failed> {
    if Namespaces::read(folder).may_start(namespace) {
        return Ok(());
    }
    let code = &codes::NODE_AWAY;
    let message = format!("{}: {}: {error}; {}", code.id, code.title, code.fix);
    Err(Failed { code: AGAIN, message })
}

/// The addresses of a result: `ips[].address`, each with its length.
fn addresses(result: &Value) -> Vec<IpAddr> {
    let all = result["ips"].as_array().into_iter().flatten();
    all.filter_map(|one| one["address"].as_str()?.split('/').next()?.parse().ok()).collect()
}
