//! Telling a program that its certificate is new: a signal, a command, or an HTTP request.

use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use http_body_util::{BodyExt as _, Empty};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;

use crate::duration::Lifetime;
use crate::failure::Failure;

/// Options of a renewal that tell others.
#[derive(clap::Args)]
pub struct Reload {
    /// Send a signal: PID:HUP, or PIDFILE:HUP.
    #[arg(long, env = "HANDFAST_RELOAD_SIGNAL", value_name = "PID:SIGNAL")]
    reload_signal: Option<String>,
    /// Run a command in the shell.
    #[arg(long, env = "HANDFAST_RELOAD_COMMAND", value_name = "COMMAND")]
    reload_command: Option<String>,
    /// Send POST to an http:// URL.
    #[arg(long, env = "HANDFAST_RELOAD_URL", value_name = "URL")]
    reload_url: Option<String>,
    /// How long the command or the request may take before it is ended and counts as failed.
    #[arg(long, env = "HANDFAST_RELOAD_TIMEOUT", default_value = "30s", value_name = "TIME")]
    reload_timeout: Lifetime,
}

impl Reload {
    /// Finds a wrong option before the first renewal, rather than weeks later.
    pub fn check(&self) -> Result<(), Failure> {
        if let Some(text) = &self.reload_signal {
            split(text)?;
        }
        if let Some(url) = &self.reload_url {
            address(url)?;
        }
        Ok(())
    }

    /// Does all that was asked for; the first failure is the answer, after all were tried.
    pub fn run(&self) -> Result<(), Failure> {
        let signal = self.reload_signal.as_deref().map_or(Ok(()), signal);
        let patience = self.reload_timeout.0.unsigned_abs();
        let command = self.reload_command.as_deref().map_or(Ok(()), |text| command(text, patience));
        let url = self.reload_url.as_deref().map_or(Ok(()), |url| post(url, patience));
        signal.and(command).and(url)
    }
}

fn failed(what: String) -> Failure {
    certs::Error::Reload(what).into()
}

fn split(text: &str) -> Result<(&str, &str), Failure> {
    let (target, signal) = text.rsplit_once(':').unwrap_or((text, "HUP"));
    let name = signal.strip_prefix("SIG").unwrap_or(signal);
    match name {
        "HUP" | "USR1" | "USR2" | "TERM" | "INT" if !target.is_empty() => Ok((target, name)),
        _ => Err(Failure::usage(format!(
            "--reload-signal {text}: it is PID:SIGNAL with HUP, USR1, USR2, INT or TERM"
        ))),
    }
}

fn signal(text: &str) -> Result<(), Failure> {
    let (target, signal) = split(text)?;
    let pid = match target.parse::<u32>() {
        Ok(pid) => pid,
        // Read at each use: the program may have been started anew since.
        Err(_) => std::fs::read_to_string(target)
            .map_err(|e| Failure::reading(Path::new(target), &e))?
            .trim()
            .parse()
            .map_err(|_| failed(format!("{target} holds no process number")))?,
    };
    if pid < 2 {
        return Err(failed(format!("{pid} is no process that could reload a certificate")));
    }
    let status = Command::new("kill").args(["-s", signal, "--", &pid.to_string()]).status();
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(_) => Err(failed(format!("process {pid} could not be sent {signal}"))),
        Err(error) => Err(failed(format!("kill could not be run: {error}"))),
    }
}

fn command(text: &str, patience: Duration) -> Result<(), Failure> {
    let failed_to_run =
        |error: std::io::Error| failed(format!("the reload command could not be run: {error}"));
    let mut child = Command::new("sh")
        .args(["-c", text])
        .stdin(Stdio::null())
        // The command's output is for people: stdout belongs to our own data.
        .stdout(std::io::stderr())
        // A group of its own, so that what it started can be ended with it.
        .process_group(0)
        .spawn()
        .map_err(failed_to_run)?;
    let begun = Instant::now();
    loop {
        match child.try_wait().map_err(failed_to_run)? {
            Some(status) if status.success() => return Ok(()),
            Some(status) => return Err(failed(format!("the reload command failed ({status}): {text}"))),
            None if begun.elapsed() < patience => std::thread::sleep(Duration::from_millis(20)),
            None => {
                let group = format!("-{}", child.id());
                let _ = Command::new("kill").args(["-s", "KILL", "--", &group]).status();
                let _ = child.kill();
                let _ = child.wait();
                return Err(failed(format!("the reload command did not end within {patience:?}: {text}")));
            }
        }
    }
}

fn address(url: &str) -> Result<(String, hyper::Uri), Failure> {
    let wrong = || {
        Failure::usage(format!(
            "--reload-url {url}: it is an http:// URL on this machine or a trusted network"
        ))
    };
    let uri: hyper::Uri = url.parse().map_err(|_| wrong())?;
    match (uri.scheme_str(), uri.host()) {
        (Some("http"), Some(host)) => {
            let host = host.trim_matches(['[', ']']).to_owned();
            let port = uri.port_u16().unwrap_or(80);
            let authority =
                if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
            Ok((authority, uri))
        }
        _ => Err(wrong()),
    }
}

/// Sends POST, and wants a 2xx.
pub(crate) fn post(url: &str, patience: Duration) -> Result<(), Failure> {
    let (address, uri) = address(url)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| failed(format!("no runtime: {e}")))?;
    let exchange = async {
        let stream = tokio::net::TcpStream::connect(&address).await.map_err(|e| e.to_string())?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|e| e.to_string())?;
        tokio::spawn(connection);
        let path = uri.path_and_query().map_or("/", hyper::http::uri::PathAndQuery::as_str);
        let request = hyper::Request::post(path)
            .header(hyper::header::HOST, &address)
            .header(hyper::header::CONTENT_LENGTH, "0")
            .body(Empty::<Bytes>::new())
            .map_err(|e| e.to_string())?;
        let response = sender.send_request(request).await.map_err(|e| e.to_string())?;
        let status = response.status();
        let _ = response.into_body().collect().await;
        if status.is_success() { Ok(()) } else { Err(format!("HTTP status {status}")) }
    };
    let result = runtime.block_on(async { tokio::time::timeout(patience, exchange).await });
    match result {
        Ok(Ok(())) => Ok(()),
        Ok(Err(reason)) => Err(failed(format!("POST {url} failed: {reason}"))),
        Err(_) => Err(failed(format!("POST {url} was not answered within {patience:?}"))),
    }
}
