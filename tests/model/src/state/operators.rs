//! What an operator holds between two calls.

use super::{Fence, NodeId};

/// An operator between two calls. Nothing is kept of what it saw but what its next writes rest on.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Operator {
    /// It holds nothing.
    Idle,
    /// It has found a lease that may take a grant.
    Grants {
        /// Whose.
        node: NodeId,
        /// UID of the lease.
        uid: u8,
        /// Nobody has written the lease since.
        is_fresh: bool,
        /// The budget had room then.
        had_room: bool,
    },
    /// It has also read the ledger: only where the ledger is written without its version.
    Appends {
        /// Whose slot.
        node: NodeId,
        /// UID of the lease.
        uid: u8,
        /// Nobody has written the lease since.
        is_fresh: bool,
        /// Slots in the ledger that it read, one bit per node.
        slots: u8,
    },
    /// It has appended a slot; the grant is next.
    Granted {
        /// Whose.
        node: NodeId,
        /// The fence of the slot.
        fence: Fence,
        /// Nobody has written the lease since it was read.
        is_fresh: bool,
    },
    /// It has gathered evidence for the second key.
    Clears {
        /// Whose.
        node: NodeId,
        /// The grant.
        fence: Fence,
        /// Gathered more than 60 s ago.
        is_old: bool,
        /// Nobody has written the lease since.
        is_fresh: bool,
    },
    /// It has found a reboot proved.
    Concludes {
        /// Whose.
        node: NodeId,
        /// The fence.
        fence: Fence,
        /// Completed, else Failed.
        is_good: bool,
        /// Nobody has written the lease since.
        is_fresh: bool,
    },
    /// It has seen in the lease that the fence of a slot is over.
    SawOver {
        /// Whose slot.
        node: NodeId,
        /// Its fence.
        fence: Fence,
    },
    /// It has also seen that the Node carries no cordon of ours.
    Frees {
        /// Whose slot.
        node: NodeId,
        /// Its fence.
        fence: Fence,
    },
    /// It has seen a lease that ended and no slot.
    Reopens {
        /// Whose.
        node: NodeId,
        /// The fence that ended.
        fence: Fence,
        /// Nobody has written the lease since.
        is_fresh: bool,
    },
    /// It has seen a slot whose lease is missing or another one.
    SawDebt {
        /// Whose slot.
        node: NodeId,
        /// Its fence.
        fence: Fence,
        /// Its lease UID.
        uid: u8,
    },
    /// It has made the lease anew; `Draining` is next.
    AsksPhase {
        /// Whose.
        node: NodeId,
        /// The slot's fence.
        fence: Fence,
        /// Nobody has written the lease since.
        is_fresh: bool,
    },
    /// It has written `Draining`; the revoked grant is next.
    AsksKeys {
        /// Whose.
        node: NodeId,
        /// The slot's fence.
        fence: Fence,
        /// Nobody has written the lease since.
        is_fresh: bool,
    },
    /// It has found a live reboot without a slot.
    Restores {
        /// Whose slot.
        node: NodeId,
        /// Its fence.
        fence: Fence,
        /// Its lease UID.
        uid: u8,
    },
    /// It will call off a grant without a slot that it saw in its cache.
    Voids {
        /// Whose.
        node: NodeId,
        /// The fence.
        fence: Fence,
    },
}
