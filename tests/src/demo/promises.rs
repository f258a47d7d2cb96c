//! What Slipway promises, judged on a [`Record`]. Pure.

use std::collections::BTreeSet;

use slipway_api::Phase;

use super::record::{NodeHistory, NodeView, Record};

/// What the rollout must keep to.
#[derive(Debug, Clone)]
pub struct Terms {
    /// Every node that is to be rebooted.
    pub nodes: Vec<String>,
    /// Nodes that may be unavailable at once, whatever the reason.
    pub budget: usize,
    /// Replicas that the disruption budget wants ready.
    pub replicas: usize,
    /// Nodes that a human had cordoned before.
    pub cordoned: BTreeSet<String>,
}

/// One promise, kept or broken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// The promise.
    pub promise: &'static str,
    /// Whether it was kept.
    pub kept: bool,
    /// What was seen.
    pub seen: String,
}

impl Verdict {
    fn of(promise: &'static str, broken: &[String], seen: String) -> Self {
        Self {
            promise,
            kept: broken.is_empty(),
            seen: if broken.is_empty() {
                seen
            } else {
                broken.join(", ")
            },
        }
    }
}

/// Whether nothing more is to come: every node has rebooted, every lease is Completed, and every
/// slot is given back.
pub fn is_finished(record: &Record, terms: &Terms) -> bool {
    unfinished(record, terms).is_empty()
}

/// What is still to come, one entry for each node.
pub fn unfinished(record: &Record, terms: &Terms) -> Vec<String> {
    let mut left = Vec::new();
    for node in &terms.nodes {
        let phase = record.phase(node);
        let rebooted = boots_of(record, node) > 0;
        if phase != Some(Phase::Completed) || !rebooted || record.slots.contains(node) {
            let phase = phase.map_or("no lease", Phase::as_str);
            let slot = if record.slots.contains(node) {
                ", holds a slot"
            } else {
                ""
            };
            left.push(format!("{node} ({phase}{slot}{})", why(record, node)));
        }
    }
    left
}

/// Judges every promise.
pub fn judge(record: &Record, terms: &Terms) -> Vec<Verdict> {
    vec![
        rebooted_once(record, terms),
        within_budget(record, terms),
        replicas_kept(record, terms),
        drained_first(record),
        no_cordon_left(record, terms),
        cordons_respected(record, terms),
        completed(record, terms),
        slots_returned(record),
    ]
}

fn rebooted_once(record: &Record, terms: &Terms) -> Verdict {
    let broken: Vec<String> = terms
        .nodes
        .iter()
        .map(|node| (node, boots_of(record, node)))
        .filter(|(_, reboots)| *reboots != 1)
        .map(|(node, reboots)| format!("{node} rebooted {reboots} times"))
        .collect();
    Verdict::of(
        "every node rebooted exactly once",
        &broken,
        format!("{} nodes with a new boot ID", terms.nodes.len()),
    )
}

fn within_budget(record: &Record, terms: &Terms) -> Verdict {
    let promise = "never more nodes unavailable than the budget allows";
    match &record.most_unavailable {
        Some(most) => Verdict {
            promise,
            kept: most.count <= terms.budget,
            seen: format!(
                "at most {} of {} allowed: {}",
                most.count,
                terms.budget,
                most.names.join(", ")
            ),
        },
        None => nothing_seen(promise),
    }
}

fn replicas_kept(record: &Record, terms: &Terms) -> Verdict {
    let promise = "never fewer replicas ready than the disruption budget wants";
    match &record.fewest_ready {
        Some(fewest) => Verdict {
            promise,
            kept: fewest.count >= terms.replicas,
            seen: format!("at least {} of {} wanted", fewest.count, terms.replicas),
        },
        None => nothing_seen(promise),
    }
}

fn drained_first(record: &Record) -> Verdict {
    let broken: Vec<String> = record.went_down.iter().cloned().collect();
    Verdict::of(
        "no pod of the workload went down with its node",
        &broken,
        "every node was empty when it went down".into(),
    )
}

fn no_cordon_left(record: &Record, terms: &Terms) -> Verdict {
    let mut broken = Vec::new();
    for view in views(record) {
        if view.cordoned_by_us {
            broken.push(format!("{} still carries slipway.dev/cordoned", view.name));
        }
        if view.unschedulable && !terms.cordoned.contains(&view.name) {
            broken.push(format!("{} is still cordoned", view.name));
        }
    }
    Verdict::of("no cordon of ours is left behind", &broken, "none".into())
}

fn cordons_respected(record: &Record, terms: &Terms) -> Verdict {
    let stays = |node: &String| views(record).any(|view| view.name == *node && view.unschedulable);
    let broken: Vec<String> = terms
        .cordoned
        .iter()
        .filter(|node| !stays(node))
        .map(|node| format!("{node} was uncordoned"))
        .collect();
    let kept: Vec<&str> = terms.cordoned.iter().map(String::as_str).collect();
    Verdict::of(
        "what a human cordoned stays cordoned",
        &broken,
        kept.join(", "),
    )
}

fn completed(record: &Record, terms: &Terms) -> Verdict {
    let broken: Vec<String> = terms
        .nodes
        .iter()
        .filter(|node| record.phase(node) != Some(Phase::Completed))
        .map(|node| {
            let phase = record.phase(node).map_or("missing", Phase::as_str);
            format!("{node} is {phase}{}", why(record, node))
        })
        .collect();
    Verdict::of("every lease is Completed", &broken, "all of them".into())
}

fn slots_returned(record: &Record) -> Verdict {
    let broken: Vec<String> = record.slots.iter().cloned().collect();
    Verdict::of(
        "every slot of the ledger is given back",
        &broken,
        "none is held".into(),
    )
}

fn nothing_seen(promise: &'static str) -> Verdict {
    Verdict {
        promise,
        kept: false,
        seen: "nothing was seen".into(),
    }
}

fn views(record: &Record) -> impl Iterator<Item = &NodeView> {
    record
        .nodes
        .values()
        .filter_map(|history| history.last.as_ref())
}

fn boots_of(record: &Record, node: &str) -> usize {
    let boots = record.nodes.get(node).map(NodeHistory::reboots);
    boots.unwrap_or(0)
}

/// The reason and message of a lease, for people.
fn why(record: &Record, node: &str) -> String {
    let lease = record
        .leases
        .get(node)
        .and_then(|history| history.last.as_ref());
    let Some(status) = lease.and_then(|lease| lease.status.as_ref()) else {
        return String::new();
    };
    let mut text = String::new();
    for part in [&status.reason, &status.message] {
        if !part.is_empty() {
            text.push_str(": ");
            text.push_str(part);
        }
    }
    for wait in &status.waiting_for {
        text.push_str("; waits for ");
        text.push_str(&wait.message);
    }
    text
}
