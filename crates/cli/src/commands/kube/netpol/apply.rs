//! Applying the policies: server-side, with the difference shown, and without leaving allow rules of old edges.

use std::collections::BTreeSet;

use controller::netpol::{
    FIELD_MANAGER, Graph, MANAGED_BY, MANAGED_BY_LABEL, Policy, TEST_LABEL, WORKLOAD_ANNOTATION, selects,
};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, Preconditions};
use kube::{Api, Client};
use model::codes::kube::{NETPOL_CLUSTER, NETPOL_CONFLICT};
use serde::Serialize;

use super::{listing, manifest};
use crate::failure::{EXIT_OK, Failure, Outcome};
use crate::output::{self, Format};

/// How to apply.
pub(super) struct Settings {
    pub(super) dry_run: bool,
    pub(super) force: bool,
    pub(super) prune: bool,
    pub(super) format: Format,
}

#[derive(Serialize)]
struct Document {
    version: u8,
    dry_run: bool,
    policies: Vec<Row>,
}

#[derive(Serialize)]
struct Row {
    namespace: String,
    name: String,
    change: &'static str,
}

/// Applies, then removes what belongs to edges that are gone.
pub(super) async fn run(client: &Client, graph: &Graph, policies: &[Policy], settings: &Settings) -> Outcome {
    let namespaces: BTreeSet<&str> = policies.iter().map(Policy::namespace).collect();
    let mut rows = Vec::new();
    let mut stale = Vec::new();
    for namespace in &namespaces {
        // Before anything changes: what will be cut off, and what is left over.
        warn_of_others(client, graph, namespace).await?;
        stale.extend(left_over(client, graph, policies, namespace, settings.prune).await?);
    }
    for policy in policies {
        rows.push(apply(client, policy, settings).await?);
    }
    for old in stale {
        let namespace = old.metadata.namespace.clone().unwrap_or_default();
        let name = old.metadata.name.clone().unwrap_or_default();
        show(&format!("{namespace}/{name}"), &manifest::body(&old)?, "");
        let api: Api<NetworkPolicy> = Api::namespaced(client.clone(), &namespace);
        let params = DeleteParams {
            dry_run: settings.dry_run,
            // Only the one that was looked at.
            preconditions: Some(Preconditions { uid: old.metadata.uid, resource_version: None }),
            ..DeleteParams::default()
        };
        match api.delete(&name, &params).await {
            Err(kube::Error::Api(status)) if status.code == 404 || status.code == 409 => {}
            result => {
                result.map_err(|error| {
                    listing::failed(
                        &NETPOL_CLUSTER,
                        &format!("cannot delete NetworkPolicy {namespace}/{name}"),
                        &error,
                    )
                })?;
            }
        }
        rows.push(Row { namespace, name, change: "deleted" });
    }
    let document = Document { version: 1, dry_run: settings.dry_run, policies: rows };
    output::print(settings.format, &document, || {
        let rows: Vec<Vec<String>> = document
            .policies
            .iter()
            .map(|row| {
                let suffix = if settings.dry_run { " (dry run)" } else { "" };
                vec![row.namespace.clone(), row.name.clone(), format!("{}{suffix}", row.change)]
            })
            .collect();
        output::columns(&["NAMESPACE", "NETWORKPOLICY", "CHANGE"], &rows)
    })?;
    Ok(EXIT_OK)
}

async fn apply(client: &Client, policy: &Policy, settings: &Settings) -> Result<Row, Failure> {
    let (namespace, name) = (policy.namespace().to_owned(), policy.name().to_owned());
    let title = format!("{namespace}/{name}");
    let failed = |error: kube::Error| match &error {
        kube::Error::Api(status) if status.code == 409 => {
            listing::failed(&NETPOL_CONFLICT, &format!("NetworkPolicy {title} is not applied"), &error)
        }
        _ => listing::failed(&NETPOL_CLUSTER, &format!("NetworkPolicy {title} is not applied"), &error),
    };
    let api: Api<NetworkPolicy> = Api::namespaced(client.clone(), &namespace);
    let before = api.get_opt(&name).await.map_err(failed)?;
    let params = PatchParams {
        dry_run: settings.dry_run,
        force: settings.force,
        field_manager: Some(FIELD_MANAGER.to_owned()),
        ..PatchParams::default()
    };
    let after = api.patch(&name, &params, &Patch::Apply(&policy.policy)).await.map_err(failed)?;
    let old = before.as_ref().map(manifest::body).transpose()?.unwrap_or_default();
    let new = manifest::body(&after)?;
    let change = match (&before, old == new) {
        (None, _) => "created",
        (Some(_), true) => "unchanged",
        (Some(_), false) => "changed",
    };
    if old != new {
        show(&title, &old, &new);
    }
    Ok(Row { namespace, name, change })
}

fn show(title: &str, old: &str, new: &str) {
    let difference = similar::TextDiff::from_lines(old, new);
    let header = format!("networkpolicy {title}");
    eprint!("{}", difference.unified_diff().header(&header, &header));
}

/// Default-deny holds for every pod of the namespace, also for those that nobody mentioned.
async fn warn_of_others(client: &Client, graph: &Graph, namespace: &str) -> Result<(), Failure> {
    let api: Api<Pod> = Api::namespaced(client.clone(), namespace);
    let pods =
        listing::all_metadata(&api, &ListParams::default().labels(&format!("!{TEST_LABEL}"))).await.map_err(
            |error| listing::failed(&NETPOL_CLUSTER, &format!("cannot list the pods of {namespace}"), &error),
        )?;
    let mut others: Vec<String> = pods
        .into_iter()
        .filter(|pod| {
            let labels = pod.metadata.labels.clone().unwrap_or_default();
            let mut workloads = graph.objects.workloads.iter().filter(|w| w.namespace == namespace);
            !workloads.any(|workload| selects(&workload.selector, &labels))
        })
        .filter_map(|pod| pod.metadata.name)
        .collect();
    if others.is_empty() {
        return Ok(());
    }
    others.sort();
    let more = others.len().saturating_sub(5);
    others.truncate(5);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    eprintln!(
        "warning: default-deny in {namespace} also cuts off pods that belong to none of these workloads: {}{more}",
        others.join(", ")
    );
    Ok(())
}

/// Policies of ours that are not among the new ones: of the workloads at hand always, of others when asked.
async fn left_over(
    client: &Client,
    graph: &Graph,
    policies: &[Policy],
    namespace: &str,
    prune: bool,
) -> Result<Vec<NetworkPolicy>, Failure> {
    let api: Api<NetworkPolicy> = Api::namespaced(client.clone(), namespace);
    let ours = ListParams::default().labels(&format!("{MANAGED_BY_LABEL}={MANAGED_BY}"));
    let present = listing::all(&api, &ours).await.map_err(|error| {
        listing::failed(&NETPOL_CLUSTER, &format!("cannot list the policies of {namespace}"), &error)
    })?;
    let mut stale = Vec::new();
    for policy in present {
        let name = policy.metadata.name.clone().unwrap_or_default();
        if policies.iter().any(|new| new.namespace() == namespace && new.name() == name) {
            continue;
        }
        let annotations = policy.metadata.annotations.as_ref();
        let workload = annotations.and_then(|all| all.get(WORKLOAD_ANNOTATION)).cloned().unwrap_or_default();
        let known = graph
            .objects
            .workloads
            .iter()
            .any(|own| own.namespace == namespace && format!("{}/{}", own.kind, own.name) == workload);
        if known || prune {
            stale.push(policy);
        } else {
            eprintln!(
                "warning: NetworkPolicy {namespace}/{name} is ours but belongs to none of these workloads; it stays \
                 (--prune deletes it)"
            );
        }
    }
    Ok(stale)
}
