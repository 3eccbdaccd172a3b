//! A client's way to its servers, tried from where the client is: with its own files, in its own network.
//!
//! The plan comes from a place that has the authority's key, which never comes here: bad certificates come ready
//! made. What was seen goes back, to be judged there. [`impostor`] is the other direction: servers that the client's
//! bundle has to refuse.

mod impostor;
pub mod look;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustls_pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use serde::{Deserialize, Serialize};

use crate::attempt::{Application, Attempt, attempt};
use crate::dial::Endpoint;
use crate::forge::Pair;
use crate::identity::{ClientIdentity, certificates};
use crate::test::{Credentials, Expect, Plan, Row, Target};

/// The version of plan and findings; the two ends have to be of the same.
pub const VERSION: u32 = 1;

/// What is to be tried.
#[derive(Serialize, Deserialize)]
pub struct EdgePlan {
    /// See [`VERSION`].
    pub version: u32,
    /// Where the client's `tls.crt`, `tls.key` and `ca.crt` are.
    pub folder: PathBuf,
    /// The servers, one by one.
    pub servers: Vec<Server>,
    /// Bad client certificates, by the id of their row.
    pub clients: Vec<Sent>,
    /// Bad server certificates, by the id of their row.
    pub impostors: Vec<Sent>,
    /// Ids of the rows of [`crate::test`] to try.
    pub rows: Vec<String>,
    /// Whether the servers keep a list of identities.
    pub has_list: bool,
    /// The path to request; `None` for servers that do not speak HTTP.
    pub http_path: Option<String>,
    /// Time for one connection, in milliseconds.
    pub timeout: u64,
}

/// One server.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Server {
    /// Where it listens.
    pub address: SocketAddr,
    /// The name that clients know it by.
    pub name: String,
    /// What it is called in the findings.
    pub label: String,
}

/// A pair on its way to where it is used.
#[derive(Serialize, Deserialize)]
pub struct Sent {
    /// The row that it is for.
    pub row: String,
    chain: Vec<Vec<u8>>,
    key: Vec<u8>,
}

impl Sent {
    /// For this row.
    pub fn new(row: &str, pair: &Pair) -> Self {
        Self {
            row: row.to_owned(),
            chain: pair.chain.iter().map(|der| der.to_vec()).collect(),
            key: pair.key.secret_pkcs8_der().to_vec(),
        }
    }

    fn identity(&self) -> Result<ClientIdentity, String> {
        let chain = self.chain.iter().map(|der| CertificateDer::from(der.clone())).collect();
        let pair = Pair { chain, key: PrivatePkcs8KeyDer::from(self.key.clone()) };
        pair.identity().map_err(|error| error.to_string())
    }
}

/// What was seen.
#[derive(Debug, Serialize, Deserialize)]
pub struct Findings {
    /// See [`VERSION`].
    pub version: u32,
    /// Why nothing could be tried.
    pub error: Option<String>,
    /// The client's own leaf, as it is mounted (DER).
    pub mounted: Vec<u8>,
    /// Server by server, in the order of the plan.
    pub servers: Vec<ServerFindings>,
    /// The client's bundle before servers that it must refuse.
    pub impostors: Vec<Seen>,
}

/// What was seen of one server.
#[derive(Debug, Serialize, Deserialize)]
pub struct ServerFindings {
    /// As in the plan.
    pub label: String,
    /// Why it could not be tried.
    pub error: Option<String>,
    /// The leaf that it served to the good client (DER).
    pub served: Option<Vec<u8>>,
    /// The rows.
    pub rows: Vec<Seen>,
}

/// One row, in words that can be sent.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Seen {
    /// The row's id.
    pub id: String,
    /// The row in words.
    pub title: String,
    /// The TLS version, where the row depends on it.
    pub tls: Option<String>,
    /// What should happen.
    pub expected: String,
    /// What happened.
    pub observed: String,
    /// The alert, by number.
    pub alert: Option<u8>,
    /// The HTTP status.
    pub status: Option<u16>,
    /// `ok`, `warn`, `fail` or `skipped`.
    pub verdict: String,
    /// Why it was skipped, or what is not quite right.
    pub reason: Option<String>,
    /// The finding's code.
    pub code: Option<String>,
    /// The likely cause of a failure.
    pub cause: Option<String>,
    /// What to do about it.
    pub fix: Option<String>,
}

impl From<&Row> for Seen {
    fn from(row: &Row) -> Self {
        let verdict = match row.verdict {
            crate::test::Verdict::Ok => "ok",
            crate::test::Verdict::Warn => "warn",
            crate::test::Verdict::Fail => "fail",
            crate::test::Verdict::Skipped => "skipped",
        };
        Self {
            id: row.id.to_owned(),
            title: row.title.to_owned(),
            tls: row.version.map(|version| version.to_string()),
            expected: row.expected.clone(),
            observed: row.observed.clone(),
            alert: row.alert,
            status: row.status,
            verdict: verdict.to_owned(),
            reason: row.reason.clone().or_else(|| row.warning.clone()),
            code: row.code.map(str::to_owned),
            cause: row.cause.clone(),
            fix: row.fix.clone(),
        }
    }
}

/// The client's own files.
struct Own {
    identity: ClientIdentity,
    roots: Vec<CertificateDer<'static>>,
}

impl Own {
    fn read(folder: &Path) -> Result<Self, String> {
        let read = |name: &str| {
            let path = folder.join(name);
            std::fs::read(&path).map_err(|error| format!("{} cannot be read: {error}", path.display()))
        };
        let identity = ClientIdentity::from_pem(&read("tls.crt")?, &read("tls.key")?)
            .map_err(|error| format!("the client's pair: {error}"))?;
        let roots = certificates(&read("ca.crt")?).map_err(|error| format!("ca.crt: {error}"))?;
        Ok(Self { identity, roots })
    }
}

/// Tries everything.
pub async fn run(plan: &EdgePlan) -> Findings {
    let mut findings = Findings {
        version: VERSION,
        error: None,
        mounted: Vec::new(),
        servers: Vec::new(),
        impostors: Vec::new(),
    };
    let tried = async {
        if plan.version != VERSION {
            return Err(format!("the plan is of version {}, this is for version {VERSION}", plan.version));
        }
        let own = Own::read(&plan.folder)?;
        findings.mounted = own.identity.chain().first().map(|leaf| leaf.to_vec()).unwrap_or_default();
        for server in &plan.servers {
            findings.servers.push(one(plan, &own, server).await?);
        }
        let name = plan.servers.first().map_or("server.invalid", |server| server.name.as_str());
        findings.impostors = impostor::rows(plan, &own, name).await?;
        Ok(())
    };
    findings.error = tried.await.err();
    findings
}

async fn one(plan: &EdgePlan, own: &Own, server: &Server) -> Result<ServerFindings, String> {
    let timeout = Duration::from_millis(plan.timeout);
    let endpoint = Endpoint { host: server.address.ip().to_string(), port: server.address.port() };
    let mut made = BTreeMap::new();
    for sent in &plan.clients {
        made.insert(sent.row.clone(), sent.identity()?);
    }
    let credentials = Credentials {
        good: Some(own.identity.clone()),
        revoked: made.get("revoked").cloned(),
        roots: own.roots.clone(),
        made,
        ..Credentials::default()
    };
    let target = Target {
        endpoint: endpoint.clone(),
        name: server.name.clone(),
        other_name: None,
        http_path: plan.http_path.clone(),
    };
    let test = Plan {
        only: plan.rows.clone(),
        has_list: plan.has_list,
        timeout,
        ..Plan::new(target, credentials, Expect::Mutual)
    };
    let mut findings =
        ServerFindings { label: server.label.clone(), error: None, served: None, rows: Vec::new() };
    match crate::test::run(test, |_| {}).await {
        Ok(report) => findings.rows = report.rows.iter().map(Seen::from).collect(),
        Err(error) => {
            findings.error = Some(error.to_string());
            return Ok(findings);
        }
    }
    let good = Attempt {
        version: None,
        name: server.name.clone(),
        alpn: Vec::new(),
        client: Some(own.identity.clone()),
        application: Application::Tcp,
        timeout,
    };
    findings.served = attempt(&endpoint, &good).await.facts.chain.first().map(|leaf| leaf.to_vec());
    Ok(findings)
}
