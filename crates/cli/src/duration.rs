//! Lifetimes on the command line: `90d`, `12h`, `10y`, `1d12h`; a bare number is days.

use std::str::FromStr;

use time::Duration;

/// A lifetime of a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifetime(pub Duration);

impl FromStr for Lifetime {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is no time; write it as in 90d, 12h, 30m, 10y or 1d12h");
        let mut seconds: i64 = 0;
        let mut digits = String::new();
        if text.is_empty() {
            return Err(wrong());
        }
        for c in text.chars().chain(text.ends_with(|c: char| c.is_ascii_digit()).then_some('d')) {
            if c.is_ascii_digit() {
                digits.push(c);
                continue;
            }
            let unit: i64 = match c {
                's' => 1,
                'm' => 60,
                'h' => 3600,
                'd' => 86_400,
                'w' => 7 * 86_400,
                'y' => 365 * 86_400,
                _ => return Err(wrong()),
            };
            let number: i64 = digits.parse().map_err(|_| wrong())?;
            digits.clear();
            seconds = number.checked_mul(unit).and_then(|s| s.checked_add(seconds)).ok_or_else(wrong)?;
        }
        // Dates end in the year 9999 (RFC 5280, section 4.1.2.5).
        if !(1..=1000 * 365 * 86_400).contains(&seconds) {
            return Err(wrong());
        }
        Ok(Self(Duration::seconds(seconds)))
    }
}

#[cfg(test)]
mod tests;
