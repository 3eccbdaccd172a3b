//! Certificates and revocation lists as a peer or an administrator gives them: a run of DER values.

#![no_main]

use std::sync::LazyLock;
use std::time::Duration;

use certs::verify::{Options, Revocation, Trust, verify};
use libfuzzer_sys::fuzz_target;
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

static TRUST: LazyLock<Trust> = LazyLock::new(|| {
    let anchor = CertificateDer::from(include_bytes!("../seeds/certificate/anchor").as_slice());
    Trust::new(&[anchor]).expect("the seed is an authority")
});

/// Cuts the input where the DER lengths say so; what is left is one more value.
fn values(mut data: &[u8]) -> Vec<CertificateDer<'_>> {
    let mut values = Vec::new();
    while let [_, 0x82, high, low, ..] = data {
        let end = 4 + usize::from(*high) * 256 + usize::from(*low);
        if end > data.len() || values.len() > 20 {
            break;
        }
        values.push(CertificateDer::from(&data[..end]));
        data = &data[end..];
    }
    if !data.is_empty() {
        values.push(CertificateDer::from(data));
    }
    values
}

fuzz_target!(|data: &[u8]| {
    let chain = values(data);
    let now = UnixTime::since_unix_epoch(Duration::from_secs(1_800_000_000));
    for revocation in [Revocation::Off, Revocation::Require, Revocation::FailOpen] {
        let mut options = Options::client(now);
        options.revocation = revocation;
        if let Err(rejection) = verify(&chain, &TRUST, &options) {
            // What is logged about it must be one line, whatever the certificate says of itself.
            for (_, value) in &rejection.evidence {
                assert!(!value.contains('\n') && !value.contains("-----BEGIN"), "{value:?}");
            }
            let _ = (rejection.alert(), rejection.to_string());
        }
    }
    let name = ServerName::try_from("app.test").expect("a name");
    let _ = verify(&chain, &TRUST, &Options::server(now, Some(&name)));
    let _ = Trust::new(&chain);
    let _ = Trust::default().with_crls(&chain);
});
