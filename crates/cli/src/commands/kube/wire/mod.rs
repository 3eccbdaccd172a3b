//! `handfast kube wire`: certificates, Secrets and pod specs for whatever manifests hold. `input` reads, the crate
//! `manifests` does the work, `write` and `apply` carry it out.

mod apply;
mod input;
mod ready;
mod write;

use std::io::{IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::time::Duration;

use manifests::yaml::Value;
use manifests::{Group, Manifest, Options, Reload, added, wire};
use serde::Serialize;
use similar::TextDiff;

use super::connect::{self, Cluster};
use crate::commands::Globals;
use crate::failure::{EXIT_FINDINGS, EXIT_OK, Failure, Outcome};
use crate::output::{self, Format};

/// Arguments of `handfast kube wire`.
#[derive(clap::Args)]
pub struct Args {
    /// Manifests: files, folders (their .yaml, .yml and .json), or `-` for stdin.
    #[arg(short = 'f', long = "filename", env = "HANDFAST_FILENAME", required = true, value_delimiter = ',')]
    files: Vec<PathBuf>,
    /// Namespace of objects that name none, when they are applied. Default: that of the kubeconfig's context.
    #[arg(short = 'n', long, env = "HANDFAST_NAMESPACE")]
    namespace: Option<String>,
    /// A call, CLIENT=SERVER; may be repeated. With any, only callers get a client certificate. The annotation
    /// handfast.dev/calls of a workload says the same.
    #[arg(long, env = "HANDFAST_EDGE", value_delimiter = ',', value_parser = edge, value_name = "CLIENT=SERVER")]
    edge: Vec<(String, String)>,
    /// Call the Secrets server-tls-secret and client-tls-secret; for one server and one client.
    #[arg(long, env = "HANDFAST_SIMPLE")]
    simple: bool,
    /// The group that may read the files: a number for each pod without an fsGroup, or `none` for none.
    #[arg(long, env = "HANDFAST_FS_GROUP", value_parser = group, value_name = "GID|none")]
    fs_group: Option<Group>,
    /// How workloads take renewed files that do not say so in handfast.dev/reload: by themselves (watch), by a rolling
    /// restart that waits for disruption budgets (restart), or told by a sidecar (signal:PROCESS or signal:PROCESS:SIGNAL,
    /// hook:http://127.0.0.1:PORT/PATH).
    #[arg(long, env = "HANDFAST_RELOAD", value_name = "WAY")]
    reload: Option<Reload>,
    /// Show on stderr what changes.
    #[arg(long, env = "HANDFAST_DIFF")]
    diff: bool,
    /// Show what would change, and change nothing.
    #[arg(long, env = "HANDFAST_DRY_RUN")]
    dry_run: bool,
    /// Edit the files in place; what is added comes into handfast.yaml beside them.
    #[arg(long, env = "HANDFAST_WRITE", conflicts_with = "lint")]
    write: bool,
    /// Apply all of it to the cluster, and wait for the certificates and the pods.
    #[arg(long, env = "HANDFAST_APPLY", conflicts_with = "lint")]
    apply: bool,
    /// Delete and make anew what Kubernetes does not let change: Pods and Jobs that exist.
    #[arg(long, env = "HANDFAST_REPLACE", requires = "apply")]
    replace: bool,
    /// Take over fields that belong to another field manager.
    #[arg(long, env = "HANDFAST_FORCE_CONFLICTS", requires = "apply")]
    force_conflicts: bool,
    /// Handfast's image, for sidecars. Default: with --apply that of the installed controller, else this version's.
    #[arg(long, env = "HANDFAST_KUBE_IMAGE", value_name = "IMAGE")]
    image: Option<String>,
    /// Domain of the cluster's Services, for what sidecars call.
    #[arg(long, env = "HANDFAST_CLUSTER_DOMAIN", default_value = "cluster.local", value_name = "DOMAIN")]
    cluster_domain: String,
    /// How long to wait for the certificates, and then for the pods, in seconds; 0 does not wait.
    #[arg(long, env = "HANDFAST_WAIT", default_value_t = 90, value_name = "SECONDS")]
    wait: u64,
    /// Only look for what is wrong; exit code 3 when there is something.
    #[arg(long, visible_alias = "check", env = "HANDFAST_LINT")]
    lint: bool,
    #[command(flatten)]
    cluster: Cluster,
}

fn edge(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((client, server)) if !client.is_empty() && !server.is_empty() => {
            Ok((client.into(), server.into()))
        }
        _ => Err("it is CLIENT=SERVER, as in client=web".to_owned()),
    }
}

fn group(text: &str) -> Result<Group, String> {
    match text {
        "none" => Ok(Group::Never),
        number => match number.parse() {
            Ok(number @ 1..=4_294_967_294) => Ok(Group::Given(number)),
            _ => Err("it is the number of a group above 0, or none".to_owned()),
        },
    }
}

#[derive(Serialize)]
struct Shown {
    code: &'static str,
    place: String,
    what: String,
    fix: String,
}

/// Runs `handfast kube wire`.
pub fn run(args: Args, globals: &Globals) -> Outcome {
    let manifests = input::read(&args.files)?;
    let mut options = Options {
        edges: args.edge.clone(),
        simple: args.simple,
        group: args.fs_group.unwrap_or_default(),
        reload: args.reload.clone(),
        image: args.image.clone(),
        cluster_domain: Some(args.cluster_domain.clone()),
    };
    if args.lint {
        let input = manifests::Input::of(&manifests)?;
        let findings: Vec<Shown> = manifests::lint::lint(&input, &options).iter().map(shown).collect();
        let document = serde_json::json!({ "version": 1, "findings": findings });
        output::print(globals.output, &document, || match findings.is_empty() {
            true => "no findings\n".to_owned(),
            false => findings
                .iter()
                .map(|f| format!("{} {}: {}\n       fix: {}\n", f.code, f.place, f.what, f.fix))
                .collect(),
        })?;
        return Ok(if findings.is_empty() { EXIT_OK } else { EXIT_FINDINGS });
    }
    if args.apply && options.image.is_none() {
        let image = async { Ok(connect::image(&args.cluster.client().await?, None).await) };
        options.image = Some(connect::block_on(image)?);
    }
    let wired = wire(&manifests, &options)?;
    for finding in &wired.findings {
        eprintln!("note[{}]: {finding}", finding.code.id);
    }
    if args.diff || (args.dry_run && !args.apply) {
        for (manifest, text) in manifests.iter().zip(&wired.texts) {
            eprint!("{}", difference(manifest, text));
        }
    }
    if args.write {
        return match args.dry_run {
            true => Ok(EXIT_OK),
            false => write::write(&args.files, &manifests, &wired),
        };
    }
    if args.apply {
        let objects = objects(&manifests, &wired)?;
        let how = apply::How {
            namespace: args.namespace,
            dry_run: args.dry_run,
            diff: args.diff || args.dry_run,
            replace: args.replace,
            force: args.force_conflicts,
            wait: Duration::from_secs(args.wait),
            progress: std::io::stderr().is_terminal(),
        };
        let done =
            connect::block_on(async { apply::apply(&args.cluster.client().await?, objects, &how).await })?;
        let document = serde_json::json!({ "version": 1, "dry_run": how.dry_run, "objects": done });
        output::print(globals.output, &document, || {
            done.iter().map(|done| format!("{} {}\n", done.object, done.outcome)).collect()
        })?;
        return Ok(EXIT_OK);
    }
    match globals.output {
        Format::Table => {
            let text = together(&manifests, &wired);
            match std::io::stdout().write_all(text.as_bytes()) {
                Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(EXIT_OK),
                result => result
                    .map(|()| EXIT_OK)
                    .map_err(|error| Failure::new(&model::codes::usage::INTERNAL, error)),
            }
        }
        format => {
            let findings: Vec<Shown> = wired.findings.iter().map(shown).collect();
            let objects = objects(&manifests, &wired)?;
            let document = serde_json::json!({ "version": 1, "objects": objects, "findings": findings });
            output::print(format, &document, String::new)?;
            Ok(EXIT_OK)
        }
    }
}

fn shown(finding: &config::Finding) -> Shown {
    Shown {
        code: finding.code.id,
        place: finding.place.as_ref().map(ToString::to_string).unwrap_or_default(),
        what: finding.message.clone(),
        fix: if finding.help.is_empty() { finding.code.fix.to_owned() } else { finding.help.clone() },
    }
}

fn difference(manifest: &Manifest, text: &str) -> String {
    let name = manifest.source.name.display();
    let diff = TextDiff::from_lines(manifest.source.text.as_str(), text);
    // Lines around a change could be those of a Secret.
    let radius = if manifests::object::has_secrets(text) { 0 } else { 3 };
    diff.unified_diff()
        .context_radius(radius)
        .header(&format!("{name} (before)"), &format!("{name} (wired)"))
        .to_string()
}

/// All objects, as they are sent: the edited ones, and those that are added.
fn objects(manifests: &[Manifest], wired: &manifests::Wired) -> Result<Vec<serde_json::Value>, Failure> {
    let mut all: Vec<serde_json::Value> = wired.added.iter().map(Value::to_json).collect();
    for (manifest, text) in manifests.iter().zip(&wired.texts) {
        let name = manifest.source.name.to_string_lossy();
        all.extend(Manifest::parse(&name, text.as_str())?.to_json());
    }
    Ok(all)
}

/// One stream: what is added first, then the manifests. Where a manifest makes a namespace it has to come first.
fn together(manifests: &[Manifest], wired: &manifests::Wired) -> String {
    let added = added::documents(&wired.added);
    let makes_namespace = |manifest: &Manifest| {
        manifest.documents.iter().any(|document| document.root.text_at(&["kind"]) == Some("Namespace"))
    };
    let mut parts: Vec<String> = wired
        .texts
        .iter()
        .map(|text| {
            let text = text.trim_start_matches('\u{feff}');
            let begins = text.lines().find(|line| !line.trim().is_empty() && !line.starts_with('#'));
            let marked = begins.is_some_and(|line| line.starts_with("---") || line.starts_with('%'));
            let end = if text.ends_with('\n') || text.is_empty() { "" } else { "\n" };
            format!("{}{text}{end}", if marked { "" } else { "---\n" })
        })
        .collect();
    let at = manifests.iter().rposition(makes_namespace).map_or(0, |last| last + 1);
    parts.insert(at, added);
    parts.concat()
}
