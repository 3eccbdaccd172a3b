//! When a container counts as ready: its probe is tried from this machine, as kubelet does; where the pod has a network of
//! its own, from inside of it, where nothing is redirected.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use manifests::folder::{Check, Readiness, expand};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::network::Sandbox;

/// So much of an answer is read at most.
const LONGEST: u64 = 64 << 10;

/// What a probe needs to know of its container.
pub struct Of<'a> {
    /// The pod's address.
    pub address: IpAddr,
    /// The container's variables.
    pub variables: &'a BTreeMap<String, String>,
    /// The folder that it runs in.
    pub folder: &'a Path,
    /// What its pod has for itself.
    pub sandbox: Option<&'a Sandbox>,
}

impl Of<'_> {
    async fn connect(&self, host: Option<&str>, port: u16) -> io::Result<TcpStream> {
        let host = host.map_or_else(|| self.address.to_string(), str::to_owned);
        let Some(sandbox) = self.sandbox else { return TcpStream::connect((host, port)).await };
        let no_address = || io::Error::new(io::ErrorKind::InvalidInput, "names are not known from here");
        let address = match host.as_str() {
            "localhost" => IpAddr::from([127, 0, 0, 1]),
            host => host.parse().map_err(|_| no_address())?,
        };
        sandbox.connect(SocketAddr::new(address, port)).await
    }
}

/// Tries for ever; tells of each change.
pub async fn keep(readiness: &Readiness, of: &Of<'_>, mut tell: impl FnMut(bool)) {
    tokio::time::sleep(readiness.initial_delay).await;
    let (mut ready, mut successes, mut failures) = (false, 0, 0);
    loop {
        let good = tokio::time::timeout(readiness.timeout, check(&readiness.check, of)).await == Ok(true);
        (successes, failures) = if good { (successes + 1, 0) } else { (0, failures + 1) };
        if !ready && successes >= readiness.successes || ready && failures >= readiness.failures {
            ready = !ready;
            tell(ready);
        }
        // Until it is ready for the first time, it is waited for: kubelet's ten seconds are long for a developer.
        let pause = if ready { readiness.period } else { readiness.period.min(Duration::from_millis(250)) };
        tokio::time::sleep(pause).await;
    }
}

async fn check(check: &Check, of: &Of<'_>) -> bool {
    match check {
        Check::Tcp { host, port } => of.connect(host.as_deref(), *port).await.is_ok(),
        // An application's own TLS is proven elsewhere; here it counts that it answers.
        Check::Http { tls: true, host, port, .. } => of.connect(host.as_deref(), *port).await.is_ok(),
        Check::Http { tls: false, host, port, path, headers } => {
            let name = host.clone().unwrap_or_else(|| of.address.to_string());
            let mut head = format!("GET {path} HTTP/1.1\r\nhost: {name}:{port}\r\nconnection: close\r\n");
            for (name, value) in headers {
                head.push_str(&format!("{name}: {value}\r\n"));
            }
            head.push_str("\r\n");
            let answer = async { http(of.connect(host.as_deref(), *port).await?, &head).await };
            matches!(answer.await, Ok(200..=399))
        }
        Check::Exec(command) => {
            let known = |name: &str| of.variables.get(name).map(String::as_str);
            let words: Vec<String> = command.iter().map(|word| expand(word, known)).collect();
            let Some((program, rest)) = words.split_first() else { return false };
            let mut command = tokio::process::Command::new(program);
            command
                .args(rest)
                .current_dir(of.folder)
                .env_clear()
                .envs(super::processes::inherited())
                .envs(of.variables)
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .kill_on_drop(true);
            let Ok(mut child) = super::processes::start(command, of.sandbox) else { return false };
            child.wait().await.is_ok_and(|status| status.success())
        }
    }
}

async fn http(mut socket: TcpStream, head: &str) -> io::Result<u16> {
    socket.write_all(head.as_bytes()).await?;
    // To its end, as kubelet does: an application that is cut off in the middle of its answer complains of that.
    let mut answer = Vec::new();
    socket.take(LONGEST).read_to_end(&mut answer).await?;
    // "HTTP/1.1 200"
    let start = answer.get(..12).and_then(|start| std::str::from_utf8(start).ok());
    Ok(start.and_then(|text| text.get(9..12)?.parse().ok()).unwrap_or_default())
}
