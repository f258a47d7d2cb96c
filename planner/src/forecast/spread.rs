//! How long reboots take, as a spread instead of one number, and draws from it without randomness.

use jiff::SignedDuration;
use slipway_api::PolicyRecord;
use slipway_api::policy::RebootPolicySpec;

use crate::breaker::record;
use crate::limits::DURATIONS_MIN;
use crate::pace;
use crate::snapshot::{PolicyView, Snapshot};

/// Half of all reboots take this long, from the grant until the next node may go, where none is on
/// record. `verify.nodeReadyFor` comes on top.
const ASSUMED_P50: SignedDuration = SignedDuration::from_mins(4);
/// The same for nine of ten.
const ASSUMED_P90: SignedDuration = SignedDuration::from_mins(12);
/// How far the 90th percentile of a normal distribution is from its middle.
const NORMAL_P90: f64 = 1.281_551_6;
/// The upper half of a normal distribution in 32 steps of the same probability.
const NORMAL: [f64; 32] = [
    0.0196, 0.0588, 0.0981, 0.1375, 0.1772, 0.2171, 0.2574, 0.2981, 0.3393, 0.3811, 0.4236, 0.4668,
    0.511, 0.5561, 0.6024, 0.6501, 0.6993, 0.7502, 0.8032, 0.8585, 0.9166, 0.9779, 1.0432, 1.1132,
    1.1892, 1.2727, 1.3662, 1.4735, 1.601, 1.7617, 1.9874, 2.4176,
];

/// How long a reboot takes, from its grant until its slot is free again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Durations {
    /// Half of them take at most this long.
    pub p50: SignedDuration,
    /// Nine of ten take at most this long.
    pub p90: SignedDuration,
}

impl Durations {
    /// Of a policy: what is on record, or assumed until [`DURATIONS_MIN`] of its reboots are.
    pub fn of(snapshot: &Snapshot, policy: &PolicyView) -> Self {
        let ledger = snapshot.ledger.present();
        let status = ledger.and_then(|ledger| ledger.status.as_ref());
        let record = status.and_then(|status| record(status, &policy.uid));
        Self::recorded(record).unwrap_or_else(|| Self::assumed(&policy.spec))
    }

    /// What is on record, if enough is.
    pub fn recorded(record: Option<&PolicyRecord>) -> Option<Self> {
        let reboots = &record?.reboots;
        if reboots.len() < DURATIONS_MIN {
            return None;
        }
        let of = |percent| pace::percentile(reboots, |took| took.total, percent);
        Some(Self {
            p50: of(50)?,
            p90: of(90)?,
        })
    }

    /// What is assumed of a policy until its own reboots are on record.
    pub fn assumed(spec: &RebootPolicySpec) -> Self {
        let settle = spec.verify.node_ready_for.signed();
        Self {
            p50: ASSUMED_P50.saturating_add(settle),
            p90: ASSUMED_P90.saturating_add(settle),
        }
    }
}

/// Durations as 64 steps of the same probability: a log-normal distribution through both
/// percentiles, which is what waiting times of this kind look like (never negative, a long tail).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spread {
    /// Whole seconds, rising.
    steps: Vec<i64>,
}

impl Spread {
    /// The spread through two percentiles.
    pub fn new(durations: Durations) -> Self {
        let p50 = durations.p50.as_secs_f64().max(1.0);
        let p90 = durations.p90.as_secs_f64().max(p50);
        let width = (p90 / p50).ln() / NORMAL_P90;
        let step = |z: f64| {
            SignedDuration::try_from_secs_f64(p50 * (width * z).exp())
                .map_or(i64::MAX / 1_000_000, |length| length.as_secs().max(1))
        };
        let low = NORMAL.iter().rev().map(|z| step(-z));
        let high = NORMAL.iter().map(|z| step(*z));
        Self {
            steps: low.chain(high).collect(),
        }
    }

    /// The duration that belongs to a seed: every step is as likely as the others.
    pub fn draw(&self, seed: u64) -> i64 {
        self.draw_from(seed, 0)
    }

    /// What is left of a duration of which `elapsed` seconds have passed.
    pub(super) fn draw_rest(&self, seed: u64, elapsed: i64) -> i64 {
        let passed = self.steps.partition_point(|step| *step <= elapsed);
        // Longer than all that is known: it may end at any moment.
        let total = self.draw_from(seed, passed);
        total.saturating_sub(elapsed).max(1)
    }

    fn draw_from(&self, seed: u64, passed: usize) -> i64 {
        let left = self.steps.len().saturating_sub(passed);
        let index = usize::try_from(seed >> 33)
            .unwrap_or_default()
            .checked_rem(left)
            .map_or(passed, |index| passed.saturating_add(index));
        self.steps.get(index).copied().unwrap_or_default()
    }
}

/// A number that looks random and is the same for the same input: a forecast has to be repeatable,
/// else every pass would move it.
pub fn mix(seed: u64, more: u64) -> u64 {
    let mut z = seed.wrapping_add(more.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15));
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// The seed of a name.
pub(super) fn seed(name: &str) -> u64 {
    name.bytes().fold(0xCBF2_9CE4_8422_2325, |seed, byte| {
        mix(seed, u64::from(byte))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn minutes(p50: i64, p90: i64) -> Spread {
        Spread::new(Durations {
            p50: SignedDuration::from_mins(p50),
            p90: SignedDuration::from_mins(p90),
        })
    }

    #[test]
    fn half_of_all_draws_are_below_the_middle_and_nine_of_ten_below_p90() {
        let spread = minutes(5, 15);
        let share = |limit: i64| {
            let draws = (0..10_000).map(|seed| spread.draw(mix(7, seed)));
            draws.filter(|length| *length <= limit).count()
        };
        assert!((4_800..5_200).contains(&share(300)), "{}", share(300));
        assert!((8_800..9_200).contains(&share(900)), "{}", share(900));
    }

    #[test]
    fn what_is_left_is_never_negative_and_shorter_than_the_whole() {
        let spread = minutes(5, 15);
        for elapsed in [0, 60, 600, 100_000] {
            for seed in 0..200 {
                assert!(spread.draw_rest(mix(3, seed), elapsed) >= 1);
            }
        }
        let late = (0..200).map(|seed| spread.draw_rest(mix(3, seed), 100_000));
        assert_eq!(late.max(), Some(1));
    }

    #[test]
    fn without_a_spread_every_draw_is_the_same() {
        let spread = minutes(5, 5);
        assert!((0..100).all(|seed| (299..=300).contains(&spread.draw(mix(1, seed)))));
    }
}
