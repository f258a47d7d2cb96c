//! What happened: a hash over everything, and the last lines for whoever looks into a failure.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::invariants::{self, Broken, Memory};
use super::time::Clock;
use super::view::View;
use crate::fake_api::json::text;
use crate::fake_api::store::{Event, Observer};

/// How many lines are kept.
const LINES: usize = 400;

/// The history so far.
#[derive(Default)]
pub(super) struct History {
    /// What the invariants look at.
    pub(super) view: View,
    /// What they remember.
    pub(super) memory: Memory,
    /// Invariants that were broken.
    pub(super) broken: Vec<Broken>,
    /// Writes of any kind.
    pub(super) writes: u64,
    /// Writes of our programs, but for the election.
    pub(super) our_writes: u64,
    lines: VecDeque<String>,
    hash: u64,
    shown: bool,
}

impl History {
    /// Shows every line as it comes, for whoever looks into one seed.
    pub(super) fn show(&mut self) {
        self.shown = true;
    }

    /// Notes a line.
    pub(super) fn note(&mut self, at: Duration, line: &str) {
        let line = format!("{:>10.3} {line}", at.as_secs_f64());
        for byte in line.bytes() {
            self.hash = (self.hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        if self.shown {
            eprintln!("{line}");
        }
        if self.lines.len() == LINES {
            self.lines.pop_front();
        }
        self.lines.push_back(line);
    }

    /// The hash of everything noted.
    pub(super) fn hash(&self) -> u64 {
        self.hash
    }

    /// The last lines.
    pub(super) fn lines(&self) -> Vec<String> {
        self.lines.iter().cloned().collect()
    }

    fn blame(&mut self, at: Duration, broken: Vec<Broken>) {
        for one in broken {
            self.note(at, &format!("!!! {one}"));
            self.broken.push(one);
        }
    }

    fn written(&mut self, event: &Event, at: Duration) {
        self.writes += 1;
        let user = &event.author.user;
        if (user.starts_with("agent:") || user.starts_with("operator:"))
            && event.key.resource != "leases.coordination.k8s.io"
        {
            self.our_writes += 1;
        }
        self.view.take(event, at);
        self.note(at, &line(event));
        let name = &event.key.name;
        if event.key.resource == "rebootleases.slipway.dev" {
            let phase = |object: &serde_json::Value| text(object, "/status/phase") == "Rebooting";
            let was = event.before.as_deref().is_some_and(phase);
            if !was && phase(&event.after) && !event.deleted {
                self.memory.committed_at.insert(name.clone(), at);
            }
        }
        let broken = invariants::after_write(&self.view, &self.memory, event, at);
        self.blame(at, broken);
    }
}

fn line(event: &Event) -> String {
    let object = event.after.as_ref();
    let what = match event.key.resource.as_str() {
        "rebootleases.slipway.dev" => format!(
            "phase={} fence={} reason={} grant={} clear={} revoke={}",
            text(object, "/status/phase"),
            crate::fake_api::json::number(object, "/status/fence"),
            text(object, "/status/reason"),
            crate::fake_api::json::number(object, "/spec/grant/fence"),
            text(object, "/spec/clear/at"),
            crate::fake_api::json::number(object, "/spec/revoke/fence"),
        ),
        "rebootledgers.slipway.dev" => format!(
            "paused={:?} slots={}",
            object.pointer("/spec/paused"),
            object
                .pointer("/status/slots")
                .map_or_else(String::new, ToString::to_string)
        ),
        "nodes" => format!(
            "unschedulable={:?} annotations={}",
            object.pointer("/spec/unschedulable"),
            object
                .pointer("/metadata/annotations")
                .map_or_else(String::new, ToString::to_string)
        ),
        "pods" => format!("node={}", text(object, "/spec/nodeName")),
        _ => String::new(),
    };
    // The library names events by the machine's own clock, which is no part of a history.
    let name = match event.key.resource.as_str() {
        "events.events.k8s.io" => event.key.name.split('.').next().unwrap_or_default(),
        _ => event.key.name.as_str(),
    };
    format!(
        "v{} {} {}/{}{} by {} {}",
        event.version,
        event.author.verb,
        event.key.resource,
        name,
        if event.deleted { " DELETED" } else { "" },
        event.author.user,
        what
    )
}

/// The history, shared by everybody who adds to it.
#[derive(Clone, Default)]
pub(super) struct Record(Arc<Mutex<History>>);

impl Record {
    /// The history.
    pub(super) fn history(&self) -> MutexGuard<'_, History> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes every write and asks the invariants.
    pub(super) fn observer(&self, clock: Clock) -> Observer {
        let record = self.clone();
        Box::new(move |_, event| record.history().written(event, clock.elapsed()))
    }

    /// A reboot is called on a machine.
    pub(super) fn called(&self, name: &str, boot_id: &str, at: Duration) {
        let mut history = self.history();
        history.note(at, &format!("the reboot of {name} is called"));
        let broken = invariants::at_call(&history.view, &history.memory, (name, boot_id), at);
        history.blame(at, broken);
    }
}
