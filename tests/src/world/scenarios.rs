//! The scenarios of the crash sweep (faults.md 4.2): what happens in them, with nobody at fault.

use serde_json::json;
use slipway_api::Phase;

use super::run::Simulation;
use super::setup::{NodeSetup, Setup, policy};
use crate::fake_api::json::set;

/// When something is done.
#[derive(Clone, Copy, Debug)]
enum When {
    /// At once.
    Now,
    /// When the lease of this node is in this phase.
    Phase(&'static str, Phase),
    /// So many seconds after what came before it.
    Later(u32),
}

/// What is done.
#[derive(Clone, Copy, Debug)]
enum What {
    Cordon(&'static str),
    MinAvailable(u64),
    Budget(u64),
    Pause(bool),
    Need(&'static str, bool),
}

/// One scenario.
pub(super) struct Scenario {
    pub(super) name: &'static str,
    setup: fn() -> Setup,
    script: &'static [(When, What)],
}

/// How far a scenario is.
#[derive(Default)]
pub(super) struct Progress {
    next: usize,
    waited: u32,
}

const N0: &str = "n0";
/// A drained node is given its second key within a fraction of a second.
pub(super) const LOOKS_PER_SECOND: u32 = 20;

/// Every scenario.
pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "happy",
        setup: || plain(2, 1, 1),
        script: &[],
    },
    Scenario {
        name: "held by a budget",
        setup: || plain(2, 1, 1),
        script: &[
            (When::Now, What::MinAvailable(9)),
            (When::Phase(N0, Phase::Draining), What::MinAvailable(8)),
            (When::Later(40), What::MinAvailable(0)),
        ],
    },
    Scenario {
        name: "cordoned by a human",
        setup: || plain(3, 1, 2),
        script: &[(When::Now, What::Cordon(N0))],
    },
    Scenario {
        name: "drain timeout",
        setup: || {
            let mut setup = plain(2, 1, 1);
            for (_, spec) in &mut setup.policies {
                set(spec, "/drain", "timeout", json!("30s"));
            }
            setup
        },
        script: &[
            (When::Now, What::MinAvailable(9)),
            (When::Phase(N0, Phase::Failed), What::MinAvailable(0)),
        ],
    },
    Scenario {
        name: "revoked after the first key",
        setup: || plain(2, 1, 1),
        script: &[
            (When::Now, What::MinAvailable(9)),
            (When::Phase(N0, Phase::Draining), What::Budget(0)),
            (When::Phase(N0, Phase::Aborted), What::MinAvailable(0)),
            (When::Later(5), What::Budget(1)),
        ],
    },
    Scenario {
        name: "revoked before the second key",
        setup: || plain(2, 1, 1),
        script: &[
            (When::Phase(N0, Phase::Drained), What::Pause(true)),
            (When::Later(90), What::Pause(false)),
        ],
    },
    Scenario {
        name: "no longer needed",
        setup: || plain(2, 1, 1),
        script: &[
            (When::Now, What::MinAvailable(9)),
            (When::Phase(N0, Phase::Draining), What::Need(N0, false)),
            (When::Later(120), What::MinAvailable(0)),
        ],
    },
    Scenario {
        name: "control plane",
        setup: || {
            let mut setup = plain(4, 2, 2);
            for node in setup.nodes.iter_mut().take(3) {
                node.control_plane = true;
            }
            setup
        },
        script: &[],
    },
    Scenario {
        name: "two at once",
        setup: || plain(4, 2, 2),
        script: &[],
    },
    Scenario {
        name: "two policies",
        setup: || {
            let mut setup = plain(3, 2, 1);
            for node in setup.nodes.iter_mut().take(1) {
                node.pool = "b";
            }
            setup.policies = vec![
                ("all", quick(policy(Some("a"), 1))),
                ("other", quick(policy(Some("b"), 1))),
            ];
            setup
        },
        script: &[],
    },
];

/// So many nodes, the first of which need a reboot, under one policy.
fn plain(nodes: usize, needing: usize, most: u64) -> Setup {
    let nodes = (0..nodes).map(|index| NodeSetup {
        name: format!("n{index}"),
        control_plane: false,
        pool: "a",
        ends_in: 3,
        boots_in: 10,
        needs: index < needing,
    });
    Setup {
        nodes: nodes.collect(),
        replicas: 2,
        min_available: 0,
        policies: vec![("all", quick(policy(None, most)))],
        operators: &["operator:a"],
    }
}

/// With short pauses, so that a second try is part of the scenario.
fn quick(mut spec: serde_json::Value) -> serde_json::Value {
    let failure = json!({"backoff": "1m", "maxFailures": 10, "maxRebootsPerNode": 5});
    set(&mut spec, "", "failure", failure);
    spec
}

impl Scenario {
    pub(super) fn setup(&self) -> Setup {
        (self.setup)()
    }

    /// Does what is due; true when nothing is left to do.
    pub(super) fn act(&self, simulation: &mut Simulation, progress: &mut Progress) -> bool {
        while let Some((when, what)) = self.script.get(progress.next) {
            if !is_due(*when, simulation, progress) {
                progress.waited += 1;
                return false;
            }
            progress.next += 1;
            progress.waited = 0;
            simulation.note(&format!("scenario: {what:?}"));
            match *what {
                What::Cordon(node) => simulation.cordon(node),
                What::MinAvailable(least) => simulation.set_min_available(least),
                What::Budget(most) => simulation.set_budget("all", most),
                What::Pause(paused) => simulation.set_paused(paused),
                What::Need(node, needed) => simulation.set_need(node, needed),
            }
        }
        true
    }
}

fn is_due(when: When, simulation: &Simulation, progress: &Progress) -> bool {
    match when {
        When::Now => true,
        When::Later(seconds) => progress.waited >= seconds * LOOKS_PER_SECOND,
        When::Phase(node, phase) => {
            let history = simulation.record.history();
            let lease = history.view.leases.get(node);
            lease.is_some_and(|lease| lease.phase() == phase)
        }
    }
}
