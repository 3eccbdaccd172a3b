//! Certificate signing requests (PKCS #10, RFC 2986): those of others are read, their own signature verified, and
//! shown; one of our own is made. Nothing in one is granted by being asked for (invariant 8): the operator's names are.

use rcgen::{CertificateParams, PublicKeyData, SubjectPublicKeyInfo};
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::prelude::FromDer as _;

use crate::error::{Error, Result};
use crate::formats::tlv;
use crate::issue::san;
use crate::key::PrivateKey;
use crate::request::AltName;
use crate::verify::key_strength;

#[cfg(test)]
mod tests;

/// More than this is no signing request, but an attempt to use up memory.
const LARGEST: usize = 64 * 1024;

/// A signing request whose own signature is right.
#[derive(Debug)]
pub struct Csr {
    /// The subject that it asks for.
    pub subject: String,
    /// The names that it asks for and that could be granted.
    pub names: Vec<AltName>,
    /// What it asks for besides, in words: odd names, usages, being an authority.
    pub other: Vec<String>,
    /// Its key, as in `EC P-256`.
    pub key: String,
    public_key: SubjectPublicKeyInfo,
}

impl Csr {
    /// A request for these names, signed with the key that is to be certified, PEM. Its subject is empty.
    ///
    /// # Errors
    ///
    /// When a name cannot be written, or nothing can be signed.
    pub fn request(key: &PrivateKey, names: &[AltName]) -> Result<String> {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.subject_alt_names = names.iter().map(san).collect::<Result<_>>()?;
        let made = params.serialize_request(key).and_then(|request| request.pem());
        made.map_err(|error| Error::Signing(error.to_string()))
    }

    /// Reads PEM or DER, and verifies that the asker has the key.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        let refuse = |why: &str| Error::Csr(why.to_owned());
        if bytes.len() > LARGEST {
            return Err(refuse("it is larger than 64 KiB"));
        }
        match std::str::from_utf8(bytes) {
            Ok(text) if text.contains("-----BEGIN") => {
                let sections = crate::text::sections_of_pem(text)
                    .map_err(|e| Error::Csr(format!("its PEM is damaged: {e}")))?;
                let section = sections
                    .into_iter()
                    .find(|s| matches!(s.tag(), "CERTIFICATE REQUEST" | "NEW CERTIFICATE REQUEST"))
                    .ok_or_else(|| refuse("the file holds no CERTIFICATE REQUEST"))?;
                Self::from_der(section.contents())
            }
            _ => Self::from_der(bytes),
        }
    }

    fn from_der(der: &[u8]) -> Result<Self> {
        let refuse = |why: &str| Error::Csr(why.to_owned());
        let (rest, csr) = X509CertificationRequest::from_der(der)
            .map_err(|_| refuse("it is damaged, or is something else"))?;
        if !rest.is_empty() {
            return Err(refuse("bytes follow it"));
        }
        let info = &csr.certification_request_info;
        let strength = key_strength(&info.subject_pki);
        if let Some(why) = &strength.weakness {
            return Err(match strength.algorithm.as_str() {
                "RSA" => Error::WeakKey(format!("the request's key is too weak: {why}")),
                _ => Error::Csr(format!("its key cannot be certified: {why}")),
            });
        }
        verify(der, info.raw, info.subject_pki.raw)?;
        let public_key = SubjectPublicKeyInfo::from_der(info.subject_pki.raw)
            .map_err(|_| refuse("its key is of a kind that is not supported"))?;
        let (mut names, mut other) = (Vec::new(), Vec::new());
        for extension in csr.requested_extensions().into_iter().flatten() {
            match extension {
                ParsedExtension::SubjectAlternativeName(san) => {
                    for name in &san.general_names {
                        match alt_name(name) {
                            Ok(name) => names.push(name),
                            Err(text) => other.push(format!("name {text}")),
                        }
                    }
                }
                ParsedExtension::BasicConstraints(b) if b.ca => {
                    other.push("to be an authority (CA:TRUE)".into())
                }
                ParsedExtension::BasicConstraints(_) => {}
                ParsedExtension::KeyUsage(usage) => other.push(format!("key usage {usage}")),
                ParsedExtension::ExtendedKeyUsage(usage) => {
                    for (set, word) in [
                        (usage.server_auth, "serverAuth"),
                        (usage.client_auth, "clientAuth"),
                        (usage.any, "any"),
                    ] {
                        if set {
                            other.push(format!("extended key usage {word}"));
                        }
                    }
                }
                _ => other.push("a further extension".into()),
            }
        }
        Ok(Self {
            subject: printable(&info.subject.to_string()),
            names,
            other,
            key: strength.to_string(),
            public_key,
        })
    }

    /// The key to certify.
    pub fn public_key(&self) -> &impl PublicKeyData {
        &self.public_key
    }
}

/// Text from outside, on its way to a terminal: no control characters.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

fn alt_name(name: &GeneralName<'_>) -> std::result::Result<AltName, String> {
    let checked = match name {
        GeneralName::DNSName(text) => AltName::dns(text),
        GeneralName::URI(text) => AltName::uri(text),
        GeneralName::RFC822Name(text) => AltName::email(text),
        GeneralName::IPAddress(bytes) => match (<[u8; 4]>::try_from(*bytes), <[u8; 16]>::try_from(*bytes)) {
            (Ok(four), _) => Ok(AltName::Ip(four.into())),
            (_, Ok(sixteen)) => Ok(AltName::Ip(sixteen.into())),
            _ => return Err("an IP address of an odd length".into()),
        },
        other => return Err(printable(&format!("{other}"))),
    };
    checked.map_err(|_| printable(&format!("{name}")))
}

/// Verifies that the key in the request signed it (RFC 2986, section 4.2).
fn verify(der: &[u8], signed: &[u8], public_key: &[u8]) -> Result<()> {
    let refuse = |why: &str| Error::Csr(why.to_owned());
    let damaged = || refuse("it is damaged");
    let (content, _) = tlv::take(der, tlv::SEQUENCE).ok_or_else(damaged)?;
    let rest = content.get(signed.len()..).ok_or_else(damaged)?;
    let (algorithm, rest) = tlv::take(rest, tlv::SEQUENCE).ok_or_else(damaged)?;
    let signature = bits(rest).ok_or_else(damaged)?;
    let (content, _) = tlv::take(public_key, tlv::SEQUENCE).ok_or_else(damaged)?;
    let (kind, rest) = tlv::take(content, tlv::SEQUENCE).ok_or_else(damaged)?;
    let key = bits(rest).ok_or_else(damaged)?;
    let mut fitting = webpki::ALL_VERIFICATION_ALGS
        .iter()
        .filter(|one| {
            one.signature_alg_id().as_ref() == algorithm && one.public_key_alg_id().as_ref() == kind
        })
        .peekable();
    if fitting.peek().is_none() {
        return Err(refuse("it is signed with an algorithm that is not accepted; SHA-256 or better is"));
    }
    match fitting.any(|one| one.verify_signature(key, signed, signature).is_ok()) {
        true => Ok(()),
        false => Err(refuse("its own signature is wrong, so the asker did not prove to have the key")),
    }
}

/// The content of a BIT STRING of whole bytes.
fn bits(der: &[u8]) -> Option<&[u8]> {
    let (content, _) = tlv::take(der, 0x03)?;
    content.strip_prefix(&[0])
}
