//! Who goes first, and who is never passed for ever.

use jiff::Timestamp;

use crate::look::{code, grants};
use crate::rollout::{finish, policy, run, waiting, with_control_plane, zones};
use crate::world::World;

#[test]
fn the_order_is_as_written_and_the_leaders_own_node_goes_last() {
    let role = slipway_api::names::LABEL_CONTROL_PLANE;
    let nodes = ["cp", "z", "a"];
    for (order, leader, expected) in [
        ("[LongestWaiting]", None, ["cp", "z", "a"]),
        ("[ControlPlaneLast, LongestWaiting]", None, ["z", "a", "cp"]),
        ("[ControlPlaneLast]", None, ["a", "z", "cp"]),
        ("[]", None, ["a", "cp", "z"]),
        (
            "[ControlPlaneLast, LongestWaiting]",
            Some("z"),
            ["a", "cp", "z"],
        ),
    ] {
        let mut world = waiting(&policy(&format!("order: {order}")), &nodes).label("cp", role, "");
        world.snapshot.leader_node = leader.map(str::to_owned);
        assert_eq!(run(&mut world, &nodes), expected, "{order} {leader:?}");
    }
}

#[test]
fn domain_by_domain_takes_the_domain_of_the_longest_waiting_first() {
    let spec = policy(
        "order: [DomainByDomain], budget: {perDomain: {topologyKey: topology.kubernetes.io/zone}}",
    );
    let nodes = ["z1", "a1", "z2", "a2"];
    let labels: Vec<(&str, &str)> = nodes.iter().map(|node| (*node, &node[..1])).collect();
    let mut world = zones(waiting(&spec, &nodes), &labels);
    assert_eq!(run(&mut world, &nodes), ["z1", "z2", "a1", "a2"]);
}

#[test]
fn policies_take_turns_under_a_shared_ceiling() {
    let spec = |pool: &str| {
        format!("{{nodeSelector: {{matchLabels: {{pool: {pool}}}}}, verify: {{nodeReadyFor: 0s}}}}")
    };
    let nodes = ["a1", "a2", "a3", "b1", "b2"];
    let mut world = World::new()
        .policy("p", &spec("a"))
        .policy("q", &spec("b"))
        .nodes(&nodes);
    for node in nodes {
        world = world.label(node, "pool", &node[..1]);
        world.require(node);
        world.wait(1);
    }
    world.ledger_mut().spec.max_unavailable =
        Some(k8s_openapi::apimachinery::pkg::util::intstr::IntOrString::Int(1));
    assert_eq!(run(&mut world, &nodes), ["a1", "b1", "a2", "b2", "a3"]);
}

#[test]
fn a_control_plane_node_is_passed_a_bounded_number_of_times() {
    let mut world = with_control_plane(
        "{nodeSelector: {}, budget: {maxUnavailable: 2}, verify: {nodeReadyFor: 0s}}",
    );
    world.require("cp");
    world.pass();
    let nodes = ["cp", "w1", "w2"];
    let mut before = 0;
    for _ in 0..400 {
        // Two workers that never stop asking.
        for worker in ["w1", "w2"] {
            if !world.node(worker).need.is_required() {
                world.require(worker);
            }
        }
        let plan = world.pass();
        let granted = grants(&plan);
        if granted.contains(&"cp") {
            assert!(before <= 12, "{before}");
            return;
        }
        before += granted.len();
        for node in nodes {
            world.agent(node);
        }
        // Beyond the guard against nodes that reboot for ever.
        world.wait(600);
    }
    panic!("passed {before} times and never granted");
}

#[test]
fn a_group_that_keeps_failing_starves_nobody() {
    let spec = policy("budget: {quorumLabel: etcd}");
    let mut world = waiting(&spec, &["a", "b"]).nodes(&["down"]);
    for node in ["a", "down"] {
        world = world.label(node, "etcd", "one");
    }
    // For good: a can never go.
    world.node_mut("down").unschedulable = true;
    world.edit_policy(
        "p",
        &policy("budget: {maxUnavailable: 2, quorumLabel: etcd}"),
    );
    assert_eq!(grants(&world.pass()), ["b"]);
    finish(&mut world, "b");
    assert_eq!(code(&world.plan(), "a"), "QuorumDown");
    assert!(
        world
            .ledger_mut()
            .status
            .as_ref()
            .unwrap()
            .passed
            .is_empty()
    );
}

#[test]
fn whoever_waited_when_a_window_closed_is_first_in_the_next() {
    let spec = policy("schedule: {cutoff: 2m, windows: [{start: '11:00', end: '12:03'}]}");
    let mut world = waiting(&spec, &["b", "c"]);
    assert_eq!(grants(&world.pass()), ["b"]);
    world.wait(5 * 60);
    world.settle();
    while world.agent("b") {}
    world.settle();
    let mut world = world.nodes(&["a"]).need(&["a"]);
    let next: Timestamp = "2026-11-25T11:30:00Z".parse().unwrap();
    world.now = next;
    world.settle();
    assert_eq!(world.slots()[0].node, "b");
}

#[test]
fn q16_a_rebuilt_ledger_remembers_when_each_policy_last_granted() {
    let mut world = waiting(
        &policy("budget: {maxUnavailable: 2, minInterval: 1h}"),
        &["a", "b"],
    );
    world.pass();
    world.agent("a");
    world.snapshot.ledger = slipway_planner::LedgerState::Missing;
    world.pass();
    // Past the wait of a rebuilt ledger.
    world.wait(600);
    world.pass();
    assert_eq!(code(&world.plan(), "b"), "MinInterval");
}
