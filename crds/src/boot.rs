//! When a host was booted, as its agent reports it on the Node: `<boot ID> <time>`.
//!
//! Owns the spelling. The time alone would be that of an earlier boot until the agent has written
//! again, and a node that was just rebooted would look old: so it names the boot that it is of.

use std::fmt;
use std::str::FromStr;

use jiff::{SignedDuration, Timestamp};

/// A boot of a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Boot {
    /// Which.
    pub id: String,
    /// When, by the API server's clock.
    pub at: Timestamp,
}

/// How far two reports of a boot may be apart and say the same: clocks are read at different moments.
const SAME: SignedDuration = SignedDuration::from_mins(10);

impl Boot {
    /// A boot in whole seconds, as it is written.
    pub fn new(id: &str, at: Timestamp) -> Self {
        Self {
            id: id.to_owned(),
            at: Timestamp::from_second(at.as_second()).unwrap_or(at),
        }
    }

    /// True when both speak of the same boot at the same time.
    pub fn agrees(&self, other: &Self) -> bool {
        self.id == other.id && self.at.duration_since(other.at).abs() <= SAME
    }
}

impl fmt::Display for Boot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.id, self.at)
    }
}

/// Not a boot: nothing follows from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a boot ID and a time")]
pub struct ParseBootError;

impl FromStr for Boot {
    type Err = ParseBootError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (id, at) = text.split_once(' ').ok_or(ParseBootError)?;
        let at = at.parse().map_err(|_| ParseBootError)?;
        if id.is_empty() {
            return Err(ParseBootError);
        }
        Ok(Self::new(id, at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_boot_is_read_as_it_was_written() {
        let boot = Boot::new("b-1", "2026-11-25T01:02:03.9Z".parse().unwrap());
        assert_eq!(boot.to_string(), "b-1 2026-11-25T01:02:03Z");
        assert_eq!(boot.to_string().parse(), Ok(boot.clone()));
        for text in ["", "b-1", " 2026-11-25T01:02:03Z", "b-1 yesterday"] {
            assert_eq!(text.parse::<Boot>(), Err(ParseBootError), "{text}");
        }
    }

    #[test]
    fn reports_agree_on_the_same_boot_at_about_the_same_time() {
        let boot = |id: &str, seconds: i64| Boot::new(id, Timestamp::from_second(seconds).unwrap());
        assert!(boot("a", 5000).agrees(&boot("a", 5600)));
        assert!(!boot("a", 5000).agrees(&boot("a", 5601)));
        assert!(!boot("a", 5000).agrees(&boot("b", 5000)));
    }
}
