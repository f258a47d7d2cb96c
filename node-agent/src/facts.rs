//! Everything that a decision rests on, as data.
//!
//! Filled by [`crate::observe`] from one round of quorum reads, read by [`crate::decide`] only.

use std::time::Duration;

use jiff::Timestamp;
use slipway_api::lease::CordonRecord;
use slipway_api::{Phase, RebootLease, RebootLedger};

use crate::host::Offer;
use crate::journal::Journal;

/// The facts of one pass.
#[derive(Clone, Debug)]
pub struct Facts {
    /// The lease of this node, read first.
    pub lease: LeaseView,
    /// The ledger.
    pub ledger: LedgerView,
    /// The Node.
    pub node: NodeFacts,
    /// The pods that must leave before a reboot.
    pub pods: PodsView,
    /// What the machine says.
    pub host: HostFacts,
    /// The journal on the host's disk.
    pub journal: JournalView,
    /// Clocks, read once.
    pub clocks: Clocks,
    /// What this process has seen itself.
    pub seen: Seen,
}

/// The lease as the API server has it.
#[derive(Clone, Debug)]
pub enum LeaseView {
    /// There is none.
    Missing,
    /// The API server does not know the kind, and has not for this long.
    KindMissing {
        /// How long.
        lasted: Duration,
    },
    /// It says something that this version cannot read, such as a phase of a later one.
    Unreadable {
        /// What is wrong with it.
        reason: String,
    },
    /// There is one.
    Present(Box<RebootLease>),
}

/// The ledger as the API server has it.
#[derive(Clone, Debug)]
pub enum LedgerView {
    /// Nothing depends on it in this pass.
    NotRead,
    /// There is none.
    Missing,
    /// There is one.
    Present(Box<RebootLedger>),
}

/// What of the Node matters here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeFacts {
    /// `metadata.uid`.
    pub uid: String,
    /// `spec.unschedulable`.
    pub unschedulable: bool,
    /// Our annotation.
    pub mark: Mark,
    /// The fence whose undo is on the Node.
    pub undone: Option<i64>,
    /// True when `managedFields` says that somebody else set `spec.unschedulable` last.
    pub foreign_cordon: bool,
    /// True when the Node condition says what the checks say.
    pub condition_current: bool,
}

/// Our annotation on the Node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mark {
    /// None: nothing on the Node is ours.
    Absent,
    /// We cordoned, under this record.
    Ours(CordonRecord),
    /// Somebody changed it into something else.
    Unreadable,
}

/// The pods that must leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PodsView {
    /// Nothing depends on them in this pass.
    NotRead,
    /// So many are on the node.
    Left(usize),
}

/// What the machine says.
#[derive(Clone, Debug)]
pub struct HostFacts {
    /// ID of the present boot.
    pub boot_id: String,
    /// What the checks say.
    pub need: Need,
    /// Whether the machine is on its way down; `None` when it was not asked or gave no answer.
    pub shutdown_pending: Option<bool>,
    /// How it could be rebooted now.
    pub offer: Offer,
}

/// What the checks say, once it is settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// Not known yet: the agent has just started.
    Settling,
    /// A reboot is required.
    Required,
    /// None is.
    NotRequired,
    /// A check gave no answer.
    Unknown,
}

/// The journal as the disk has it.
#[derive(Clone, Debug)]
pub enum JournalView {
    /// It can be trusted. A missing or empty file is an empty journal: the host is new.
    Readable(Journal),
    /// It cannot.
    Unreadable {
        /// Why.
        reason: String,
    },
}

/// Clocks, read once per pass.
#[derive(Clone, Copy, Debug)]
pub struct Clocks {
    /// The API server's, when it answered the read of the lease.
    pub api: Timestamp,
    /// The machine's wall clock at the same moment.
    pub wall: Timestamp,
    /// Time since boot.
    pub boottime: Duration,
    /// Time since boot when this process started.
    pub started: Duration,
}

/// What this process has seen itself; all of it may be lost in a crash.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// The fence whose cordon it has seen in force.
    pub cordoned: Option<i64>,
    /// How long ago the present grant was accepted.
    pub drain_elapsed: Duration,
    /// What is known of the pods before the cordon.
    pub preflight: Preflight,
    /// The API server's time when pods that must leave were last seen on a drained node.
    pub pods_returned: Option<Timestamp>,
    /// For how long, without interruption, the machine has not let itself be rebooted for the same
    /// kind of reason.
    pub kept: Duration,
    /// How an undone reboot ended, while the lease does not say so yet.
    pub outcome: Option<(i64, Outcome)>,
}

/// Whether the node could be drained, asked before it is cordoned.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Preflight {
    /// Nobody has asked yet, or there was no answer.
    #[default]
    Unknown,
    /// Every pod could be evicted a moment ago.
    Passed,
    /// Some could not.
    Blocked {
        /// For how long, without interruption.
        lasted: Duration,
        /// Which, and what holds them.
        message: String,
    },
}

/// How a reboot ends before it happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Aborted or Failed.
    pub phase: Phase,
    /// One word.
    pub reason: String,
    /// A sentence.
    pub message: String,
}

impl Outcome {
    /// Failed, for this reason.
    pub fn failed(reason: &str, message: impl Into<String>) -> Self {
        Self {
            phase: Phase::Failed,
            reason: reason.to_owned(),
            message: message.into(),
        }
    }
}
