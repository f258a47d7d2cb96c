//! What one process has seen itself. Losing it costs time, never safety: everything that safety
//! needs is in the lease, the Node and the journal.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use slipway_api::{Phase, RebootLease, drain_filter};

use crate::drain::Drain;
use crate::facts::{Clocks, Outcome, Preflight, Seen};
use crate::host::Offer;

/// How long the answer to the question before the cordon is good.
const PREFLIGHT_VALID: Duration = Duration::from_secs(30);

/// The memory.
#[derive(Debug, Default)]
pub struct Memory {
    /// The fence whose cordon was seen in force.
    pub cordoned: Option<i64>,
    /// How an undone reboot ended, until the lease says so.
    pub outcome: Option<(i64, Outcome)>,
    /// The present drain.
    pub drain: Option<Drain>,
    preflight: Option<Asked>,
    drain_clock: Option<DrainClock>,
    pods_returned: Option<(i64, Timestamp)>,
    kind_missing_since: Option<Duration>,
    kept: Option<Kept>,
}

/// What keeps the machine from being rebooted, and since when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Kept {
    fence: i64,
    kind: std::mem::Discriminant<Offer>,
    since: Duration,
}

/// What was answered before the cordon.
#[derive(Clone, Debug)]
struct Asked {
    fence: i64,
    at: Duration,
    /// Since when pods are held, and which; `None` when none is.
    blocked: Option<(Duration, String)>,
}

#[derive(Clone, Copy, Debug)]
struct DrainClock {
    fence: i64,
    /// What had passed by the wall clock when this process first saw the drain.
    before: Duration,
    /// Time since boot at that moment.
    since: Duration,
}

impl Memory {
    /// What to decide by. `pods` is how many must leave, if they were listed.
    pub fn seen(
        &mut self,
        lease: Option<&RebootLease>,
        pods: Option<usize>,
        clocks: &Clocks,
    ) -> Seen {
        let Some(lease) = lease.filter(|lease| lease.phase().is_accepted()) else {
            self.drain_clock = None;
            self.pods_returned = None;
            self.preflight = None;
            return Seen::default();
        };
        let fence = lease.accepted_fence();
        let drain_elapsed = self.drain_elapsed(lease, clocks);
        // Where the policy reboots with pods left, pods that are there have not come back.
        let anyway = lease.spec.grant.as_ref().is_some_and(|grant| {
            let passed = SignedDuration::try_from(drain_elapsed).unwrap_or_default();
            grant.fence == fence && drain_filter::goes_anyway(grant, passed)
        });
        let left = pods.is_some_and(|left| left > 0);
        if lease.phase() == Phase::Drained && left && !anyway {
            self.pods_returned = Some((fence, clocks.api));
        }
        Seen {
            cordoned: self.cordoned,
            drain_elapsed,
            preflight: self.preflight(fence, clocks.boottime),
            pods_returned: self
                .pods_returned
                .filter(|(of, _)| *of == fence)
                .map(|(_, at)| at),
            kept: Duration::ZERO,
            outcome: self.outcome.clone(),
        }
    }

    /// Notes whether pods are held before the cordon, and which.
    pub fn note_preflight(&mut self, fence: i64, blocked: Option<String>, boottime: Duration) {
        let before = self.preflight.take().filter(|asked| asked.fence == fence);
        let since = before
            .and_then(|asked| asked.blocked)
            .map_or(boottime, |(since, _)| since);
        self.preflight = Some(Asked {
            fence,
            at: boottime,
            blocked: blocked.map(|message| (since, message)),
        });
    }

    fn preflight(&self, fence: i64, boottime: Duration) -> Preflight {
        let asked = self.preflight.as_ref().filter(|asked| asked.fence == fence);
        match asked {
            Some(asked) if boottime.saturating_sub(asked.at) < PREFLIGHT_VALID => {
                match &asked.blocked {
                    None => Preflight::Passed,
                    Some((since, message)) => Preflight::Blocked {
                        lasted: boottime.saturating_sub(*since),
                        message: message.clone(),
                    },
                }
            }
            Some(_) | None => Preflight::Unknown,
        }
    }

    /// The drain of `fence`, begun when there is none.
    pub fn drain(&mut self, fence: i64) -> &mut Drain {
        let present = self.drain.take().filter(|drain| drain.fence == fence);
        self.drain
            .insert(present.unwrap_or_else(|| Drain::new(fence)))
    }

    /// How long the machine has given the present kind of answer other than yes; asked in every pass.
    pub fn kept(&mut self, lease: Option<&RebootLease>, offer: &Offer, now: Duration) -> Duration {
        let uncommitted = |lease: &&RebootLease| {
            matches!(lease.phase(), Phase::Draining | Phase::Drained) && !offer.is_ready()
        };
        let Some(lease) = lease.filter(uncommitted) else {
            self.kept = None;
            return Duration::ZERO;
        };
        let (fence, kind) = (lease.accepted_fence(), std::mem::discriminant(offer));
        let same = |kept: &Kept| (kept.fence, kept.kind) == (fence, kind);
        let since = self.kept.filter(same).map_or(now, |kept| kept.since);
        self.kept = Some(Kept { fence, kind, since });
        now.saturating_sub(since)
    }

    /// How long the API server has said that it does not know the kind.
    pub fn kind_missing(&mut self, boottime: Duration) -> Duration {
        let since = *self.kind_missing_since.get_or_insert(boottime);
        boottime.saturating_sub(since)
    }

    /// The kind is known again.
    pub fn kind_present(&mut self) {
        self.kind_missing_since = None;
    }

    /// On BOOTTIME since this process saw the drain, by the wall clock before: a clock that jumps
    /// must neither end a drain nor prolong it for ever (F18).
    fn drain_elapsed(&mut self, lease: &RebootLease, clocks: &Clocks) -> Duration {
        let fence = lease.accepted_fence();
        let known = self.drain_clock.filter(|clock| clock.fence == fence);
        let clock = known.unwrap_or_else(|| DrainClock {
            fence,
            before: passed_since_accept(lease, clocks.wall),
            since: clocks.boottime,
        });
        self.drain_clock = Some(clock);
        let here = clocks.boottime.saturating_sub(clock.since);
        clock.before.saturating_add(here)
    }
}

fn passed_since_accept(lease: &RebootLease, wall: Timestamp) -> Duration {
    let steps = lease.status.iter().flat_map(|status| &status.transitions);
    let accepted = steps.rev().find(|step| step.phase == Phase::Draining);
    let passed = accepted.map(|step| wall.duration_since(step.at.0));
    passed
        .and_then(|passed| Duration::try_from(passed).ok())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn lease(phase: &str) -> RebootLease {
        serde_json::from_value(json!({
            "apiVersion": "slipway.dev/v1alpha1", "kind": "RebootLease", "metadata": {"name": "n"},
            "spec": {"nodeUID": "u", "requestedAt": "2026-01-01T00:00:00Z"},
            "status": {"phase": phase, "fence": 7, "transitions": [
                {"phase": "Draining", "at": "2026-01-01T00:00:00.000000Z"}]},
        }))
        .unwrap()
    }

    fn clocks(wall: &str, boottime: u64) -> Clocks {
        let wall = wall.parse().unwrap();
        Clocks {
            api: wall,
            wall,
            boottime: Duration::from_secs(boottime),
            started: Duration::ZERO,
        }
    }

    #[test]
    fn a_drain_is_timed_by_the_wall_before_a_restart_and_on_boottime_after_it() {
        let mut memory = Memory::default();
        let lease = lease("Draining");
        let first = memory.seen(Some(&lease), None, &clocks("2026-01-01T00:10:00Z", 50));
        assert_eq!(first.drain_elapsed, Duration::from_mins(10));
        // The wall clock jumps a day; the drain does not.
        let later = memory.seen(Some(&lease), None, &clocks("2026-01-02T00:10:00Z", 80));
        assert_eq!(later.drain_elapsed, Duration::from_secs(630));
    }

    #[test]
    fn a_preflight_counts_from_when_pods_were_first_held_and_its_answer_ages() {
        let mut memory = Memory::default();
        let at = Duration::from_secs;
        assert_eq!(memory.preflight(7, at(10)), Preflight::Unknown);
        memory.note_preflight(7, Some("a".into()), at(10));
        memory.note_preflight(7, Some("b".into()), at(40));
        let blocked = Preflight::Blocked {
            lasted: at(31),
            message: "b".into(),
        };
        assert_eq!(memory.preflight(7, at(41)), blocked);
        // Another grant asks for itself.
        assert_eq!(memory.preflight(8, at(41)), Preflight::Unknown);
        memory.note_preflight(7, None, at(42));
        assert_eq!(memory.preflight(7, at(43)), Preflight::Passed);
        assert_eq!(memory.preflight(7, at(72)), Preflight::Unknown);
        // Held again: it counts from here.
        memory.note_preflight(7, Some("c".into()), at(80));
        assert!(
            matches!(memory.preflight(7, at(80)), Preflight::Blocked { lasted, .. } if lasted.is_zero())
        );
    }

    #[test]
    fn pods_that_a_policy_leaves_on_the_node_have_not_come_back() {
        let mut memory = Memory::default();
        let mut lease = lease("Drained");
        let grant = json!({"fence": 7, "grantedAt": "2026-01-01T00:00:00Z",
            "notAfter": "2026-01-01T01:00:00Z", "reboot": {}, "verify": {},
            "drain": {"timeout": "10m", "onTimeout": "RebootAnyway"}});
        lease.spec.grant = serde_json::from_value(grant).unwrap();
        let early = clocks("2026-01-01T00:09:00Z", 50);
        assert!(
            memory
                .seen(Some(&lease), Some(1), &early)
                .pods_returned
                .is_some()
        );
        memory = Memory::default();
        let late = clocks("2026-01-01T00:10:00Z", 50);
        assert_eq!(
            memory.seen(Some(&lease), Some(1), &late).pods_returned,
            None
        );
    }

    #[test]
    fn f61_pods_that_come_back_after_drained_are_remembered() {
        let mut memory = Memory::default();
        let now = clocks("2026-01-01T00:10:00Z", 50);
        assert_eq!(
            memory
                .seen(Some(&lease("Drained")), Some(0), &now)
                .pods_returned,
            None
        );
        assert_eq!(
            memory
                .seen(Some(&lease("Drained")), Some(1), &now)
                .pods_returned,
            Some(now.api)
        );
        let later = clocks("2026-01-01T00:11:00Z", 110);
        assert_eq!(
            memory
                .seen(Some(&lease("Drained")), Some(0), &later)
                .pods_returned,
            Some(now.api)
        );
        assert_eq!(
            memory
                .seen(Some(&lease("Aborted")), None, &later)
                .pods_returned,
            None
        );
    }

    #[test]
    fn f08_an_obstacle_counts_from_when_it_was_first_met_and_another_one_anew() {
        let mut memory = Memory::default();
        let (drained, at) = (lease("Drained"), Duration::from_secs);
        let locked = |who: &str| Offer::Inhibited {
            method: slipway_api::policy::RebootMethod::Logind,
            by: vec![who.to_owned()],
        };
        let silent = Offer::Unanswered {
            reason: String::new(),
        };
        let ready = Offer::by(slipway_api::policy::RebootMethod::Logind);
        let mut kept = |offer: &Offer, now| memory.kept(Some(&drained), offer, at(now));
        assert_eq!(kept(&locked("dpkg"), 10), at(0));
        assert_eq!(kept(&locked("backup"), 40), at(30));
        assert_eq!(kept(&silent, 50), at(0));
        assert_eq!(kept(&locked("backup"), 60), at(0));
        assert_eq!(kept(&ready, 70), at(0));
        assert_eq!(kept(&locked("backup"), 80), at(0));
        // What is committed is not kept any more.
        let committed = lease("Rebooting");
        assert_eq!(
            memory.kept(Some(&committed), &locked("dpkg"), at(99)),
            at(0)
        );
    }

    #[test]
    fn f75_a_missing_kind_counts_from_when_it_was_first_missed() {
        let mut memory = Memory::default();
        let at = Duration::from_secs;
        assert_eq!(memory.kind_missing(at(10)), Duration::ZERO);
        assert_eq!(memory.kind_missing(at(40)), at(30));
        memory.kind_present();
        assert_eq!(memory.kind_missing(at(50)), Duration::ZERO);
    }
}
