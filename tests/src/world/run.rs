//! One history: real operators and agents, a cluster around them, faults, and then none.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use slipway_client::simulate;
use tempfile::TempDir;
use tokio::task::JoinHandle;

use super::cluster::Cluster;
use super::crash::{Crash, Crashes};
use super::faults::SimulatedNetwork;
use super::humans::Deed;
use super::invariants::{self, Called};
use super::machine::{Machine, Machines, Manner, Power};
use super::record::Record;
use super::rng::Rng;
use super::setup::{Setup, Without};
use super::time::{Clock, Process, Simulated};
use crate::fake_api::FakeApi;

/// Between two looks of the cluster's own actors.
const TICK: Duration = Duration::from_secs(1);
/// How long things go wrong: as many steps, of a second each.
const TROUBLE: (u64, u64) = (25 * 60, 40 * 60);
/// How long it may take after that until every need is met: pauses after failures grow to hours.
const RECOVERY: Duration = Duration::from_hours(6);
/// How long nothing may be written once everything has come to rest: longer than two resyncs.
const REST: Duration = Duration::from_mins(30);
/// The same in every twentieth seed: ten resyncs (S12).
const LONG_REST: Duration = Duration::from_mins(105);
/// How long everything must be calm before that counts as rest.
const CALM: u64 = 60;

/// What came of a seed.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// The seed.
    pub seed: u64,
    /// Over everything that happened.
    pub hash: u64,
    /// Writes to the API server.
    pub writes: u64,
    /// Reboots of ours that were made.
    pub reboots: u64,
    /// Looks of the cluster's actors and writes, after each of which the invariants are asked.
    pub steps: u64,
    /// Virtual time that passed.
    pub lasted: Duration,
    /// Invariants that were broken.
    pub broken: Vec<String>,
    /// The last lines of the history.
    pub lines: Vec<String>,
    /// How often each fault was met.
    pub faults: BTreeMap<String, u64>,
    /// The faults of the network that may be met in this history.
    pub mix: Vec<String>,
    /// What people and accidents did, with its number.
    pub deeds: Vec<(u64, String)>,
}

/// A program that runs.
pub(super) struct Running {
    pub(super) process: Arc<Process>,
    pub(super) task: JoinHandle<()>,
}

/// One history in the making.
pub(super) struct Simulation {
    pub(super) clock: Clock,
    pub(super) rng: Rng,
    pub(super) api: FakeApi,
    pub(super) record: Record,
    pub(super) machines: Machines,
    pub(super) cluster: Cluster,
    pub(super) agents: BTreeMap<String, Running>,
    pub(super) setup: Setup,
    pub(super) crashes: Crashes,
    pub(super) deeds: Vec<(u64, String)>,
    /// Nodes that were removed, and when each comes back.
    pub(super) removed: BTreeMap<String, Duration>,
    /// What is taken back later, and of which node.
    pub(super) taken_back: Vec<(Duration, Deed, String)>,
    pub(super) without: Without,
    seed: u64,
    ticks: u64,
    pub(super) network: Arc<SimulatedNetwork>,
    pub(super) operators: BTreeMap<String, Running>,
    pub(super) starts: BTreeMap<String, Duration>,
    pub(super) incarnations: u64,
    pub(super) reboots: u64,
}

/// Runs the history of a seed.
///
/// # Errors
/// The simulation itself cannot run; broken invariants are in the outcome.
pub fn run(seed: u64) -> Result<Outcome> {
    run_without(seed, &Without::default())
}

/// Runs the history of a seed without some of its faults.
///
/// # Errors
/// As [`run`].
pub fn run_without(seed: u64, without: &Without) -> Result<Outcome> {
    let mut rng = Rng::new(seed, 2);
    let setup = Setup::random(&mut rng);
    let history = (seed, rng, without.clone());
    in_world(history, setup, &[], async |mut simulation| {
        simulation.trouble().await;
        simulation.recover().await;
        simulation.outcome()
    })
}

/// Runs a history in a world of its own, on this thread.
pub(super) fn in_world<T>(
    (seed, rng, without): (u64, Rng, Without),
    setup: Setup,
    plan: &[Crash],
    history: impl AsyncFnOnce(Simulation) -> T,
) -> Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()?;
    // The library's backoff takes its jitter from here.
    fastrand::seed(seed);
    let directory = directory()?;
    let crashes = Crashes::new(plan);
    let outcome = runtime.block_on(async {
        let clock = Clock::begin();
        let api = FakeApi::new(Arc::new(move || clock.wall()), seed);
        let network = SimulatedNetwork::new(clock, crashes.clone(), seed, &without);
        let around = (clock, api.clone(), network);
        let mut simulation = Simulation::new(around, (seed, rng, without), crashes, setup);
        let files = simulation.machines.files.clone();
        let _installed = simulate::install(Rc::new(Simulated { clock, api, files }));
        if std::env::var_os("SLIPWAY_TRACE").is_some() {
            simulation.record.history().show();
        }
        simulation.begin(directory.path())?;
        anyhow::Ok(history(simulation).await)
    });
    runtime.shutdown_background();
    outcome
}

/// In memory where that can be written: every commit is synced to the disk.
fn directory() -> Result<TempDir> {
    let builder = || {
        let mut builder = tempfile::Builder::new();
        builder.prefix("slipway-world-");
        builder
    };
    builder()
        .tempdir_in("/dev/shm")
        .or_else(|_| builder().tempdir())
        .context("failed to make a directory")
}

impl Simulation {
    fn new(
        (clock, api, network): (Clock, FakeApi, Arc<SimulatedNetwork>),
        (seed, rng, without): (u64, Rng, Without),
        crashes: Crashes,
        setup: Setup,
    ) -> Self {
        let record = Record::default();
        let calls = record.clone();
        let on_call = move |name: &str, machine: &Machine| {
            let called = Called {
                name,
                boot_id: &machine.boot_id,
                wall: clock.wall().as_second(),
            };
            calls.called(called, clock.elapsed());
        };
        let machines = Machines::new(clock, crashes.clone(), Box::new(on_call));
        record.history().memory.dates_lie = network.mix().contains("date off");
        api.store().observe(record.observer(clock));
        api.set_network(network.clone());
        Self {
            clock,
            rng,
            record,
            cluster: Cluster::new(api.clone(), machines.clone(), clock, setup.replicas),
            api,
            machines,
            network,
            crashes,
            setup,
            agents: BTreeMap::new(),
            operators: BTreeMap::new(),
            starts: BTreeMap::new(),
            deeds: Vec::new(),
            removed: BTreeMap::new(),
            taken_back: Vec::new(),
            without,
            incarnations: 0,
            reboots: 0,
            seed,
            ticks: 0,
        }
    }

    pub(super) fn note(&self, line: &str) {
        self.record.history().note(self.clock.elapsed(), line);
    }

    pub(super) fn names(&self) -> Vec<String> {
        self.machines.all().keys().cloned().collect()
    }

    /// The time of faults.
    async fn trouble(&mut self) {
        // Of its own: what is left out must not change what comes after it.
        let mut times = Rng::new(self.seed, 3);
        let until = Duration::from_secs(times.range(TROUBLE.0, TROUBLE.1));
        let every = times.range(20, 120);
        let mut next = Duration::from_secs(times.range(10, every));
        let mut number = 0;
        while self.clock.elapsed() < until && !self.is_broken() {
            self.tick().await;
            if self.clock.elapsed() >= next {
                self.rng = Rng::new(self.seed, 1000 + number);
                if !self.without.deeds.contains(&number) {
                    self.mishap(number);
                }
                number += 1;
                next += Duration::from_secs(times.range(1, 2 * every));
            }
        }
    }

    /// Everything works from now on: every need must be met, and then there must be peace.
    async fn recover(&mut self) {
        self.note("=== from here on everything works");
        self.heal();
        let skews = self.agents.values().map(|agent| &agent.process.skew);
        for skew in skews {
            skew.store(0, std::sync::atomic::Ordering::Relaxed);
        }
        // What watches have missed is listed again.
        self.api.store().compact();
        self.api.store().close_watches();
        let deadline = self.clock.elapsed() + RECOVERY;
        let mut calm = 0;
        if self.is_broken() {
            return;
        }
        while calm < CALM && self.clock.elapsed() < deadline && !self.is_broken() {
            for name in self.names() {
                self.cluster.agent_ready(&name, true);
                let foreign = {
                    let history = self.record.history();
                    let node = history.view.nodes.get(&name);
                    node.is_some_and(|node| node.unschedulable && node.cordon.is_none())
                };
                if foreign {
                    self.uncordon(&name);
                }
            }
            self.tick().await;
            calm = if self.is_calm() { calm + 1 } else { 0 };
        }
        if self.is_broken() {
            return;
        }
        if calm < CALM {
            self.break_off("L1: the needs are not met");
            let broken = invariants::at_rest(&self.record.history().view);
            self.record.history().broken.extend(broken);
            return;
        }
        let before = self.record.history().our_writes;
        self.note("=== at rest");
        let rest = if self.seed.is_multiple_of(20) {
            LONG_REST
        } else {
            REST
        };
        tokio::time::sleep(rest).await;
        let after = self.record.history().our_writes;
        if after != before {
            self.break_off(&format!("S12: {} writes at rest", after - before));
        }
    }

    /// Everything that people and accidents have left behind is mended.
    fn heal(&mut self) {
        self.network.heal();
        self.taken_back.clear();
        self.set_paused(false);
        self.cluster.pods_cling = false;
        self.open_gates();
        self.set_min_available(self.setup.min_available.min(1));
        for (name, _) in self.setup.policies.clone() {
            self.make_policy(name);
            self.set_budget(name, 1);
        }
        for name in self.names() {
            self.hold(&name, false);
        }
        for at in self.removed.values_mut() {
            *at = Duration::ZERO;
        }
        for machine in self.machines.all().values_mut() {
            machine.manner = Manner::Good;
        }
    }

    pub(super) fn break_off(&self, why: &str) {
        self.note(&format!("!!! {why}"));
        self.record.history().broken.push(why.to_owned());
    }

    /// True when nothing of ours is under way, and no machine needs anything that it may still have.
    pub(super) fn is_calm(&self) -> bool {
        let history = self.record.history();
        let now = self.clock.elapsed();
        let waits = |(name, machine): (&String, &Machine)| {
            let needs = machine.needs_reboot() && !history.memory.is_at_its_cap(name, now);
            machine.power != Power::Up || needs
        };
        let waits = self.machines.all().iter().any(waits);
        !waits && invariants::at_rest(&history.view).is_empty()
    }

    /// True when an invariant has fallen: what comes after it proves nothing.
    pub(super) fn is_broken(&self) -> bool {
        !self.record.history().broken.is_empty()
    }

    async fn tick(&mut self) {
        self.look();
        tokio::time::sleep(TICK).await;
    }

    /// Everybody but our programs does what is due.
    pub(super) fn look(&mut self) {
        self.ticks += 1;
        self.come_back();
        self.take_back();
        self.programs();
        self.power();
        self.cluster.act();
    }

    pub(super) fn outcome(&self) -> Outcome {
        let history = self.record.history();
        let mut faults: BTreeMap<String, u64> = BTreeMap::new();
        for (_, deed) in &self.deeds {
            let kind = deed.split(' ').next().unwrap_or_default();
            *faults.entry(kind.to_owned()).or_default() += 1;
        }
        for (kind, count) in self.network.counts() {
            faults.insert(kind.to_owned(), count);
        }
        for (kind, count) in &history.memory.seen {
            faults.insert((*kind).to_owned(), *count);
        }
        Outcome {
            seed: self.seed,
            hash: history.hash(),
            writes: history.writes,
            reboots: self.reboots,
            steps: self.ticks + history.writes,
            lasted: self.clock.elapsed(),
            broken: history.broken.clone(),
            lines: history.lines(),
            faults,
            mix: self.network.mix().into_iter().map(str::to_owned).collect(),
            deeds: self.deeds.clone(),
        }
    }
}

pub(super) fn boot_id(name: &str, boots: u64) -> String {
    format!("boot-{name}-{boots}")
}
