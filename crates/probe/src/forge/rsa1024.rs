//! A throw-away RSA key of 1024 bits and its signatures (RFC 8017), which the crypto library refuses to make.
//!
//! The key lives for one run and is meant to be refused; nothing secret is ever protected by it, so the
//! arithmetic need not be constant in time. See ADR 0030.

use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use num_bigint::BigUint;
use rustls::sign::{CertifiedKey, Signer, SigningKey};
use rustls::{Error, SignatureAlgorithm, SignatureScheme};

use super::certificate::{Draft, Purpose};
use super::{ForgeError, Issuer};
use crate::der::{bit_string, integer, oid, sequence};
use crate::identity::ClientIdentity;

const BYTES: usize = 128;

/// The key: modulus, and private exponent.
#[derive(Clone)]
pub struct WeakRsa {
    modulus: BigUint,
    exponent: BigUint,
}

impl std::fmt::Debug for WeakRsa {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("WeakRsa")
    }
}

impl WeakRsa {
    /// Makes a key of exactly 1024 bits.
    pub fn generate() -> Result<Self, ForgeError> {
        let e = BigUint::from(65537u32);
        loop {
            let (p, q) = (prime()?, prime()?);
            let modulus = &p * &q;
            let order = (&p - 1u8) * (&q - 1u8);
            if p == q || modulus.bits() != 1024 || (&order % &e) == BigUint::ZERO {
                continue;
            }
            if let Some(exponent) = e.modinv(&order) {
                return Ok(Self { modulus, exponent });
            }
        }
    }

    /// SubjectPublicKeyInfo (DER).
    pub fn public_key(&self) -> Vec<u8> {
        let algorithm = sequence(&[&oid(&[1, 2, 840, 113549, 1, 1, 1]), &[0x05, 0x00]]);
        let key = sequence(&[&integer(&self.modulus.to_bytes_be()), &integer(&[1, 0, 1])]);
        sequence(&[&algorithm, &bit_string(&key)])
    }

    fn apply(&self, encoded: &[u8]) -> Vec<u8> {
        let number = BigUint::from_bytes_be(encoded).modpow(&self.exponent, &self.modulus).to_bytes_be();
        let mut out = vec![0u8; BYTES.saturating_sub(number.len())];
        out.extend(number);
        out
    }
}

/// A client whose good-looking certificate holds a key of 1024 bits.
pub fn client(issuer: &Issuer) -> Result<ClientIdentity, ForgeError> {
    let key = WeakRsa::generate()?;
    let draft = Draft::leaf("handfast-test rsa-1024", key.public_key(), Purpose::Client);
    let mut chain = vec![draft.sign(issuer)?];
    chain.extend(issuer.sendable().iter().cloned());
    Ok(ClientIdentity { certified: Arc::new(CertifiedKey::new(chain, Arc::new(key))) })
}

impl SigningKey for WeakRsa {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        let scheme = [SignatureScheme::RSA_PSS_SHA256, SignatureScheme::RSA_PKCS1_SHA256]
            .into_iter()
            .find(|scheme| offered.contains(scheme))?;
        Some(Box::new(WeakSigner { key: self.clone(), scheme }))
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        SignatureAlgorithm::RSA
    }
}

#[derive(Debug)]
struct WeakSigner {
    key: WeakRsa,
    scheme: SignatureScheme,
}

impl Signer for WeakSigner {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        let hash = digest(&SHA256, message);
        let encoded = match self.scheme {
            SignatureScheme::RSA_PSS_SHA256 => pss(hash.as_ref(), self.key.modulus.bits() - 1)?,
            _ => pkcs1(hash.as_ref()),
        };
        Ok(self.key.apply(&encoded))
    }

    fn scheme(&self) -> SignatureScheme {
        self.scheme
    }
}

/// EMSA-PKCS1-v1_5 with SHA-256 (RFC 8017 section 9.2).
pub(super) fn pkcs1(hash: &[u8]) -> Vec<u8> {
    let algorithm = sequence(&[&oid(&[2, 16, 840, 1, 101, 3, 4, 2, 1]), &[0x05, 0x00]]);
    let info = sequence(&[&algorithm, &crate::der::octet_string(hash)]);
    let mut out = vec![0x00, 0x01];
    out.resize(BYTES - info.len() - 1, 0xff);
    out.push(0x00);
    out.extend(info);
    out
}

/// EMSA-PSS with SHA-256 and a salt of 32 bytes (RFC 8017 section 9.1.1); `bits` is modulus length - 1.
fn pss(hash: &[u8], bits: u64) -> Result<Vec<u8>, Error> {
    let mut salt = [0u8; 32];
    aws_lc_rs::rand::fill(&mut salt).map_err(|_| Error::FailedToGetRandomBytes)?;
    let h = digest(&SHA256, &[&[0u8; 8][..], hash, &salt].concat());
    let mut block = vec![0u8; BYTES - 32 - 1 - salt.len() - 1];
    block.push(0x01);
    block.extend(salt);
    let mut mask = Vec::new();
    for counter in 0u32..4 {
        mask.extend_from_slice(digest(&SHA256, &[h.as_ref(), &counter.to_be_bytes()].concat()).as_ref());
    }
    block.iter_mut().zip(mask).for_each(|(byte, mask)| *byte ^= mask);
    if let Some(first) = block.first_mut() {
        *first &= 0xff >> (8 * BYTES as u64 - bits);
    }
    block.extend_from_slice(h.as_ref());
    block.push(0xbc);
    Ok(block)
}

/// A prime of 512 bits whose two highest bits are set, so that two of them make 1024 bits.
fn prime() -> Result<BigUint, ForgeError> {
    loop {
        let mut bytes = [0u8; 64];
        aws_lc_rs::rand::fill(&mut bytes).map_err(|e| ForgeError::Crypto(e.to_string()))?;
        bytes[0] |= 0xc0;
        bytes[63] |= 1;
        let candidate = BigUint::from_bytes_be(&bytes);
        if is_probably_prime(&candidate) {
            return Ok(candidate);
        }
    }
}

/// Trial division, then Miller-Rabin to a few small bases: enough for a key that is meant to be refused.
fn is_probably_prime(n: &BigUint) -> bool {
    const SMALL: [u32; 30] = [
        3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83, 89, 97, 101,
        103, 107, 109, 113, 127,
    ];
    if SMALL.iter().any(|p| n % p == BigUint::ZERO) {
        return false;
    }
    let one = BigUint::from(1u8);
    let last = n - 1u8;
    let twos = last.trailing_zeros().unwrap_or(0);
    let odd = &last >> twos;
    [2u32, 3, 5, 7, 11, 13].iter().all(|base| {
        let mut x = BigUint::from(*base).modpow(&odd, n);
        if x == one || x == last {
            return true;
        }
        for _ in 1..twos {
            x = &x * &x % n;
            if x == last {
                return true;
            }
        }
        false
    })
}
