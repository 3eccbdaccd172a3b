//! ECDSA with SHA-1, to see whether a server still accepts it.
//!
//! The crypto library signs no SHA-1, so the equation is worked out here: r comes from a fresh key pair
//! of the library (its secret scalar is the nonce), s from arithmetic modulo the group order, with every
//! step blinded by a random factor because the authority's key is part of it. See ADR 0030.

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use aws_lc_rs::encoding::{AsBigEndian, EcPrivateKeyBin};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm,
    KeyPair as _,
};
use num_bigint::BigUint;
use rcgen::KeyPair;

use super::ForgeError;
use crate::der::{integer, oid, sequence};

const P256_ORDER: &[u8] = b"ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551";
const P384_ORDER: &[u8] =
    b"ffffffffffffffffffffffffffffffffffffffffffffffffc7634d81f4372ddf581a0db248b0a77aecec196accc52973";

/// The AlgorithmIdentifier of ecdsa-with-SHA1.
pub(super) fn algorithm() -> Vec<u8> {
    sequence(&[&oid(&[1, 2, 840, 10045, 4, 1])])
}

/// Signs with SHA-1; possible for P-256 and P-384 keys only.
pub(super) fn sign(key: &KeyPair, message: &[u8]) -> Result<Vec<u8>, ForgeError> {
    let (curve, order): (&'static EcdsaSigningAlgorithm, &[u8]) =
        if key.algorithm() == &rcgen::PKCS_ECDSA_P256_SHA256 {
            (&ECDSA_P256_SHA256_ASN1_SIGNING, P256_ORDER)
        } else if key.algorithm() == &rcgen::PKCS_ECDSA_P384_SHA384 {
            (&ECDSA_P384_SHA384_ASN1_SIGNING, P384_ORDER)
        } else {
            return Err(ForgeError::Impossible(
                "a SHA-1 signature can be made with a P-256 or P-384 authority only",
            ));
        };
    let failed = |_| ForgeError::Crypto("ecdsa".into());
    let order = BigUint::parse_bytes(order, 16).ok_or_else(|| ForgeError::Crypto("order".into()))?;
    let secret = EcdsaKeyPair::from_pkcs8(curve, key.serialized_der())
        .map_err(|e| ForgeError::Crypto(e.to_string()))?;
    let nonce = EcdsaKeyPair::generate(curve).map_err(failed)?;
    let number = |pair: &EcdsaKeyPair| -> Result<BigUint, ForgeError> {
        let bytes: EcPrivateKeyBin = pair.private_key().as_be_bytes().map_err(failed)?;
        Ok(BigUint::from_bytes_be(bytes.as_ref()))
    };
    let (d, k) = (number(&secret)?, number(&nonce)?);
    let mut random = vec![0u8; order.to_bytes_be().len() + 8];
    aws_lc_rs::rand::fill(&mut random).map_err(failed)?;
    let blind = BigUint::from_bytes_be(&random) % &order;

    // The public point is 04 || x || y, uncompressed.
    let point = nonce.public_key().as_ref();
    let x = point.get(1..1 + (point.len() - 1) / 2).unwrap_or_default();
    let r = BigUint::from_bytes_be(x) % &order;
    let hashed = digest(&SHA1_FOR_LEGACY_USE_ONLY, message);
    let e = BigUint::from_bytes_be(hashed.as_ref());
    let inverse = (&blind * k % &order).modpow(&(&order - 2u8), &order);
    let blinded_secret = &blind * d % &order;
    let s = inverse * ((&blind * e + &r * blinded_secret) % &order) % &order;
    Ok(sequence(&[&integer(&r.to_bytes_be()), &integer(&s.to_bytes_be())]))
}
