//! The proof: tries a server as every kind of client that it must accept or refuse.
//!
//! [`run`] first surveys the server, then works through [`check::ALL`]: [`clients`] are rows about client
//! certificates, [`sessions`] about resumption and hosts, [`protocol`] about bytes that rustls would not
//! send, [`server`] about the server's own certificate.

mod alerts;
pub mod check;
mod clients;
mod judge;
mod protocol;
mod row;
mod server;
pub(crate) use server::weaknesses;
mod sessions;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::stream::{FuturesUnordered, StreamExt};
use model::codes::{Code, Coded, findings};
use rustls_pki_types::CertificateDer;
use tokio::sync::Semaphore;

pub use row::{Report, Row, Verdict};

use crate::attempt::{Application, Attempt, End, Outcome, Version, attempt};
use crate::dial::Endpoint;
use crate::forge::Issuer;
use crate::identity::ClientIdentity;
use crate::wire::hello::{self, Hello, Reply};
use check::{Check, Spec};

/// Which server is tried, and how it is addressed.
#[derive(Clone, Debug)]
pub struct Target {
    /// Where it listens.
    pub endpoint: Endpoint,
    /// The name to ask for (SNI, `Host`, certificate); the endpoint's host when in doubt.
    pub name: String,
    /// A second virtual host of the same server, under another client policy.
    pub other_name: Option<String>,
    /// The path to request; `None` for servers that do not speak HTTP.
    pub http_path: Option<String>,
}

/// The certificates that the test may use.
#[derive(Default)]
pub struct Credentials {
    /// A pair that the server must accept.
    pub good: Option<ClientIdentity>,
    /// The authority of the clients, to make good and bad certificates with.
    pub issuer: Option<Issuer>,
    /// A pair that was revoked.
    pub revoked: Option<ClientIdentity>,
    /// A good pair whose identity the server does not allow.
    pub stranger: Option<ClientIdentity>,
    /// Pairs for further rows, by the row's id, made elsewhere: where the authority's key must not be.
    pub made: std::collections::BTreeMap<String, ClientIdentity>,
    /// The roots that the server's own certificate must lead to.
    pub roots: Vec<CertificateDer<'static>>,
}

/// What kind of server it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    /// Every client needs a good certificate.
    Mutual,
    /// No client certificate is asked for.
    OneWay,
    /// A client may send none, but a bad one is refused.
    Optional,
}

impl Expect {
    /// As on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Expect::Mutual => "mutual",
            Expect::OneWay => "one-way",
            Expect::Optional => "optional",
        }
    }
}

/// Everything that a run needs.
pub struct Plan {
    /// The server.
    pub target: Target,
    /// The certificates.
    pub credentials: Credentials,
    /// The kind of server.
    pub expect: Expect,
    /// Ids of the rows to try; all when empty.
    pub only: Vec<String>,
    /// Ids of the rows to leave out.
    pub skip: Vec<String>,
    /// Whether the server must refuse names that it does not serve.
    pub names_enforced: bool,
    /// Whether the server keeps a list of identities.
    pub has_list: bool,
    /// Time for one connection.
    pub timeout: Duration,
}

impl Plan {
    /// A plan for every row, with the usual limits.
    pub fn new(target: Target, credentials: Credentials, expect: Expect) -> Self {
        Self {
            target,
            credentials,
            expect,
            only: Vec::new(),
            skip: Vec::new(),
            names_enforced: false,
            has_list: false,
            timeout: Duration::from_secs(10),
        }
    }

    fn wants(&self, spec: &Spec) -> bool {
        let named = |list: &[String]| list.iter().any(|id| id == spec.id);
        (self.only.is_empty() || named(&self.only)) && !named(&self.skip)
    }
}

/// Why there is nothing to prove.
#[derive(Debug, thiserror::Error)]
pub enum TestError {
    /// No TCP connection.
    #[error("{0}")]
    Unreachable(String),
    /// Something else than TLS.
    #[error("{0} does not speak TLS: {1}")]
    NotTls(String, String),
    /// A connection, but no answer.
    #[error("{0} does not answer")]
    Silent(String),
    /// Neither TLS 1.2 nor TLS 1.3.
    #[error("no handshake with {0}, neither with TLS 1.2 nor with 1.3: {1}")]
    NoVersion(String, String),
    /// A row that does not exist.
    #[error("there is no row '{0}'; they are: {1}")]
    Row(String, String),
}

impl Coded for TestError {
    fn code(&self) -> &'static Code {
        match self {
            TestError::Unreachable(_) => &findings::NOT_REACHED,
            TestError::NotTls(..) => &findings::TARGET_NOT_TLS,
            TestError::Silent(_) => &findings::TARGET_SILENT,
            TestError::NoVersion(..) => &findings::HANDSHAKE_FAILED,
            TestError::Row(..) => &model::codes::usage::USAGE,
        }
    }
}

/// What all rows share.
struct Context {
    plan: Plan,
    /// The attempt without a certificate, by version; `None` when the server does not speak it.
    survey: [Option<Outcome>; 2],
    /// The attempt with the good certificate, by version.
    proven: [Option<Outcome>; 2],
    /// What a client of the past gets where a client of today gets nothing.
    legacy: Option<Legacy>,
    /// The good pair, given or made.
    good: Option<ClientIdentity>,
    slots: Semaphore,
}

impl Context {
    fn surveyed(&self, version: Version) -> Option<&Outcome> {
        self.survey[version as usize].as_ref()
    }

    fn spoken(&self) -> Vec<Version> {
        Version::BOTH.into_iter().filter(|version| self.surveyed(*version).is_some()).collect()
    }

    /// The status with which the target answers whom it lets in, as far as known.
    fn usual_status(&self, version: Option<Version>) -> Option<u16> {
        let surveyed = || {
            let versions = version.map_or(Version::BOTH.to_vec(), |version| vec![version]);
            versions.into_iter().find_map(|version| Some(&self.surveyed(version)?.end))
        };
        let end = self.good_end(version).or_else(surveyed)?;
        end.status().filter(|_| !end.names_the_certificate())
    }

    /// An attempt at the target's name.
    fn attempt(&self, version: Option<Version>, client: Option<ClientIdentity>) -> Attempt {
        self.attempt_at(&self.plan.target.name, version, client)
    }

    fn attempt_at(&self, name: &str, version: Option<Version>, client: Option<ClientIdentity>) -> Attempt {
        let application = match &self.plan.target.http_path {
            Some(path) => Application::Http { host: name.to_owned(), path: path.clone() },
            None => Application::Tcp,
        };
        Attempt {
            version,
            name: name.to_owned(),
            alpn: Vec::new(),
            client,
            application,
            timeout: self.plan.timeout,
        }
    }

    fn endpoint(&self) -> &Endpoint {
        &self.plan.target.endpoint
    }
}

/// Tries the server; `on_row` is called as soon as a row is done, in no particular order.
///
/// # Errors
///
/// When nothing can be proved: the server cannot be reached or speaks no TLS, or a row does not exist.
pub async fn run(plan: Plan, mut on_row: impl FnMut(&Row)) -> Result<Report, TestError> {
    let started = Instant::now();
    for id in plan.only.iter().chain(&plan.skip) {
        if check::find(id).is_none() {
            let all: Vec<_> = check::ALL.iter().map(|spec| spec.id).collect();
            return Err(TestError::Row(id.clone(), all.join(", ")));
        }
    }
    let context = Arc::new(survey(plan).await?);

    let mut jobs = FuturesUnordered::new();
    let mut place = 0;
    for spec in check::ALL.iter().filter(|spec| context.plan.wants(spec)) {
        let versions: &[Option<Version>] =
            if spec.per_version { &[Some(Version::Tls12), Some(Version::Tls13)] } else { &[None] };
        // What the server does not speak cannot be tried; the report names the versions that it does.
        let spoken = |v: &&Option<Version>| v.is_none_or(|v| context.surveyed(v).is_some());
        for version in versions.iter().filter(spoken).copied() {
            let context = context.clone();
            place += 1;
            jobs.push(async move {
                let started = Instant::now();
                let mut row = row_of(&context, spec, version).await;
                row.milliseconds = started.elapsed().as_millis() as u64;
                (place, row)
            });
        }
    }
    let mut done = Vec::new();
    while let Some((place, row)) = jobs.next().await {
        on_row(&row);
        done.push((place, row));
    }
    done.sort_by_key(|(place, _)| *place);
    let rows: Vec<Row> = done.into_iter().map(|(_, row)| row).collect();
    let count = |verdict| rows.iter().filter(|row| row.verdict == verdict).count();
    Ok(Report {
        version: 1,
        target: context.plan.target.endpoint.to_string(),
        servername: context.plan.target.name.clone(),
        expect: context.plan.expect.name(),
        spoken: context.spoken(),
        ok: count(Verdict::Ok),
        warned: count(Verdict::Warn),
        failed: count(Verdict::Fail),
        skipped: count(Verdict::Skipped),
        milliseconds: started.elapsed().as_millis() as u64,
        rows,
    })
}

/// Rows that mostly wait take no slot; the others share a few, so that the target is not flooded.
async fn row_of(context: &Context, spec: &Spec, version: Option<Version>) -> Row {
    let waits = matches!(spec.check, Check::Drips | Check::Silence);
    let _slot = if waits { None } else { context.slots.acquire().await.ok() };
    match spec.check {
        Check::EarlyData | Check::ResumedElsewhere | Check::RefusedResumed | Check::Misdirected => {
            sessions::row(context, spec, version).await
        }
        Check::UnknownName
        | Check::Alpn
        | Check::Current
        | Check::Tls10
        | Check::Tls11
        | Check::NoCommonCipher
        | Check::NoCommonGroup
        | Check::PlainHttp
        | Check::Silence
        | Check::Drips => protocol::row(context, spec, version).await,
        Check::ServerName | Check::ServerChain | Check::ServerDates | Check::ServerLint => {
            server::row(context, spec)
        }
        _ => clients::row(context, spec, version).await,
    }
}

/// Learns which versions the server speaks and what it asks for, and makes the good pair if none is given.
async fn survey(plan: Plan) -> Result<Context, TestError> {
    // A target that answers rows in parallel is not a target that should be flooded: eight at a time.
    const AT_A_TIME: usize = 8;
    let good = match (&plan.credentials.good, &plan.credentials.issuer) {
        (Some(pair), _) => Some(pair.clone()),
        (None, Some(issuer)) => issuer.issue(|_| {}).ok(),
        (None, None) => None,
    };
    let slots = Semaphore::new(AT_A_TIME);
    let mut context = Context { plan, survey: [None, None], proven: [None, None], legacy: None, good, slots };
    let [old, new] = Version::BOTH.map(|version| context.attempt(Some(version), None));
    let (old, new) = tokio::join!(attempt(context.endpoint(), &old), attempt(context.endpoint(), &new));
    let at = context.endpoint().to_string();
    for outcome in [&old, &new] {
        match &outcome.end {
            End::Unreachable(why) => return Err(TestError::Unreachable(why.clone())),
            End::NotTls(what) => return Err(TestError::NotTls(at, what.clone())),
            _ => {}
        }
    }
    // Whoever showed a certificate has chosen the version.
    let spoken = |outcome: Outcome| (!outcome.facts.chain.is_empty()).then_some(outcome);
    let why = new.end.clone();
    context.survey = [spoken(old), spoken(new)];
    if context.survey.iter().all(Option::is_none) {
        context.legacy = Legacy::find(&context).await;
        if context.legacy.is_none() {
            return Err(match why {
                End::Silent => TestError::Silent(at),
                other => TestError::NoVersion(at, other.to_string()),
            });
        }
    }
    if let Some(good) = context.good.clone().filter(|_| context.plan.expect != Expect::OneWay) {
        for version in context.spoken() {
            let planned = context.attempt(Some(version), Some(good.clone()));
            context.proven[version as usize] = Some(attempt(context.endpoint(), &planned).await);
        }
    }
    Ok(context)
}

/// A server that speaks to no client of today: only TLS 1.0 or 1.1, or only ciphers of the past.
struct Legacy {
    version: u16,
    suite: u16,
    /// The server's chain; it is sent in the clear.
    chain: Vec<CertificateDer<'static>>,
}

impl Legacy {
    async fn find(context: &Context) -> Option<Self> {
        for version in [hello::TLS12, hello::TLS11, hello::TLS10] {
            let hello = Hello::broad(version, &context.plan.target.name);
            let (reply, chain) = hello.send_for_chain(context.endpoint(), context.plan.timeout).await;
            if let Reply::Chosen { version, suite } = reply {
                let chain = chain.into_iter().map(CertificateDer::from).collect();
                return Some(Self { version, suite, chain });
            }
        }
        None
    }
}
