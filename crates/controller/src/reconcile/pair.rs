//! What a Secret of ours holds now. Others can write into it: everything is checked.

use std::collections::BTreeMap;

use certs::{KeyKind, PrivateKey, Serial, Usage, certificates_of_pem, inspect};
use k8s_openapi::ByteString;
use time::OffsetDateTime;

/// A certificate and its key that belong together.
#[derive(Debug)]
pub struct Pair {
    /// Leaf first.
    pub chain: Vec<Vec<u8>>,
    /// The key.
    pub key: PrivateKey,
    /// Serial number.
    pub serial: Serial,
    /// Names, `DNS:web`, sorted.
    pub names: Vec<String>,
    /// Extended key usage; `None` for any other set of them.
    pub usage: Option<Usage>,
    /// Start of validity.
    pub not_before: OffsetDateTime,
    /// End of validity.
    pub not_after: OffsetDateTime,
}

impl Pair {
    /// Reads `tls.crt` and `tls.key`.
    ///
    /// # Errors
    ///
    /// Why they are no good, in a few words that follow "the Secret".
    pub fn read(data: &BTreeMap<String, ByteString>) -> Result<Self, String> {
        let text = |key: &str| match data.get(key) {
            Some(value) if !value.0.is_empty() => {
                std::str::from_utf8(&value.0).map_err(|_| format!("holds a {key} that is no text"))
            }
            _ => Err(format!("holds no {key}")),
        };
        let chain =
            certificates_of_pem(text("tls.crt")?).map_err(|_| "holds a damaged tls.crt".to_owned())?;
        let leaf = chain.first().ok_or("holds no certificate in tls.crt")?;
        let seen = inspect::certificate(leaf).map_err(|_| "holds a damaged tls.crt".to_owned())?;
        // The reason is not quoted: whatever lies there instead of a key may be secret.
        let key =
            PrivateKey::from_pem(text("tls.key")?, None).map_err(|_| "holds a damaged tls.key".to_owned())?;
        if inspect::pin(&key.public_key_info()) != seen.spki_pin {
            return Err("holds a key that does not belong to its certificate".to_owned());
        }
        let date = |unix| {
            OffsetDateTime::from_unix_timestamp(unix).map_err(|_| "holds a damaged tls.crt".to_owned())
        };
        let mut names: Vec<String> = seen.names.iter().map(ToString::to_string).collect();
        names.sort_unstable();
        Ok(Self {
            serial: seen
                .serial
                .parse()
                .map_err(|_| "holds a certificate without a serial number".to_owned())?,
            usage: match seen.extended_key_usage.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
                ["serverAuth"] => Some(Usage::Server),
                ["clientAuth"] => Some(Usage::Client),
                ["serverAuth", "clientAuth"] | ["clientAuth", "serverAuth"] => Some(Usage::Both),
                _ => None,
            },
            not_before: date(seen.not_before_unix)?,
            not_after: date(seen.not_after_unix)?,
            names,
            chain,
            key,
        })
    }

    /// Kind of the key.
    pub fn kind(&self) -> KeyKind {
        self.key.kind()
    }

    /// When it should be renewed. The jitter comes from the serial number, so that the answer is the same after a
    /// restart.
    pub fn renew_at(&self) -> OffsetDateTime {
        let jitter = self.serial.as_bytes().last().copied().unwrap_or(0);
        let issued = self.not_before + certs::issue::SKEW;
        let at = certs::renew_at(issued.min(self.not_after), self.not_after, jitter);
        at.replace_nanosecond(0).unwrap_or(at)
    }
}
