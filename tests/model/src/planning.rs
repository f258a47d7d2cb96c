//! What the operator decides: asked of the planner's own functions, from everything as it is now.
//!
//! An operator's cache may be arbitrarily old, so in the model it may *begin* whatever its executors
//! do not refuse. What the planner says of the present state is asked for two other things: the
//! judgements that executors make from fresh reads, and which steps count as progress.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use slipway_api::{Phase, RebootLease};
use slipway_planner::clear::{self, ClearVerdict};
use slipway_planner::verify::{self, Conclusion};
use slipway_planner::{
    Action, CordonState, FreeBecause, LedgerState, Need, NodeView, PolicyView, Snapshot, budget,
    plan,
};

use crate::objects::{self, NOW};
use crate::state::{Boot, Fence, Lease, Mark, Node, NodeId, Slot, State};

/// What planner and executors look at in a node.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "facts, each true or not")]
struct Seen {
    slot: Option<Slot>,
    lease: Option<Lease>,
    is_unschedulable: bool,
    mark: Option<Mark>,
    needs_reboot: bool,
    has_pods: bool,
    is_up: bool,
}

/// What the planner says of one node.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "one for each action")]
pub struct Advice {
    /// Grant it a reboot.
    pub grant: bool,
    /// Call its grant off.
    pub revoke: bool,
    /// Give or refresh the second key.
    pub clear: bool,
    /// End its reboot.
    pub conclude: bool,
    /// Free its slot.
    pub free: bool,
    /// Reopen its lease.
    pub reopen: bool,
    /// Ask for the answer owed.
    pub demand: bool,
    /// Make its lease.
    pub create: bool,
    /// Close its lease.
    pub close: bool,
    /// Show a grant, or its end, in the phase.
    pub show: bool,
    /// Put its slot back.
    pub restore: bool,
    /// What [`clear::judge`] says of the second key on fresh evidence.
    pub may_clear: bool,
    /// What [`verify::judge`] says of the reboot: `Some(true)` is Completed.
    pub conclusion: Option<bool>,
}

impl Seen {
    /// A node at rest that asks for a reboot.
    const fn needy(uid: u8) -> Self {
        Self {
            slot: None,
            lease: Some(Lease::new(uid)),
            is_unschedulable: false,
            mark: None,
            needs_reboot: true,
            has_pods: true,
            is_up: true,
        }
    }
}

type Question = (usize, bool, Vec<Seen>);

/// How many nodes, the budget, the brake, who holds slots, and who wants one under which lease.
type Append = (usize, usize, bool, u8, NodeId, u8);

thread_local! {
    static FITS: RefCell<BTreeMap<Append, bool>> = const { RefCell::new(BTreeMap::new()) };
    static ANSWERS: RefCell<BTreeMap<Question, Rc<Vec<Advice>>>> =
        const { RefCell::new(BTreeMap::new()) };
    static LAST: RefCell<Option<(Question, Rc<Vec<Advice>>)>> = const { RefCell::new(None) };
}

/// What the planner says of every node.
pub fn advice<const N: usize>(state: &State<N>, allowed: usize) -> Rc<Vec<Advice>> {
    let seen = state.nodes.map(|node| seen(&node));
    // A state is asked about once for each of its steps.
    let last = LAST.with_borrow(|last| {
        let ((of, is_paused, nodes), answer) = last.as_ref()?;
        let is_same = *of == allowed && *is_paused == state.is_paused && nodes[..] == seen[..];
        is_same.then(|| Rc::clone(answer))
    });
    last.unwrap_or_else(|| {
        let question = (allowed, state.is_paused, seen.to_vec());
        let known = ANSWERS.with_borrow(|known| known.get(&question).cloned());
        let answer = known.unwrap_or_else(|| {
            let answer = Rc::new(ask(&question));
            ANSWERS.with_borrow_mut(|known| known.insert(question.clone(), Rc::clone(&answer)));
            answer
        });
        LAST.set(Some((question, Rc::clone(&answer))));
        answer
    })
}

fn seen(node: &Node) -> Seen {
    Seen {
        slot: node.slot.map(|slot| Slot::new(slot.fence, slot.uid)),
        lease: node.lease,
        is_unschedulable: node.object.is_unschedulable,
        mark: node.object.mark,
        needs_reboot: node.needs_reboot,
        has_pods: node.has_pods,
        is_up: node.is_up,
    }
}

fn ask((allowed, is_paused, nodes): &Question) -> Vec<Advice> {
    let snapshot = snapshot(*allowed, *is_paused, nodes);
    let plan = plan(&snapshot, NOW);
    (0..)
        .map(NodeId)
        .zip(nodes)
        .map(|(id, node)| advise(&snapshot, &plan.actions, id, node))
        .collect()
}

fn advise(snapshot: &Snapshot, actions: &[Action], id: NodeId, node: &Seen) -> Advice {
    let mut advice = Advice::default();
    let name = objects::name(id);
    for action in actions
        .iter()
        .filter(|action| action.node() == Some(name.as_str()))
    {
        match action {
            Action::Grant(_) => advice.grant = true,
            Action::Revoke { .. } => advice.revoke = true,
            Action::Clear { .. } => advice.clear = true,
            Action::Conclude { .. } => advice.conclude = true,
            Action::FreeSlot {
                because: FreeBecause::Over,
                ..
            } => advice.free = true,
            Action::ReopenLease { .. } => advice.reopen = true,
            Action::DemandAnswer { .. } => advice.demand = true,
            Action::CreateLease { .. } => advice.create = true,
            Action::CloseLease { .. } => advice.close = true,
            Action::ShowPhase { .. } => advice.show = true,
            Action::RestoreSlot { .. } => advice.restore = true,
            // The others are never planned here, or change nothing that is modelled.
            _ => {}
        }
    }
    let fence = snapshot
        .leases
        .get(&name)
        .map_or(0, RebootLease::accepted_fence);
    let pods: Vec<String> = if node.has_pods {
        vec!["ns/pod".to_owned()]
    } else {
        Vec::new()
    };
    let verdict = clear::judge(snapshot, &name, fence, &pods, NOW);
    advice.may_clear = verdict == ClearVerdict::Clear;
    let judged = snapshot.leases.get(&name).zip(snapshot.nodes.get(&name));
    advice.conclusion = judged
        .filter(|(lease, _)| lease.phase() == Phase::Rebooted)
        .and_then(
            |(lease, view)| match verify::judge(lease, view, &snapshot.blockers, NOW) {
                Conclusion::Complete => Some(true),
                Conclusion::Fail(_) => Some(false),
                Conclusion::Wait { .. } | Conclusion::Verify { .. } => None,
            },
        );
    advice
}

fn snapshot(allowed: usize, is_paused: bool, nodes: &[Seen]) -> Snapshot {
    let ids = || (0..).map(NodeId).zip(nodes);
    let slots = ids()
        .filter_map(|(id, node)| Some(objects::slot(id, node.slot?)))
        .collect();
    let ledger = objects::ledger(is_paused, Fence::MAX, slots);
    Snapshot {
        ledger: LedgerState::Present(Box::new(ledger)),
        policies: policy(allowed).into_iter().collect(),
        nodes: ids()
            .map(|(id, node)| (objects::name(id), view(id, node)))
            .collect(),
        leases: ids()
            .filter_map(|(id, node)| Some((objects::name(id), objects::lease(id, &node.lease?))))
            .collect(),
        agents: ids().map(|(id, _)| objects::name(id)).collect(),
        ..Snapshot::default()
    }
}

fn view(id: NodeId, node: &Seen) -> NodeView {
    let boot = if node.is_up {
        Boot::Now
    } else {
        Boot::Reported
    };
    NodeView {
        name: objects::name(id),
        uid: objects::node_uid(id),
        unschedulable: node.is_unschedulable,
        // The worst case: a Ready of before the reboot that the kubelet has not taken back yet.
        ready: true,
        ready_since: Some(objects::minutes_ago(9000)),
        boot_id: objects::boot_id(boot).unwrap_or_default(),
        need: if node.needs_reboot {
            Need::Required {
                reason: "SentinelFile".to_owned(),
                message: "since ever".to_owned(),
                since: objects::minutes_ago(6000),
            }
        } else {
            Need::NotRequired
        },
        cordon: node.mark.map_or(CordonState::Absent, |mark| {
            CordonState::Ours(objects::record(mark))
        }),
        ..NodeView::default()
    }
}

/// Appends a slot for the node, if the ledger allows it: [`budget::append`]. Whatever the operator's
/// cache says of nodes that are down for other reasons only lowers the budget, so it is left out.
pub fn append<const N: usize>(
    state: &State<N>,
    (node, uid): (NodeId, u8),
    allowed: usize,
) -> Option<Slot> {
    let bit = |id: NodeId| u8::from(state[id].slot.is_some()) << id.0;
    let held: u8 = State::<N>::ids().map(bit).sum();
    let question = (N, allowed, state.is_paused, held, node, uid);
    let known = FITS.with_borrow(|known| known.get(&question).copied());
    let fits = known.unwrap_or_else(|| {
        let fits = may_append(state, (node, uid), allowed).is_some();
        FITS.with_borrow_mut(|known| known.insert(question, fits));
        fits
    });
    fits.then(|| Slot::new(crate::canon::next_fence(state), uid))
}

fn may_append<const N: usize>(
    state: &State<N>,
    (node, uid): (NodeId, u8),
    allowed: usize,
) -> Option<i64> {
    let at_rest = snapshot(allowed, false, &[Seen::needy(uid); N]);
    // One whose only candidate is this node says what a grant of it asks for.
    let mut alone = at_rest.clone();
    let name = objects::name(node);
    alone.nodes.retain(|other, _| *other == name);
    let request = plan(&alone, NOW)
        .actions
        .into_iter()
        .find_map(|action| match action {
            Action::Grant(request) => Some(request),
            _ => None,
        })?;
    let limits = budget::limits(&at_rest, at_rest.policies.first()?);
    let appended = budget::append(&objects::ledger_of(state), &request, &limits, NOW);
    appended.ok().map(|(_, fence)| fence)
}

/// True when the ledger has this very slot to free: [`budget::free`].
pub fn frees<const N: usize>(state: &State<N>, node: NodeId, slot: Slot) -> bool {
    budget::free(&objects::ledger_of(state), &objects::slot(node, slot)).is_some()
}

fn policy(allowed: usize) -> Option<PolicyView> {
    let spec = serde_json::json!({"nodeSelector": {}, "budget": {"maxUnavailable": allowed}});
    let spec = serde_json::from_value(spec).ok()?;
    Some(PolicyView {
        name: objects::POLICY.to_owned(),
        uid: objects::POLICY.to_owned(),
        generation: 1,
        parsed: slipway_api::validate_policy(&spec),
        spec,
        status: None,
        deleting: false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use stateright::Model as _;

    #[test]
    fn an_appended_slot_has_the_next_fence() {
        let configuration = crate::configuration::configuration::<2>(
            &crate::configuration::PLAIN,
            crate::rules::Rules::ALL,
        );
        let state = configuration.init_states()[0];
        assert_eq!(may_append(&state, (NodeId(1), 0), 1), Some(1));
        assert_eq!(append(&state, (NodeId(1), 0), 1), Some(Slot::new(1, 0)));
        assert_eq!(append(&state, (NodeId(1), 0), 0), None);
    }
}
