//! `handfast kube rotate-root`: the steps of `handfast ca rotate` in a cluster. Whether a step is safe is seen, not said:
//! [`evidence`] gathers, from [`mounts`], [`look`], [`served`] and [`requests`], and [`judge`] decides; of the mesh's proxies, [`mesh`]
//! does both. [`guided`] takes one step after the other. All state is in the authority's Secret, changed by compare-and-swap with the rights of whoever runs this.

mod evidence;
mod guided;
mod judge;
mod look;
mod mesh;
mod mounts;
mod report;
mod requests;
mod served;
mod steps;

use std::time::Duration;

use controller::authority::Subject;
use controller::names::SYSTEM_NAMESPACE;
use model::units::Span;

use super::connect::{Cluster, block_on, image};
use crate::commands::Globals;
use crate::failure::{EXIT_OK, Outcome};
use judge::Choices;
use steps::{Asked, Cast};

/// Arguments of `handfast kube rotate-root`.
#[derive(clap::Args)]
#[command(
    after_help = "Exit codes: 0 the step is done · 1 it failed · 2 wrong usage · 3 the step is refused, for the \
    reasons that are named, or waits for something.\n\nRights needed: get and update the Secret of the authority; list \
    pods, Services, Namespaces, ConfigMaps, Certificates, CertificateSigningRequests and PodCertificateRequests; get the \
    managed Secrets and ClusterTrustBundles; create pods/exec and pods/portforward; where the mesh is installed, get its Deployment and its MutatingWebhookConfiguration; and, for pods whose images have no `cat`, patch pods/ephemeralcontainers and create \
    pods/attach."
)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    cluster: Cluster,
    /// Namespace of the controller.
    #[arg(long, global = true, env = "HANDFAST_NAMESPACE", default_value = SYSTEM_NAMESPACE, value_name = "NAMESPACE")]
    system_namespace: String,
    /// Look, and say what would be done, but do nothing.
    #[arg(long, global = true, env = "HANDFAST_DRY_RUN")]
    dry_run: bool,
    /// Handfast's image, for pods whose own images have no `cat`. Default: that of the cluster's controller.
    #[arg(long, global = true, env = "HANDFAST_KUBE_IMAGE", value_name = "IMAGE")]
    image: Option<String>,
    /// Time for that image and the start of its container, in seconds.
    #[arg(long, global = true, env = "HANDFAST_KUBE_TEST_START", default_value = "90s",
        value_parser = super::super::test::seconds)]
    start_timeout: Duration,
}

/// What a person takes upon himself.
#[derive(clap::Args, Clone)]
struct Upon {
    /// This pod or workload could not be observed, and you have looked at it yourself. May be repeated.
    #[arg(long, env = "HANDFAST_ROTATE_ACCEPT_UNSEEN", value_delimiter = ',', value_name = "NAMESPACE/NAME")]
    accept_unseen: Vec<String>,
    /// Every application loads its certificate and bundle again when the files change; you have made sure.
    #[arg(long, env = "HANDFAST_ROTATE_APPLICATIONS_RELOAD")]
    applications_reload: bool,
    /// Go on without this namespace, or this ConfigMap, Secret or pod of it: what is stale or unseen there is left
    /// behind, is told, and may break. May be repeated.
    #[arg(
        long,
        env = "HANDFAST_ROTATE_LEAVE_BEHIND",
        value_delimiter = ',',
        value_name = "NAMESPACE[/NAME]"
    )]
    leave_behind: Vec<String>,
}

impl From<&Upon> for Choices {
    fn from(upon: &Upon) -> Self {
        Self {
            accept_unseen: upon.accept_unseen.clone(),
            applications_reload: upon.applications_reload,
            leave_behind: upon.leave_behind.clone(),
        }
    }
}

#[derive(clap::Subcommand)]
enum Command {
    /// Show how far the rotation is, and what comes next.
    Status,
    /// Make the new root; it joins every trust bundle.
    Start {
        /// Rotate the intermediate only, below the same root.
        #[arg(long, env = "HANDFAST_ROTATE_INTERMEDIATE")]
        intermediate: bool,
    },
    /// Look whether every verifier knows the new root, and record that they do.
    Confirm {
        #[command(flatten)]
        upon: Upon,
    },
    /// Issue from the new authority from now on; every managed Secret and every proxy of the mesh gets a new certificate.
    Switch {
        #[command(flatten)]
        upon: Upon,
    },
    /// Stop trusting the old root; refused while something live needs it.
    Retire {
        #[command(flatten)]
        upon: Upon,
        /// No certificate of the old authority is in use that nobody sees: do not wait for the end of the longest life.
        #[arg(long, env = "HANDFAST_ROTATE_ALL_REPLACED")]
        all_replaced: bool,
    },
    /// Drop the new root; possible up to the switch.
    Abort,
    /// Take all steps, each when it is safe, and go on where an earlier run stopped.
    Run {
        #[command(flatten)]
        upon: Upon,
        /// See `retire`.
        #[arg(long, env = "HANDFAST_ROTATE_ALL_REPLACED")]
        all_replaced: bool,
        /// Rotate the intermediate only, below the same root.
        #[arg(long, env = "HANDFAST_ROTATE_INTERMEDIATE")]
        intermediate: bool,
        /// The longest that it waits, for all steps together.
        #[arg(long, env = "HANDFAST_TIMEOUT", default_value = "30m", value_name = "SPAN")]
        timeout: Span,
        /// Begin no rotation when the root that issues is younger than this: so a run that is repeated ends, too.
        #[arg(long, env = "HANDFAST_ROTATE_MIN_AGE", default_value = "1d", value_name = "SPAN")]
        min_age: Span,
    },
}

/// Runs `handfast kube rotate-root`.
pub fn run(args: Args, globals: &Globals) -> Outcome {
    block_on(async {
        let client = args.cluster.client().await?;
        let cast = Cast {
            store: controller::authority::AuthorityStore::new(client.clone(), &args.system_namespace),
            image: image(&client, args.image.as_deref()).await,
            client,
            system: args.system_namespace.clone(),
            start: args.start_timeout,
            dry_run: args.dry_run,
            output: globals.output,
        };
        let subject = |intermediate: &bool| if *intermediate { Subject::Intermediate } else { Subject::Root };
        let none = Choices::default();
        let done = match &args.command {
            Command::Status => cast.status().await?,
            Command::Start { intermediate } => cast.step(&Asked::Start(subject(intermediate)), &none).await?,
            Command::Confirm { upon } => cast.step(&Asked::Confirm, &upon.into()).await?,
            Command::Switch { upon } => cast.step(&Asked::Switch, &upon.into()).await?,
            Command::Retire { upon, all_replaced } => {
                cast.step(&Asked::Retire { all_replaced: *all_replaced }, &upon.into()).await?
            }
            Command::Abort => cast.step(&Asked::Abort, &none).await?,
            Command::Run { upon, all_replaced, intermediate, timeout, min_age } => {
                let plan = guided::Plan {
                    subject: subject(intermediate),
                    choices: upon.into(),
                    all_replaced: *all_replaced,
                    timeout: timeout.0,
                    min_age: min_age.0,
                };
                guided::run(&cast, &plan).await?
            }
        };
        done.print(cast.output)?;
        Ok(EXIT_OK)
    })
}
