//! What the schedule forbids: freezes, cutoffs, and what a reboot needs of a window.

use jiff::SignedDuration;
use slipway_api::Phase;
use slipway_planner::{Action, Reason, breaker, pace};

use crate::look::{code, grants};
use crate::rollout::{finish, policy, waiting};
use crate::world::World;

#[test]
fn a_freeze_stops_everything_and_says_why() {
    let spec =
        policy("schedule: {freezes: [{from: '2026-11-24', to: '2026-11-25', reason: year-end}]}");
    let mut world = waiting(&spec, &["a"]);
    let plan = world.pass();
    assert_eq!(code(&plan, "a"), "Frozen");
    assert!(plan.verdicts["a"].reason.to_string().ends_with("year-end"));
    assert_eq!(plan.wake_at.unwrap().to_string(), "2026-11-26T00:00:00Z");
    world.now = plan.wake_at.unwrap();
    assert_eq!(grants(&world.pass()), ["a"]);
}

#[test]
fn a_freeze_that_begins_during_a_drain_calls_it_off() {
    let mut world = waiting(&policy("paused: false"), &["a"]);
    world.pass();
    world.agent("a");
    world.edit_policy(
        "p",
        &policy("schedule: {freezes: [{from: '2026-11-24', to: '2026-11-25'}]}"),
    );
    let plan = world.pass();
    assert!(plan.actions.iter().any(|action| matches!(
        action,
        Action::Revoke {
            reason: Reason::Frozen { .. },
            ..
        }
    )));
}

#[test]
fn nothing_starts_that_cannot_finish_before_a_window_ends_or_a_freeze_begins() {
    for (schedule, expected) in [
        (
            "cutoff: 1h, windows: [{start: '10:00', end: '12:59'}]",
            "CutoffReached",
        ),
        (
            "cutoff: 1h, windows: [{start: '10:00', end: '13:01'}]",
            "Granted",
        ),
        (
            "cutoff: 1h, freezes: [{from: '2026-11-24T12:59:00Z', to: '2026-11-25'}]",
            "CutoffReached",
        ),
        (
            "cutoff: 1h, freezes: [{from: '2026-11-24T13:01:00Z', to: '2026-11-25'}]",
            "Granted",
        ),
        // Without a record, Auto is reboot.timeout.
        ("windows: [{start: '10:00', end: '12:14'}]", "CutoffReached"),
        ("windows: [{start: '10:00', end: '12:16'}]", "Granted"),
    ] {
        let mut world = waiting(&policy(&format!("schedule: {{{schedule}}}")), &["a"]);
        assert_eq!(code(&world.pass(), "a"), expected, "{schedule}");
    }
}

#[test]
fn auto_learns_from_the_reboots_that_were_completed() {
    let spec = policy("schedule: {windows: [{start: '10:00', end: '13:00'}]}");
    let mut world = waiting(&spec, &["a", "b"]);
    world.pass();
    world.agent("a");
    // A drain of half an hour.
    world.wait(30 * 60);
    world.pass();
    finish(&mut world, "a");
    let status = world.ledger_mut().status.clone().unwrap();
    let record = breaker::record(&status, &world.snapshot.policies[0].uid).unwrap();
    assert_eq!(record.reboots.len(), 1);
    let took = SignedDuration::from_secs(record.reboots[0].total);
    assert!(took >= SignedDuration::from_mins(30), "{took}");
    assert!(record.reboots[0].away < 60, "{record:?}");
    // A quarter of an hour is left: more than without a record, and too little for another.
    world.now = "2026-11-24T12:45:00Z".parse().unwrap();
    world.settle();
    assert_eq!(code(&world.plan(), "b"), "CutoffReached");
}

#[test]
fn a_drained_node_needs_only_the_time_of_the_reboot_itself() {
    let spec = policy("schedule: {windows: [{start: '10:00', end: '12:16'}]}");
    let mut world = waiting(&spec, &["a"]);
    world.pass();
    for _ in 0..3 {
        world.agent("a");
    }
    assert_eq!(world.phase("a"), Some(Phase::Drained));
    let clears = |world: &World| {
        let plan = world.plan();
        plan.actions
            .iter()
            .any(|action| matches!(action, Action::Clear { .. }))
    };
    world.now = "2026-11-24T12:10:00Z".parse().unwrap();
    assert!(clears(&world));
    world.now = "2026-11-24T12:12:00Z".parse().unwrap();
    assert!(!clears(&world));
    let plan = world.pass();
    assert!(plan.actions.iter().any(|action| matches!(
        action,
        Action::Revoke {
            reason: Reason::CutoffReached { .. },
            ..
        }
    )));
}

#[test]
fn the_time_of_nine_in_ten_is_what_one_in_ten_exceeds() {
    let reboots: Vec<slipway_api::ledger::RebootTime> = (1..=20)
        .map(|total| slipway_api::ledger::RebootTime { total, away: 0 })
        .collect();
    let of = |reboots, percent| pace::percentile(reboots, |took| took.total, percent);
    assert_eq!(of(&reboots, 90), Some(SignedDuration::from_secs(18)));
    assert_eq!(of(&reboots, 50), Some(SignedDuration::from_secs(10)));
    assert_eq!(of(&reboots[..1], 90), Some(SignedDuration::from_secs(1)));
    assert_eq!(of(&[], 90), None);
}
