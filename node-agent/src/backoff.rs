//! How long to wait after a failure: doubling, capped, and never in step with other agents.

use std::time::Duration;

use slipway_client::clock;

/// First pause.
const FIRST: Duration = Duration::from_secs(1);
/// Longest pause: an API server that comes back is noticed within this (faults.md F07).
const LONGEST: Duration = Duration::from_mins(1);
/// A conflict is resolved by a fresh read, so the first ones are repeated at once (F34).
const QUICK: Duration = Duration::from_millis(100);
/// How many conflicts in a row are repeated at once.
const QUICK_MAX: u32 = 5;

/// Failures in a row.
#[derive(Debug, Default)]
pub struct Backoff {
    failures: u32,
    conflicts: u32,
}

impl Backoff {
    /// The pause after another failure.
    pub fn failed(&mut self) -> Duration {
        let doubled = FIRST.saturating_mul(2_u32.saturating_pow(self.failures.min(10)));
        self.failures = self.failures.saturating_add(1);
        jittered(doubled.min(LONGEST))
    }

    /// The pause after another conflict.
    pub fn conflicted(&mut self) -> Duration {
        self.conflicts = self.conflicts.saturating_add(1);
        if self.conflicts > QUICK_MAX {
            return self.failed();
        }
        jittered(QUICK)
    }

    /// It worked.
    pub fn reset(&mut self) {
        *self = Self::default();
    }
}

/// Between half of `pause` and all of it. The nanoseconds of the clock are random enough to keep a
/// fleet from calling at once.
pub fn jittered(pause: Duration) -> Duration {
    spread(pause, clock::boottime().subsec_nanos())
}

fn spread(pause: Duration, nanos: u32) -> Duration {
    let half = pause / 2;
    let share = u64::from(nanos % 1_000);
    let whole = u64::try_from(half.as_micros()).unwrap_or(u64::MAX);
    half.saturating_add(Duration::from_micros(whole.saturating_mul(share) / 1_000))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f07_pauses_grow_and_stay_within_a_minute() {
        let mut backoff = Backoff::default();
        assert!(backoff.failed() <= FIRST);
        for _ in 0..40 {
            assert!(backoff.failed() <= LONGEST);
        }
        assert!(backoff.failed() >= LONGEST / 2);
        backoff.reset();
        assert!(backoff.failed() <= FIRST);
    }

    #[test]
    fn f34_a_storm_of_conflicts_is_slowed_down() {
        let mut backoff = Backoff::default();
        for _ in 0..QUICK_MAX {
            assert!(backoff.conflicted() <= QUICK);
        }
        assert!(backoff.conflicted() >= FIRST / 2);
    }

    #[test]
    fn jitter_stays_between_half_and_all() {
        for nanos in [0, 1, 500, 999, 999_999_999] {
            let pause = spread(Duration::from_secs(10), nanos);
            assert!((5..=10).contains(&pause.as_secs()), "{pause:?}");
        }
    }
}
