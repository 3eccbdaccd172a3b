//! Between which lifetimes a Certificate may choose: the operator says it once for the cluster. A long one keeps the root
//! of a rotation in force for as long; a short one makes the controller sign all the time.

use certs::{DEFAULT_LIFETIME, SHORTEST_LIFETIME};
use model::units::Span;
use time::Duration;

use crate::error::{Error, Result};

/// What `--min-lifetime` is where it is not said.
pub const MIN_LIFETIME: &str = "1h";
/// What `--max-lifetime` is where it is not said.
pub const MAX_LIFETIME: &str = "365d";
/// A lifetime beyond this is a mistake: dates end in the year 9999.
const BEYOND: Duration = Duration::days(100 * 365);

/// The limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifetimes {
    shortest: Duration,
    longest: Duration,
}

impl Default for Lifetimes {
    fn default() -> Self {
        Self { shortest: Duration::HOUR, longest: Duration::days(365) }
    }
}

impl Lifetimes {
    /// Reads the two options.
    ///
    /// # Errors
    ///
    /// When one is no span of time, or they leave nothing between them.
    pub fn parse(shortest: &str, longest: &str) -> Result<Self> {
        let read = |option: &str, text: &str| {
            let found = span(text).map_err(|why| Error::Option(format!("--{option}: {why}")))?;
            if found < SHORTEST_LIFETIME || found > BEYOND {
                let why = format!("--{option}: {text} is not between one minute and a hundred years");
                return Err(Error::Option(why));
            }
            Ok(found)
        };
        let (shortest, longest) = (read("min-lifetime", shortest)?, read("max-lifetime", longest)?);
        if shortest > longest {
            return Err(Error::Option("--min-lifetime is longer than --max-lifetime".to_owned()));
        }
        Ok(Self { shortest, longest })
    }

    /// The longest.
    pub fn longest(&self) -> Duration {
        self.longest
    }

    /// The lifetime that a Certificate asks for, or the usual one within the limits.
    ///
    /// # Errors
    ///
    /// When it is none, or outside of the limits.
    pub fn choose(&self, asked: Option<&str>) -> Result<Duration> {
        let Some(text) = asked else { return Ok(DEFAULT_LIFETIME.clamp(self.shortest, self.longest)) };
        let found = span(text).map_err(|why| Error::Spec(format!("spec.lifetime: {why}")))?;
        if found < self.shortest || found > self.longest {
            return Err(Error::Spec(format!(
                "spec.lifetime: {text} is not between {} and {}, the limits of this cluster's operator \
                 (--min-lifetime, --max-lifetime of the controller)",
                short(self.shortest),
                short(self.longest)
            )));
        }
        Ok(found)
    }
}

fn span(text: &str) -> std::result::Result<Duration, String> {
    let span: Span = text.parse().map_err(|why: model::units::AmountError| why.to_string())?;
    Ok(Duration::seconds(i64::try_from(span.0.as_secs()).unwrap_or(i64::MAX)))
}

/// In the largest unit that has no rest.
fn short(span: Duration) -> String {
    let seconds = span.whole_seconds();
    for (unit, length) in [("d", 86_400), ("h", 3_600), ("m", 60)] {
        if seconds % length == 0 {
            return format!("{}{unit}", seconds / length);
        }
    }
    format!("{seconds}s")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lifetime_lies_within_the_operators_limits() {
        let usual = Lifetimes::default();
        assert_eq!(usual, Lifetimes::parse(MIN_LIFETIME, MAX_LIFETIME).unwrap());
        assert_eq!(usual.choose(None).unwrap(), Duration::days(90));
        assert_eq!(usual.choose(Some("1h")).unwrap(), Duration::HOUR);
        assert_eq!(usual.choose(Some("365d")).unwrap(), Duration::days(365));
        for text in ["59m", "1m", "366d", "36500d", "soon", "0", "99999999999999y"] {
            let why = usual.choose(Some(text)).unwrap_err();
            assert!(matches!(why, Error::Spec(_)), "{text}: {why:?}");
        }
        let why = usual.choose(Some("36500d")).unwrap_err().to_string();
        assert!(why.contains("not between 1h and 365d"), "{why}");
    }

    #[test]
    fn the_usual_lifetime_is_within_them_too() {
        assert_eq!(Lifetimes::parse("1h", "7d").unwrap().choose(None).unwrap(), Duration::days(7));
        assert_eq!(Lifetimes::parse("100d", "365d").unwrap().choose(None).unwrap(), Duration::days(100));
        assert_eq!(Lifetimes::parse("1m", "1y").unwrap().choose(Some("90s")).unwrap(), Duration::seconds(90));
    }

    #[test]
    fn limits_that_leave_nothing_are_refused() {
        for (shortest, longest) in [("2d", "1d"), ("1s", "1d"), ("1h", "101y"), ("never", "1d"), ("1h", "")] {
            assert!(
                matches!(Lifetimes::parse(shortest, longest), Err(Error::Option(_))),
                "{shortest} {longest}"
            );
        }
    }
}
