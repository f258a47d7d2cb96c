//! What a forecast says of one fleet: a table row per rule. `forecast_truth.rs` holds it against what
//! really happens.

use std::collections::BTreeMap;

use crate::world::World;
use crate::world::ahead::{look_ahead, minutes};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use slipway_api::ledger::RebootTime;
use slipway_api::{Failure, Phase, PolicyRecord};
use slipway_planner::blockers::{Answer, Answered};
use slipway_planner::forecast::{Expected, Forecast, forecast};

fn named(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("n{number:05}")).collect()
}

fn fleet(count: usize, spec: &str) -> World {
    let names = named(count);
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    World::new().policy("p", spec).nodes(&names).need(&names)
}

fn expected(world: &World, node: &str) -> Expected {
    look_ahead(world, minutes(5, 10)).nodes[node]
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

#[test]
fn the_first_in_line_starts_now_and_the_others_after_it() {
    let mut world = fleet(3, "{nodeSelector: {}}");
    world.pass();
    let first = expected(&world, "n00000");
    assert_eq!((first.from, first.to), (world.now, world.now));
    let second = expected(&world, "n00001");
    assert!(second.from > world.now && second.to > second.from);
    assert!(expected(&world, "n00002").from > second.from);
    assert!(first.done_by > first.to);
}

#[test]
fn nobody_starts_outside_a_window() {
    let spec = "{nodeSelector: {}, schedule: {windows: [{start: '22:00', end: '23:00'}]}}";
    let world = fleet(30, spec);
    let told = look_ahead(&world, minutes(5, 10));
    assert_eq!(told.nodes["n00000"].from, at("2026-11-24T22:00:00Z"));
    for (node, expected) in &told.nodes {
        for time in [expected.from, expected.to] {
            let minute = time.as_second() % 86_400 / 60;
            assert!((22 * 60..23 * 60).contains(&minute), "{node}: {time}");
        }
    }
    // Thirty times more than five minutes do not fit one hour.
    let done = told.policies["p"].all_done_by.unwrap();
    assert!(done > at("2026-11-26T22:00:00Z"), "{done}");
}

#[test]
fn a_node_that_waits_for_a_person_has_no_date_and_is_counted() {
    let mut world = fleet(3, "{nodeSelector: {}}");
    world.snapshot.agents.remove("n00001");
    let told = look_ahead(&world, minutes(5, 10));
    assert!(!told.nodes.contains_key("n00001"));
    assert_eq!((told.nodes.len(), told.policies["p"].blocked), (2, 1));
    assert!(told.policies["p"].all_done_by.is_some());
    world.ledger_mut().spec.paused = true;
    assert!(look_ahead(&world, minutes(5, 10)).nodes.is_empty());
}

#[test]
fn a_node_that_only_a_person_asks_for_has_a_date_too() {
    let spec = "{nodeSelector: {}, schedule: {windows: [{start: '22:00', end: '23:00'}]}}";
    let mut world = fleet(1, spec);
    world.pass();
    world.node_mut("n00000").need = slipway_planner::snapshot::Need::NotRequired;
    assert!(look_ahead(&world, minutes(5, 10)).nodes.is_empty());
    request(&mut world, "n00000", "Order");
    assert_eq!(expected(&world, "n00000").from, at("2026-11-24T22:00:00Z"));
    // It does not wait for the window.
    request(&mut world, "n00000", "Window");
    assert_eq!(expected(&world, "n00000").from, world.now);
}

/// A human asks for a node, with these overrides.
fn request(world: &mut World, node: &str, overrides: &str) {
    let text = format!("{{afterFence: 0, by: ada, overrides: [{overrides}]}}");
    world.lease_mut(node).spec.request = Some(serde_yaml::from_str(&text).unwrap());
}

#[test]
fn a_node_asked_for_at_any_time_waits_for_no_domain_that_waits_for_its_window() {
    let spec = "{nodeSelector: {}, schedule: {windows: [{start: '22:00', end: '23:00'}]}, budget: {maxUnavailable: 4, perDomain: {topologyKey: zone}}}";
    let mut world = fleet(3, spec);
    for (name, zone) in named(3).iter().zip(["a", "a", "b"]) {
        world = world.label(name, "zone", zone);
    }
    world.pass();
    record(&mut world).domains = vec!["a".to_owned()];
    assert!(expected(&world, "n00002").from >= at("2026-11-24T22:00:00Z"));
    request(&mut world, "n00002", "Window");
    assert_eq!(expected(&world, "n00002").to, world.now);
    // So it is.
    assert_eq!(crate::look::grants(&world.pass()), ["n00002"]);
}

#[test]
fn a_node_asked_for_beyond_the_budget_waits_for_no_budget_and_no_pause() {
    for budget in [
        "maxUnavailable: 0",
        "canary: {nodes: 1, soak: 1h}",
        "minInterval: 5h",
    ] {
        let mut world = fleet(3, &format!("{{nodeSelector: {{}}, budget: {{{budget}}}}}"));
        world.settle();
        let now = world.now;
        let told = look_ahead(&world, minutes(5, 10)).nodes;
        assert!(
            told.get("n00002").is_none_or(|told| told.from > now),
            "{budget}"
        );
        request(&mut world, "n00002", "Budget");
        assert_eq!(expected(&world, "n00002").to, now, "{budget}");
        assert_eq!(crate::look::grants(&world.pass()), ["n00002"], "{budget}");
    }
}

#[test]
fn a_node_that_has_waited_longer_is_passed_a_bounded_number_of_times_in_the_forecast_too() {
    // By name: the one that waits longest would go last.
    let spec = "{nodeSelector: {}, order: [ControlPlaneLast]}";
    let mut world = fleet(30, spec);
    let old = world.now - SignedDuration::from_hours(9);
    let last = named(30).pop().unwrap();
    if let slipway_planner::Need::Required { since, .. } = &mut world.node_mut(&last).need {
        *since = old;
    }
    world.pass();
    let told = look_ahead(&world, minutes(5, 5)).nodes;
    let before = told.values().filter(|one| one.from < told[&last].from);
    assert_eq!(before.count(), 10);
    // One that was passed before the forecast begins goes first.
    let held = slipway_api::ledger::Passed {
        node: last.clone(),
        policy_uid: world.snapshot.policies[0].uid.clone(),
        control_plane: false,
        times: 10,
        held_since: Some(Time(world.now)),
    };
    world.ledger_mut().status.as_mut().unwrap().passed = vec![held];
    assert_eq!(expected(&world, &last).to, world.now);
}

#[test]
fn a_node_that_goes_on_under_another_policy_than_it_began_frees_its_place_there() {
    let mut world = fleet(2, "{nodeSelector: {}}");
    world.pass();
    world.pass();
    assert_eq!(world.slots().len(), 1);
    world.add_policy("q", "{nodeSelector: {}, priority: 10}");
    let told = look_ahead(&world, minutes(5, 10));
    assert!(told.nodes.contains_key("n00001"), "{told:?}");
    assert_eq!(told.policies["q"].never, 0);
}

#[test]
fn a_budget_of_nothing_and_a_window_too_short_never_end() {
    for spec in [
        "{nodeSelector: {}, budget: {maxUnavailable: 0}}",
        "{nodeSelector: {}, schedule: {windows: [{start: '22:00', end: '22:01'}]}}",
    ] {
        let told = look_ahead(&fleet(2, spec), minutes(5, 10));
        assert_eq!(told.policies["p"].never, 2, "{spec}");
        assert_eq!(told.policies["p"].all_done_by, None, "{spec}");
        assert!(told.nodes.is_empty(), "{spec}");
    }
}

#[test]
fn control_plane_nodes_go_one_at_a_time_in_the_forecast_too() {
    let names = ["c1", "c2", "c3"];
    let mut world = World::new()
        .policy("p", "{nodeSelector: {}, budget: {maxUnavailable: 3}}")
        .nodes(&names)
        .need(&names);
    for name in names {
        world = world.label(name, "node-role.kubernetes.io/control-plane", "");
    }
    let told = look_ahead(&world, minutes(5, 10));
    assert!(told.nodes["c2"].from > told.nodes["c1"].to);
    assert!(told.nodes["c3"].from > told.nodes["c2"].from);
}

#[test]
fn a_stuck_node_holds_its_place_for_ever() {
    let mut world = fleet(2, "{nodeSelector: {}, reboot: {timeout: 10m}}");
    world.settle();
    while world.phase("n00000") != Some(Phase::Rebooting) {
        world.agent("n00000");
        world.settle();
    }
    world.wait(3600);
    let told = look_ahead(&world, minutes(5, 10));
    assert!(told.nodes.is_empty());
    assert_eq!(told.policies["p"].never, 1);
}

#[test]
fn the_same_snapshot_gives_the_same_forecast() {
    let world = fleet(50, "{nodeSelector: {}, budget: {maxUnavailable: 3}}");
    assert_eq!(
        look_ahead(&world, minutes(5, 15)),
        look_ahead(&world, minutes(5, 15))
    );
}

#[test]
fn ten_thousand_nodes_are_foretold() {
    let world = fleet(10_000, "{nodeSelector: {}, budget: {maxUnavailable: '2%'}}");
    let told = look_ahead(&world, minutes(5, 15));
    assert_eq!(told.nodes.len(), 10_000);
    assert!(told.policies["p"].all_done_by.is_some());
}

/// The policy's own record in the ledger.
fn record(world: &mut World) -> &mut PolicyRecord {
    let uid = world.snapshot.policies[0].uid.clone();
    let status = world.ledger_mut().status.as_mut().unwrap();
    status.policies = vec![PolicyRecord {
        uid,
        ..PolicyRecord::default()
    }];
    &mut status.policies[0]
}

fn without_durations(world: &World) -> Forecast {
    forecast(&world.snapshot, &world.plan(), &BTreeMap::new(), world.now)
}

#[test]
fn five_reboots_on_record_replace_what_is_assumed() {
    let mut world = fleet(10, "{nodeSelector: {}}");
    let assumed = without_durations(&world).policies["p"].all_done_by;
    let slow = RebootTime {
        total: 6 * 3600,
        away: 600,
    };
    record(&mut world).reboots = vec![slow; 4];
    assert_eq!(without_durations(&world).policies["p"].all_done_by, assumed);
    record(&mut world).reboots = vec![slow; 5];
    let told = without_durations(&world).policies["p"].all_done_by.unwrap();
    assert!(told >= world.now + SignedDuration::from_hours(59), "{told}");
}

#[test]
fn domains_go_one_after_the_other() {
    let spec = "{nodeSelector: {}, budget: {maxUnavailable: 4, perDomain: {topologyKey: zone, maxUnavailable: 2}}}";
    let mut world = fleet(6, spec);
    for (number, name) in named(6).iter().enumerate() {
        world = world.label(name, "zone", if number < 3 { "a" } else { "b" });
    }
    let told = look_ahead(&world, minutes(5, 10)).nodes;
    assert_eq!(told["n00000"].to, told["n00001"].to);
    for first in ["n00000", "n00001", "n00002"] {
        assert!(told["n00003"].from > told[first].from, "{first}");
    }
    assert!(told["n00003"].from > told["n00002"].from);
}

#[test]
fn the_first_nodes_soak_and_grants_keep_their_distance() {
    let spec = "{nodeSelector: {}, budget: {maxUnavailable: 3, canary: {nodes: 1, soak: 1h}}}";
    let told = look_ahead(&fleet(3, spec), minutes(5, 10)).nodes;
    let hour = SignedDuration::from_hours(1);
    assert!(told["n00001"].from > told["n00000"].from + hour);
    let spec = "{nodeSelector: {}, budget: {maxUnavailable: 3, minInterval: 2h}}";
    let told = look_ahead(&fleet(3, spec), minutes(5, 10)).nodes;
    assert_eq!(
        told["n00002"].from,
        told["n00000"].from + hour + hour + hour + hour
    );
}

#[test]
fn the_ceiling_bounds_every_policy_together() {
    let names = ["a1", "a2", "b1", "b2"];
    let mut world = World::new().nodes(&names).need(&names);
    for policy in ["a", "b"] {
        let spec = format!(
            "{{nodeSelector: {{matchLabels: {{pool: {policy}}}}}, budget: {{maxUnavailable: 2}}}}"
        );
        world.add_policy(policy, &spec);
    }
    for name in names {
        world = world.label(name, "pool", &name[..1]);
    }
    let at_once = |world: &World| {
        let told = look_ahead(world, minutes(5, 10));
        told.nodes
            .values()
            .filter(|one| one.to == world.now)
            .count()
    };
    assert_eq!(at_once(&world), 4);
    let most = k8s_openapi::apimachinery::pkg::util::intstr::IntOrString::Int(1);
    world.ledger_mut().spec.max_unavailable = Some(most);
    assert_eq!(at_once(&world), 1);
}

#[test]
fn nothing_starts_that_the_cutoff_keeps_from_finishing() {
    let spec =
        "{nodeSelector: {}, schedule: {cutoff: 40m, windows: [{start: '22:00', end: '23:00'}]}}";
    let told = look_ahead(&fleet(20, spec), minutes(5, 10));
    for (node, expected) in &told.nodes {
        for time in [expected.from, expected.to] {
            let minute = time.as_second() % 86_400 / 60;
            assert!((22 * 60..=22 * 60 + 20).contains(&minute), "{node}: {time}");
        }
    }
}

#[test]
fn an_open_breaker_and_a_blocker_that_holds_have_no_date() {
    let blocked = "{nodeSelector: {}, blockers: [{name: b, http: {url: 'http://example.com/'}}]}";
    let mut world = fleet(3, blocked);
    world.settle();
    // It has not been asked yet: that says nothing.
    assert_eq!(look_ahead(&world, minutes(5, 10)).nodes.len(), 3);
    let message = || "not now".to_owned();
    for answer in [
        Answer::Blocks { message: message() },
        Answer::Failed { message: message() },
    ] {
        let policy = &world.snapshot.policies[0];
        let rule = policy.parsed.as_ref().unwrap().blockers[0].clone();
        let key = (policy.uid.clone(), rule.name.clone());
        let at = world.now;
        world
            .snapshot
            .blockers
            .insert(key, Answered { rule, answer, at });
        let told = look_ahead(&world, minutes(5, 10));
        assert_eq!((told.nodes.len(), told.policies["p"].blocked), (0, 3));
        assert_eq!(told.policies["p"].all_done_by, None);
    }
    let mut world = fleet(3, "{nodeSelector: {}, failure: {maxFailures: 1}}");
    let at = Time(world.now);
    record(&mut world).failures = vec![Failure {
        node: "n00000".to_owned(),
        fence: 1,
        at,
        reason: "Stuck".to_owned(),
    }];
    let told = look_ahead(&world, minutes(5, 10));
    assert_eq!((told.nodes.len(), told.policies["p"].blocked), (0, 3));
}
