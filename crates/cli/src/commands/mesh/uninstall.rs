//! `handfast mesh uninstall`: takes out what `mesh install` put in, the webhook first. While that is there and nobody
//! answers it, no pod of a labelled namespace can be made.

use controller::install::mesh::MeshInstallation;
use controller::install::node::NodeInstallation;
use controller::names::{CONTROLLER, IMAGE, SYSTEM_NAMESPACE};
use serde_json::Value;

use super::look::{self, Look};
use crate::commands::Globals;
use crate::commands::kube::apply::{Tally, Target};
use crate::commands::kube::connect::{Cluster, block_on};
use crate::failure::{EXIT_OK, Outcome};

/// Arguments of `handfast mesh uninstall`.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    cluster: Cluster,
    /// Delete the objects, rather than list them.
    #[arg(long, env = "HANDFAST_APPLY", conflicts_with = "dry_run")]
    apply: bool,
    /// List what would be deleted, and delete nothing: as without --apply.
    #[arg(long, env = "HANDFAST_DRY_RUN")]
    dry_run: bool,
    /// Delete the kinds AuthorizationPolicy and PeerAuthentication too, and with them every policy. Where Istio is
    /// installed, they are Istio's.
    #[arg(long, env = "HANDFAST_DELETE_POLICIES")]
    delete_policies: bool,
}

/// Runs `handfast mesh uninstall`.
pub fn run(args: Args, _globals: &Globals) -> Outcome {
    block_on(async {
        let client = args.cluster.client().await?;
        let look = Look::at(&client).await?;
        let mut tally = Tally::default();
        for object in objects(args.delete_policies) {
            let target = Target::new(&client, &object);
            if !args.apply {
                if target.live().await?.is_some() {
                    println!("{}", target.title);
                    tally.add("would be deleted");
                }
            } else if target.delete().await? {
                eprintln!("deleted {}", target.title);
                tally.add("deleted");
            } else {
                tally.add("not there");
            }
        }
        eprintln!("{tally}");
        for line in stays(&look, args.delete_policies) {
            eprintln!("{line}");
        }
        Ok(EXIT_OK)
    })
}

/// In the order in which they go: the webhook, which was applied last, is the first.
fn objects(with_policies: bool) -> Vec<Value> {
    let installation = MeshInstallation {
        image: IMAGE.to_owned(),
        pull_policy: "IfNotPresent".to_owned(),
        // With more than one there is a budget too.
        replicas: 2,
        trust_domain: "cluster.local".to_owned(),
        cluster_domain: "cluster.local".to_owned(),
        crds: with_policies,
        // What is not there is no failure.
        node: Some(NodeInstallation {
            cni_conf_dir: String::new(),
            cni_bin_dir: String::new(),
            plugin: true,
        }),
    };
    let mut objects = installation.objects();
    objects.reverse();
    objects
}

/// What this does not take out.
fn stays(look: &Look, with_policies: bool) -> Vec<String> {
    let mut lines = vec![format!(
        "the controller {SYSTEM_NAMESPACE}/{CONTROLLER} and the authority stay: handfast kube uninstall"
    )];
    if !with_policies {
        lines.push(
            "the kinds AuthorizationPolicy and PeerAuthentication stay, with all their objects".to_owned(),
        );
    }
    let pods = look.with_sidecar(None);
    if !pods.is_empty() {
        let names: Vec<String> =
            pods.iter().map(|pod| format!("{}/{}", look::namespace(pod), look::name(pod))).collect();
        lines.push(format!(
            "{} pods keep their proxies, which go on until their certificates end; restart them: {}",
            pods.len(),
            names.join(", ")
        ));
    }
    let labelled: Vec<&str> = look
        .listed
        .objects
        .namespaces
        .iter()
        .filter(|namespace| {
            let labels = namespace.metadata.labels.as_ref();
            labels.is_some_and(|labels| labels.contains_key(controller::names::MESH_LABEL))
        })
        .filter_map(|namespace| namespace.metadata.name.as_deref())
        .collect();
    if !labelled.is_empty() {
        lines.push(format!(
            "these namespaces keep their label: kubectl label namespace {} {}-",
            labelled.join(" "),
            controller::names::MESH_LABEL
        ));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_webhook_goes_first_and_the_kinds_only_when_asked_for() {
        let kinds = |all: &[Value]| -> Vec<String> {
            all.iter().filter_map(|object| object["kind"].as_str().map(str::to_owned)).collect()
        };
        let without = kinds(&objects(false));
        assert_eq!(without.first().map(String::as_str), Some("MutatingWebhookConfiguration"));
        assert!(without.contains(&"PodDisruptionBudget".to_owned()));
        assert!(!without.contains(&"CustomResourceDefinition".to_owned()));
        assert!(
            kinds(&objects(true))
                .ends_with(&["CustomResourceDefinition".to_owned(), "CustomResourceDefinition".to_owned()])
        );
    }
}
