//! The configuration of the two sites, as the user could have written it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use model::pattern::PathPattern;
use model::policy::{ClientPolicy, PeerRule, SpiffeRule};
use model::snapshot::{
    AccessLog, ActiveHealth, Bind, CertificateFiles, Endpoint, Host, Identity, Listener, LogTarget, Proxy,
    Route, ServerTls, Service, Snapshot,
};

use super::credentials::{ALLOWED, Credentials, SITE};
use crate::failure::Failure;

/// Name of the service, the application behind both sites.
const APPLICATION: &str = "notice-board";

/// One-way TLS on `one_way`, mutual TLS on `mutual`, both in front of the application.
///
/// No HSTS: a browser would keep it for `localhost` as a whole, and refuse plain HTTP on every other local port.
/// The files are named relative to `dir`, where the configuration is written.
pub fn snapshot(
    dir: &Path,
    credentials: &Credentials,
    one_way: SocketAddr,
    mutual: SocketAddr,
    application: SocketAddr,
    admin: Option<SocketAddr>,
    log: &Path,
) -> Result<Snapshot, Failure> {
    let clients = ClientPolicy {
        ca: vec![within(dir, &credentials.bundle)],
        crl: vec![within(dir, &credentials.lists)],
        allow: vec![PeerRule {
            spiffe: Some(SpiffeRule {
                trust_domain: Some(credentials.trust_domain.to_string()),
                namespace: Some(model::identity::LOCAL_NAMESPACE.to_owned()),
                service_account: Some(ALLOWED.to_owned()),
            }),
            ..PeerRule::default()
        }],
        ..ClientPolicy::default()
    };
    let certificate = CertificateFiles {
        chain: within(dir, &credentials.site.certificate),
        key: within(dir, &credentials.site.key),
        password_file: None,
    };
    let service = Service {
        endpoints: vec![Endpoint { address: application.to_string(), ..Endpoint::default() }],
        active_health: Some(ActiveHealth::default()),
        ..Service::default()
    };
    Ok(Snapshot {
        version: 1,
        admin,
        access_log: AccessLog { to: LogTarget::File(within(dir, log)), ..AccessLog::default() },
        listeners: vec![
            listener("one-way", one_way, certificate.clone(), None)?,
            listener("mutual", mutual, certificate, Some(clients))?,
        ],
        services: [(APPLICATION.to_owned(), service)].into(),
        ..Snapshot::default()
    })
}

fn within(dir: &Path, file: &Path) -> PathBuf {
    file.strip_prefix(dir).unwrap_or(file).to_owned()
}

fn listener(
    name: &str,
    address: SocketAddr,
    certificate: CertificateFiles,
    clients: Option<ClientPolicy>,
) -> Result<Listener, Failure> {
    let route = Route {
        path: PathPattern::default(),
        proxy: Some(Proxy {
            service: APPLICATION.parse().map_err(Failure::usage)?,
            identity: Identity::Xfcc,
            ..Proxy::default()
        }),
        ..Route::default()
    };
    let site = SITE.parse().map_err(|error| Failure::usage(format!("{error}")))?;
    Ok(Listener {
        name: name.to_owned(),
        bind: vec![Bind::Socket(address)],
        tls: Some(ServerTls { certificates: vec![certificate], clients, ..ServerTls::default() }),
        hosts: vec![Host { names: vec![site], default: true, routes: vec![route], ..Host::default() }],
        ..Listener::default()
    })
}
