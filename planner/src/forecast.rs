//! When each waiting node will be rebooted, and when a policy will be done.
//!
//! Many possible futures are run from the present snapshot, each with other durations, and the
//! range that holds nine of ten of them is told. The same snapshot gives the same forecast: the
//! draws depend on names and numbers only. Nothing is decided on a forecast.
//! Called by the operator, for `status.expected` and `status.forecast`, and by `kubectl reboot`.

mod calendar;
mod run;
mod spread;

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use slipway_api::people::Override;
use slipway_api::{Phase, RebootLease, Slot};

use crate::action::{GrantRequest, Plan};
use crate::budget::slots;
use crate::gates;
use crate::index::Index;
use crate::order;
use crate::reason::Reason;
use crate::resting::{self, Candidate};
use crate::snapshot::{CordonState, NodeView, PolicyView, Snapshot};
use calendar::Calendar;
use run::{Future, NEVER, Rules, Running, Start, Waiting};

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

/// Looks ahead. `durations` are those on record by UID of the policy; the rest is assumed.
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
    let start = Start {
        now: now.as_second(),
        horizon: now.as_second().saturating_add(HORIZON),
        rules: snapshot
            .policies
            .iter()
            .enumerate()
            .map(|(place, policy)| rules(&index, place, policy, durations))
            .collect(),
        waiting: queue.iter().map(|(_, waiting)| *waiting).collect(),
        running: running(&index, plan),
    };
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
    tell_nodes(&queue, &futures, snapshot, &mut forecast);
    tell_policies(snapshot, &start, &futures, &mut forecast);
    forecast
}

fn rules(
    index: &Index<'_>,
    place: usize,
    policy: &PolicyView,
    durations: &BTreeMap<String, Durations>,
) -> Rules {
    let known = durations.get(&policy.uid).copied();
    Rules {
        allowed: index.limits().get(place).map_or(0, |limits| limits.allowed),
        in_use: index.in_use(place),
        spread: Spread::new(known.unwrap_or_else(|| Durations::assumed(&policy.spec))),
    }
}

/// Every node that will be rebooted without anybody's doing, in the order in which they go.
fn queue(index: &Index<'_>, plan: &Plan, forecast: &mut Forecast) -> Vec<(String, Waiting)> {
    let (snapshot, now) = (index.snapshot, index.now);
    let held: BTreeSet<&str> = snapshot
        .ledger
        .present()
        .map_or(&[][..], slots)
        .iter()
        .map(|slot| slot.node.as_str())
        .collect();
    let mut candidates: Vec<Candidate> = Vec::new();
    let mut ready: BTreeMap<String, i64> = BTreeMap::new();
    for row in index.rows() {
        let node = row.node;
        let Some(policy) = row.governance.policy() else {
            continue;
        };
        if held.contains(node.name.as_str()) {
            continue;
        }
        let Some(since) = waits_since(snapshot, policy, node) else {
            continue;
        };
        let reasons = reasons(snapshot, plan, node);
        if reasons.iter().any(|reason| !reason.passes()) {
            if let Some(told) = forecast.policies.get_mut(&policy.name) {
                told.blocked += 1;
            }
            continue;
        }
        let until = reasons.iter().filter_map(Reason::until).max();
        let from = until.map_or(now, |until| until.max(now));
        ready.insert(node.name.clone(), from.as_second());
        candidates.push(candidate(policy, node, since));
    }
    order::sort(index, candidates)
        .into_iter()
        .filter_map(|candidate| {
            let request = candidate.request;
            let node = snapshot.nodes.get(&request.node)?;
            let waiting = Waiting {
                policy: index.place(&request.policy.uid)?,
                control_plane: request.control_plane,
                counted: node.is_unavailable(),
                ready_at: ready.get(&request.node).copied()?,
                seed: spread::seed(&request.node),
            };
            Some((request.node, waiting))
        })
        .collect()
}

fn candidate(policy: &PolicyView, node: &NodeView, since: Timestamp) -> Candidate {
    Candidate {
        request: GrantRequest {
            node: node.name.clone(),
            node_uid: node.uid.clone(),
            lease_uid: String::new(),
            policy: policy.reference(),
            control_plane: node.is_control_plane(),
            drain: policy.spec.drain.clone(),
            reboot: policy.spec.reboot.clone(),
            verify: policy.spec.verify.clone(),
            request: None,
            place: crate::turn::Place::default(),
        },
        requested_at: since,
    }
}

/// Since when a node without a slot waits for its reboot; `None` for one that does not.
fn waits_since(snapshot: &Snapshot, policy: &PolicyView, node: &NodeView) -> Option<Timestamp> {
    // A person's request is a need. One that sets the window aside goes when no calendar tells.
    let lease = snapshot.leases.get(&node.name);
    let asked = lease.filter(|lease| {
        let request = lease.open_request();
        lease.spec.node_uid == node.uid
            && request.is_some_and(|one| !one.overrides(Override::Window))
    });
    if let Some(lease) = asked {
        return Some(lease.spec.requested_at.0);
    }
    if gates::need_refusal(Some(policy), node).is_some() {
        return None;
    }
    let since = match &node.need {
        crate::Need::Required { since, .. } => *since,
        _ => return None,
    };
    let Some(lease) = lease else {
        return Some(since);
    };
    if lease.spec.node_uid != node.uid {
        return None;
    }
    match lease.phase() {
        Phase::Pending | Phase::Granted => Some(lease.spec.requested_at.0),
        Phase::Completed | Phase::Aborted | Phase::Failed => resting::new_need(node, lease),
        Phase::Draining | Phase::Drained | Phase::Rebooting | Phase::Rebooted => None,
    }
}

/// Everything that a node waits for, with what is looked at only once it has a lease.
fn reasons(snapshot: &Snapshot, plan: &Plan, node: &NodeView) -> Vec<Reason> {
    let verdict = plan.verdicts.get(&node.name);
    let mut reasons = verdict.map_or_else(Vec::new, |verdict| verdict.waiting_for.clone());
    reasons.retain(|reason| !matches!(reason, Reason::Ended { .. }));
    if !node.ready {
        reasons.push(Reason::NodeNotReady);
    }
    if !snapshot.agents.contains(&node.name) {
        reasons.push(Reason::AgentNotReady);
    }
    reasons
}

/// The nodes that hold a slot now.
fn running(index: &Index<'_>, plan: &Plan) -> Vec<Running> {
    let (snapshot, now) = (index.snapshot, index.now);
    let Some(ledger) = snapshot.ledger.present() else {
        return Vec::new();
    };
    let limits = index.limits();
    slots(ledger)
        .iter()
        .map(|slot| {
            let node = snapshot.nodes.get(&slot.node);
            let stays = node.is_some_and(|node| {
                matches!(&node.cordon, CordonState::Ours(record) if record.unschedulable_before)
            });
            let counts_in: Vec<usize> = limits
                .iter()
                .enumerate()
                .filter(|(_, one)| one.counts(slot))
                .map(|(index, _)| index)
                .collect();
            let granted = snapshot
                .leases
                .get(&slot.node)
                .and_then(|lease| granted_at(lease, slot));
            let stuck = plan
                .verdicts
                .get(&slot.node)
                .is_some_and(|verdict| matches!(verdict.reason, Reason::Stuck { .. }));
            Running {
                policy: counts_in.first().copied(),
                counts_in: if stays { Vec::new() } else { counts_in },
                control_plane: slot.control_plane,
                elapsed: granted
                    .filter(|_| !stuck)
                    .map(|at| now.duration_since(at).as_secs().max(0)),
                seed: spread::seed(&slot.node),
            }
        })
        .collect()
}

fn granted_at(lease: &RebootLease, slot: &Slot) -> Option<Timestamp> {
    let grant = lease.spec.grant.as_ref()?;
    (grant.fence == slot.fence).then_some(grant.granted_at.0)
}

fn tell_nodes(
    queue: &[(String, Waiting)],
    futures: &[Future],
    snapshot: &Snapshot,
    forecast: &mut Forecast,
) {
    for (index, (name, waiting)) in queue.iter().enumerate() {
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
            forecast.nodes.insert(name.clone(), expected);
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
                .any(|one| one.counts_in.contains(&index));
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
