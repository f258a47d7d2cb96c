//! The world as the model sees it: what the API server and the machines hold, and what every
//! program holds in its hands between two calls.
//!
//! Resource versions are not counted: whoever holds a version holds it as "still the present one or
//! not", and every write makes the copies of others old. Fences are kept as ranks: only their order
//! matters, so that the fences of a run without end are still finitely many.

mod operators;

use std::hash::{Hash, Hasher};
use std::ops::{Index, IndexMut};

use slipway_api::Phase;

pub use operators::Operator;

/// A fence, as its rank among those that anything still speaks of; 0 for none.
pub type Fence = u8;

/// A node, and with it its lease, its agent and its machine.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct NodeId(pub u8);

/// A phase that can be hashed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct At(pub Phase);

impl Hash for At {
    fn hash<H: Hasher>(&self, state: &mut H) {
        std::mem::discriminant(&self.0).hash(state);
    }
}

/// A boot ID as the present boot sees it: only equality with the present one decides anything.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Boot {
    /// None is recorded.
    #[default]
    None,
    /// The present boot.
    Now,
    /// The one that the kubelet reports still, although the machine has booted since.
    Reported,
    /// Any other earlier one.
    Earlier,
}

impl Boot {
    /// The same ID after one more boot; `was_up`: the kubelet had reported the boot that ended.
    #[must_use]
    pub const fn aged(self, was_up: bool) -> Self {
        match self {
            Self::None => Self::None,
            Self::Now if was_up => Self::Reported,
            Self::Reported if !was_up => Self::Reported,
            Self::Now | Self::Reported | Self::Earlier => Self::Earlier,
        }
    }

    /// The same ID once the kubelet reports the present boot.
    #[must_use]
    pub const fn after_report(self) -> Self {
        match self {
            Self::Reported => Self::Earlier,
            Self::None | Self::Now | Self::Earlier => self,
        }
    }
}

/// The second key.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Key {
    /// The grant that it belongs to.
    pub fence: Fence,
    /// `at` is more than 60 s ago.
    pub is_old: bool,
    /// What it rests on was seen more than 60 s ago: the same, unless a rule is broken.
    pub evidence_is_old: bool,
}

/// A `RebootLease`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Lease {
    /// Its UID: how many leases of this node were deleted before it.
    pub uid: u8,
    /// `status.phase`.
    pub phase: At,
    /// `status.fence`.
    pub fence: Fence,
    /// `spec.grant.fence`.
    pub grant: Fence,
    /// `spec.revoke.fence`.
    pub revoke: Fence,
    /// `spec.clear`.
    pub clear: Option<Key>,
    /// `status.bootIDBefore`.
    pub before: Boot,
    /// `status.bootIDAfter`.
    pub after: Boot,
    /// `spec.grant.notAfter` has passed.
    pub is_expired: bool,
}

impl Lease {
    /// A lease as it begins.
    pub const fn new(uid: u8) -> Self {
        Self {
            uid,
            phase: At(Phase::Pending),
            fence: 0,
            grant: 0,
            revoke: 0,
            clear: None,
            before: Boot::None,
            after: Boot::None,
            is_expired: false,
        }
    }
}

/// A slot of the ledger; its node is the one it is kept with.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Slot {
    /// The fence.
    pub fence: Fence,
    /// `leaseUID`.
    pub uid: u8,
    /// Its lease was deleted when it had already said that the fence was over.
    pub was_over: bool,
    /// It was put back, after it had been lost or freed.
    pub is_restored: bool,
}

/// The annotation `slipway.dev/cordoned`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Mark {
    /// The grant under which we cordoned.
    pub fence: Fence,
    /// The node was unschedulable before.
    pub before: bool,
}

/// The Node object.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Object {
    /// `spec.unschedulable`.
    pub is_unschedulable: bool,
    /// `managedFields` names somebody else as its owner.
    pub is_foreign: bool,
    /// Our annotation.
    pub mark: Option<Mark>,
    /// The annotation `slipway.dev/undone`.
    pub undone: Fence,
}

/// How a reboot that was accepted ends before it happened.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Ending {
    /// Called off.
    Aborted,
    /// Anything else.
    Failed,
}

/// A write of an agent that is decided and not sent, or sent and not landed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Intent {
    /// `Draining`.
    Accept,
    /// The cordon. `early`: before the accept, which no rule allows.
    Cordon {
        /// Made before the accept.
        early: bool,
    },
    /// `Drained`.
    MarkDrained,
    /// `Rebooting`; the journal has it already.
    Commit,
    /// The undo alone.
    Undo,
    /// The undo, and then the ending.
    Retire(Ending),
    /// The ending, after its undo.
    End(Ending),
    /// `Rebooted`.
    MarkRebooted,
}

impl Intent {
    /// True for writes to the Node, false for writes to the lease.
    pub const fn is_of_node(self) -> bool {
        match self {
            Self::Cordon { .. } | Self::Undo | Self::Retire(_) => true,
            Self::Accept | Self::MarkDrained | Self::Commit | Self::End(_) | Self::MarkRebooted => {
                false
            }
        }
    }
}

/// A write with the grant that it speaks of, and whether its versions are still the present ones.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Write {
    /// Which.
    pub intent: Intent,
    /// Its fence.
    pub fence: Fence,
    /// Nobody has written the lease since it was read.
    pub lease_is_fresh: bool,
    /// Nobody has written the Node since it was read.
    pub node_is_fresh: bool,
    /// More than 45 s have passed since the first read of the pass.
    pub is_late: bool,
}

/// Where an agent's process stands between two calls.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Agent {
    /// It holds nothing.
    Idle,
    /// It has read the lease, and nothing else yet.
    HasLease {
        /// What it read.
        lease: Lease,
        /// Nobody has written the lease since.
        is_fresh: bool,
        /// More than 45 s have passed since.
        is_late: bool,
    },
    /// It has read everything and decided on a write.
    Writes(Write),
    /// Its commit is acknowledged; the reboot call is next.
    Committed {
        /// The fence.
        fence: Fence,
        /// More than 45 s have passed since the first read of the pass.
        is_late: bool,
    },
}

/// The reboot call that the journal notes, as far as it may still matter to this boot.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Call {
    /// None, or one of an earlier boot.
    #[default]
    None,
    /// Less than ten minutes ago.
    Young,
    /// Longer ago: it cannot take effect any more.
    Old,
}

/// The journal on the host's disk.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Journal {
    /// Highest fence committed.
    pub committed: Fence,
    /// Its boot ID.
    pub boot: Boot,
    /// The call made for it.
    pub call: Call,
}

/// A node and everything that belongs to it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "facts, each true or not")]
pub struct Node {
    /// Its slot in the ledger.
    pub slot: Option<Slot>,
    /// Its lease.
    pub lease: Option<Lease>,
    /// How many leases it had.
    pub leases: u8,
    /// The Node object.
    pub object: Object,
    /// A human has cordoned it, and would miss the cordon.
    pub is_wanted: bool,
    /// A human has uncordoned it under a commit.
    pub is_loosened: bool,
    /// The host asks for a reboot.
    pub needs_reboot: bool,
    /// Pods that have to move run on it.
    pub has_pods: bool,
    /// The kubelet of the present boot is up and says Ready.
    pub is_up: bool,
    /// The fence under which we took it down, until it is up again.
    pub down: Fence,
    /// The agent's process.
    pub agent: Agent,
    /// A write of an agent that died.
    pub flight: Option<Write>,
    /// The journal.
    pub journal: Journal,
    /// The fence of a reboot call that the machine has accepted and that will take effect.
    pub pending: Fence,
}

/// How often each fault may still happen.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Faults {
    /// An agent's process dies.
    pub crashes: u8,
    /// A policy calls a reboot off.
    pub revokes: u8,
    /// A lease is deleted.
    pub deletions: u8,
    /// A human cordons a node.
    pub cordons: u8,
    /// A human uncordons a node that we cordoned.
    pub uncordons: u8,
    /// Everything is paused.
    pub pauses: u8,
    /// A machine is rebooted by somebody else; the need stays.
    pub power_cuts: u8,
    /// An accepted reboot call has no effect.
    pub lost_calls: u8,
    /// The machine refuses a call.
    pub refusals: u8,
    /// A grant runs out.
    pub expiries: u8,
    /// A need goes without a reboot.
    pub calms: u8,
    /// A reboot leaves the need in place.
    pub in_vain: u8,
}

/// Everything.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct State<const N: usize> {
    /// The nodes.
    pub nodes: [Node; N],
    /// The operators; two at most.
    pub operators: [Operator; 2],
    /// `spec.paused` of the ledger.
    pub is_paused: bool,
    /// Faults left.
    pub faults: Faults,
    /// What a step did that may never be done.
    pub flaw: Option<crate::property::Flaw>,
}

impl Slot {
    /// A slot as a grant makes it.
    pub const fn new(fence: Fence, uid: u8) -> Self {
        Self {
            fence,
            uid,
            was_over: false,
            is_restored: false,
        }
    }
}

impl<const N: usize> Index<NodeId> for State<N> {
    type Output = Node;

    #[expect(clippy::indexing_slicing, reason = "node IDs are made by `ids` only")]
    fn index(&self, node: NodeId) -> &Node {
        &self.nodes[usize::from(node.0)]
    }
}

impl<const N: usize> IndexMut<NodeId> for State<N> {
    #[expect(clippy::indexing_slicing, reason = "node IDs are made by `ids` only")]
    fn index_mut(&mut self, node: NodeId) -> &mut Node {
        &mut self.nodes[usize::from(node.0)]
    }
}

impl<const N: usize> State<N> {
    /// Every node.
    pub fn ids() -> impl Iterator<Item = NodeId> {
        (0..u8::try_from(N).unwrap_or(u8::MAX)).map(NodeId)
    }

    /// Notes what a step did that may never be done; the first one stays.
    pub fn flaw(&mut self, flaw: crate::property::Flaw) {
        self.flaw.get_or_insert(flaw);
    }

    /// True when the condition holds; else the step has a flaw.
    pub fn require(&mut self, holds: bool, flaw: crate::property::Flaw) {
        if !holds {
            self.flaw(flaw);
        }
    }
}
