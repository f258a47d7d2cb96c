//! Reboots that a human gives up: which end, when, and what becomes of their slot.

use crate::look::code;
use crate::operations::{ALL, bring, world};
use crate::world::World;
use slipway_api::Phase;
use slipway_api::people::Release;
use slipway_planner::snapshot::CordonState;
use slipway_planner::{Action, FreeBecause, Reason};

fn release(world: &mut World, node: &str, force: bool) {
    let fence = world.lease(node).granted_fence();
    world.lease_mut(node).spec.release = Some(Release {
        fence,
        by: "ada".into(),
        reason: "it is dead".into(),
        force,
    });
}

#[test]
fn f95_a_release_ends_any_accepted_reboot_and_gives_its_slot_back() {
    for phase in [
        Phase::Draining,
        Phase::Drained,
        Phase::Rebooting,
        Phase::Rebooted,
    ] {
        let mut world = world(ALL).need(&["a"]);
        bring(&mut world, "a", phase);
        // The agent is gone for good.
        world.node_mut("a").ready = false;
        release(&mut world, "a", true);
        world.pass();
        assert_eq!(world.phase("a"), Some(Phase::Failed), "{phase}");
        let cordoned = world.node("a").cordon != CordonState::Absent;
        world.settle();
        assert_eq!(world.slots().len(), usize::from(cordoned), "{phase}");
        world.wait(60);
        let freed = world.plan().actions.iter().any(|action| {
            matches!(
                action,
                Action::FreeSlot {
                    because: FreeBecause::Released,
                    ..
                }
            )
        });
        assert_eq!(freed, cordoned, "{phase}");
        world.settle();
        assert!(world.slots().is_empty(), "{phase}");
    }
}

#[test]
fn f95_without_force_a_committed_reboot_is_given_up_only_after_ten_minutes() {
    let mut world = world(ALL).need(&["a"]);
    bring(&mut world, "a", Phase::Rebooting);
    release(&mut world, "a", false);
    let plan = world.settle();
    assert_eq!(code(&plan, "a"), "ReleaseWaits");
    assert_eq!(world.phase("a"), Some(Phase::Rebooting));
    world.wait(599);
    assert_eq!(code(&world.settle(), "a"), "ReleaseWaits");
    world.wait(1);
    world.pass();
    assert_eq!(world.phase("a"), Some(Phase::Failed));
}

#[test]
fn f106_a_release_of_an_earlier_reboot_ends_nothing() {
    let mut world = world(ALL).need(&["a"]);
    bring(&mut world, "a", Phase::Draining);
    release(&mut world, "a", true);
    world.lease_mut("a").spec.release.as_mut().unwrap().fence -= 1;
    world.settle();
    assert_eq!(world.phase("a"), Some(Phase::Draining));
}

#[test]
fn s5_a_slot_is_not_given_back_for_an_ending_that_nobody_released() {
    let mut world = world(ALL).need(&["a"]);
    bring(&mut world, "a", Phase::Drained);
    release(&mut world, "a", true);
    world.enter("a", Phase::Failed, "DrainTimeout");
    world.wait(3600);
    world.settle();
    assert_eq!(world.slots().len(), 1, "the agent owes the undo");
}

#[test]
fn a_release_before_the_grant_is_accepted_calls_it_off() {
    let mut world = world(ALL).need(&["a"]);
    bring(&mut world, "a", Phase::Granted);
    release(&mut world, "a", false);
    let plan = world.pass();
    let revoked = plan.actions.iter().any(|action| {
        matches!(
            action,
            Action::Revoke {
                reason: Reason::Released { .. },
                ..
            }
        )
    });
    assert!(revoked, "{plan:#?}");
}

#[test]
fn a_revoked_reboot_whose_agent_never_answers_can_be_released() {
    let mut world = world(ALL).need(&["a"]);
    bring(&mut world, "a", Phase::Draining);
    world.edit_policy("p", "{nodeSelector: {}, paused: true}");
    world.settle();
    assert_eq!(world.slots().len(), 1);
    release(&mut world, "a", false);
    world.pass();
    assert_eq!(world.phase("a"), Some(Phase::Failed));
}
