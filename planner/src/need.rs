//! What a node needs under the policy that governs it.
//!
//! Owns `triggers.maxUptime`, which is decided here and not by the agent: it is the policy's word, and
//! an agent reads no policy before it is granted something. So it is one more source of the same
//! [`Need`], with the same reasons for everything that follows; the agent asks its own machine again
//! before it accepts and before it commits.

use std::borrow::Cow;

use jiff::Timestamp;
use slipway_api::checks::REASON_MAX_UPTIME;

use crate::index::Index;
use crate::snapshot::{Need, NodeView, PolicyView};

/// What the node needs: what its host asks for, as far as the policy counts it, or a reboot because it
/// has been up for too long; only that is owned.
pub fn of<'a>(policy: Option<&PolicyView>, node: &'a NodeView, now: Timestamp) -> Cow<'a, Need> {
    let reported = Cow::Borrowed(&node.need);
    let Some(parsed) = policy.and_then(|policy| policy.parsed.as_ref().ok()) else {
        return reported;
    };
    let triggers = &parsed.spec.triggers;
    if let Need::Required { reason, .. } = &node.need
        && triggers.counts_reason(reason)
    {
        return reported;
    }
    match old_since(policy, node) {
        Some(since) if since <= now => Cow::Owned(Need::Required {
            reason: REASON_MAX_UPTIME.to_owned(),
            message: format!(
                "up since {}, longer than spec.triggers.maxUptime",
                node.booted.map_or_else(String::new, |at| at.to_string())
            ),
            since,
        }),
        Some(_) | None => reported,
    }
}

/// When the node has been up for as long as its policy lets it.
fn old_since(policy: Option<&PolicyView>, node: &NodeView) -> Option<Timestamp> {
    let parsed = policy?.parsed.as_ref().ok()?;
    let most = parsed.spec.triggers.max_uptime?;
    node.booted?.checked_add(most.signed()).ok()
}

/// When nodes become too old.
pub(crate) fn wakes(index: &Index<'_>) -> impl Iterator<Item = Timestamp> {
    let rows = index.rows().iter();
    rows.filter_map(|row| old_since(row.governance.policy(), row.node))
}
