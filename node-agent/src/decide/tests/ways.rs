//! Whether and how the machine lets itself be rebooted, and calls that come to nothing.

use slipway_api::Phase;
use slipway_api::policy::RebootMethod;

use super::builders::*;
use crate::decide::{ANSWERED_MAY_FIRE, Action, CALL_MAY_FIRE, PATIENCE, Why, decide};
use crate::facts::{Facts, LeaseView};
use crate::host::Offer;
use crate::reason;

/// Committed and called so many seconds ago; the policy gives it this time.
fn called_with(timeout: u64, ago: u64, answer: Option<&str>) -> Facts {
    let mut facts = facts(cleared(Phase::Rebooting, 10));
    called(&mut facts, ago);
    if let Some(answer) = answer {
        *journal(&mut facts) = journal(&mut facts).with_answer(answer);
    }
    let LeaseView::Present(lease) = &mut facts.lease else {
        panic!("no lease");
    };
    let grant = lease.spec.grant.as_mut().unwrap();
    grant.reboot.timeout = slipway_api::Duration::from_secs(timeout);
    facts
}

fn told(facts: &Facts) -> String {
    let Action::Retire { outcome, .. } = decide(facts) else {
        panic!("it goes on");
    };
    outcome.message
}

#[test]
fn a_method_that_the_host_does_not_offer_ends_the_reboot_before_the_node_is_touched() {
    let mut facts = untouched(lease(Phase::Draining));
    assert_eq!(decide(&facts), Action::Cordon { fence: F });
    facts.host.offer = impossible();
    assert_eq!(ending(&facts), failed(reason::METHOD_UNAVAILABLE));
    assert!(told(&facts).contains("Auto: PID 1 is not the host's"));
    facts.host.offer = Offer::NotAsked;
    assert_eq!(waits(&facts), Some(Why::Unread));
}

#[test]
fn a_host_that_cannot_be_rebooted_is_accepted_so_that_its_lease_says_so() {
    for offer in [unanswered(), impossible()] {
        let mut facts = facts(lease(Phase::Granted));
        facts.host.offer = offer;
        facts.host.shutdown_pending = None;
        assert_eq!(decide(&facts), Action::Accept { fence: F });
        facts.host.shutdown_pending = Some(true);
        assert_eq!(waits(&facts), Some(Why::HostNotReady));
    }
}

#[test]
fn a_silent_host_is_given_a_minute_and_the_node_is_left_alone() {
    let mut drained = facts(cleared(Phase::Drained, 10));
    for facts in [&mut untouched(lease(Phase::Draining)), &mut drained] {
        facts.host.offer = unanswered();
        facts.seen.kept = secs(PATIENCE.as_secs() - 1);
        assert_eq!(waits(facts), Some(Why::HostNotReady));
        facts.seen.kept = PATIENCE;
        assert_eq!(ending(facts), failed(reason::METHOD_UNAVAILABLE));
    }
}

#[test]
fn f08_locks_are_waited_for_as_long_as_the_policy_says_and_then_named() {
    let mut drained = facts(cleared(Phase::Drained, 10));
    for facts in [&mut untouched(lease(Phase::Draining)), &mut drained] {
        facts.host.offer = inhibited();
        facts.seen.kept = secs(15 * 60 - 1);
        assert_eq!(waits(facts), Some(Why::Inhibited));
        facts.seen.kept = secs(15 * 60);
        assert_eq!(ending(facts), failed(reason::REBOOT_REFUSED));
        assert!(told(facts).contains("dpkg (pid 7): upgrade"));
    }
}

#[test]
fn f08_locks_before_the_cordon_are_not_called_a_drain_that_took_too_long() {
    let mut facts = untouched(lease(Phase::Draining));
    facts.host.offer = inhibited();
    facts.seen.drain_elapsed = secs(3600);
    assert_eq!(waits(&facts), Some(Why::Inhibited));
    facts.host.offer = Offer::by(RebootMethod::Logind);
    assert_eq!(ending(&facts), failed(reason::DRAIN_TIMEOUT));
}

#[test]
fn a_revoke_ends_what_locks_keep() {
    let mut facts = facts(revoked(Phase::Drained));
    facts.host.offer = inhibited();
    assert_eq!(ending(&facts).unwrap().0, Phase::Aborted);
}

#[test]
fn a_way_that_needs_no_bus_works_where_nobody_says_whether_the_host_goes_down() {
    for (method, commits) in [
        (RebootMethod::Signal, true),
        (RebootMethod::Systemctl, true),
        (RebootMethod::Named("power-cycle".into()), true),
        (RebootMethod::Logind, false),
    ] {
        for (phase, action) in [
            (Phase::Granted, Action::Accept { fence: F }),
            (Phase::Drained, Action::Commit { fence: F }),
        ] {
            let mut facts = facts(cleared(phase, 10));
            facts.host.offer = Offer::by(method.clone());
            facts.host.shutdown_pending = None;
            assert_eq!(decide(&facts) == action, commits, "{method} {phase}");
            facts.host.shutdown_pending = Some(true);
            assert_ne!(decide(&facts), action, "{method} {phase}");
        }
    }
}

#[test]
fn f09_a_call_that_was_answered_and_came_to_nothing_fails_within_the_policy_s_timeout() {
    let answer = Some("power-cycle: accepted");
    assert_eq!(waits(&called_with(60, 59, answer)), Some(Why::CallMayFire));
    let mut facts = called_with(60, 60, answer);
    assert_eq!(ending(&facts), failed(reason::NOT_REBOOTED));
    assert!(told(&facts).contains("(power-cycle: accepted)"));
    // A machine that says that it goes down is waited for, and one that says nothing for as long as a
    // call may take.
    facts.host.shutdown_pending = Some(true);
    assert_eq!(waits(&facts), Some(Why::CallMayFire));
    facts.host.shutdown_pending = None;
    assert_eq!(waits(&facts), Some(Why::CallMayFire));
    // So is a call that was never answered.
    assert_eq!(waits(&called_with(60, 60, None)), Some(Why::CallMayFire));
    let unanswered = called_with(60, CALL_MAY_FIRE.as_secs(), None);
    assert_eq!(ending(&unanswered), failed(reason::NOT_REBOOTED));
}

#[test]
fn f09_no_timeout_is_too_short_for_a_machine_to_begin_its_shutdown_nor_longer_than_the_call() {
    let short = ANSWERED_MAY_FIRE.as_secs();
    let answer = Some("Signal: accepted");
    assert_eq!(
        waits(&called_with(1, short - 1, answer)),
        Some(Why::CallMayFire)
    );
    assert_eq!(
        ending(&called_with(1, short, answer)),
        failed(reason::NOT_REBOOTED)
    );
    let long = CALL_MAY_FIRE.as_secs();
    assert_eq!(
        waits(&called_with(3600, long - 1, answer)),
        Some(Why::CallMayFire)
    );
    assert_eq!(
        ending(&called_with(3600, long, answer)),
        failed(reason::NOT_REBOOTED)
    );
}

#[test]
fn f09_an_answer_to_an_earlier_call_says_nothing_of_this_one() {
    let mut facts = called_with(60, 61, Some("Logind: accepted"));
    journal(&mut facts).committed = 6;
    assert_eq!(waits(&facts), Some(Why::CallMayFire));
}
