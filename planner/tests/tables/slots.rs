//! Slots, grants and ledgers that are lost, left over or made anew.

use slipway_api::Phase;
use slipway_planner::clear::{self, ClearVerdict};
use slipway_planner::snapshot::{CordonState, Gap, LedgerState};
use slipway_planner::{Action, FreeBecause, Reason, budget};

use crate::look::{EVERYTHING, code, grant_asked, grants, in_phase, revoked};
use crate::world::World;

#[test]
fn f38_a_slot_without_its_grant_is_voided_never_granted_late_and_never_just_freed() {
    let mut world = in_phase(Phase::Granted);
    world.lease_mut("a").spec.grant = None;
    let plan = world.pass();
    assert_eq!(revoked(&plan, "a").map(Reason::code), Some("Voided"));
    assert!(
        !plan
            .actions
            .iter()
            .any(|action| matches!(action, Action::FreeSlot { .. }))
    );
    world.pass();
    assert!(world.slots().is_empty());
}

#[test]
fn f38_a_grant_without_its_slot_is_called_off() {
    let mut world = in_phase(Phase::Granted);
    world.ledger_mut().status.as_mut().unwrap().slots.clear();
    let plan = world.pass();
    assert_eq!(revoked(&plan, "a").map(Reason::code), Some("Voided"));
}

#[test]
fn f102_a_live_reboot_that_lost_its_slot_gets_it_back() {
    for phase in [
        Phase::Draining,
        Phase::Drained,
        Phase::Rebooting,
        Phase::Rebooted,
    ] {
        let mut world = in_phase(phase);
        let before = world.slots();
        world.ledger_mut().status.as_mut().unwrap().slots.clear();
        world.pass();
        assert_eq!(world.slots(), before, "{phase}");
    }
}

#[test]
fn f101_a_lease_deleted_under_its_slot_owes_an_answer_before_the_slot_is_freed() {
    for phase in [
        Phase::Granted,
        Phase::Draining,
        Phase::Drained,
        Phase::Rebooting,
    ] {
        let mut world = in_phase(phase);
        world.snapshot.leases.clear();
        let plan = world.pass();
        assert!(
            plan.actions
                .iter()
                .any(|action| matches!(action, Action::DemandAnswer { .. })),
            "{phase}"
        );
        for _ in 0..3 {
            world.pass();
            assert_eq!(
                world.slots().len(),
                1,
                "{phase}: freed before the agent has answered"
            );
        }
        world.agent("a");
        world.pass();
        assert!(world.slots().is_empty(), "{phase}");
    }
}

#[test]
fn s5_a_slot_is_not_freed_while_our_cordon_is_on_the_node() {
    let mut world = in_phase(Phase::Drained);
    world.enter("a", Phase::Failed, "DrainTimeout");
    world.settle();
    assert_eq!(world.slots().len(), 1);
    world.node_mut("a").cordon = CordonState::Unreadable;
    world.settle();
    assert_eq!(world.slots().len(), 1);
    world.node_mut("a").cordon = CordonState::Absent;
    world.settle();
    assert!(world.slots().is_empty());
}

#[test]
fn f66_the_slot_of_a_node_that_is_gone_is_kept_for_two_minutes() {
    let mut world = in_phase(Phase::Drained);
    let uid = world.node("a").uid.clone();
    world.snapshot.nodes.remove("a");
    world.snapshot.leases.clear();
    world.settle();
    assert_eq!(world.slots().len(), 1, "not proven gone");
    world.snapshot.gone.insert(uid, world.now);
    world.wait(119);
    world.settle();
    assert_eq!(world.slots().len(), 1);
    world.wait(1);
    let plan = world.pass();
    assert!(plan.actions.iter().any(|action| matches!(
        action,
        Action::FreeSlot {
            because: FreeBecause::NodeGone,
            ..
        }
    )));
    assert!(world.slots().is_empty());
}

#[test]
fn f66_a_node_made_anew_under_the_same_name_waits_for_the_former_ones_slot() {
    let mut world = in_phase(Phase::Drained);
    world.node_mut("a").uid = "another".into();
    world.node_mut("a").cordon = CordonState::Absent;
    let plan = world.settle();
    assert_eq!(code(&plan, "a"), "SlotHeld");
    assert_eq!(world.slots().len(), 1);
}

#[test]
fn q16_a_lost_ledger_is_rebuilt_above_every_fence_and_waits_before_it_grants() {
    let mut world = in_phase(Phase::Drained).need(&["b"]);
    world.settle();
    let before = world.slots();
    world.snapshot.ledger = LedgerState::Missing;
    world.pass();
    assert_eq!(world.slots(), before);
    let status = world.ledger_mut().status.clone().unwrap();
    assert!(status.next_fence > before[0].fence);
    world.edit_policy("p", "{nodeSelector: {}, budget: {maxUnavailable: 2}}");
    let plan = world.settle();
    assert_eq!(code(&plan, "b"), "LedgerRebuilt");
    world.wait(121);
    world.settle();
    assert_eq!(world.slots().len(), 2);
}

#[test]
fn a_fresh_cluster_grants_at_once() {
    let mut world = World::new()
        .policy("p", EVERYTHING)
        .nodes(&["a"])
        .need(&["a"]);
    world.snapshot.ledger = LedgerState::Missing;
    world.settle();
    assert_eq!(world.slots().len(), 1);
}

#[test]
fn nothing_is_rebuilt_from_half_a_view() {
    let mut world = World::new().nodes(&["a"]);
    world.snapshot.ledger = LedgerState::Missing;
    world.snapshot.gaps.push(Gap::Unsynced {
        kind: "RebootLeases".into(),
    });
    assert!(world.plan().actions.is_empty());
}

#[test]
fn an_unknown_ledger_concludes_nothing() {
    let mut world = in_phase(Phase::Draining);
    world.snapshot.ledger = LedgerState::Unknown;
    assert!(world.plan().actions.is_empty());
}

#[test]
fn g4_the_end_of_an_earlier_reboot_frees_its_own_slot_and_no_later_one() {
    let mut world = in_phase(Phase::Draining);
    let ledger = world.ledger_mut();
    let slots = &mut ledger.status.as_mut().unwrap().slots;
    let earlier = slots[0].clone();
    let mut later = earlier.clone();
    later.fence += 1;
    let mut of_new_node = earlier.clone();
    of_new_node.node_uid = "made-anew".into();
    slots.extend([later.clone(), of_new_node.clone()]);
    let freed = budget::free(ledger, &earlier).unwrap();
    assert_eq!(freed.slots, [later, of_new_node]);
    ledger.status = Some(freed);
    assert!(budget::free(ledger, &earlier).is_none(), "freed twice");
}

#[test]
fn s1d_a_node_that_holds_a_slot_gets_no_second_one_whatever_the_budget() {
    let wide = "{nodeSelector: {}, budget: {maxUnavailable: 3}}";
    let mut world = World::new()
        .policy("p", wide)
        .nodes(&["a", "b", "c"])
        .need(&["a"]);
    let (mut before, mut plan) = (world.clone(), world.pass());
    for _ in 0..5 {
        if grants(&plan).is_empty() {
            (before, plan) = (world.clone(), world.pass());
        }
    }
    let world = before;
    let request = grant_asked(&plan);
    let limits = budget::limits(&world.snapshot, &world.snapshot.policies[0]);
    let mut ledger = world.snapshot.ledger.present().unwrap().clone();
    let (status, _) = budget::append(&ledger, &request, &limits, world.now).unwrap();
    ledger.status = Some(status);
    let refused = budget::append(&ledger, &request, &limits, world.now);
    assert!(matches!(refused, Err(Reason::SlotHeld)), "{refused:?}");
    // Nor does another Node of that name, nor this Node under another name.
    for (node, uid) in [("a", "made-anew"), ("renamed", request.node_uid.as_str())] {
        let mut other = request.clone();
        other.node = node.into();
        other.node_uid = uid.into();
        let refused = budget::append(&ledger, &other, &limits, world.now);
        assert!(matches!(refused, Err(Reason::SlotHeld)), "{refused:?}");
    }
}

#[test]
fn g8_a_second_key_needs_slot_and_cordon_of_its_own_fence_and_no_pods_left() {
    let world = in_phase(Phase::Drained);
    let fence = world.lease("a").accepted_fence();
    let judged =
        |world: &World, pods: &[String]| clear::judge(&world.snapshot, "a", fence, pods, world.now);
    let waits = |change: fn(&mut World)| {
        let mut world = world.clone();
        change(&mut world);
        judged(&world, &[]) == ClearVerdict::Wait(Reason::SlotHeld)
    };
    assert_eq!(judged(&world, &[]), ClearVerdict::Clear);
    let left = judged(&world, &["default/web".to_owned()]);
    assert!(
        matches!(left, ClearVerdict::Wait(Reason::PodsLeft { count: 1, .. })),
        "{left:?}"
    );
    assert!(waits(|world| {
        let status = world.ledger_mut().status.as_mut();
        status.unwrap().slots[0].fence += 1;
    }));
    assert!(waits(|world| world.node_mut("a").unschedulable = false));
    assert!(waits(|world| {
        let CordonState::Ours(record) = &mut world.node_mut("a").cordon else {
            panic!("not ours");
        };
        record.fence += 1;
    }));
}
