//! The forecast against the planner itself: random fleets are rebooted for real in the planner's
//! own world, and the forecast made at the start has to hold what happened.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails where something is missing"
)]

mod world;

use jiff::{SignedDuration, Timestamp};
use slipway_api::Phase;
use slipway_planner::forecast::{Durations, Expected, Forecast, Spread, forecast, mix};
use slipway_planner::limits::WINDOW_LEFT_AT_CLEAR;
use std::collections::BTreeMap;
use world::World;

/// Fleets that are tried.
const FLEETS: u64 = 1_000;

fn minutes(p50: i64, p90: i64) -> Durations {
    Durations {
        p50: SignedDuration::from_mins(p50),
        p90: SignedDuration::from_mins(p90),
    }
}

fn look_ahead(world: &World, durations: Durations) -> Forecast {
    let all = world.snapshot.policies.iter();
    let durations = all.map(|policy| (policy.uid.clone(), durations)).collect();
    forecast(&world.snapshot, &world.plan(), &durations, world.now)
}

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
    let request = |overrides: &str| {
        let text = format!("{{afterFence: 0, by: ada, overrides: [{overrides}]}}");
        serde_yaml::from_str(&text).unwrap()
    };
    world.lease_mut("n00000").spec.request = Some(request("Order"));
    assert_eq!(expected(&world, "n00000").from, at("2026-11-24T22:00:00Z"));
    // It does not wait for the window, so the window says nothing of it.
    world.lease_mut("n00000").spec.request = Some(request("Window"));
    assert!(look_ahead(&world, minutes(5, 10)).nodes.is_empty());
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

/// Runs the real planner to the end, with agents that take drawn times.
struct Truth {
    world: World,
    spread: Spread,
    seed: u64,
    /// When each node's present reboot was granted, and how long it takes.
    running: BTreeMap<String, (Timestamp, i64)>,
    starts: BTreeMap<String, Timestamp>,
    draws: u64,
}

impl Truth {
    fn run(mut self) -> BTreeMap<String, Timestamp> {
        for _ in 0..20_000 {
            while self.step() {}
            let Some(next) = self.next() else {
                return self.starts;
            };
            self.world.now = next;
        }
        panic!("the fleet is never done");
    }

    /// One pass, and whatever the agents do at this moment.
    fn step(&mut self) -> bool {
        let acted = !self.world.pass().actions.is_empty();
        let nodes: Vec<String> = self.world.snapshot.leases.keys().cloned().collect();
        let mut moved = false;
        for node in nodes {
            moved |= self.agent(&node);
        }
        acted || moved
    }

    fn agent(&mut self, node: &str) -> bool {
        let now = self.world.now;
        let phase = self.world.phase(node).unwrap();
        if self.world.lease(node).open_grant().is_some() && !self.running.contains_key(node) {
            self.draws += 1;
            let length = self.spread.draw(mix(self.seed, self.draws));
            self.running.insert(node.to_owned(), (now, length));
            self.starts.insert(node.to_owned(), now);
        }
        let Some((begun, length)) = self.running.get(node).copied() else {
            return self.world.agent(node);
        };
        let passed = now.duration_since(begun).as_secs();
        match phase {
            // Drained after half the time, as long as nobody calls it off.
            Phase::Draining if self.world.node(node).unschedulable => {
                let fence = self.world.lease(node).accepted_fence();
                (self.world.lease(node).is_revoked(fence) || passed >= length / 2)
                    && self.world.agent(node)
            }
            Phase::Rebooting => passed >= length && self.world.agent(node),
            Phase::Completed | Phase::Aborted => {
                self.running.remove(node);
                self.world.agent(node)
            }
            _ => self.world.agent(node),
        }
    }

    /// When something happens next; `None` when all is done.
    fn next(&self) -> Option<Timestamp> {
        if self
            .world
            .snapshot
            .nodes
            .values()
            .all(|node| !node.need.is_required())
            && self.running.is_empty()
        {
            return None;
        }
        let ends = self.running.values().flat_map(|(begun, length)| {
            [length / 2, *length].map(|wait| *begun + SignedDuration::from_secs(wait))
        });
        let wake = self.world.plan().wake_at;
        let next = ends.chain(wake).filter(|time| *time > self.world.now).min();
        Some(next.unwrap_or(self.world.now + WINDOW_LEFT_AT_CLEAR))
    }
}

fn random_fleet(seed: u64) -> (World, Durations) {
    let pick = |what: u64, from: &[i64]| {
        from[usize::try_from(mix(seed, what) >> 40).unwrap() % from.len()]
    };
    let budget = pick(1, &[1, 1, 2, 3]);
    let schedule = match pick(2, &[0, 0, 1, 2]) {
        0 => "",
        1 => "schedule: {windows: [{start: '13:00', end: '15:00'}]},",
        _ => "schedule: {timeZone: Europe/Berlin, windows: [{start: '22:00', end: '05:00'}]},",
    };
    let spec = format!(
        "{{nodeSelector: {{}}, {schedule} budget: {{maxUnavailable: {budget}}}, verify: {{nodeReadyFor: 0s}}}}"
    );
    let count = usize::try_from(pick(3, &[2, 4, 6, 9, 14])).unwrap();
    let mut world = fleet(count, &spec);
    if pick(4, &[0, 0, 1]) == 1 {
        world = world.label("n00000", "node-role.kubernetes.io/control-plane", "");
    }
    let p50 = pick(5, &[3, 5, 10]);
    (world, minutes(p50, p50 * pick(6, &[1, 2, 3])))
}

fn truth(world: World, durations: Durations, seed: u64) -> BTreeMap<String, Timestamp> {
    let truth = Truth {
        world,
        spread: Spread::new(durations),
        seed,
        running: BTreeMap::new(),
        starts: BTreeMap::new(),
        draws: 0,
    };
    truth.run()
}

/// A pass and an agent's step take a moment in the world, too.
const SLACK: SignedDuration = SignedDuration::from_secs(60);

#[test]
fn nine_of_ten_reboots_of_a_thousand_fleets_start_within_their_range() {
    let (mut inside, mut all) = (0_usize, 0_usize);
    for seed in 0..FLEETS {
        let (world, durations) = random_fleet(mix(99, seed));
        let told = look_ahead(&world, durations);
        for (node, start) in truth(world, durations, seed) {
            all += 1;
            let fits = told.nodes.get(&node).is_some_and(|expected| {
                expected.from - SLACK <= start && start <= expected.to + SLACK
            });
            inside += usize::from(fits);
        }
    }
    let share = inside * 1000 / all;
    println!("{inside} of {all} starts were foretold: {share} of 1000");
    assert!(share >= 900, "{inside} of {all}");
}

#[test]
fn a_range_is_no_wider_than_twice_what_really_happens() {
    const TRIES: u64 = 40;
    let (mut told_width, mut true_width) = (0, 0);
    for fleet in 0..20 {
        let (world, durations) = random_fleet(mix(7, fleet));
        let told = look_ahead(&world, durations);
        let mut starts: BTreeMap<String, Vec<Timestamp>> = BTreeMap::new();
        for seed in 0..TRIES {
            for (node, start) in truth(world.clone(), durations, mix(fleet, seed)) {
                starts.entry(node).or_default().push(start);
            }
        }
        for (node, mut times) in starts {
            times.sort();
            // Nine of ten of what happened.
            let (first, last) = (times[times.len() / 20], times[times.len() * 19 / 20]);
            true_width += last.duration_since(first).as_secs();
            let expected = told.nodes[&node];
            told_width += expected.to.duration_since(expected.from).as_secs();
        }
    }
    let ratio = told_width * 100 / true_width;
    println!("ranges are {ratio} % as wide as what happened");
    assert!(ratio <= 200, "{told_width} of {true_width}");
}
