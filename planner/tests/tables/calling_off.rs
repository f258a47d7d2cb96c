//! Grants that are called off before the commit, and what is never called off.

use slipway_api::Phase;
use slipway_planner::Reason;

use crate::look::{SHUT, in_phase, revoked};
use crate::world::World;

#[test]
fn f48_what_closes_during_a_drain_calls_it_off_and_says_why() {
    for phase in [Phase::Granted, Phase::Draining, Phase::Drained] {
        let gone = [
            ("{nodeSelector: {matchLabels: {none: here}}}", "NoPolicy"),
            (
                "{nodeSelector: {}, schedule: {timeZone: Mars/Base}}",
                "PolicyInvalid",
            ),
        ];
        for (spec, expected) in SHUT.into_iter().chain(gone) {
            let mut world = in_phase(phase);
            world.edit_policy("p", spec);
            let plan = world.pass();
            assert_eq!(
                revoked(&plan, "a").map(Reason::code),
                Some(expected),
                "{phase} {spec}"
            );
            while world.agent("a") {}
            world.settle();
            assert!(world.slots().is_empty(), "{phase} {spec}");
            assert!(!world.node("a").unschedulable, "{phase} {spec}");
        }
    }
}

#[test]
fn f46_a_deleted_policy_calls_off_what_is_not_committed_and_lets_the_rest_finish() {
    for phase in [Phase::Granted, Phase::Draining, Phase::Drained] {
        let mut world = in_phase(phase);
        world.snapshot.policies.clear();
        let plan = world.pass();
        assert_eq!(
            revoked(&plan, "a").map(Reason::code),
            Some("PolicyDeleted"),
            "{phase}"
        );
    }
    let mut world = in_phase(Phase::Rebooting);
    world.snapshot.policies.clear();
    let plan = world.pass();
    assert_eq!(revoked(&plan, "a"), None);
    world.agent("a");
    world.wait(11);
    world.settle();
    assert_eq!(world.phase("a"), Some(Phase::Completed));
}

#[test]
fn f47_the_brake_of_the_ledger_calls_off_what_is_not_committed() {
    for phase in [Phase::Granted, Phase::Draining, Phase::Drained] {
        let mut world = in_phase(phase);
        world.ledger_mut().spec.paused = true;
        let plan = world.pass();
        assert_eq!(
            revoked(&plan, "a").map(Reason::code),
            Some("LedgerPaused"),
            "{phase}"
        );
    }
}

#[test]
fn s6_nothing_is_revoked_after_the_commit() {
    for phase in [Phase::Rebooting, Phase::Rebooted] {
        let mut world = in_phase(phase);
        world.edit_policy("p", "{nodeSelector: {}, paused: true}");
        world.ledger_mut().spec.paused = true;
        let plan = world.pass();
        assert_eq!(revoked(&plan, "a"), None, "{phase}");
        assert_eq!(world.slots().len(), 1, "{phase}");
    }
}

#[test]
fn f14_a_grant_that_is_not_accepted_in_five_minutes_is_called_off_and_over_at_once() {
    let mut world = in_phase(Phase::Granted);
    world.wait(299);
    assert_eq!(revoked(&world.pass(), "a"), None);
    world.wait(1);
    let plan = world.pass();
    assert_eq!(revoked(&plan, "a").map(Reason::code), Some("AgentSilent"));
    world.pass();
    assert!(world.slots().is_empty());
    assert!(world.lease("a").is_over(1));
}

#[test]
fn a_budget_that_is_lowered_calls_off_the_newest_first() {
    let mut world = World::new()
        .policy("p", "{nodeSelector: {}, budget: {maxUnavailable: 3}}")
        .nodes(&["a", "b", "c"])
        .need(&["a", "b", "c"]);
    world.settle();
    assert_eq!(world.slots().len(), 3);
    world.edit_policy("p", "{nodeSelector: {}, budget: {maxUnavailable: 1}}");
    let plan = world.pass();
    assert!(revoked(&plan, "a").is_none());
    assert!(revoked(&plan, "b").is_some() && revoked(&plan, "c").is_some());
    world.settle();
    assert_eq!(world.slots().len(), 1);
}
