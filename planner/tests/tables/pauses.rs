//! What takes its time between the drain and the second key (faults.md G8, F108).

use jiff::SignedDuration;
use slipway_api::Phase;
use slipway_planner::clear::{self, ClearVerdict};
use slipway_planner::{Action, Reason};

use crate::world::World;

/// A node that was drained a moment ago, under this policy.
fn drained(spec: &str) -> World {
    let mut world = World::new().policy("p", spec).nodes(&["a"]).need(&["a"]);
    for _ in 0..20 {
        world.pass();
        world.agent("a");
        if world.phase("a") == Some(Phase::Drained) {
            return world;
        }
    }
    panic!("never drained: {:?}", world.phase("a"));
}

fn verdict(world: &World) -> ClearVerdict {
    let fence = world.lease("a").granted_fence();
    clear::judge(&world.snapshot, "a", fence, &[], world.now)
}

fn attached(world: &mut World, names: &[&str]) {
    let names = names.iter().map(|name| (*name).to_owned()).collect();
    world.snapshot.volumes.insert("a".to_owned(), names);
}

#[test]
fn the_delay_passes_before_the_second_key_and_every_check_comes_after_it() {
    let mut world = drained("{nodeSelector: {}, reboot: {delay: 5m}}");
    let until = world.now + SignedDuration::from_mins(5);
    let waits = ClearVerdict::Wait(Reason::RebootDelay { until });
    assert_eq!(verdict(&world), waits);
    let plan = world.plan();
    assert_eq!(plan.verdicts["a"].reason.code(), "RebootDelay");
    // It is asked at once, so that the lease says so, and again when the delay is over.
    assert!(
        plan.actions
            .iter()
            .any(|it| matches!(it, Action::Clear { .. }))
    );
    assert_eq!(plan.wake_at, Some(until));
    world.wait(299);
    assert_eq!(verdict(&world), waits);
    world.wait(1);
    assert_eq!(verdict(&world), ClearVerdict::Clear);
}

#[test]
fn a_definite_no_calls_off_a_node_in_its_delay() {
    let mut world = drained("{nodeSelector: {}, reboot: {delay: 5m}}");
    world.edit_policy("p", "{nodeSelector: {}, paused: true, reboot: {delay: 5m}}");
    assert!(matches!(
        verdict(&world),
        ClearVerdict::Revoke(Reason::PolicyPaused { .. })
    ));
    // The grant's own copy rules: an edit neither ends nor prolongs it.
    let mut world = drained("{nodeSelector: {}, reboot: {delay: 5m}}");
    world.edit_policy("p", "{nodeSelector: {}}");
    assert!(matches!(
        verdict(&world),
        ClearVerdict::Wait(Reason::RebootDelay { .. })
    ));
}

#[test]
fn f108_volumes_are_waited_for_and_only_as_long_as_the_policy_says() {
    let mut world = drained("{nodeSelector: {}, drain: {waitForVolumeDetach: 1m}}");
    let until = world.now + SignedDuration::from_mins(1);
    attached(&mut world, &["csi-1", "csi-2"]);
    let waits = ClearVerdict::Wait(Reason::VolumesAttached {
        count: 2,
        example: "csi-1".to_owned(),
        until,
    });
    assert_eq!(verdict(&world), waits);
    world.wait(59);
    assert_eq!(verdict(&world), waits);
    world.wait(1);
    assert_eq!(verdict(&world), ClearVerdict::Clear);
    attached(&mut world, &[]);
    assert_eq!(verdict(&world), ClearVerdict::Clear);
}

#[test]
fn f108_detached_volumes_and_those_of_a_policy_that_waits_for_none_keep_nobody() {
    let world = drained("{nodeSelector: {}}");
    assert_eq!(verdict(&world), ClearVerdict::Clear);
    let mut world = drained("{nodeSelector: {}, drain: {waitForVolumeDetach: 0s}}");
    attached(&mut world, &["csi-1"]);
    assert_eq!(verdict(&world), ClearVerdict::Clear);
}

#[test]
fn a_clock_that_is_ahead_makes_no_wait_longer_and_an_untold_drain_no_shorter() {
    let spec = "{nodeSelector: {}, reboot: {delay: 5m}}";
    let mut world = drained(spec);
    let ahead = world.now + SignedDuration::from_hours(9);
    let status = world.lease_mut("a").status.as_mut().unwrap();
    status.transitions.last_mut().unwrap().at.0 = ahead;
    let until = world.now + SignedDuration::from_mins(5);
    assert_eq!(
        verdict(&world),
        ClearVerdict::Wait(Reason::RebootDelay { until })
    );
    let mut world = drained(spec);
    world
        .lease_mut("a")
        .status
        .as_mut()
        .unwrap()
        .transitions
        .clear();
    world.wait(3600);
    assert!(matches!(
        verdict(&world),
        ClearVerdict::Wait(Reason::RebootDelay { .. })
    ));
}
