//! Which keys are strong enough. The one place that knows; verifying, linting and inspecting ask here.

use model::codes::refusals;
use x509_parser::certificate::X509Certificate;
use x509_parser::public_key::PublicKey;
use x509_parser::x509::SubjectPublicKeyInfo;

use super::Rejection;

/// A public key's kind, for people, and whether it is accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyStrength {
    /// `RSA`, `EC`, `Ed25519`, or the object identifier of what is not known.
    pub algorithm: String,
    /// The curve, by the name that people use (`P-256`), where there is one.
    pub curve: Option<String>,
    /// Bits of the modulus or of the field.
    pub bits: Option<usize>,
    /// Why it is not accepted, in plain words; `None` when it is.
    pub weakness: Option<String>,
}

impl std::fmt::Display for KeyStrength {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (&self.curve, self.bits) {
            (Some(curve), _) => write!(f, "{} {curve}", self.algorithm),
            (None, Some(bits)) if self.algorithm == "RSA" => write!(f, "RSA {bits}"),
            _ => f.write_str(&self.algorithm),
        }
    }
}

/// Judges a public key: RSA from 2048 to 8192 bits, P-256, P-384, P-521, Ed25519 and ML-DSA are accepted.
pub fn key_strength(spki: &SubjectPublicKeyInfo<'_>) -> KeyStrength {
    let oid = spki.algorithm.algorithm.to_id_string();
    match oid.as_str() {
        "1.2.840.113549.1.1.1" | "1.2.840.113549.1.1.10" => rsa(spki),
        "1.2.840.10045.2.1" => elliptic(spki),
        "1.3.101.112" => accepted("Ed25519", Some(256)),
        "2.16.840.1.101.3.4.3.17" => accepted("ML-DSA-44", None),
        "2.16.840.1.101.3.4.3.18" => accepted("ML-DSA-65", None),
        "2.16.840.1.101.3.4.3.19" => accepted("ML-DSA-87", None),
        "1.3.101.113" => refused("Ed448", None, None, "Ed448 keys are not accepted in TLS here"),
        "1.2.840.10040.4.1" => refused("DSA", None, None, "DSA keys are no longer accepted in TLS"),
        _ => refused(&oid, None, None, "this kind of key is not known"),
    }
}

/// Refuses a certificate whose key is weak.
pub(super) fn require(cert: &X509Certificate<'_>) -> Result<(), Rejection> {
    match key_strength(cert.public_key()).weakness {
        None => Ok(()),
        Some(weakness) => {
            Err(Rejection::new(&refusals::WEAK_KEY, format!("{weakness} (in {})", cert.subject())))
        }
    }
}

fn accepted(algorithm: &str, bits: Option<usize>) -> KeyStrength {
    KeyStrength { algorithm: algorithm.to_owned(), curve: None, bits, weakness: None }
}

fn refused(algorithm: &str, curve: Option<&str>, bits: Option<usize>, why: &str) -> KeyStrength {
    KeyStrength {
        algorithm: algorithm.to_owned(),
        curve: curve.map(str::to_owned),
        bits,
        weakness: Some(why.to_owned()),
    }
}

fn rsa(spki: &SubjectPublicKeyInfo<'_>) -> KeyStrength {
    let Ok(PublicKey::RSA(key)) = spki.parsed() else {
        return refused("RSA", None, None, "the RSA key cannot be read");
    };
    let significant = key.modulus.iter().position(|&byte| byte != 0).map_or(&[][..], |i| &key.modulus[i..]);
    let bits = significant.first().map_or(0, |first| significant.len() * 8 - first.leading_zeros() as usize);
    match bits {
        0..2048 => refused(
            "RSA",
            None,
            Some(bits),
            &format!("an RSA key of {bits} bits can be broken; 2048 is the least"),
        ),
        2048..=8192 => accepted("RSA", Some(bits)),
        _ => refused(
            "RSA",
            None,
            Some(bits),
            &format!("an RSA key of {bits} bits costs too much to check; 8192 is the most"),
        ),
    }
}

fn elliptic(spki: &SubjectPublicKeyInfo<'_>) -> KeyStrength {
    let curve =
        spki.algorithm.parameters.as_ref().and_then(|p| p.as_oid().ok()).map(|oid| oid.to_id_string());
    let (name, bits, good) = match curve.as_deref() {
        Some("1.2.840.10045.3.1.7") => ("P-256", 256, true),
        Some("1.3.132.0.34") => ("P-384", 384, true),
        Some("1.3.132.0.35") => ("P-521", 521, true),
        Some("1.3.132.0.33") => ("P-224", 224, false),
        Some("1.2.840.10045.3.1.1") => ("P-192", 192, false),
        Some("1.3.132.0.10") => ("secp256k1", 256, false),
        Some(other) => return refused("EC", Some(other), None, "this curve is not accepted in TLS here"),
        None => {
            return refused(
                "EC",
                None,
                None,
                "the curve is not named, and self-made curves are not accepted",
            );
        }
    };
    if good {
        KeyStrength {
            algorithm: "EC".to_owned(),
            curve: Some(name.to_owned()),
            bits: Some(bits),
            weakness: None,
        }
    } else {
        refused("EC", Some(name), Some(bits), &format!("the curve {name} is not accepted in TLS here"))
    }
}
