//! What the planner sees: plain data, gathered by `observe` in the operator or the CLI.

use std::collections::{BTreeMap, BTreeSet};

use crate::blockers::Answers;
use crate::disruption::Sign;
use crate::marks::Marks;
use jiff::Timestamp;
use slipway_api::lease::CordonRecord;
use slipway_api::policy::RebootPolicySpec;
use slipway_api::{PolicyError, RebootLease, RebootLedger, RebootPolicyStatus, ValidatedPolicy};

/// One look at the cluster. Same snapshot and same `now`, same plan.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// What is missing or doubtful. Any gap stops grants and second keys (fail closed); undoing,
    /// freeing and reporting go on.
    pub gaps: Vec<Gap>,
    /// The ledger, read at quorum in this pass.
    pub ledger: LedgerState,
    /// Every policy.
    pub policies: Vec<PolicyView>,
    /// Every node by name.
    pub nodes: BTreeMap<String, NodeView>,
    /// Every lease by name, which is its node's.
    pub leases: BTreeMap<String, RebootLease>,
    /// Names of the nodes whose agent pod is Ready.
    pub agents: BTreeSet<String>,
    /// The node that the leading operator runs on, if it is known: it goes last.
    pub leader_node: Option<String>,
    /// What blockers have answered.
    pub blockers: Answers,
    /// `VolumeAttachments` by node; read for a second key only, while it waits for them.
    pub volumes: BTreeMap<String, Vec<String>>,
    /// UIDs of nodes in the ledger that are gone, and since when that is known to us.
    pub gone: BTreeMap<String, Timestamp>,
}

/// Why a snapshot cannot be fully trusted.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Gap {
    /// A watch has not delivered its first list yet, or lost its connection long ago.
    Unsynced {
        /// The kind.
        kind: String,
    },
    /// An object of ours cannot be decoded.
    Undecodable {
        /// Kind and name.
        object: String,
    },
    /// This program's clock and the API server's differ by more than a minute.
    ClockSkew {
        /// How far, in seconds.
        seconds: i64,
    },
    /// An admission policy that bounds our identities is not in force.
    AdmissionMissing {
        /// Which.
        policy: String,
        /// How that is known.
        why: String,
    },
    /// It is not known whether the admission policies are in force.
    AdmissionUnknown {
        /// Why.
        why: String,
    },
}

/// What is known of the ledger.
#[derive(Clone, Debug, Default)]
pub enum LedgerState {
    /// It could not be read: nothing may be concluded.
    #[default]
    Unknown,
    /// The API server says that there is none.
    Missing,
    /// As read.
    Present(Box<RebootLedger>),
}

impl LedgerState {
    /// The ledger, if it was read.
    pub fn present(&self) -> Option<&RebootLedger> {
        match self {
            Self::Present(ledger) => Some(ledger),
            Self::Unknown | Self::Missing => None,
        }
    }
}

/// One policy.
#[derive(Clone, Debug)]
pub struct PolicyView {
    /// Its name.
    pub name: String,
    /// Its UID.
    pub uid: String,
    /// `metadata.generation`.
    pub generation: i64,
    /// As written.
    pub spec: RebootPolicySpec,
    /// As last reported.
    pub status: Option<RebootPolicyStatus>,
    /// Parsed, or why it cannot be obeyed.
    pub parsed: Result<ValidatedPolicy, PolicyError>,
    /// True when it is being deleted.
    pub deleting: bool,
}

/// One node, stripped to what decides.
#[derive(Clone, Debug, Default)]
pub struct NodeView {
    /// Its name.
    pub name: String,
    /// Its UID.
    pub uid: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// `spec.unschedulable`.
    pub unschedulable: bool,
    /// Condition Ready is True.
    pub ready: bool,
    /// When Ready last changed.
    pub ready_since: Option<Timestamp>,
    /// `status.nodeInfo.bootID`, as the kubelet reports it.
    pub boot_id: String,
    /// What its host asks for.
    pub need: Need,
    /// When it was booted, if its agent has reported the boot that the kubelet reports.
    pub booted: Option<Timestamp>,
    /// Our cordon, as the annotation tells.
    pub cordon: CordonState,
    /// What of the operator's own is on it.
    pub marks: Marks,
    /// Annotations that protect a node from others, with their values, whoever wrote them.
    pub protections: BTreeMap<String, String>,
    /// Taints by which others say that they take it away.
    pub signs: Vec<Sign>,
    /// True when the object is being deleted.
    pub deleting: bool,
}

impl NodeView {
    /// The value of a label.
    pub fn label(&self, wanted: &str) -> Option<&str> {
        // Nodes have few labels, and their keys share long prefixes: most differ in length, which
        // is seen without touching the key. A search compares bytes at every step.
        let mut labels = self.labels.iter();
        labels
            .find(|(key, _)| key.as_str() == wanted)
            .map(|(_, value)| value.as_str())
    }

    /// True for a control-plane node.
    pub fn is_control_plane(&self) -> bool {
        self.labels
            .contains_key(slipway_api::names::LABEL_CONTROL_PLANE)
    }

    /// True when workloads cannot use it now, whoever made it so.
    pub fn is_unavailable(&self) -> bool {
        !self.ready || self.unschedulable
    }
}

/// The agent's report in the Node condition RebootRequired.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Need {
    /// No such condition: no agent has reported yet.
    #[default]
    Unreported,
    /// Nothing asks for a reboot.
    NotRequired,
    /// A check failed: never the same as "not required".
    Unknown {
        /// What went wrong.
        message: String,
    },
    /// The host asks for a reboot.
    Required {
        /// Reason of the condition.
        reason: String,
        /// Why and since when, for people.
        message: String,
        /// When the condition became True.
        since: Timestamp,
    },
}

impl Need {
    /// True when the host asks for a reboot.
    pub fn is_required(&self) -> bool {
        matches!(self, Self::Required { .. })
    }
}

/// The annotation by which our cordon is told from others'.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum CordonState {
    /// Not there.
    #[default]
    Absent,
    /// Ours, under this record.
    Ours(CordonRecord),
    /// There and unreadable: counts as ours, and frees nothing.
    Unreadable,
}
