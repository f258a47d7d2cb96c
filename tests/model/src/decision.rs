//! What an agent does next: asked of the agent's own [`decide`], and what its Node writes do: asked
//! of the agent's own patches. Every answer is kept, so each question is put once.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::api::core::v1::Node;
use serde_json::{Value, json};
use slipway_api::names::{ANNOTATION_CORDONED, ANNOTATION_UNDONE, MANAGER_AGENT};
use slipway_api::policy::RebootMethod;
use slipway_api::{Phase, RebootLease};
use slipway_node_agent::decide::{Action, decide};
use slipway_node_agent::facts::{
    Clocks, Facts, HostFacts, JournalView, LeaseView, LedgerView, Mark as FactMark, Need, PodsView,
    Seen,
};
use slipway_node_agent::host::Offer;
use slipway_node_agent::journal;
use slipway_node_agent::node_write;

use crate::objects;
use crate::state::{Call, Ending, Fence, Intent, Journal, Lease, Mark, NodeId, Object, Slot};

/// Time since boot of every pass: long after the start of the process.
const BOOTTIME: Duration = Duration::from_hours(10);
const NODE: NodeId = NodeId(0);

/// The facts of one pass.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Pass {
    /// The lease, read first.
    pub lease: Option<Lease>,
    /// The node's slot in the ledger.
    pub slot: Option<Slot>,
    /// The ledger's brake.
    pub is_paused: bool,
    /// The Node.
    pub object: Object,
    /// Pods that have to move are on it.
    pub has_pods: bool,
    /// The trigger is set.
    pub needs_reboot: bool,
    /// The journal.
    pub journal: Journal,
}

/// What the agent does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Decision {
    /// Nothing.
    Wait,
    /// It evicts the pods.
    Evict,
    /// It writes.
    Write(Intent, Fence),
}

thread_local! {
    static DECISIONS: RefCell<BTreeMap<Pass, Decision>> = const { RefCell::new(BTreeMap::new()) };
    static NODES: RefCell<BTreeMap<(Object, Fence, bool), Option<Object>>> =
        const { RefCell::new(BTreeMap::new()) };
}

/// Asks [`decide`].
pub fn decision(pass: &Pass) -> Decision {
    let known = DECISIONS.with_borrow(|known| known.get(pass).copied());
    known.unwrap_or_else(|| {
        let decision = ask(pass);
        DECISIONS.with_borrow_mut(|known| known.insert(*pass, decision));
        decision
    })
}

fn ask(pass: &Pass) -> Decision {
    let fence_of = |fence: i64| Fence::try_from(fence).unwrap_or(Fence::MAX);
    match decide(&facts(pass)) {
        // The journal is never ahead of the ledger here; that a call was made is not shown.
        Action::Wait { .. } | Action::ReportJournal { .. } | Action::MarkCalled { .. } => {
            Decision::Wait
        }
        // Reads only, and no grant of the model asks for it.
        Action::Preflight { .. } => Decision::Wait,
        Action::Evict { .. } => Decision::Evict,
        Action::Accept { fence } => Decision::Write(Intent::Accept, fence_of(fence)),
        Action::Cordon { fence } => {
            Decision::Write(Intent::Cordon { early: false }, fence_of(fence))
        }
        Action::MarkDrained { fence } => Decision::Write(Intent::MarkDrained, fence_of(fence)),
        Action::Commit { fence } => Decision::Write(Intent::Commit, fence_of(fence)),
        Action::Undo { fence } => Decision::Write(Intent::Undo, fence_of(fence)),
        Action::Retire { fence, outcome } => {
            let ending = if outcome.phase == Phase::Aborted {
                Ending::Aborted
            } else {
                Ending::Failed
            };
            Decision::Write(Intent::Retire(ending), fence_of(fence))
        }
        Action::MarkRebooted { fence } => Decision::Write(Intent::MarkRebooted, fence_of(fence)),
    }
}

fn facts(pass: &Pass) -> Facts {
    let lease = pass.lease.map(|lease| objects::lease(NODE, &lease));
    let pods = match lease.as_ref().map_or(Phase::Pending, RebootLease::phase) {
        Phase::Draining | Phase::Drained | Phase::Rebooting if pass.object.mark.is_some() => {
            PodsView::Left(usize::from(pass.has_pods))
        }
        _ => PodsView::NotRead,
    };
    let slots = pass
        .slot
        .map(|slot| objects::slot(NODE, slot))
        .into_iter()
        .collect();
    Facts {
        ledger: if lease.as_ref().is_some_and(reads_ledger) {
            LedgerView::Present(Box::new(objects::ledger(pass.is_paused, Fence::MAX, slots)))
        } else {
            LedgerView::NotRead
        },
        lease: lease.map_or(LeaseView::Missing, |lease| {
            LeaseView::Present(Box::new(lease))
        }),
        node: node_write::facts(&node(pass.object), true),
        pods,
        host: HostFacts {
            boot_id: objects::BOOT.to_owned(),
            need: if pass.needs_reboot {
                Need::Required
            } else {
                Need::NotRequired
            },
            // The worst answer there is: a machine that has accepted a call and does not say so.
            shutdown_pending: Some(false),
            offer: Offer::by(RebootMethod::Logind),
        },
        journal: JournalView::Readable(journal_of(pass.journal)),
        clocks: Clocks {
            api: objects::NOW,
            wall: objects::NOW,
            boottime: BOOTTIME,
            started: Duration::ZERO,
        },
        seen: Seen::default(),
    }
}

/// Accept and commit need the ledger, nothing else does: as the agent's pass has it.
pub fn reads_ledger(lease: &RebootLease) -> bool {
    let cleared = lease.spec.clear.as_ref().map_or(0, |clear| clear.fence);
    match lease.phase() {
        Phase::Pending | Phase::Granted => lease.open_grant().is_some(),
        Phase::Drained | Phase::Rebooting => cleared == lease.accepted_fence(),
        Phase::Draining | Phase::Rebooted | Phase::Completed | Phase::Aborted | Phase::Failed => {
            false
        }
    }
}

fn journal_of(noted: Journal) -> journal::Journal {
    let boot_id = objects::boot_id(noted.boot).unwrap_or_default();
    let at = |age| {
        let at = BOOTTIME.saturating_sub(Duration::from_mins(age));
        journal::Journal {
            boot_id: objects::BOOT.to_owned(),
            ..journal::Journal::default()
        }
        .with_call(at)
        .call
    };
    journal::Journal {
        committed: noted.committed.into(),
        boot_id,
        call: match noted.call {
            Call::None => None,
            Call::Young => at(1),
            Call::Old => at(60),
        },
        ..journal::Journal::default()
    }
}

/// The Node after our cordon; `None` when the agent makes no such write.
pub fn cordoned(object: Object, fence: Fence) -> Option<Object> {
    remembered(object, fence, true)
}

/// The Node after our undo; `None` when the agent makes no such write.
pub fn undone(object: Object, fence: Fence) -> Option<Object> {
    remembered(object, fence, false)
}

fn remembered(object: Object, fence: Fence, is_cordon: bool) -> Option<Object> {
    let question = (object, fence, is_cordon);
    let known = NODES.with_borrow(|known| known.get(&question).copied());
    known.unwrap_or_else(|| {
        let present = node(object);
        let patch = if is_cordon {
            node_write::cordon(&present, fence.into())
        } else {
            node_write::undo(&present, fence.into())
        };
        let after = patch.and_then(|patch| patched(object, &present, &patch));
        NODES.with_borrow_mut(|known| known.insert(question, after));
        after
    })
}

fn node(object: Object) -> Node {
    let mut annotations = serde_json::Map::new();
    if let Some(mark) = object.mark {
        let record = objects::record(mark).to_string();
        annotations.insert(ANNOTATION_CORDONED.to_owned(), json!(record));
    }
    if object.undone > 0 {
        annotations.insert(
            ANNOTATION_UNDONE.to_owned(),
            json!(object.undone.to_string()),
        );
    }
    let owner = if object.is_foreign {
        "kubectl-cordon"
    } else {
        MANAGER_AGENT
    };
    let value = json!({
        "metadata": {
            "name": objects::name(NODE), "uid": objects::node_uid(NODE), "resourceVersion": "1",
            "annotations": annotations,
            "managedFields": [{"manager": owner, "operation": "Update", "apiVersion": "v1",
                "fieldsType": "FieldsV1", "fieldsV1": {"f:spec": {"f:unschedulable": {}}}}],
        },
        "spec": {"unschedulable": object.is_unschedulable},
    });
    serde_json::from_value(value).unwrap_or_default()
}

/// What the API server makes of a merge patch.
fn patched(object: Object, node: &Node, patch: &Value) -> Option<Object> {
    let mut value = serde_json::to_value(node).ok()?;
    merge(&mut value, patch);
    let node: Node = serde_json::from_value(value).ok()?;
    let facts = node_write::facts(&node, true);
    // A write of the value that is there already takes it from nobody.
    let is_changed = facts.unschedulable != object.is_unschedulable;
    Some(Object {
        is_unschedulable: facts.unschedulable,
        is_foreign: object.is_foreign && !is_changed,
        mark: match facts.mark {
            FactMark::Ours(record) => Some(Mark {
                fence: Fence::try_from(record.fence).ok()?,
                before: record.unschedulable_before,
            }),
            FactMark::Absent | FactMark::Unreadable => None,
        },
        undone: Fence::try_from(facts.undone.unwrap_or(0)).ok()?,
    })
}

/// RFC 7386.
fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(fields) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = json!({});
    }
    let Some(target) = target.as_object_mut() else {
        return;
    };
    for (key, value) in fields {
        if value.is_null() {
            target.remove(key);
        } else {
            merge(target.entry(key.clone()).or_insert(Value::Null), value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cordon_and_its_undo_leave_the_node_as_it_was_but_for_the_note() {
        let bare = Object::default();
        let cordon = cordoned(bare, 1).unwrap();
        assert!(
            cordon.is_unschedulable
                && cordon.mark
                    == Some(Mark {
                        fence: 1,
                        before: false
                    })
        );
        assert_eq!(undone(cordon, 1), Some(Object { undone: 1, ..bare }));
        assert_eq!(undone(Object { undone: 1, ..bare }, 1), None);
    }

    #[test]
    fn a_humans_cordon_is_recorded_and_stays() {
        let human = Object {
            is_unschedulable: true,
            is_foreign: true,
            ..Object::default()
        };
        let both = cordoned(human, 1).unwrap();
        assert!(
            both.is_foreign
                && both.mark
                    == Some(Mark {
                        fence: 1,
                        before: true
                    })
        );
        assert_eq!(undone(both, 1), Some(Object { undone: 1, ..human }));
    }
}
