//! What is asked for: a name for the files, the names in the certificate, its usage, key and lifetime.
//! The names here are those that the operator grants; a signing request's own wishes are in `csr`.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use model::identity::SpiffeId;
use time::Duration;

use crate::error::{Error, Result};
use crate::issue::SKEW;
use crate::key::KeyKind;

#[cfg(test)]
mod tests;

/// The lifetime of a leaf where none is asked for.
pub const DEFAULT_LIFETIME: Duration = Duration::days(90);
/// The shortest lifetime: below it, clocks that differ a little make trouble.
pub const SHORTEST_LIFETIME: Duration = Duration::minutes(1);
/// The longest name of a subject (RFC 5280, appendix A: ub-common-name).
const LONGEST_COMMON_NAME: usize = 64;

/// A subject alternative name (RFC 5280, section 4.2.1.6), checked and in its canonical form.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum AltName {
    /// A DNS name in lower case; the first label may be `*`.
    Dns(String),
    /// An IP address.
    Ip(IpAddr),
    /// A URI; a `spiffe://` one is a valid SPIFFE ID.
    Uri(String),
    /// An e-mail address.
    Email(String),
}

impl AltName {
    /// Checks a DNS name: labels of letters, digits, `-` and `_`, at most 63 each and 253 together.
    pub fn dns(text: &str) -> Result<Self> {
        let refuse = |why: &str| Err(Error::Request(format!("{text:?} is no DNS name: {why}")));
        if !text.is_ascii() {
            return refuse("write it in its ASCII form, xn--...");
        }
        let name = text.to_ascii_lowercase();
        let labels = name.strip_prefix("*.").unwrap_or(&name);
        if labels.is_empty() || name.len() > 253 {
            return refuse("it has 1 to 253 characters, without a dot at the end");
        }
        for label in labels.split('.') {
            if label.is_empty() || label.len() > 63 {
                return refuse("each label has 1 to 63 characters");
            }
            if label.contains('*') {
                return refuse("a wildcard is the whole first label, as in *.example.com");
            }
            if label.starts_with('-') || label.ends_with('-') {
                return refuse("a label neither begins nor ends with a hyphen");
            }
            if let Some(c) = label.chars().find(|c| !c.is_ascii_alphanumeric() && *c != '-' && *c != '_') {
                return refuse(&format!("it holds {c:?}"));
            }
        }
        if name.starts_with("*.") && !labels.contains('.') {
            return refuse("a wildcard needs two labels after it; clients refuse *.com");
        }
        if labels.parse::<std::net::Ipv4Addr>().is_ok() {
            return refuse("it is an IP address; give it as one");
        }
        Ok(Self::Dns(name))
    }

    /// Reads an IP address.
    pub fn ip(text: &str) -> Result<Self> {
        text.parse().map(Self::Ip).map_err(|_| Error::Request(format!("{text:?} is no IP address")))
    }

    /// Checks a URI: a scheme, a colon, printable ASCII. A `spiffe:` one must be a valid SPIFFE ID.
    pub fn uri(text: &str) -> Result<Self> {
        let refuse = |why: String| Err(Error::Request(format!("{text:?} is no usable URI: {why}")));
        let Some((scheme, rest)) = text.split_once(':') else {
            return refuse("it has no scheme, as in https://example.com/".into());
        };
        let good = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
            && scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c));
        if !good || rest.is_empty() || !rest.bytes().all(|b| b.is_ascii_graphic()) {
            return refuse("it is a scheme, a colon, and printable ASCII".into());
        }
        if scheme.eq_ignore_ascii_case("spiffe")
            && let Err(reason) = text.parse::<SpiffeId>()
        {
            return refuse(reason.to_string());
        }
        Ok(Self::Uri(text.to_owned()))
    }

    /// Checks an e-mail address: something, an at sign, a DNS name.
    pub fn email(text: &str) -> Result<Self> {
        let refuse = || Error::Request(format!("{text:?} is no e-mail address"));
        let (local, domain) = text.rsplit_once('@').ok_or_else(refuse)?;
        let good = !local.is_empty()
            && local.len() <= 64
            && local.bytes().all(|b| b.is_ascii_graphic() && !b"\"(),:;<>@[\\]".contains(&b));
        match Self::dns(domain) {
            Ok(Self::Dns(domain)) if good && !domain.starts_with('*') => {
                Ok(Self::Email(format!("{local}@{domain}")))
            }
            _ => Err(refuse()),
        }
    }

    /// Guesses the kind as a person would: an address, a URI, an e-mail address, else a DNS name.
    pub fn guess(text: &str) -> Result<Self> {
        if text.parse::<IpAddr>().is_ok() {
            Self::ip(text)
        } else if text.contains("://") {
            Self::uri(text)
        } else if text.contains('@') {
            Self::email(text)
        } else {
            Self::dns(text)
        }
    }

    /// The kind as OpenSSL writes it: `DNS`, `IP`, `URI`, `email`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Dns(_) => "DNS",
            Self::Ip(_) => "IP",
            Self::Uri(_) => "URI",
            Self::Email(_) => "email",
        }
    }

    /// The name without its kind.
    pub fn value(&self) -> String {
        match self {
            Self::Dns(text) | Self::Uri(text) | Self::Email(text) => text.clone(),
            Self::Ip(ip) => ip.to_string(),
        }
    }
}

/// As OpenSSL writes it: `DNS:example.com`.
impl fmt::Display for AltName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.kind(), self.value())
    }
}

/// Reads what `Display` writes.
impl FromStr for AltName {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text.split_once(':') {
            Some(("DNS", name)) => Self::dns(name),
            Some(("IP", ip)) => Self::ip(ip),
            Some(("URI", uri)) => Self::uri(uri),
            Some(("email", email)) => Self::email(email),
            _ => Err(Error::Request(format!("{text:?} is no name of the form KIND:VALUE"))),
        }
    }
}

impl From<&SpiffeId> for AltName {
    fn from(id: &SpiffeId) -> Self {
        Self::Uri(id.to_string())
    }
}

/// What the certificate is for (extended key usage, RFC 5280, section 4.2.1.12).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Usage {
    /// serverAuth.
    Server,
    /// clientAuth.
    Client,
    /// Both, as an X.509-SVID needs (X.509-SVID, section 4.4).
    Both,
}

impl Usage {
    /// What follows from the names: a SPIFFE ID is both; an address or DNS name is a server; else a client.
    pub fn of_names(names: &[AltName]) -> Self {
        if names.iter().any(|name| matches!(name, AltName::Uri(uri) if uri.starts_with("spiffe://"))) {
            Self::Both
        } else if names.iter().any(|name| matches!(name, AltName::Dns(_) | AltName::Ip(_))) {
            Self::Server
        } else {
            Self::Client
        }
    }
}

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Server => "server",
            Self::Client => "client",
            Self::Both => "both",
        })
    }
}

impl FromStr for Usage {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "server" => Ok(Self::Server),
            "client" => Ok(Self::Client),
            "both" => Ok(Self::Both),
            _ => Err(Error::Request(format!("{text:?} is no usage; there are server, client and both"))),
        }
    }
}

/// A request for a leaf certificate, as the operator grants it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The name in the ledger and of the files: letters, digits, `.`, `-`, `_`, `@`, `+`.
    pub name: String,
    /// The subject's common name; `None` leaves the subject empty, which makes the names critical.
    pub common_name: Option<String>,
    /// The subject's organisation.
    pub organization: Option<String>,
    /// The names that are granted; at least one.
    pub names: Vec<AltName>,
    /// What it is for; `None` follows from the names.
    pub usage: Option<Usage>,
    /// The key to make.
    pub key: KeyKind,
    /// How long it is valid; never longer than its issuer.
    pub lifetime: Duration,
    /// How far the start of validity lies back; see [`SKEW`].
    pub backdated: Duration,
}

impl Request {
    /// A request with a name, no alternative names yet, and the defaults: P-256, 90 days.
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            common_name: (name.len() <= LONGEST_COMMON_NAME).then(|| name.to_owned()),
            organization: None,
            names: Vec::new(),
            usage: None,
            key: KeyKind::default(),
            lifetime: DEFAULT_LIFETIME,
            backdated: SKEW,
        }
    }

    /// Adds a name.
    #[must_use]
    pub fn with(mut self, name: AltName) -> Self {
        if !self.names.contains(&name) {
            self.names.push(name);
        }
        self
    }

    /// Sets the usage.
    #[must_use]
    pub fn usage(mut self, usage: Usage) -> Self {
        self.usage = Some(usage);
        self
    }

    /// Sets the kind of key.
    #[must_use]
    pub fn key(mut self, key: KeyKind) -> Self {
        self.key = key;
        self
    }

    /// Sets the lifetime.
    #[must_use]
    pub fn lifetime(mut self, lifetime: Duration) -> Self {
        self.lifetime = lifetime;
        self
    }

    /// What it is for, with the default filled in.
    pub fn effective_usage(&self) -> Usage {
        self.usage.unwrap_or_else(|| Usage::of_names(&self.names))
    }

    /// Checks what can be checked without an issuer.
    pub fn check(&self) -> Result<()> {
        let refuse = |why: String| Err(Error::Request(why));
        check_file_name(&self.name)?;
        for (what, text) in [("common name", &self.common_name), ("organisation", &self.organization)] {
            let Some(text) = text else { continue };
            let length = text.chars().count();
            if !(1..=LONGEST_COMMON_NAME).contains(&length) || text.chars().any(char::is_control) {
                return refuse(format!(
                    "the {what} has 1 to 64 characters, none of them a control character"
                ));
            }
        }
        if self.names.is_empty() {
            return refuse(
                "a certificate without a subject alternative name is accepted by nobody; \
                 give --dns, --ip, --uri, --spiffe or --email"
                    .into(),
            );
        }
        let uris = self.names.iter().filter(|name| matches!(name, AltName::Uri(_))).count();
        let spiffe =
            self.names.iter().any(|name| matches!(name, AltName::Uri(uri) if uri.starts_with("spiffe:")));
        if spiffe && uris > 1 {
            return refuse(
                "a certificate with a SPIFFE ID has exactly one URI name (X.509-SVID, section 2)".into(),
            );
        }
        if self.lifetime < SHORTEST_LIFETIME {
            return refuse("the lifetime is one minute at least".into());
        }
        Ok(())
    }
}

/// A name becomes part of a path: it must not lead out of its folder, nor hide.
pub fn check_file_name(name: &str) -> Result<()> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "._-@+".contains(c);
    if name.is_empty() || name.len() > 128 || name.starts_with(['.', '-']) || !name.chars().all(allowed) {
        return Err(Error::Request(format!(
            "{name:?} is no usable name: 1 to 128 letters, digits, dots, hyphens, underscores, @ or +, \
             not beginning with a dot or a hyphen"
        )));
    }
    Ok(())
}
