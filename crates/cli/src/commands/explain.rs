//! `handfast explain`: a live handshake as a ladder, a pasted error text, or one of our codes.

mod output;

use std::ffi::OsString;
use std::io::Read as _;
use std::path::PathBuf;
use std::time::Duration;

use clap::ValueEnum;
use model::codes::findings::TEXT_UNKNOWN;
use probe::attempt::Version;
use probe::dial::Endpoint;
use probe::explain::ladder::{self, Options};

use super::Globals;
use super::test::{pair, read_roots, seconds, system_roots};
use crate::failure::{EXIT_FINDINGS, EXIT_OK, EXIT_USAGE, Failure, Outcome};

/// Arguments of `handfast explain`.
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  handfast explain example.com:443\n  handfast explain HF3001\n  \
    handfast explain 'tlsv13 alert certificate required'\n  curl https://... 2>&1 | handfast explain -\n\n\
    Exit codes: 0 nothing is wrong, or the text is explained · 1 the text is not known · \
    2 wrong usage · 3 the handshake shows what is wrong.")]
pub struct Args {
    /// host:port, an error text, a code as in HF3001, or - to read a text from stdin.
    #[arg(required = true, value_name = "WHAT")]
    what: Vec<String>,
    /// The server name to ask for; the host by default.
    #[arg(long, env = "HANDFAST_EXPLAIN_SERVERNAME", value_name = "NAME")]
    servername: Option<String>,
    /// A client certificate (PEM: leaf, then intermediates).
    #[arg(long, env = "HANDFAST_EXPLAIN_CERT", value_name = "FILE", requires = "key")]
    cert: Option<PathBuf>,
    /// Its private key (PEM).
    #[arg(long, env = "HANDFAST_EXPLAIN_KEY", value_name = "FILE", requires = "cert")]
    key: Option<PathBuf>,
    /// Roots to judge the server's certificate by (PEM); the system's store by default.
    #[arg(long, env = "HANDFAST_EXPLAIN_CA", value_name = "FILE")]
    ca: Option<PathBuf>,
    /// Protocols to offer (ALPN), separated by commas.
    #[arg(long, env = "HANDFAST_EXPLAIN_ALPN", value_delimiter = ',', value_name = "NAME")]
    alpn: Vec<String>,
    /// Offer TLS 1.2 only.
    #[arg(long, env = "HANDFAST_EXPLAIN_TLS12", conflicts_with = "tls13")]
    tls12: bool,
    /// Offer TLS 1.3 only.
    #[arg(long, env = "HANDFAST_EXPLAIN_TLS13")]
    tls13: bool,
    /// What follows the handshake.
    #[arg(long, env = "HANDFAST_EXPLAIN_APP", value_enum, default_value = "http")]
    app: App,
    /// The path to request.
    #[arg(long, env = "HANDFAST_EXPLAIN_HTTP_PATH", default_value = "/", value_name = "PATH")]
    http_path: String,
    /// Time for the whole handshake.
    #[arg(long, env = "HANDFAST_EXPLAIN_TIMEOUT", default_value = "10s", value_parser = seconds)]
    timeout: Duration,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum App {
    /// A GET request.
    Http,
    /// Nothing is sent.
    Tcp,
}

/// What the words on the command line mean.
#[derive(Debug, PartialEq, Eq)]
enum Subject {
    Code(&'static model::codes::Code),
    Address(Endpoint),
    Text(String),
}

/// Runs `handfast explain`.
pub fn run(args: Args, globals: &Globals) -> Outcome {
    let mut what = args.what.join(" ");
    if what == "-" {
        what.clear();
        let mut limited = std::io::stdin().lock().take(1 << 20);
        let mut bytes = Vec::new();
        limited
            .read_to_end(&mut bytes)
            .map_err(|error| Failure::reading(std::path::Path::new("stdin"), &error))?;
        return text(&String::from_utf8_lossy(&bytes), globals);
    }
    match subject(&what)? {
        Subject::Code(code) => {
            output::code(code, globals.output)?;
            Ok(EXIT_OK)
        }
        Subject::Text(pasted) => text(&pasted, globals),
        Subject::Address(endpoint) => address(&args, &endpoint, globals),
    }
}

/// Lets a pasted text begin with a hyphen (gnutls-cli's do: `- Status: ...`): no option has a space in it, and a
/// space in front tells it from an option.
pub(super) fn pasted(arguments: impl IntoIterator<Item = OsString>) -> impl Iterator<Item = OsString> {
    let mut is_explain = false;
    arguments.into_iter().map(move |argument| {
        let Some(text) = argument.to_str() else { return argument };
        is_explain |= text == "explain";
        if is_explain && text.starts_with('-') && !text.contains('=') && text.contains(char::is_whitespace) {
            return OsString::from(format!(" {text}"));
        }
        argument
    })
}

/// The full name of an exception or an error class, as in `javax.net.ssl.SSLHandshakeException`.
fn is_class(what: &str) -> bool {
    let last = what.rsplit(['.', ':']).next().unwrap_or_default();
    let begins = last.chars().next().is_some_and(char::is_uppercase);
    begins && (last.ends_with("Exception") || last.ends_with("Error"))
}

/// Tells codes, addresses and texts apart. A single word with a dot, a colon or a slash that reads as an
/// address is one; `ECONNREFUSED`, `NET::ERR_CERT_DATE_INVALID` and the names of exceptions are texts.
fn subject(what: &str) -> Result<Subject, Failure> {
    let what = what.trim();
    let is_code = what.len() == 6
        && what.get(..2).is_some_and(|start| start.eq_ignore_ascii_case("hf"))
        && what.get(2..).is_some_and(|digits| digits.bytes().all(|b| b.is_ascii_digit()));
    if is_code {
        return model::codes::find(what).map(Subject::Code).ok_or_else(|| {
            Failure::usage(format!("there is no code {what}")).fix("codes are in the documentation: docs/")
        });
    }
    if what.is_empty() {
        return Err(Failure::usage("nothing to explain; give an address, an error text or a code"));
    }
    if !what.contains(char::is_whitespace)
        && !is_class(what)
        && (what.contains(['.', ':', '/']) || what == "localhost" || probe::explain::text(what).is_none())
        && let Ok(endpoint) = what.parse()
    {
        return Ok(Subject::Address(endpoint));
    }
    Ok(Subject::Text(what.to_owned()))
}

fn text(pasted: &str, globals: &Globals) -> Outcome {
    // A code of ours in a pasted log line is the most precise explanation there is.
    let ours = pasted
        .split(|c: char| !c.is_ascii_alphanumeric())
        .filter(|word| word.len() == 6)
        .find_map(model::codes::find);
    if let Some(code) = ours {
        output::code(code, globals.output)?;
        return Ok(EXIT_OK);
    }
    let alert = probe::explain::alert_in(pasted);
    match probe::explain::text(pasted) {
        Some(cause) => {
            output::cause(cause, alert, globals.output)?;
            Ok(EXIT_OK)
        }
        None if alert.is_some_and(|alert| alert.name() != "unknown") => {
            output::alert(alert.unwrap_or(probe::alert::Alert(0)), globals.output)?;
            Ok(EXIT_OK)
        }
        None => {
            let shown: String = pasted.trim().chars().take(200).collect();
            Err(Failure::new(&TEXT_UNKNOWN, "this error text is not known").with("text", shown))
        }
    }
}

fn address(args: &Args, endpoint: &Endpoint, globals: &Globals) -> Outcome {
    let version = match (args.tls12, args.tls13) {
        (true, _) => Some(Version::Tls12),
        (_, true) => Some(Version::Tls13),
        _ => None,
    };
    let name = args.servername.clone().unwrap_or_else(|| endpoint.host.clone());
    if rustls::pki_types::ServerName::try_from(name.as_str()).is_err() {
        return Err(Failure::usage(format!("'{name}' is not a server name")).exit(EXIT_USAGE));
    }
    let options = Options {
        name,
        alpn: args.alpn.clone(),
        client: pair(&args.cert, &args.key)?,
        version,
        roots: match &args.ca {
            Some(file) => read_roots(file)?,
            None => system_roots()?,
        },
        http_path: (args.app == App::Http).then(|| args.http_path.clone()),
        timeout: args.timeout,
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(&model::codes::usage::INTERNAL, error))?;
    let ladder = runtime.block_on(ladder::climb(endpoint, &options));
    output::ladder(&ladder, globals.output)?;
    Ok(if ladder.troubles.is_empty() { EXIT_OK } else { EXIT_FINDINGS })
}

#[cfg(test)]
mod tests;
