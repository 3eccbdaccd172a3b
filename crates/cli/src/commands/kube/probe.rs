//! `handfast kube probe`: what runs inside of a pod for `handfast kube test` and `kube rotate-root`. The plan comes as one line of
//! JSON on stdin, and the findings go out as one line; keys come only that way, so that none is in the pod's spec, its
//! environment or its log.

use std::io::{BufRead as _, Read as _};
use std::time::Duration;

use probe::edge::look::{self, LookPlan};
use probe::edge::{self, EdgePlan};
use zeroize::Zeroizing;

use super::super::Globals;
use crate::failure::{EXIT_OK, Failure, Outcome};

/// Arguments of `handfast kube probe`.
#[derive(clap::Args)]
pub struct Args {
    /// The longest that it waits for its plan.
    #[arg(long, env = "HANDFAST_KUBE_PROBE_WAIT", default_value = "120s", value_name = "SECONDS",
        value_parser = super::super::test::seconds)]
    wait: Duration,
    /// The plan is which files to look at.
    #[arg(long, env = "HANDFAST_KUBE_PROBE_LOOK")]
    look: bool,
}

/// No plan is as long as this.
const LONGEST: u64 = 4 << 20;
/// No plan takes as long as this.
const LIMIT: Duration = Duration::from_secs(300);

/// Runs `handfast kube probe`.
pub fn run(args: Args, _globals: &Globals) -> Outcome {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| Failure::new(&model::codes::usage::INTERNAL, error))?;
    let findings = runtime.block_on(async {
        let read = tokio::task::spawn_blocking(|| {
            let mut line = Zeroizing::new(String::new());
            // An attached stream has no end of its own: the line's end is the end.
            let mut input = std::io::BufReader::new(std::io::stdin().lock().take(LONGEST));
            input.read_line(&mut line).map(|_| line)
        });
        let line =
            tokio::time::timeout(args.wait, read).await.map_err(|_| "no plan came in time".to_owned())?;
        let line = line.map_err(|error| error.to_string())?.map_err(|error| error.to_string())?;
        // serde's error would quote what it did not understand, and that may be a key.
        let unread =
            |error: serde_json::Error| format!("the plan is not understood, at column {}", error.column());
        let work = async {
            if args.look {
                let plan: LookPlan = serde_json::from_str(&line).map_err(unread)?;
                return serde_json::to_string(&look::run(&plan).await).map_err(|error| error.to_string());
            }
            let plan: EdgePlan = serde_json::from_str(&line).map_err(unread)?;
            serde_json::to_string(&edge::run(&plan).await).map_err(|error| error.to_string())
        };
        tokio::time::timeout(LIMIT, work).await.map_err(|_| "the plan takes too long".to_owned())?
    });
    // A read of stdin that hangs must not keep the container.
    runtime.shutdown_background();
    let text = findings.map_err(|why| Failure::new(&model::codes::usage::USAGE, why))?;
    println!("{text}");
    Ok(EXIT_OK)
}
