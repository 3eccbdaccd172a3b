//! `handfast kube uninstall`: takes out what `install` put in, in the opposite order. The authority's Secret, and with
//! it the namespace that it is in, stay unless they are asked for: without them no certificate can be renewed again.

use controller::names::{AUTHORITY_SECRET, CONTROLLER, SYSTEM_NAMESPACE, TRUST_CONFIG_MAP};
use controller::trust::{CLUSTER_TRUST_BUNDLE, CLUSTER_TRUST_BUNDLES, is_managed};
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::api::rbac::v1::{RoleBinding, Subject};
use kube::api::ListParams;
use kube::{Api, Client};
use serde_json::{Value, json};

use super::apply::{Tally, Target};
use super::connect::{Cluster, block_on};
use super::install::What;
use super::listing;
use crate::commands::Globals;
use crate::failure::{EXIT_OK, Failure, Outcome};

/// Arguments of `handfast kube uninstall`.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    cluster: Cluster,
    #[command(flatten)]
    what: What,
    /// Delete the objects, rather than list them.
    #[arg(long, env = "HANDFAST_APPLY", conflicts_with = "dry_run")]
    apply: bool,
    /// List what would be deleted, and delete nothing: as without --apply.
    #[arg(long, env = "HANDFAST_DRY_RUN")]
    dry_run: bool,
    /// Delete the kind Certificate too, and with it every Certificate and its Secret; and what is for them alone: the
    /// trust bundles, and the controller's rights to Secrets that `kube wire` and `kube cert` wrote.
    #[arg(long, env = "HANDFAST_DELETE_CERTIFICATES")]
    delete_certificates: bool,
    /// Delete the authority with its keys too, and its namespace. This cannot be undone.
    #[arg(long, env = "HANDFAST_DELETE_AUTHORITY")]
    delete_authority: bool,
}

/// Runs `handfast kube uninstall`.
pub fn run(args: Args, _globals: &Globals) -> Outcome {
    let mut objects = args.what.objects()?;
    objects.reverse();
    objects.retain(|object| is_deleted(object, &args));
    block_on(async {
        let client = args.cluster.client().await?;
        if args.delete_certificates {
            // After the controller, which would make them anew.
            objects.extend(beside(&client).await?);
        }
        let mut tally = Tally::default();
        for object in &objects {
            let target = Target::new(&client, object);
            if !args.apply {
                println!("{}", target.title);
                tally.add("would be deleted");
            } else if target.delete().await? {
                eprintln!("deleted {}", target.title);
                tally.add("deleted");
            } else {
                tally.add("not there");
            }
        }
        eprintln!("{tally}");
        if !args.delete_authority {
            eprintln!("the authority stays in {}/{AUTHORITY_SECRET}", args.what.namespace());
        }
        Ok(EXIT_OK)
    })
}

/// What belongs to Certificates and stands beside them in all namespaces.
async fn beside(client: &Client) -> Result<Vec<Value>, Failure> {
    let failed = |what: &str| controller::Error::api(what.to_owned());
    let by_name = ListParams::default().fields(&format!("metadata.name={TRUST_CONFIG_MAP}"));
    let maps = listing::all(&Api::<ConfigMap>::all(client.clone()), &by_name).await;
    let maps = maps.map_err(failed("list the trust bundles"))?;
    let object = |version: &str, kind: &str, namespace: &Option<String>, name: &str| json!({ "apiVersion": version, "kind": kind, "metadata": { "namespace": namespace, "name": name } });
    let ours = maps.iter().filter(|map| is_managed(map));
    let mut all: Vec<Value> =
        ours.map(|map| object("v1", "ConfigMap", &map.metadata.namespace, TRUST_CONFIG_MAP)).collect();
    let bindings = listing::all(&Api::<RoleBinding>::all(client.clone()), &ListParams::default()).await;
    for binding in
        bindings.map_err(failed("list the RoleBindings"))?.iter().filter(|binding| is_ours(binding))
    {
        let name = binding.metadata.name.as_deref().unwrap_or_default();
        for kind in ["RoleBinding", "Role"] {
            all.push(object("rbac.authorization.k8s.io/v1", kind, &binding.metadata.namespace, name));
        }
    }
    if let Some(kind) = CLUSTER_TRUST_BUNDLES.find(client).await? {
        all.push(object(&kind.api_version, &kind.kind, &None, CLUSTER_TRUST_BUNDLE));
    }
    Ok(all)
}

/// A binding as `kube wire` and `kube cert` write it: to the Role of its own name, for the controller and nobody else.
fn is_ours(binding: &RoleBinding) -> bool {
    let name = binding.metadata.name.as_deref().unwrap_or_default();
    let controller = |subject: &Subject| {
        subject.name == CONTROLLER && subject.namespace.as_deref() == Some(SYSTEM_NAMESPACE)
    };
    let subjects = binding.subjects.as_deref().unwrap_or_default();
    name.starts_with("handfast-secrets-")
        && binding.role_ref.kind == "Role"
        && binding.role_ref.name == name
        && !subjects.is_empty()
        && subjects.iter().all(controller)
}

fn is_deleted(object: &Value, args: &Args) -> bool {
    match object["kind"].as_str() {
        Some("Secret" | "Namespace") => args.delete_authority,
        Some("CustomResourceDefinition") => args.delete_certificates,
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_bindings_that_are_for_the_controller_alone_are_taken_out() {
        let binding = |name: &str, role: &str, subjects: Value| -> RoleBinding {
            serde_json::from_value(json!({
                "metadata": { "name": name, "namespace": "shop" },
                "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": role },
                "subjects": subjects,
            }))
            .unwrap()
        };
        let ours = json!({ "kind": "ServiceAccount", "name": CONTROLLER, "namespace": SYSTEM_NAMESPACE });
        let other = json!({ "kind": "ServiceAccount", "name": "ci", "namespace": "shop" });
        let name = "handfast-secrets-web";
        assert!(is_ours(&binding(name, name, json!([ours]))));
        assert!(!is_ours(&binding(name, name, json!([ours, other]))));
        assert!(!is_ours(&binding(name, "admin", json!([ours]))));
        assert!(!is_ours(&binding(name, name, json!([]))));
        assert!(!is_ours(&binding("web", "web", json!([ours]))));
    }
}
