//! What happened: a hash over everything, and the last lines for whoever looks into a failure.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use slipway_api::RebootLease;
use slipway_api::names::ANNOTATION_CORDONED;

use super::invariants::{self, Broken, Called, Memory};
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
    /// The same, by resource, and without Events.
    pub(super) our_writes_by_resource: BTreeMap<String, u64>,
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

    fn node_written(&mut self, event: &Event, at: Duration) {
        let name = &event.key.name;
        if event.deleted {
            self.memory.human_cordons.remove(name);
            self.memory.taken_down.remove(name);
        }
        let marked = |object: &serde_json::Value| {
            let all = object.pointer("/metadata/annotations");
            all.is_some_and(|all| all.get(ANNOTATION_CORDONED).is_some())
        };
        let was = event.before.as_deref().is_some_and(marked);
        if was && !marked(&event.after) && user_is_agent(&event.author.user) {
            self.memory.undone_at.insert(name.clone(), at);
        }
        let Some(node) = self.view.nodes.get(name) else {
            return;
        };
        let back = self.memory.came_back.get(name);
        if back == Some(&node.boot.0) && node.unready_since.is_none() {
            self.memory.came_back.remove(name);
            self.memory.taken_down.remove(name);
        }
    }

    /// What people have said about a reboot, and what came of it.
    fn note_people(&mut self, event: &Event) {
        let Some(lease) = self.view.leases.get(&event.key.name) else {
            return;
        };
        if let Some(release) = &lease.spec.release {
            let released = (event.key.name.clone(), release.fence);
            self.memory.released.insert(released);
        }
        let reason = |object: &serde_json::Value| text(object, "/status/reason").to_owned();
        let was = event.before.as_deref().map(reason).unwrap_or_default();
        let kind = match reason(&event.after).as_str() {
            now if now == was => return,
            "Released" => "ended: released",
            "WindowClosed" => "waited: window closed",
            "Blocked" => "waited: blocked",
            _ => return,
        };
        *self.memory.seen.entry(kind).or_default() += 1;
    }

    /// Takes a write in and asks the invariants.
    pub(super) fn written(&mut self, event: &Event, at: Duration) {
        self.writes += 1;
        let user = &event.author.user;
        if (user.starts_with("agent:") || user.starts_with("operator:"))
            && event.key.resource != "leases.coordination.k8s.io"
        {
            self.our_writes += 1;
            let resource = event.key.resource.as_str();
            if resource != "events.events.k8s.io" {
                *self
                    .our_writes_by_resource
                    .entry(resource.to_owned())
                    .or_default() += 1;
            }
        }
        self.view.take(event, at);
        self.note(at, &line(event));
        let name = &event.key.name;
        if event.key.resource == "rebootleases.slipway.dev" {
            let phase = |object: &serde_json::Value| text(object, "/status/phase") == "Rebooting";
            let was = event.before.as_deref().is_some_and(phase);
            if event.deleted {
                self.memory.forgotten.insert(name.clone());
            }
            self.note_people(event);
            if !was && phase(&event.after) && !event.deleted {
                self.memory.committed_at.insert(name.clone(), at);
            }
        }
        if event.key.resource == "nodes" {
            self.node_written(event, at);
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
    pub(super) fn called(&self, called: Called<'_>, at: Duration) {
        let mut history = self.history();
        history.note(at, &format!("the reboot of {} is called", called.name));
        let broken = invariants::at_call(&history.view, &history.memory, called, at);
        let name = called.name.to_owned();
        history.memory.called_at.insert(name, at);
        history.blame(at, broken);
    }

    /// A machine goes down by our call.
    pub(super) fn went_down(&self, name: &str, at: Duration) {
        let mut history = self.history();
        let broken = invariants::at_down(&history.view, &history.memory, name);
        history.blame(at, broken);
        let lease = history.view.leases.get(name);
        let fence = lease.map_or(0, RebootLease::accepted_fence);
        let memory = &mut history.memory;
        memory.taken_down.insert(name.to_owned(), fence);
        memory.downs.push((name.to_owned(), at));
        *memory.reboots.entry((name.to_owned(), fence)).or_default() += 1;
    }

    /// A machine is up again; its kubelet is not, yet.
    pub(super) fn came_back(&self, name: &str, boot_id: String) {
        let mut history = self.history();
        history.memory.came_back.insert(name.to_owned(), boot_id);
    }

    /// Whether anything asks for a reboot of a machine.
    pub(super) fn need(&self, name: &str, needed: bool, at: Duration) {
        let gone = &mut self.history().memory.need_gone_at;
        if needed {
            gone.remove(name);
        } else {
            gone.entry(name.to_owned()).or_insert(at);
        }
    }
}

fn user_is_agent(user: &str) -> bool {
    user.starts_with("agent:")
}
