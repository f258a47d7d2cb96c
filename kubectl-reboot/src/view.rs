//! A plan as people and machines read it: one record per node and policy.

mod compare;
mod words;

use std::collections::BTreeMap;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use slipway_api::lease::WaitingFor;
use slipway_api::policy::Mode;
use slipway_api::{Phase, RebootLease, validate_policy};
use slipway_planner::forecast::{Expected, forecast};
use slipway_planner::snapshot::Need;
use slipway_planner::window::Opening;
use slipway_planner::{Plan, PolicyView, Reason, Snapshot, Verdict, gates, plan};

use words::{Words, domain, words};

pub(crate) use compare::{Before, Change, PolicyBefore, compare};

/// Most edges of windows that are drawn.
const WINDOWS_MAX: usize = 400;

/// Everything that a plan says.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PlanView {
    /// The moment that it speaks of.
    pub(crate) at: Timestamp,
    pub(crate) paused: bool,
    pub(crate) policies: Vec<PolicyRow>,
    /// In the order in which they go; those without a date last.
    pub(crate) nodes: Vec<NodeRow>,
    /// What a file would change, by numbers of nodes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) change: Option<Change>,
}

/// One policy.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PolicyRow {
    pub(crate) name: String,
    pub(crate) mode: Mode,
    pub(crate) matched: i32,
    pub(crate) waiting: usize,
    /// Nodes that wait for something that neither time nor other nodes bring about.
    pub(crate) blocked: usize,
    /// Nodes whose turn never comes within a year.
    pub(crate) never: usize,
    pub(crate) allowed: usize,
    pub(crate) in_use: usize,
    pub(crate) window: Option<WindowRow>,
    pub(crate) all_done_by: Option<Timestamp>,
    /// Why the policy cannot be obeyed.
    pub(crate) problem: Option<String>,
    /// What stood there before the change, where a file makes one; absent for a new policy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) before: Option<PolicyBefore>,
    /// Windows ahead, for the timeline.
    #[serde(skip)]
    pub(crate) windows: Vec<(Timestamp, Timestamp)>,
}

/// A policy's schedule now.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct WindowRow {
    pub(crate) open: bool,
    /// When that changes.
    pub(crate) until: Option<Timestamp>,
}

/// One node.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct NodeRow {
    pub(crate) name: String,
    pub(crate) policy: Option<String>,
    /// Its failure domain: by the policy's `budget.perDomain.topologyKey`, else its zone.
    pub(crate) domain: Option<String>,
    pub(crate) phase: Option<Phase>,
    pub(crate) reason: String,
    pub(crate) message: String,
    /// What clears the reason.
    pub(crate) clears: &'static str,
    pub(crate) waiting_for: Vec<WaitingFor>,
    pub(crate) expected: Option<ExpectedRow>,
    /// True where the date holds only once the policy's mode is Automatic.
    pub(crate) if_automatic: bool,
    /// What stood there before the change, where it differs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) before: Option<Before>,
}

/// A range of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ExpectedRow {
    pub(crate) from: Timestamp,
    pub(crate) to: Timestamp,
    pub(crate) done_by: Timestamp,
}

impl From<Expected> for ExpectedRow {
    fn from(expected: Expected) -> Self {
        Self {
            from: expected.from,
            to: expected.to,
            done_by: expected.done_by,
        }
    }
}

impl ExpectedRow {
    pub(crate) fn as_expected(self) -> Expected {
        Expected {
            from: self.from,
            to: self.to,
            done_by: self.done_by,
        }
    }
}

/// Plans and looks ahead.
pub(crate) fn view(snapshot: &Snapshot, now: Timestamp) -> PlanView {
    let present = plan(snapshot, now);
    // A policy that only observes is asked what it would do: that is what it is written for.
    let would = automatic(snapshot);
    let would_plan = plan(&would, now);
    let ahead = forecast(&would, &would_plan, &BTreeMap::new(), now);
    let mut nodes: Vec<NodeRow> = present
        .verdicts
        .iter()
        .filter(|(name, _)| is_told(snapshot, &present, name))
        .map(|(name, verdict)| {
            let expected = ahead.nodes.get(name).copied().map(ExpectedRow::from);
            node_row(snapshot, name, verdict, expected)
        })
        .collect();
    nodes.sort_by(|a, b| {
        let key = |row: &NodeRow| {
            let from = row
                .expected
                .map_or(Timestamp::MAX, |expected| expected.from);
            let under_way = row.phase.is_some_and(Phase::is_accepted);
            (!under_way, from, row.expected.is_none())
        };
        key(a).cmp(&key(b)).then_with(|| a.name.cmp(&b.name))
    });
    let end = beyond(&nodes, now);
    let policies = snapshot
        .policies
        .iter()
        .filter_map(|policy| {
            let verdict = present.policies.get(&policy.name)?;
            let told = ahead
                .policies
                .get(&policy.name)
                .copied()
                .unwrap_or_default();
            let of_policy = |row: &&NodeRow| row.policy.as_ref() == Some(&policy.name);
            Some(PolicyRow {
                name: policy.name.clone(),
                mode: policy.spec.mode,
                matched: verdict.nodes.matched,
                waiting: nodes
                    .iter()
                    .filter(of_policy)
                    .filter(|row| !row.phase.is_some_and(Phase::is_accepted))
                    .count(),
                blocked: told.blocked,
                never: told.never,
                allowed: verdict.allowed,
                in_use: verdict.in_use,
                window: verdict.opening.map(window),
                all_done_by: told.all_done_by,
                problem: verdict.invalid.as_ref().map(ToString::to_string),
                before: None,
                windows: windows(policy, now, end),
            })
        })
        .collect();
    PlanView {
        at: now,
        paused: snapshot
            .ledger
            .present()
            .is_some_and(|ledger| ledger.spec.paused),
        policies,
        nodes,
        change: None,
    }
}

/// The timeline goes on a little behind the last one.
fn beyond(nodes: &[NodeRow], now: Timestamp) -> Timestamp {
    let end = nodes
        .iter()
        .filter_map(|row| row.expected.map(|expected| expected.done_by))
        .max()
        .unwrap_or(now);
    let length = end.duration_since(now).max(SignedDuration::from_mins(30));
    end.saturating_add(length / 10).unwrap_or(end)
}

/// A node is told of when it, or a person, asks for a reboot of it, or when it is being rebooted.
fn is_told(snapshot: &Snapshot, plan: &Plan, name: &str) -> bool {
    let phase = plan.verdicts.get(name).and_then(|verdict| verdict.phase);
    let asks = snapshot
        .nodes
        .get(name)
        .is_some_and(|node| matches!(node.need, Need::Required { .. } | Need::Unknown { .. }));
    let requested = snapshot
        .leases
        .get(name)
        .is_some_and(|lease| lease.open_request().is_some());
    asks || requested || phase.is_some_and(|phase| phase.is_accepted() || phase == Phase::Granted)
}

fn node_row(
    snapshot: &Snapshot,
    name: &str,
    verdict: &Verdict,
    expected: Option<ExpectedRow>,
) -> NodeRow {
    let report = slipway_planner::report::lease(verdict);
    // While an agent is at work its own words say more than the verdict.
    let agents = snapshot
        .leases
        .get(name)
        .filter(|lease| lease.phase().is_accepted())
        .and_then(|lease| lease.status.as_ref())
        .filter(|status| !verdict.report && !status.reason.is_empty());
    let words = match agents {
        Some(status) => Words {
            reason: status.reason.clone(),
            message: status.message.clone(),
            clears: "",
        },
        None => words(snapshot, name, verdict),
    };
    let observes = verdict
        .waiting_for
        .iter()
        .any(|reason| matches!(reason, Reason::ObserveMode { .. }));
    NodeRow {
        name: name.to_owned(),
        policy: verdict.policy.as_ref().map(|policy| policy.name.clone()),
        domain: domain(snapshot, name, verdict),
        phase: verdict.phase,
        reason: words.reason,
        message: words.message,
        clears: words.clears,
        waiting_for: report.waiting_for,
        if_automatic: observes && expected.is_some(),
        expected,
        before: None,
    }
}

/// Stretches in which the policy's schedule is open, up to `end`.
fn windows(policy: &PolicyView, now: Timestamp, end: Timestamp) -> Vec<(Timestamp, Timestamp)> {
    let mut open = Vec::new();
    let mut time = now;
    for _ in 0..WINDOWS_MAX {
        let Some(opening) = gates::schedule(policy, time).filter(|_| time < end) else {
            break;
        };
        let edge = opening.edge().unwrap_or(end).min(end);
        if !matches!(opening, Opening::Closed { .. }) {
            open.push((time, edge));
        }
        if edge <= time {
            break;
        }
        time = edge;
    }
    open
}

fn window(opening: Opening) -> WindowRow {
    WindowRow {
        open: !matches!(opening, Opening::Closed { .. }),
        until: opening.edge(),
    }
}

fn automatic(snapshot: &Snapshot) -> Snapshot {
    let mut would = snapshot.clone();
    for policy in &mut would.policies {
        if policy.spec.mode == Mode::Observe {
            policy.spec.mode = Mode::Automatic;
            policy.parsed = validate_policy(&policy.spec);
        }
    }
    would
}

/// The time zone of the schedules, where they agree; else UTC.
pub(crate) fn zone(snapshot: &Snapshot) -> TimeZone {
    let mut names = snapshot
        .policies
        .iter()
        .map(|policy| &policy.spec.schedule)
        .filter(|schedule| !schedule.windows.is_empty() || !schedule.freezes.is_empty())
        .map(|schedule| schedule.time_zone.as_str());
    let first = names.next();
    first
        .filter(|first| names.all(|other| other == *first))
        .and_then(|name| TimeZone::get(name).ok())
        .unwrap_or(TimeZone::UTC)
}

/// The snapshot as if every node asked for a reboot now.
pub(crate) fn all_needed(snapshot: &Snapshot, now: Timestamp) -> Snapshot {
    let mut needed = snapshot.clone();
    for node in needed.nodes.values_mut() {
        if !node.need.is_required() {
            node.need = Need::Required {
                reason: "SentinelFile".to_owned(),
                message: "assumed by --all".to_owned(),
                since: now,
            };
        }
    }
    needed
}

/// When a node was last rebooted by us.
pub(crate) fn last_reboot(lease: &RebootLease) -> Option<Timestamp> {
    let status = lease.status.as_ref()?;
    status.last_reboot_at.as_ref().map(|time| time.0)
}

/// One node, whether it asks for a reboot or not.
pub(crate) fn row(
    snapshot: &Snapshot,
    node: &slipway_planner::NodeView,
    now: Timestamp,
) -> NodeRow {
    let told = view(snapshot, now)
        .nodes
        .into_iter()
        .find(|row| row.name == node.name);
    told.unwrap_or_else(|| {
        let verdict = plan(snapshot, now).verdicts.remove(&node.name);
        let verdict = verdict.unwrap_or_else(|| Verdict {
            policy: None,
            phase: None,
            reason: Reason::NotRequired,
            waiting_for: Vec::new(),
            report: true,
        });
        node_row(snapshot, &node.name, &verdict, None)
    })
}
