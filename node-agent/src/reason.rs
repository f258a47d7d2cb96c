//! The reasons that the agent writes into its lease, spelt once.

/// The grant was accepted; nothing on the node has changed yet.
pub const ACCEPTED: &str = "Accepted";
/// Pods are leaving.
pub const DRAINING: &str = "Draining";
/// Pods that must leave cannot: `status.drain.waiting` names them and what holds them.
pub const PODS_BLOCKED: &str = "PodsBlocked";
/// Pods were still there when `drain.timeout` had passed.
pub const DRAIN_TIMEOUT: &str = "DrainTimeout";
/// Pods could not have left, so the node was not even cordoned.
pub const DRAIN_BLOCKED: &str = "DrainBlocked";
/// No pod that must leave is left; the second key is awaited.
pub const DRAINED: &str = "Drained";
/// The node's clock and the API server's differ too much to judge the second key.
pub const CLOCK_SKEW: &str = "ClockSkew";
/// Locks of logind block a shutdown of the host.
pub const INHIBITED: &str = "Inhibited";
/// The host does not offer the way to reboot that is wanted.
pub const METHOD_UNAVAILABLE: &str = "MethodUnavailable";
/// The commit point is passed.
pub const COMMITTED: &str = "Committed";
/// The machine has accepted the reboot call.
pub const REBOOT_CALLED: &str = "RebootCalled";
/// The boot ID has changed and the cordon is gone.
pub const REBOOTED: &str = "Rebooted";
/// The boot ID changed before this reboot was committed.
pub const REBOOTED_ELSEWHERE: &str = "RebootedElsewhere";
/// A human uncordoned the node, or removed our annotation.
pub const VETOED: &str = "Vetoed";
/// The reboot was committed and did not happen.
pub const NOT_REBOOTED: &str = "NotRebooted";
/// The machine refused to reboot, or locks kept it from rebooting for too long.
pub const REBOOT_REFUSED: &str = "RebootRefused";
/// Nothing asks for the reboot any more.
pub const NO_LONGER_NEEDED: &str = "NoLongerNeeded";
/// The grant ran out before the reboot was committed.
pub const EXPIRED: &str = "Expired";
/// The operator called the grant off.
pub const REVOKED: &str = "Revoked";
