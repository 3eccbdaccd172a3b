//! `handfast mesh install`: the mesh's control plane and all that it needs, printed as YAML or applied.

use std::time::Duration;

use controller::install::mesh::MeshInstallation;
use controller::install::node::NodeInstallation;
use controller::names::{CONTROLLER, IMAGE, MESH, SYSTEM_NAMESPACE};
use k8s_openapi::api::apps::v1::Deployment;
use kube::{Api, Client};
use model::codes::kube as codes;
use model::units::Span;
use serde_json::Value;

use crate::commands::Globals;
use crate::commands::kube::apply::{Target, documents};
use crate::commands::kube::connect::{Cluster, block_on};
use crate::commands::kube::install::{apply_all, check_domains, deployed, show};
use crate::failure::{EXIT_OK, Failure, Outcome};

/// Arguments of `handfast mesh install`.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    cluster: Cluster,
    /// Image of the control plane and of the proxies. By default the one that the controller runs, where there is one.
    #[arg(long, env = "HANDFAST_IMAGE", value_name = "IMAGE")]
    image: Option<String>,
    /// When the image is pulled: Always, IfNotPresent or Never.
    #[arg(long, env = "HANDFAST_IMAGE_PULL_POLICY", default_value = "IfNotPresent", value_name = "POLICY",
          value_parser = ["Always", "IfNotPresent", "Never"])]
    image_pull_policy: String,
    /// How many control planes run; all of them work.
    #[arg(long, env = "HANDFAST_REPLICAS", default_value_t = 2, value_name = "COUNT",
          value_parser = clap::value_parser!(u32).range(1..=10))]
    replicas: u32,
    /// Trust domain of SPIFFE IDs: the authority's.
    #[arg(long, env = "HANDFAST_TRUST_DOMAIN", default_value = "cluster.local", value_name = "DOMAIN")]
    trust_domain: String,
    /// Domain of the cluster's Services.
    #[arg(long, env = "HANDFAST_CLUSTER_DOMAIN", default_value = "cluster.local", value_name = "DOMAIN")]
    cluster_domain: String,
    /// Add the kinds AuthorizationPolicy and PeerAuthentication, for a cluster without Istio.
    #[arg(long, env = "HANDFAST_CRDS")]
    crds: bool,
    /// Add the proxy of each node, for namespaces with the label handfast.dev/mesh=node.
    #[arg(long, env = "HANDFAST_NODE")]
    node: bool,
    /// The nodes' folder with the CNI's configuration.
    #[arg(
        long,
        env = "HANDFAST_CNI_CONF_DIR",
        default_value = "/etc/cni/net.d",
        value_name = "DIR",
        requires = "node"
    )]
    cni_conf_dir: String,
    /// The nodes' folder with the CNI's plugins.
    #[arg(
        long,
        env = "HANDFAST_CNI_BIN_DIR",
        default_value = "/opt/cni/bin",
        value_name = "DIR",
        requires = "node"
    )]
    cni_bin_dir: String,
    /// Put no plugin into the CNI: new pods are found by watching, with a moment without protection.
    #[arg(long, env = "HANDFAST_NO_CNI_PLUGIN", requires = "node")]
    no_cni_plugin: bool,
    /// Apply the objects and wait until the control plane is ready, rather than print them.
    #[arg(long, env = "HANDFAST_APPLY")]
    apply: bool,
    /// Show what applying would change, and change nothing.
    #[arg(long, env = "HANDFAST_DRY_RUN")]
    dry_run: bool,
    /// How long to wait.
    #[arg(long, env = "HANDFAST_TIMEOUT", default_value = "3m", value_name = "SPAN")]
    timeout: Span,
}

impl Args {
    fn objects(&self, image: &str) -> Result<Vec<Value>, Failure> {
        check_domains(&self.trust_domain, &self.cluster_domain)?;
        let installation = MeshInstallation {
            image: image.to_owned(),
            pull_policy: self.image_pull_policy.clone(),
            replicas: self.replicas,
            trust_domain: self.trust_domain.clone(),
            cluster_domain: self.cluster_domain.clone(),
            crds: self.crds,
            node: self.node.then(|| NodeInstallation {
                cni_conf_dir: self.cni_conf_dir.clone(),
                cni_bin_dir: self.cni_bin_dir.clone(),
                plugin: !self.no_cni_plugin,
            }),
        };
        Ok(installation.objects())
    }
}

/// Runs `handfast mesh install`.
pub fn run(args: Args, _globals: &Globals) -> Outcome {
    if !args.apply && !args.dry_run {
        print!("{}", documents(&args.objects(args.image.as_deref().unwrap_or(IMAGE))?));
        return Ok(EXIT_OK);
    }
    block_on(async {
        let client = args.cluster.client().await?;
        let base = base(&client).await?;
        let image = args.image.clone().or_else(|| base.as_ref().and_then(image_of));
        let image = image.unwrap_or_else(|| IMAGE.to_owned());
        let mut objects = match base {
            Some(_) => Vec::new(),
            None => controller_objects(&args, &image)?,
        };
        objects.extend(args.objects(&image)?);
        if args.dry_run { show(&client, &objects).await } else { install(&args, &client, &objects).await }
    })
}

/// The controller, which has the authority and hands its roots out: without it there is no mesh.
async fn base(client: &Client) -> Result<Option<Deployment>, Failure> {
    let api: Api<Deployment> = Api::namespaced(client.clone(), SYSTEM_NAMESPACE);
    let found = api.get_opt(CONTROLLER).await;
    found.map_err(|error| controller::Error::api(format!("read the Deployment {CONTROLLER}"))(error).into())
}

fn image_of(deployment: &Deployment) -> Option<String> {
    let pod = deployment.spec.as_ref()?.template.spec.as_ref()?;
    pod.containers.first()?.image.clone()
}

/// As `kube install` writes it, with the same image and domains.
fn controller_objects(args: &Args, image: &str) -> Result<Vec<Value>, Failure> {
    eprintln!("there is no controller yet: it is installed as `handfast kube install` does it");
    Ok(deployed(image, &args.image_pull_policy, args.replicas, &args.trust_domain, &args.cluster_domain)
        .objects()?)
}

async fn install(args: &Args, client: &Client, objects: &[Value]) -> Outcome {
    let limit = args.timeout.0;
    apply_all(client, objects, limit).await?;
    let webhook = objects.iter().find(|object| object["kind"] == "MutatingWebhookConfiguration");
    let Some(webhook) = webhook else { return Ok(EXIT_OK) };
    // The control plane writes its trust in: before that no pod of the mesh can be made.
    let target = Target::new(client, webhook);
    let trusted = |live: &Value| {
        live["webhooks"][0]["clientConfig"]["caBundle"].as_str().is_some_and(|bundle| !bundle.is_empty())
    };
    if !target.wait(limit.min(Duration::from_secs(60)), trusted).await? {
        let what = format!("the control plane {MESH} has not taken up its webhook");
        return Err(Failure::new(&codes::INSTALL_NOT_READY, what));
    }
    eprintln!(
        "the mesh is ready: kubectl label namespace NAME handfast.dev/mesh=enabled, and restart its pods"
    );
    Ok(EXIT_OK)
}
