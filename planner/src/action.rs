//! What a pass decides: actions, a verdict for every node and policy, and when to look again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use slipway_api::blockers::BlockerRule;
use slipway_api::lease::PolicyReference;
use slipway_api::people::{Override, Request};
use slipway_api::phase::Phase;
use slipway_api::policy::{DrainSettings, NodeCounts, RebootSettings, Triggers, VerifySettings};
use slipway_api::{RebootLedgerStatus, Slot};

use crate::blockers::Line;
use crate::breaker;
use crate::marks::Marks;
use crate::reason::Reason;
use crate::turn::Place;
use crate::verify::Question;
use crate::window::Opening;

/// The outcome of one pass.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// To be applied in this order, each with its own precondition.
    pub actions: Vec<Action>,
    /// One per node, on every pass.
    pub verdicts: BTreeMap<String, Verdict>,
    /// One per policy, by name.
    pub policies: BTreeMap<String, PolicyVerdict>,
    /// UIDs of the policies whose blockers decide now: somebody could be granted, or is being
    /// drained. The others are not asked.
    pub ask: BTreeSet<String>,
    /// What is asked to verify reboots, by node and fence and by the name of what is asked.
    pub questions: BTreeMap<Question, BlockerRule>,
    /// The next moment at which time alone changes something.
    pub wake_at: Option<Timestamp>,
}

/// Where a node stands and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// The policy that governs the node; `None` for none or a conflict.
    pub policy: Option<Arc<PolicyReference>>,
    /// The lease's phase; `None` without a lease.
    pub phase: Option<Phase>,
    /// The one reason that people see first.
    pub reason: Reason,
    /// Everything that a waiting node waits for, the reason first.
    pub waiting_for: Vec<Reason>,
    /// True when the operator is the one who writes the lease's reason now: Pending, Granted and
    /// terminal phases, Rebooted, and a node that is Stuck.
    pub report: bool,
}

/// What a policy's status says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyVerdict {
    /// Its UID.
    pub uid: String,
    /// The generation that was judged.
    pub generation: i64,
    /// Nodes by state.
    pub nodes: NodeCounts,
    /// The budget as a number of nodes.
    pub allowed: usize,
    /// Nodes that use it.
    pub in_use: usize,
    /// Whether reboots may start; `None` while the schedule cannot be read.
    pub opening: Option<Opening>,
    /// Why it cannot be obeyed, if so.
    pub invalid: Option<Reason>,
    /// Policies of the same priority that select some of the same nodes.
    pub conflicts_with: Vec<String>,
    /// Nodes that are stuck, by name.
    pub stuck: Vec<String>,
    /// Nodes whose last reboot failed, by name.
    pub failed: Vec<String>,
    /// Where its breaker stands.
    pub breaker: breaker::State,
    /// Blockers that keep nodes waiting, or were passed over; `None` for a policy without any.
    pub blocked_by: Option<Vec<Line>>,
    /// What is missing for the admission policies to be proved, if something is: nothing is granted.
    pub admission: Option<String>,
    /// What is dangerous about the policy, each beginning with its field.
    pub warnings: Vec<String>,
}

/// One write, or one group of writes that belong together. Executors have no choices left but to
/// find their precondition gone, and then skip.
#[derive(Clone, Debug, PartialEq)]
#[allow(
    clippy::large_enum_variant,
    reason = "a pass has few actions, and a grant is the one that matters"
)]
pub enum Action {
    /// Makes the ledger, from leases and Nodes where it was lost.
    CreateLedger {
        /// What it starts with.
        status: RebootLedgerStatus,
    },
    /// Makes the lease of a node that needs a reboot.
    CreateLease {
        /// The node.
        node: String,
        /// Its UID.
        node_uid: String,
        /// The policy that governs it.
        policy: Option<PolicyReference>,
        /// When the need arose.
        requested_at: Timestamp,
    },
    /// Notes in the lease which policy governs the node now.
    PointLease {
        /// The node.
        node: String,
        /// The policy, or none.
        policy: Option<PolicyReference>,
    },
    /// A new need: from a terminal phase to Pending, with the outcome moved to the history.
    ReopenLease {
        /// The node.
        node: String,
        /// The fence whose end was seen.
        fence: i64,
        /// When the new need arose.
        requested_at: Timestamp,
    },
    /// The need has gone while the lease was Pending.
    CloseLease {
        /// The node.
        node: String,
    },
    /// The first key.
    Grant(GrantRequest),
    /// Shows an open grant, or the end of one that was never accepted, in the phase.
    ShowPhase {
        /// The node.
        node: String,
        /// Pending or Granted.
        phase: Phase,
    },
    /// Calls a grant off.
    Revoke {
        /// The node.
        node: String,
        /// The fence.
        fence: i64,
        /// Why.
        reason: Reason,
    },
    /// The second key, new or refreshed. Its executor observes everything afresh and asks
    /// [`crate::clear::judge`].
    Clear {
        /// The node.
        node: String,
        /// The fence.
        fence: i64,
    },
    /// Ends a reboot that is proved. Its executor reads the Node afresh and asks
    /// [`crate::verify::judge`].
    Conclude {
        /// The node.
        node: String,
        /// The fence.
        fence: i64,
    },
    /// Ends a reboot that a human gave up.
    Release {
        /// The node.
        node: String,
        /// The fence.
        fence: i64,
    },
    /// Counts the reboot of a slot whose node did not come back in time as a failure.
    NoteStuck {
        /// The slot, exactly as in the ledger.
        slot: Slot,
    },
    /// Gives a slot back.
    FreeSlot {
        /// The slot, exactly as in the ledger.
        slot: Slot,
        /// What proves that nothing can happen under it any more.
        because: FreeBecause,
    },
    /// Puts a slot back that a live reboot has lost (the ledger was edited by hand).
    RestoreSlot {
        /// The slot.
        slot: Slot,
    },
    /// Makes a Node carry exactly these labels, taint and annotations of ours.
    MarkNode {
        /// The node.
        node: String,
        /// Its UID.
        node_uid: String,
        /// What has to be on it.
        marks: Marks,
    },
    /// A lease that was deleted under its slot owes an answer (faults.md Q1): writes
    /// `Draining{fence}`, then `grant{fence}` and `revoke{fence}`; only the agent's Aborted ends it.
    DemandAnswer {
        /// The slot.
        slot: Slot,
    },
}

/// Everything that a grant copies and checks.
#[derive(Clone, Debug, PartialEq)]
pub struct GrantRequest {
    /// The node.
    pub node: String,
    /// Its UID.
    pub node_uid: String,
    /// UID of its lease.
    pub lease_uid: String,
    /// The policy that asks.
    pub policy: PolicyReference,
    /// True for a control-plane node.
    pub control_plane: bool,
    /// Its place among those that wait.
    pub place: Place,
    /// The policy's settings, copied.
    pub drain: DrainSettings,
    /// The policy's settings, copied.
    pub reboot: RebootSettings,
    /// The policy's settings, copied.
    pub verify: VerifySettings,
    /// The policy's settings, copied.
    pub triggers: Triggers,
    /// The human's request that it serves.
    pub request: Option<Request>,
}

impl GrantRequest {
    /// True when a human's request sets this aside.
    pub fn overrides(&self, what: Override) -> bool {
        self.request
            .as_ref()
            .is_some_and(|request| request.overrides(what))
    }
}

/// The proof behind a freed slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FreeBecause {
    /// The lease says that the fence is over, and the Node carries no cordon of ours.
    Over,
    /// The Node is gone, or another one has its name.
    NodeGone,
    /// A human gave the reboot up, and nothing undoes our cordon.
    Released,
}

impl Action {
    /// The label of the metric.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::CreateLedger { .. } => "create_ledger",
            Self::CreateLease { .. } => "create_lease",
            Self::PointLease { .. } => "point_lease",
            Self::ReopenLease { .. } => "reopen_lease",
            Self::CloseLease { .. } => "close_lease",
            Self::Grant(_) => "grant",
            Self::ShowPhase { .. } => "show_phase",
            Self::Revoke { .. } => "revoke",
            Self::Clear { .. } => "clear",
            Self::Conclude { .. } => "conclude",
            Self::Release { .. } => "release",
            Self::NoteStuck { .. } => "note_stuck",
            Self::FreeSlot { .. } => "free_slot",
            Self::RestoreSlot { .. } => "restore_slot",
            Self::DemandAnswer { .. } => "demand_answer",
            Self::MarkNode { .. } => "mark_node",
        }
    }

    /// Every label, for metrics that are born at 0.
    pub const CODES: [&'static str; 16] = [
        "create_ledger",
        "create_lease",
        "point_lease",
        "reopen_lease",
        "close_lease",
        "grant",
        "show_phase",
        "revoke",
        "clear",
        "conclude",
        "release",
        "note_stuck",
        "free_slot",
        "restore_slot",
        "demand_answer",
        "mark_node",
    ];

    /// The node that it is about, if one.
    pub fn node(&self) -> Option<&str> {
        match self {
            Self::CreateLedger { .. } => None,
            Self::CreateLease { node, .. }
            | Self::PointLease { node, .. }
            | Self::ReopenLease { node, .. }
            | Self::CloseLease { node }
            | Self::ShowPhase { node, .. }
            | Self::Revoke { node, .. }
            | Self::Clear { node, .. }
            | Self::Release { node, .. }
            | Self::MarkNode { node, .. }
            | Self::Conclude { node, .. } => Some(node),
            Self::Grant(request) => Some(&request.node),
            Self::NoteStuck { slot }
            | Self::FreeSlot { slot, .. }
            | Self::RestoreSlot { slot }
            | Self::DemandAnswer { slot } => Some(&slot.node),
        }
    }
}
