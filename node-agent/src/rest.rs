//! Whether a lease is at rest, so that the agent may tell in it what is worth knowing.
//!
//! Pure. Owns how long nothing must have happened: no write of ours may come between the operator's
//! reading of a lease and its grant without need.

use std::time::Duration;

use jiff::Timestamp;
use slipway_api::{Phase, RebootLease};

/// How long a lease must have been at rest before the checks are told in it. The operator grants by a
/// write that fails when the lease has changed meanwhile, and mostly within seconds of making it: told
/// at once, what the checks say would cost one fence in many.
pub const REST: Duration = Duration::from_secs(30);

/// How long a lease has been at rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rest {
    /// Not for [`REST`].
    Short,
    /// For so long.
    Long,
}

/// Whether nothing is under way in the lease, and for how long.
pub fn at_rest(lease: &RebootLease, now: Timestamp) -> Option<Rest> {
    let under_way = match lease.phase() {
        Phase::Pending | Phase::Completed | Phase::Aborted | Phase::Failed => false,
        Phase::Granted | Phase::Draining | Phase::Drained | Phase::Rebooting | Phase::Rebooted => {
            true
        }
    };
    if under_way || lease.open_grant().is_some() {
        return None;
    }
    let made = lease.metadata.creation_timestamp.as_ref().map(|at| at.0);
    let steps = lease.status.iter().flat_map(|status| &status.transitions);
    let last = steps.map(|step| step.at.0).chain(made).max();
    let rested = last.is_none_or(|last| {
        let rest = Duration::try_from(now.duration_since(last));
        // Clocks that disagree must not make it wait for as long as they do.
        rest.map_or(true, |rest| rest >= REST)
    });
    Some(if rested { Rest::Long } else { Rest::Short })
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
    use serde_json::{Value, json};

    use super::*;
    use crate::lease_write::tests::lease;

    fn at() -> Timestamp {
        "2026-01-01T00:00:01Z".parse().unwrap()
    }

    #[test]
    fn the_checks_are_told_in_a_lease_that_rests_and_nowhere_else() {
        let rest = |status: Value, seconds: i64| {
            let mut lease = lease(&status);
            lease.metadata.creation_timestamp = Some(Time(at()));
            let revoked = json!({"fence": 7, "reason": "WindowClosed"});
            lease.spec.revoke = Some(serde_json::from_value(revoked).unwrap());
            at_rest(&lease, at() + jiff::SignedDuration::from_secs(seconds))
        };
        assert_eq!(rest(json!({"phase": "Pending"}), 29), Some(Rest::Short));
        assert_eq!(rest(json!({"phase": "Pending"}), 30), Some(Rest::Long));
        assert_eq!(rest(json!({"phase": "Pending"}), -1), Some(Rest::Long));
        let failed = json!({"phase": "Failed", "fence": 7, "transitions": [
            {"phase": "Failed", "at": "2026-01-01T00:01:00.000000Z"}]});
        assert_eq!(rest(failed.clone(), 60), Some(Rest::Short));
        assert_eq!(rest(failed, 90), Some(Rest::Long));
        for phase in ["Granted", "Draining", "Drained", "Rebooting", "Rebooted"] {
            assert_eq!(
                rest(json!({"phase": phase, "fence": 7}), 900),
                None,
                "{phase}"
            );
        }
        // A grant that is about to be accepted.
        let open = lease(&json!({"phase": "Pending"}));
        assert_eq!(
            at_rest(&open, at() + jiff::SignedDuration::from_secs(900)),
            None
        );
    }
}
