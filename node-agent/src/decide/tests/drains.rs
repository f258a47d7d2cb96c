//! Before the cordon, and what follows from a drain that takes too long.

use serde_json::{Value, json};
use slipway_api::{Phase, RebootLease};

use super::builders::*;
use crate::decide::{Action, PREFLIGHT_PATIENCE, Why, decide};
use crate::facts::{Facts, LeaseView, PodsView, Preflight};

/// A lease whose grant drains like that.
fn with(mut lease: RebootLease, drain: &Value) -> RebootLease {
    let grant = lease.spec.grant.as_mut().unwrap();
    grant.drain = serde_json::from_value(drain.clone()).unwrap();
    lease
}

/// Accepted, and the node is as it was.
fn untouched(drain: &Value) -> Facts {
    super::builders::untouched(with(lease(Phase::Draining), drain))
}

fn blocked(seconds: u64) -> Preflight {
    Preflight::Blocked {
        lasted: secs(seconds),
        message: "shop/cart: budget cart".into(),
    }
}

#[test]
fn a_delay_holds_the_cordon_and_neither_the_veto_nor_the_timeout() {
    let drain = json!({"delay": "5m", "timeout": "1m", "preflight": false});
    let mut facts = untouched(&drain);
    facts.seen.drain_elapsed = secs(299);
    assert_eq!(waits(&facts), Some(Why::DrainDelay));
    facts.seen.drain_elapsed = secs(300);
    assert_eq!(decide(&facts), Action::Cordon { fence: F });
    // The timeout counts from the end of the delay.
    facts.seen.drain_elapsed = secs(359);
    assert_eq!(ending(&facts), None);
    facts.seen.drain_elapsed = secs(360);
    assert_eq!(ending(&facts), failed("DrainTimeout"));
}

#[test]
fn a_delay_ends_when_the_grant_is_called_off() {
    let drain = json!({"delay": "5m"});
    let facts = facts(with(revoked(Phase::Draining), &drain));
    let aborted = Some((Phase::Aborted, "WindowClosed".to_owned()));
    assert_eq!(ending(&facts), aborted);
}

#[test]
fn a_node_that_cannot_be_drained_now_is_not_cordoned() {
    let mut facts = untouched(&json!({}));
    assert_eq!(decide(&facts), Action::Preflight { fence: F });
    facts.seen.preflight = blocked(PREFLIGHT_PATIENCE.as_secs() - 1);
    assert_eq!(decide(&facts), Action::Preflight { fence: F });
    facts.seen.preflight = blocked(PREFLIGHT_PATIENCE.as_secs());
    assert_eq!(ending(&facts), failed("DrainBlocked"));
    let Action::Retire { outcome, .. } = decide(&facts) else {
        panic!("not ended");
    };
    assert!(outcome.message.contains("budget cart"), "{outcome:?}");
    facts.seen.preflight = Preflight::Passed;
    assert_eq!(decide(&facts), Action::Cordon { fence: F });
}

#[test]
fn nothing_is_asked_where_the_drain_ends_by_force_or_the_policy_says_so() {
    for drain in [
        json!({"preflight": false}),
        json!({"onTimeout": "ForceDelete"}),
        json!({"onTimeout": "RebootAnyway"}),
    ] {
        let facts = untouched(&drain);
        assert_eq!(decide(&facts), Action::Cordon { fence: F }, "{drain}");
    }
}

#[test]
fn f57_a_drain_that_takes_too_long_ends_as_its_policy_says() {
    let after = |on_timeout: &str, phase, elapsed| {
        let drain = json!({"timeout": "10m", "onTimeout": on_timeout});
        let mut facts = facts(with(cleared(phase, 10), &drain));
        facts.pods = PodsView::Left(2);
        facts.seen.drain_elapsed = secs(elapsed);
        facts
    };
    let evicts = Action::Evict { fence: F };
    for on_timeout in ["Abort", "ForceDelete", "RebootAnyway"] {
        for phase in [Phase::Draining, Phase::Drained] {
            assert_eq!(
                decide(&after(on_timeout, phase, 599)),
                evicts,
                "{on_timeout}"
            );
        }
    }
    assert_eq!(
        ending(&after("Abort", Phase::Draining, 600)),
        failed("DrainTimeout")
    );
    // Deleted pods are waited for as evicted ones are.
    for phase in [Phase::Draining, Phase::Drained] {
        assert_eq!(decide(&after("ForceDelete", phase, 600)), evicts);
    }
    assert_eq!(
        decide(&after("RebootAnyway", Phase::Draining, 600)),
        Action::MarkDrained { fence: F }
    );
    assert_eq!(
        decide(&after("RebootAnyway", Phase::Drained, 600)),
        Action::Commit { fence: F }
    );
}

#[test]
fn s2_without_the_second_key_what_is_left_is_evicted_on() {
    let drain = json!({"timeout": "10m", "onTimeout": "RebootAnyway"});
    let mut facts = facts(with(lease(Phase::Drained), &drain));
    facts.pods = PodsView::Left(2);
    facts.seen.drain_elapsed = secs(600);
    assert_eq!(decide(&facts), Action::Evict { fence: F });
    facts.pods = PodsView::NotRead;
    assert_eq!(waits(&facts), Some(Why::Unread));
}

#[test]
fn s2_an_agent_that_was_away_drains_before_it_reboots_anyway() {
    let drain = json!({"timeout": "10m", "onTimeout": "RebootAnyway"});
    let mut facts = facts(with(cleared(Phase::Draining, 10), &drain));
    facts.pods = PodsView::Left(2);
    facts.seen.drain_elapsed = secs(6000);
    let LeaseView::Present(lease) = &mut facts.lease else {
        panic!("no lease");
    };
    lease.status.as_mut().unwrap().drain = None;
    assert_eq!(decide(&facts), Action::Evict { fence: F });
}

#[test]
fn a_node_that_was_never_cordoned_in_time_is_given_up_whatever_the_policy_says() {
    for on_timeout in ["ForceDelete", "RebootAnyway"] {
        let mut facts = untouched(&json!({"timeout": "10m", "onTimeout": on_timeout}));
        facts.seen.drain_elapsed = secs(600);
        assert_eq!(ending(&facts), failed("DrainTimeout"), "{on_timeout}");
    }
}
