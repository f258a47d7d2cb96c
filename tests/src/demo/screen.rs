//! What the person at the terminal sees while it runs: a table that is drawn anew in place, or,
//! where the output goes to a file, one line for each change.

use std::collections::BTreeMap;
use std::io::{IsTerminal, Write};

use jiff::{SignedDuration, Timestamp};
use slipway_api::RebootLease;

use super::record::Record;

const HEADER: [&str; 7] = [
    "NAME",
    "POLICY",
    "PHASE",
    "REASON",
    "PODS",
    "LAST-REBOOT",
    "AGE",
];
/// A wider cell moves the rest of its line instead of all others.
const WIDTH_MAX: usize = 28;

/// The terminal, or whatever stands in for it.
pub struct Screen {
    started: Timestamp,
    in_place: bool,
    drawn: usize,
    shown: BTreeMap<String, [String; 3]>,
}

impl Screen {
    /// Standard output.
    pub fn new(started: Timestamp) -> Self {
        Self {
            started,
            in_place: std::io::stdout().is_terminal(),
            drawn: 0,
            shown: BTreeMap::new(),
        }
    }

    /// Says something, above the table.
    pub fn say(&mut self, text: &str) {
        self.erase();
        let seconds = self.elapsed(Timestamp::now());
        write(&format!("[{seconds:5.1}s] {text}\n"));
    }

    /// Says something without the time, below the table, which stays as it is: results.
    pub fn print(&mut self, text: &str) {
        self.drawn = 0;
        write(text);
    }

    /// Shows where every lease stands.
    pub fn show(&mut self, record: &Record) {
        let now = Timestamp::now();
        let leases = record
            .leases
            .iter()
            .filter_map(|(name, history)| Some((name, history.last.as_ref()?)));
        if self.in_place {
            let rows: Vec<[String; 7]> =
                leases.map(|(name, lease)| row(name, lease, now)).collect();
            let text = table(&rows);
            self.erase();
            write(&text);
            self.drawn = text.lines().count();
            return;
        }
        for (name, lease) in leases {
            let [_, policy, phase, reason, pods, ..] = row(name, lease, now);
            let state = [phase, reason, pods];
            if self.shown.get(name) != Some(&state) {
                let [phase, reason, pods] = &state;
                let seconds = self.elapsed(now);
                let line = format!(
                    "[{seconds:5.1}s] {name:<4} {policy:<6} {phase:<10} {reason:<12} {pods:<4} {}",
                    message(lease)
                );
                write(&format!("{}\n", line.trim_end()));
                self.shown.insert(name.clone(), state);
            }
        }
    }

    fn elapsed(&self, now: Timestamp) -> f64 {
        now.duration_since(self.started).as_secs_f64()
    }

    fn erase(&mut self) {
        if self.drawn > 0 {
            // Up to the table's first line, and clear from there.
            write(&format!("\x1b[{}A\x1b[J", self.drawn));
            self.drawn = 0;
        }
    }
}

/// The sentence that a lease says about itself.
fn message(lease: &RebootLease) -> &str {
    let status = lease.status.as_ref();
    status
        .map(|status| status.message.as_str())
        .unwrap_or_default()
}

/// The columns of `kubectl get rebootleases`.
fn row(name: &str, lease: &RebootLease, now: Timestamp) -> [String; 7] {
    let status = lease.status.as_ref();
    let policy = lease.spec.policy.as_ref();
    let drain = status.and_then(|status| status.drain.as_ref());
    let rebooted = status.and_then(|status| status.last_reboot_at.as_ref());
    let created = lease.metadata.creation_timestamp.as_ref();
    let ago = |at: Option<Timestamp>| at.map(|at| age(now.duration_since(at))).unwrap_or_default();
    [
        name.to_owned(),
        policy.map(|policy| policy.name.clone()).unwrap_or_default(),
        lease.phase().as_str().to_owned(),
        status
            .map(|status| status.reason.clone())
            .unwrap_or_default(),
        drain.map(|drain| drain.pods.clone()).unwrap_or_default(),
        ago(rebooted.map(|time| time.0)),
        ago(created.map(|time| time.0)),
    ]
}

/// A span as kubectl prints ages.
fn age(span: SignedDuration) -> String {
    let seconds = span.as_secs().max(0);
    if seconds < 120 {
        format!("{seconds}s")
    } else {
        format!("{}m{}s", seconds / 60, seconds % 60)
    }
}

/// Rows with a header, in columns as wide as they must be.
pub(super) fn table(rows: &[[String; 7]]) -> String {
    let header = HEADER.map(String::from);
    let all: Vec<&[String; 7]> = std::iter::once(&header).chain(rows).collect();
    columns(&all.iter().map(|row| row.as_slice()).collect::<Vec<_>>())
}

/// Any rows in columns.
pub(super) fn columns(rows: &[&[String]]) -> String {
    let mut widths = Vec::new();
    for row in rows {
        widths.resize(widths.len().max(row.len()), 0);
        for (width, cell) in widths.iter_mut().zip(row.iter()) {
            *width = (*width).max(cell.chars().count()).min(WIDTH_MAX);
        }
    }
    let line = |row: &&[String]| {
        let cells = widths.iter().zip(row.iter());
        let padded: Vec<String> = cells
            .map(|(width, cell)| format!("{cell:<width$}"))
            .collect();
        format!("{}\n", padded.join("   ").trim_end())
    };
    rows.iter().map(line).collect()
}

/// A closed terminal is no reason to stop: the exit code still says how it went.
fn write(text: &str) {
    let mut out = std::io::stdout().lock();
    drop(out.write_all(text.as_bytes()).and_then(|()| out.flush()));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = [["a", "long"], ["wide", "b"]].map(|row| row.map(String::from));
        let rows: Vec<&[String]> = rows.iter().map(<[String; 2]>::as_slice).collect();
        assert_eq!(columns(&rows), "a      long\nwide   b\n");
    }

    #[test]
    fn ages_are_printed_as_kubectl_does() {
        assert_eq!(age(SignedDuration::from_secs(119)), "119s");
        assert_eq!(age(SignedDuration::from_secs(125)), "2m5s");
    }
}
