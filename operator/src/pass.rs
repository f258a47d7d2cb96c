//! The driver: one pass over everything, woken by any change or by time.
//!
//! observe -> plan -> check -> apply -> report. Nothing else plans, and there is never more than
//! one pass at a time: a limit over all nodes cannot be decided for one node.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use slipway_client::clock;
use slipway_planner::check::{Violation, check};
use slipway_planner::{Plan, Snapshot, plan};
use tokio::sync::{Notify, watch};

use crate::apply::{Context, Outcome, apply};
use crate::events::Notice;
use crate::health::Beat;
use crate::notify::Notifier;
use crate::observe::Observer;
use crate::report::Reporter;
use crate::runtime::told;

/// Changes come in bunches: a pass waits for this long after the first of them.
const DEBOUNCE: Duration = Duration::from_millis(100);
/// Shortest pause that time alone ends.
const PAUSE_MIN: Duration = Duration::from_secs(1);
/// Longest pause: whatever a watch has missed is found by then.
const PAUSE_MAX: Duration = Duration::from_mins(10);
/// First pause after a failed call; doubles up to [`RETRY_MAX`].
const RETRY_MIN: Duration = Duration::from_secs(2);
/// Longest pause after failed calls.
const RETRY_MAX: Duration = Duration::from_mins(1);
/// Pause after an action was skipped: its cache should have caught up by then.
const SKIPPED: Duration = Duration::from_secs(5);

/// Drives the passes of the leader.
pub(crate) struct Driver {
    pub(crate) ctx: Context,
    pub(crate) observer: Observer,
    pub(crate) reporter: Reporter,
    pub(crate) notifier: Notifier,
    pub(crate) wake: Arc<Notify>,
    pub(crate) beat: Beat,
    pub(crate) refused: Vec<Violation>,
    pub(crate) failures: u32,
}

/// What a pass left behind, for the pause after it.
#[derive(Clone, Copy, Debug, Default)]
struct Rest {
    wake_in: Option<Duration>,
    unfinished: bool,
    skipped: bool,
    failures: u32,
}

impl Driver {
    /// Waits for leadership, then passes until `stop`.
    pub(crate) async fn run(mut self, mut stop: watch::Receiver<bool>) {
        loop {
            tokio::select! {
                biased;
                () = told(&mut stop) => return,
                led = self.ctx.leadership.acquired() => if led { break } else { return },
                // A replica that waits is alive.
                () = tokio::time::sleep(RETRY_MAX) => self.beat.beat(),
            }
        }
        self.observer.begin();
        loop {
            let pause = pause(self.pass().await) + jitter();
            self.beat.beat();
            tokio::select! {
                biased;
                () = told(&mut stop) => return,
                () = debounced(&self.wake) => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    async fn pass(&mut self) -> Rest {
        let started = clock::boottime();
        let now = clock::wall();
        let Some(snapshot) = self.observer.observe(now).await else {
            return Rest {
                unfinished: true,
                ..Rest::default()
            };
        };
        let plan = plan(&snapshot, now);
        self.ctx.blockers.want(&snapshot, &plan);
        self.notifier.offer(&snapshot, now);
        let outcomes = if self.passes_check(&snapshot, &plan, now) {
            apply(&self.ctx, &snapshot, &plan).await
        } else {
            Vec::new()
        };
        let of = |wanted: fn(&Outcome) -> bool| outcomes.iter().filter(move |(_, o)| wanted(o));
        let applied = of(|outcome| matches!(outcome, Outcome::Applied));
        let written: BTreeSet<String> = applied
            .filter_map(|(action, _)| action.node().map(str::to_owned))
            .collect();
        self.ctx.metrics.show(&snapshot, &plan);
        let more = self
            .reporter
            .report(&self.ctx, (&snapshot, &plan), &written, now)
            .await;
        let failed = of(|outcome| matches!(outcome, Outcome::Failed(_))).count() > 0;
        self.failures = if failed {
            self.failures.saturating_add(1)
        } else {
            0
        };
        self.ctx
            .metrics
            .pass_took(clock::boottime().saturating_sub(started));
        Rest {
            wake_in: plan.wake_at.map(|at| until(at, clock::wall())),
            unfinished: more || (self.refused.is_empty() && outcomes.len() < plan.actions.len()),
            skipped: of(|outcome| matches!(outcome, Outcome::Skipped(_))).count() > 0,
            failures: self.failures,
        }
    }

    /// A plan that would break an invariant is not applied. It is told on change, and never ends
    /// the process: the next pass may see more.
    fn passes_check(&mut self, snapshot: &Snapshot, plan: &Plan, now: Timestamp) -> bool {
        let violations = check(snapshot, plan, now);
        if !violations.is_empty() {
            self.ctx.metrics.check_refused();
        }
        if violations != self.refused {
            for violation in &violations {
                let (rule, message) = (violation.rule, violation.message.as_str());
                tracing::error!(rule, message, "the plan is refused");
                let ledger = snapshot.ledger.present();
                let uid = ledger.and_then(|ledger| ledger.metadata.uid.clone());
                self.reporter
                    .tell(Notice::refused(&uid.unwrap_or_default(), violation));
            }
            self.refused = violations;
        }
        self.refused.is_empty()
    }
}

async fn debounced(wake: &Notify) {
    wake.notified().await;
    tokio::time::sleep(DEBOUNCE).await;
}

fn until(at: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(at.duration_since(now)).unwrap_or(Duration::ZERO)
}

/// How long to wait for a change before looking again.
fn pause(rest: Rest) -> Duration {
    let mut pause = rest
        .wake_in
        .unwrap_or(PAUSE_MAX)
        .clamp(PAUSE_MIN, PAUSE_MAX);
    if rest.unfinished {
        pause = pause.min(PAUSE_MIN);
    }
    if rest.skipped {
        pause = pause.min(SKIPPED);
    }
    if rest.failures > 0 {
        // An API server in trouble is not asked every second, whatever is due.
        let doublings = rest.failures.saturating_sub(1).min(5);
        pause = (RETRY_MIN * 2_u32.pow(doublings)).min(RETRY_MAX);
    }
    pause
}

/// Up to half a second, so that replicas of different clusters on one clock do not ask together.
fn jitter() -> Duration {
    Duration::from_millis(u64::from(clock::boottime().subsec_nanos() % 500))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn in_seconds(seconds: u64) -> Rest {
        Rest {
            wake_in: Some(Duration::from_secs(seconds)),
            ..Rest::default()
        }
    }

    #[test]
    fn a_pause_is_never_shorter_than_a_second_nor_longer_than_ten_minutes() {
        assert_eq!(pause(in_seconds(0)), PAUSE_MIN);
        assert_eq!(pause(in_seconds(30)), Duration::from_secs(30));
        assert_eq!(pause(in_seconds(1_000_000)), PAUSE_MAX);
        assert_eq!(pause(Rest::default()), PAUSE_MAX);
    }

    #[test]
    fn what_was_left_unfinished_is_gone_on_with_soon() {
        assert_eq!(
            pause(Rest {
                unfinished: true,
                ..in_seconds(300)
            }),
            PAUSE_MIN
        );
        assert_eq!(
            pause(Rest {
                skipped: true,
                ..in_seconds(300)
            }),
            SKIPPED
        );
        assert_eq!(
            pause(Rest {
                skipped: true,
                ..in_seconds(2)
            }),
            Duration::from_secs(2)
        );
    }

    #[test]
    fn failures_slow_the_passes_down_up_to_a_minute() {
        let after = |failures| {
            pause(Rest {
                failures,
                ..in_seconds(1)
            })
            .as_secs()
        };
        assert_eq!(
            [1, 2, 3, 4, 5, 6, u32::MAX].map(after),
            [2, 4, 8, 16, 32, 60, 60]
        );
    }

    #[test]
    fn a_moment_that_has_passed_is_now() {
        let now: Timestamp = "2026-11-24T12:00:00Z".parse().unwrap();
        let past: Timestamp = "2026-11-24T11:00:00Z".parse().unwrap();
        assert_eq!(until(past, now), Duration::ZERO);
        assert_eq!(until(now, past), Duration::from_hours(1));
    }
}
