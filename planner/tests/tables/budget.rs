//! Every limit over several nodes.

use jiff::SignedDuration;
use slipway_planner::{Action, Reason};

use crate::look::{code, grants};
use crate::rollout::{finish, policy, run, waiting, with_control_plane, zones};
use crate::world::World;

const DOMAINS: &str =
    "budget: {maxUnavailable: 4, perDomain: {topologyKey: topology.kubernetes.io/zone}}";

const QUORUM: &str = "{nodeSelector: {}, budget: {maxUnavailable: 5, quorumLabel: etcd}}";

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
fn each_of_the_domains_at_once_is_finished_before_another_begins() {
    let spec = policy(
        "order: [LongestWaiting], budget: {maxUnavailable: 9, perDomain: {topologyKey: topology.kubernetes.io/zone, domainsAtOnce: 2}}",
    );
    let nodes = ["a1", "b1", "c1", "a2", "b2", "c2"];
    let labels: Vec<(&str, &str)> = nodes.iter().map(|node| (*node, &node[..1])).collect();
    let mut world = zones(waiting(&spec, &nodes), &labels);
    world.settle();
    finish(&mut world, "a1");
    // c1 has waited longer than the rest of both domains that were begun.
    assert_eq!(grants(&world.pass()), ["a2"]);
    finish(&mut world, "b1");
    assert_eq!(grants(&world.pass()), ["b2"]);
    finish(&mut world, "a2");
    assert_eq!(grants(&world.pass()), ["c1"]);
}

#[test]
fn domains_that_were_begun_never_all_wait_for_each_other() {
    let nodes = ["b1", "a1", "b2", "a2"];
    let labels: Vec<(&str, &str)> = nodes.iter().map(|node| (*node, &node[..1])).collect();
    let mut world = zones(waiting(&policy(DOMAINS), &nodes), &labels);
    // There were two at once before the policy was edited.
    let record = slipway_api::PolicyRecord {
        uid: world.snapshot.policies[0].uid.clone(),
        domains: vec!["a".to_owned(), "b".to_owned()],
        ..slipway_api::PolicyRecord::default()
    };
    world.ledger_mut().status.as_mut().unwrap().policies = vec![record];
    assert_eq!(run(&mut world, &nodes), ["a1", "a2", "b1", "b2"]);
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
