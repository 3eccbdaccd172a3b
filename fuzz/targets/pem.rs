//! PEM as a person gives it: certificates, and keys in all of their forms, also encrypted ones.

#![no_main]

use certs::{CaCertificate, PrivateKey, certificates_of_pem};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let without = PrivateKey::from_pem(text, None);
    let with = PrivateKey::from_pem(text, Some(b"seedseed"));
    for key in [&without, &with] {
        match key {
            // What was read must be written so that it reads the same, and never show itself.
            Ok(key) => {
                let again = PrivateKey::from_pem(&key.to_pem(), None).expect("our own PEM");
                assert_eq!(again.public_key_info(), key.public_key_info());
                assert!(!format!("{key:?}").contains("PRIVATE"));
            }
            Err(error) => assert!(!error.to_string().contains("-----BEGIN"), "{error}"),
        }
    }
    for der in certificates_of_pem(text).unwrap_or_default() {
        let _ = CaCertificate::parse(&der);
        let _ = PrivateKey::from_der(&der);
    }
});
