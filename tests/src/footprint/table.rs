//! What was measured beside what it may be.

use std::time::Duration;

use super::process::Used;
use super::requests::Requests;

/// Memory, resident and at its peak: what the chart asks the scheduler for (`agent.resources`).
const MEMORY_MAX_KIB: u64 = 24 * 1024;
/// Threads half of the time: the runtime has one.
const THREADS_MAX: u64 = 1;
/// Threads at once: helpers that read files of the host, which may hang, and end after ten seconds.
const THREADS_MOST_MAX: u64 = 5;
/// Connections half of the time: the watch, and one for what else was asked just now.
const CONNECTIONS_MAX: u64 = 2;
/// Connections at once: those of the agent and of its node, and what is asked beside each other.
pub const CONNECTIONS_MOST_MAX: u64 = 6;
/// Watches begun in a minute: one watch, which the server ends every minute.
const WATCHES_MAX: u64 = 2;
/// Other requests in a minute at rest: two reads every ten minutes, two more for each event of the lease.
const REQUESTS_MAX: u64 = 4;
/// Wake-ups in a minute at rest. The kernel tells of every file that comes or goes in a directory on the
/// way to a sentinel, whatever its name, so a lively neighbour counts here.
const WAKES_MAX: u64 = 1200;
/// Processor time in a minute at rest, in milliseconds: a thousandth of a core.
const CPU_MAX_MILLIS: u64 = 60;
/// Processor time of a whole reboot, in milliseconds.
const CPU_OF_REBOOT_MAX_MILLIS: u64 = 2_000;
/// Requests of a whole reboot.
const REQUESTS_OF_REBOOT_MAX: u64 = 200;
/// The program (faults.md 5.5).
const PROGRAM_MAX_KIB: u64 = 15 * 1024;

/// One situation, measured.
#[derive(Clone, Debug)]
pub struct Situation {
    /// `idle`, `waiting` or `reboot`.
    pub name: &'static str,
    /// How long it lasted.
    pub lasted: Duration,
    /// What the kernel says.
    pub used: Used,
    /// What the API server says.
    pub requests: Requests,
}

/// One number beside its ceiling.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// In which situation.
    pub situation: &'static str,
    /// What it is, with its unit.
    pub what: String,
    /// The number.
    pub value: u64,
    /// The most that it may be; none where it only explains another row.
    pub most: Option<u64>,
}

impl Row {
    /// True where it is more than it may be.
    pub fn is_over(&self) -> bool {
        self.most.is_some_and(|most| self.value > most)
    }
}

impl std::fmt::Display for Row {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (situation, what, value) = (self.situation, &self.what, self.value);
        write!(f, "{situation:<9}{what:<44}{value:>8}")?;
        match self.most {
            None => Ok(()),
            Some(most) if self.is_over() => write!(f, "  at most {most}: PASSED"),
            Some(most) => write!(f, "  at most {most}"),
        }
    }
}

/// The table of a program of so many bytes.
pub fn rows(program_bytes: u64, all: &[Situation]) -> Vec<Row> {
    let mut rows = vec![Row {
        situation: "program",
        what: "size, KiB".to_owned(),
        value: program_bytes / 1024,
        most: Some(PROGRAM_MAX_KIB),
    }];
    for situation in all {
        rows.extend(of(situation));
    }
    rows
}

fn of(situation: &Situation) -> Vec<Row> {
    let (used, requests) = (&situation.used, &situation.requests);
    let at_rest = situation.name != "reboot";
    let mut all = vec![
        ("lasted, s", situation.lasted.as_secs(), None),
        (
            "memory, resident, KiB",
            used.resident_kib,
            Some(MEMORY_MAX_KIB),
        ),
        ("memory, peak, KiB", used.peak_kib, Some(MEMORY_MAX_KIB)),
        (
            "threads, mostly",
            used.threads,
            at_rest.then_some(THREADS_MAX),
        ),
        (
            "threads, most at once",
            used.threads_most,
            Some(THREADS_MOST_MAX),
        ),
        (
            "connections, mostly",
            used.connections,
            at_rest.then_some(CONNECTIONS_MAX),
        ),
        (
            "connections, most at once",
            used.connections_most,
            Some(CONNECTIONS_MOST_MAX),
        ),
    ];
    if at_rest {
        all.extend(rest(situation));
    } else {
        all.extend([
            ("wake-ups", used.wakes, None),
            (
                "processor, ms",
                used.cpu_millis,
                Some(CPU_OF_REBOOT_MAX_MILLIS),
            ),
            ("requests", requests.total(), Some(REQUESTS_OF_REBOOT_MAX)),
        ]);
    }
    let row = |what: String, value, most| Row {
        situation: situation.name,
        what,
        value,
        most,
    };
    let mut rows: Vec<Row> = all
        .into_iter()
        .map(|(what, value, most)| row(what.to_owned(), value, most))
        .collect();
    for (verb, count) in requests.by_verb() {
        rows.push(row(format!("  of the requests: {verb}"), count, None));
    }
    rows
}

/// What is told by the minute.
fn rest(situation: &Situation) -> [(&'static str, u64, Option<u64>); 5] {
    let (used, requests) = (&situation.used, &situation.requests);
    let minute = |total: u64| per_minute(total, situation.lasted);
    let watches = minute(requests.watches());
    let others = minute(requests.but_watches());
    [
        ("wake-ups a minute", minute(used.wakes), Some(WAKES_MAX)),
        (
            "processor, ms a minute",
            minute(used.cpu_millis),
            Some(CPU_MAX_MILLIS),
        ),
        ("watches begun a minute", watches, Some(WATCHES_MAX)),
        ("other requests a minute", others, Some(REQUESTS_MAX)),
        ("writes", requests.writes(), Some(0)),
    ]
}

/// Rounded up: nothing is lost between two windows.
fn per_minute(total: u64, lasted: Duration) -> u64 {
    let millis = u64::try_from(lasted.as_millis()).unwrap_or(u64::MAX).max(1);
    total.saturating_mul(60_000).div_ceil(millis)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn situation(name: &'static str, used: Used) -> Situation {
        Situation {
            name,
            lasted: Duration::from_mins(2),
            used,
            requests: Requests::default(),
        }
    }

    #[test]
    fn a_number_over_its_ceiling_is_told_and_at_its_ceiling_is_not() {
        let used = |threads| Used {
            threads,
            wakes: 2 * WAKES_MAX,
            ..Used::default()
        };
        let over = |situation| -> Vec<String> {
            let rows = rows(1024, &[situation]).into_iter();
            rows.filter(Row::is_over).map(|row| row.what).collect()
        };
        assert!(over(situation("idle", used(1))).is_empty());
        assert_eq!(over(situation("idle", used(2))), ["threads, mostly"]);
        let lively = Used {
            wakes: 2 * WAKES_MAX + 2,
            ..used(1)
        };
        assert_eq!(over(situation("waiting", lively)), ["wake-ups a minute"]);
        // A reboot has work to do.
        assert!(over(situation("reboot", used(2))).is_empty());
        assert!(rows(u64::MAX, &[])[0].to_string().ends_with("PASSED"));
    }
}
