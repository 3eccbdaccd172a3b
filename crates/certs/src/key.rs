//! Private keys: made, read (PKCS#8, PKCS#1, SEC1, encrypted PKCS#8) and written (PKCS#8 PEM), and used
//! to sign through rcgen. The DER is wiped when the key is dropped; aws-lc wipes its own copy.

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair as RsaKeyPair, KeySize};
use aws_lc_rs::signature::{self, EcdsaKeyPair, EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair as _};
use rcgen::{PublicKeyData, SignatureAlgorithm, SigningKey};
use zeroize::Zeroizing;

use crate::error::{Error, Result};
use crate::text::pem;

#[cfg(test)]
mod tests;

/// The kind of a key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum KeyKind {
    /// ECDSA over NIST P-256: understood everywhere, small and fast.
    #[default]
    P256,
    /// ECDSA over NIST P-384.
    P384,
    /// ECDSA over NIST P-521; browsers refuse it.
    P521,
    /// Ed25519; browsers refuse it in certificates.
    Ed25519,
    /// RSA with this many bits of modulus; 2048, 3072 and 4096 can be made, others be imported.
    Rsa(u32),
}

impl KeyKind {
    /// The kinds that `--key` offers.
    pub const OFFERED: [&'static str; 7] =
        ["p256", "p384", "p521", "ed25519", "rsa2048", "rsa3072", "rsa4096"];
}

impl fmt::Display for KeyKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::P256 => f.write_str("p256"),
            Self::P384 => f.write_str("p384"),
            Self::P521 => f.write_str("p521"),
            Self::Ed25519 => f.write_str("ed25519"),
            Self::Rsa(bits) => write!(f, "rsa{bits}"),
        }
    }
}

impl FromStr for KeyKind {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Ok(match text.to_ascii_lowercase().replace(['-', '_'], "").as_str() {
            "p256" | "ecdsa" | "ecdsap256" => Self::P256,
            "p384" | "ecdsap384" => Self::P384,
            "p521" | "ecdsap521" => Self::P521,
            "ed25519" => Self::Ed25519,
            "rsa2048" => Self::Rsa(2048),
            "rsa3072" | "rsa" => Self::Rsa(3072),
            "rsa4096" => Self::Rsa(4096),
            _ => {
                let offered = Self::OFFERED.join(", ");
                return Err(Error::Request(format!("{text:?} is no kind of key; there are {offered}")));
            }
        })
    }
}

enum Signer {
    Ecdsa(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
    Rsa(RsaKeyPair),
}

/// A private key. Its `Debug` shows the kind only.
pub struct PrivateKey {
    kind: KeyKind,
    signer: Signer,
    /// PKCS#8 version 1: OpenSSL 3.0 does not read version 2.
    pkcs8: Zeroizing<Vec<u8>>,
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PrivateKey({})", self.kind)
    }
}

impl PrivateKey {
    /// Makes a new key.
    pub fn generate(kind: KeyKind) -> Result<Self> {
        let failed = |_| Error::Key(format!("no {kind} key could be made"));
        let signer = match kind {
            KeyKind::P256 | KeyKind::P384 | KeyKind::P521 => {
                Signer::Ecdsa(EcdsaKeyPair::generate(curve(kind)).map_err(failed)?)
            }
            KeyKind::Ed25519 => Signer::Ed25519(Ed25519KeyPair::generate().map_err(failed)?),
            KeyKind::Rsa(bits) => {
                let size = match bits {
                    2048 => KeySize::Rsa2048,
                    3072 => KeySize::Rsa3072,
                    4096 => KeySize::Rsa4096,
                    _ => {
                        return Err(Error::Request(format!(
                            "RSA keys have 2048, 3072 or 4096 bits, not {bits}"
                        )));
                    }
                };
                Signer::Rsa(RsaKeyPair::generate(size).map_err(failed)?)
            }
        };
        Self::from_signer(kind, signer)
    }

    /// Reads the first private key of a PEM text: PKCS#8, PKCS#1, SEC1, or encrypted PKCS#8, which needs
    /// the password. Traditional OpenSSL encryption (`Proc-Type: 4,ENCRYPTED`) is refused.
    pub fn from_pem(text: &str, password: Option<&[u8]>) -> Result<Self> {
        let sections = crate::text::sections_of_pem(text)
            .map_err(|e| Error::Key(format!("this is no PEM text: {e}")))?;
        for section in sections {
            let legacy = section.headers().get("Proc-Type").is_some();
            let tag = section.tag().to_owned();
            let der = Zeroizing::new(section.into_contents());
            match tag.as_str() {
                "PRIVATE KEY" | "RSA PRIVATE KEY" | "EC PRIVATE KEY" if !legacy => {
                    return Self::from_der(&der);
                }
                "RSA PRIVATE KEY" | "EC PRIVATE KEY" | "PRIVATE KEY" => {
                    return Err(Error::Key(
                        "the key has OpenSSL's old encryption, whose key derivation is one round of MD5"
                            .into(),
                    ));
                }
                "ENCRYPTED PRIVATE KEY" => return Self::decrypt(&der, password),
                _ => {}
            }
        }
        Err(Error::Key("the file holds no private key".into()))
    }

    fn decrypt(der: &[u8], password: Option<&[u8]>) -> Result<Self> {
        let info = pkcs8::EncryptedPrivateKeyInfo::try_from(der).map_err(|e| {
            Error::Key(format!("the encrypted key is damaged, or its cipher is unknown: {e}"))
        })?;
        let password = password.ok_or(Error::Password("the key is encrypted, and no password was given"))?;
        let plain = info
            .decrypt(password)
            .map_err(|_| Error::Password("the key did not open with the password that was given"))?;
        Self::from_der(plain.as_bytes())
    }

    /// Reads a key from DER: PKCS#8, PKCS#1 (RSA) or SEC1 (EC).
    pub fn from_der(der: &[u8]) -> Result<Self> {
        if let Ok(key) = Ed25519KeyPair::from_pkcs8_maybe_unchecked(der) {
            return Self::from_signer(KeyKind::Ed25519, Signer::Ed25519(key));
        }
        for kind in [KeyKind::P256, KeyKind::P384, KeyKind::P521] {
            if let Ok(key) = EcdsaKeyPair::from_private_key_der(curve(kind), der) {
                return Self::from_signer(kind, Signer::Ecdsa(key));
            }
        }
        let small = |reason: &aws_lc_rs::error::KeyRejected| reason.to_string() == "TooSmall";
        let rsa = match RsaKeyPair::from_pkcs8(der) {
            Err(reason) if !small(&reason) => RsaKeyPair::from_der(der),
            known => known,
        };
        match rsa {
            Ok(key) => {
                let bits = u32::try_from(key.public_modulus_len() * 8).unwrap_or(u32::MAX);
                Self::from_signer(KeyKind::Rsa(bits), Signer::Rsa(key))
            }
            Err(reason) if small(&reason) => {
                Err(Error::WeakKey("the RSA key has fewer than 2048 bits".into()))
            }
            Err(_) => Err(Error::Key(
                "the file holds no usable private key (P-256, P-384, P-521, Ed25519 or RSA from 2048 bits)"
                    .into(),
            )),
        }
    }

    fn from_signer(kind: KeyKind, signer: Signer) -> Result<Self> {
        let failed = |_| Error::Key(format!("the {kind} key could not be encoded"));
        let pkcs8 = match &signer {
            Signer::Ecdsa(key) => key.to_pkcs8v1().map_err(failed)?.as_ref().to_vec(),
            Signer::Ed25519(key) => key.to_pkcs8v1().map_err(failed)?.as_ref().to_vec(),
            Signer::Rsa(key) => AsDer::<Pkcs8V1Der>::as_der(key).map_err(failed)?.as_ref().to_vec(),
        };
        Ok(Self { kind, signer, pkcs8: Zeroizing::new(pkcs8) })
    }

    /// The key's kind.
    pub fn kind(&self) -> KeyKind {
        self.kind
    }

    /// PKCS#8 (version 1) DER.
    pub fn pkcs8_der(&self) -> &[u8] {
        &self.pkcs8
    }

    /// PKCS#8 PEM.
    pub fn to_pem(&self) -> Zeroizing<String> {
        Zeroizing::new(pem("PRIVATE KEY", &self.pkcs8))
    }

    /// Encrypted PKCS#8 PEM: PBES2 with scrypt (N = 2^15, r = 8, p = 1) and AES-256-CBC, which OpenSSL reads.
    pub fn to_encrypted_pem(&self, password: &[u8]) -> Result<String> {
        let failed = |what: String| Error::Key(format!("the key could not be encrypted: {what}"));
        let info =
            pkcs8::PrivateKeyInfo::try_from(self.pkcs8.as_slice()).map_err(|e| failed(e.to_string()))?;
        let (mut salt, mut iv) = ([0; 16], [0; 16]);
        for bytes in [&mut salt, &mut iv] {
            aws_lc_rs::rand::fill(bytes).map_err(|e| failed(e.to_string()))?;
        }
        let scrypt = pkcs8::pkcs5::scrypt::Params::new(15, 8, 1, 32).map_err(|e| failed(e.to_string()))?;
        let scheme = pkcs8::pkcs5::pbes2::Parameters::scrypt_aes256cbc(scrypt, &salt, &iv)
            .map_err(|e| failed(e.to_string()))?;
        let sealed = info.encrypt_with_params(scheme, password).map_err(|e| failed(e.to_string()))?;
        Ok(pem("ENCRYPTED PRIVATE KEY", sealed.as_bytes()))
    }

    /// The public key as SubjectPublicKeyInfo DER (RFC 5280, section 4.1.2.7).
    pub fn public_key_info(&self) -> Vec<u8> {
        self.subject_public_key_info()
    }
}

fn curve(kind: KeyKind) -> &'static EcdsaSigningAlgorithm {
    match kind {
        KeyKind::P384 => &signature::ECDSA_P384_SHA384_ASN1_SIGNING,
        KeyKind::P521 => &signature::ECDSA_P521_SHA512_ASN1_SIGNING,
        _ => &signature::ECDSA_P256_SHA256_ASN1_SIGNING,
    }
}

impl PublicKeyData for PrivateKey {
    fn der_bytes(&self) -> &[u8] {
        match &self.signer {
            Signer::Ecdsa(key) => key.public_key().as_ref(),
            Signer::Ed25519(key) => key.public_key().as_ref(),
            Signer::Rsa(key) => key.public_key().as_ref(),
        }
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        match self.kind {
            KeyKind::P256 => &rcgen::PKCS_ECDSA_P256_SHA256,
            KeyKind::P384 => &rcgen::PKCS_ECDSA_P384_SHA384,
            KeyKind::P521 => &rcgen::PKCS_ECDSA_P521_SHA512,
            KeyKind::Ed25519 => &rcgen::PKCS_ED25519,
            KeyKind::Rsa(_) => &rcgen::PKCS_RSA_SHA256,
        }
    }
}

impl SigningKey for PrivateKey {
    fn sign(&self, message: &[u8]) -> std::result::Result<Vec<u8>, rcgen::Error> {
        let failed = |_| rcgen::Error::RemoteKeyError;
        let random = SystemRandom::new();
        match &self.signer {
            Signer::Ecdsa(key) => Ok(key.sign(&random, message).map_err(failed)?.as_ref().to_vec()),
            Signer::Ed25519(key) => Ok(key.try_sign(message).map_err(failed)?.as_ref().to_vec()),
            Signer::Rsa(key) => {
                let mut out = vec![0; key.public_modulus_len()];
                key.sign(&signature::RSA_PKCS1_SHA256, &random, message, &mut out).map_err(failed)?;
                Ok(out)
            }
        }
    }
}
