//! What follows from reboots that fail: breaker, pauses, loop guard, and nodes that cannot be drained.

use crate::look::{code, grant_asked};
use crate::world::World;
use slipway_api::Phase;
use slipway_planner::breaker::State;
use slipway_planner::{Plan, Reason, budget};

const ALL: &str = "{nodeSelector: {}, verify: {nodeReadyFor: 10s}}";
const HOUR: i64 = 3600;

fn with(failure: &str) -> String {
    format!("{{nodeSelector: {{}}, verify: {{nodeReadyFor: 10s}}, failure: {failure}}}")
}

fn waits_for(plan: &Plan, node: &str, code: &str) -> bool {
    plan.verdicts[node]
        .waiting_for
        .iter()
        .any(|reason| reason.code() == code)
}

/// Nodes whose reboots do not help, one after the other, until the breaker opens.
fn failing(spec: &str, nodes: &[&str], failures: usize) -> World {
    let mut world = World::new().policy("p", spec).nodes(nodes).need(nodes);
    for node in nodes.iter().take(failures) {
        world.settle();
        assert_eq!(world.slots()[0].node, *node);
        world.reboot(node, false);
        assert_eq!(world.phase(node), Some(Phase::Failed), "{node}");
    }
    world.settle();
    world
}

#[test]
fn f10_the_breaker_opens_after_two_nodes_names_them_and_stops_every_grant() {
    let mut world = failing(ALL, &["a", "b", "c"], 1);
    assert_eq!(world.slots().len(), 1, "one failure is none too many");
    world = failing(ALL, &["a", "b", "c"], 2);
    let plan = world.settle();
    assert!(world.slots().is_empty());
    assert_eq!(code(&plan, "c"), "BreakerOpen");
    let State::Open { failures, until } = &plan.policies["p"].breaker else {
        panic!("{:?}", plan.policies["p"].breaker)
    };
    assert_eq!(failures, &["a", "b"]);
    assert!(until.is_some());
    // Its own wake, or an earlier one of another node.
    assert!(plan.wake_at <= *until, "{plan:#?}");
    let text = plan.verdicts["c"].reason.to_string();
    assert!(text.contains("a, b") && text.contains("resetAt"), "{text}");
}

#[test]
fn f107_the_breaker_is_decided_in_the_ledger_that_is_written() {
    let mut world = failing(ALL, &["a", "b"], 1);
    world.ledger_mut().status.as_mut().unwrap().slots.clear();
    world.lease_mut("b").spec.grant = None;
    world.enter("b", Phase::Pending, "");
    let plan = world.plan();
    let request = grant_asked(&plan);
    let limits = budget::limits(&world.snapshot, &world.snapshot.policies[0]);
    let mut ledger = world.snapshot.ledger.present().unwrap().clone();
    assert!(budget::append(&ledger, &request, &limits, world.now).is_ok());
    // Another operator has noted a second failure meanwhile: the same request is refused.
    let failures = &mut ledger.status.as_mut().unwrap().policies[0].failures;
    let mut other = failures[0].clone();
    other.node = "z".into();
    other.fence = 99;
    failures.push(other);
    let refused = budget::append(&ledger, &request, &limits, world.now);
    assert!(
        matches!(refused, Err(Reason::BreakerOpen { .. })),
        "{refused:?}"
    );
}

#[test]
fn q16_a_rebuilt_ledger_knows_the_failures_that_leases_tell_of() {
    let mut world = failing(ALL, &["a", "b", "c"], 2);
    // One of them waits again: its failure is in the history now.
    let lease = world.lease_mut("a");
    let status = lease.status.as_mut().unwrap();
    let at = status.transitions.last().unwrap().at.0;
    status.history = vec![slipway_api::lease::Outcome {
        fence: status.fence,
        phase: status.phase,
        reason: status.reason.clone(),
        at: k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(at),
    }];
    world.enter("a", Phase::Pending, "");
    world.snapshot.ledger = slipway_planner::LedgerState::Missing;
    world.pass();
    let record = world.ledger_mut().status.clone().unwrap().policies[0].clone();
    let nodes: Vec<&str> = record
        .failures
        .iter()
        .map(|one| one.node.as_str())
        .collect();
    assert_eq!(nodes, ["a", "b"]);
    world.wait(121);
    let plan = world.settle();
    assert_eq!(code(&plan, "c"), "BreakerOpen");
    assert!(world.slots().is_empty());
}

#[test]
fn an_open_breaker_lets_one_node_try_alone_and_its_success_closes_it() {
    let spec = "{nodeSelector: {}, budget: {maxUnavailable: 3}, verify: {nodeReadyFor: 10s}, failure: {backoff: 1h}}";
    let mut world = World::new()
        .policy("p", spec)
        .nodes(&["a", "b", "c", "d", "e"])
        .need(&["a", "b"]);
    world.settle();
    world.reboot("a", false);
    world.reboot("b", false);
    world.require("c");
    world.require("d");
    world.require("e");
    let plan = world.settle();
    assert!(world.slots().is_empty(), "{plan:#?}");
    let State::Open { until, .. } = plan.policies["p"].breaker else {
        panic!("{plan:#?}")
    };
    world.now = until.unwrap();
    world.settle();
    let probe = world.slots();
    assert_eq!(probe.len(), 1, "one node only");
    let plan = world.plan();
    assert!(
        matches!(&plan.policies["p"].breaker, State::HalfOpen { probe: Some(fence), .. } if *fence == probe[0].fence)
    );
    let probe = probe[0].node.clone();
    world.reboot(&probe, true);
    world.settle();
    assert_eq!(world.plan().policies["p"].breaker, State::Closed);
    assert!(world.slots().len() > 1, "all go on");
}

#[test]
fn a_probe_that_fails_keeps_the_breaker_open_for_another_pause() {
    let mut world = failing(&with("{backoff: 2h}"), &["a", "b", "c", "d"], 2);
    world.wait(2 * HOUR);
    // The nodes that failed pause as long as the breaker.
    world.settle();
    let probe = world.slots()[0].node.clone();
    world.reboot(&probe, false);
    let plan = world.settle();
    assert!(
        matches!(plan.policies["p"].breaker, State::Open { .. }),
        "{plan:#?}"
    );
    assert!(world.slots().is_empty());
}

#[test]
fn the_success_of_a_node_that_was_granted_before_the_breaker_opened_does_not_close_it() {
    let spec = "{nodeSelector: {}, budget: {maxUnavailable: 3}, verify: {nodeReadyFor: 10s}}";
    let mut world = World::new()
        .policy("p", spec)
        .nodes(&["a", "b", "c"])
        .need(&["a", "b", "c"]);
    world.settle();
    // c is away already when a and b fail.
    for _ in 0..10 {
        world.agent("c");
        if world.phase("c") == Some(Phase::Rebooting) {
            break;
        }
        world.pass();
    }
    world.reboot("a", false);
    world.reboot("b", false);
    assert_eq!(world.phase("c"), Some(Phase::Rebooting));
    world.reboot("c", true);
    let plan = world.settle();
    assert_eq!(world.phase("c"), Some(Phase::Completed));
    assert!(matches!(plan.policies["p"].breaker, State::Open { .. }));
}

#[test]
fn a_breaker_that_opens_calls_off_what_is_being_drained() {
    let spec = "{nodeSelector: {}, budget: {maxUnavailable: 3}, verify: {nodeReadyFor: 10s}}";
    let mut world = World::new()
        .policy("p", spec)
        .nodes(&["a", "b", "c"])
        .need(&["a", "b", "c"]);
    world.settle();
    world.agent("c");
    world.agent("c");
    assert_eq!(world.phase("c"), Some(Phase::Draining));
    world.reboot("a", false);
    world.reboot("b", false);
    world.settle();
    let revoke = world.lease("c").spec.revoke.clone().unwrap();
    assert_eq!(revoke.reason, "BreakerOpen");
}

#[test]
fn only_a_human_resets_a_breaker_that_is_manual() {
    let spec = with("{reset: Manual, within: 168h}");
    let mut world = failing(&spec, &["a", "b", "c"], 2);
    world.wait(48 * HOUR);
    assert_eq!(code(&world.settle(), "c"), "BreakerOpen");
    let now = world.now;
    world.edit_policy(
        "p",
        &with(&format!(
            "{{reset: Manual, within: 168h, resetAt: '{now}'}}"
        )),
    );
    world.settle();
    assert_eq!(world.slots().len(), 1);
    assert_eq!(world.plan().policies["p"].breaker, State::Closed);
}

#[test]
fn failures_that_are_older_than_within_no_longer_count() {
    let spec = with("{reset: Manual, within: 3h}");
    let mut world = failing(&spec, &["a", "b", "c"], 2);
    let plan = world.settle();
    assert_eq!(code(&plan, "c"), "BreakerOpen");
    let State::Open { until, .. } = plan.policies["p"].breaker else {
        panic!()
    };
    world.now = until.unwrap();
    world.settle();
    assert_eq!(world.slots().len(), 1);
}

#[test]
fn f11_a_node_that_never_comes_back_counts_while_it_holds_its_slot() {
    let spec = "{nodeSelector: {}, budget: {maxUnavailable: 3}, failure: {maxFailures: 1}}";
    let mut world = World::new()
        .policy("p", spec)
        .nodes(&["a", "b"])
        .need(&["a"]);
    world.settle();
    for _ in 0..10 {
        world.agent("a");
        if world.phase("a") == Some(Phase::Rebooting) {
            break;
        }
        world.pass();
    }
    world.wait(15 * 60);
    world.require("b");
    let plan = world.settle();
    assert_eq!(code(&plan, "a"), "Stuck");
    assert_eq!(code(&plan, "b"), "BreakerOpen");
    assert_eq!(world.slots().len(), 1, "the slot stays held");
    // It counts once, however often it is looked at.
    world.wait(60);
    world.settle();
    let status = world.ledger_mut().status.clone().unwrap();
    assert_eq!(status.policies[0].failures.len(), 1);
    // While it holds its slot nobody tries, however long it takes.
    world.wait(5 * HOUR);
    assert_eq!(code(&world.settle(), "b"), "BreakerOpen");
}

#[test]
fn f57_a_node_that_cannot_be_drained_pauses_and_the_others_go_on() {
    let mut world = World::new()
        .policy("p", &with("{maxFailures: 1}"))
        .nodes(&["a", "b"])
        .need(&["a", "b"]);
    // It doubles, and is never longer than a day (H2).
    for (round, pause) in [1, 2, 4, 8, 16, 24, 24].into_iter().enumerate() {
        world.settle();
        world.agent("a");
        assert_eq!(world.phase("a"), Some(Phase::Draining), "round {round}");
        let why = ["DrainTimeout", "DrainBlocked"][round % 2];
        world.enter("a", Phase::Failed, why);
        let plan = world.settle();
        assert!(waits_for(&plan, "a", "Undrainable"), "{plan:#?}");
        assert_eq!(plan.policies["p"].breaker, State::Closed);
        if round == 0 {
            assert_eq!(world.slots()[0].node, "b");
            world.reboot("b", true);
            world.settle();
        }
        world.wait(pause * HOUR - 30);
        assert_eq!(world.settle().actions, []);
        assert_eq!(world.phase("a"), Some(Phase::Failed));
        world.wait(31);
    }
}

#[test]
fn s7_a_node_is_rebooted_no_more_often_in_a_day_than_the_policy_says() {
    for most in [1, 2, 3] {
        let spec = with(&format!(
            "{{maxRebootsPerNode: {most}, maxFailures: 10, backoff: 1m}}"
        ));
        let mut world = World::new().policy("p", &spec).nodes(&["a"]).need(&["a"]);
        for reboot in 0..most {
            world.settle();
            assert_eq!(world.slots().len(), 1, "reboot {reboot} of {most}");
            world.reboot("a", false);
            assert_eq!(world.phase("a"), Some(Phase::Failed));
            world.settle();
            world.wait(HOUR);
        }
        let plan = world.settle();
        assert_eq!(code(&plan, "a"), "TooManyReboots", "{most}");
        assert!(world.slots().is_empty());
        world.wait(24 * HOUR);
        world.settle();
        assert_eq!(world.slots().len(), 1, "a day later");
    }
}

#[test]
fn a_trigger_that_need_not_clear_completes_and_is_served_again_up_to_the_loop_guard() {
    let spec = "{nodeSelector: {}, verify: {nodeReadyFor: 10s, triggerCleared: false}}";
    let mut world = World::new().policy("p", spec).nodes(&["a"]).need(&["a"]);
    world.settle();
    world.reboot("a", false);
    assert_eq!(world.phase("a"), Some(Phase::Completed));
    assert_eq!(world.settle().policies["p"].breaker, State::Closed);
}

#[test]
fn a_node_settles_before_its_slot_is_given_back() {
    let spec = "{nodeSelector: {}, verify: {nodeReadyFor: 10s, settle: 5m}}";
    let mut world = World::new().policy("p", spec).nodes(&["a"]).need(&["a"]);
    world.settle();
    world.reboot("a", true);
    assert_eq!(world.phase("a"), Some(Phase::Rebooted));
    world.wait(5 * 60 - 2);
    world.settle();
    assert_eq!(world.phase("a"), Some(Phase::Rebooted));
    assert_eq!(world.slots().len(), 1);
    world.wait(2);
    world.settle();
    assert_eq!(world.phase("a"), Some(Phase::Completed));
}
