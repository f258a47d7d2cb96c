//! What happened to each node, in a table for people.

use jiff::{SignedDuration, Timestamp};
use slipway_api::{Phase, RebootLease};

use super::record::{LeaseHistory, Record};
use super::screen::columns;

/// How many waits of a node are worth a person's time.
const WAITS_MAX: usize = 3;

const PHASES: [Phase; 6] = [
    Phase::Draining,
    Phase::Drained,
    Phase::Rebooting,
    Phase::Rebooted,
    Phase::Completed,
    Phase::Failed,
];

/// One line for each node, in the order of their grants; times are seconds since the start.
pub fn timeline(record: &Record, start: Timestamp) -> String {
    let header = [
        "NODE",
        "GRANTED",
        "DRAINING",
        "DRAINED",
        "REBOOTING",
        "REBOOTED",
        "COMPLETED",
        "TOOK",
        "WAITED FOR",
    ];
    let mut histories: Vec<(&String, &LeaseHistory, &RebootLease)> = record
        .leases
        .iter()
        .filter_map(|(name, history)| Some((name, history, history.last.as_ref()?)))
        .collect();
    histories.sort_by_key(|(_, _, lease)| entered(lease, Phase::Draining));
    let mut rows = vec![header.map(String::from).to_vec()];
    for (name, history, lease) in histories {
        rows.push(row(name, history, lease, start));
    }
    columns(&rows.iter().map(Vec::as_slice).collect::<Vec<_>>())
}

fn row(name: &str, history: &LeaseHistory, lease: &RebootLease, start: Timestamp) -> Vec<String> {
    let granted = lease.spec.grant.as_ref().map(|grant| grant.granted_at.0);
    let mut row = vec![name.to_owned(), since(start, granted)];
    for phase in PHASES {
        let at = entered(lease, phase);
        if phase != Phase::Failed {
            row.push(since(start, at));
        }
    }
    let first = entered(lease, Phase::Draining).or(granted);
    let last = PHASES.iter().rev().find_map(|phase| entered(lease, *phase));
    let took = first
        .zip(last)
        .map(|(first, last)| last.duration_since(first));
    row.push(took.map(seconds).unwrap_or_default());
    row.push(waits(history));
    row
}

fn entered(lease: &RebootLease, phase: Phase) -> Option<Timestamp> {
    let mut transitions = lease.status.iter().flat_map(|status| &status.transitions);
    transitions
        .rfind(|transition| transition.phase == phase)
        .map(|transition| transition.at.0)
}

fn waits(history: &LeaseHistory) -> String {
    let mut waits: Vec<_> = history
        .waited
        .iter()
        .filter(|(_, time)| **time >= SignedDuration::from_millis(100))
        .collect();
    waits.sort_by_key(|(_, time)| std::cmp::Reverse(**time));
    let named: Vec<String> = waits
        .into_iter()
        .take(WAITS_MAX)
        .map(|(wait, time)| format!("{wait} {}", seconds(*time)))
        .collect();
    named.join(", ")
}

fn since(start: Timestamp, at: Option<Timestamp>) -> String {
    at.map_or_else(
        || "-".into(),
        |at| format!("{:.1}", at.duration_since(start).as_secs_f64()),
    )
}

fn seconds(time: SignedDuration) -> String {
    format!("{:.1}s", time.as_secs_f64())
}
