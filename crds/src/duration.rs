//! Elapsed time as Kubernetes writes it: `90s`, `30m`, `1h30m`.

use std::fmt;
use std::str::FromStr;
use std::time;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// The longest duration that any field takes: one week.
///
/// Longer than any reboot; short enough that no sum of two overflows anything.
pub const LONGEST: time::Duration = time::Duration::from_hours(7 * 24);

/// Longest text that is one, as the schema has it.
const TEXT_MAX: usize = 32;
/// Most digits in a row: more hours than any field takes, and too few to overflow.
const DIGITS_MAX: usize = 12;

/// Elapsed time, never negative, in Go's notation (units `h`, `m`, `s`, `ms`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Duration(pub time::Duration);

impl Duration {
    /// Whole seconds.
    pub const fn from_secs(seconds: u64) -> Self {
        Self(time::Duration::from_secs(seconds))
    }

    /// True for `0s`.
    pub const fn is_zero(self) -> bool {
        self.0.is_zero()
    }

    /// The same span for jiff's arithmetic.
    pub fn signed(self) -> jiff::SignedDuration {
        jiff::SignedDuration::try_from(self.0).unwrap_or(jiff::SignedDuration::MAX)
    }
}

/// Why a text is not a duration.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("not a duration: {0:?} (write for example 90s, 30m or 1h30m)")]
pub struct ParseDurationError(String);

impl FromStr for Duration {
    type Err = ParseDurationError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bad = || ParseDurationError(text.to_owned());
        // The library reads an empty text as zero and a bare 0 without a unit.
        if !text.ends_with(['h', 'm', 's']) {
            return Err(bad());
        }
        // It panics where a number is too large to be a time: an agent that reads such a lease would
        // never run again.
        let mut numbers = text.split(|c: char| !c.is_ascii_digit());
        if text.len() > TEXT_MAX || numbers.any(|digits| digits.len() > DIGITS_MAX) {
            return Err(bad());
        }
        let parsed: kube::core::Duration = text.parse().map_err(|_| bad())?;
        if parsed.is_negative() {
            return Err(bad());
        }
        Ok(Self(parsed.into()))
    }
}

impl fmt::Display for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seconds, millis) = (self.0.as_secs(), self.0.subsec_millis());
        let parts = [
            (seconds / 3600, "h"),
            (seconds / 60 % 60, "m"),
            (seconds % 60, "s"),
        ];
        for (count, unit) in parts.into_iter().filter(|(count, _)| *count > 0) {
            write!(f, "{count}{unit}")?;
        }
        if millis > 0 {
            write!(f, "{millis}ms")?;
        }
        if seconds == 0 && millis == 0 {
            f.write_str("0s")
        } else {
            Ok(())
        }
    }
}

impl Serialize for Duration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Duration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(de::Error::custom)
    }
}

impl JsonSchema for Duration {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Duration".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "maxLength": 32,
            "x-kubernetes-validations": [{
                "rule": "self.matches('^([0-9]+(ms|s|m|h))+$') && duration(self) <= duration('168h')",
                "message": "write a duration such as 90s, 30m or 1h30m, not negative and at most 168h",
            }],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_as_it_is_written() {
        for text in ["0s", "90ms", "1m30s", "30m", "1h30m", "168h"] {
            assert_eq!(text.parse::<Duration>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn refuses_what_is_not_a_duration() {
        let huge = "3".to_owned() + &"0".repeat(25) + "m";
        let long = "9h".repeat(5000);
        for text in ["", "30", "-5m", "1d", "five minutes", &huge, &long] {
            assert!(text.parse::<Duration>().is_err(), "{text:?}");
        }
        // The largest that is one is a time.
        let largest = "999999999999h".repeat(2);
        assert!(largest.parse::<Duration>().is_ok());
    }
}
