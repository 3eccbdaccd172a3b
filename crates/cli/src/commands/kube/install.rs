//! `handfast kube install`: the controller and all that it needs, printed as YAML or applied.

use std::path::{Path, PathBuf};
use std::time::Duration;

use certs::PrivateKey;
use controller::authority::{AuthorityStore, State};
use controller::install::{Installation, chart};
use controller::lifetimes::{Lifetimes, MAX_LIFETIME, MIN_LIFETIME};
use controller::names::{self, SYSTEM_NAMESPACE};
use kube::Client;
use model::codes::kube as codes;
use model::units::Span;
use serde_json::Value;
use time::OffsetDateTime;

use super::apply::{Tally, Target, documents, yaml};
use super::connect::{Cluster, block_on};
use crate::commands::Globals;
use crate::failure::{EXIT_OK, EXIT_USAGE, Failure, Outcome};

/// What is installed.
#[derive(clap::Args)]
pub struct What {
    /// Namespace of the controller; `install` takes no other one.
    #[arg(long, env = "HANDFAST_NAMESPACE", default_value = SYSTEM_NAMESPACE, value_name = "NAMESPACE")]
    namespace: String,
    /// Image of the controller.
    #[arg(long, env = "HANDFAST_IMAGE", default_value = names::IMAGE, value_name = "IMAGE")]
    image: String,
    /// When the image is pulled: Always, IfNotPresent or Never.
    #[arg(long, env = "HANDFAST_IMAGE_PULL_POLICY", default_value = "IfNotPresent", value_name = "POLICY",
          value_parser = ["Always", "IfNotPresent", "Never"])]
    image_pull_policy: String,
    /// How many controllers run; one works, the others stand by.
    #[arg(long, env = "HANDFAST_REPLICAS", default_value_t = 2, value_name = "COUNT",
          value_parser = clap::value_parser!(u32).range(1..=10))]
    replicas: u32,
    /// Trust domain of SPIFFE IDs. It cannot change once there is an authority.
    #[arg(long, env = "HANDFAST_TRUST_DOMAIN", default_value = "cluster.local", value_name = "DOMAIN")]
    trust_domain: String,
    /// Domain of the cluster's Services.
    #[arg(long, env = "HANDFAST_CLUSTER_DOMAIN", default_value = "cluster.local", value_name = "DOMAIN")]
    cluster_domain: String,
    /// The shortest lifetime that a Certificate may ask for.
    #[arg(long, env = "HANDFAST_MIN_LIFETIME", default_value = MIN_LIFETIME, value_name = "SPAN")]
    min_lifetime: String,
    /// The longest: an old root is trusted for as long after a rotation.
    #[arg(long, env = "HANDFAST_MAX_LIFETIME", default_value = MAX_LIFETIME, value_name = "SPAN")]
    max_lifetime: String,
    /// Let only the pods of this namespace reach the metrics, and no pod the probes: adds a NetworkPolicy.
    #[arg(long, env = "HANDFAST_METRICS_FROM", value_name = "NAMESPACE")]
    metrics_from: Option<String>,
}

impl What {
    /// The objects.
    ///
    /// # Errors
    ///
    /// When a domain cannot be used.
    pub fn objects(&self) -> Result<Vec<Value>, Failure> {
        Ok(self.installation()?.objects()?)
    }

    fn installation(&self) -> Result<Installation, Failure> {
        check_domains(&self.trust_domain, &self.cluster_domain)?;
        Lifetimes::parse(&self.min_lifetime, &self.max_lifetime)
            .map_err(|why| Failure::usage(why.to_string()))?;
        Ok(Installation {
            namespace: self.namespace.clone(),
            image: self.image.clone(),
            pull_policy: self.image_pull_policy.clone(),
            replicas: self.replicas,
            trust_domain: self.trust_domain.clone(),
            cluster_domain: self.cluster_domain.clone(),
            min_lifetime: self.min_lifetime.clone(),
            max_lifetime: self.max_lifetime.clone(),
            metrics_from: self.metrics_from.clone(),
        })
    }

    /// Namespace of the controller.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }
}

/// Arguments of `handfast kube install`.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    cluster: Cluster,
    #[command(flatten)]
    what: What,
    /// Apply the objects and wait until the controller is ready, rather than print them.
    #[arg(long, env = "HANDFAST_APPLY")]
    apply: bool,
    /// Show what applying would change, and change nothing.
    #[arg(long, env = "HANDFAST_DRY_RUN")]
    dry_run: bool,
    /// Write the same objects as a Helm chart into this folder, rather than print them. What is chosen here are the
    /// chart's defaults; the release belongs into handfast-system.
    #[arg(long, env = "HANDFAST_CHART", value_name = "DIR", conflicts_with_all = ["apply", "dry_run"])]
    chart: Option<PathBuf>,
    /// How long to wait.
    #[arg(long, env = "HANDFAST_TIMEOUT", default_value = "3m", value_name = "SPAN")]
    timeout: Span,
    /// Begin a new authority in a cluster that has had another one, which is lost for good: whatever trusts that one
    /// trusts the new one only when it has the new trust bundle. Only with --apply.
    #[arg(long, env = "HANDFAST_NEW_AUTHORITY", requires = "apply", conflicts_with = "import_certificate")]
    new_authority: bool,
    /// Take over this authority: its certificate and those above it, PEM. Only with --apply, into a cluster that has
    /// none yet.
    #[arg(long, env = "HANDFAST_IMPORT_CERTIFICATE", value_name = "FILE", requires_all = ["import_key", "apply"])]
    import_certificate: Option<PathBuf>,
    /// Its key, PEM, not encrypted.
    #[arg(long, env = "HANDFAST_IMPORT_KEY", value_name = "FILE", requires = "import_certificate")]
    import_key: Option<PathBuf>,
}

/// Runs `handfast kube install`.
pub fn run(args: Args, _globals: &Globals) -> Outcome {
    if args.what.namespace != SYSTEM_NAMESPACE {
        return Err(Failure::new(
            &codes::OPTION_INVALID,
            format!(
                "--namespace {}: the controller runs in {SYSTEM_NAMESPACE} only, for what `kube wire` writes into \
                 manifests gives rights to its service account there",
                args.what.namespace
            ),
        )
        .fix("leave --namespace out")
        .exit(EXIT_USAGE));
    }
    if let Some(folder) = &args.chart {
        return write_chart(&args.what, folder);
    }
    let objects = args.what.objects()?;
    if !args.apply && !args.dry_run {
        print!("{}", documents(&objects));
        return Ok(EXIT_OK);
    }
    let imported = imported(&args)?;
    block_on(async {
        let client = args.cluster.client().await?;
        if args.dry_run {
            show(&client, &objects).await
        } else {
            install(&args, &client, &objects, imported).await
        }
    })
}

fn write_chart(what: &What, folder: &Path) -> Outcome {
    let files = chart::files(&what.installation()?, env!("CARGO_PKG_VERSION"), yaml)?;
    for (name, text) in &files {
        let path = folder.join(name);
        let made = path.parent().map_or(Ok(()), std::fs::create_dir_all);
        made.and_then(|()| std::fs::write(&path, text)).map_err(|error| Failure::writing(&path, &error))?;
    }
    eprintln!("wrote the {} files of the chart to {}", files.len(), folder.display());
    Ok(EXIT_OK)
}

/// Whether these two can be used together.
///
/// # Errors
///
/// A usage error that names the option.
pub fn check_domains(trust_domain: &str, cluster_domain: &str) -> Result<(), Failure> {
    let trust = trust_domain.parse().map_err(|why| Failure::usage(format!("--trust-domain: {why}")))?;
    controller::grant::Domains::new(trust, cluster_domain).map_err(|why| Failure::usage(why.to_string()))?;
    Ok(())
}

/// Prints what applying the objects would change, and changes nothing.
///
/// # Errors
///
/// What the API server says.
pub async fn show(client: &Client, objects: &[Value]) -> Outcome {
    let mut tally = Tally::default();
    for object in objects {
        let diff = Target::new(client, object).diff().await?;
        tally.add(if diff.is_empty() { "stay as they are" } else { "would change" });
        print!("{diff}");
    }
    eprintln!("{tally}; nothing was changed");
    Ok(EXIT_OK)
}

async fn install(args: &Args, client: &Client, objects: &[Value], imported: Option<State>) -> Outcome {
    let limit = args.timeout.0;
    let mut imported = imported;
    let store = AuthorityStore::new(client.clone(), args.what.namespace());
    match store.is_filled().await? {
        true if args.new_authority => return Err(store.filled().into()),
        false if !args.new_authority && imported.is_none() => store.check_never_used().await?,
        _ => {}
    }
    let mut before = Vec::new();
    for object in objects {
        let mut object = object.clone();
        if object["kind"] == "Secret" && args.new_authority {
            object["metadata"]["annotations"][names::NEW_AUTHORITY_ANNOTATION] = "allowed".into();
        }
        // The controller starts with the authority that is there by then.
        if object["kind"] == "Deployment"
            && let Some(state) = imported.take()
        {
            apply_all(client, &std::mem::take(&mut before), limit).await?;
            store.import(&state).await?;
            eprintln!("imported the authority {}", state.active()?.0.certificate.subject);
        }
        before.push(object);
    }
    apply_all(client, &before, limit).await?;
    eprintln!("Handfast is ready: write a Certificate, or let `handfast kube wire` do it");
    Ok(EXIT_OK)
}

/// The controller with what cannot be chosen otherwise as `kube install` has it.
pub fn deployed(
    image: &str,
    pull_policy: &str,
    replicas: u32,
    trust_domain: &str,
    cluster_domain: &str,
) -> Installation {
    Installation {
        namespace: SYSTEM_NAMESPACE.to_owned(),
        image: image.to_owned(),
        pull_policy: pull_policy.to_owned(),
        replicas,
        trust_domain: trust_domain.to_owned(),
        cluster_domain: cluster_domain.to_owned(),
        min_lifetime: MIN_LIFETIME.to_owned(),
        max_lifetime: MAX_LIFETIME.to_owned(),
        metrics_from: None,
    }
}

/// Applies objects in their order, waits for kinds before anything of them is made, and at the end for Deployments.
///
/// # Errors
///
/// What the API server says, and when one is not ready within `limit`.
pub async fn apply_all(client: &Client, objects: &[Value], limit: Duration) -> Result<(), Failure> {
    for object in objects {
        let target = Target::new(client, object);
        target.apply().await?;
        eprintln!("applied {}", target.title);
        if object["kind"] == "CustomResourceDefinition" && !target.wait(limit, established).await? {
            return Err(not_ready(&target.title, limit));
        }
    }
    for object in
        objects.iter().filter(|object| object["kind"] == "Deployment" || object["kind"] == "DaemonSet")
    {
        let target = Target::new(client, object);
        eprintln!("waiting for {}", target.title);
        let done = if object["kind"] == "DaemonSet" { on_all_nodes } else { available };
        if !target.wait(limit, done).await? {
            return Err(not_ready(&target.title, limit));
        }
    }
    Ok(())
}

fn not_ready(what: &str, limit: Duration) -> Failure {
    Failure::new(&codes::INSTALL_NOT_READY, format!("{what} is not ready after {} seconds", limit.as_secs()))
}

fn established(live: &Value) -> bool {
    let conditions = live["status"]["conditions"].as_array();
    conditions
        .into_iter()
        .flatten()
        .any(|condition| condition["type"] == "Established" && condition["status"] == "True")
}

/// The present generation runs on every node that it should, and answers its readiness probe.
fn on_all_nodes(live: &Value) -> bool {
    let number = |name: &str| live["status"][name].as_i64().unwrap_or_default();
    let generation = live["metadata"]["generation"].as_i64().unwrap_or_default();
    let wanted = number("desiredNumberScheduled");
    wanted > 0
        && number("observedGeneration") >= generation
        && number("updatedNumberScheduled") >= wanted
        && number("numberAvailable") >= wanted
}

/// All replicas of the present generation answer their readiness probe.
fn available(live: &Value) -> bool {
    let number = |value: &Value| value.as_i64().unwrap_or_default();
    let (status, wanted) = (&live["status"], number(&live["spec"]["replicas"]));
    number(&status["observedGeneration"]) >= number(&live["metadata"]["generation"])
        && number(&status["updatedReplicas"]) >= wanted
        && number(&status["availableReplicas"]) >= wanted
        && number(&status["replicas"]) == wanted
}

fn imported(args: &Args) -> Result<Option<State>, Failure> {
    let (Some(certificate), Some(key)) = (&args.import_certificate, &args.import_key) else {
        return Ok(None);
    };
    let chain =
        std::fs::read_to_string(certificate).map_err(|error| Failure::reading(certificate, &error))?;
    let text = std::fs::read_to_string(key).map(zeroize::Zeroizing::new);
    let text = text.map_err(|error| Failure::reading(key, &error))?;
    let key = PrivateKey::from_pem(&text, None)?;
    let trust =
        args.what.trust_domain.parse().map_err(|why| Failure::usage(format!("--trust-domain: {why}")))?;
    Ok(Some(State::import(trust, &chain, key, OffsetDateTime::now_utc())?))
}
