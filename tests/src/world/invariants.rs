//! The safety invariants (faults.md 1.1) as predicates over plain data.
//!
//! Each is asked after every write, and at every reboot call. What a writer could not know yet is
//! allowed for by the time that a request may take.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;
use slipway_api::lease::RebootLease;
use slipway_api::{Phase, PhaseOwner, RebootLedger, Slot};

use super::view::View;
use crate::fake_api::store::Event;

mod foreign;
mod gates;
mod reboot;

pub use reboot::{Called, at_call, at_down};

/// How old what a writer has read may be: a call takes 10 s at most, and one in flight may land
/// this much later, but only if nothing has changed its object.
pub const READ_AGE: Duration = Duration::from_secs(130);

/// So many reboots of a node in a day: the default of `failure.maxRebootsPerNode`.
const REBOOTS_MAX: usize = 3;

/// A broken invariant.
pub type Broken = String;

/// What the invariants remember between two writes.
#[derive(Debug, Default)]
pub struct Memory {
    /// Nodes that a human has cordoned and not uncordoned.
    pub human_cordons: BTreeSet<String>,
    /// Machines that our call has taken down and that are not back and Ready: node to fence.
    pub taken_down: BTreeMap<String, i64>,
    /// Reboots by node and fence.
    pub reboots: BTreeMap<(String, i64), u32>,
    /// When each node's lease last became Rebooting.
    pub committed_at: BTreeMap<String, Duration>,
    /// The boot in which a machine that we took down came back, until its kubelet says so.
    pub came_back: BTreeMap<String, String>,
    /// When a reboot was last called on each machine.
    pub called_at: BTreeMap<String, Duration>,
    /// When an agent last removed a cordon of ours.
    pub undone_at: BTreeMap<String, Duration>,
    /// Since when nothing asks for a reboot of a machine any more.
    pub need_gone_at: BTreeMap<String, Duration>,
    /// When machines went down by our call.
    pub downs: Vec<(String, Duration)>,
    /// Nodes whose lease was lost, and with it the count of their reboots.
    pub forgotten: BTreeSet<String>,
    /// Journals of agents, where they can be looked at.
    pub journals: BTreeMap<String, PathBuf>,
    /// When the journal of a node was last lost.
    pub journal_lost: BTreeMap<String, Duration>,
    /// Reboots that people have given up: node and fence.
    pub released: BTreeSet<(String, i64)>,
    /// How often a gate that people had closed was met, by its name.
    pub seen: BTreeMap<&'static str, u64>,
    /// The server's `Date` may be wrong in this history: ages of keys say nothing.
    pub dates_lie: bool,
}

impl Memory {
    /// True when a node was rebooted as often as it may be in a day.
    pub fn is_at_its_cap(&self, name: &str, now: Duration) -> bool {
        let lately = |(node, at): &&(String, Duration)| {
            node == name && now.saturating_sub(*at) < Duration::from_hours(24)
        };
        self.downs.iter().filter(lately).count() >= REBOOTS_MAX
    }
}

/// Every invariant that a write can break.
pub fn after_write(view: &View, memory: &Memory, event: &Event, now: Duration) -> Vec<Broken> {
    let mut broken = Vec::new();
    match event.key.resource.as_str() {
        "rebootledgers.slipway.dev" => ledger_write(view, memory, event, now, &mut broken),
        "rebootleases.slipway.dev" => lease_write(view, memory, event, now, &mut broken),
        "nodes" => node_write(view, memory, event, now, &mut broken),
        _ => {}
    }
    scope(event, &mut broken);
    broken.extend(view.unreadable.iter().cloned());
    broken
}

fn slots(ledger: &RebootLedger) -> &[Slot] {
    ledger.status.as_ref().map_or(&[], |status| &status.slots)
}

/// A ledger that was lost is being rebuilt, from leases and Nodes (faults.md Q16).
fn is_rebuilt(view: &View, now: Duration) -> bool {
    let lost = view.ledger_lost;
    view.ledger.is_none() || lost.is_some_and(|lost| now.saturating_sub(lost) < 2 * READ_AGE)
}

fn has_slot(view: &View, node: &str, fence: i64) -> bool {
    let all = view.ledger.as_ref().map_or(&[][..], slots);
    all.iter()
        .any(|slot| slot.node == node && slot.fence == fence)
}

/// Whether nothing more can happen under a fence, by a rule of its own: the programs' is what is
/// tested.
fn is_over(lease: &RebootLease, fence: i64) -> bool {
    let status = lease.status.clone().unwrap_or_default();
    let ended = matches!(
        status.phase,
        Phase::Completed | Phase::Aborted | Phase::Failed | Phase::Pending | Phase::Granted
    );
    let revoked = lease.spec.revoke.as_ref().map_or(0, |revoke| revoke.fence);
    (status.fence == fence && ended)
        || status.fence > fence
        || (status.fence < fence && revoked >= fence)
}

fn parsed<T: serde::de::DeserializeOwned>(object: &Value) -> Option<T> {
    serde_json::from_value(object.clone()).ok()
}

fn ledger_write(
    view: &View,
    memory: &Memory,
    event: &Event,
    now: Duration,
    broken: &mut Vec<Broken>,
) {
    let before = event.before.as_deref().and_then(parsed::<RebootLedger>);
    let Some(ledger) = &view.ledger else {
        return;
    };
    let old: Vec<Slot> = before
        .as_ref()
        .map(|it| slots(it).to_vec())
        .unwrap_or_default();
    let new = slots(ledger);
    for slot in new.iter().filter(|slot| !old.contains(slot)) {
        let of_policy = new
            .iter()
            .filter(|it| it.policy_uid == slot.policy_uid)
            .count();
        let most = view
            .budget(&slot.policy_uid, now, READ_AGE)
            .unwrap_or(usize::MAX);
        if of_policy > most {
            broken.push(format!(
                "S1: {of_policy} slots of a policy that allows {most}"
            ));
        }
        if view.paused_since.is_some() && event.before.is_some() {
            broken.push(format!(
                "S1: a slot for {} while the ledger is paused",
                slot.node
            ));
        }
    }
    let uids: BTreeSet<&str> = new.iter().map(|slot| slot.node_uid.as_str()).collect();
    if uids.len() < new.len() {
        broken.push("S1: two slots for one node".to_owned());
    }
    if new.iter().filter(|slot| slot.control_plane).count() > 1 {
        broken.push("S8: two control-plane slots".to_owned());
    }
    let next = |ledger: &RebootLedger| ledger.status.as_ref().map_or(0, |status| status.next_fence);
    if before
        .as_ref()
        .is_some_and(|before| next(ledger) < next(before))
    {
        broken.push("S6: nextFence has fallen".to_owned());
    }
    for slot in old.iter().filter(|slot| !new.contains(slot)) {
        freed(view, memory, slot, broken);
    }
}

fn freed(view: &View, memory: &Memory, slot: &Slot, broken: &mut Vec<Broken>) {
    let name = &slot.node;
    let node = view
        .nodes
        .get(name)
        .filter(|node| node.uid == slot.node_uid);
    // The Node is gone: its slot may go.
    let Some(node) = node else {
        return;
    };
    let over = view
        .leases
        .get(name)
        .is_some_and(|lease| is_over(lease, slot.fence));
    if !over {
        broken.push(format!(
            "S5: slot of {name} freed, fence {} not over",
            slot.fence
        ));
    }
    // A person's word stands for the proof.
    let released = memory.released.contains(&(name.clone(), slot.fence));
    if node.cordon.is_some() && !released {
        broken.push(format!(
            "S5: slot of {name} freed while it carries our cordon"
        ));
    }
    // The known limit of ARCHITECTURE.md: with its lease deleted, a machine that is up again frees its
    // slot before its kubelet is back.
    let excused =
        (memory.forgotten.contains(name) && memory.came_back.contains_key(name)) || released;
    if memory.taken_down.get(name) == Some(&slot.fence) && !excused {
        broken.push(format!(
            "S1b: slot of {name} freed while it is down by our call"
        ));
    }
}

fn lease_write(
    view: &View,
    memory: &Memory,
    event: &Event,
    now: Duration,
    broken: &mut Vec<Broken>,
) {
    let name = &event.key.name;
    if event.deleted {
        return;
    }
    let Some(lease) = view.leases.get(name) else {
        return;
    };
    let before = event.before.as_deref().and_then(parsed::<RebootLease>);
    let (phase, fence) = (lease.phase(), lease.accepted_fence());
    if let Some(before) = &before {
        let old = (
            before.granted_fence(),
            before.accepted_fence(),
            before.spec.revoke.as_ref().map_or(0, |it| it.fence),
            before.spec.clear.as_ref().map_or(0, |it| it.fence),
        );
        let new = (
            lease.granted_fence(),
            fence,
            lease.spec.revoke.as_ref().map_or(0, |it| it.fence),
            lease.spec.clear.as_ref().map_or(0, |it| it.fence),
        );
        if new.0 < old.0 || new.1 < old.1 || new.2 < old.2 || new.3 < old.3 {
            broken.push(format!(
                "S6: a fence of {name} has fallen: {old:?} to {new:?}"
            ));
        }
        let from = before.phase();
        let legal = [PhaseOwner::Operator, PhaseOwner::Agent]
            .iter()
            .any(|owner| from.may_become(phase, *owner));
        if !legal {
            broken.push(format!("S6: {name} went from {from} to {phase}"));
        }
    }
    gates::judge(view, memory, (before.as_ref(), lease), now, broken);
    let is_of_present_node = view
        .nodes
        .get(name)
        .is_some_and(|node| node.uid == lease.spec.node_uid);
    let entered = before.as_ref().map(RebootLease::phase) != Some(phase);
    let slotless = !has_slot(view, name, fence) && !is_rebuilt(view, now);
    if entered && phase.is_accepted() && is_of_present_node && slotless {
        broken.push(format!(
            "S1c: {name} is {phase} under fence {fence} without a slot"
        ));
    }
    if entered {
        let entry = reboot::Entry {
            view,
            memory,
            lease,
            name,
            now,
        };
        entry.judge(broken);
    }
}

fn node_write(
    view: &View,
    memory: &Memory,
    event: &Event,
    now: Duration,
    broken: &mut Vec<Broken>,
) {
    let name = &event.key.name;
    let Some(node) = view.nodes.get(name) else {
        return;
    };
    if let Some(fence) = node
        .cordon
        .filter(|_| event.author.user.starts_with("agent:"))
        && !has_slot(view, name, fence)
        && !is_rebuilt(view, now)
        && !memory.released.contains(&(name.clone(), fence))
    {
        broken.push(format!(
            "S1b: {name} carries our cordon of fence {fence} without a slot"
        ));
    }
    if memory.human_cordons.contains(name) && !node.unschedulable {
        broken.push(format!("S3: the human's cordon of {name} is gone"));
    }
    if event.author.user.starts_with("agent:")
        && let Some(before) = event.before.as_deref()
        && let Some(place) = foreign::change(before, &event.after)
    {
        broken.push(format!(
            "S3: {} changed a foreign part of {name}: {place}",
            event.author.user
        ));
    }
}

/// S10: an agent writes to its own objects only, an operator to no pod, and to Nodes what keeps
/// autoscalers away.
fn scope(event: &Event, broken: &mut Vec<Broken>) {
    let user = event.author.user.split('#').next().unwrap_or_default();
    if let Some(own) = user.strip_prefix("agent:") {
        let resource = event.key.resource.as_str();
        let allowed = match resource {
            "nodes" | "rebootleases.slipway.dev" => event.key.name == own,
            "pods" | "poddisruptionbudgets.policy" | "events.events.k8s.io" => true,
            _ => false,
        };
        if !allowed {
            broken.push(format!("S10: {user} wrote {resource} {}", event.key.name));
        }
    }
    let (resource, name) = (event.key.resource.as_str(), &event.key.name);
    if user.starts_with("operator:") && matches!(resource, "nodes" | "pods") {
        let changed = match event.before.as_deref().filter(|_| resource == "nodes") {
            Some(before) => foreign::operator_change(before, &event.after),
            None => Some(String::from("what it may not write at all")),
        };
        if let Some(place) = changed {
            broken.push(format!("S10: {user} wrote {resource} {name}: {place}"));
        }
    }
}

/// What must hold once everything has come to rest.
pub fn at_rest(view: &View) -> Vec<Broken> {
    let mut broken = Vec::new();
    for (name, node) in &view.nodes {
        if node.cordon.is_some() {
            broken.push(format!("S9: {name} carries our cordon at rest"));
        }
    }
    for (name, lease) in &view.leases {
        if lease.phase().is_accepted() {
            broken.push(format!("L2: {name} is {} at rest", lease.phase()));
        }
    }
    for slot in view.ledger.as_ref().map_or(&[][..], slots) {
        broken.push(format!("L3: the slot of {} is held at rest", slot.node));
    }
    broken
}
