//! Tables: what one pass decides, and why.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::too_many_lines,
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a panic fails the test, and a table of cases is long"
)]

mod world;

use jiff::SignedDuration;
use slipway_api::Phase;
use slipway_planner::snapshot::{CordonState, Gap, LedgerState, Need};
use slipway_planner::{Action, FreeBecause, Plan, Reason};
use world::World;

const EVERYTHING: &str = "{nodeSelector: {}, verify: {nodeReadyFor: 10s}}";

fn reason<'a>(plan: &'a Plan, node: &str) -> &'a Reason {
    &plan.verdicts[node].reason
}

fn code(plan: &Plan, node: &str) -> &'static str {
    reason(plan, node).code()
}

fn grants(plan: &Plan) -> Vec<&str> {
    plan.actions
        .iter()
        .filter_map(|action| match action {
            Action::Grant(request) => Some(request.node.as_str()),
            _ => None,
        })
        .collect()
}

fn revoked<'a>(plan: &'a Plan, node: &str) -> Option<&'a Reason> {
    plan.actions.iter().find_map(|action| match action {
        Action::Revoke {
            node: name, reason, ..
        } if name == node => Some(reason),
        _ => None,
    })
}

/// A world whose node `a` is in the given phase, granted by policy `p`.
fn in_phase(phase: Phase) -> World {
    let mut world = World::new()
        .policy("p", EVERYTHING)
        .nodes(&["a", "b", "c"])
        .need(&["a"]);
    world.settle();
    for _ in 0..20 {
        if world.phase("a") == Some(phase) {
            return world;
        }
        world.agent("a");
        if world.phase("a") == Some(phase) {
            return world;
        }
        world.pass();
    }
    panic!("{phase} is never reached, but {:?}", world.phase("a"));
}

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
    for (spec, expected) in [
        ("{nodeSelector: {}, paused: true}", "PolicyPaused"),
        ("{nodeSelector: {}, mode: Observe}", "ObserveMode"),
        (
            "{nodeSelector: {}, budget: {maxUnavailable: 0}}",
            "BudgetUsed",
        ),
        (
            "{nodeSelector: {}, schedule: {windows: [{start: '22:00', end: '05:00'}]}}",
            "WindowClosed",
        ),
    ] {
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
        Gap::AdmissionMissing {
            policy: "slipway-agent-node".into(),
        },
    ] {
        let mut world = World::new()
            .policy("p", EVERYTHING)
            .nodes(&["a"])
            .need(&["a"]);
        world.pass();
        world.snapshot.gaps.push(gap.clone());
        let plan = world.pass();
        assert_eq!(code(&plan, "a"), "NotObserved", "{gap:?}");
        assert!(grants(&plan).is_empty(), "{gap:?}");
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

#[test]
fn f48_what_closes_during_a_drain_calls_it_off_and_says_why() {
    for phase in [Phase::Granted, Phase::Draining, Phase::Drained] {
        for (spec, expected) in [
            ("{nodeSelector: {}, paused: true}", "PolicyPaused"),
            ("{nodeSelector: {}, mode: Observe}", "ObserveMode"),
            (
                "{nodeSelector: {}, budget: {maxUnavailable: 0}}",
                "BudgetUsed",
            ),
            (
                "{nodeSelector: {}, schedule: {windows: [{start: '22:00', end: '05:00'}]}}",
                "WindowClosed",
            ),
            ("{nodeSelector: {matchLabels: {none: here}}}", "NoPolicy"),
            (
                "{nodeSelector: {}, schedule: {timeZone: Mars/Base}}",
                "PolicyInvalid",
            ),
        ] {
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
