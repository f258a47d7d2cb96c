//! Whose turn it is: places among those that wait, and the bound on how often one is passed.
//!
//! A limit that keeps a node back (a domain begun elsewhere, a quorum group, workers under way) lets
//! those behind it pass. How often is counted in the ledger by the write that grants; after
//! [`PASSED_TIMES_MAX`] the others wait for it, for [`HELD_FOR_PASSED`] at most, so that whatever
//! keeps it never keeps everybody. This is fairness, not safety: no limit is decided here.

use std::collections::BTreeSet;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use slipway_api::RebootLedgerStatus;
use slipway_api::ledger::{DOMAINS_MAX, PASSED_MAX, Passed};

use crate::action::GrantRequest;
use crate::breaker::record;
use crate::limits::{HELD_FOR_PASSED, PASSED_TIMES_MAX};
use crate::reason::Reason;

/// The place of a node among those that wait, as the plan found it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// Failure domains of the policy in which nodes wait that could go.
    pub waiting_domains: BTreeSet<String>,
    /// Nodes that came earlier and do not go now, the longest waiting first.
    pub passes: Vec<Passer>,
}

/// A node that is passed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Passer {
    /// Its name.
    pub node: String,
    /// UID of its policy.
    pub policy_uid: String,
    /// True for a control-plane node.
    pub control_plane: bool,
}

impl Place {
    /// The policy's begun domains after a grant in `domain`, in the order in which they were begun:
    /// those in which nobody waits any more are finished.
    pub fn begun(
        &self,
        domain: Option<&String>,
        status: &RebootLedgerStatus,
        policy_uid: &str,
    ) -> Vec<String> {
        let before = record(status, policy_uid).map_or(&[][..], |record| &record.domains);
        let mut begun: Vec<String> = before
            .iter()
            .filter(|begun| self.waiting_domains.contains(*begun) || Some(*begun) == domain)
            .cloned()
            .collect();
        let new = domain.filter(|domain| !begun.contains(domain)).cloned();
        begun.extend(new);
        // More than fit the ledger: else the API server would refuse every further grant.
        let surplus = begun.len().saturating_sub(DOMAINS_MAX);
        begun.drain(..surplus);
        begun
    }
}

/// Counts whom a grant passes. Whoever is not passed any more is forgotten.
pub fn note_grant(status: &mut RebootLedgerStatus, request: &GrantRequest, now: Timestamp) {
    let before = std::mem::take(&mut status.passed);
    // Those of other policies wait for other grants: they keep their count.
    let kept = before.iter().filter(|passed| {
        passed.node != request.node
            && passed.policy_uid != request.policy.uid
            && !request
                .place
                .passes
                .iter()
                .any(|one| one.node == passed.node)
    });
    let counted = request.place.passes.iter().map(|passer| {
        let old = before.iter().find(|passed| passed.node == passer.node);
        let lapsed = old.is_some_and(|old| has_lapsed(old, now));
        let times = old.map_or(0, |old| old.times).saturating_add(1);
        let times = if lapsed { 1 } else { times };
        let held_since = old
            .and_then(|old| old.held_since.clone())
            .filter(|_| !lapsed);
        Passed {
            node: passer.node.clone(),
            policy_uid: passer.policy_uid.clone(),
            control_plane: passer.control_plane,
            times,
            held_since: held_since.or_else(|| (times >= PASSED_TIMES_MAX).then_some(Time(now))),
        }
    });
    status.passed = counted.chain(kept.cloned()).take(PASSED_MAX).collect();
}

fn has_lapsed(passed: &Passed, now: Timestamp) -> bool {
    passed
        .held_since
        .as_ref()
        .is_some_and(|since| now.duration_since(since.0) >= HELD_FOR_PASSED)
}

/// The node that this one has to wait for, because it was passed too often. `waits` tells whether
/// a node waits and could go.
pub fn refuse(
    status: &RebootLedgerStatus,
    request: &GrantRequest,
    waits: impl Fn(&str) -> bool,
    now: Timestamp,
) -> Option<Reason> {
    let held = status
        .passed
        .iter()
        .filter(|passed| passed.held_since.is_some() && !has_lapsed(passed, now))
        .filter(|passed| passed.policy_uid == request.policy.uid || passed.control_plane)
        .find(|passed| waits(&passed.node))?;
    let since = held.held_since.as_ref()?.0;
    (held.node != request.node).then(|| Reason::TurnOf {
        node: held.node.clone(),
        until: since.saturating_add(HELD_FOR_PASSED).unwrap_or(since),
    })
}

/// True when others have to wait for this node.
pub fn is_held_for(status: &RebootLedgerStatus, node: &str, now: Timestamp) -> bool {
    status.passed.iter().any(|passed| {
        passed.node == node && passed.held_since.is_some() && !has_lapsed(passed, now)
    })
}
