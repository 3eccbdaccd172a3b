//! Amounts as people write them: spans of time (`10s`, `1m30s`, `500ms`) and sizes (`64k`, `1m`, `10MiB`).
//!
//! Both forms are nginx's, so that a number means the same in handfast.yaml and in an nginx.conf.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

#[cfg(test)]
mod tests;

/// A span of time. Written as numbers with units `ms s m h d w M(30 d) y(365 d)`; a bare number is seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span(pub Duration);

/// A number of bytes. Written as a number with `k`, `m` or `g` (powers of 1024, in any case; `KiB` and the like too).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Size(pub u64);

/// Why an amount was not understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not {expected}")]
pub struct AmountError {
    text: String,
    expected: &'static str,
}

const SPAN: &str = "a span of time such as 10s, 500ms, 1m30s or 1d";
const SIZE: &str = "a size such as 4096, 64k, 1m or 10MiB";

impl Span {
    /// A span of whole seconds.
    pub const fn seconds(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }
}

impl FromStr for Span {
    type Err = AmountError;

    fn from_str(text: &str) -> Result<Self, AmountError> {
        let wrong = || AmountError { text: text.to_owned(), expected: SPAN };
        let mut rest = text.trim();
        if rest.is_empty() {
            return Err(wrong());
        }
        let mut milliseconds = 0u64;
        while !rest.is_empty() {
            let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
            let number: u64 = rest[..digits].parse().map_err(|_| wrong())?;
            let tail = &rest[digits..];
            let letters = tail.bytes().take_while(u8::is_ascii_alphabetic).count();
            let factor = match &tail[..letters] {
                "ms" => 1,
                "" | "s" => 1_000,
                "m" => 60_000,
                "h" => 3_600_000,
                "d" => 86_400_000,
                "w" => 7 * 86_400_000,
                "M" => 30 * 86_400_000,
                "y" => 365 * 86_400_000,
                _ => return Err(wrong()),
            };
            milliseconds =
                number.checked_mul(factor).and_then(|n| milliseconds.checked_add(n)).ok_or_else(wrong)?;
            rest = tail[letters..].trim_start();
        }
        Ok(Self(Duration::from_millis(milliseconds)))
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let milliseconds = self.0.as_millis();
        match milliseconds {
            0 => f.write_str("0s"),
            n if n % 86_400_000 == 0 => write!(f, "{}d", n / 86_400_000),
            n if n % 3_600_000 == 0 => write!(f, "{}h", n / 3_600_000),
            n if n % 60_000 == 0 => write!(f, "{}m", n / 60_000),
            n if n % 1_000 == 0 => write!(f, "{}s", n / 1_000),
            n => write!(f, "{n}ms"),
        }
    }
}

impl FromStr for Size {
    type Err = AmountError;

    fn from_str(text: &str) -> Result<Self, AmountError> {
        let wrong = || AmountError { text: text.to_owned(), expected: SIZE };
        let text = text.trim();
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let number: u64 = text[..digits].parse().map_err(|_| wrong())?;
        let factor = match text[digits..].trim().to_ascii_lowercase().as_str() {
            "" | "b" => 1,
            "k" | "kb" | "kib" => 1 << 10,
            "m" | "mb" | "mib" => 1 << 20,
            "g" | "gb" | "gib" => 1 << 30,
            _ => return Err(wrong()),
        };
        number.checked_mul(factor).map(Self).ok_or_else(wrong)
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 => f.write_str("0"),
            n if n % (1 << 30) == 0 => write!(f, "{}g", n >> 30),
            n if n % (1 << 20) == 0 => write!(f, "{}m", n >> 20),
            n if n % (1 << 10) == 0 => write!(f, "{}k", n >> 10),
            n => write!(f, "{n}"),
        }
    }
}

crate::text::text_form!(Span, SPAN);
crate::text::text_form!(Size, SIZE);
