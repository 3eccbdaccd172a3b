//! `handfast kube rbac`: Roles that open one managed Secret each; `check` says who can read each key today.

mod check;
mod cluster;
mod review;

use std::collections::BTreeMap;

use controller::rbac::{FIELD_MANAGER, Subject, reader_objects};
use k8s_openapi::NamespaceResourceScope;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client, Resource};
use model::codes::kube::{RBAC_CLUSTER, RBAC_SUBJECT};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;

use super::connect::Cluster;
use super::listing;
use crate::commands::Globals;
use crate::failure::{EXIT_OK, EXIT_USAGE, Failure, Outcome};
use crate::output::{self, Format};

/// Arguments of `handfast kube rbac`.
#[derive(clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Args {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    place: Place,
    /// Who gets the right to read each of these Secrets. Pods need none: the kubelet mounts what they name.
    #[arg(long, env = "HANDFAST_READER", value_delimiter = ',', value_name = "SUBJECT")]
    reader: Vec<String>,
    /// Apply the Roles and bindings (server-side apply, field manager handfast-rbac).
    #[arg(long, env = "HANDFAST_APPLY")]
    apply: bool,
    /// With --apply: ask the API server, show what would change and change nothing.
    #[arg(long, env = "HANDFAST_DRY_RUN", requires = "apply")]
    dry_run: bool,
}

/// Which Secrets.
#[derive(clap::Args)]
struct Place {
    #[command(flatten)]
    cluster: Cluster,
    /// Namespaces; without one all in which there is a managed Secret.
    #[arg(short = 'n', long, env = "HANDFAST_NAMESPACE", value_delimiter = ',', value_name = "NAMESPACE")]
    namespace: Vec<String>,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Say which subjects can read each managed key, directly or by a detour; exit code 3 when one should not.
    Check(check::Args),
}

/// Runs `handfast kube rbac`.
pub fn run(args: Args, globals: &Globals) -> Outcome {
    match &args.command {
        Some(Command::Check(check)) => check::run(check, globals),
        None => write(&args, globals),
    }
}

fn subjects(texts: &[String]) -> Result<Vec<Subject>, Failure> {
    let parse =
        |text: &String| text.parse().map_err(|why: String| Failure::new(&RBAC_SUBJECT, why).exit(EXIT_USAGE));
    texts.iter().map(parse).collect()
}

fn write(args: &Args, globals: &Globals) -> Outcome {
    let readers = subjects(&args.reader)?;
    listing::block(async {
        let client = args.place.cluster.client().await?;
        let secrets = cluster::secrets(&client, &args.place.namespace).await?;
        if secrets.is_empty() {
            eprintln!("no managed Secret was found (label {}=true)", controller::names::MANAGED_LABEL);
        }
        let mut rows = Vec::new();
        let mut text =
            String::from("# Written by `handfast kube rbac`. Pods need none of these: the kubelet mounts.\n");
        let mut items = Vec::new();
        for secret in &secrets {
            let (role, binding) = reader_objects(&secret.namespace, &secret.name, &readers);
            if args.apply {
                rows.push(apply(&client, &secret.namespace, &role, args.dry_run).await?);
                if let Some(binding) = &binding {
                    rows.push(apply(&client, &secret.namespace, binding, args.dry_run).await?);
                }
                continue;
            }
            text.push_str("---\n");
            text.push_str(&yaml(&role)?);
            items.push(json!(role));
            if let Some(binding) = binding {
                text.push_str("---\n");
                text.push_str(&yaml(&binding)?);
                items.push(json!(binding));
            }
        }
        if args.apply {
            let document = json!({ "version": 1, "dry_run": args.dry_run, "objects": rows });
            output::print(globals.output, &document, || {
                let cells: Vec<Vec<String>> = rows
                    .iter()
                    .map(|row| {
                        ["kind", "namespace", "name", "change"].map(|key| row[key].to_owned()).to_vec()
                    })
                    .collect();
                output::columns(&["KIND", "NAMESPACE", "NAME", "CHANGE"], &cells)
            })?;
            return Ok(EXIT_OK);
        }
        let list = json!({ "apiVersion": "v1", "kind": "List", "items": items });
        match globals.output {
            Format::Json => output::print(Format::Json, &list, String::new)?,
            Format::Table | Format::Yaml => output::print(Format::Table, &list, || text)?,
        }
        Ok(EXIT_OK)
    })
}

fn yaml(object: &impl Serialize) -> Result<String, Failure> {
    serde_saphyr::to_string(object).map_err(|error| Failure::new(&model::codes::usage::INTERNAL, error))
}

async fn apply<K>(
    client: &Client,
    namespace: &str,
    object: &K,
    dry_run: bool,
) -> Result<BTreeMap<&'static str, String>, Failure>
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>
        + Clone
        + DeserializeOwned
        + Serialize
        + std::fmt::Debug,
{
    let name = object.meta().name.clone().unwrap_or_default();
    let title = format!("{} {namespace}/{name}", K::kind(&()));
    let failed =
        |error: kube::Error| listing::failed(&RBAC_CLUSTER, &format!("{title} is not applied"), &error);
    let api: Api<K> = Api::namespaced(client.clone(), namespace);
    let before = api.get_opt(&name).await.map_err(failed)?;
    let params =
        PatchParams { dry_run, field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
    let after = api.patch(&name, &params, &Patch::Apply(object)).await.map_err(failed)?;
    let text = |object: &K| {
        let mut object = object.clone();
        let meta = object.meta_mut();
        meta.managed_fields = None;
        meta.resource_version = None;
        meta.uid = None;
        meta.creation_timestamp = None;
        yaml(&object)
    };
    let (old, new) = (before.as_ref().map(text).transpose()?.unwrap_or_default(), text(&after)?);
    if old != new {
        eprint!("{}", similar::TextDiff::from_lines(&old, &new).unified_diff().header(&title, &title));
    }
    let change = match (&before, old == new) {
        (None, _) => "created",
        (_, true) => "unchanged",
        (_, false) => "changed",
    };
    let change = if dry_run { format!("{change} (dry run)") } else { change.to_owned() };
    Ok(BTreeMap::from([
        ("kind", K::kind(&()).into_owned()),
        ("namespace", namespace.to_owned()),
        ("name", name),
        ("change", change),
    ]))
}
