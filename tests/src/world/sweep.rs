//! The crash sweep: a scenario is run once undisturbed, then once for every site and both sides of
//! it, with the program that reaches the site killed there (faults.md 1.4, 4.2).
//!
//! Every invariant is asked after every write, as in the seeds; at the end everything must be as in
//! the undisturbed run, after hardly more writes than there.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result};
use slipway_api::Phase;

use super::crash::Crash;
use super::rng::Rng;
use super::run::{Simulation, in_world};
use super::scenarios::{LOOKS_PER_SECOND, Progress, SCENARIOS, Scenario};
use super::setup::Without;

/// Longest that a scenario may take.
const LIMIT: Duration = Duration::from_hours(3);
/// How many steps everything must be calm before it counts as the end.
const CALM: u32 = 20;
/// Fixes the latencies.
const SEED: u64 = 1;

/// What is left of a node at the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeEnding {
    /// How often the machine was booted.
    pub boots: u64,
    /// Whether anything asks for a reboot.
    pub needs: bool,
    /// Whose cordon it carries: nobody's, ours, or another's.
    pub cordon: &'static str,
    /// Whether its lease ended with a reboot that is proved.
    pub completed: bool,
}

/// One run of a scenario.
#[derive(Clone, Debug, Default)]
pub struct Run {
    /// Every site, in order.
    pub sites: Vec<String>,
    /// Each node at the end.
    pub nodes: BTreeMap<String, NodeEnding>,
    /// Slots at the end.
    pub slots: usize,
    /// Writes of our programs, by resource.
    pub writes: BTreeMap<String, u64>,
    /// Invariants that were broken.
    pub broken: Vec<String>,
    /// The last lines.
    pub lines: Vec<String>,
}

/// Names of the scenarios.
pub fn scenario_names() -> Vec<&'static str> {
    SCENARIOS.iter().map(|scenario| scenario.name).collect()
}

/// Runs a scenario with these crashes; with none for the undisturbed run.
///
/// # Errors
/// There is no such scenario, or the simulation itself cannot run.
pub fn run_scenario(name: &str, crashes: &[Crash]) -> Result<Run> {
    let scenario = SCENARIOS
        .iter()
        .find(|scenario| scenario.name == name)
        .with_context(|| format!("there is no scenario {name}"))?;
    let history = (SEED, Rng::new(SEED, 2), Without::everything());
    in_world(history, scenario.setup(), crashes, async |simulation| {
        play(scenario, simulation).await
    })
}

async fn play(scenario: &Scenario, mut simulation: Simulation) -> Run {
    let mut progress = Progress::default();
    let mut calm = 0;
    while calm < CALM && simulation.clock.elapsed() < LIMIT && !simulation.is_broken() {
        let mut done = false;
        for _ in 0..LOOKS_PER_SECOND {
            done = scenario.act(&mut simulation, &mut progress);
            tokio::time::sleep(Duration::from_secs(1) / LOOKS_PER_SECOND).await;
        }
        simulation.look();
        let rests = done && simulation.starts.is_empty() && simulation.is_calm();
        calm = if rests { calm + 1 } else { 0 };
    }
    if calm < CALM && !simulation.is_broken() {
        simulation.break_off("L1: the scenario does not end");
    }
    ending(&simulation)
}

fn ending(simulation: &Simulation) -> Run {
    let history = simulation.record.history();
    let view = &history.view;
    let machines = simulation.machines.all();
    let nodes = machines.iter().map(|(name, machine)| {
        let node = view.nodes.get(name);
        let lease = view.leases.get(name);
        let ending = NodeEnding {
            boots: machine.boots,
            needs: machine.needs_reboot(),
            cordon: match node {
                Some(node) if node.cordon.is_some() => "ours",
                Some(node) if node.unschedulable => "another's",
                Some(_) | None => "nobody's",
            },
            completed: lease.is_some_and(|lease| lease.phase() == Phase::Completed),
        };
        (name.clone(), ending)
    });
    let status = view
        .ledger
        .as_ref()
        .and_then(|ledger| ledger.status.as_ref());
    Run {
        sites: simulation.crashes.sites(),
        nodes: nodes.collect(),
        slots: status.map_or(0, |status| status.slots.len()),
        writes: history.our_writes_by_resource.clone(),
        broken: history.broken.clone(),
        lines: history.lines(),
    }
}

impl Run {
    /// What is worse than in the undisturbed run; empty where nothing is.
    pub fn worse_than(&self, undisturbed: &Self) -> Vec<String> {
        let mut worse = self.broken.clone();
        for (name, ending) in &undisturbed.nodes {
            let here = self.nodes.get(name);
            if here != Some(ending) {
                worse.push(format!("{name} ends as {here:?} instead of {ending:?}"));
            }
        }
        if self.slots != undisturbed.slots {
            worse.push(format!("{} slots are left", self.slots));
        }
        for (resource, count) in &self.writes {
            let usual = undisturbed.writes.get(resource).copied().unwrap_or(0);
            if *count > most_writes(usual) {
                worse.push(format!("{count} writes to {resource} instead of {usual}"));
            }
        }
        worse
    }
}

/// One crash costs one more reboot's worth of writes at most: whatever was under way ends, and is
/// begun again once.
fn most_writes(usual: u64) -> u64 {
    2 * usual + 4
}
