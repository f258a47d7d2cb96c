//! The second key respects windows and blockers (S4), and a release waits (F95).

use std::time::Duration;

use slipway_api::{Phase, RebootLease};

use super::{Broken, Memory};
use crate::world::gates::WINDOWS;
use crate::world::time::EPOCH;
use crate::world::view::{Gates, View};

/// The evidence of a key is read after its time: what was closed this long before was seen closed.
const SEEN: i64 = 5;
/// How long after the commit a call may still take effect.
const CALL_MAY_FIRE: Duration = Duration::from_mins(10);

/// A lease that was written.
pub(super) fn judge(
    view: &View,
    memory: &Memory,
    (before, lease): (Option<&RebootLease>, &RebootLease),
    now: Duration,
    broken: &mut Vec<Broken>,
) {
    let name = lease.metadata.name.clone().unwrap_or_default();
    let key = |lease: &RebootLease| lease.spec.clear.clone();
    let turned = key(lease).filter(|new| before.and_then(key).as_ref() != Some(new));
    // Where the server's clock is wrong, the time of a key says nothing.
    if let Some(key) = turned.filter(|_| !memory.dates_lie)
        && let Some(gates) = gates_of(view, &name, key.fence)
    {
        let at = key.at.0.as_second() - EPOCH;
        let long_before =
            |since: Option<Duration>| since.is_some_and(|since| seconds(since) + SEEN < at);
        if long_before(gates.windows_since) && !is_open(key.at.0.as_second()) {
            broken.push(format!("S4: a second key for {name} outside every window"));
        }
        if long_before(gates.asks_since) && long_before(view.blocked_since) {
            broken.push(format!(
                "S4: a second key for {name} though a blocker blocks"
            ));
        }
    }
    let status = lease.status.clone().unwrap_or_default();
    let was = before.map(RebootLease::phase);
    let committed = memory.committed_at.get(&name).copied();
    if (was, status.phase) == (Some(Phase::Rebooting), Phase::Failed)
        && status.reason == "Released"
        && !lease.spec.release.as_ref().is_some_and(|it| it.force)
        // Times in a lease have whole seconds, and the server's clock may be off.
        && committed.is_some_and(|at| now + Duration::from_secs(2) < at + CALL_MAY_FIRE)
        && !memory.dates_lie
    {
        broken.push(format!(
            "S2: {name} released though its call may take effect"
        ));
    }
}

fn seconds(time: Duration) -> i64 {
    i64::try_from(time.as_secs()).unwrap_or(i64::MAX)
}

/// The gates of the policy that the slot belongs to.
fn gates_of<'a>(view: &'a View, name: &str, fence: i64) -> Option<&'a Gates> {
    let ledger = view.ledger.as_ref()?;
    let slot = super::slots(ledger)
        .iter()
        .find(|slot| slot.node == name && slot.fence == fence)?;
    view.gates.get(&slot.policy_uid)
}

fn is_open(wall: i64) -> bool {
    wall.rem_euclid(WINDOWS.0) < WINDOWS.1
}
