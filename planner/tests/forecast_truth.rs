//! The forecast against the planner itself: random fleets are rebooted for real in the planner's
//! own world, and the forecast made at the start has to hold what happened.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test fails where something is missing"
)]

mod world;

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use slipway_api::Phase;
use slipway_planner::forecast::{Durations, Spread, mix};
use slipway_planner::limits::WINDOW_LEFT_AT_CLEAR;
use world::World;
use world::ahead::{look_ahead, minutes};

/// Fleets that are tried.
const FLEETS: u64 = 1_000;

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

/// What a fleet's policies say besides their selector: every limit on its own and in company.
fn random_spec(pick: &dyn Fn(u64, &[i64]) -> i64) -> String {
    let schedule = match pick(2, &[0, 0, 0, 1, 2, 3]) {
        0 => "",
        1 => "schedule: {windows: [{start: '13:00', end: '15:00'}]},",
        2 => {
            "schedule: {timeZone: Europe/Berlin, cutoff: 20m, windows: [{start: '22:00', end: '05:00'}]},"
        }
        _ => "schedule: {freezes: [{from: '2026-11-24T13:00:00Z', to: '2026-11-25T13:00:00Z'}]},",
    };
    let order = match pick(7, &[0, 0, 1, 2, 3]) {
        0 => "",
        1 => "order: [DomainByDomain],",
        // By name, so that those which wait longest are passed.
        3 => "order: [ControlPlaneLast],",
        _ => "order: [LongestWaiting],",
    };
    let mut budget = format!("maxUnavailable: {}", pick(1, &[1, 1, 2, 3]));
    let more = [
        (8, ", perDomain: {topologyKey: zone}"),
        (
            9,
            ", perDomain: {topologyKey: zone, maxUnavailable: 2, domainsAtOnce: 2}",
        ),
        (10, ", canary: {nodes: 1, soak: 20m}"),
        (11, ", minInterval: 12m"),
        (12, ", quorumLabel: group"),
        (13, ", controlPlaneWithWorkers: true"),
    ];
    for (what, part) in more {
        let taken = what == 9 && budget.contains("perDomain");
        if pick(what, &[0, 0, 0, 1]) == 1 && !taken {
            budget.push_str(part);
        }
    }
    format!("{schedule} {order} budget: {{{budget}}}, verify: {{nodeReadyFor: 0s}}")
}

fn random_fleet(seed: u64) -> (World, Durations) {
    let pick = |what: u64, from: &[i64]| {
        from[usize::try_from(mix(seed, what) >> 40).unwrap() % from.len()]
    };
    let count = usize::try_from(pick(3, &[2, 4, 6, 9, 14, 24])).unwrap();
    let names: Vec<String> = (0..count).map(|number| format!("n{number:05}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut world = World::new().nodes(&names).need(&names);
    if pick(16, &[0, 0, 1]) == 1 {
        let oldest = world.node_mut(names[count - 1]);
        if let slipway_planner::Need::Required { since, .. } = &mut oldest.need {
            *since -= SignedDuration::from_hours(9);
        }
    }
    let policies = pick(14, &[1, 1, 1, 2]);
    for policy in 0..policies {
        let of_policy = |what: u64, from: &[i64]| pick(what + 100 * policy.unsigned_abs(), from);
        let selector = if policies == 1 {
            String::new()
        } else {
            format!("matchLabels: {{pool: p{policy}}}")
        };
        let spec = random_spec(&of_policy);
        world.add_policy(
            &format!("p{policy}"),
            &format!("{{nodeSelector: {{{selector}}}, {spec}}}"),
        );
    }
    for (number, name) in names.iter().enumerate() {
        let pool = i64::try_from(number).unwrap() % policies;
        world = world.label(name, "pool", &format!("p{pool}")).label(
            name,
            "zone",
            ["a", "b", "c"][number / 2 % 3],
        );
        if number % 3 == 1 {
            world = world.label(name, "group", "g");
        }
    }
    if pick(4, &[0, 0, 1]) == 1 {
        world = world.label("n00000", "node-role.kubernetes.io/control-plane", "");
    }
    if pick(15, &[0, 0, 0, 1]) == 1 {
        world.ledger_mut().spec.max_unavailable = Some(IntOrString::Int(2));
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
    let mut missed: Vec<(i64, String)> = Vec::new();
    for seed in 0..FLEETS {
        let (world, durations) = random_fleet(mix(99, seed));
        let told = look_ahead(&world, durations);
        let world_specs: Vec<String> = { world.snapshot.policies.iter() }
            .map(|policy| serde_json::to_string(&policy.spec.budget).unwrap())
            .collect();
        for (node, start) in truth(world, durations, seed) {
            all += 1;
            let fits = told.nodes.get(&node).is_some_and(|expected| {
                expected.from - SLACK <= start && start <= expected.to + SLACK
            });
            inside += usize::from(fits);
            if !fits {
                let told = told.nodes.get(&node);
                let off = told.map_or(i64::MAX, |told| {
                    let early = told.from.duration_since(start).as_secs();
                    early.max(start.duration_since(told.to).as_secs())
                });
                let spec: Vec<_> = { world_specs.iter() }.collect();
                missed.push((
                    off,
                    format!("fleet {seed} {node}: off by {off} s: {spec:?}"),
                ));
            }
        }
    }
    missed.sort();
    for (_, line) in missed.iter().rev().take(12) {
        println!("{line}");
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
