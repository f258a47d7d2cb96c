//! Tables: every limit over several nodes, who goes first, and what the schedule forbids.
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

use jiff::{SignedDuration, Timestamp};
use slipway_api::Phase;
use slipway_planner::{Action, Plan, Reason, breaker, pace};
use world::World;

const ZONE: &str = "topology.kubernetes.io/zone";

fn code(plan: &Plan, node: &str) -> &'static str {
    plan.verdicts[node].reason.code()
}

fn grants(plan: &Plan) -> Vec<String> {
    plan.actions
        .iter()
        .filter_map(|action| match action {
            Action::Grant(request) => Some(request.node.clone()),
            _ => None,
        })
        .collect()
}

fn policy(rest: &str) -> String {
    format!("{{nodeSelector: {{}}, verify: {{nodeReadyFor: 0s}}, {rest}}}")
}

/// A world in which these nodes need a reboot, one second apart and in this order, and have leases.
fn waiting(spec: &str, nodes: &[&str]) -> World {
    let mut world = World::new().policy("p", spec).nodes(nodes);
    for node in nodes {
        world.require(node);
        world.wait(1);
    }
    world.pass();
    world
}

/// Passes and agents until nobody does anything more; the order in which nodes were granted.
fn run(world: &mut World, nodes: &[&str]) -> Vec<String> {
    let mut order = Vec::new();
    for _ in 0..200 {
        let plan = world.pass();
        order.extend(grants(&plan));
        for node in nodes {
            world.agent(node);
        }
        world.wait(1);
    }
    order
}

/// One node to its end.
fn finish(world: &mut World, node: &str) {
    for _ in 0..20 {
        world.agent(node);
        world.wait(1);
        world.pass();
        let free = world.slots().iter().all(|slot| slot.node != node);
        if world.phase(node) == Some(Phase::Completed) && free {
            return;
        }
    }
    panic!("{node} never ends: {:#?}", world.plan().verdicts[node]);
}

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

fn zones(world: World, zones: &[(&str, &str)]) -> World {
    zones
        .iter()
        .fold(world, |world, (node, zone)| world.label(node, ZONE, zone))
}

const DOMAINS: &str =
    "budget: {maxUnavailable: 4, perDomain: {topologyKey: topology.kubernetes.io/zone}}";

#[test]
fn one_domain_is_finished_before_the_next_and_each_has_its_own_budget() {
    let nodes = ["a1", "b1", "a2", "b2", "a3"];
    let mut world = zones(
        waiting(&policy(DOMAINS), &nodes),
        &[
            ("a1", "a"),
            ("a2", "a"),
            ("a3", "a"),
            ("b1", "b"),
            ("b2", "b"),
        ],
    );
    assert_eq!(grants(&world.pass()), ["a1"]);
    let plan = world.pass();
    assert_eq!(code(&plan, "a2"), "DomainBudgetUsed");
    assert_eq!(code(&plan, "b1"), "DomainBusy");
    finish(&mut world, "a1");
    // Although b1 has waited longer.
    for next in ["a2", "a3"] {
        assert_eq!(grants(&world.pass()), [next]);
        finish(&mut world, next);
    }
    assert_eq!(run(&mut world, &nodes), ["b1", "b2"]);
}

#[test]
fn a_node_that_is_down_in_another_domain_keeps_this_one_waiting() {
    let mut world = zones(
        waiting(&policy(DOMAINS), &["a1", "b1"]),
        &[("a1", "a"), ("b1", "b")],
    );
    world.node_mut("b1").ready = false;
    assert_eq!(code(&world.pass(), "a1"), "DomainDown");
}

#[test]
fn more_domains_at_once_and_a_share_of_each_domain() {
    let spec = policy(
        "budget: {maxUnavailable: 9, perDomain: {topologyKey: topology.kubernetes.io/zone, maxUnavailable: '50%', domainsAtOnce: 2}}",
    );
    let nodes = ["a1", "a2", "a3", "a4", "b1", "b2", "c1"];
    let labels: Vec<(&str, &str)> = nodes.iter().map(|node| (*node, &node[..1])).collect();
    let mut world = zones(waiting(&spec, &nodes), &labels);
    world.settle();
    let held: Vec<String> = world.slots().into_iter().map(|slot| slot.node).collect();
    assert_eq!(held, ["a1", "a2", "b1"]);
    assert_eq!(code(&world.plan(), "c1"), "DomainBusy");
}

#[test]
fn min_interval_is_kept_between_any_two_grants() {
    let mut world = waiting(
        &policy("budget: {maxUnavailable: 3, minInterval: 10m}"),
        &["a", "b"],
    );
    assert_eq!(grants(&world.pass()), ["a"]);
    let plan = world.pass();
    assert_eq!(code(&plan, "b"), "MinInterval");
    assert!(plan.wake_at.unwrap() <= world.now + SignedDuration::from_mins(10));
    world.wait(599);
    assert_eq!(code(&world.pass(), "b"), "MinInterval");
    world.wait(1);
    assert_eq!(grants(&world.pass()), ["b"]);
}

#[test]
fn the_first_nodes_of_a_rollout_go_alone_and_a_pause_follows() {
    let mut world = waiting(
        &policy("budget: {maxUnavailable: 3, canary: {nodes: 1, soak: 1h}}"),
        &["a", "b", "c"],
    );
    world.settle();
    assert_eq!(world.slots().len(), 1);
    assert!(world.slots()[0].canary);
    assert_eq!(code(&world.plan(), "b"), "CanaryRunning");
    finish(&mut world, "a");
    assert_eq!(code(&world.plan(), "b"), "CanarySoaks");
    world.wait(3590);
    assert_eq!(code(&world.plan(), "b"), "CanarySoaks");
    world.wait(15);
    world.settle();
    assert_eq!(world.slots().len(), 2);
    assert!(world.slots().iter().all(|slot| !slot.canary));
}

#[test]
fn a_canary_that_does_not_come_to_its_end_is_replaced_by_another_node() {
    let mut world = waiting(
        &policy("budget: {maxUnavailable: 3, canary: {nodes: 1, soak: 1h}}"),
        &["a", "b"],
    );
    world.pass();
    world.agent("a");
    world.agent("a");
    // Aborted: the need has gone.
    world.node_mut("a").need = slipway_planner::Need::NotRequired;
    for _ in 0..5 {
        world.pass();
        world.agent("a");
    }
    assert_eq!(world.slots().len(), 1);
    assert!(world.slots()[0].canary);
    assert_eq!(world.slots()[0].node, "b");
}

#[test]
fn the_next_rollout_begins_with_its_own_first_nodes() {
    let spec = policy("budget: {maxUnavailable: 3, canary: {nodes: 1, soak: 10m}}");
    let mut world = waiting(&spec, &["a", "b", "c"]);
    world.pass();
    finish(&mut world, "a");
    world.wait(601);
    world.settle();
    finish(&mut world, "b");
    finish(&mut world, "c");
    world.wait(60);
    for node in ["b", "c"] {
        world.require(node);
    }
    world.settle();
    assert_eq!(world.slots().len(), 1);
    assert!(world.slots()[0].canary);
}

#[test]
fn the_ceiling_of_the_ledger_binds_every_policy_together() {
    use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
    let spec = |pool: &str| {
        format!(
            "{{nodeSelector: {{matchLabels: {{pool: {pool}}}}}, budget: {{maxUnavailable: 2}}}}"
        )
    };
    for (ceiling, expected) in [
        (IntOrString::Int(1), 1),
        (IntOrString::Int(3), 3),
        (IntOrString::String("50%".into()), 2),
        (IntOrString::Int(0), 0),
        (IntOrString::String("many".into()), 0),
    ] {
        let mut world = World::new()
            .policy("p", &spec("p"))
            .policy("q", &spec("q"))
            .nodes(&["a", "b", "c", "d"])
            .label("a", "pool", "p")
            .label("b", "pool", "p")
            .label("c", "pool", "q")
            .label("d", "pool", "q")
            .need(&["a", "b", "c", "d"]);
        world.ledger_mut().spec.max_unavailable = Some(ceiling.clone());
        world.settle();
        assert_eq!(world.slots().len(), expected, "{ceiling:?}");
        if expected == 0 {
            assert_eq!(code(&world.plan(), "a"), "CeilingUsed");
        }
    }
}

#[test]
fn nodes_that_are_down_use_the_ceiling_whoever_governs_them() {
    let mut world = World::new()
        .policy("p", "{nodeSelector: {matchLabels: {pool: p}}}")
        .nodes(&["a", "stranger"])
        .label("a", "pool", "p")
        .need(&["a"]);
    world.node_mut("stranger").unschedulable = true;
    world.ledger_mut().spec.max_unavailable =
        Some(k8s_openapi::apimachinery::pkg::util::intstr::IntOrString::Int(1));
    world.settle();
    assert_eq!(code(&world.plan(), "a"), "CeilingUsed");
}

const QUORUM: &str = "{nodeSelector: {}, budget: {maxUnavailable: 5, quorumLabel: etcd}}";

#[test]
fn a_quorum_group_never_loses_two_members_whatever_the_policies() {
    let mut world = World::new()
        .policy(
            "p",
            "{nodeSelector: {matchLabels: {pool: p}}, budget: {quorumLabel: etcd}}",
        )
        .policy("q", "{nodeSelector: {matchLabels: {pool: q}}}")
        .nodes(&["a", "b", "c"])
        .label("a", "pool", "p")
        .label("b", "pool", "q")
        .label("c", "pool", "q")
        .label("a", "etcd", "one")
        .label("b", "etcd", "one")
        .label("c", "etcd", "two")
        .need(&["a", "b"]);
    world.pass();
    assert_eq!(grants(&world.pass()), ["a"]);
    assert_eq!(code(&world.pass(), "b"), "QuorumBusy");
    // Another group, the other policy.
    world.require("c");
    world.pass();
    assert_eq!(grants(&world.pass()), ["c"]);
}

#[test]
fn a_member_that_is_down_or_cordoned_keeps_its_group_and_calls_off_a_drain() {
    for broken in ["not-ready", "cordoned"] {
        let mut world = World::new()
            .policy("p", QUORUM)
            .nodes(&["a", "b", "c"])
            .label("a", "etcd", "one")
            .label("b", "etcd", "one")
            .need(&["a", "c"]);
        let break_it = |world: &mut World| match broken {
            "not-ready" => world.node_mut("b").ready = false,
            _ => world.node_mut("b").unschedulable = true,
        };
        let mut late = world.clone();
        break_it(&mut world);
        world.settle();
        assert_eq!(code(&world.plan(), "a"), "QuorumDown", "{broken}");
        assert_eq!(world.slots()[0].node, "c", "{broken}");
        late.settle();
        late.agent("a");
        break_it(&mut late);
        let plan = late.pass();
        assert!(
            plan.actions.iter().any(|action| matches!(
                action, Action::Revoke { node, reason: Reason::QuorumDown { .. }, .. } if node == "a"
            )),
            "{broken}"
        );
    }
}

fn with_control_plane(spec: &str) -> World {
    let role = slipway_api::names::LABEL_CONTROL_PLANE;
    World::new()
        .policy("p", spec)
        .nodes(&["cp", "w1", "w2"])
        .label("cp", role, "")
}

#[test]
fn control_plane_nodes_and_workers_do_not_go_together_unless_it_is_written() {
    let mut world =
        with_control_plane("{nodeSelector: {}, budget: {maxUnavailable: 3}}").need(&["cp", "w1"]);
    world.settle();
    assert_eq!(world.slots()[0].node, "w1");
    assert_eq!(code(&world.plan(), "cp"), "NotMixed");

    let mut world =
        with_control_plane("{nodeSelector: {}, order: [], budget: {maxUnavailable: 3}}")
            .need(&["cp", "w1"]);
    world.settle();
    assert_eq!(world.slots()[0].node, "cp");
    assert_eq!(code(&world.plan(), "w1"), "NotMixed");

    let spec = "{nodeSelector: {}, budget: {maxUnavailable: 3, controlPlaneWithWorkers: true}}";
    let mut world = with_control_plane(spec).need(&["cp", "w1"]);
    world.settle();
    assert_eq!(world.slots().len(), 2);
}

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
        let granted = grants(&world.pass());
        if granted.contains(&"cp".to_owned()) {
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
