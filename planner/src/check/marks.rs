//! Marks on Nodes, judged again: nobody else's label is touched, and none says what did not happen.

use slipway_api::Phase;
use slipway_api::policy::Mode;

use super::{Violation, violation};
use crate::govern::candidates;
use crate::marks::Marks;
use crate::snapshot::{Gap, NodeView, Snapshot};

/// What is wrong with marking a node so.
pub(super) fn mark(snapshot: &Snapshot, name: &str, uid: &str, marks: &Marks) -> Vec<Violation> {
    let broken = |message: String| violation("P3", message);
    let half = |gap: &Gap| matches!(gap, Gap::Unsynced { .. } | Gap::Undecodable { .. });
    let mut found = Vec::new();
    if snapshot.gaps.iter().any(half) {
        found.push(broken(format!("{name} would be marked on half a view")));
    }
    let Some(node) = snapshot.nodes.get(name).filter(|node| node.uid == uid) else {
        found.push(broken(format!(
            "{name} would be marked and is another node"
        )));
        return found;
    };
    for key in marks.labels.keys() {
        let recorded = node.marks.labels.get(key);
        if node
            .labels
            .get(key)
            .is_some_and(|present| Some(present) != recorded)
        {
            found.push(broken(format!("{name}: label {key} is somebody else's")));
        }
    }
    let top = candidates(snapshot, node);
    let policy = match top.as_slice() {
        [policy] => Some(&policy.spec),
        [] | [_, _, ..] => None,
    };
    found.extend(protections(snapshot, node, marks));
    let lease = snapshot.leases.get(name);
    let phase = lease.map(slipway_api::RebootLease::phase);
    let going = [
        Phase::Pending,
        Phase::Granted,
        Phase::Draining,
        Phase::Drained,
        Phase::Rebooting,
    ];
    let tainted = policy
        .is_some_and(|spec| spec.cordon.soft_taint && !spec.paused && spec.mode != Mode::Observe)
        && phase.is_some_and(|phase| going.contains(&phase));
    if marks.soft_taint && !tainted {
        found.push(broken(format!("{name} would be tainted and does not wait")));
    }
    let proved = lease
        .and_then(|lease| lease.status.as_ref())
        .is_some_and(|status| status.last_reboot_at.is_some());
    for (key, value) in &marks.labels {
        let of =
            |labels: &std::collections::BTreeMap<String, String>| labels.get(key) == Some(value);
        let metadata = policy.map(|spec| &spec.node_metadata);
        let kept = node.marks.labels.get(key) == Some(value);
        let during = metadata.is_some_and(|metadata| of(&metadata.labels_while_rebooting));
        let after = metadata.is_some_and(|metadata| of(&metadata.labels_after));
        if !(kept || during || (after && proved)) {
            found.push(broken(format!("{name}: nothing asks for label {key}")));
        }
    }
    found
}

/// Others are kept only from a node that is being rebooted, and what they wrote is left alone.
fn protections(snapshot: &Snapshot, node: &NodeView, marks: &Marks) -> Vec<Violation> {
    let name = &node.name;
    let theirs = |key: &&String| {
        node.protections.contains_key(*key) && !node.marks.protections.contains(*key)
    };
    let mut found: Vec<Violation> = { marks.protections.iter() }
        .filter(theirs)
        .map(|key| violation("P3", format!("{name}: annotation {key} is somebody else's")))
        .collect();
    let phase = snapshot
        .leases
        .get(name)
        .map(slipway_api::RebootLease::phase);
    let granted = phase.is_some_and(|phase| phase == Phase::Granted || phase.is_accepted());
    if !marks.protections.is_empty() && !granted {
        let message = format!("{name} would be kept from others and is not being rebooted");
        found.push(violation("P3", message));
    }
    found
}
