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
    Action, CordonState, FreeBecause, GrantRequest, LedgerState, Need, NodeView, PolicyView,
    Snapshot, budget, plan,
};

use crate::objects::{self, NOW};
use crate::state::{Boot, Fence, Lease, Mark, Node, NodeId, Slot, State};

/// What planner and executors look at in a node.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
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
    /// What [`clear::judge`] says of the second key on fresh evidence.
    pub may_clear: bool,
    /// What [`verify::judge`] says of the reboot: `Some(true)` is Completed.
    pub conclusion: Option<bool>,
}

type Question = (usize, bool, Vec<Seen>);

thread_local! {
    static ANSWERS: RefCell<BTreeMap<Question, Rc<Vec<Advice>>>> =
        const { RefCell::new(BTreeMap::new()) };
}

/// What the planner says of every node.
pub fn advice<const N: usize>(state: &State<N>, allowed: usize) -> Rc<Vec<Advice>> {
    let seen: Vec<Seen> = state.nodes.iter().map(seen).collect();
    let question = (allowed, state.is_paused, seen);
    let known = ANSWERS.with_borrow(|known| known.get(&question).cloned());
    known.unwrap_or_else(|| {
        let answer = Rc::new(ask(&question));
        ANSWERS.with_borrow_mut(|known| known.insert(question, Rc::clone(&answer)));
        answer
    })
}

fn seen(node: &Node) -> Seen {
    Seen {
        slot: node.slot.map(|slot| Slot { was_over: false, ..slot }),
        lease: node.lease.map(|lease| Lease { is_expired: false, ..lease }),
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
    (0..).map(NodeId).zip(nodes).map(|(id, node)| advise(&snapshot, &plan.actions, id, node)).collect()
}

fn advise(snapshot: &Snapshot, actions: &[Action], id: NodeId, node: &Seen) -> Advice {
    let mut advice = Advice::default();
    let name = objects::name(id);
    for action in actions.iter().filter(|action| action.node() == Some(name.as_str())) {
        match action {
            Action::Grant(_) => advice.grant = true,
            Action::Revoke { .. } => advice.revoke = true,
            Action::Clear { .. } => advice.clear = true,
            Action::Conclude { .. } => advice.conclude = true,
            Action::FreeSlot { because: FreeBecause::Over, .. } => advice.free = true,
            Action::ReopenLease { .. } => advice.reopen = true,
            Action::DemandAnswer { .. } => advice.demand = true,
            Action::CreateLease { .. } => advice.create = true,
            Action::CloseLease { .. } => advice.close = true,
            Action::ShowPhase { .. } => advice.show = true,
            // Never planned here: the ledger is there, its nodes are, and one policy has them all.
            Action::CreateLedger { .. }
            | Action::PointLease { .. }
            | Action::RestoreSlot { .. }
            | Action::FreeSlot { because: FreeBecause::NodeGone, .. } => {}
        }
    }
    let fence = snapshot.leases.get(&name).map_or(0, RebootLease::accepted_fence);
    let pods: Vec<String> = if node.has_pods { vec!["ns/pod".to_owned()] } else { Vec::new() };
    let verdict = clear::judge(snapshot, &name, fence, &pods, NOW);
    advice.may_clear = verdict == ClearVerdict::Clear;
    let judged = snapshot.leases.get(&name).zip(snapshot.nodes.get(&name));
    advice.conclusion = judged.filter(|(lease, _)| lease.phase() == Phase::Rebooted).and_then(
        |(lease, view)| match verify::judge(lease, view, NOW) {
            Conclusion::Complete => Some(true),
            Conclusion::Fail(_) => Some(false),
            Conclusion::Wait { .. } => None,
        },
    );
    advice
}

fn snapshot(allowed: usize, is_paused: bool, nodes: &[Seen]) -> Snapshot {
    let ids = || (0..).map(NodeId).zip(nodes);
    let slots = ids().filter_map(|(id, node)| Some(objects::slot(id, node.slot?))).collect();
    let ledger = objects::ledger(is_paused, Fence::MAX, slots);
    Snapshot {
        blockers: BTreeMap::new(),
        gaps: Vec::new(),
        ledger: LedgerState::Present(Box::new(ledger)),
        policies: policy(allowed).into_iter().collect(),
        nodes: ids().map(|(id, node)| (objects::name(id), view(id, node))).collect(),
        leases: ids()
            .filter_map(|(id, node)| Some((objects::name(id), objects::lease(id, &node.lease?))))
            .collect(),
        agents: ids().map(|(id, _)| objects::name(id)).collect(),
        gone: BTreeMap::new(),
    }
}

fn view(id: NodeId, node: &Seen) -> NodeView {
    let boot = if node.is_up { Boot::Now } else { Boot::Earlier };
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
    let wanted = objects::slot(node, Slot { fence: 0, uid, was_over: false });
    let request = GrantRequest {
        node: wanted.node,
        node_uid: wanted.node_uid,
        lease_uid: wanted.lease_uid,
        policy: objects::policy_reference(),
        control_plane: false,
        drain: slipway_api::policy::DrainSettings::default(),
        reboot: slipway_api::policy::RebootSettings::default(),
        verify: slipway_api::policy::VerifySettings::default(),
    };
    let limits = budget::PolicyLimits {
        policy: objects::POLICY.to_owned(),
        policy_uid: objects::POLICY.to_owned(),
        allowed,
        matched: State::<N>::ids().map(objects::name).collect(),
        unavailable: std::collections::BTreeSet::new(),
    };
    let (_, fence) = budget::append(&objects::ledger_of(state), &request, &limits, NOW).ok()?;
    Some(Slot { fence: Fence::try_from(fence).ok()?, uid, was_over: false })
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
