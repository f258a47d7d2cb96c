//! What must hold at each step of one reboot: commit, call, going down, proof.

use std::time::Duration;

use serde_json::Value;
use slipway_api::{Phase, RebootLease};

use crate::fake_api::json::{number, text};

use super::{Broken, Memory, READ_AGE, has_slot, is_rebuilt};
use crate::world::view::View;

/// How old the second key may be when the reboot is called: valid for 60 s at the commit, whose pass
/// takes 60 s at most (S4); and a little, because its time has whole seconds.
const KEY_AGE: Duration = Duration::from_secs(125);
/// How long a trigger that has gone may still be believed: between the last look and the call.
const NEED_AGE: Duration = Duration::from_secs(70);

/// A lease that has just entered its phase.
pub(super) struct Entry<'a> {
    pub(super) view: &'a View,
    pub(super) memory: &'a Memory,
    pub(super) lease: &'a RebootLease,
    pub(super) name: &'a str,
    pub(super) now: Duration,
}

impl Entry<'_> {
    pub(super) fn judge(&self, broken: &mut Vec<Broken>) {
        match self.lease.phase() {
            Phase::Rebooting => self.commit(broken),
            Phase::Rebooted => self.proof(broken),
            Phase::Completed => self.completion(broken),
            Phase::Pending
            | Phase::Granted
            | Phase::Draining
            | Phase::Drained
            | Phase::Aborted
            | Phase::Failed => {}
        }
    }

    fn older(&self, since: Option<Duration>, age: Duration) -> bool {
        since.is_some_and(|since| self.now.saturating_sub(since) > age)
    }

    /// The commit point.
    fn commit(&self, broken: &mut Vec<Broken>) {
        let (view, name, fence) = (self.view, self.name, self.lease.accepted_fence());
        if let Some(journal) = journal(self.memory, name, self.now)
            && number(&journal, "/committed") < fence
        {
            broken.push(format!(
                "G5: {name} committed under {fence}, which its journal does not know"
            ));
        }
        if self.lease.is_revoked(fence) {
            broken.push(format!("S4: {name} committed under a revoked fence"));
        }
        if self.older(view.paused_since, READ_AGE) {
            broken.push(format!("S4: {name} committed while the ledger was paused"));
        }
        let clear = self.lease.spec.clear.as_ref();
        if clear.is_none_or(|clear| clear.fence != fence) {
            broken.push(format!("S4: {name} committed without its second key"));
        }
        let lately = self.now.saturating_sub(Duration::from_secs(30));
        let left = view
            .pods
            .iter()
            .filter(|(_, pod)| pod.node == *name && pod.must_go && pod.bound_at < lately);
        for (pod, _) in left {
            broken.push(format!("S2: {name} committed with {pod} on it"));
        }
        let Some(node) = view.nodes.get(name) else {
            return;
        };
        if self.older(node.open_since, READ_AGE) {
            broken.push(format!("S2: {name} committed while it was not cordoned"));
        }
        let sick = view.nodes.iter().find(|(other, node)| {
            *other != name && node.control_plane && self.older(node.unready_since, READ_AGE)
        });
        if let Some((other, _)) = sick.filter(|_| node.control_plane) {
            broken.push(format!("S8: {name} committed while {other} was not Ready"));
        }
    }

    /// Rebooted: a report of what has happened.
    fn proof(&self, broken: &mut Vec<Broken>) {
        let status = self.lease.status.clone().unwrap_or_default();
        if status.boot_id_after.is_none() || status.boot_id_after == status.boot_id_before {
            broken.push(format!(
                "S2: {} says Rebooted in the boot that it was in",
                self.name
            ));
        }
    }

    /// Completed: the node is back for good.
    fn completion(&self, broken: &mut Vec<Broken>) {
        let (name, status) = (self.name, self.lease.status.clone().unwrap_or_default());
        let Some(node) = self.view.nodes.get(name) else {
            return;
        };
        let (told, since) = &node.boot;
        let other = status.boot_id_after.as_ref() != Some(told);
        if other && self.older(Some(*since), READ_AGE) {
            broken.push(format!(
                "S1b: {name} ended, its kubelet tells of boot {told}"
            ));
        }
        if self.older(node.unready_since, READ_AGE) {
            broken.push(format!("S1b: {name} ended while it was not Ready"));
        }
        if self.memory.taken_down.contains_key(name) {
            broken.push(format!("S1b: {name} ended before its kubelet was back"));
        }
        if node.cordon.is_some() {
            broken.push(format!("S9: {name} ended while it carries our cordon"));
        }
    }
}

/// What a node's agent has on its disk. Nothing where there is no disk to look at, or one that was
/// replaced while a write of before may still land.
fn journal(memory: &Memory, name: &str, now: Duration) -> Option<Value> {
    let path = memory.journals.get(name)?;
    let lost = memory.journal_lost.get(name);
    if lost.is_some_and(|lost| now.saturating_sub(*lost) < READ_AGE) {
        return None;
    }
    let text = std::fs::read_to_string(path).unwrap_or_default();
    // Its checksum follows.
    let line = text.lines().next().unwrap_or_default();
    Some(serde_json::from_str(line).unwrap_or(Value::Null))
}

/// A machine on which a reboot is called.
#[derive(Clone, Copy, Debug)]
pub struct Called<'a> {
    /// Its node.
    pub name: &'a str,
    /// Its present boot.
    pub boot_id: &'a str,
    /// True wall time, in seconds.
    pub wall: i64,
}

/// Everything that must hold when the reboot is called on a machine.
pub fn at_call(view: &View, memory: &Memory, called: Called<'_>, now: Duration) -> Vec<Broken> {
    let mut broken = Vec::new();
    let name = called.name;
    let since = |at: Option<&Duration>| at.map(|at| now.saturating_sub(*at));
    if since(memory.need_gone_at.get(name)).is_some_and(|gone| gone > NEED_AGE) {
        broken.push(format!("S7: reboot of {name} called, nothing asks for it"));
    }
    if memory.is_at_its_cap(name, now) && !memory.forgotten.contains(name) {
        broken.push(format!("S7: one reboot of {name} too many in a day"));
    }
    if let Some(journal) = journal(memory, name, now)
        && text(&journal, "/call/bootID") != called.boot_id
    {
        broken.push(format!(
            "G5: reboot of {name} called, and its journal knows of no call"
        ));
    }
    let Some(lease) = view.leases.get(name) else {
        // Deleted between commit and call: the slot still holds the node's place.
        if !memory.committed_at.contains_key(name) {
            broken.push(format!("S2: reboot of {name} without a lease"));
        }
        return broken;
    };
    let fence = lease.accepted_fence();
    if since(memory.committed_at.get(name)).is_none_or(|age| age > Duration::from_mins(1)) {
        let committed = memory.committed_at.get(name);
        broken.push(format!(
            "S4: reboot of {name} called, committed at {committed:?}"
        ));
    }
    if lease.phase() == Phase::Rebooting {
        under_way(view, memory, lease, called, now, &mut broken);
    }
    let before = memory.reboots.get(&(name.to_owned(), fence));
    if before.is_some_and(|count| *count >= 1) {
        broken.push(format!("S7: second reboot of {name} under fence {fence}"));
    }
    broken
}

fn under_way(
    view: &View,
    memory: &Memory,
    lease: &RebootLease,
    called: Called<'_>,
    now: Duration,
    broken: &mut Vec<Broken>,
) {
    let (name, fence) = (called.name, lease.accepted_fence());
    let before = lease
        .status
        .as_ref()
        .and_then(|status| status.boot_id_before.clone());
    if before.as_deref() != Some(called.boot_id) {
        broken.push(format!(
            "S2: reboot of {name} called in another boot than at accept"
        ));
    }
    let node = view.nodes.get(name);
    if node.is_some_and(|node| node.uid == lease.spec.node_uid)
        && !has_slot(view, name, fence)
        && !is_rebuilt(view, now)
    {
        broken.push(format!("S2: reboot of {name} called without a slot"));
    }
    let key = lease.spec.clear.as_ref().filter(|key| key.fence == fence);
    let age = key.map(|key| called.wall.saturating_sub(key.at.0.as_second()));
    let oldest = i64::try_from(KEY_AGE.as_secs()).unwrap_or(i64::MAX);
    if age.is_some_and(|age| age > oldest) && !memory.dates_lie {
        broken.push(format!(
            "S4: reboot of {name} called on a second key that is {age:?} s old"
        ));
    }
}

/// What must hold when a machine goes down by our call.
pub fn at_down(view: &View, memory: &Memory, name: &str) -> Vec<Broken> {
    let undone = memory.undone_at.get(name);
    let called = memory.called_at.get(name);
    let open = view.nodes.get(name).is_some_and(|node| !node.unschedulable);
    if open && undone > called {
        return vec![format!(
            "S2: {name} goes down by our call, uncordoned by us"
        )];
    }
    Vec::new()
}
