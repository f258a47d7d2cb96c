//! Who goes first: what a human asked for, then the policies in turn, and each by its own order.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use jiff::Timestamp;
use slipway_api::people::Override;
use slipway_api::policy::Order;

use crate::breaker::record;
use crate::budget::PolicyLimits;
use crate::index::Index;
use crate::resting::Candidate;
use crate::snapshot::PolicyView;

/// A candidate's place. Names come last: a stable tie-break.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    /// Not asked for by a human out of order.
    in_order: bool,
    /// The leader's own node: its drain moves the operator itself.
    is_own: bool,
    /// A control-plane node of a policy that lets these go last: after everybody's workers.
    is_last: bool,
    /// When its policy was last granted a reboot; never comes first. So policies take turns where
    /// they share a limit.
    policy: (Option<Timestamp>, String),
    /// By the policy's own order.
    own: Vec<i64>,
    node: String,
}

/// The candidates in order.
pub(crate) fn sort(index: &Index<'_>, candidates: Vec<Candidate>) -> Vec<Candidate> {
    let lasts = last_grants(index);
    let domains = domain_ranks(index, &candidates);
    let mut keyed: Vec<(Key, Candidate)> = candidates
        .into_iter()
        .map(|candidate| {
            let uid = candidate.request.policy.uid.as_str();
            let of_policy = (index.policy(uid), lasts.get(uid).copied());
            (key(index, of_policy, &domains, &candidate), candidate)
        })
        .collect();
    keyed.sort_by(|(a, _), (b, _)| a.cmp(b));
    keyed.into_iter().map(|(_, candidate)| candidate).collect()
}

/// When each policy was last granted a reboot, by UID.
fn last_grants<'a>(index: &Index<'a>) -> BTreeMap<&'a str, Timestamp> {
    let ledger = index.snapshot.ledger.present();
    let status = ledger.and_then(|ledger| ledger.status.as_ref());
    // The first record of a policy counts, as everywhere.
    let records = status
        .into_iter()
        .flat_map(|status| status.policies.iter().rev());
    records
        .filter_map(|record| Some((record.uid.as_str(), record.last_grant_at.as_ref()?.0)))
        .collect()
}

fn key(
    index: &Index<'_>,
    (policy, last): (Option<&PolicyView>, Option<Timestamp>),
    domains: &BTreeMap<String, i64>,
    candidate: &Candidate,
) -> Key {
    let request = &candidate.request;
    let order = policy.map_or(&[][..], |policy| &policy.spec.order);
    let leader = index.snapshot.leader_node.as_deref();
    Key {
        in_order: !request.overrides(Override::Order),
        is_own: leader == Some(request.node.as_str()),
        is_last: request.control_plane && order.contains(&Order::ControlPlaneLast),
        policy: (last, request.policy.name.clone()),
        own: order
            .iter()
            .map(|entry| match entry {
                Order::ControlPlaneLast => i64::from(request.control_plane),
                Order::LongestWaiting => candidate.requested_at.as_second(),
                Order::DomainByDomain => domains.get(&request.node).copied().unwrap_or(i64::MAX),
            })
            .collect(),
        node: request.node.clone(),
    }
}

/// The rank of each candidate's domain within its policy: begun ones first, then the one whose
/// first node waits longest.
fn domain_ranks(index: &Index<'_>, candidates: &[Candidate]) -> BTreeMap<String, i64> {
    let status = index
        .snapshot
        .ledger
        .present()
        .and_then(|ledger| ledger.status.as_ref());
    let mut oldest: BTreeMap<(&str, &str), Timestamp> = BTreeMap::new();
    let mut of_node: BTreeMap<&str, (&str, &str)> = BTreeMap::new();
    for candidate in candidates {
        let request = &candidate.request;
        let place = index.place(&request.policy.uid);
        let limits: Option<&PolicyLimits<'_>> = place.and_then(|place| index.limits().get(place));
        let domains = limits.and_then(|limits| limits.domains.as_ref());
        let Some(domain) = domains.and_then(|domains| domains.of.get(request.node.as_str())) else {
            continue;
        };
        let key = (request.policy.uid.as_str(), *domain);
        of_node.insert(&request.node, key);
        let first = oldest.entry(key).or_insert(candidate.requested_at);
        *first = (*first).min(candidate.requested_at);
    }
    let mut ranked: Vec<_> = oldest
        .into_iter()
        .map(|((policy, domain), since)| {
            let begun = status
                .and_then(|status| record(status, policy))
                .is_some_and(|record| record.domains.iter().any(|begun| begun == domain));
            (Reverse(begun), since, (policy, domain))
        })
        .collect();
    ranked.sort();
    let ranks: BTreeMap<(&str, &str), i64> = (0..)
        .zip(ranked)
        .map(|(rank, (_, _, key))| (key, rank))
        .collect();
    of_node
        .into_iter()
        .filter_map(|(node, key)| Some((node.to_owned(), *ranks.get(&key)?)))
        .collect()
}
