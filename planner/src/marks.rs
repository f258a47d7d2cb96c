//! What is written on Nodes for others to see: the soft taint, labels and annotations, and what keeps
//! autoscalers away from a node that is being rebooted (faults.md F53, F112).
//!
//! The operator writes nothing else on a Node, and an admission policy sees to it. Nothing here
//! decides about a reboot. What is ours is recorded on the Node itself, so that it is found and
//! taken away again whatever became of the policy, the lease or the operator in between.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use slipway_api::policy::{Mode, NodeMetadata};
use slipway_api::{Phase, RebootLease, names};

use crate::action::Action;
use crate::disruption;
use crate::govern::governance;
use crate::index::{Index, Row};
use crate::snapshot::{Gap, NodeView, PolicyView, Snapshot};

/// Nodes that are marked in one pass: a fleet that is tainted for the first time must not keep the
/// keys of nodes that are drained waiting.
pub const MARKS_MAX: usize = 50;

/// What of ours is, or has to be, on a Node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Marks {
    /// Labels; of a Node as it is, those that it records as ours.
    pub labels: BTreeMap<String, String>,
    /// The taint `slipway.dev/reboot-required:PreferNoSchedule`.
    pub soft_taint: bool,
    /// Annotations about the reboot.
    pub annotations: BTreeMap<String, String>,
    /// Keys of the annotations that protect the node from others; of a Node as it is, those that it
    /// records as ours.
    pub protections: BTreeSet<String>,
}

impl Marks {
    /// Of a Node's metadata, and whether it has the taint.
    pub fn read(annotations: Option<&BTreeMap<String, String>>, soft_taint: bool) -> Self {
        let value = |key: &str| annotations.and_then(|all| all.get(key));
        let record = |key| value(key).map_or("", String::as_str).split(',');
        let protects = |key: &&str| {
            let mut entries = record(names::ANNOTATION_PROTECTIONS);
            let ours = |entry: &str| entry.split_once('=') == Some((key, names::PROTECTED));
            entries.any(ours)
        };
        Self {
            labels: record(names::ANNOTATION_LABELS)
                .filter_map(|entry| entry.split_once('='))
                .map(|(key, label)| (key.to_owned(), label.to_owned()))
                .collect(),
            protections: names::PROTECTIONS
                .into_iter()
                .filter(protects)
                .map(str::to_owned)
                .collect(),
            soft_taint,
            annotations: names::ANNOTATIONS_OF_MARKS
                .into_iter()
                .filter_map(|key| Some((key.to_owned(), value(key)?.clone())))
                .collect(),
        }
    }

    /// The record of the labels, as the annotation has it: neither a label nor its value contains a
    /// comma or an equals sign.
    pub fn record(&self) -> Option<String> {
        let entries: Vec<String> = self
            .labels
            .iter()
            .map(|(key, value)| format!("{key}={value}"))
            .collect();
        (!entries.is_empty()).then(|| entries.join(","))
    }

    /// True where there are none.
    pub fn is_bare(&self) -> bool {
        self.labels.is_empty()
            && !self.soft_taint
            && self.annotations.is_empty()
            && self.protections.is_empty()
    }

    /// The record of the protections, as the annotation has it.
    pub fn record_of_protections(&self) -> Option<String> {
        let entries: Vec<String> = self
            .protections
            .iter()
            .map(|key| format!("{key}={}", names::PROTECTED))
            .collect();
        (!entries.is_empty()).then(|| entries.join(","))
    }

    /// Without what the Node has from somebody else: that is never written over.
    #[must_use]
    pub fn fitting(mut self, node: &NodeView) -> Self {
        self.labels.retain(|key, _| {
            node.labels
                .get(key)
                .is_none_or(|value| is_ours(node, key, value))
        });
        self.protections
            .retain(|key| !node.protections.contains_key(key) || protects_for_us(node, key));
        self
    }

    /// True when the Node has exactly these.
    pub fn are_on(&self, node: &NodeView) -> bool {
        let labelled = |(key, value): (&String, &String)| node.labels.get(key) == Some(value);
        node.marks == *self && self.labels.iter().all(labelled) && { self.protections.iter() }
            .all(|key| protects_for_us(node, key))
    }
}

/// True when the Node has this protection as we wrote it. One with another value is somebody's.
pub fn protects_for_us(node: &NodeView, key: &str) -> bool {
    node.marks.protections.contains(key)
        && node.protections.get(key).map(String::as_str) == Some(names::PROTECTED)
}

/// True when the Node records this very label as ours. One that was changed since is somebody's.
pub fn is_ours(node: &NodeView, key: &str, value: &str) -> bool {
    node.marks.labels.get(key).is_some_and(|ours| ours == value)
}

/// What has to be written on Nodes, and whether some is left for the next pass.
pub(crate) fn actions(index: &Index<'_>) -> (Vec<Action>, bool) {
    let snapshot = index.snapshot;
    // Nothing is taken away because of half a view.
    let complete = !snapshot
        .gaps
        .iter()
        .any(|gap| matches!(gap, Gap::Unsynced { .. } | Gap::Undecodable { .. }));
    if !complete || snapshot.ledger.present().is_none() {
        return (Vec::new(), false);
    }
    let asked = snapshot.policies.iter().any(|policy| {
        policy.spec.cordon.soft_taint || policy.spec.node_metadata != NodeMetadata::default()
    });
    // Those that are being rebooted first: others must not take them away meanwhile.
    let is_held = |row: &&Row<'_>| row.lease.is_some() && index.slot(row.node).is_some();
    let first = index.rows().iter().filter(is_held);
    let others = { index.rows().iter() }
        .filter(|row| row.marked || (asked && row.lease.is_some()))
        .filter(|row| !is_held(row));
    let mut all = first
        .chain(others)
        .filter(|row| !row.node.deleting)
        .filter_map(|row| {
            let node = row.node;
            let wanted = of_node(snapshot, node, row.own_lease(), row.governance.policy());
            let marks = wanted.fitting(node);
            (!marks.are_on(node)).then(|| Action::MarkNode {
                node: node.name.clone(),
                node_uid: node.uid.clone(),
                marks,
            })
        });
    let actions: Vec<Action> = all.by_ref().take(MARKS_MAX).collect();
    let more = all.next().is_some();
    (actions, more)
}

/// What has to be on a Node, by its policy and its lease alone.
pub fn wanted(snapshot: &Snapshot, node: &NodeView) -> Marks {
    let lease = snapshot
        .leases
        .get(&node.name)
        .filter(|lease| lease.spec.node_uid == node.uid);
    of_node(snapshot, node, lease, governance(snapshot, node).policy())
}

fn of_node(
    snapshot: &Snapshot,
    node: &NodeView,
    lease: Option<&RebootLease>,
    policy: Option<&PolicyView>,
) -> Marks {
    let Some(lease) = lease else {
        return Marks::default();
    };
    let Some(policy) = policy else {
        // Without a policy nobody can say what they were, but they hold until the reboot has ended.
        let mut kept = Marks::default();
        if lease.phase().is_accepted() {
            kept.labels.clone_from(&node.marks.labels);
            kept.protections.clone_from(&node.marks.protections);
        }
        return kept;
    };
    let metadata = &policy.spec.node_metadata;
    let phase = lease.phase();
    let under_way = phase == Phase::Granted || phase.is_accepted();
    let labels = if under_way {
        metadata.labels_while_rebooting.clone()
    } else if was_completed(lease) {
        metadata.labels_after.clone()
    } else {
        BTreeMap::new()
    };
    Marks {
        labels,
        soft_taint: may_go(snapshot, policy) && policy.spec.cordon.soft_taint && waits(phase),
        annotations: if metadata.annotate {
            annotations(lease)
        } else {
            BTreeMap::new()
        },
        protections: disruption::protections(&policy.spec.cooperate)
            .filter(|_| under_way)
            .map(str::to_owned)
            .collect(),
    }
}

/// Reboots of the policy are on their way, whenever that is.
fn may_go(snapshot: &Snapshot, policy: &PolicyView) -> bool {
    let running = snapshot
        .ledger
        .present()
        .is_some_and(|ledger| !ledger.spec.paused);
    let grants = match policy.spec.mode {
        Mode::Automatic | Mode::Approve => true,
        Mode::Observe => false,
    };
    running && grants && !policy.spec.paused && policy.parsed.is_ok()
}

/// Until it has rebooted: then pods may come back.
const fn waits(phase: Phase) -> bool {
    match phase {
        Phase::Pending | Phase::Granted | Phase::Draining | Phase::Drained | Phase::Rebooting => {
            true
        }
        Phase::Rebooted | Phase::Completed | Phase::Aborted | Phase::Failed => false,
    }
}

/// The last reboot that ended was proved and verified.
fn was_completed(lease: &RebootLease) -> bool {
    match lease.phase() {
        Phase::Completed => true,
        Phase::Pending => lease
            .status
            .as_ref()
            .and_then(|status| status.history.first())
            .is_some_and(|outcome| outcome.phase == Phase::Completed),
        Phase::Granted
        | Phase::Draining
        | Phase::Drained
        | Phase::Rebooting
        | Phase::Rebooted
        | Phase::Aborted
        | Phase::Failed => false,
    }
}

fn annotations(lease: &RebootLease) -> BTreeMap<String, String> {
    let phase = lease.phase();
    let mut found = BTreeMap::new();
    if !phase.is_terminal() {
        let since = seconds(lease.spec.requested_at.0);
        found.insert(names::ANNOTATION_REQUIRED_SINCE.to_owned(), since);
    }
    if phase.is_accepted() {
        let transitions = lease
            .status
            .iter()
            .flat_map(|status| status.transitions.iter().rev());
        let accepted = transitions
            .filter(|entry| entry.phase == Phase::Draining)
            .map(|entry| entry.at.0)
            .next();
        let since = seconds(accepted.unwrap_or(lease.spec.requested_at.0));
        found.insert(names::ANNOTATION_IN_PROGRESS.to_owned(), since);
    }
    found
}

fn seconds(time: Timestamp) -> String {
    Timestamp::from_second(time.as_second())
        .unwrap_or(time)
        .to_string()
}
