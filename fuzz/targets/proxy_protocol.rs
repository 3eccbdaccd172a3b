//! PROXY protocol headers, versions 1 and 2, as a load balancer or anybody else may send them.

#![no_main]

use libfuzzer_sys::fuzz_target;
use proxy::proxy_protocol::{Parsed, parse};

fuzz_target!(|data: &[u8]| {
    match parse(data) {
        Ok(Parsed::Complete { length, .. }) => {
            assert!((8..=16 + 4096).contains(&length) && length <= data.len(), "{length} of {}", data.len());
            // The header is its own bytes alone: what follows it belongs to the client and changes nothing.
            assert_eq!(parse(&data[..length]), parse(data));
            assert_eq!(parse(&data[..length - 1]), Ok(Parsed::Incomplete));
        }
        Ok(Parsed::Incomplete) => assert!(data.len() < 16 + 4096, "{} bytes and not known yet", data.len()),
        Err(_) => assert!(!data.is_empty()),
    }
});
