//! Faults by their ids.

use serde_json::json;
use slipway_api::Phase;

use super::builders::*;
use crate::decide::{Action, KIND_MISSING, TRIES_MAX, TRY_PAUSE, Why, decide};
use crate::facts::{LeaseView, Mark, Need, Outcome, PodsView};
use crate::reason;

#[test]
fn f01_a_grant_that_was_seen_and_forgotten_is_accepted_later() {
    let mut facts = facts(lease(Phase::Granted));
    facts.host.need = Need::Settling;
    assert_eq!(waits(&facts), Some(Why::NotRequired));
    facts.host.need = Need::Required;
    assert_eq!(decide(&facts), Action::Accept { fence: F });
}

#[test]
fn f02_f03_an_accepted_grant_goes_on_under_the_same_fence_with_no_memory() {
    let mut facts = facts(lease(Phase::Draining));
    facts.pods = PodsView::Left(2);
    facts.host.need = Need::Settling;
    assert_eq!(decide(&facts), Action::Evict { fence: F });
}

#[test]
fn f04_f61_pods_that_come_back_after_drained_are_evicted_again() {
    let mut facts = facts(cleared(Phase::Drained, 10));
    facts.pods = PodsView::Left(1);
    assert_eq!(decide(&facts), Action::Evict { fence: F });
}

#[test]
fn f05_dead_between_commit_and_call_commits_again_while_the_second_key_is_fresh() {
    assert_eq!(
        decide(&facts(cleared(Phase::Rebooting, 59))),
        Action::Commit { fence: F }
    );
    assert_eq!(
        ending(&facts(cleared(Phase::Rebooting, 61))),
        failed(reason::NOT_REBOOTED)
    );
}

#[test]
fn f05_dead_after_the_call_waits_for_it() {
    let mut facts = facts(cleared(Phase::Rebooting, 10));
    called(&mut facts, 5);
    assert_eq!(waits(&facts), Some(Why::CallMayFire));
}

#[test]
fn f05_a_commit_that_the_journal_lost_is_waited_for_as_if_it_had_been_called() {
    for lose in [broken, |facts: &mut crate::facts::Facts| {
        journal(facts).committed = 0;
    }] {
        let mut facts = facts(cleared(Phase::Rebooting, 10));
        lose(&mut facts);
        facts.clocks.started = facts.clocks.boottime.checked_sub(secs(599)).unwrap();
        assert_eq!(waits(&facts), Some(Why::CallMayFire));
        facts.clocks.started = secs(0);
        assert_eq!(ending(&facts), failed(reason::NOT_REBOOTED));
    }
}

#[test]
fn f06_each_step_after_the_boot_is_repeatable() {
    let mut facts = facts(lease(Phase::Rebooting));
    facts.host.boot_id = NEXT_BOOT.into();
    called(&mut facts, 5);
    assert_eq!(decide(&facts), Action::Undo { fence: F });
    facts.node.mark = Mark::Absent;
    facts.node.undone = Some(F);
    assert_eq!(decide(&facts), Action::MarkRebooted { fence: F });
    assert_eq!(decide(&facts), Action::MarkRebooted { fence: F });
}

#[test]
fn f08_a_refusal_is_tried_again_three_times_in_all_and_then_named() {
    let mut facts = facts(cleared(Phase::Rebooting, 10));
    let boottime = facts.clocks.boottime;
    for refusals in 1..TRIES_MAX {
        let refused = journal(&mut facts).with_refusal("inhibited by dpkg", boottime);
        *journal(&mut facts) = refused;
        facts.clocks.boottime = boottime;
        assert_eq!(waits(&facts), Some(Why::NextTry));
        facts.clocks.boottime = boottime + TRY_PAUSE * refusals;
        assert_eq!(decide(&facts), Action::Commit { fence: F });
    }
    let refused = journal(&mut facts).with_refusal("inhibited by dpkg", boottime);
    *journal(&mut facts) = refused;
    let Action::Retire { outcome, .. } = decide(&facts) else {
        panic!()
    };
    assert_eq!(
        (outcome.phase, outcome.reason.as_str()),
        (Phase::Failed, reason::REBOOT_REFUSED)
    );
    assert!(outcome.message.contains("dpkg"));
}

#[test]
fn f08_a_refusal_whose_second_key_ran_out_is_named_too() {
    let mut facts = facts(cleared(Phase::Rebooting, 61));
    let refused = journal(&mut facts).with_refusal("no", secs(1));
    *journal(&mut facts) = refused;
    assert_eq!(ending(&facts), failed(reason::REBOOT_REFUSED));
}

#[test]
fn f09_back_with_the_same_boot_id_is_not_a_reboot() {
    let mut facts = facts(cleared(Phase::Rebooting, 10));
    called(&mut facts, 601);
    assert_eq!(ending(&facts), failed(reason::NOT_REBOOTED));
}

#[test]
fn a_call_is_shown_once() {
    let mut facts = facts(cleared(Phase::Rebooting, 10));
    let LeaseView::Present(lease) = &mut facts.lease else {
        panic!()
    };
    lease.status.as_mut().unwrap().reason = reason::COMMITTED.into();
    called(&mut facts, 1);
    assert_eq!(decide(&facts), Action::MarkCalled { fence: F });
    let LeaseView::Present(lease) = &mut facts.lease else {
        panic!()
    };
    lease.status.as_mut().unwrap().reason = reason::REBOOT_CALLED.into();
    assert_eq!(waits(&facts), Some(Why::CallMayFire));
}

#[test]
fn f15_a_trigger_that_vanished_before_the_commit_ends_the_reboot_and_after_it_does_not() {
    for phase in [Phase::Draining, Phase::Drained] {
        let mut facts = facts(cleared(phase, 10));
        facts.host.need = Need::NotRequired;
        assert_eq!(ending(&facts), failed(reason::NO_LONGER_NEEDED), "{phase}");
    }
    let mut facts = facts(cleared(Phase::Rebooting, 10));
    called(&mut facts, 1);
    facts.host.need = Need::NotRequired;
    assert_eq!(waits(&facts), Some(Why::CallMayFire));
}

#[test]
fn f37_f57_a_drain_past_its_timeout_is_undone_and_names_the_pods() {
    let mut late = lease(Phase::Draining);
    late.status.as_mut().unwrap().drain = Some(
        serde_json::from_value(json!({"total": 1, "evicted": 0, "waiting": [
            {"pod": "default/web-1", "reason": "the disruption budget web"}]}))
        .unwrap(),
    );
    let mut facts = facts(late);
    facts.pods = PodsView::Left(1);
    facts.seen.drain_elapsed = secs(30 * 60 - 1);
    assert_eq!(decide(&facts), Action::Evict { fence: F });
    facts.seen.drain_elapsed = secs(30 * 60);
    let Action::Retire { outcome, .. } = decide(&facts) else {
        panic!()
    };
    assert_eq!(outcome.reason, reason::DRAIN_TIMEOUT);
    assert!(
        outcome
            .message
            .contains("default/web-1 (the disruption budget web)")
    );
}

#[test]
fn a_drain_without_limit_never_times_out() {
    let mut endless = lease(Phase::Draining);
    endless.spec.grant.as_mut().unwrap().drain.timeout = slipway_api::Duration::from_secs(0);
    let mut facts = facts(endless);
    facts.pods = PodsView::Left(1);
    facts.seen.drain_elapsed = secs(1_000_000);
    assert_eq!(decide(&facts), Action::Evict { fence: F });
}

#[test]
fn f41_a_restored_lease_does_not_hide_a_call_that_is_under_way() {
    for phase in [Phase::Draining, Phase::Drained] {
        let mut facts = facts(cleared(phase, 10));
        called(&mut facts, 10);
        assert_eq!(waits(&facts), Some(Why::CallMayFire), "{phase}");
    }
}

#[test]
fn f41_a_restored_lease_of_an_earlier_reboot_does_not_hide_a_call_of_this_boot() {
    let mut facts = facts(cleared(Phase::Rebooting, 10));
    called(&mut facts, 10);
    facts.host.boot_id = NEXT_BOOT.into();
    // Back from the reboot that the lease tells of: the journal's call has had its effect.
    assert_eq!(decide(&facts), Action::Undo { fence: F });
    // The journal knows of a later one, which is about to end the present boot.
    let call = journal(&mut facts).with_commit(F + 1, NEXT_BOOT, "node-uid");
    *journal(&mut facts) = call.with_call(facts.clocks.boottime);
    assert_eq!(waits(&facts), Some(Why::CallMayFire));
}

#[test]
fn f66_a_lease_of_a_deleted_node_is_none() {
    let mut facts = facts(lease(Phase::Granted));
    facts.node.uid = "new".into();
    assert_eq!(waits(&facts), Some(Why::Idle));
    facts.node.mark = ours(5);
    assert_eq!(decide(&facts), Action::Undo { fence: 5 });
}

#[test]
fn f75_missing_crds_lead_to_the_undo_after_five_minutes_of_it() {
    let mut facts = facts(lease(Phase::Draining));
    facts.lease = LeaseView::KindMissing { lasted: secs(299) };
    assert_eq!(waits(&facts), Some(Why::KindMissing));
    facts.lease = LeaseView::KindMissing {
        lasted: KIND_MISSING,
    };
    assert_eq!(decide(&facts), Action::Undo { fence: F });
}

#[test]
fn f96_past_not_after_the_agent_undoes_by_itself() {
    for phase in [Phase::Draining, Phase::Drained] {
        let mut facts = facts(cleared(phase, 10));
        facts.clocks.api = "2026-01-01T01:00:00Z".parse().unwrap();
        assert_eq!(ending(&facts), failed(reason::EXPIRED), "{phase}");
    }
}

#[test]
fn q12_a_grant_that_has_run_out_is_not_accepted_any_more() {
    let mut facts = facts(lease(Phase::Granted));
    facts.clocks.api = "2026-01-01T00:59:59Z".parse().unwrap();
    facts.clocks.wall = facts.clocks.api;
    assert_eq!(decide(&facts), Action::Accept { fence: F });
    facts.clocks.api = "2026-01-01T01:00:00Z".parse().unwrap();
    facts.clocks.wall = facts.clocks.api;
    assert_eq!(waits(&facts), Some(Why::GrantExpired));
}

#[test]
fn f97_an_undo_is_owed_even_when_nothing_of_ours_is_there() {
    // A cordon may be under way; Retire always writes the Node (node_write::undo).
    let mut facts = facts(revoked(Phase::Draining));
    facts.node.mark = Mark::Absent;
    facts.node.unschedulable = false;
    assert!(ending(&facts).is_some());
}

#[test]
fn f98_with_an_unreadable_journal_nothing_is_accepted_and_everything_can_be_undone() {
    let mut granted = facts(lease(Phase::Granted));
    broken(&mut granted);
    assert_eq!(waits(&granted), Some(Why::JournalUnreadable));
    granted.node.mark = ours(5);
    assert_eq!(decide(&granted), Action::Undo { fence: 5 });
    let mut aborted = facts(revoked(Phase::Drained));
    broken(&mut aborted);
    assert!(ending(&aborted).is_some());
    let mut missing = facts(lease(Phase::Drained));
    missing.lease = LeaseView::Missing;
    broken(&mut missing);
    missing.clocks.started = missing.clocks.boottime;
    assert_eq!(waits(&missing), Some(Why::CallMayFire));
    missing.clocks.started = secs(0);
    assert_eq!(decide(&missing), Action::Undo { fence: F });
}

#[test]
fn g9_a_fence_at_or_below_the_journal_s_is_reported_and_not_accepted() {
    for committed in [F, 9] {
        let mut facts = facts(lease(Phase::Granted));
        journal(&mut facts).committed = committed;
        assert_eq!(decide(&facts), Action::ReportJournal { committed });
        let LeaseView::Present(lease) = &mut facts.lease else {
            panic!()
        };
        lease.status.as_mut().unwrap().journal_fence = committed;
        assert_eq!(waits(&facts), Some(Why::JournalFence));
    }
}

#[test]
fn q1_an_answer_owed_is_aborted_once_it_is_revoked_and_not_before() {
    let mut owed = lease(Phase::Draining);
    let status = owed.status.as_mut().unwrap();
    status.boot_id_before = None;
    status.drain = None;
    let mut waiting = facts(owed.clone());
    waiting.node.mark = Mark::Absent;
    assert_eq!(waits(&waiting), Some(Why::Contradictory));
    owed.spec.revoke = revoked(Phase::Draining).spec.revoke;
    for mark in [Mark::Absent, ours(F)] {
        let mut answered = facts(owed.clone());
        answered.node.mark = mark;
        assert_eq!(ending(&answered).unwrap().0, Phase::Aborted);
    }
    // The deleted lease had been committed: its call comes first.
    let mut firing = facts(owed);
    called(&mut firing, 10);
    assert_eq!(waits(&firing), Some(Why::CallMayFire));
}

#[test]
fn g5_an_older_cordon_is_undone_before_ours_is_recorded() {
    let mut facts = facts(lease(Phase::Draining));
    facts.node.mark = ours(5);
    assert_eq!(decide(&facts), Action::Undo { fence: 5 });
}

#[test]
fn a_fence_that_was_undone_is_never_cordoned_again() {
    let mut facts = facts(lease(Phase::Draining));
    facts.node.mark = Mark::Absent;
    facts.node.undone = Some(F);
    assert_eq!(ending(&facts), failed(reason::NOT_REBOOTED));
    let outcome = Outcome::failed(reason::DRAIN_TIMEOUT, "too long");
    facts.seen.outcome = Some((F, outcome.clone()));
    assert_eq!(decide(&facts), Action::Retire { fence: F, outcome });
    let mut granted = super::builders::facts(lease(Phase::Granted));
    granted.node.undone = Some(F);
    assert_eq!(waits(&granted), Some(Why::Contradictory));
}

#[test]
fn f47_a_paused_ledger_stops_the_accept() {
    let mut facts = facts(lease(Phase::Granted));
    let mut paused = ledger();
    paused.spec.paused = true;
    facts.ledger = crate::facts::LedgerView::Present(Box::new(paused));
    assert_eq!(waits(&facts), Some(Why::Paused));
}
