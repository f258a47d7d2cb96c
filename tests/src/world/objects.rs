//! What people do to objects: deletions, holds and limits, and Nodes that come back.

use std::time::Duration;

use serde_json::{Value, json};

use super::humans::Deed;
use super::run::Simulation;

impl Simulation {
    /// What is deleted, held or limited; false when it is another deed.
    pub(super) fn on_objects(&mut self, deed: Deed, name: &str) -> bool {
        let ours = "/apis/slipway.dev/v1alpha1";
        let delete = |uri: &str| drop(self.cluster.ask("DELETE", uri, &Value::Null));
        match deed {
            Deed::DeleteLease => delete(&format!("{ours}/rebootleases/{name}")),
            Deed::DeleteLedger => delete(&format!("{ours}/rebootledgers/cluster")),
            Deed::DeleteElection => {
                // The next one that looks takes it, while the leader still believes that it leads.
                let leases = "/apis/coordination.k8s.io/v1/namespaces/slipway-system/leases";
                delete(&format!("{leases}/slipway-operator"));
            }
            Deed::DeletePolicy => {
                let policy = self.a_policy();
                let uri = format!("{ours}/rebootpolicies/{policy}");
                self.cluster.ask("DELETE", &uri, &Value::Null);
            }
            Deed::MakePolicies => {
                for (policy, _) in self.setup.policies.clone() {
                    self.make_policy(policy);
                }
            }
            Deed::Budgets => {
                for (policy, spec) in self.setup.policies.clone() {
                    let most = spec.pointer("/budget/maxUnavailable");
                    self.set_budget(policy, most.and_then(Value::as_u64).unwrap_or(1));
                }
            }
            Deed::Hold => self.hold(name, true),
            Deed::Unhold => self.hold(name, false),
            Deed::BudgetBlocks => self.set_min_available(10),
            Deed::BudgetAllows => self.set_min_available(0),
            Deed::PodsCling => self.cluster.pods_cling = true,
            Deed::PodsLetGo => self.cluster.pods_cling = false,
            Deed::DeleteNode => {
                // Its agent's pod goes with it, and the kubelet makes it anew.
                self.cluster.remove_node(name);
                self.kill_agent(name);
                self.starts.remove(&format!("agent:{name}"));
                let at = self.clock.elapsed() + Duration::from_secs(self.rng.range(1, 240));
                self.removed.insert(name.to_owned(), at);
            }
            _ => return false,
        }
        true
    }

    /// Nodes that were removed are registered again, under another UID.
    pub(super) fn come_back(&mut self) {
        let now = self.clock.elapsed();
        let due = self.removed.iter().filter(|(_, at)| **at <= now);
        let due: Vec<String> = due.map(|(name, _)| name.clone()).collect();
        for name in due {
            self.removed.remove(&name);
            let known = self.setup.nodes.iter().find(|node| node.name == name);
            if let Some(node) = known.cloned() {
                self.cluster.make_node(&name, node.control_plane, node.pool);
                let agent = format!("agent:{name}");
                self.starts.entry(agent).or_insert(now);
            }
        }
    }

    pub(super) fn a_policy(&mut self) -> &'static str {
        let names: Vec<&'static str> = self.setup.policies.iter().map(|(name, _)| *name).collect();
        self.rng.pick(&names).copied().unwrap_or("all")
    }

    pub(super) fn hold(&self, name: &str, held: bool) {
        let value = if held {
            json!({"by": "ada", "reason": "measuring"})
        } else {
            Value::Null
        };
        let uri = format!("/apis/slipway.dev/v1alpha1/rebootleases/{name}");
        self.cluster
            .ask("PATCH", &uri, &json!({"spec": {"hold": value}}));
    }

    /// How many pods of the workload must stay.
    pub(super) fn set_min_available(&self, least: u64) {
        let uri = "/apis/policy/v1/namespaces/default/poddisruptionbudgets/web";
        self.cluster
            .ask("PATCH", uri, &json!({"spec": {"minAvailable": least}}));
    }
}
