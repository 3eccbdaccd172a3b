//! `handfast test`: proves that a TLS server accepts whom it must and refuses whom it must.

mod output;

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::ValueEnum;
use model::codes::findings::BAD_PAIR;
use probe::dial::Endpoint;
use probe::forge::Issuer;
use probe::identity::{self, ClientIdentity};
use probe::test::{Credentials, Expect, Plan, Target, check};

use super::Globals;
use crate::failure::{EXIT_FINDINGS, EXIT_OK, EXIT_USAGE, Failure, Outcome};

/// Arguments of `handfast test`.
#[derive(clap::Args)]
#[command(after_help = "Exit codes: 0 every row as expected · 1 the server cannot be tried · \
    2 wrong usage or input · 3 a row is not as expected (--fail-on).")]
pub struct Args {
    /// The server: host, host:port or https://host:port.
    #[arg(required_unless_present = "rows")]
    target: Option<Endpoint>,
    /// The server name to ask for (SNI, Host, certificate); the target's host by default.
    #[arg(long, env = "HANDFAST_TEST_SERVERNAME", value_name = "NAME")]
    servername: Option<String>,
    /// A second host of the same server under another client policy, for the rows about moved sessions.
    #[arg(long, env = "HANDFAST_TEST_OTHER_SERVERNAME", value_name = "NAME")]
    other_servername: Option<String>,
    /// Roots that the server's certificate must lead to (PEM); the system's store by default.
    #[arg(long, env = "HANDFAST_TEST_CA", value_name = "FILE")]
    ca: Option<PathBuf>,
    /// A client certificate that the server must accept (PEM: leaf, then intermediates).
    #[arg(long, env = "HANDFAST_TEST_CERT", value_name = "FILE", requires = "key")]
    cert: Option<PathBuf>,
    /// Its private key (PEM).
    #[arg(long, env = "HANDFAST_TEST_KEY", value_name = "FILE", requires = "cert")]
    key: Option<PathBuf>,
    /// The clients' authority as Handfast keeps it, to make good and bad certificates with.
    #[arg(long, env = "HANDFAST_TEST_CA_DIR", value_name = "DIR", conflicts_with = "issuer_cert")]
    ca_dir: Option<PathBuf>,
    /// The clients' authority: its certificate (PEM; then its own issuers, without the root).
    #[arg(long, env = "HANDFAST_TEST_ISSUER_CERT", value_name = "FILE", requires = "issuer_key")]
    issuer_cert: Option<PathBuf>,
    /// The authority's private key (PEM, unencrypted).
    #[arg(long, env = "HANDFAST_TEST_ISSUER_KEY", value_name = "FILE", requires = "issuer_cert")]
    issuer_key: Option<PathBuf>,
    /// A client certificate that was revoked (PEM).
    #[arg(long, env = "HANDFAST_TEST_REVOKED_CERT", value_name = "FILE", requires = "revoked_key")]
    revoked_cert: Option<PathBuf>,
    /// Its private key (PEM).
    #[arg(long, env = "HANDFAST_TEST_REVOKED_KEY", value_name = "FILE", requires = "revoked_cert")]
    revoked_key: Option<PathBuf>,
    /// A good client certificate whose identity the server does not allow (PEM).
    #[arg(long, env = "HANDFAST_TEST_STRANGER_CERT", value_name = "FILE", requires = "stranger_key")]
    stranger_cert: Option<PathBuf>,
    /// Its private key (PEM).
    #[arg(long, env = "HANDFAST_TEST_STRANGER_KEY", value_name = "FILE", requires = "stranger_cert")]
    stranger_key: Option<PathBuf>,
    /// What the server should be; mutual when a client certificate or authority is given, else one-way.
    #[arg(long, env = "HANDFAST_TEST_EXPECT", value_enum)]
    expect: Option<Expectation>,
    /// The server keeps a list of identities: one made for the test must be refused.
    #[arg(long, env = "HANDFAST_TEST_ALLOW_LIST")]
    allow_list: bool,
    /// The server must refuse names that it does not serve.
    #[arg(long, env = "HANDFAST_TEST_NAMES_ENFORCED")]
    names_enforced: bool,
    /// What follows the handshake.
    #[arg(long, env = "HANDFAST_TEST_APP", value_enum, default_value = "http")]
    app: App,
    /// The path to request.
    #[arg(long, env = "HANDFAST_TEST_HTTP_PATH", default_value = "/", value_name = "PATH")]
    http_path: String,
    /// Only these rows (repeatable, or separated by commas).
    #[arg(long, env = "HANDFAST_TEST_ONLY", value_delimiter = ',', value_name = "ROW")]
    only: Vec<String>,
    /// All but these rows.
    #[arg(long, env = "HANDFAST_TEST_SKIP", value_delimiter = ',', value_name = "ROW")]
    skip: Vec<String>,
    /// List the rows and stop.
    #[arg(long, env = "HANDFAST_TEST_ROWS")]
    rows: bool,
    /// Print JUnit XML instead.
    #[arg(long, env = "HANDFAST_TEST_JUNIT")]
    junit: bool,
    /// What gives exit code 3: a row that is not as expected, or a warning too.
    #[arg(long, env = "HANDFAST_TEST_FAIL_ON", value_enum, default_value = "fail")]
    fail_on: FailOn,
    /// Time for one connection, in seconds.
    #[arg(long, env = "HANDFAST_TEST_TIMEOUT", default_value = "10s", value_parser = seconds)]
    timeout: Duration,
}

#[derive(Clone, Copy, ValueEnum)]
enum Expectation {
    /// Every client needs a good certificate.
    Mutual,
    /// No client certificate is asked for.
    OneWay,
    /// None is fine, a bad one is not.
    Optional,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum App {
    /// A GET request.
    Http,
    /// Nothing is sent; the connection must stay open.
    Tcp,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum FailOn {
    /// Failed rows.
    Fail,
    /// Failed rows and warnings.
    Warn,
}

pub(super) fn seconds(text: &str) -> Result<Duration, String> {
    let digits = text.strip_suffix('s').unwrap_or(text);
    match digits.parse::<f64>() {
        Ok(number) if (0.1..=600.0).contains(&number) => Ok(Duration::from_secs_f64(number)),
        _ => Err(format!("'{text}' is no time between 0.1s and 600s")),
    }
}

/// Prints a report as a table for people.
pub(super) fn show(report: &probe::test::Report) -> Result<(), Failure> {
    output::report(report, crate::output::Format::Table, false)
}

/// Runs `handfast test`.
pub fn run(args: Args, globals: &Globals) -> Outcome {
    if args.rows {
        output::rows(globals.output)?;
        return Ok(EXIT_OK);
    }
    let Some(endpoint) = args.target.clone() else {
        return Err(Failure::usage("no target is given; write host:port"));
    };
    for id in args.only.iter().chain(&args.skip) {
        if check::find(id).is_none() {
            return Err(Failure::usage(format!("there is no row '{id}'")).fix("handfast test --rows"));
        }
    }
    let plan = plan(&args, endpoint)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| Failure::new(&model::codes::usage::INTERNAL, error))?;
    let progress = output::Progress::new(&plan);
    let report = runtime.block_on(probe::test::run(plan, |row| progress.done(row)))?;
    progress.clear();
    output::report(&report, globals.output, args.junit)?;
    let fails = !report.is_good() || (args.fail_on == FailOn::Warn && report.warned > 0);
    Ok(if fails { EXIT_FINDINGS } else { EXIT_OK })
}

fn plan(args: &Args, endpoint: Endpoint) -> Result<Plan, Failure> {
    let issuer = match (&args.ca_dir, &args.issuer_cert, &args.issuer_key) {
        (Some(dir), _, _) => {
            let (certificate, key) = issuing(dir)?;
            Some(read_issuer(&certificate, &key)?)
        }
        (None, Some(certificate), Some(key)) => Some(read_issuer(certificate, key)?),
        _ => None,
    };
    let roots = match (&args.ca, &args.ca_dir) {
        (Some(file), _) => read_roots(file)?,
        (None, Some(dir)) => read_roots(&dir.join("ca.crt"))?,
        (None, None) => system_roots()?,
    };
    let credentials = Credentials {
        good: pair(&args.cert, &args.key)?,
        issuer,
        revoked: pair(&args.revoked_cert, &args.revoked_key)?,
        stranger: pair(&args.stranger_cert, &args.stranger_key)?,
        roots,
        ..Credentials::default()
    };
    let has_client = credentials.good.is_some() || credentials.issuer.is_some();
    let expect = match args.expect {
        Some(Expectation::Mutual) => Expect::Mutual,
        Some(Expectation::OneWay) => Expect::OneWay,
        Some(Expectation::Optional) => Expect::Optional,
        None if has_client => Expect::Mutual,
        None => Expect::OneWay,
    };
    let target = Target {
        name: args.servername.clone().unwrap_or_else(|| endpoint.host.clone()),
        endpoint,
        other_name: args.other_servername.clone(),
        http_path: (args.app == App::Http).then(|| args.http_path.clone()),
    };
    Ok(Plan {
        only: args.only.clone(),
        skip: args.skip.clone(),
        names_enforced: args.names_enforced,
        has_list: args.allow_list,
        timeout: args.timeout,
        ..Plan::new(target, credentials, expect)
    })
}

fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    std::fs::read(path).map_err(|error| Failure::reading(path, &error).exit(EXIT_USAGE))
}

fn bad(path: &Path, error: impl std::fmt::Display) -> Failure {
    Failure::new(&BAD_PAIR, format!("{}: {error}", path.display())).exit(EXIT_USAGE)
}

pub(super) fn pair(
    certificate: &Option<PathBuf>,
    key: &Option<PathBuf>,
) -> Result<Option<ClientIdentity>, Failure> {
    let (Some(certificate), Some(key)) = (certificate, key) else { return Ok(None) };
    let made = ClientIdentity::from_pem(&read(certificate)?, &read(key)?);
    made.map(Some).map_err(|error| bad(certificate, error).with("key", key.display()))
}

pub(super) fn read_issuer(certificate: &Path, key: &Path) -> Result<Issuer, Failure> {
    Issuer::from_pem(&read(certificate)?, &read(key)?).map_err(|error| bad(certificate, error))
}

pub(super) fn read_roots(file: &Path) -> Result<Vec<rustls::pki_types::CertificateDer<'static>>, Failure> {
    identity::certificates(&read(file)?).map_err(|error| bad(file, error))
}

/// `SSL_CERT_FILE`, or the system's store; without one the row about the chain is skipped.
///
/// # Errors
///
/// When `SSL_CERT_FILE` names a file that holds no certificates: to judge by other roots than those that were
/// asked for would say the wrong thing.
pub(super) fn system_roots() -> Result<Vec<rustls::pki_types::CertificateDer<'static>>, Failure> {
    if let Some(named) = std::env::var_os("SSL_CERT_FILE").filter(|named| !named.is_empty()) {
        return read_roots(Path::new(&named)).map_err(|failure| {
            failure
                .with("named by", "the environment variable SSL_CERT_FILE")
                .fix("correct or unset SSL_CERT_FILE, or name the roots with --ca FILE")
        });
    }
    let known =
        ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"];
    let found = known.iter().find_map(|file| identity::certificates(&std::fs::read(file).ok()?).ok());
    Ok(found.unwrap_or_default())
}

/// The newest intermediate of a CA folder whose key is there, else its newest root.
pub(super) fn issuing(dir: &Path) -> Result<(PathBuf, PathBuf), Failure> {
    let folder = dir.join("authorities");
    let entries = std::fs::read_dir(&folder).map_err(|error| Failure::reading(&folder, &error))?;
    let mut found = Vec::new();
    for certificate in entries.flatten().map(|entry| entry.path()) {
        let Some(name) = certificate.file_stem().and_then(|name| name.to_str()) else { continue };
        if certificate.extension().is_none_or(|extension| extension != "crt") {
            continue;
        }
        let Some((kind, number)) = name.rsplit_once('-') else { continue };
        let home = if kind == "root" { dir.join("root") } else { folder.clone() };
        let key = home.join(format!("{name}.key"));
        if key.is_file() {
            found.push((kind == "intermediate", number.parse::<u64>().unwrap_or(0), certificate, key));
        }
    }
    found.sort();
    found.pop().map(|(_, _, certificate, key)| (certificate, key)).ok_or_else(|| {
        Failure::usage(format!("{} holds no authority with its key", dir.display()))
            .fix("make one: handfast ca init; or name one with --issuer-cert and --issuer-key")
    })
}
