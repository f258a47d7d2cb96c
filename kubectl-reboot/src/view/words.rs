//! What is said of a node in a plan, and where it stands.

use slipway_planner::snapshot::Need;
use slipway_planner::{Reason, Snapshot, Verdict};

/// What tells failure domains apart where a policy does not say.
const ZONE: &str = "topology.kubernetes.io/zone";

/// Why a node is where it is.
pub(super) struct Words {
    pub(super) reason: String,
    pub(super) message: String,
    pub(super) clears: &'static str,
}

/// Of a plan that is about the next reboot: how the last one ended, or that a lease is about to be
/// made, does not say what this one waits for.
pub(super) fn words(snapshot: &Snapshot, name: &str, verdict: &Verdict) -> Words {
    let waits = |reason: &&Reason| !matches!(reason, Reason::Ended { .. });
    let tells = match verdict.reason {
        Reason::Ended { .. } => verdict.waiting_for.iter().find(waits),
        Reason::NotRequired => None,
        _ => Some(&verdict.reason),
    };
    let need = snapshot.nodes.get(name).map(|node| &node.need);
    if let (None, Some(Need::Required { message, .. })) = (tells, need) {
        return Words {
            reason: "Required".to_owned(),
            message: message.clone(),
            clears: "",
        };
    }
    let reason = tells.unwrap_or(&verdict.reason);
    let told = slipway_planner::report::lease(&Verdict {
        reason: reason.clone(),
        ..verdict.clone()
    });
    Words {
        reason: told.reason,
        message: told.message,
        clears: reason.clears(),
    }
}

/// Its failure domain: by the policy, else its zone.
pub(super) fn domain(snapshot: &Snapshot, name: &str, verdict: &Verdict) -> Option<String> {
    let uid = verdict.policy.as_ref().map(|policy| &policy.uid);
    let policy = snapshot
        .policies
        .iter()
        .find(|policy| Some(&policy.uid) == uid);
    let key = policy
        .and_then(|policy| policy.spec.budget.per_domain.as_ref())
        .map_or(ZONE, |domains| domains.topology_key.as_str());
    snapshot.nodes.get(name)?.labels.get(key).cloned()
}
