//! How fast reports may be written: a fleet that changes its mind at once must not flood the API
//! server (faults.md F42: fewer than 20 writes a second).

use std::time::Duration;

/// Writes that may come at once after a rest.
const BURST: u64 = 50;
/// Writes a second after that.
const PER_SECOND: u64 = 15;

/// A bucket of writes, in thousandths, filled by time since boot.
#[derive(Debug)]
pub(crate) struct Rate {
    thousandths: u64,
    filled_at: Duration,
}

impl Rate {
    pub(crate) fn new() -> Self {
        Self {
            thousandths: BURST * 1000,
            filled_at: Duration::ZERO,
        }
    }

    /// Takes one write; false when it has to wait.
    pub(crate) fn take(&mut self, now: Duration) -> bool {
        let passed_ms = now.saturating_sub(self.filled_at).as_millis();
        let passed_ms = u64::try_from(passed_ms).unwrap_or(u64::MAX);
        let gained = passed_ms.saturating_mul(PER_SECOND);
        self.thousandths = self.thousandths.saturating_add(gained).min(BURST * 1000);
        self.filled_at = now;
        let Some(left) = self.thousandths.checked_sub(1000) else {
            return false;
        };
        self.thousandths = left;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f42_reports_come_in_one_burst_and_then_slowly() {
        let mut rate = Rate::new();
        let at = Duration::from_secs;
        let taken = (0..1000).filter(|_| rate.take(at(100))).count();
        assert_eq!(taken, 50);
        let taken = (0..1000).filter(|_| rate.take(at(101))).count();
        assert_eq!(taken, 15);
        // A long rest saves up no more than one burst.
        let taken = (0..1000).filter(|_| rate.take(at(100_000))).count();
        assert_eq!(taken, 50);
    }

    #[test]
    fn slow_but_steady_asking_loses_nothing_to_rounding() {
        let mut rate = Rate::new();
        while rate.take(Duration::from_secs(1)) {}
        let taken = (1..=1000)
            .filter(|ms| rate.take(Duration::from_millis(1000 + ms)))
            .count();
        assert_eq!(taken, 15);
    }
}
