//! handfast.yaml. What is accepted must be written so that it is accepted again, and mean the same.

#![no_main]

use config::yaml;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    match yaml::parse(text) {
        Ok(snapshot) => {
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
