//! `handfast kube test`: for each wired client and the servers that it calls, both directions of the proof, tried
//! from inside of the client's own pod.
//!
//! [`find`] tells who calls whom, [`pairs`] makes the bad certificates, [`container`] runs the probe in the pod, and
//! [`report`] says what was found. What the probe cannot see - the application's own code as a client - is a row as
//! well, and it says so.

pub(super) mod container;
pub(super) mod find;
mod pairs;
mod report;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Pod, Secret, Service};
use kube::Api;
use kube::api::ListParams;
use model::codes::kube as codes;
use probe::edge::{EdgePlan, Server, VERSION};

use super::super::Globals;
use super::connect::{self, Cluster, block_on};
use crate::failure::{EXIT_FINDINGS, EXIT_OK, Failure, Outcome};
use crate::output;
use find::{Edge, Wanted};
use report::{EdgeReport, Report, Row};

/// Arguments of `handfast kube test`.
#[derive(clap::Args)]
#[command(after_help = "Exit codes: 0 every row as expected · 1 nothing could be tried · 2 wrong usage · \
    3 a row is not as expected.\n\nAn ephemeral container in each client's pod does the work; it mounts the pod's own \
    client Secret and ends by itself, but stays listed in the pod until the pod goes.")]
pub struct Args {
    #[command(flatten)]
    cluster: Cluster,
    /// Namespace of clients and servers.
    #[arg(short = 'n', long, env = "HANDFAST_KUBE_NAMESPACE", value_name = "NAMESPACE")]
    namespace: Option<String>,
    /// Only this Service or workload as the server.
    #[arg(long, env = "HANDFAST_KUBE_TEST_SERVER", value_name = "NAME")]
    server: Option<String>,
    /// Only this pod, workload or client Secret as the client.
    #[arg(long, env = "HANDFAST_KUBE_TEST_CLIENT", value_name = "NAME")]
    client: Option<String>,
    /// The Service's port, by number or name; those that look like TLS by default.
    #[arg(long, env = "HANDFAST_KUBE_TEST_PORT", value_name = "PORT")]
    port: Option<String>,
    /// The clients' authority, as Handfast keeps it; by default the cluster's own, if you may read it.
    #[arg(long, env = "HANDFAST_TEST_CA_DIR", value_name = "DIR")]
    ca_dir: Option<PathBuf>,
    /// The servers keep a list of identities: one that is not on it must be refused.
    #[arg(long, env = "HANDFAST_TEST_ALLOW_LIST")]
    allow_list: bool,
    /// The path to request; `-` for servers that do not speak HTTP.
    #[arg(long, env = "HANDFAST_TEST_HTTP_PATH", default_value = "/", value_name = "PATH")]
    http_path: String,
    /// Handfast's image, for the ephemeral container. Default: that of the installed controller.
    #[arg(long, env = "HANDFAST_KUBE_IMAGE", value_name = "IMAGE")]
    image: Option<String>,
    /// Print JUnit XML instead.
    #[arg(long, env = "HANDFAST_TEST_JUNIT")]
    junit: bool,
    /// Time for one connection, in seconds.
    #[arg(long, env = "HANDFAST_TEST_TIMEOUT", default_value = "5s", value_parser = super::super::test::seconds)]
    timeout: Duration,
    /// Time for the image and the start of the ephemeral container, in seconds.
    #[arg(long, env = "HANDFAST_KUBE_TEST_START", default_value = "90s", value_parser = super::super::test::seconds)]
    start_timeout: Duration,
}

/// The rows of `handfast test` that are tried, each for TLS 1.2 and 1.3.
const ROWS: [&str; 12] = [
    "good",
    "no-certificate",
    "self-signed",
    "other-ca",
    "expired",
    "not-yet-valid",
    "wrong-usage",
    "revoked",
    "not-on-the-list",
    "server-name",
    "server-chain",
    "server-dates",
];
/// Time for the work in one pod: the slowest rows wait for the timeout of a connection.
const WORK: Duration = Duration::from_secs(240);

/// Runs `handfast kube test`.
pub fn run(args: Args, globals: &Globals) -> Outcome {
    let report = block_on(prove(&args))?;
    if args.junit {
        print!("{}", report.junit());
    } else {
        output::print(globals.output, &report, || report.table())?;
    }
    Ok(if report.failed == 0 { EXIT_OK } else { EXIT_FINDINGS })
}

async fn prove(args: &Args) -> Result<Report, Failure> {
    let client = args.cluster.client().await?;
    let namespace = args.namespace.clone().unwrap_or_else(|| client.default_namespace().to_owned());
    let unasked =
        |error: kube::Error| Failure::new(&codes::KUBE_NOT_REACHED, controller::error::chain(&error));
    let pods = Api::<Pod>::namespaced(client.clone(), &namespace).list(&ListParams::default()).await;
    let services = Api::<Service>::namespaced(client.clone(), &namespace).list(&ListParams::default()).await;
    let wanted = Wanted { server: args.server.clone(), client: args.client.clone(), port: args.port.clone() };
    let (edges, notes) =
        find::edges(&pods.map_err(unasked)?.items, &services.map_err(unasked)?.items, &wanted);
    if edges.is_empty() {
        let failure = Failure::new(&codes::EDGE_NONE, format!("nothing to test in namespace {namespace}"));
        return Err(notes.into_iter().fold(failure, |failure, note| failure.with("note", note)));
    }
    let authority = pairs::authority(args.ca_dir.as_deref(), &client).await?;
    let mut secrets = Secrets { api: Api::namespaced(client.clone(), &namespace), known: BTreeMap::new() };
    let mut report = Report { version: 1, namespace: namespace.clone(), notes, ..Report::default() };
    if let Err(why) = &authority {
        report.notes.push(format!("some bad certificates cannot be made: {why}"));
    }
    let has_revoked = authority.as_ref().is_ok_and(|authority| authority.has_revoked);
    let image = connect::image(&client, args.image.as_deref()).await;
    for edge in &edges {
        let own = secrets.leaf(&edge.client.mounted.secret).await;
        let name = format!("{}.{namespace}.svc", edge.service);
        let plan = plan(args, edge, &name, own.as_deref().ok(), authority.as_ref().ok())?;
        let settings = container::Settings { image: &image, start: args.start_timeout, work: WORK };
        let findings = container::run(&client, &namespace, &edge.client, &plan, &settings).await?;
        if let Some(why) = findings.error {
            return Err(Failure::new(
                &codes::PROBE_NOT_STARTED,
                format!("in pod {}: {why}", edge.client.name),
            ));
        }
        let mut rows = Vec::new();
        for (server, found) in edge.servers.iter().zip(&findings.servers) {
            rows.extend(
                found
                    .rows
                    .iter()
                    .map(|seen| about_revoked(Row::of_server(seen, &server.name), seen, has_revoked)),
            );
            if let Some(why) = &found.error {
                rows.push(not_tried(&server.name, why));
            }
            let kept = secrets.leaf(&server.secret).await;
            rows.push(served(&server.name, &server.secret, found.served.as_deref(), kept));
        }
        // Rows about the server's own certificate, judged with the client's bundle, belong to the other direction.
        for row in &mut rows {
            if row.id.starts_with("server-") {
                row.direction = "client-authenticates-server";
                row.refused_by = None;
            }
        }
        rows.extend(findings.impostors.iter().map(|seen| Row::of_client(seen, &edge.client.name)));
        rows.push(unseen(&edge.client.name));
        rows.push(mounted(&edge.client, &findings.mounted, own));
        let order = ["server-authenticates-client", "client-authenticates-server", "served"];
        rows.sort_by_key(|row| order.iter().position(|direction| *direction == row.direction));
        report.edges.push(EdgeReport {
            client: edge.client.workload.clone(),
            client_pod: edge.client.name.clone(),
            server: format!("{}:{}", edge.service, edge.port),
            rows,
        });
    }
    report.count();
    Ok(report)
}

fn plan(
    args: &Args,
    edge: &Edge,
    name: &str,
    own: Option<&[u8]>,
    authority: Option<&pairs::Authority>,
) -> Result<EdgePlan, Failure> {
    let failed = |error| Failure::new(&model::codes::usage::INTERNAL, format!("no bad certificate: {error}"));
    let identity =
        own.and_then(|der| certs::inspect::certificate(der).ok()).and_then(|found| found.spiffe_id);
    let (clients, impostors) = match authority {
        Some(authority) => (
            authority.clients(identity.as_deref(), args.allow_list).map_err(failed)?,
            authority.servers(name).map_err(failed)?,
        ),
        None => (Vec::new(), Vec::new()),
    };
    let server = |server: &find::ServerPod| Server {
        address: server.address,
        name: name.to_owned(),
        label: server.name.clone(),
    };
    Ok(EdgePlan {
        version: VERSION,
        folder: container::FOLDER.into(),
        servers: edge.servers.iter().map(server).collect(),
        clients,
        impostors,
        rows: ROWS.map(str::to_owned).to_vec(),
        has_list: args.allow_list,
        http_path: (args.http_path != "-").then(|| args.http_path.clone()),
        timeout: u64::try_from(args.timeout.as_millis()).unwrap_or(5000),
    })
}

/// The leaf of each Secret, asked for once. Its key is not looked at.
struct Secrets {
    api: Api<Secret>,
    known: BTreeMap<String, Result<Vec<u8>, String>>,
}

impl Secrets {
    async fn leaf(&mut self, name: &str) -> Result<Vec<u8>, String> {
        if let Some(known) = self.known.get(name) {
            return known.clone();
        }
        let leaf = match self.api.get(name).await {
            Err(error) => Err(format!("Secret {name} cannot be read: {error}")),
            Ok(secret) => {
                let pem = secret.data.and_then(|mut data| data.remove("tls.crt")).unwrap_or_default();
                probe::identity::certificates(&pem.0)
                    .map_err(|error| format!("Secret {name}, tls.crt: {error}"))
                    .and_then(|chain| Ok(chain.first().ok_or("it is empty")?.to_vec()))
            }
        };
        self.known.insert(name.to_owned(), leaf.clone());
        leaf
    }
}

/// `serial 4f..., until 2026-...`.
fn described(der: &[u8]) -> String {
    match certs::inspect::certificate(der) {
        Ok(found) => format!("serial {}, until {}", found.serial, found.not_after),
        Err(error) => error.to_string(),
    }
}

fn compared(
    row: Row,
    has: Option<&[u8]>,
    secret: &str,
    kept: Result<Vec<u8>, String>,
    code: &model::codes::Code,
) -> Row {
    let skipped = |why: String| Row { verdict: "skipped".into(), why: Some(why), ..row.clone() };
    match (has, kept) {
        (None, _) => skipped("no certificate was seen".into()),
        (_, Err(why)) => skipped(why),
        (Some(has), Ok(kept)) if has == kept => {
            Row { verdict: "ok".into(), observed: described(has), ..row.clone() }
        }
        (Some(has), Ok(kept)) => Row {
            verdict: "fail".into(),
            observed: format!("{}; Secret {secret} has {}", described(has), described(&kept)),
            code: Some(code.id.into()),
            cause: Some(code.cause.into()),
            fix: Some(code.fix.into()),
            ..row.clone()
        },
    }
}

fn served(pod: &str, secret: &str, has: Option<&[u8]>, kept: Result<Vec<u8>, String>) -> Row {
    let row = Row {
        direction: "served",
        id: "served-is-in-secret".into(),
        title: "served certificate is the one in the Secret".into(),
        pod: pod.to_owned(),
        expected: format!("the certificate of Secret {secret}"),
        ..Row::default()
    };
    compared(row, has, secret, kept, &codes::SERVED_OLD)
}

fn mounted(client: &find::ClientPod, has: &[u8], kept: Result<Vec<u8>, String>) -> Row {
    let secret = &client.mounted.secret;
    let row = Row {
        direction: "served",
        id: "mounted-is-in-secret".into(),
        title: "mounted certificate is the one in the Secret".into(),
        pod: client.name.clone(),
        expected: format!("the certificate of Secret {secret}"),
        ..Row::default()
    };
    compared(row, Some(has), secret, kept, &codes::MOUNTED_OLD)
}

fn not_tried(pod: &str, why: &str) -> Row {
    Row {
        direction: "server-authenticates-client",
        id: "reached".into(),
        title: "the server is reached and speaks TLS".into(),
        pod: pod.to_owned(),
        expected: "a TLS handshake".into(),
        observed: why.to_owned(),
        verdict: "fail".into(),
        code: Some(model::codes::findings::NOT_REACHED.id.into()),
        cause: Some(
            "the application does not listen there, speaks plain text, or a NetworkPolicy is in between"
                .into(),
        ),
        fix: Some("see: kubectl logs POD; handfast kube netpol test; another port: --port".into()),
        ..Row::default()
    }
}

/// What nobody can see from outside of the application, said where somebody would look for it.
fn unseen(pod: &str) -> Row {
    Row {
        direction: "client-authenticates-server",
        id: "application".into(),
        title: "the application itself verifies servers".into(),
        pod: pod.to_owned(),
        expected: "it uses the mounted ca.crt, and checks names".into(),
        verdict: "skipped".into(),
        why: Some(
            "not proven: the rows above show what the pod's bundle refuses, with our verifier; whether the application \
             uses it is not seen from outside (settings that do: handfast kube configure --role client)"
                .into(),
        ),
        ..Row::default()
    }
}

/// The probe's hint names options of another command. That a server lets in what is revoked is a failure from the
/// moment that anything is.
fn about_revoked(mut row: Row, seen: &probe::edge::Seen, has_revoked: bool) -> Row {
    if seen.verdict == "skipped" {
        row.why = match seen.id.as_str() {
            "revoked" => Some("needs the cluster's authority".into()),
            "not-on-the-list" => Some("only for servers with a list of identities: --allow-list".into()),
            _ if seen.reason.as_deref().is_some_and(|why| why.contains("--ca-dir")) => {
                Some("needs the authority: --ca-dir DIR, or the right to read the cluster's".into())
            }
            _ => row.why,
        };
    }
    if seen.id == "revoked" && seen.verdict == "fail" && !has_revoked {
        row.verdict = "warn".into();
        row.why = Some(
            "this server does not ask for revocation and let the certificate in; this row fails as soon as anything \
             is revoked (the sidecar asks; lists: ConfigMap handfast-trust, crl.pem)"
                .into(),
        );
    }
    row
}
