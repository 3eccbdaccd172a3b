//! One listener from flags, without a file.

use std::path::PathBuf;

use model::policy::ClientPolicy;
use model::snapshot::{
    Binds, CertificateFiles, Endpoint, Files, Host, Listener, Proxy, Route, ServerTls, Service, Snapshot,
    StreamRoute, TcpListener, UpstreamTls,
};

use crate::failure::Failure;

/// Flags for one listener.
#[derive(clap::Args)]
#[command(next_help_heading = "One listener without a file")]
pub struct Quick {
    /// Address to listen on: 127.0.0.1:8443, :8443, unix:/path.
    #[arg(long, value_name = "ADDR", env = "HANDFAST_LISTEN")]
    listen: Vec<Binds>,
    /// Certificate chain, PEM: the leaf, then its intermediates.
    #[arg(long, value_name = "FILE", env = "HANDFAST_CERT")]
    cert: Option<PathBuf>,
    /// Private key, PEM.
    #[arg(long, value_name = "FILE", env = "HANDFAST_KEY")]
    key: Option<PathBuf>,
    /// The application: host:port, https://host:port (verified), unix:/path.
    #[arg(long, value_name = "ADDR", env = "HANDFAST_TO")]
    to: Option<String>,
    /// Authority of the application's certificate, where --to is https. Default: the system's.
    #[arg(long, value_name = "FILE", env = "HANDFAST_TO_CA")]
    to_ca: Vec<PathBuf>,
    /// Client certificates are required, from this authority (PEM).
    #[arg(long, value_name = "FILE", env = "HANDFAST_CLIENT_CA")]
    client_ca: Vec<PathBuf>,
    /// Files of this folder answer, in place of an application.
    #[arg(long, value_name = "DIR", env = "HANDFAST_ROOT")]
    root: Option<PathBuf>,
    /// The application is not HTTP: bytes are passed on as they are.
    #[arg(long, env = "HANDFAST_TCP")]
    tcp: bool,
}

impl Quick {
    /// Whether flags of this kind were given.
    pub fn is_given(&self) -> bool {
        !self.listen.is_empty()
    }

    /// The snapshot of these flags.
    pub fn snapshot(&self) -> Result<Snapshot, Failure> {
        let tls = match (&self.cert, &self.key) {
            (Some(chain), key) => Some(ServerTls {
                certificates: vec![CertificateFiles {
                    chain: chain.clone(),
                    // The key may stand in the same file.
                    key: key.clone().unwrap_or_else(|| chain.clone()),
                    password_file: None,
                }],
                clients: (!self.client_ca.is_empty())
                    .then(|| ClientPolicy { ca: self.client_ca.clone(), ..ClientPolicy::default() }),
                ..ServerTls::default()
            }),
            (None, None) if self.client_ca.is_empty() => None,
            (None, None) => return Err(Failure::usage("--client-ca needs --cert and --key")),
            (None, Some(_)) => return Err(Failure::usage("--key needs --cert")),
        };
        let mut snapshot = Snapshot { version: 1, ..Snapshot::default() };
        let bind = self.listen.iter().flat_map(|binds| binds.0.clone()).collect();
        let mut listener = Listener { name: "main".to_owned(), bind, tls, ..Listener::default() };
        match (&self.to, &self.root) {
            (Some(to), None) => {
                snapshot.services.insert("app".to_owned(), self.service(to));
                if self.tcp {
                    let route = StreamRoute { names: Vec::new(), service: "app".to_owned() };
                    listener.tcp = Some(TcpListener { routes: vec![route], ..TcpListener::default() });
                } else {
                    let service = "app".parse().map_err(|error| Failure::usage(format!("{error}")))?;
                    let proxy = Proxy { service, ..Proxy::default() };
                    listener.hosts = vec![host(Route { proxy: Some(proxy), ..Route::default() })];
                }
            }
            (None, Some(root)) if !self.tcp => {
                let root = root
                    .canonicalize()
                    .map_err(|error| Failure::reading(root, &error))?
                    .display()
                    .to_string()
                    .replace('$', "$$");
                let root = root.parse().map_err(|error| Failure::usage(format!("--root: {error}")))?;
                let files = Files { root: Some(root), ..Files::default() };
                listener.hosts = vec![host(Route { files: Some(files), ..Route::default() })];
            }
            _ => return Err(Failure::usage("--listen needs either --to ADDR or --root DIR")),
        }
        snapshot.listeners.push(listener);
        Ok(snapshot)
    }

    fn service(&self, to: &str) -> Service {
        let (address, tls) = match to.strip_prefix("https://") {
            Some(address) => {
                let tls = UpstreamTls { ca: self.to_ca.clone(), ..UpstreamTls::default() };
                (address.trim_end_matches('/'), Some(tls))
            }
            None => (to.strip_prefix("http://").unwrap_or(to).trim_end_matches('/'), None),
        };
        let endpoint = Endpoint { address: address.to_owned(), ..Endpoint::default() };
        Service { endpoints: vec![endpoint], tls, ..Service::default() }
    }
}

fn host(route: Route) -> Host {
    Host { default: true, routes: vec![route], ..Host::default() }
}
