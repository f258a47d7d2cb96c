//! One history: real operators and agents, a cluster around them, faults, and then none.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::json;
use slipway_client::simulate;
use tempfile::TempDir;
use tokio::task::JoinHandle;

use super::cluster::Cluster;
use super::faults::SimulatedNetwork;
use super::invariants;
use super::machine::{Machine, Machines, Manner, Power};
use super::record::Record;
use super::rng::Rng;
use super::time::{Clock, Process, Simulated};
use crate::fake_api::FakeApi;

/// Between two looks of the cluster's own actors.
const TICK: Duration = Duration::from_secs(1);
/// How long things go wrong.
const TROUBLE: (u64, u64) = (10 * 60, 40 * 60);
/// How long it may take after that until every need is met: pauses after failures grow to hours.
const RECOVERY: Duration = Duration::from_hours(6);
/// How long nothing may be written once everything has come to rest.
const REST: Duration = Duration::from_mins(30);

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
    /// Virtual time that passed.
    pub lasted: Duration,
    /// Invariants that were broken.
    pub broken: Vec<String>,
    /// The last lines of the history.
    pub lines: Vec<String>,
    /// How often each fault was met.
    pub faults: BTreeMap<String, u64>,
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
    pub(super) deeds: BTreeMap<String, u64>,
    pub(super) network: Arc<SimulatedNetwork>,
    pub(super) operators: BTreeMap<String, Running>,
    pub(super) starts: BTreeMap<String, Duration>,
    pub(super) incarnations: u64,
    directory: PathBuf,
    pub(super) reboots: u64,
}

/// Runs the history of a seed.
///
/// # Errors
/// The simulation itself cannot run; broken invariants are in the outcome.
pub fn run(seed: u64) -> Result<Outcome> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()?;
    // The library's backoff takes its jitter from here.
    fastrand::seed(seed);
    let directory = directory()?;
    let outcome = runtime.block_on(async {
        let clock = Clock::begin();
        let api = FakeApi::new(Arc::new(move || clock.wall()), seed);
        let world = Simulated {
            clock,
            api: api.clone(),
        };
        let _installed = simulate::install(Rc::new(world));
        let mut simulation = Simulation::new(seed, clock, api, directory.path());
        if std::env::var_os("SLIPWAY_TRACE").is_some() {
            simulation.record.history().show();
        }
        simulation.begin()?;
        simulation.trouble().await;
        simulation.recover().await;
        anyhow::Ok(simulation.outcome(seed))
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
    fn new(seed: u64, clock: Clock, api: FakeApi, directory: &Path) -> Self {
        let record = Record::default();
        let calls = record.clone();
        let machines = Machines::new(
            clock,
            Box::new(move |name, machine| calls.called(name, &machine.boot_id, clock.elapsed())),
        );
        let network = SimulatedNetwork::new(clock, seed);
        api.store().observe(record.observer(clock));
        api.set_network(network.clone());
        let mut rng = Rng::new(seed, 2);
        let replicas = usize::try_from(rng.range(2, 5)).unwrap_or(2);
        Self {
            clock,
            rng,
            record,
            cluster: Cluster::new(api.clone(), machines.clone(), clock, replicas),
            api,
            machines,
            network,
            agents: BTreeMap::new(),
            operators: BTreeMap::new(),
            starts: BTreeMap::new(),
            deeds: BTreeMap::new(),
            incarnations: 0,
            directory: directory.to_owned(),
            reboots: 0,
        }
    }

    pub(super) fn note(&self, line: &str) {
        self.record.history().note(self.clock.elapsed(), line);
    }

    pub(super) fn names(&self) -> Vec<String> {
        self.machines.all().keys().cloned().collect()
    }

    /// Nodes, a workload, a policy, and our programs.
    fn begin(&mut self) -> Result<()> {
        let count = self.rng.range(3, 6);
        for index in 0..count {
            let name = format!("n{index}");
            let directory = self.directory.join(&name);
            std::fs::create_dir_all(directory.join("state"))?;
            let machine = Machine {
                boot_id: boot_id(&name, 1),
                boots: 1,
                power: Power::Up,
                by_us: false,
                manner: Manner::Good,
                directory,
                ends_in: Duration::from_secs(self.rng.range(2, 20)),
                boots_in: Duration::from_secs(self.rng.range(5, 90)),
                calls: 0,
            };
            self.machines.all().insert(name.clone(), machine);
            self.cluster
                .make_node(&name, index == 0 && self.rng.chance(500));
            self.starts.insert(format!("agent:{name}"), Duration::ZERO);
        }
        let least = self.rng.range(0, 1);
        let budget = json!({"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "web"},
            "spec": {"minAvailable": least, "selector": {"matchLabels": {"app": "web"}}}});
        self.cluster.ask(
            "POST",
            "/apis/policy/v1/namespaces/default/poddisruptionbudgets",
            &budget,
        );
        let most = self.rng.range(1, 2);
        let policy = json!({"apiVersion": "slipway.dev/v1alpha1", "kind": "RebootPolicy", "metadata": {"name": "all"},
            "spec": {"nodeSelector": {}, "budget": {"maxUnavailable": most}, "drain": {"timeout": "5m"},
                "verify": {"nodeReadyFor": "10s"}}});
        self.cluster
            .ask("POST", "/apis/slipway.dev/v1alpha1/rebootpolicies", &policy);
        for name in ["operator:a", "operator:b"] {
            self.starts.insert(name.to_owned(), Duration::ZERO);
        }
        for name in self.names() {
            if self.rng.chance(700) {
                self.set_need(&name, true);
            }
        }
        Ok(())
    }

    /// The time of faults.
    async fn trouble(&mut self) {
        let until = Duration::from_secs(self.rng.range(TROUBLE.0, TROUBLE.1));
        let every = self.rng.range(20, 120);
        let mut next = Duration::from_secs(self.rng.range(10, every));
        while self.clock.elapsed() < until {
            self.tick().await;
            if self.clock.elapsed() >= next {
                self.mishap();
                next = self.clock.elapsed() + Duration::from_secs(self.rng.range(1, 2 * every));
            }
        }
    }

    /// Everything works from now on: every need must be met, and then there must be peace.
    async fn recover(&mut self) {
        self.note("=== from here on everything works");
        self.network.heal();
        self.set_paused(false);
        self.set_budget(1);
        for machine in self.machines.all().values_mut() {
            machine.manner = Manner::Good;
        }
        let skews = self.agents.values().map(|agent| &agent.process.skew);
        for skew in skews {
            skew.store(0, std::sync::atomic::Ordering::Relaxed);
        }
        // What watches have missed is listed again.
        self.api.store().compact();
        self.api.store().close_watches();
        let deadline = self.clock.elapsed() + RECOVERY;
        let mut calm = 0;
        while calm < 120 && self.clock.elapsed() < deadline {
            for name in self.names() {
                self.cluster.agent_ready(&name, true);
                let ours = {
                    let history = self.record.history();
                    history
                        .view
                        .nodes
                        .get(&name)
                        .is_some_and(|node| node.cordon.is_some())
                };
                if !ours {
                    self.uncordon(&name);
                }
            }
            self.tick().await;
            calm = if self.is_calm() { calm + 1 } else { 0 };
        }
        if calm < 120 {
            self.break_off("L1: the needs are not met");
            let broken = invariants::at_rest(&self.record.history().view);
            self.record.history().broken.extend(broken);
            return;
        }
        let before = self.record.history().our_writes;
        self.note("=== at rest");
        tokio::time::sleep(REST).await;
        let after = self.record.history().our_writes;
        if after != before {
            self.break_off(&format!("S12: {} writes at rest", after - before));
        }
    }

    pub(super) fn break_off(&self, why: &str) {
        self.note(&format!("!!! {why}"));
        self.record.history().broken.push(why.to_owned());
    }

    /// True when no machine needs anything and nothing of ours is under way.
    fn is_calm(&self) -> bool {
        let needs = self
            .machines
            .all()
            .values()
            .any(|machine| machine.power != Power::Up || machine.needs_reboot());
        !needs && invariants::at_rest(&self.record.history().view).is_empty()
    }

    async fn tick(&mut self) {
        self.programs();
        self.power();
        self.cluster.act();
        tokio::time::sleep(TICK).await;
    }

    fn outcome(&self, seed: u64) -> Outcome {
        let history = self.record.history();
        let mut faults: BTreeMap<String, u64> = self.deeds.clone();
        for (kind, count) in self.network.counts() {
            faults.insert(kind.to_owned(), count);
        }
        Outcome {
            seed,
            hash: history.hash(),
            writes: history.writes,
            reboots: self.reboots,
            lasted: self.clock.elapsed(),
            broken: history.broken.clone(),
            lines: history.lines(),
            faults,
        }
    }
}

pub(super) fn boot_id(name: &str, boots: u64) -> String {
    format!("boot-{name}-{boots}")
}
