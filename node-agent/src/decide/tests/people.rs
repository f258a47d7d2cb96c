//! What people ask of a single reboot, as the agent sees it: requests by the grant, releases by the
//! lease that the operator has ended.

use serde_json::json;
use slipway_api::{Phase, RebootLease};

use super::builders::*;
use crate::decide::{Action, Why, decide};
use crate::facts::{Mark, Need};

/// The lease, its grant serving a human's request.
fn requested(mut lease: RebootLease) -> RebootLease {
    let request = json!({"afterFence": 6, "by": "ada", "reason": "new firmware"});
    let grant = lease.spec.grant.as_mut().unwrap();
    grant.request = Some(serde_json::from_value(request).unwrap());
    lease
}

#[test]
fn s7_a_request_is_served_where_nothing_on_the_host_asks() {
    for need in [Need::NotRequired, Need::Unknown, Need::Settling] {
        let mut granted = facts(requested(lease(Phase::Granted)));
        granted.host.need = need;
        assert_eq!(decide(&granted), Action::Accept { fence: F }, "{need:?}");
        let mut draining = facts(requested(lease(Phase::Draining)));
        draining.host.need = need;
        assert_eq!(
            decide(&draining),
            Action::MarkDrained { fence: F },
            "{need:?}"
        );
        let mut drained = facts(requested(cleared(Phase::Drained, 10)));
        drained.host.need = need;
        assert_eq!(decide(&drained), Action::Commit { fence: F }, "{need:?}");
    }
}

#[test]
fn f106_a_request_that_the_grant_does_not_carry_counts_for_nothing() {
    let request = json!({"afterFence": 0, "by": "ada"});
    for phase in [Phase::Granted, Phase::Drained] {
        let mut lease = cleared(phase, 10);
        lease.spec.request = Some(serde_json::from_value(request.clone()).unwrap());
        let mut facts = facts(lease);
        facts.host.need = Need::NotRequired;
        if phase == Phase::Granted {
            assert_eq!(waits(&facts), Some(Why::NotRequired));
        } else {
            assert_eq!(ending(&facts), failed(crate::reason::NO_LONGER_NEEDED));
        }
    }
}

#[test]
fn f95_an_agent_that_comes_late_to_a_released_reboot_undoes_and_never_reboots() {
    let mut released = facts(cleared(Phase::Failed, 10));
    released.node.mark = ours(F);
    released.node.unschedulable = true;
    // Committed, and not called: with a fresh second key it would have been called again.
    *journal(&mut released) = journal(&mut released).with_commit(F, BOOT, "node-uid");
    assert_eq!(decide(&released), Action::Undo { fence: F });
    let mut rebooted = released.clone();
    rebooted.host.boot_id = NEXT_BOOT.into();
    assert_eq!(decide(&rebooted), Action::Undo { fence: F });
    rebooted.node.mark = Mark::Absent;
    assert_eq!(waits(&rebooted), Some(Why::Idle));
    // A call that may still take effect is waited for, whoever has released it.
    called(&mut released, 10);
    assert_eq!(waits(&released), Some(Why::CallMayFire));
}
