//! nginx.conf. What is accepted must be printed as handfast.yaml (`config convert`) that means the same.

#![no_main]

use config::{nginx, yaml};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    match nginx::parse(text) {
        Ok((snapshot, _notes)) => {
            let written = yaml::write(&snapshot).expect("a snapshot can be written");
            let again = yaml::parse(&written).unwrap_or_else(|error| panic!("{error}\n{written}"));
            assert_eq!(snapshot, again, "{written}");
        }
        Err(error) => {
            for finding in error.findings() {
                let _ = finding.draw(false);
            }
        }
    }
});
