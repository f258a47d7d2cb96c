//! What people do to the gates of a reboot: windows, blockers, and reboots that they give up.

use serde_json::{Value, json};
use slipway_api::RebootLease;

use super::humans::Deed;
use super::run::Simulation;

/// When windows start, in a policy of the simulation: every five minutes.
pub(super) const CRON: &str = "0,5,10,15,20,25,30,35,40,45,50,55 * * * *";
/// So many seconds lie between two starts, and so long each stays open.
pub(super) const WINDOWS: (i64, i64) = (300, 180);
/// The label of the pods that keep nodes waiting.
pub(super) const BLOCKS: &str = "blocks";
const POD: &str = "/api/v1/namespaces/batch/pods";

impl Simulation {
    /// Windows, blockers and releases; false when it is another deed.
    pub(super) fn on_gates(&mut self, deed: Deed, name: &str) -> bool {
        match deed {
            Deed::WindowsCome => self.set_windows(true),
            Deed::WindowsGo => self.set_windows(false),
            Deed::BlockerComes => self.set_blocked(true),
            Deed::BlockerGoes => self.set_blocked(false),
            Deed::Release => self.release(name),
            _ => return false,
        }
        true
    }

    fn edit_policies(&self, spec: &Value) {
        for (policy, _) in &self.setup.policies {
            let uri = format!("/apis/slipway.dev/v1alpha1/rebootpolicies/{policy}");
            self.cluster.ask("PATCH", &uri, &json!({"spec": spec}));
        }
    }

    /// Policies whose windows open and close, or none.
    pub(super) fn set_windows(&self, come: bool) {
        let window = json!({"cron": CRON, "duration": format!("{}s", WINDOWS.1)});
        let schedule = json!({"windows": [window], "cutoff": "0s"});
        let schedule = if come { schedule } else { Value::Null };
        self.edit_policies(&json!({"schedule": schedule}));
    }

    /// A pod that keeps every node waiting, and policies that ask for it.
    pub(super) fn set_blocked(&self, blocked: bool) {
        if !blocked {
            let uri = format!("{POD}/batch?gracePeriodSeconds=0");
            self.cluster.ask("DELETE", &uri, &Value::Null);
            return;
        }
        let pods = json!({"selector": {"matchLabels": {BLOCKS: "yes"}}, "scope": "Cluster"});
        self.edit_policies(&json!({"blockers": [{"name": "batch", "pods": pods}]}));
        let pod = json!({"apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": "batch", "labels": {BLOCKS: "yes"}},
            "spec": {"containers": [{"name": "c", "image": "i"}]}});
        self.cluster.ask("POST", POD, &pod);
    }

    /// No gate is closed any more.
    pub(super) fn open_gates(&self) {
        self.set_blocked(false);
        self.edit_policies(&json!({"blockers": null, "schedule": null}));
    }

    /// A person gives a reboot up: that of this node, or of another one if it has none under way.
    fn release(&mut self, name: &str) {
        let under_way = {
            let history = self.record.history();
            let accepted = |lease: &&RebootLease| lease.phase().is_accepted();
            let lease = history.view.leases.get(name).filter(accepted);
            let lease = lease.or_else(|| history.view.leases.values().find(accepted));
            lease.map(|lease| (lease.metadata.name.clone(), lease.accepted_fence()))
        };
        let Some((Some(node), fence)) = under_way else {
            return;
        };
        let release = json!({"fence": fence, "by": "ada", "reason": "the machine is lost",
            "force": self.rng.chance(300)});
        let uri = format!("/apis/slipway.dev/v1alpha1/rebootleases/{node}");
        self.cluster
            .ask("PATCH", &uri, &json!({"spec": {"release": release}}));
    }
}
