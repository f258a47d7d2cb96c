//! From a snapshot to what every future starts from: numbers instead of objects.

use std::collections::BTreeMap;

use slipway_api::Slot;
use slipway_api::people::Override;
use slipway_api::policy::Order;
use slipway_api::validate::Cutoff;

use super::Durations;
use super::domains::DomainRules;
use super::passed::One;
use super::run::DRAIN_SHARE;
use super::running::{Running, running};
use super::spread::{self, Spread};
use crate::action::Plan;
use crate::breaker::record;
use crate::budget::{PolicyLimits, slots};
use crate::gates;
use crate::index::Index;
use crate::limits::WINDOW_LEFT_AT_CLEAR;
use crate::resting::Candidate;
use crate::snapshot::PolicyView;

/// What of a node decides whether it may go: nodes that agree in it wait in one queue.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a fact of its own, and they come in every mixture"
)]
pub(super) struct Class {
    pub(super) control_plane: bool,
    /// It uses the budget already: it is unavailable.
    pub(super) counted: bool,
    /// A human asked for it outside every window.
    pub(super) any_time: bool,
    /// A human asked for it beyond the budget.
    pub(super) beyond: bool,
    pub(super) domain: usize,
    pub(super) groups: Vec<usize>,
}

/// A policy, compiled.
#[derive(Clone, Debug)]
pub(super) struct Rules {
    pub(super) allowed: usize,
    /// Nodes that use the budget now.
    pub(super) in_use: usize,
    pub(super) spread: Spread,
    pub(super) mixes: bool,
    pub(super) domains: Option<DomainRules>,
    pub(super) min_interval: i64,
    /// How many nodes go first, and the pause after them.
    pub(super) canary: Option<(usize, i64)>,
    /// First nodes that are back, when the last of them was, and those under way.
    pub(super) canaries: (usize, Option<i64>, usize),
    pub(super) last_grant: Option<i64>,
    pub(super) turn: u64,
    /// Reboots on record.
    pub(super) recorded: usize,
    needs: (i64, i64),
    learned: Option<(i64, i64)>,
    pub(super) classes: Vec<Class>,
}

impl Rules {
    /// Seconds that a reboot needs before the window ends: from the grant, and from the second key.
    pub(super) fn needs(&self, recorded: usize) -> (i64, i64) {
        self.learned.filter(|_| recorded > 0).unwrap_or(self.needs)
    }
}

/// A node that waits, in the order in which they go.
#[derive(Clone, Copy, Debug)]
pub(super) struct Waiting {
    pub(super) policy: usize,
    pub(super) class: usize,
    /// It goes after everybody's workers.
    pub(super) is_last: bool,
    pub(super) ready_at: i64,
    /// Since when it has waited.
    pub(super) since: i64,
    pub(super) seed: u64,
}

/// Everything that a future starts from.
#[derive(Clone, Debug)]
pub(super) struct Start {
    pub(super) now: i64,
    pub(super) horizon: i64,
    pub(super) rules: Vec<Rules>,
    pub(super) waiting: Vec<Waiting>,
    pub(super) running: Vec<Running>,
    pub(super) ceiling: Option<usize>,
    /// Nodes of the cluster that are unavailable or hold a slot.
    pub(super) total: usize,
    /// Slots in each quorum group.
    pub(super) groups: Vec<usize>,
    /// Nodes that others have passed.
    pub(super) passed: Vec<One>,
    /// Some node that waits is of the control plane.
    pub(super) has_control_plane: bool,
}

impl Start {
    /// The class of a node.
    pub(super) fn class(&self, one: &Waiting) -> Option<&Class> {
        self.rules.get(one.policy)?.classes.get(one.class)
    }
}

/// Puts everything together. `queue` are the nodes that wait, in order, each with the moment from
/// which it can go.
pub(super) fn start(
    index: &Index<'_>,
    plan: &Plan,
    durations: &BTreeMap<String, Durations>,
    (queue, horizon): (&[(Candidate, i64)], i64),
) -> Start {
    let now = index.now.as_second();
    let ledger = index.snapshot.ledger.present();
    let slots = ledger.map_or(&[][..], slots);
    let cluster = index.limits().first().map(|limits| limits.cluster.as_ref());
    let mut groups = vec![0; cluster.map_or(0, |cluster| cluster.groups.len())];
    for slot in slots {
        for (group, _) in cluster
            .iter()
            .flat_map(|cluster| cluster.groups_of(&slot.node))
        {
            if let Some(held) = groups.get_mut(group) {
                *held += 1;
            }
        }
    }
    let turns = turns(index);
    let mut compiled: Vec<Compiled<'_>> = index
        .limits()
        .iter()
        .zip(&index.snapshot.policies)
        .enumerate()
        .map(|(place, (limits, policy))| {
            let turn = turns.get(place).copied().unwrap_or_default();
            compile(index, (place, policy, limits), durations, turn)
        })
        .collect();
    let waiting: Vec<Waiting> = queue
        .iter()
        .filter_map(|(candidate, from)| waits(index, &mut compiled, candidate, *from))
        .collect();
    Start {
        passed: passed(index, queue, &waiting),
        has_control_plane: queue.iter().any(|(one, _)| one.request.control_plane),
        now,
        horizon: now.saturating_add(horizon),
        waiting,
        running: running(index, plan, &compiled),
        rules: compiled.into_iter().map(|one| one.rules).collect(),
        ceiling: ledger.and_then(|ledger| cluster?.ceiling(ledger)),
        total: cluster.map_or(0, |cluster| cluster.in_use(slots)),
        groups,
    }
}

/// A policy's rules with what its nodes are looked up by.
pub(super) struct Compiled<'a> {
    rules: Rules,
    domains: BTreeMap<String, usize>,
    classes: BTreeMap<Class, usize>,
    pub(super) limits: &'a PolicyLimits<'a>,
}

impl Compiled<'_> {
    /// The domain of a node, with its slot if it holds one.
    pub(super) fn domain(&self, node: &str, slot: Option<&Slot>) -> usize {
        let domains = self.limits.domains.as_ref();
        let name = domains.and_then(|domains| domains.domain_of_used(node, slot));
        name.and_then(|name| self.domains.get(name).copied())
            .unwrap_or_default()
    }
}

/// Policies that were granted a reboot long ago come first: by position, from 1.
fn turns(index: &Index<'_>) -> Vec<u64> {
    let policies = &index.snapshot.policies;
    let ledger = index.snapshot.ledger.present();
    let status = ledger.and_then(|ledger| ledger.status.as_ref());
    let mut order: Vec<_> = (0..policies.len())
        .zip(policies)
        .map(|(place, policy)| {
            let record = status.and_then(|status| record(status, &policy.uid));
            let last = record.and_then(|record| record.last_grant_at.as_ref());
            (last.map(|last| last.0), &policy.name, place)
        })
        .collect();
    order.sort();
    let mut turns = vec![0; policies.len()];
    for (turn, (_, _, place)) in (1_u64..).zip(order) {
        if let Some(own) = turns.get_mut(place) {
            *own = turn;
        }
    }
    turns
}

fn compile<'a>(
    index: &'a Index<'_>,
    (place, policy, limits): (usize, &PolicyView, &'a PolicyLimits<'_>),
    durations: &BTreeMap<String, Durations>,
    turn: u64,
) -> Compiled<'a> {
    let ledger = index.snapshot.ledger.present();
    let status = ledger.and_then(|ledger| ledger.status.as_ref());
    let record = status.and_then(|status| record(status, &policy.uid));
    let known = durations.get(&policy.uid).copied();
    let known = known.unwrap_or_else(|| Durations::of(index.snapshot, policy));
    let begun = record.map(|record| &record.domains);
    let (domains, names) = DomainRules::of(index, (place, limits), begun);
    let (needs, learned) = needs(index, policy, known);
    let running = index.counted(place).iter();
    let running = running.filter(|slot| slot.canary && slot.policy_uid == policy.uid);
    let begins = status.is_none_or(|status| limits.pace.begins(status, &policy.uid));
    let record_of_rollout = record.filter(|_| !begins);
    let canary_done = record_of_rollout.map_or(0, |record| record.canaries_done);
    let canary_at = record_of_rollout.and_then(|record| record.canary_done_at.as_ref());
    Compiled {
        rules: Rules {
            allowed: limits.allowed,
            in_use: index.in_use(place),
            spread: Spread::new(known),
            mixes: limits.mixes,
            domains,
            min_interval: limits.pace.min_interval.as_secs(),
            canary: { limits.pace.canary }.map(|(nodes, soak)| (nodes, soak.as_secs())),
            canaries: (
                usize::try_from(canary_done).unwrap_or_default(),
                canary_at.map(|at| at.0.as_second()),
                running.count(),
            ),
            last_grant: { record }
                .and_then(|record| record.last_grant_at.as_ref())
                .map(|last| last.0.as_second()),
            turn,
            recorded: record.map_or(0, |record| record.reboots.len()),
            needs,
            learned,
            classes: Vec::new(),
        },
        domains: names,
        classes: BTreeMap::new(),
        limits,
    }
}

/// What a reboot needs before its window ends, now and once one is on record.
fn needs(
    index: &Index<'_>,
    policy: &PolicyView,
    known: Durations,
) -> ((i64, i64), Option<(i64, i64)>) {
    let Ok(parsed) = &policy.parsed else {
        return ((0, 0), None);
    };
    let least = WINDOW_LEFT_AT_CLEAR.as_secs();
    let now = gates::needs(index.snapshot, policy, parsed);
    let now = (now.start.as_secs(), now.finish.as_secs());
    let all = known.p90.as_secs();
    let learned = match parsed.cutoff {
        Cutoff::Fixed(length) => length.as_secs().max(least),
        Cutoff::Auto => all.max(least),
    };
    let away = (all / DRAIN_SHARE).min(learned).max(least);
    let ledger = index.snapshot.ledger.present();
    let status = ledger.and_then(|ledger| ledger.status.as_ref());
    let record = status.and_then(|status| record(status, &policy.uid));
    let is_known = record.is_some_and(|record| !record.reboots.is_empty());
    (now, (!is_known).then_some((learned, away)))
}

fn waits(
    index: &Index<'_>,
    compiled: &mut [Compiled<'_>],
    candidate: &Candidate,
    from: i64,
) -> Option<Waiting> {
    let request = &candidate.request;
    let row = index.row(&request.node)?;
    let policy = row.policy?;
    let one = compiled.get_mut(policy)?;
    let groups = one.limits.cluster.of.get(request.node.as_str());
    let class = Class {
        control_plane: request.control_plane,
        counted: row.unavailable,
        any_time: request.overrides(Override::Window),
        beyond: request.overrides(Override::Budget),
        domain: one.domain(&request.node, None),
        groups: groups.cloned().unwrap_or_default(),
    };
    let known = one.classes.get(&class).copied();
    let class = known.unwrap_or_else(|| {
        let place = one.rules.classes.len();
        one.rules.classes.push(class.clone());
        one.classes.insert(class, place);
        place
    });
    let order = &index.snapshot.policies.get(policy)?.spec.order;
    let last = Order::ControlPlaneLast;
    Some(Waiting {
        policy,
        class,
        is_last: request.control_plane && order.contains(&last),
        ready_at: from,
        since: candidate.requested_at.as_second(),
        seed: spread::seed(&request.node),
    })
}

/// The nodes that others have passed, as the ledger remembers them.
fn passed(index: &Index<'_>, queue: &[(Candidate, i64)], waiting: &[Waiting]) -> Vec<One> {
    let ledger = index.snapshot.ledger.present();
    let status = ledger.and_then(|ledger| ledger.status.as_ref());
    let known = status.map_or(&[][..], |status| &status.passed);
    if known.is_empty() {
        return Vec::new();
    }
    let ranks: BTreeMap<&str, usize> = { queue.iter() }
        .map(|(candidate, _)| candidate.request.node.as_str())
        .zip(0..)
        .collect();
    known
        .iter()
        .filter_map(|one| {
            let rank = *ranks.get(one.node.as_str())?;
            Some(One {
                rank,
                policy: waiting.get(rank)?.policy,
                control_plane: one.control_plane,
                times: one.times,
                held_since: one.held_since.as_ref().map(|since| since.0.as_second()),
            })
        })
        .collect()
}
