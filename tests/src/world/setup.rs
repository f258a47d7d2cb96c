//! What a history begins with: nodes, a workload, policies and our programs.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use serde_json::{Value, json};

use super::machine::{JOURNAL, Machine, Manner, Power};
use super::rng::Rng;
use super::run::{Simulation, boot_id};

/// Faults that a history is told to leave out: how a failing one is made small.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Without {
    /// Faults of the network, by name.
    pub kinds: BTreeSet<String>,
    /// Deeds, by their number.
    pub deeds: BTreeSet<u64>,
}

impl Without {
    /// Reads a list such as `late,slow,3,17`.
    pub fn read(list: &str) -> Self {
        let mut without = Self::default();
        for word in list
            .split(',')
            .map(str::trim)
            .filter(|word| !word.is_empty())
        {
            match word.parse() {
                Ok(deed) => drop(without.deeds.insert(deed)),
                Err(_) => drop(without.kinds.insert(word.to_owned())),
            }
        }
        without
    }

    /// Without any fault of the network.
    pub(super) fn everything() -> Self {
        Self {
            kinds: super::NETWORK_FAULTS
                .iter()
                .map(|kind| (*kind).to_owned())
                .collect(),
            deeds: BTreeSet::new(),
        }
    }

    /// The same as [`Self::read`] reads it.
    pub fn list(&self) -> String {
        let deeds = self.deeds.iter().map(u64::to_string);
        let all: Vec<String> = self.kinds.iter().cloned().chain(deeds).collect();
        all.join(",")
    }
}

/// A node at the beginning.
#[derive(Clone, Debug)]
pub(super) struct NodeSetup {
    pub(super) name: String,
    pub(super) control_plane: bool,
    /// Value of its label `pool`.
    pub(super) pool: &'static str,
    pub(super) ends_in: u64,
    pub(super) boots_in: u64,
    pub(super) needs: bool,
}

/// Everything at the beginning.
#[derive(Clone, Debug)]
pub(super) struct Setup {
    pub(super) nodes: Vec<NodeSetup>,
    pub(super) replicas: usize,
    pub(super) min_available: u64,
    /// Names and specs.
    pub(super) policies: Vec<(&'static str, Value)>,
    pub(super) operators: &'static [&'static str],
}

/// A policy over nodes of a pool, or over all, with a budget.
pub(super) fn policy(pool: Option<&str>, most: u64) -> Value {
    let selector = pool.map_or_else(|| json!({}), |pool| json!({"matchLabels": {"pool": pool}}));
    json!({"nodeSelector": selector, "budget": {"maxUnavailable": most}, "drain": {"timeout": "5m"},
        "verify": {"nodeReadyFor": "10s"}})
}

impl Setup {
    /// The setup of a seed.
    pub(super) fn random(rng: &mut Rng) -> Self {
        let two_pools = rng.chance(300);
        let control_planes = [0, 0, 1, 3].get(usize::try_from(rng.range(0, 3)).unwrap_or(0));
        let control_planes = control_planes.copied().unwrap_or(0);
        let nodes = (0..rng.range(3, 8)).map(|index| NodeSetup {
            name: format!("n{index}"),
            control_plane: index < control_planes,
            pool: if two_pools && index % 2 == 1 {
                "b"
            } else {
                "a"
            },
            ends_in: rng.range(2, 20),
            boots_in: rng.range(5, 90),
            needs: rng.chance(700),
        });
        let nodes = nodes.collect();
        let mut policies = if two_pools {
            vec![
                ("all", policy(Some("a"), rng.range(1, 2))),
                ("other", policy(Some("b"), rng.range(1, 2))),
            ]
        } else {
            vec![("all", policy(None, rng.range(1, 2)))]
        };
        if rng.chance(700) {
            // With the pauses of production, a history would be over before the second try.
            let failure = json!({"backoff": "1m", "maxFailures": 10, "maxRebootsPerNode": 3});
            for (_, spec) in &mut policies {
                crate::fake_api::json::set(spec, "", "failure", failure.clone());
            }
        }
        Self {
            nodes,
            replicas: usize::try_from(rng.range(2, 5)).unwrap_or(2),
            min_available: rng.range(0, 1),
            policies,
            operators: &["operator:a", "operator:b"],
        }
    }
}

impl Simulation {
    /// Makes all of it.
    pub(super) fn begin(&mut self, directory: &Path) -> Result<()> {
        for node in self.setup.nodes.clone() {
            let name = &node.name;
            let directory = directory.join(name);
            std::fs::create_dir_all(directory.join("state"))?;
            let machine = Machine {
                boot_id: boot_id(name, 1),
                boots: 1,
                power: Power::Up,
                by_us: false,
                manner: Manner::Good,
                directory,
                ends_in: Duration::from_secs(node.ends_in),
                boots_in: Duration::from_secs(node.boots_in),
                kubelet_from: Duration::ZERO,
            };
            let journal = machine.directory.join(JOURNAL);
            self.record
                .history()
                .memory
                .journals
                .insert(name.clone(), journal);
            self.machines.all().insert(name.clone(), machine);
            self.cluster.make_node(name, node.control_plane, node.pool);
            self.starts.insert(format!("agent:{name}"), Duration::ZERO);
        }
        let budget = json!({"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "web"},
            "spec": {"minAvailable": self.setup.min_available, "selector": {"matchLabels": {"app": "web"}}}});
        let uri = "/apis/policy/v1/namespaces/default/poddisruptionbudgets";
        self.cluster.ask("POST", uri, &budget);
        for (name, _) in self.setup.policies.clone() {
            self.make_policy(name);
        }
        for name in self.setup.operators {
            self.starts.insert((*name).to_owned(), Duration::ZERO);
        }
        for node in self.setup.nodes.clone() {
            if node.needs {
                self.set_need(&node.name, true);
            }
        }
        Ok(())
    }

    /// Makes a policy of the setup, where it is not there.
    pub(super) fn make_policy(&self, name: &str) {
        let spec = self.setup.policies.iter().find(|(known, _)| *known == name);
        if let Some((_, spec)) = spec {
            let policy = json!({"apiVersion": "slipway.dev/v1alpha1", "kind": "RebootPolicy",
                "metadata": {"name": name}, "spec": spec});
            let uri = "/apis/slipway.dev/v1alpha1/rebootpolicies";
            let answer = self.cluster.ask("POST", uri, &policy);
            if !matches!(answer.code, 201 | 409) {
                self.break_off(&format!("a policy is refused: {}", answer.body));
            }
        }
    }
}
