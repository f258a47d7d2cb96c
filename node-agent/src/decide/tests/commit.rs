//! Everything that must hold at the commit (G5), taken away one at a time.

use serde_json::json;
use slipway_api::{Phase, RebootLease};

use super::builders::*;
use crate::decide::{Action, Why, decide};
use crate::facts::{Facts, LeaseView, LedgerView, Mark, Need, PodsView};
use crate::host::Offer;

fn lease_of(facts: &mut Facts) -> &mut RebootLease {
    let LeaseView::Present(lease) = &mut facts.lease else {
        panic!("the facts have a lease");
    };
    lease
}

fn slots(value: &serde_json::Value) -> LedgerView {
    LedgerView::Present(Box::new(ledger_of(value)))
}

type Break = (&'static str, fn(&mut Facts));

const BREAKS: &[Break] = &[
    ("no second key", |f| lease_of(f).spec.clear = None),
    ("second key of another fence", |f| {
        lease_of(f).spec.clear.as_mut().unwrap().fence = 6;
    }),
    ("second key 61 s old", |f| {
        *lease_of(f) = cleared(Phase::Drained, 61);
    }),
    ("f103: second key 6 s in the future", |f| {
        *lease_of(f) = cleared(Phase::Drained, -6);
    }),
    ("f61: a pod came back after the second key", |f| {
        f.seen.pods_returned = Some(now());
    }),
    ("revoked", |f| {
        lease_of(f).spec.revoke = revoked(Phase::Drained).spec.revoke;
    }),
    ("f17: clocks apart", |f| {
        f.clocks.wall = now() + jiff::SignedDuration::from_secs(61);
    }),
    ("journal unreadable", broken),
    ("journal of a later fence", |f| journal(f).committed = 8),
    ("no ledger", |f| f.ledger = LedgerView::Missing),
    ("ledger not read", |f| f.ledger = LedgerView::NotRead),
    ("no slot", |f| f.ledger = slots(&json!([]))),
    ("slot of another node object", |f| {
        f.ledger = slots(
            &json!([{"node": "n1", "nodeUID": "old", "leaseUID": "lease-uid", "policyUID": "p", "fence": F}]),
        );
    }),
    ("q1: slot of another lease object", |f| {
        f.ledger = slots(
            &json!([{"node": "n1", "nodeUID": "node-uid", "leaseUID": "old", "policyUID": "p", "fence": F}]),
        );
    }),
    ("slot of another fence", |f| {
        f.ledger = slots(
            &json!([{"node": "n1", "nodeUID": "node-uid", "leaseUID": "lease-uid", "policyUID": "p", "fence": 6}]),
        );
    }),
    ("f47: ledger paused", |f| {
        let mut ledger = ledger();
        ledger.spec.paused = true;
        f.ledger = LedgerView::Present(Box::new(ledger));
    }),
    ("another boot", |f| f.host.boot_id = NEXT_BOOT.into()),
    ("check unknown", |f| f.host.need = Need::Unknown),
    ("check not settled", |f| f.host.need = Need::Settling),
    ("f15: nothing asks for it", |f| {
        f.host.need = Need::NotRequired;
    }),
    ("machine going down", |f| {
        f.host.shutdown_pending = Some(true);
    }),
    ("machine does not answer", |f| {
        f.host.shutdown_pending = None;
    }),
    ("f08: locks block the shutdown", |f| {
        f.host.offer = inhibited();
    }),
    ("host not asked for its way", |f| {
        f.host.offer = Offer::NotAsked;
    }),
    ("bus silent", |f| {
        f.host.offer = unanswered();
    }),
    ("no way to reboot", |f| f.host.offer = impossible()),
    ("pods not read", |f| f.pods = PodsView::NotRead),
    ("f04: pods are back", |f| f.pods = PodsView::Left(1)),
    ("uncordoned", |f| f.node.unschedulable = false),
    ("q15: cordoned by somebody else", |f| {
        f.node.foreign_cordon = true;
    }),
    ("annotation gone", |f| f.node.mark = Mark::Absent),
    ("cordon of an older grant", |f| f.node.mark = ours(6)),
    ("f66: another node object", |f| f.node.uid = "new".into()),
    ("f96: grant expired", |f| {
        f.clocks.api = "2026-01-01T01:00:00Z".parse().unwrap();
    }),
];

#[test]
fn a_commit_needs_every_single_condition() {
    for (name, take_away) in BREAKS {
        let mut facts = facts(cleared(Phase::Drained, 10));
        take_away(&mut facts);
        assert_ne!(decide(&facts), Action::Commit { fence: F }, "{name}");
    }
}

#[test]
fn a_commit_is_tried_again_only_with_every_single_condition() {
    assert_eq!(
        decide(&facts(cleared(Phase::Rebooting, 10))),
        Action::Commit { fence: F }
    );
    for (name, take_away) in BREAKS {
        let mut facts = facts(cleared(Phase::Rebooting, 10));
        take_away(&mut facts);
        assert_ne!(decide(&facts), Action::Commit { fence: F }, "{name}");
    }
}

#[test]
fn an_accept_needs_every_condition_that_does_not_come_later() {
    for (name, take_away) in BREAKS {
        let mut facts = facts(lease(Phase::Granted));
        let clearless =
            name.contains("second key") || *name == "f61: a pod came back after the second key";
        let later = [
            "pods not read",
            "f04: pods are back",
            "uncordoned",
            "another boot",
            "q15: cordoned by somebody else",
            "annotation gone",
            "revoked",
            // Accepted, so that the lease says why; then nothing on the node is touched.
            "f08: locks block the shutdown",
            "host not asked for its way",
            "bus silent",
            "no way to reboot",
        ];
        if clearless || later.contains(name) {
            continue;
        }
        take_away(&mut facts);
        assert_ne!(decide(&facts), Action::Accept { fence: F }, "{name}");
    }
}

#[test]
fn the_edges_of_the_second_key_are_sixty_seconds_back_and_five_ahead() {
    for age in [-5, 0, 60] {
        assert_eq!(
            decide(&facts(cleared(Phase::Drained, age))),
            Action::Commit { fence: F },
            "{age}"
        );
    }
}

#[test]
fn a_human_s_earlier_cordon_does_not_stop_the_commit() {
    let mut facts = facts(cleared(Phase::Drained, 10));
    facts.node.mark = Mark::Ours(slipway_api::lease::CordonRecord {
        fence: F,
        unschedulable_before: true,
    });
    facts.node.foreign_cordon = true;
    assert_eq!(decide(&facts), Action::Commit { fence: F });
}

#[test]
fn a_commit_noted_before_a_crash_may_still_be_made_under_the_same_fence() {
    let mut facts = facts(cleared(Phase::Drained, 10));
    journal(&mut facts).committed = F;
    assert_eq!(decide(&facts), Action::Commit { fence: F });
}

#[test]
fn what_the_commit_waits_for_is_named() {
    let mut facts = facts(cleared(Phase::Drained, 10));
    facts.ledger = LedgerView::Missing;
    assert_eq!(waits(&facts), Some(Why::NoSlot));
    facts.host.shutdown_pending = None;
    assert_eq!(waits(&facts), Some(Why::HostNotReady));
    facts.host.need = Need::Unknown;
    assert_eq!(waits(&facts), Some(Why::NotRequired));
}
