//! Properties over random clusters, policies, agents and humans.
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

use proptest::prelude::*;
use slipway_api::{Phase, Slot};
use slipway_planner::snapshot::{CordonState, Gap};
use slipway_planner::{Action, budget};
use world::World;

const NODES: [&str; 5] = ["a", "b", "c", "d", "e"];

/// Something that happens between two passes.
#[derive(Clone, Debug)]
enum Event {
    Agent(usize),
    Wait(i64),
    Need(usize),
    NotReady(usize),
    Ready(usize),
    HumanCordon(usize),
    Policy(usize),
    DeleteLease(usize),
    Pause(bool),
    GapOn,
    GapOff,
    SlotsLost,
}

const POLICIES: [&str; 6] = [
    "{nodeSelector: {}, budget: {maxUnavailable: 1}, verify: {nodeReadyFor: 5s}}",
    "{nodeSelector: {}, budget: {maxUnavailable: 2}, verify: {nodeReadyFor: 0s}}",
    "{nodeSelector: {}, budget: {maxUnavailable: '40%'}}",
    "{nodeSelector: {}, paused: true}",
    "{nodeSelector: {}, schedule: {windows: [{start: '22:00', end: '05:00'}]}}",
    "{nodeSelector: {}, budget: {maxUnavailable: 0}}",
];

fn event() -> impl Strategy<Value = Event> {
    let node = 0..NODES.len();
    prop_oneof![
        12 => node.clone().prop_map(Event::Agent),
        4 => (1_i64..4000).prop_map(Event::Wait),
        4 => node.clone().prop_map(Event::Need),
        1 => node.clone().prop_map(Event::NotReady),
        2 => node.clone().prop_map(Event::Ready),
        1 => node.clone().prop_map(Event::HumanCordon),
        2 => (0..POLICIES.len()).prop_map(Event::Policy),
        1 => node.prop_map(Event::DeleteLease),
        1 => any::<bool>().prop_map(Event::Pause),
        1 => Just(Event::GapOn),
        2 => Just(Event::GapOff),
        1 => Just(Event::SlotsLost),
    ]
}

fn happen(world: &mut World, event: &Event) {
    match event {
        Event::Agent(node) => {
            world.agent(NODES[*node]);
        }
        Event::Wait(seconds) => world.wait(*seconds),
        Event::Need(node) => world.require(NODES[*node]),
        Event::NotReady(node) => world.node_mut(NODES[*node]).ready = false,
        Event::Ready(node) => world.node_mut(NODES[*node]).ready = true,
        Event::HumanCordon(node) => world.node_mut(NODES[*node]).unschedulable = true,
        Event::Policy(policy) => world.edit_policy("p", POLICIES[*policy]),
        Event::DeleteLease(node) => {
            world.snapshot.leases.remove(NODES[*node]);
        }
        Event::Pause(paused) => world.ledger_mut().spec.paused = *paused,
        Event::GapOn => world.snapshot.gaps = vec![Gap::ClockSkew { seconds: 100 }],
        Event::GapOff => world.snapshot.gaps.clear(),
        Event::SlotsLost => world.ledger_mut().status.as_mut().unwrap().slots.clear(),
    }
}

fn start() -> World {
    World::new().policy("p", POLICIES[0]).nodes(&NODES)
}

fn slot_of<'a>(slots: &'a [Slot], node: &str) -> Option<&'a Slot> {
    slots.iter().find(|slot| slot.node == node)
}

/// The invariants that a pass must keep, on the state after it.
fn assert_invariants(world: &World, before: &World) {
    let slots = world.slots();
    for name in NODES {
        let node = world.node(name);
        let held = slot_of(&slots, name);
        // S1b: a cordon of ours holds its slot, but for a ledger that was just robbed of it: then
        // the next pass gives it back.
        if let CordonState::Ours(record) = &node.cordon
            && slot_of(&before.slots(), name).is_some()
        {
            assert!(
                held.is_some(),
                "S1b: {name} is cordoned under {} without a slot",
                record.fence
            );
        }
        assert!(
            slots.iter().filter(|slot| slot.node == name).count() <= 1,
            "S1d: {name}"
        );
    }
    // S1: a pass never appends beyond the budget.
    let new: Vec<&Slot> = slots
        .iter()
        .filter(|slot| slot.fence >= before_next_fence(before))
        .collect();
    if !new.is_empty() {
        let policy = &world.snapshot.policies[0];
        let limits = budget::limits(&before.snapshot, policy);
        let in_use = limits.in_use(&slots);
        assert!(
            in_use.len() <= limits.allowed,
            "S1: {in_use:?} of {}",
            limits.allowed
        );
        assert!(
            !before.snapshot.policies[0].spec.paused,
            "S4: granted while paused"
        );
        assert!(before.snapshot.gaps.is_empty(), "S4: granted with a gap");
    }
}

fn before_next_fence(world: &World) -> i64 {
    world
        .snapshot
        .ledger
        .present()
        .unwrap()
        .status
        .as_ref()
        .unwrap()
        .next_fence
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 10_000, ..ProptestConfig::default() })]

    #[test]
    fn no_pass_breaks_an_invariant_whatever_happens_between(
        events in prop::collection::vec(event(), 1..40)
    ) {
        let mut world = start();
        for event in &events {
            happen(&mut world, event);
            let before = world.clone();
            // `pass` itself fails where the independent check refuses the plan.
            world.pass();
            assert_invariants(&world, &before);
        }
    }

    #[test]
    fn a_plan_is_deterministic_total_and_never_wakes_in_the_past(
        events in prop::collection::vec(event(), 0..25)
    ) {
        let mut world = start();
        for event in &events {
            happen(&mut world, event);
            world.pass();
        }
        let (first, second) = (world.plan(), world.plan());
        prop_assert_eq!(format!("{first:?}"), format!("{second:?}"));
        prop_assert_eq!(first.verdicts.len(), NODES.len());
        prop_assert!(first.wake_at.is_none_or(|wake| wake > world.now));
    }

    #[test]
    fn less_budget_never_grants_more(
        events in prop::collection::vec(event(), 0..25), small in 0_usize..3, more in 0_usize..3
    ) {
        let mut world = start();
        for event in &events {
            happen(&mut world, event);
            world.pass();
        }
        let spec = |count| format!("{{nodeSelector: {{}}, budget: {{maxUnavailable: {count}}}}}");
        let grants = |budget: usize| {
            let mut world = world.clone();
            world.edit_policy("p", &spec(budget));
            let plan = world.plan();
            plan.actions.iter().filter(|action| matches!(action, Action::Grant(_))).count()
        };
        prop_assert!(grants(small) <= grants(small + more));
    }

    #[test]
    fn once_faults_stop_every_need_is_met_and_nothing_is_left_behind(
        events in prop::collection::vec(event(), 0..30)
    ) {
        let mut world = start();
        for event in &events {
            happen(&mut world, event);
            world.pass();
        }
        // Faults stop: the policy allows, nodes are Ready, nothing is paused.
        world.edit_policy("p", "{nodeSelector: {}, budget: {maxUnavailable: 2}, verify: {nodeReadyFor: 1s}}");
        world.ledger_mut().spec.paused = false;
        world.snapshot.gaps.clear();
        // Humans take their cordons away: those that lie under ours would use the budget once ours is gone.
        for name in NODES {
            let node = world.node_mut(name);
            match &mut node.cordon {
                CordonState::Absent => node.unschedulable = false,
                CordonState::Ours(record) => record.unschedulable_before = false,
                CordonState::Unreadable => {}
            }
        }
        for round in 0..120 {
            for name in NODES {
                let away = world.phase(name) == Some(Phase::Rebooting);
                world.node_mut(name).ready = !away;
                world.agent(name);
            }
            world.pass();
            // Long enough in sum for every pause and for the loop guard.
            world.wait(if round % 4 == 0 { 3 * 3600 } else { 1 });
        }
        for name in NODES {
            let node = world.node(name);
            prop_assert!(!node.need.is_required(), "{name} still waits: {:?}", world.plan().verdicts[name]);
            prop_assert_eq!(&node.cordon, &CordonState::Absent, "L3: {}", name);
            prop_assert!(!node.unschedulable, "L3: {name} stays cordoned");
        }
        prop_assert!(world.slots().is_empty(), "L3: {:?}", world.slots());
    }
}
