//! The rows of G6.

use slipway_api::Phase;

use super::builders::*;
use crate::decide::{Action, CALL_MAY_FIRE, Why, decide};
use crate::facts::{Facts, LeaseView, Mark, Need, PodsView};
use crate::reason;

#[test]
fn row_1_without_work_whatever_is_ours_is_undone_and_nothing_else_is_done() {
    for phase in [
        Phase::Pending,
        Phase::Granted,
        Phase::Rebooted,
        Phase::Completed,
        Phase::Aborted,
        Phase::Failed,
    ] {
        let mut facts = facts(lease(phase));
        for boot in [BOOT, NEXT_BOOT] {
            facts.host.boot_id = boot.into();
            facts.node.mark = ours(5);
            assert_eq!(decide(&facts), Action::Undo { fence: 5 }, "{phase}");
        }
    }
    for phase in [Phase::Completed, Phase::Aborted, Phase::Failed] {
        assert_eq!(waits(&facts(lease(phase))), Some(Why::Idle), "{phase}");
    }
}

#[test]
fn row_1_a_missing_lease_leads_to_the_undo_only() {
    let mut facts = facts(lease(Phase::Draining));
    facts.lease = LeaseView::Missing;
    assert_eq!(decide(&facts), Action::Undo { fence: F });
    facts.node.mark = Mark::Absent;
    assert_eq!(waits(&facts), Some(Why::Idle));
}

#[test]
fn row_1_a_record_that_somebody_broke_is_undone_by_the_lease_s_fence() {
    let mut facts = facts(lease(Phase::Failed));
    facts.node.mark = Mark::Unreadable;
    assert_eq!(decide(&facts), Action::Undo { fence: F });
}

#[test]
fn row_2_a_grant_is_accepted_from_pending_and_from_granted() {
    for phase in [Phase::Pending, Phase::Granted] {
        assert_eq!(
            decide(&facts(lease(phase))),
            Action::Accept { fence: F },
            "{phase}"
        );
    }
}

#[test]
fn row_2_a_grant_called_off_before_it_was_accepted_needs_nothing() {
    for phase in [Phase::Pending, Phase::Granted] {
        assert_eq!(waits(&facts(revoked(phase))), Some(Why::Idle), "{phase}");
    }
}

#[test]
fn row_3_draining_goes_from_the_cordon_to_drained() {
    let mut facts = facts(lease(Phase::Draining));
    let LeaseView::Present(lease) = &mut facts.lease else {
        panic!()
    };
    lease.status.as_mut().unwrap().drain = None;
    facts.node.mark = Mark::Absent;
    facts.node.unschedulable = false;
    facts.pods = PodsView::NotRead;
    assert_eq!(decide(&facts), Action::Cordon { fence: F });
    facts.node.mark = ours(F);
    facts.node.unschedulable = true;
    assert_eq!(waits(&facts), Some(Why::Unread));
    facts.pods = PodsView::Left(3);
    assert_eq!(decide(&facts), Action::Evict { fence: F });
    facts.pods = PodsView::Left(0);
    assert_eq!(decide(&facts), Action::MarkDrained { fence: F });
}

#[test]
fn row_3_drained_waits_for_the_second_key_and_commits_with_it() {
    assert_eq!(waits(&facts(lease(Phase::Drained))), Some(Why::Clear));
    assert_eq!(
        decide(&facts(cleared(Phase::Drained, 10))),
        Action::Commit { fence: F }
    );
}

#[test]
fn row_3_a_drain_without_readable_checks_goes_on() {
    for need in [Need::Settling, Need::Unknown] {
        let mut facts = facts(lease(Phase::Draining));
        facts.host.need = need;
        facts.pods = PodsView::Left(1);
        assert_eq!(decide(&facts), Action::Evict { fence: F });
    }
}

#[test]
fn row_4_f13_another_boot_before_the_commit_was_somebody_else() {
    for phase in [Phase::Draining, Phase::Drained] {
        // The operator revokes, too, once nothing asks any more: both are true, this says more.
        for lease in [cleared(phase, 10), revoked(phase)] {
            let mut facts = facts(lease);
            facts.host.boot_id = NEXT_BOOT.into();
            assert_eq!(
                ending(&facts),
                failed(reason::REBOOTED_ELSEWHERE),
                "{phase}"
            );
        }
    }
}

#[test]
fn row_5_f64_a_human_who_uncordons_or_takes_our_annotation_says_no() {
    for phase in [Phase::Draining, Phase::Drained] {
        let mut uncordoned = facts(cleared(phase, 10));
        uncordoned.node.unschedulable = false;
        assert_eq!(ending(&uncordoned), failed(reason::VETOED), "{phase}");
        let mut taken = facts(cleared(phase, 10));
        taken.node.mark = Mark::Absent;
        assert_eq!(ending(&taken), failed(reason::VETOED), "{phase}");
        let mut broken = facts(cleared(phase, 10));
        broken.node.mark = Mark::Unreadable;
        assert_eq!(ending(&broken), failed(reason::VETOED), "{phase}");
        let mut theirs = facts(cleared(phase, 10));
        theirs.node.foreign_cordon = true;
        assert_eq!(ending(&theirs), failed(reason::VETOED), "{phase}");
    }
}

#[test]
fn row_5_a_cordon_seen_by_this_process_and_gone_is_a_veto_before_any_progress_was_written() {
    let mut facts = facts(lease(Phase::Draining));
    let LeaseView::Present(lease) = &mut facts.lease else {
        panic!()
    };
    lease.status.as_mut().unwrap().drain = None;
    facts.node.mark = Mark::Absent;
    facts.seen.cordoned = Some(F);
    assert_eq!(ending(&facts), failed(reason::VETOED));
}

#[test]
fn row_6_revoked_before_the_commit_is_undone_and_aborted_with_the_operator_s_reason() {
    for phase in [Phase::Draining, Phase::Drained] {
        let mut facts = facts(revoked(phase));
        let aborted = Some((Phase::Aborted, "WindowClosed".to_owned()));
        assert_eq!(ending(&facts), aborted, "{phase}");
        facts.node.mark = Mark::Absent;
        assert_eq!(ending(&facts), aborted, "{phase}, not cordoned yet");
    }
}

#[test]
fn row_7_after_the_boot_the_undo_comes_first_then_the_report_then_rebooted() {
    let mut facts = facts(lease(Phase::Rebooting));
    facts.host.boot_id = NEXT_BOOT.into();
    facts.host.need = Need::Settling;
    facts.node.condition_current = false;
    assert_eq!(decide(&facts), Action::Undo { fence: F });
    facts.node.mark = Mark::Absent;
    facts.node.undone = Some(5);
    assert_eq!(decide(&facts), Action::Undo { fence: F });
    facts.node.undone = Some(F);
    assert_eq!(waits(&facts), Some(Why::Report));
    facts.host.need = Need::NotRequired;
    assert_eq!(waits(&facts), Some(Why::Report));
    facts.node.condition_current = true;
    for need in [Need::NotRequired, Need::Required, Need::Unknown] {
        facts.host.need = need;
        assert_eq!(decide(&facts), Action::MarkRebooted { fence: F });
    }
}

#[test]
fn row_7_a_proved_reboot_needs_neither_journal_nor_operator() {
    let mut facts = facts(lease(Phase::Rebooting));
    facts.host.boot_id = NEXT_BOOT.into();
    broken(&mut facts);
    assert_eq!(decide(&facts), Action::Undo { fence: F });
}

#[test]
fn row_8_while_a_call_may_still_take_effect_there_is_no_undo_and_no_ending() {
    let mut facts = facts(lease(Phase::Rebooting));
    for ago in [0, 599] {
        called(&mut facts, ago);
        assert_eq!(waits(&facts), Some(Why::CallMayFire));
    }
    called(&mut facts, 4000);
    facts.host.shutdown_pending = Some(true);
    assert_eq!(waits(&facts), Some(Why::CallMayFire));
    facts.host.shutdown_pending = Some(false);
    assert_eq!(ending(&facts), failed(reason::NOT_REBOOTED));
    // A machine that cannot be asked any more must not keep its cordon for ever.
    facts.host.shutdown_pending = None;
    assert_eq!(ending(&facts), failed(reason::NOT_REBOOTED));
}

#[test]
fn row_8_holds_whatever_became_of_the_lease() {
    let mut aborted = facts(revoked(Phase::Drained));
    let mut missing = facts(lease(Phase::Drained));
    missing.lease = LeaseView::Missing;
    let mut gone = facts(lease(Phase::Drained));
    gone.lease = LeaseView::KindMissing { lasted: secs(9999) };
    let mut released = facts(lease(Phase::Failed));
    released.node.mark = ours(F);
    for facts in [&mut aborted, &mut missing, &mut gone, &mut released] {
        called(facts, 10);
        assert_eq!(waits(facts), Some(Why::CallMayFire), "{:?}", facts.lease);
        called(facts, CALL_MAY_FIRE.as_secs());
        assert_ne!(waits(facts), Some(Why::CallMayFire), "{:?}", facts.lease);
    }
}

#[test]
fn row_8_a_call_of_an_earlier_boot_is_spent() {
    let mut facts = facts(lease(Phase::Completed));
    facts.node.mark = ours(F);
    called(&mut facts, 10);
    facts.host.boot_id = NEXT_BOOT.into();
    assert_eq!(decide(&facts), Action::Undo { fence: F });
}

#[test]
fn row_9_what_contradicts_itself_leads_to_nothing_new() {
    let mut unreadable = facts(lease(Phase::Drained));
    unreadable.lease = LeaseView::Unreadable {
        reason: "phase Hovering".into(),
    };
    assert_eq!(waits(&unreadable), Some(Why::Contradictory));
    let mut no_grant = lease(Phase::Draining);
    no_grant.spec.grant = None;
    assert_eq!(waits(&facts(no_grant)), Some(Why::Contradictory));
    let mut later_grant = lease(Phase::Draining);
    later_grant.spec.grant.as_mut().unwrap().fence = 9;
    assert_eq!(waits(&facts(later_grant)), Some(Why::Contradictory));
    let mut no_boot = facts(lease(Phase::Rebooting));
    let LeaseView::Present(lease) = &mut no_boot.lease else {
        panic!()
    };
    lease.status.as_mut().unwrap().boot_id_before = None;
    journal(&mut no_boot).committed = 3;
    assert_eq!(waits(&no_boot), Some(Why::Contradictory));
}

fn proved_by(boot_id: &str) -> Facts {
    let mut lease = lease(Phase::Rebooted);
    lease.status.as_mut().unwrap().boot_id_after = Some(boot_id.to_owned());
    facts(lease)
}

#[test]
fn a_verified_reboot_asks_nothing_of_the_agent() {
    assert_eq!(waits(&proved_by(BOOT)), Some(Why::Verification));
}

#[test]
fn a_second_boot_before_the_operator_has_verified_is_reported_too() {
    // Else the operator would wait for ever for a boot that is gone, and hold the slot.
    let mut again = proved_by(NEXT_BOOT);
    assert_eq!(decide(&again), Action::MarkRebooted { fence: F });
    again.node.condition_current = false;
    assert_eq!(waits(&again), Some(Why::Report));
}
