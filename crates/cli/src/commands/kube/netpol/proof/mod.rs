//! `handfast kube netpol test`: does this cluster enforce the policies? Answered by connections, never by objects.
//!
//! The way: [`pods`] starts a stand-in for every workload and three control pods elsewhere; [`control`] shows that a
//! pair of pods connects, denies it by a policy of its own, and looks again; [`matrix`] lists who must reach whom and
//! who must not, and tries it; [`report`] prints. A connection that fails proves a denial only where the same
//! listener was reached by its own pod before and after, and the same network carried a connection between pods.

mod control;
mod matrix;
mod pods;
mod report;

#[cfg(test)]
mod tests;

use std::time::Duration;

use controller::netpol::Graph;
use kube::Client;
use model::codes::kube::NETPOL_PROBE;

use super::{connect, input, listing};
use crate::commands::Globals;
use crate::duration::Lifetime;
use crate::failure::{EXIT_FINDINGS, EXIT_OK, Failure, Outcome};

/// Arguments of `handfast kube netpol test`.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    source: input::Source,
    /// Image of the probe pods; it has to hold this program. Default: that of the installed controller.
    #[arg(long, env = "HANDFAST_IMAGE", value_name = "IMAGE")]
    image: Option<String>,
    /// Path of the program in the image.
    #[arg(long, env = "HANDFAST_IMAGE_PROGRAM", default_value = "/handfast", value_name = "PATH")]
    program: String,
    /// Another namespace, for the control pods and as a stranger; no policy of its own may deny them.
    #[arg(long, env = "HANDFAST_CONTROL_NAMESPACE", default_value = "default", value_name = "NAMESPACE")]
    control_namespace: String,
    /// How long the network plugin may take to put a policy or a pod's address into force.
    #[arg(long, env = "HANDFAST_SETTLE", default_value = "20s", value_name = "TIME")]
    settle: Lifetime,
    /// When the probe pods end by themselves, whatever became of this command.
    #[arg(long, env = "HANDFAST_DEADLINE", default_value = "10m", value_name = "TIME")]
    deadline: Lifetime,
    /// The most pods that may be started.
    #[arg(long, env = "HANDFAST_MAX_PODS", default_value_t = 50, value_name = "NUMBER")]
    max_pods: usize,
    /// Start probes also beside workloads whose Service publishes pods that are not ready.
    #[arg(long, env = "HANDFAST_ALLOW_PUBLISHED")]
    allow_published: bool,
    /// Print JUnit XML.
    #[arg(long, env = "HANDFAST_JUNIT")]
    junit: bool,
}

/// Runs the proof; exit code 3 when something is open that must not be, or blocked that must be open.
pub(super) fn run(args: Args, globals: &Globals) -> Outcome {
    listing::block(async {
        let mut cluster = input::Cluster::of(&args.source);
        let graph = input::graph(&args.source, &mut cluster).await?;
        for warning in &graph.warnings {
            eprintln!("warning: {warning}");
        }
        // One that is named is under test even while nothing runs in it.
        let in_use = |workload: &controller::netpol::Workload| workload.namespace == args.control_namespace;
        if args.source.names(&args.control_namespace) || graph.objects.workloads.iter().any(in_use) {
            return Err(Failure::usage(format!(
                "namespace {} is itself under test; name another one with --control-namespace",
                args.control_namespace
            )));
        }
        let client = cluster.client().await?;
        let image = connect::image(&client, args.image.as_deref()).await;
        let deadline = args.deadline.0.whole_seconds();
        let run = pods::Run::new(&client, &image, &args.program, &args.control_namespace, deadline);
        let plan = pods::plan(&graph, args.max_pods, args.allow_published)?;
        let namespaces = pods::namespaces(&graph, &args.control_namespace);
        // Whatever happens, the pods go: on success, failure and signals here, after a kill by the Jobs' own limits.
        let result = tokio::select! {
            result = prove(&client, &graph, &run, plan, &args) => result,
            signal = interrupted() => Err(Failure::new(&NETPOL_PROBE, format!("ended by {signal}; the probe pods are being deleted"))),
        };
        run.clean_up(&namespaces).await;
        let report = result?;
        report::print(&report, globals.output, args.junit)?;
        Ok(if report.failed > 0 { EXIT_FINDINGS } else { EXIT_OK })
    })
}

async fn prove(
    client: &Client,
    graph: &Graph,
    run: &pods::Run,
    plan: Vec<pods::Stand>,
    args: &Args,
) -> Result<report::Report, Failure> {
    let settle = Duration::try_from(args.settle.0).unwrap_or(Duration::from_secs(20));
    let stands = run.start(plan).await?;
    control::listening(run, &stands, settle).await?;
    let enforced = control::enforcement(run, &stands, settle).await?;
    let mut rows = matrix::rows(graph, &stands);
    // Where nothing is enforced there is nothing to wait for.
    let patience = if enforced == control::Enforced::default() { Duration::ZERO } else { settle };
    matrix::try_all(run, &stands, &mut rows, patience).await?;
    // A listener that died in between would look like a policy.
    control::listening(run, &stands, Duration::from_secs(3)).await?;
    matrix::judge(client, graph, &stands, &mut rows, &enforced).await;
    Ok(report::Report::new(enforced, rows))
}

async fn interrupted() -> &'static str {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut interrupt), Ok(mut terminate)) =
        (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = interrupt.recv() => "SIGINT",
        _ = terminate.recv() => "SIGTERM",
    }
}
