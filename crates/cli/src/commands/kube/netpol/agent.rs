//! What runs in the probe pods: listens on the ports of the workload that it stands for, and dials others. Its
//! answer holds the token of this run, so that nothing else that accepts connections is taken for it.

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::time::{sleep, timeout};

use super::listing;
use crate::failure::{EXIT_FAILED, EXIT_OK, Failure, Outcome};

/// Arguments of the agent.
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Answer on these ports until the time is over.
    Listen {
        /// What to answer.
        #[arg(long, env = "HANDFAST_AGENT_TOKEN")]
        token: String,
        /// TCP ports.
        #[arg(long, env = "HANDFAST_AGENT_TCP", value_delimiter = ',')]
        tcp: Vec<u16>,
        /// UDP ports.
        #[arg(long, env = "HANDFAST_AGENT_UDP", value_delimiter = ',')]
        udp: Vec<u16>,
        /// When to end.
        #[arg(long, env = "HANDFAST_AGENT_SECONDS", default_value_t = 300)]
        seconds: u64,
    },
    /// Try each target once, all at the same time, and print a JSON list.
    Dial {
        /// What the other end has to answer.
        #[arg(long, env = "HANDFAST_AGENT_TOKEN")]
        token: String,
        /// Time for each.
        #[arg(long, env = "HANDFAST_AGENT_MILLISECONDS", default_value_t = 2000)]
        milliseconds: u64,
        /// tcp:ADDRESS:PORT, udp:ADDRESS:PORT or dns:NAME.
        targets: Vec<String>,
    },
}

/// How a target behaved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Seen {
    /// The other end answered with the token; a name was resolved.
    Answered,
    /// Something accepted the connection, but it was not the probe.
    Open,
    /// Refused: a reset, or an ICMP message.
    Refused,
    /// Nothing came back.
    Silent,
    /// This end could not even try.
    Failed,
}

/// One target's result.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Dialled {
    pub(super) target: String,
    pub(super) seen: Seen,
    pub(super) detail: String,
    pub(super) milliseconds: u64,
}

/// Runs the agent.
pub fn run(args: Args) -> Outcome {
    listing::block(async {
        match args.command {
            Command::Listen { token, tcp, udp, seconds } => listen(token, tcp, udp, seconds).await,
            Command::Dial { token, milliseconds, targets } => {
                let patience = Duration::from_millis(milliseconds);
                let all = targets.into_iter().map(|target| dial(target, &token, patience));
                let results = futures_util::future::join_all(all).await;
                let text = serde_json::to_string(&results)
                    .map_err(|error| Failure::new(&model::codes::usage::INTERNAL, error))?;
                println!("{text}");
                Ok(EXIT_OK)
            }
        }
    })
}

async fn listen(token: String, tcp: Vec<u16>, udp: Vec<u16>, seconds: u64) -> Outcome {
    for port in &tcp {
        let listener = match TcpListener::bind((Ipv6Addr::UNSPECIFIED, *port)).await {
            Ok(listener) => Ok(listener),
            Err(_) => TcpListener::bind((Ipv4Addr::UNSPECIFIED, *port)).await,
        };
        match listener {
            Ok(listener) => drop(tokio::spawn(answer_tcp(listener, token.clone()))),
            Err(error) => return not_listening("TCP", *port, &error),
        }
    }
    for port in &udp {
        let socket = match UdpSocket::bind((Ipv6Addr::UNSPECIFIED, *port)).await {
            Ok(socket) => Ok(socket),
            Err(_) => UdpSocket::bind((Ipv4Addr::UNSPECIFIED, *port)).await,
        };
        match socket {
            Ok(socket) => drop(tokio::spawn(answer_udp(socket, token.clone()))),
            Err(error) => return not_listening("UDP", *port, &error),
        }
    }
    println!("{}", serde_json::json!({ "listening": { "tcp": tcp, "udp": udp } }));
    // The first process of a pod has no default action for signals: it has to ask for the end.
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())
        .map_err(|error| Failure::new(&model::codes::usage::INTERNAL, error))?;
    tokio::select! {
        () = sleep(Duration::from_secs(seconds)) => {}
        _ = terminate.recv() => {}
    }
    Ok(EXIT_OK)
}

fn not_listening(protocol: &str, port: u16, error: &std::io::Error) -> Outcome {
    println!("{}", serde_json::json!({ "error": format!("cannot listen on {protocol} {port}: {error}") }));
    Ok(EXIT_FAILED)
}

async fn answer_tcp(listener: TcpListener, token: String) {
    loop {
        match listener.accept().await {
            Ok((mut stream, _)) => {
                let token = token.clone();
                tokio::spawn(async move {
                    let _ = timeout(Duration::from_secs(5), async {
                        stream.write_all(token.as_bytes()).await?;
                        stream.shutdown().await
                    })
                    .await;
                });
            }
            Err(_) => sleep(Duration::from_millis(50)).await,
        }
    }
}

async fn answer_udp(socket: UdpSocket, token: String) {
    let mut buffer = [0; 64];
    loop {
        match socket.recv_from(&mut buffer).await {
            Ok((_, peer)) => drop(socket.send_to(token.as_bytes(), peer).await),
            Err(_) => sleep(Duration::from_millis(50)).await,
        }
    }
}

async fn dial(target: String, token: &str, patience: Duration) -> Dialled {
    let start = Instant::now();
    let (seen, detail) = match target.split_once(':') {
        Some(("tcp", address)) => match address.parse() {
            Ok(address) => tcp(address, token, patience).await,
            Err(_) => (Seen::Failed, "no address".to_owned()),
        },
        Some(("udp", address)) => match address.parse() {
            Ok(address) => udp(address, token, patience).await,
            Err(_) => (Seen::Failed, "no address".to_owned()),
        },
        Some(("dns", name)) => dns(name, patience).await,
        _ => (Seen::Failed, "no target".to_owned()),
    };
    let milliseconds = u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX);
    Dialled { target, seen, detail, milliseconds }
}

async fn tcp(address: SocketAddr, token: &str, patience: Duration) -> (Seen, String) {
    let mut stream = match timeout(patience, TcpStream::connect(address)).await {
        Err(_) => return (Seen::Silent, "no answer to the connection".to_owned()),
        Ok(Err(error)) => return of_error(&error),
        Ok(Ok(stream)) => stream,
    };
    let mut answer = Vec::new();
    let mut limited = (&mut stream).take(256);
    match timeout(patience, limited.read_to_end(&mut answer)).await {
        Ok(Ok(_)) if answer == token.as_bytes() => (Seen::Answered, "answered".to_owned()),
        _ => (Seen::Open, "accepted, but not by the probe".to_owned()),
    }
}

async fn udp(address: SocketAddr, token: &str, patience: Duration) -> (Seen, String) {
    let local: IpAddr = match address {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = match UdpSocket::bind((local, 0)).await {
        Ok(socket) => socket,
        Err(error) => return (Seen::Failed, error.to_string()),
    };
    let exchange = async {
        socket.connect(address).await?;
        let mut buffer = [0; 256];
        loop {
            socket.send(b"?").await?;
            // A datagram may be lost; a policy loses all of them.
            if let Ok(received) = timeout(Duration::from_millis(300), socket.recv(&mut buffer)).await {
                return received.map(|length| buffer[..length] == *token.as_bytes());
            }
        }
    };
    match timeout(patience, exchange).await {
        Err(_) => (Seen::Silent, "no answer to any datagram".to_owned()),
        Ok(Err(error)) => of_error(&error),
        Ok(Ok(true)) => (Seen::Answered, "answered".to_owned()),
        Ok(Ok(false)) => (Seen::Open, "answered, but not by the probe".to_owned()),
    }
}

async fn dns(name: &str, patience: Duration) -> (Seen, String) {
    match timeout(patience.max(Duration::from_secs(6)), tokio::net::lookup_host((name, 0))).await {
        Err(_) => (Seen::Silent, "the name server does not answer".to_owned()),
        Ok(Err(error)) => (Seen::Silent, error.to_string()),
        Ok(Ok(mut addresses)) => match addresses.next() {
            Some(address) => (Seen::Answered, address.ip().to_string()),
            None => (Seen::Silent, "no address".to_owned()),
        },
    }
}

fn of_error(error: &std::io::Error) -> (Seen, String) {
    let seen = match error.kind() {
        ErrorKind::TimedOut => Seen::Silent,
        ErrorKind::ConnectionRefused
        | ErrorKind::ConnectionReset
        | ErrorKind::HostUnreachable
        | ErrorKind::NetworkUnreachable
        // What the kernel makes of "administratively prohibited", and of a rule of the pod's own namespace.
        | ErrorKind::PermissionDenied => Seen::Refused,
        _ => Seen::Failed,
    };
    (seen, error.to_string())
}
