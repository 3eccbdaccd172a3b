//! Finds the virtual host for a name: exact, then the longest `*.x`, then the longest `x.*`, then the first
//! regular expression, then the default. The same index answers for SNI and for the Host header.

use std::collections::HashMap;

use model::snapshot::{Host, NamePattern};

#[cfg(test)]
mod tests;

/// Names of one listener's hosts, compiled.
#[derive(Debug, Default)]
pub struct HostIndex {
    exact: HashMap<String, usize>,
    suffix: HashMap<String, usize>,
    prefix: HashMap<String, usize>,
    regex: Vec<(regex::Regex, usize)>,
    default: Option<usize>,
}

/// The host that was found, as its index in the listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// Index in `listener.hosts`.
    pub host: usize,
    /// Whether a name matched, rather than the default taking it.
    pub by_name: bool,
}

impl HostIndex {
    /// Indexes the hosts of a listener. Where two hosts have the same name, the first one keeps it, as in nginx.
    pub fn new(hosts: &[Host]) -> Self {
        let mut index = Self::default();
        for (number, host) in hosts.iter().enumerate() {
            if host.default && index.default.is_none() {
                index.default = Some(number);
            }
            for name in &host.names {
                match name {
                    NamePattern::Exact(name) => {
                        index.exact.entry(name.clone()).or_insert(number);
                    }
                    NamePattern::Suffix(name) => {
                        index.suffix.entry(name.clone()).or_insert(number);
                    }
                    NamePattern::SuffixOrSelf(name) => {
                        index.exact.entry(name.clone()).or_insert(number);
                        index.suffix.entry(name.clone()).or_insert(number);
                    }
                    NamePattern::Prefix(name) => {
                        index.prefix.entry(name.clone()).or_insert(number);
                    }
                    NamePattern::Regex(regex) => index.regex.push((regex.clone(), number)),
                }
            }
        }
        if index.default.is_none() && !hosts.is_empty() {
            index.default = Some(0);
        }
        index
    }

    /// The host for a name in lower case without port or trailing dot; the default for what no host has.
    /// `None` only where the listener has no host at all.
    pub fn find(&self, name: &str) -> Option<Found> {
        if let Some(host) = self.by_name(name) {
            return Some(Found { host, by_name: true });
        }
        self.default.map(|host| Found { host, by_name: false })
    }

    /// The regular expression by which a host was found, for its captures.
    pub fn regex_of(&self, name: &str) -> Option<&regex::Regex> {
        if self.by_plain_name(name).is_some() {
            return None;
        }
        self.regex.iter().map(|(regex, _)| regex).find(|regex| regex.is_match(name))
    }

    fn by_name(&self, name: &str) -> Option<usize> {
        self.by_plain_name(name)
            .or_else(|| self.regex.iter().find(|(regex, _)| regex.is_match(name)).map(|(_, host)| *host))
    }

    fn by_plain_name(&self, name: &str) -> Option<usize> {
        if name.is_empty() {
            return self.exact.get("").copied();
        }
        if let Some(host) = self.exact.get(name) {
            return Some(*host);
        }
        if !self.suffix.is_empty() {
            let mut rest = name;
            while let Some((_, tail)) = rest.split_once('.') {
                if let Some(host) = self.suffix.get(tail) {
                    return Some(*host);
                }
                rest = tail;
            }
        }
        if !self.prefix.is_empty() {
            let mut rest = name;
            while let Some((head, _)) = rest.rsplit_once('.') {
                if let Some(host) = self.prefix.get(head) {
                    return Some(*host);
                }
                rest = head;
            }
        }
        None
    }
}

/// Why the value of a Host header (or `:authority`) is refused with 400.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the host is malformed")]
pub struct HostError;

/// Splits an authority into its host, in lower case without a trailing dot, and its port. User information,
/// spaces, slashes, empty labels and anything else outside of RFC 3986's `host` are refused.
pub fn split_authority(authority: &str) -> Result<(std::borrow::Cow<'_, str>, Option<u16>), HostError> {
    let (host, port) = if authority.starts_with('[') {
        let end = authority.find(']').ok_or(HostError)?;
        let (host, rest) = authority.split_at(end + 1);
        host[1..end].parse::<std::net::Ipv6Addr>().map_err(|_| HostError)?;
        (host, rest)
    } else {
        let end = authority.find(':').unwrap_or(authority.len());
        let (host, rest) = authority.split_at(end);
        let fine = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'~' | b'*' | b'+');
        if !host.bytes().all(fine) || host.contains("..") || host.starts_with('.') {
            return Err(HostError);
        }
        (host.strip_suffix('.').unwrap_or(host), rest)
    };
    let port = match port.strip_prefix(':') {
        None if port.is_empty() => None,
        Some("") => None,
        Some(digits) if digits.len() <= 5 && digits.bytes().all(|b| b.is_ascii_digit()) => {
            Some(digits.parse().map_err(|_| HostError)?)
        }
        _ => return Err(HostError),
    };
    let host = if host.bytes().any(|b| b.is_ascii_uppercase()) {
        host.to_ascii_lowercase().into()
    } else {
        host.into()
    };
    Ok((host, port))
}
