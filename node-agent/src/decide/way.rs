//! Whether the machine would take the reboot, and what follows when it would not.

use std::time::Duration;

use slipway_api::lease::Grant;

use super::Why;
use crate::facts::{Facts, Outcome};
use crate::host::Offer;
use crate::reason;

/// How long a machine may give no answer before its reboot ends: a bus that is restarted is back.
pub const PATIENCE: Duration = Duration::from_mins(1);

/// The way to the reboot.
pub(super) enum Way {
    /// It is open.
    Open,
    /// Not now.
    Shut(Why),
    /// The reboot ends.
    Ends(Outcome),
}

/// The way, as the machine says.
pub(super) fn of(facts: &Facts, grant: &Grant) -> Way {
    let kept = facts.seen.kept;
    let limit = grant.reboot.timeout;
    match &facts.host.offer {
        Offer::Ready { .. } => Way::Open,
        Offer::NotAsked => Way::Shut(Why::Unread),
        Offer::Inhibited { by, .. } if kept >= limit.0 => {
            let by = by.join(", ");
            let message = format!("the reboot was inhibited for longer than {limit} by {by}");
            Way::Ends(Outcome::failed(reason::REBOOT_REFUSED, message))
        }
        Offer::Inhibited { .. } => Way::Shut(Why::Inhibited),
        Offer::Unanswered { .. } if kept < PATIENCE => Way::Shut(Why::HostNotReady),
        Offer::Unanswered { reason } | Offer::Impossible { reason } => {
            let message = format!(
                "the host does not offer reboot.method {}: {reason}",
                grant.reboot.method
            );
            Way::Ends(Outcome::failed(reason::METHOD_UNAVAILABLE, message))
        }
    }
}
