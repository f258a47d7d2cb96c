//! When a policy's schedule lets reboots start, as far ahead as a forecast looks.

use jiff::Timestamp;

use crate::gates;
use crate::snapshot::PolicyView;
use crate::window::Opening;

/// Where no window is in sight it is asked again this much later: the planner itself looks only
/// some days ahead.
const LOOK_AGAIN: i64 = 7 * 24 * 3600;

/// What a schedule says at one moment. All times are Unix seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Gate {
    /// Reboots may start; it closes then.
    Open { end: i64 },
    /// None may; asked again then.
    Closed { again: i64 },
}

#[derive(Clone, Copy, Debug)]
struct Stretch {
    to: i64,
    gate: Gate,
}

/// The schedule of one policy, read from its windows once and kept for every run.
#[derive(Clone, Debug)]
pub(super) struct Calendar<'a> {
    policy: &'a PolicyView,
    from: i64,
    stretches: Vec<Stretch>,
}

impl<'a> Calendar<'a> {
    pub(super) fn new(policy: &'a PolicyView, now: i64) -> Self {
        Self {
            policy,
            from: now,
            stretches: Vec::new(),
        }
    }

    /// What the schedule says at a moment, which is never before `now`.
    pub(super) fn at(&mut self, time: i64) -> Gate {
        loop {
            let known = self.stretches.last().map_or(self.from, |last| last.to);
            if time < known {
                let index = self.stretches.partition_point(|stretch| stretch.to <= time);
                return self
                    .stretches
                    .get(index)
                    .map_or(Gate::Closed { again: known }, |stretch| stretch.gate);
            }
            let next = self.read(known);
            self.stretches.push(next);
        }
    }

    fn read(&self, time: i64) -> Stretch {
        let moment = Timestamp::from_second(time).unwrap_or(Timestamp::MAX);
        let open = |end: i64| Stretch {
            to: end,
            gate: Gate::Open { end },
        };
        let closed = |to: i64| Stretch {
            to,
            gate: Gate::Closed { again: to },
        };
        match gates::schedule(self.policy, moment) {
            Some(Opening::Always) => open(i64::MAX),
            Some(Opening::Open { span }) => open(ceil(span.end).max(time.saturating_add(1))),
            Some(Opening::Closed { next: Some(next) }) => {
                closed(ceil(next.start).max(time.saturating_add(1)))
            }
            Some(Opening::Closed { next: None }) | None => closed(time.saturating_add(LOOK_AGAIN)),
        }
    }
}

/// The first whole second at or after a moment.
fn ceil(time: Timestamp) -> i64 {
    let second = time.as_second();
    if time.subsec_nanosecond() > 0 {
        second.saturating_add(1)
    } else {
        second
    }
}
