//! When each waiting node will be rebooted, and when a policy will be done.
//!
//! Many possible futures are run from the present snapshot, each with other durations, and the
//! range that holds nine of ten of them is told. The same snapshot gives the same forecast: the
//! draws depend on names and numbers only. Nothing is decided on a forecast.
//! Called by the operator, for `status.expected` and `status.forecast`, and by `kubectl reboot`.

mod calendar;
mod domains;
mod passed;
mod run;
mod running;
mod spread;
mod start;
mod state;
mod usage;

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use slipway_api::people::Override;
use slipway_api::{Phase, RebootLease};

use crate::action::{GrantRequest, Plan};
use crate::blockers;
use crate::breaker;
use crate::budget::slots;
use crate::gates;
use crate::index::{Index, Row};
use crate::need;
use crate::order;
use crate::reason::Reason;
use crate::resting::{self, Candidate};
use crate::snapshot::{PolicyView, Snapshot};
use calendar::Calendar;
use run::{Future, NEVER};
use start::{Start, start};

pub use spread::{Durations, Spread, mix};

/// Nobody is told of a time that is further away, in seconds.
const HORIZON: i64 = 400 * 24 * 3600;
/// Most futures that are run.
const FUTURES_MAX: usize = 100;
/// Fewest: the outermost of these still span nine of ten.
const FUTURES_MIN: usize = 20;
/// Nodes times futures: bounds the time that a forecast takes.
const NODES_TIMES_FUTURES: usize = 200_000;

/// What is expected to happen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Forecast {
    /// Per node that waits and can be foretold.
    pub nodes: BTreeMap<String, Expected>,
    /// Per policy by name.
    pub policies: BTreeMap<String, PolicyForecast>,
}

/// When a node's reboot starts, in nine of ten futures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expected {
    /// Not before this.
    pub from: Timestamp,
    /// Not after this.
    pub to: Timestamp,
    /// It is over by then.
    pub done_by: Timestamp,
}

/// When a policy's nodes will be done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PolicyForecast {
    /// All that can be foretold are done by then, in nine of ten futures; absent where nothing
    /// waits or not all of them come to an end.
    pub all_done_by: Option<Timestamp>,
    /// Nodes that wait for something that neither time nor other nodes bring about.
    pub blocked: usize,
    /// Nodes that no future reaches within a year.
    pub never: usize,
}

/// Looks ahead. `durations` are those of policies, by UID, that are known by other means than the
/// ledger's record.
pub fn forecast(
    snapshot: &Snapshot,
    plan: &Plan,
    durations: &BTreeMap<String, Durations>,
    now: Timestamp,
) -> Forecast {
    let mut forecast = Forecast::default();
    for policy in &snapshot.policies {
        forecast
            .policies
            .insert(policy.name.clone(), PolicyForecast::default());
    }
    let index = Index::new(snapshot, now);
    let queue = queue(&index, plan, &mut forecast);
    let start = start(&index, plan, durations, (&queue, HORIZON));
    if start.waiting.is_empty() && start.running.is_empty() {
        return forecast;
    }
    let mut calendars: Vec<Calendar<'_>> = snapshot
        .policies
        .iter()
        .map(|policy| Calendar::new(policy, start.now))
        .collect();
    let size = start.waiting.len().max(1);
    let count = (NODES_TIMES_FUTURES / size).clamp(FUTURES_MIN, FUTURES_MAX);
    let futures: Vec<Future> = (0_u64..)
        .take(count)
        .map(|scenario| run::run(&start, &mut calendars, scenario))
        .collect();
    tell_nodes(&queue, &start, &futures, snapshot, &mut forecast);
    tell_policies(snapshot, &start, &futures, &mut forecast);
    forecast
}

/// Every node that will be rebooted without anybody's doing, in the order in which they go, each
/// with the moment from which it can.
fn queue(index: &Index<'_>, plan: &Plan, forecast: &mut Forecast) -> Vec<(Candidate, i64)> {
    let snapshot = index.snapshot;
    let open = open_breakers(index);
    let held: BTreeSet<&str> = { snapshot.ledger.present().map_or(&[][..], slots).iter() }
        .map(|slot| slot.node.as_str())
        .collect();
    let mut candidates: Vec<Candidate> = Vec::new();
    let mut ready: BTreeMap<String, i64> = BTreeMap::new();
    for row in index.rows() {
        let Some((place, policy)) = row.policy.zip(row.governance.policy()) else {
            continue;
        };
        if held.contains(row.node.name.as_str()) {
            continue;
        }
        let Some(candidate) = waits(policy, row, index.now) else {
            continue;
        };
        let reasons = reasons(index, plan, row);
        let breaker = open.contains(&place) && !candidate.request.overrides(Override::Breaker);
        if breaker || reasons.iter().any(|reason| !reason.passes()) || is_kept(index, row) {
            if let Some(told) = forecast.policies.get_mut(&policy.name) {
                told.blocked += 1;
            }
            continue;
        }
        let until = reasons.iter().filter_map(of_node).max();
        let from = until.map_or(index.now, |until| until.max(index.now));
        ready.insert(row.node.name.clone(), from.as_second());
        candidates.push(candidate);
    }
    order::sort(index, candidates)
        .into_iter()
        .filter_map(|candidate| {
            let from = ready.get(&candidate.request.node).copied()?;
            Some((candidate, from))
        })
        .collect()
}

/// Policies whose breaker is not closed: when it closes nobody knows, so their nodes have no date.
fn open_breakers(index: &Index<'_>) -> BTreeSet<usize> {
    let ledger = index.snapshot.ledger.present();
    let status = ledger.and_then(|ledger| ledger.status.as_ref());
    let policies = index.snapshot.policies.iter().enumerate();
    policies
        .filter(|(_, policy)| {
            let state = status
                .map(|status| breaker::state(status, &policy.uid, &policy.spec.failure, index.now));
            state.is_some_and(|state| state != breaker::State::Closed)
        })
        .map(|(place, _)| place)
        .collect()
}

/// True for a node that waits for what nobody can foretell, although nothing asks for it yet: a
/// blocker, or a node that is down by itself.
fn is_kept(index: &Index<'_>, row: &Row<'_>) -> bool {
    let Some(limits) = row.policy.and_then(|place| index.limits().get(place)) else {
        return false;
    };
    let node = row.node.name.as_str();
    let by_itself = |name: &&&str| {
        let other = index.row(name);
        **name != node && other.is_some_and(|other| index.slot(other.node).is_none())
    };
    blockers::keeps(index, row) || { limits.cluster.groups_of(node) }
        .any(|(_, group)| group.down.iter().any(|name| by_itself(&name)))
}

/// When a reason that is about the node alone ends; the others are the futures' own matter.
fn of_node(reason: &Reason) -> Option<Timestamp> {
    match reason {
        Reason::LedgerRebuilt { until }
        | Reason::BackingOff { until, .. }
        | Reason::Undrainable { until, .. }
        | Reason::DrainCausesBlock { until, .. }
        | Reason::TooManyReboots { until, .. } => Some(*until),
        _ => None,
    }
}

/// A node without a slot that waits for its reboot; `None` for one that does not.
fn waits(policy: &PolicyView, row: &Row<'_>, now: Timestamp) -> Option<Candidate> {
    let node = row.node;
    let request = row.own_lease().and_then(RebootLease::open_request);
    let needed = gates::need_refusal(Some(policy), node, now).is_none();
    let need = need::of(Some(policy), node, now);
    let since = match need.as_ref() {
        crate::Need::Required { since, .. } if needed => Some(*since),
        _ => request.map(|_| now),
    }?;
    let requested_at = match row.lease {
        None => since,
        Some(lease) if lease.spec.node_uid != node.uid => return None,
        Some(lease) => match lease.phase() {
            Phase::Pending | Phase::Granted => lease.spec.requested_at.0,
            Phase::Completed | Phase::Aborted | Phase::Failed => {
                let new = resting::new_need(&need, lease).filter(|_| needed);
                new.or_else(|| request.map(|_| now))?
            }
            Phase::Draining | Phase::Drained | Phase::Rebooting | Phase::Rebooted => return None,
        },
    };
    Some(Candidate {
        request: GrantRequest {
            node: node.name.clone(),
            node_uid: node.uid.clone(),
            lease_uid: String::new(),
            policy: policy.reference(),
            control_plane: node.is_control_plane(),
            drain: policy.spec.drain.clone(),
            reboot: policy.spec.reboot.clone(),
            verify: policy.spec.verify.clone(),
            triggers: policy.spec.triggers.clone(),
            request: request.cloned(),
            place: crate::turn::Place::default(),
        },
        requested_at,
    })
}

/// Everything that a node waits for, with what is looked at only once it has a lease.
fn reasons(index: &Index<'_>, plan: &Plan, row: &Row<'_>) -> Vec<Reason> {
    let verdict = plan.verdicts.get(&row.node.name);
    let mut reasons = verdict.map_or_else(Vec::new, |verdict| verdict.waiting_for.clone());
    reasons.retain(|reason| !matches!(reason, Reason::Ended { .. }));
    if !row.node.ready {
        reasons.push(Reason::NodeNotReady);
    }
    if !index.snapshot.agents.contains(&row.node.name) {
        reasons.push(Reason::AgentNotReady);
    }
    reasons
}

fn tell_nodes(
    queue: &[(Candidate, i64)],
    start: &Start,
    futures: &[Future],
    snapshot: &Snapshot,
    forecast: &mut Forecast,
) {
    for (index, ((candidate, _), waiting)) in queue.iter().zip(&start.waiting).enumerate() {
        let of = |part: fn(&(i64, i64)) -> i64| {
            let mut times: Vec<i64> = futures
                .iter()
                .filter_map(|future| future.nodes.get(index).map(part))
                .collect();
            times.sort_unstable();
            times
        };
        let (starts, ends) = (of(|node| node.0), of(|node| node.1));
        let range = (low(&starts), high(&starts), high(&ends));
        if let (Some(from), Some(to), Some(done_by)) = range {
            let expected = Expected { from, to, done_by };
            let node = candidate.request.node.clone();
            forecast.nodes.insert(node, expected);
        } else if let Some(told) = snapshot
            .policies
            .get(waiting.policy)
            .and_then(|policy| forecast.policies.get_mut(&policy.name))
        {
            told.never += 1;
        }
    }
}

fn tell_policies(snapshot: &Snapshot, start: &Start, futures: &[Future], forecast: &mut Forecast) {
    for (index, policy) in snapshot.policies.iter().enumerate() {
        let Some(told) = forecast.policies.get_mut(&policy.name) else {
            continue;
        };
        let mut ends: Vec<i64> = futures
            .iter()
            .filter_map(|future| future.done.get(index).copied())
            .collect();
        ends.sort_unstable();
        let busy = start.waiting.iter().any(|one| one.policy == index)
            || start
                .running
                .iter()
                .any(|one| one.counts_in.iter().any(|(place, _)| *place == index));
        told.all_done_by = high(&ends).filter(|_| busy && told.never == 0);
    }
}

/// The value that about one of twenty-five is below.
fn low(sorted: &[i64]) -> Option<Timestamp> {
    moment(sorted.get(outside(sorted.len())))
}

/// The value that about one of twenty-five is above.
fn high(sorted: &[i64]) -> Option<Timestamp> {
    let last = sorted.len().checked_sub(1)?;
    moment(sorted.get(last.checked_sub(outside(sorted.len()))?))
}

fn outside(count: usize) -> usize {
    count / 25
}

fn moment(seconds: Option<&i64>) -> Option<Timestamp> {
    let seconds = seconds.filter(|seconds| **seconds != NEVER)?;
    Timestamp::from_second(*seconds).ok()
}
