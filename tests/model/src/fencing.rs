//! The fencing predicates and the phase table: not copies, but the answers of `slipway_api` itself,
//! asked once for every lease that differs in what they look at.

use std::sync::LazyLock;

use slipway_api::{Phase, PhaseOwner, RebootLease};

use crate::objects;
use crate::state::{Fence, Lease, NodeId, Slot};

/// Fences below this are looked up; a higher one is asked for.
const FENCES: usize = 10;
const REVOKED: u8 = 1;
const LIVE: u8 = 2;
const OVER: u8 = 4;
const OPEN: u8 = 8;

static ANSWERS: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut answers = Vec::with_capacity(Phase::ALL.len() * FENCES.pow(4));
    for phase in Phase::ALL {
        for fences in 0..FENCES.pow(3) {
            let lease = lease_of(phase, fences);
            answers.extend((0..FENCES).map(|fence| ask(&lease, i64::try_from(fence).unwrap_or(0))));
        }
    }
    answers
});

fn lease_of(phase: Phase, fences: usize) -> RebootLease {
    let digit = |place| u8::try_from(fences / FENCES.pow(place) % FENCES).unwrap_or(0);
    let lease = Lease {
        phase: crate::state::At(phase),
        fence: digit(2),
        grant: digit(1),
        revoke: digit(0),
        ..Lease::new(0)
    };
    objects::lease(NodeId(0), &lease)
}

fn ask(lease: &RebootLease, fence: i64) -> u8 {
    let bit = |holds: bool, bit| if holds { bit } else { 0 };
    bit(lease.is_revoked(fence), REVOKED)
        | bit(lease.is_live(fence), LIVE)
        | bit(lease.is_over(fence), OVER)
        | bit(lease.open_grant().is_some(), OPEN)
}

fn answers(lease: &Lease, fence: Fence) -> u8 {
    let place = Phase::ALL
        .iter()
        .position(|phase| *phase == lease.phase.0)
        .unwrap_or(0);
    let numbers = [lease.fence, lease.grant, lease.revoke, fence].map(usize::from);
    let index = numbers
        .iter()
        .fold(place, |index, number| index * FENCES + number);
    let known = numbers.iter().all(|number| *number < FENCES);
    match ANSWERS.get(index).filter(|_| known) {
        Some(answers) => *answers,
        None => ask(&objects::lease(NodeId(0), lease), fence.into()),
    }
}

/// [`RebootLease::is_revoked`].
pub fn is_revoked(lease: &Lease, fence: Fence) -> bool {
    answers(lease, fence) & REVOKED != 0
}

/// [`RebootLease::is_live`].
pub fn is_live(lease: &Lease, fence: Fence) -> bool {
    answers(lease, fence) & LIVE != 0
}

/// [`RebootLease::is_over`].
pub fn is_over(lease: &Lease, fence: Fence) -> bool {
    answers(lease, fence) & OVER != 0
}

/// [`RebootLease::open_grant`].
pub fn has_open_grant(lease: &Lease) -> bool {
    answers(lease, 0) & OPEN != 0
}

/// [`Phase::may_become`].
pub fn may_become(from: &Lease, to: &Lease, owner: PhaseOwner) -> bool {
    from.phase.0.may_become(to.phase.0, owner)
}

/// The lease may speak for the slot: it is the one that the slot was made for, or one made anew
/// that was asked (faults.md Q1). The planner and the executors each say the same.
pub fn speaks_for(lease: &Lease, slot: Slot) -> bool {
    lease.uid == slot.uid || (lease.fence >= slot.fence && lease.grant >= slot.fence)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::At;

    #[test]
    fn a_looked_up_answer_is_the_answer() {
        for phase in Phase::ALL {
            for fences in [
                [0, 0, 0],
                [2, 2, 0],
                [1, 2, 0],
                [1, 2, 2],
                [3, 2, 1],
                [9, 9, 9],
                [12, 3, 11],
            ] {
                let [fence, grant, revoke] = fences;
                let lease = Lease {
                    phase: At(phase),
                    fence,
                    grant,
                    revoke,
                    ..Lease::new(0)
                };
                let object = objects::lease(NodeId(0), &lease);
                for asked in 0..14 {
                    assert_eq!(answers(&lease, asked), ask(&object, asked.into()));
                }
            }
        }
    }
}
