//! `handfast kube sidecar`: what runs beside an application that cannot do TLS itself, as a native sidecar that
//! `kube wire` adds. Inbound it ends mutual TLS with the pod's server certificate; outbound it shows the pod's client
//! certificate and verifies the server. The files are watched: a renewed certificate needs no restart. Revocation lists
//! are asked from the moment that there are some: a cluster whose controller has not published any is not locked out.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::atomic::{AtomicBool, Ordering};

use controller::names::{CLIENT_MOUNT, LISTS_MOUNT, SERVER_MOUNT, SIDECAR_READY_PORT};
use controller::trust::LISTS_KEY;
use model::policy::ClientPolicy;
use model::snapshot::{
    AccessLog, Bind, CertificateFiles, Endpoint, Host, Identity, Listener, LogTarget, Protocol, Proxy,
    Respond, Route, ServerTls, Service, Snapshot, StreamRoute, TcpListener as Stream, UpstreamTls,
};
use model::units::Span;

use crate::commands::{Globals, serve};
use crate::failure::{Failure, Outcome};
use crate::logging::{self, LogForm};

#[cfg(test)]
mod tests;

/// Arguments of `handfast kube sidecar`.
#[derive(clap::Args)]
#[command(
    after_help = "With KIND http the application learns who calls by the header x-forwarded-client-cert, and \
    such headers from outside are stripped; grpc is the same over HTTP/2; tcp passes bytes on as they are."
)]
pub struct Args {
    /// Mutual TLS on port LISTEN of the pod, plain text to PORT on 127.0.0.1; KIND is http, grpc or tcp.
    #[arg(long, env = "HANDFAST_INBOUND", value_delimiter = ',', value_name = "LISTEN=KIND:PORT")]
    inbound: Vec<Inbound>,
    /// Plain text on a loopback address, mutual TLS to the host, whose certificate must have its name.
    #[arg(long, env = "HANDFAST_OUTBOUND", value_delimiter = ',', value_name = "ADDR=HOST:PORT")]
    outbound: Vec<Outbound>,
    /// Folder of the server's tls.crt, tls.key and ca.crt.
    #[arg(long, env = "HANDFAST_SERVER_DIR", default_value = SERVER_MOUNT, value_name = "DIR")]
    server_dir: PathBuf,
    /// Folder of the client's tls.crt, tls.key and ca.crt.
    #[arg(long, env = "HANDFAST_CLIENT_DIR", default_value = CLIENT_MOUNT, value_name = "DIR")]
    client_dir: PathBuf,
    /// Folder of the revocation lists, crl.pem. While that file is missing revocation is not asked; from the moment that
    /// it is there, whoever no list vouches for is refused.
    #[arg(long, env = "HANDFAST_LISTS_DIR", default_value = LISTS_MOUNT, value_name = "DIR")]
    lists_dir: PathBuf,
    /// Port on which the kubelet asks whether all addresses are open: plain HTTP, one word, and nothing else.
    #[arg(long, env = "HANDFAST_READY_PORT", default_value_t = SIDECAR_READY_PORT, value_name = "PORT")]
    ready_port: u16,
    /// Admin port for /metrics, on loopback.
    #[arg(long, env = "HANDFAST_ADMIN", default_value = "127.0.0.1:15000", value_name = "ADDR")]
    admin: SocketAddr,
    /// How long connections may take to finish at the end.
    #[arg(long, env = "HANDFAST_DRAIN_TIMEOUT", default_value = "20s", value_name = "SPAN")]
    drain_timeout: Span,
    /// Form of the log on stderr. Default: text on a terminal, else JSON.
    #[arg(long, value_enum, env = "HANDFAST_LOG_FORMAT")]
    log_format: Option<LogForm>,
}

/// What the application speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Http,
    Grpc,
    Tcp,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Inbound {
    listen: u16,
    kind: Kind,
    port: u16,
}

impl FromStr for Inbound {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is not LISTEN=KIND:PORT, as in 8443=http:8080");
        let (listen, application) = text.split_once('=').ok_or_else(wrong)?;
        let (kind, port) = application.split_once(':').ok_or_else(wrong)?;
        let kind = match kind {
            "http" => Kind::Http,
            "grpc" => Kind::Grpc,
            "tcp" => Kind::Tcp,
            _ => return Err(wrong()),
        };
        let number = |text: &str| text.parse::<u16>().ok().filter(|port| *port != 0).ok_or_else(wrong);
        let inbound = Self { listen: number(listen)?, kind, port: number(port)? };
        if inbound.listen == inbound.port {
            return Err(format!("{text:?} would send what arrives at port {port} to itself"));
        }
        Ok(inbound)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Outbound {
    listen: SocketAddr,
    host: String,
    port: u16,
}

impl FromStr for Outbound {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is not ADDR=HOST:PORT, as in 127.0.0.2:8080=web.shop.svc:8080");
        let (listen, called) = text.split_once('=').ok_or_else(wrong)?;
        let listen: SocketAddr = listen.parse().map_err(|_| wrong())?;
        // Whoever reaches this address speaks with the pod's identity.
        if !listen.ip().is_loopback() {
            return Err(format!("{listen} is not on loopback: others could call with this pod's identity"));
        }
        let (host, port) = called.rsplit_once(':').ok_or_else(wrong)?;
        let port = port.parse::<u16>().ok().filter(|port| *port != 0).ok_or_else(wrong)?;
        if host.is_empty() {
            return Err(wrong());
        }
        Ok(Self { listen, host: host.to_owned(), port })
    }
}

/// Runs `handfast kube sidecar`.
pub fn run(args: Args, globals: &Globals) -> Outcome {
    logging::init(&globals.log, args.log_format)?;
    let drain_timeout = args.drain_timeout;
    let lists = args.lists_dir.join(LISTS_KEY);
    let seen = AtomicBool::new(false);
    let make = move || {
        // Once there, they stay asked: lists that were taken away make a reload fail, and the last good ones stay.
        let there = seen.load(Ordering::Relaxed) || lists.exists();
        if there && !seen.swap(true, Ordering::Relaxed) {
            tracing::info!("revoked certificates are refused, by {}", lists.display());
        } else if !there {
            tracing::warn!("revocation is not asked: there is no {} yet", lists.display());
        }
        let crl: Vec<PathBuf> = there.then(|| lists.clone()).into_iter().collect();
        Ok((snapshot(&args, &crl)?, vec![lists.clone()]))
    };
    serve::serve_made(Box::new(make), Some(drain_timeout))
}

fn snapshot(args: &Args, crl: &[PathBuf]) -> Result<Snapshot, Failure> {
    if args.inbound.is_empty() && args.outbound.is_empty() {
        return Err(Failure::usage("there is nothing to do: neither --inbound nor --outbound"));
    }
    let mut snapshot = Snapshot { version: 1, admin: Some(args.admin), ..Snapshot::default() };
    for inbound in &args.inbound {
        let name = format!("in-{}", inbound.listen);
        let protocol = if inbound.kind == Kind::Grpc { Protocol::Http2 } else { Protocol::Http1 };
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, inbound.port)).to_string();
        let application = Service { protocol, ..to(address) };
        snapshot.services.insert(name.clone(), application);
        let tls = ServerTls {
            certificates: vec![pair(&args.server_dir)],
            clients: Some(ClientPolicy {
                ca: vec![args.server_dir.join("ca.crt")],
                crl: crl.to_vec(),
                ..ClientPolicy::default()
            }),
            ..ServerTls::default()
        };
        let bind = everywhere(inbound.listen);
        let mut listener = Listener { name: name.clone(), bind, tls: Some(tls), ..Listener::default() };
        if inbound.kind == Kind::Tcp {
            listener.tcp = Some(stream(name));
        } else {
            let service = name.parse().map_err(|error| Failure::usage(format!("{error}")))?;
            let grpc = inbound.kind == Kind::Grpc;
            let proxy = Proxy { service, identity: Identity::Xfcc, grpc, ..Proxy::default() };
            listener.hosts = vec![host(Route { proxy: Some(proxy), ..Route::default() })];
        }
        snapshot.listeners.push(listener);
    }
    for outbound in &args.outbound {
        let name = format!("out-{}", outbound.listen);
        let tls = UpstreamTls {
            ca: vec![args.client_dir.join("ca.crt")],
            crl: crl.to_vec(),
            certificate: Some(pair(&args.client_dir)),
            name: Some(outbound.host.clone()),
            ..UpstreamTls::default()
        };
        let called = Service { tls: Some(tls), ..to(format!("{}:{}", outbound.host, outbound.port)) };
        snapshot.services.insert(name.clone(), called);
        let bind = vec![Bind::Socket(outbound.listen)];
        snapshot.listeners.push(Listener {
            name: name.clone(),
            bind,
            tcp: Some(stream(name)),
            ..Listener::default()
        });
    }
    snapshot.listeners.push(ready(args.ready_port)?);
    Ok(snapshot)
}

/// Answers as soon as every other address is open, for all are opened together.
fn ready(port: u16) -> Result<Listener, Failure> {
    let body = "ready\n".parse().map_err(|error| Failure::usage(format!("{error}")))?;
    let respond = Respond {
        status: 200,
        body,
        content_type: None,
        types: std::collections::BTreeMap::new(),
        builtin_types: false,
    };
    let route = Route { respond: Some(respond), ..Route::default() };
    // Every other second a line of the kubelet's is no news.
    let log = AccessLog { to: LogTarget::Off, ..AccessLog::default() };
    let host = Host { access_log: Some(log), ..host(route) };
    Ok(Listener {
        name: "ready".to_owned(),
        bind: everywhere(port),
        hosts: vec![host],
        ..Listener::default()
    })
}

/// All addresses of the pod; a node without IPv6 has no such socket.
fn everywhere(port: u16) -> Vec<Bind> {
    let v6 = IpAddr::V6(Ipv6Addr::UNSPECIFIED);
    let has_v6 = TcpListener::bind((v6, 0)).is_ok();
    let addresses = [IpAddr::V4(Ipv4Addr::UNSPECIFIED)].into_iter().chain(has_v6.then_some(v6));
    addresses.map(|address| Bind::Socket(SocketAddr::new(address, port))).collect()
}

fn pair(folder: &Path) -> CertificateFiles {
    CertificateFiles { chain: folder.join("tls.crt"), key: folder.join("tls.key"), password_file: None }
}

fn to(address: String) -> Service {
    Service { endpoints: vec![Endpoint { address, ..Endpoint::default() }], ..Service::default() }
}

fn stream(service: String) -> Stream {
    Stream { routes: vec![StreamRoute { names: Vec::new(), service }], ..Stream::default() }
}

fn host(route: Route) -> Host {
    Host { default: true, routes: vec![route], ..Host::default() }
}
