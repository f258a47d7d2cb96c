//! What a reboot ends in, and what the node does next.

use jiff::SignedDuration;
use slipway_api::Phase;
use slipway_api::lease::CordonRecord;
use slipway_planner::snapshot::{CordonState, Need};

use crate::look::{EVERYTHING, code, in_phase};
use crate::world::World;

#[test]
fn q2_a_node_that_comes_back_not_ready_keeps_its_slot_whatever_the_time() {
    let mut world = in_phase(Phase::Rebooted);
    world.node_mut("a").ready = false;
    world.wait(30 * 24 * 3600);
    let plan = world.settle();
    assert_eq!(world.slots().len(), 1);
    assert_eq!(code(&plan, "a"), "Stuck");
    assert_eq!(plan.policies["p"].stuck, ["a"]);
}

#[test]
fn f11_a_node_that_never_comes_back_is_stuck_and_holds_its_slot() {
    let mut world = in_phase(Phase::Rebooting);
    world.wait(15 * 60 - 1);
    assert_eq!(code(&world.pass(), "a"), "Rebooting");
    world.wait(1);
    assert_eq!(code(&world.pass(), "a"), "Stuck");
    assert_eq!(world.slots().len(), 1);
}

#[test]
fn f12_ready_under_the_old_boot_id_proves_nothing() {
    let mut world = in_phase(Phase::Rebooted);
    world.node_mut("a").boot_id = "a-boot-0".into();
    world.wait(3600);
    world.settle();
    assert_eq!(world.phase("a"), Some(Phase::Rebooted));
}

#[test]
fn the_node_has_to_be_ready_for_as_long_as_the_policy_says() {
    let mut world = in_phase(Phase::Rebooted);
    world.wait(9);
    let plan = world.settle();
    assert_eq!(world.phase("a"), Some(Phase::Rebooted));
    assert_eq!(plan.wake_at, Some(world.now + SignedDuration::from_secs(1)));
    world.wait(1);
    world.settle();
    assert_eq!(world.phase("a"), Some(Phase::Completed));
    assert!(world.slots().is_empty());
}

#[test]
fn s9_a_reboot_does_not_end_while_the_node_carries_our_cordon() {
    for cordon in [ours(1), CordonState::Unreadable] {
        let mut world = in_phase(Phase::Rebooted);
        world.node_mut("a").cordon = cordon;
        world.wait(3600);
        world.settle();
        assert_eq!(world.phase("a"), Some(Phase::Rebooted));
        world.node_mut("a").cordon = CordonState::Absent;
        world.settle();
        assert_eq!(world.phase("a"), Some(Phase::Completed));
    }
}

fn ours(fence: i64) -> CordonState {
    CordonState::Ours(CordonRecord {
        fence,
        unschedulable_before: false,
    })
}

#[test]
fn f10_a_need_that_outlives_a_proven_reboot_fails_and_backs_off() {
    let mut world = in_phase(Phase::Rebooted);
    let long_ago = world.now - SignedDuration::from_hours(1);
    world.node_mut("a").need = Need::Required {
        reason: "SentinelFile".into(),
        message: String::new(),
        since: long_ago,
    };
    world.wait(11);
    let plan = world.settle();
    assert_eq!(world.phase("a"), Some(Phase::Failed));
    assert_eq!(
        world.lease("a").status.as_ref().unwrap().reason,
        "Ineffective"
    );
    assert!(
        plan.verdicts["a"]
            .waiting_for
            .iter()
            .any(|r| r.code() == "BackingOff")
    );
    world.wait(3601);
    world.settle();
    assert_eq!(world.slots().len(), 1, "tried again after an hour");
}

#[test]
fn s7_a_node_is_not_rebooted_more_than_three_times_a_day() {
    let mut world = World::new().policy("p", EVERYTHING).nodes(&["a"]);
    for _ in 0..3 {
        world.require("a");
        for _ in 0..12 {
            world.pass();
            world.agent("a");
            world.wait(11);
        }
        assert_eq!(world.phase("a"), Some(Phase::Completed));
    }
    assert_eq!(world.boots["a"], 3);
    world.require("a");
    let plan = world.settle();
    assert_eq!(code(&plan, "a"), "TooManyReboots");
    world.now = plan.wake_at.unwrap();
    world.settle();
    assert_eq!(world.slots().len(), 1);
}

#[test]
fn s7_a_reboot_that_a_person_gave_up_counts_for_its_machine_may_have_gone_down() {
    let spec = "{nodeSelector: {}, failure: {maxRebootsPerNode: 1, backoff: 1m}}";
    let mut world = in_phase(Phase::Rebooted);
    world.edit_policy("p", spec);
    world.enter("a", Phase::Failed, "Released");
    world.node_mut("a").cordon = CordonState::Absent;
    world.wait(3600);
    world.require("a");
    let plan = world.settle();
    assert_eq!(code(&plan, "a"), "TooManyReboots");
}

#[test]
fn f15_a_need_that_goes_while_the_node_waits_ends_the_wait() {
    let spec = "{nodeSelector: {}, paused: true}";
    let mut world = World::new().policy("p", spec).nodes(&["a"]).need(&["a"]);
    world.settle();
    world.node_mut("a").need = Need::NotRequired;
    world.settle();
    assert_eq!(world.phase("a"), Some(Phase::Aborted));
    assert!(world.slots().is_empty());
}

#[test]
fn the_second_key_is_refreshed_before_it_grows_stale() {
    let mut world = in_phase(Phase::Drained);
    world.settle();
    let first = world.lease("a").spec.clear.clone().unwrap();
    world.wait(19);
    world.settle();
    assert_eq!(world.lease("a").spec.clear, Some(first.clone()));
    world.wait(1);
    world.settle();
    assert!(world.lease("a").spec.clear.as_ref().unwrap().at.0 > first.at.0);
}

#[test]
fn a_stale_view_of_the_need_does_not_reopen_a_completed_lease() {
    let mut world = in_phase(Phase::Rebooted);
    world.wait(11);
    world.settle();
    assert_eq!(world.phase("a"), Some(Phase::Completed));
    let before = world.now - SignedDuration::from_mins(10);
    world.node_mut("a").need = Need::Required {
        reason: "SentinelFile".into(),
        message: String::new(),
        since: before,
    };
    world.settle();
    assert_eq!(world.phase("a"), Some(Phase::Completed));
}
