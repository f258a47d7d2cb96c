//! One state for all that differ in nothing that matters: dead facts are forgotten, fences become
//! ranks, and nodes and operators, which have no identity, are sorted.

use crate::fencing;
use crate::rules::{Rule, Rules};
use crate::state::{Agent, At, Boot, Fence, Intent, Lease, Node, NodeId, Operator, State, Write};
use slipway_api::Phase;

/// The fence that the next grant gets: above every one that anything speaks of.
pub fn next_fence<const N: usize>(state: &State<N>) -> Fence {
    let mut copy = *state;
    let mut highest = 0;
    each_fence(&mut copy, &mut |fence| highest = highest.max(*fence));
    highest.saturating_add(1)
}

/// The representative of the states that are like this one.
pub fn canonical<const N: usize>(mut state: State<N>, rules: Rules) -> State<N> {
    forget(&mut state, rules);
    rank_fences(&mut state);
    sorted(state)
}

/// Forgets what nothing looks at any more, and writes that are certain to be refused.
fn forget<const N: usize>(state: &mut State<N>, rules: Rules) {
    for node in &mut state.nodes {
        if let Some(lease) = &mut node.lease {
            forget_in_lease(lease);
        }
        if let Agent::HasLease { lease, is_late, .. } = &mut node.agent {
            forget_in_lease(lease);
            *is_late &= matches!(lease.phase, At(Phase::Drained | Phase::Rebooting));
        }
        if let Agent::Writes(write) = &mut node.agent {
            write.is_late &= write.intent == Intent::Commit;
            if is_refused(*write, rules) {
                node.agent = Agent::Idle;
            }
        }
        node.flight = node.flight.filter(|write| !is_refused(*write, rules));
        node.is_loosened &= node.object.mark.is_some();
    }
    for operator in &mut state.operators {
        if is_hopeless(*operator, rules) {
            *operator = Operator::Idle;
        }
    }
}

fn forget_in_lease(lease: &mut Lease) {
    let phase = lease.phase.0;
    if !matches!(phase, Phase::Drained | Phase::Rebooting) {
        lease.clear = None;
    }
    if !phase.is_accepted() {
        lease.before = Boot::None;
    }
    if phase != Phase::Rebooted {
        lease.after = Boot::None;
    }
    let may_run_out =
        matches!(phase, Phase::Draining | Phase::Drained) || fencing::has_open_grant(lease);
    lease.is_expired &= may_run_out;
}

/// True when the write rests on a version that is not the present one.
fn is_refused(write: Write, rules: Rules) -> bool {
    let (is_fresh, rule) = match write.intent {
        Intent::Cordon { .. } => (write.node_is_fresh, Rule::CordonVersion),
        Intent::Undo | Intent::Retire(_) => (write.node_is_fresh, Rule::UndoVersion),
        Intent::Accept => (write.lease_is_fresh, Rule::AcceptVersion),
        Intent::Commit => (write.lease_is_fresh, Rule::CommitVersion),
        Intent::MarkDrained | Intent::End(_) | Intent::MarkRebooted => {
            return !write.lease_is_fresh;
        }
    };
    // A commit that was refused may still be followed by a call where that rule is broken.
    let matters = write.intent == Intent::Commit && !rules.hold(Rule::CallNeedsCommit);
    !is_fresh && rules.hold(rule) && !matters
}

fn is_hopeless(operator: Operator, rules: Rules) -> bool {
    match operator {
        Operator::Granted { is_fresh, .. } => {
            !is_fresh && rules.hold(Rule::GrantVersion) && rules.hold(Rule::GrantNeedsLease)
        }
        Operator::Clears { is_fresh, .. }
        | Operator::Concludes { is_fresh, .. }
        | Operator::Reopens { is_fresh, .. }
        | Operator::AsksPhase { is_fresh, .. }
        | Operator::AsksKeys { is_fresh, .. } => !is_fresh,
        Operator::Idle
        | Operator::Grants { .. }
        | Operator::Appends { .. }
        | Operator::SawOver { .. }
        | Operator::Frees { .. }
        | Operator::SawDebt { .. }
        | Operator::Restores { .. }
        | Operator::Voids { .. } => false,
    }
}

/// Calls `visit` for every fence that anything speaks of.
fn each_fence<const N: usize>(state: &mut State<N>, visit: &mut impl FnMut(&mut Fence)) {
    for node in &mut state.nodes {
        in_node(node, visit);
    }
    for operator in &mut state.operators {
        match operator {
            Operator::Granted { fence, .. }
            | Operator::Clears { fence, .. }
            | Operator::Concludes { fence, .. }
            | Operator::SawOver { fence, .. }
            | Operator::Frees { fence, .. }
            | Operator::Reopens { fence, .. }
            | Operator::SawDebt { fence, .. }
            | Operator::AsksPhase { fence, .. }
            | Operator::AsksKeys { fence, .. }
            | Operator::Restores { fence, .. }
            | Operator::Voids { fence, .. } => visit(fence),
            Operator::Idle | Operator::Grants { .. } | Operator::Appends { .. } => {}
        }
    }
}

fn in_node(node: &mut Node, visit: &mut impl FnMut(&mut Fence)) {
    if let Some(slot) = &mut node.slot {
        visit(&mut slot.fence);
    }
    if let Some(lease) = &mut node.lease {
        in_lease(lease, visit);
    }
    if let Some(mark) = &mut node.object.mark {
        visit(&mut mark.fence);
    }
    visit(&mut node.object.undone);
    visit(&mut node.down);
    visit(&mut node.pending);
    visit(&mut node.journal.committed);
    if let Some(write) = &mut node.flight {
        visit(&mut write.fence);
    }
    match &mut node.agent {
        Agent::HasLease { lease, .. } => in_lease(lease, visit),
        Agent::Writes(write) => visit(&mut write.fence),
        Agent::Committed { fence, .. } => visit(fence),
        Agent::Idle => {}
    }
}

fn in_lease(lease: &mut Lease, visit: &mut impl FnMut(&mut Fence)) {
    visit(&mut lease.fence);
    visit(&mut lease.grant);
    visit(&mut lease.revoke);
    if let Some(key) = &mut lease.clear {
        visit(&mut key.fence);
    }
}

fn rank_fences<const N: usize>(state: &mut State<N>) {
    let mut used: u64 = 1;
    each_fence(state, &mut |fence| {
        used |= 1_u64.checked_shl((*fence).into()).unwrap_or(0);
    });
    if used & used.wrapping_add(1) == 0 {
        return;
    }
    each_fence(state, &mut |fence| {
        let below = 1_u64
            .checked_shl((*fence).into())
            .unwrap_or(0)
            .wrapping_sub(1);
        *fence = Fence::try_from((used & below).count_ones()).unwrap_or(*fence);
    });
}

fn sorted<const N: usize>(mut state: State<N>) -> State<N> {
    state.operators.sort_unstable();
    let mut best = state;
    let mut order: [u8; N] = std::array::from_fn(|index| u8::try_from(index).unwrap_or(u8::MAX));
    while next_permutation(&mut order) {
        let candidate = permuted(&state, &order);
        if candidate < best {
            best = candidate;
        }
    }
    best
}

/// The state with the nodes in this order.
fn permuted<const N: usize>(state: &State<N>, order: &[u8; N]) -> State<N> {
    let mut result = *state;
    result.nodes = order.map(|index| state[NodeId(index)]);
    for operator in &mut result.operators {
        let place = |node: &mut NodeId| {
            let place = order.iter().position(|index| *index == node.0);
            node.0 = place
                .and_then(|place| u8::try_from(place).ok())
                .unwrap_or(node.0);
        };
        if let Operator::Appends { slots, .. } = operator {
            let bits = order.iter().map(|index| *slots >> *index & 1);
            *slots = bits.rev().fold(0, |bits, bit| bits << 1 | bit);
        }
        match operator {
            Operator::Grants { node, .. }
            | Operator::Appends { node, .. }
            | Operator::Granted { node, .. }
            | Operator::Clears { node, .. }
            | Operator::Concludes { node, .. }
            | Operator::SawOver { node, .. }
            | Operator::Frees { node, .. }
            | Operator::Reopens { node, .. }
            | Operator::SawDebt { node, .. }
            | Operator::AsksPhase { node, .. }
            | Operator::AsksKeys { node, .. }
            | Operator::Restores { node, .. }
            | Operator::Voids { node, .. } => place(node),
            Operator::Idle => {}
        }
    }
    result.operators.sort_unstable();
    result
}

fn next_permutation(order: &mut [u8]) -> bool {
    let Some(pivot) = order
        .windows(2)
        .rposition(|pair| matches!(pair, [a, b] if a < b))
    else {
        return false;
    };
    let low = order.get(pivot).copied().unwrap_or_default();
    let Some(swap) = order.iter().rposition(|value| *value > low) else {
        return false;
    };
    order.swap(pivot, swap);
    order.split_at_mut(pivot + 1).1.reverse();
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_order_is_tried_once() {
        let mut order = [0, 1, 2];
        let mut seen = vec![order];
        while next_permutation(&mut order) {
            seen.push(order);
        }
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), 6);
    }
}
