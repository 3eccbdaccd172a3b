//! The small languages inside a configuration: addresses, host names, paths, templates, sizes, times. What is
//! understood must be written back so that it is understood in the same way.

#![no_main]

use std::fmt::Display;
use std::str::FromStr;

use libfuzzer_sys::fuzz_target;
use model::pattern::PathPattern;
use model::snapshot::{Bind, NamePattern};
use model::template::Template;
use model::units::{Size, Span};

fn round_trip<T: FromStr + Display>(text: &str) {
    if let Ok(value) = text.parse::<T>() {
        let written = value.to_string();
        let again = match written.parse::<T>() {
            Ok(again) => again.to_string(),
            Err(_) => panic!("{text:?} is written as {written:?}, which is not understood"),
        };
        assert_eq!(written, again, "from {text:?}");
    }
}

fuzz_target!(|text: &str| {
    round_trip::<Bind>(text);
    round_trip::<NamePattern>(text);
    round_trip::<PathPattern>(text);
    round_trip::<Template>(text);
    round_trip::<Size>(text);
    round_trip::<Span>(text);
});
