//! Files of certificates and keys of any format: PEM, DER, PKCS#12, JKS; and what inspect, lint and a signing
//! request make of what is in them.

#![no_main]

use certs::{Csr, PrivateKey, formats, inspect, lint};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let _ = Csr::parse(data);
    let _ = inspect::certificate(data);
    let _ = inspect::revocation_list(data);
    let _ = inspect::request(data);
    for password in [None, Some("seedseed")] {
        let contents = match formats::read(data, password) {
            Ok(contents) => contents,
            Err(error) => {
                // What is said about it stays on a line, and is no copy of the file.
                let said = error.to_string();
                assert!(!said.contains('\n') && said.len() < 400, "{said}");
                continue;
            }
        };
        assert!(!format!("{contents:?}").contains("PRIVATE KEY"));
        for request in &contents.requests {
            let _ = (Csr::parse(request), inspect::request(request));
        }
        for list in &contents.crls {
            let _ = inspect::revocation_list(list);
        }
        for key in &contents.keys {
            let _ = PrivateKey::from_der(&key.0);
        }
        let key = contents.keys.first().and_then(|key| PrivateKey::from_der(&key.0).ok());
        let key = key.map(|key| key.public_key_info());
        let _ = lint::lint(&contents.certificates, key.as_deref(), &contents.certificates, 1_800_000_000);
        for der in &contents.certificates {
            if let Ok(seen) = inspect::certificate(der) {
                // What is printed about it stays on its line.
                assert!(!seen.subject.contains('\n') && !seen.issuer.contains('\n'), "{seen:?}");
            }
        }
    }
});
