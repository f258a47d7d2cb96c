//! Who is granted, and why the others are not.

use slipway_planner::Plan;
use slipway_planner::snapshot::{Gap, Need};

use crate::look::{EVERYTHING, SHUT, code, grants, reason};
use crate::world::World;

#[test]
fn every_node_gets_a_verdict_also_where_nothing_is_to_do() {
    let world = World::new().nodes(&["a"]);
    let plan = world.plan();
    assert_eq!(code(&plan, "a"), "NotRequired");
    assert!(plan.actions.is_empty());
}

#[test]
fn a_need_without_a_policy_is_named_and_nothing_is_written() {
    let plan = World::new().nodes(&["a"]).need(&["a"]).plan();
    assert_eq!(code(&plan, "a"), "NoPolicy");
    assert!(plan.actions.is_empty());
}

#[test]
fn a_check_that_fails_is_never_taken_for_not_required() {
    let mut world = World::new().policy("p", EVERYTHING).nodes(&["a"]);
    world.node_mut("a").need = Need::Unknown {
        message: "no such directory".into(),
    };
    let plan = world.plan();
    assert_eq!(code(&plan, "a"), "CheckFailed");
    assert!(plan.actions.is_empty());
}

#[test]
fn one_node_is_granted_per_pass_and_policy_the_longest_waiting_first() {
    let mut world = World::new()
        .policy("p", "{nodeSelector: {}, budget: {maxUnavailable: 3}}")
        .nodes(&["a", "b", "c"])
        .need(&["b"]);
    world.wait(5);
    let mut world = world.need(&["a", "c"]);
    // The leases are made first.
    assert!(grants(&world.pass()).is_empty());
    let plan = world.pass();
    assert_eq!(grants(&plan), ["b"]);
    assert_eq!(code(&plan, "a"), "NextInLine");
    assert_eq!(grants(&world.pass()), ["a"]);
}

#[test]
fn control_plane_nodes_go_last_and_one_at_a_time() {
    let role = slipway_api::names::LABEL_CONTROL_PLANE;
    let mut world = World::new()
        .policy(
            "p",
            "{nodeSelector: {}, budget: {maxUnavailable: 3, controlPlaneWithWorkers: true}}",
        )
        .nodes(&["cp1", "cp2", "worker"])
        .label("cp1", role, "")
        .label("cp2", role, "")
        .need(&["cp1", "cp2", "worker"]);
    world.pass();
    assert_eq!(grants(&world.pass()), ["worker"]);
    assert_eq!(grants(&world.pass()), ["cp1"]);
    let plan = world.pass();
    assert!(grants(&plan).is_empty());
    assert_eq!(code(&plan, "cp2"), "ControlPlaneBusy");
}

#[test]
fn f72_a_control_plane_node_waits_for_another_that_is_not_ready() {
    let role = slipway_api::names::LABEL_CONTROL_PLANE;
    let mut world = World::new()
        .policy("p", "{nodeSelector: {}, budget: {maxUnavailable: 3}}")
        .nodes(&["cp1", "cp2"])
        .label("cp1", role, "")
        .label("cp2", role, "")
        .need(&["cp1"]);
    world.node_mut("cp2").ready = false;
    world.pass();
    assert_eq!(code(&world.pass(), "cp1"), "ControlPlaneNotReady");
}

#[test]
fn f52_nodes_that_are_down_or_cordoned_by_others_use_the_budget() {
    for broken in ["not-ready", "cordoned"] {
        let mut world = World::new()
            .policy("p", EVERYTHING)
            .nodes(&["a", "b"])
            .need(&["a"]);
        match broken {
            "not-ready" => world.node_mut("b").ready = false,
            _ => world.node_mut("b").unschedulable = true,
        }
        world.pass();
        let plan = world.pass();
        assert_eq!(code(&plan, "a"), "BudgetUsed", "{broken}");
        assert!(grants(&plan).is_empty(), "{broken}");
    }
}

#[test]
fn f62_a_node_that_a_human_cordoned_takes_no_second_place_in_the_budget() {
    let mut world = World::new()
        .policy("p", EVERYTHING)
        .nodes(&["a", "b"])
        .need(&["a"]);
    world.node_mut("a").unschedulable = true;
    world.pass();
    assert_eq!(grants(&world.pass()), ["a"]);
}

#[test]
fn f51_percentages_round_down_but_not_to_nothing_and_zero_stops() {
    for (budget, expected) in [("10%", 1), ("50%", 1), ("67%", 2), ("100%", 3), ("0%", 0)] {
        let spec = format!("{{nodeSelector: {{}}, budget: {{maxUnavailable: \"{budget}\"}}}}");
        let mut world = World::new()
            .policy("p", &spec)
            .nodes(&["a", "b", "c"])
            .need(&["a", "b", "c"]);
        world.settle();
        assert_eq!(world.slots().len(), expected, "{budget}");
    }
}

#[test]
fn f50_a_tie_leaves_the_node_alone_and_a_priority_decides() {
    let mut world = World::new()
        .policy("p", "{nodeSelector: {}}")
        .policy("q", "{nodeSelector: {}}")
        .nodes(&["a"])
        .need(&["a"]);
    world.settle();
    let plan = world.plan();
    assert_eq!(code(&plan, "a"), "PolicyConflict");
    assert_eq!(plan.policies["p"].conflicts_with, ["q"]);
    assert_eq!(plan.policies["q"].conflicts_with, ["p"]);
    world.edit_policy("q", "{nodeSelector: {}, priority: 1}");
    world.settle();
    assert_eq!(world.lease("a").spec.policy.as_ref().unwrap().name, "q");
    assert_eq!(world.slots().len(), 1);
}

#[test]
fn a_broken_policy_keeps_its_nodes_and_grants_nothing() {
    let mut world = World::new()
        .policy(
            "broken",
            "{nodeSelector: {}, priority: 5, schedule: {timeZone: Mars/Base}}",
        )
        .policy("good", "{nodeSelector: {}}")
        .nodes(&["a"])
        .need(&["a"]);
    let plan = world.settle();
    assert_eq!(code(&plan, "a"), "PolicyInvalid");
    assert!(
        reason(&plan, "a").to_string().contains("timeZone"),
        "{}",
        reason(&plan, "a")
    );
    assert!(plan.policies["broken"].invalid.is_some());
}

#[test]
fn whatever_is_off_is_named_and_stops_grants() {
    for (spec, expected) in SHUT {
        let mut world = World::new().policy("p", spec).nodes(&["a"]).need(&["a"]);
        let plan = world.settle();
        assert_eq!(code(&plan, "a"), expected, "{spec}");
        assert!(world.slots().is_empty(), "{spec}");
    }
}

#[test]
fn a_check_that_the_policy_does_not_count_is_no_need() {
    let spec = "{nodeSelector: {}, triggers: {checks: []}}";
    let plan = World::new()
        .policy("p", spec)
        .nodes(&["a"])
        .need(&["a"])
        .settle();
    assert_eq!(code(&plan, "a"), "CheckNotCounted");
}

#[test]
fn f14_a_node_without_a_ready_agent_or_that_is_not_ready_is_not_granted() {
    let mut world = World::new()
        .policy("p", "{nodeSelector: {}, budget: {maxUnavailable: 2}}")
        .nodes(&["a", "b"])
        .need(&["a", "b"]);
    world.snapshot.agents.remove("a");
    world.node_mut("b").ready = false;
    let plan = world.settle();
    assert_eq!(code(&plan, "a"), "AgentNotReady");
    assert_eq!(code(&plan, "b"), "NodeNotReady");
}

/// The plans for a node that only this gap keeps from its grant: with it, and after it.
fn nothing_goes_with(gap: &Gap, expected: &str) -> [Plan; 2] {
    let mut world = World::new()
        .policy("p", EVERYTHING)
        .nodes(&["a"])
        .need(&["a"]);
    world.pass();
    world.snapshot.gaps.push(gap.clone());
    let held = world.pass();
    assert_eq!(code(&held, "a"), expected, "{gap:?}");
    assert!(grants(&held).is_empty(), "{gap:?}");
    world.snapshot.gaps.clear();
    let after = world.pass();
    assert_eq!(grants(&after), ["a"], "{gap:?}");
    [held, after]
}

#[test]
fn any_gap_stops_grants_and_is_named() {
    for gap in [
        Gap::Unsynced {
            kind: "Nodes".into(),
        },
        Gap::Undecodable {
            object: "RebootLease x".into(),
        },
        Gap::ClockSkew { seconds: 90 },
    ] {
        nothing_goes_with(&gap, "NotObserved");
    }
}

#[test]
fn f80_nothing_is_granted_while_the_admission_policies_are_not_proved() {
    for gap in [
        Gap::AdmissionMissing {
            policy: "slipway-agent-node".into(),
            why: "there is no such policy".into(),
        },
        Gap::AdmissionUnknown {
            why: "not looked at yet".into(),
        },
    ] {
        let [held, after] = nothing_goes_with(&gap, "AdmissionNotProved");
        let degraded = &held.policies["p"].admission;
        assert_eq!(degraded.as_ref(), Some(&gap.to_string()));
        assert_eq!(after.policies["p"].admission, None);
    }
}

#[test]
fn a_window_that_is_about_to_close_starts_nothing() {
    let spec = "{nodeSelector: {}, schedule: {windows: [{start: '10:00', end: '12:01'}]}}";
    let mut world = World::new().policy("p", spec).nodes(&["a"]).need(&["a"]);
    let plan = world.settle();
    assert_eq!(code(&plan, "a"), "CutoffReached");
}

#[test]
fn wake_at_is_the_next_edge_of_a_window() {
    let spec = "{nodeSelector: {}, schedule: {windows: [{start: '22:00', end: '05:00'}]}}";
    let mut world = World::new().policy("p", spec).nodes(&["a"]).need(&["a"]);
    let plan = world.settle();
    assert_eq!(plan.wake_at.unwrap().to_string(), "2026-11-24T22:00:00Z");
    world.now = plan.wake_at.unwrap();
    assert_eq!(grants(&world.pass()), ["a"]);
}
