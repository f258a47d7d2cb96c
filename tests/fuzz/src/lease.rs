//! A lease as the API server gives it, mangled: it cannot be read, or is what the JSON says; and what
//! the agent decides by it is allowed by that JSON, told by rules of its own (faults.md S2, S4, G5, G6).
//!
//! An input is sixteen bytes for the other facts, then the JSON.

use std::time::Duration;

use arbitrary::Unstructured;
use jiff::{SignedDuration, Timestamp};
use kube::api::DynamicObject;
use serde_json::Value;
use slipway_api::RebootLease;
use slipway_api::lease::CordonRecord;
use slipway_api::policy::RebootMethod;
use slipway_node_agent::decide::{Action, decide};
use slipway_node_agent::facts::{
    Facts, JournalView, LeaseView, LedgerView, Mark, Need, PodsView, Preflight,
};
use slipway_node_agent::host::Offer;
use slipway_node_agent::journal::Journal;

use crate::facts::{BOOT, BOOTTIME, OTHER_BOOT, facts, ledger, now};
use crate::input::{byte, one_of};

pub(crate) fn run(input: &[u8]) {
    let Some((header, json)) = input.split_at_checked(16) else {
        return;
    };
    // As the agent reads it: a lease of a later version must be told from one that is missing.
    let Ok(object) = serde_json::from_slice::<DynamicObject>(json) else {
        return;
    };
    // What nobody reads may be no text at all.
    let Ok(raw) = serde_json::from_slice(json).map(Raw) else {
        return;
    };
    let view = match object.try_parse::<RebootLease>() {
        Ok(lease) => {
            says_what_is_written(&raw, &lease);
            LeaseView::Present(Box::new(lease))
        }
        Err(error) => LeaseView::Unreadable {
            reason: error.to_string(),
        },
    };
    let facts = spoilt(&mut Unstructured::new(header), &raw, view);
    judge(&decide(&facts), &raw, &facts);
}

struct Raw(Value);

impl Raw {
    fn at(&self, place: &str) -> Option<&Value> {
        self.0.pointer(place).filter(|value| !value.is_null())
    }

    fn number(&self, place: &str) -> Option<i64> {
        self.at(place)?.as_i64()
    }

    fn text(&self, place: &str) -> Option<&str> {
        self.at(place)?.as_str()
    }

    fn time(&self, place: &str) -> Option<Timestamp> {
        self.text(place)?.parse().ok()
    }

    fn phase(&self) -> &str {
        self.text("/status/phase").unwrap_or("Pending")
    }
}

/// What safety rests on is in the object as it is in the JSON, and what the agent would write down is
/// read again as the same.
fn says_what_is_written(raw: &Raw, lease: &RebootLease) {
    let written = Raw(serde_json::to_value(lease).expect("it can be written"));
    let again: RebootLease = serde_json::from_value(written.0.clone()).expect("it can be read");
    let twice = serde_json::to_value(&again).expect("it can be written");
    assert_eq!(twice, written.0, "writing it down changes it");
    for place in [
        "/metadata/name",
        "/metadata/uid",
        "/metadata/resourceVersion",
        "/spec/nodeUID",
        "/spec/grant/fence",
        "/spec/clear/fence",
        "/spec/revoke/fence",
        "/spec/release/fence",
        "/status/bootIDBefore",
        "/status/bootIDAfter",
    ] {
        assert_eq!(written.at(place), raw.at(place), "{place}");
    }
    for place in ["/status/fence", "/status/journalFence"] {
        let of = |raw: &Raw| raw.number(place).unwrap_or(0);
        assert_eq!(of(&written), of(raw), "{place}");
    }
    assert_eq!(written.phase(), raw.phase());
    for place in ["/spec/grant/notAfter", "/spec/clear/at"] {
        assert_eq!(written.time(place), raw.time(place), "{place}");
    }
}

/// Facts that fit the lease, spoilt here and there.
fn spoilt(u: &mut Unstructured<'_>, raw: &Raw, view: LeaseView) -> Facts {
    let of = |place| raw.number(place).unwrap_or(0);
    let (accepted, granted) = (of("/status/fence"), of("/spec/grant/fence"));
    let fence = one_of(u, &[accepted.max(granted), accepted, granted]);
    let near = [fence, fence.saturating_sub(1), fence.saturating_add(1)];
    let cordoned = ["Draining", "Drained", "Rebooting"].contains(&raw.phase());
    let journal = journal(u, near);
    let mut facts = facts(view, journal, fence, cordoned);
    facts.node.uid = raw.text("/spec/nodeUID").unwrap_or_default().into();
    node(u, near, &mut facts);
    let name = raw.text("/metadata/name").unwrap_or_default();
    let uid = raw.text("/metadata/uid").unwrap_or_default();
    facts.ledger = match byte(u) % 5 {
        0 | 1 => {
            let fence = one_of(u, &near);
            LedgerView::Present(Box::new(ledger(name, &facts.node.uid, uid, fence)))
        }
        2 => LedgerView::Missing,
        3 => LedgerView::NotRead,
        _ => {
            let mut ledger = ledger(name, &facts.node.uid, uid, fence);
            ledger.spec.paused = true;
            LedgerView::Present(Box::new(ledger))
        }
    };
    facts.pods = one_of(
        u,
        &[PodsView::Left(0), PodsView::NotRead, PodsView::Left(2)],
    );
    facts.host.need = one_of(
        u,
        &[
            Need::Required,
            Need::NotRequired,
            Need::Unknown,
            Need::Settling,
        ],
    );
    facts.host.shutdown_pending = one_of(u, &[Some(false), Some(true), None]);
    let reason = String::new;
    facts.host.offer = match byte(u) % 5 {
        0 => Offer::by(RebootMethod::Logind),
        1 => Offer::by(RebootMethod::Signal),
        2 => Offer::Inhibited {
            method: RebootMethod::Logind,
            by: vec!["dpkg".to_owned()],
        },
        3 => Offer::Unanswered { reason: reason() },
        _ => Offer::Impossible { reason: reason() },
    };
    facts.host.boot_id = one_of(u, &[BOOT, OTHER_BOOT]).to_owned();
    let seconds = |u: &mut Unstructured<'_>| SignedDuration::from_secs(i64::from(byte(u)) - 64);
    let near_now = |of: SignedDuration| now().checked_add(of).expect("a time");
    facts.clocks.api = near_now(seconds(u));
    facts.clocks.wall = facts.clocks.api;
    if byte(u) % 4 == 3 {
        facts.clocks.wall = near_now(SignedDuration::from_secs(100));
    }
    facts.seen.drain_elapsed = Duration::from_secs(u64::from(byte(u)) * 20);
    facts.seen.preflight = if byte(u).is_multiple_of(2) {
        Preflight::Passed
    } else {
        Preflight::Unknown
    };
    facts
}

fn journal(u: &mut Unstructured<'_>, near: [i64; 3]) -> JournalView {
    let how = byte(u);
    if how % 8 == 7 {
        let reason = String::new();
        return JournalView::Unreadable { reason };
    }
    let committed = if how.is_multiple_of(8) {
        0
    } else {
        one_of(u, &near)
    };
    let boot = if how & 0x20 == 0 { BOOT } else { OTHER_BOOT };
    let noted = Journal::default().with_commit(committed, boot, "u");
    let at = BOOTTIME.saturating_sub(Duration::from_secs(u64::from(how >> 4) * 8));
    JournalView::Readable(match how & 0x18 {
        0x10 => noted.with_call(at),
        0x18 => noted.with_call(at).with_answer("accepted"),
        0x08 => noted.with_call(at).with_refusal("no", at),
        _ => noted,
    })
}

fn node(u: &mut Unstructured<'_>, near: [i64; 3], facts: &mut Facts) {
    match byte(u) % 8 {
        0..3 => {}
        3 => facts.node.mark = Mark::Absent,
        4 => facts.node.mark = Mark::Unreadable,
        5 => facts.node.unschedulable = !facts.node.unschedulable,
        6 => facts.node.foreign_cordon = true,
        _ => {
            facts.node.mark = Mark::Ours(CordonRecord {
                fence: one_of(u, &near),
                unschedulable_before: byte(u) % 2 == 1,
            });
        }
    }
    match byte(u) % 4 {
        2 => facts.node.undone = Some(one_of(u, &near)),
        3 => facts.node.condition_current = false,
        _ => {}
    }
}

/// Whether the JSON and the facts allow the action.
fn judge(action: &Action, raw: &Raw, facts: &Facts) {
    if matches!(facts.lease, LeaseView::Unreadable { .. }) {
        assert!(matches!(action, Action::Wait { .. }), "{action:?}");
        return;
    }
    let fires = a_call_may_fire(facts);
    match action {
        Action::Accept { fence } => {
            assert!(["Pending", "Granted"].contains(&raw.phase()));
            granted(*fence, raw, facts);
            assert!(*fence > raw.number("/status/fence").unwrap_or(0));
            assert_eq!(facts.node.mark, Mark::Absent, "an older cordon comes first");
            assert!(committed(facts).is_some_and(|committed| committed < *fence));
            assert!(
                !fires
                    && raw
                        .time("/spec/grant/notAfter")
                        .is_some_and(|at| facts.clocks.api < at)
            );
        }
        Action::Commit { fence } => {
            assert!(["Drained", "Rebooting"].contains(&raw.phase()));
            assert_eq!(raw.number("/status/fence").unwrap_or(0), *fence);
            granted(*fence, raw, facts);
            second_key(*fence, raw, facts);
            assert!(committed(facts).is_some_and(|committed| committed <= *fence) && !fires);
            let before = raw.text("/status/bootIDBefore");
            assert!(before.is_none_or(|before| before == facts.host.boot_id));
            assert!(facts.host.offer.is_ready() && facts.host.shutdown_pending != Some(true));
            ours(*fence, facts);
            let anyway = raw.text("/spec/grant/drain/onTimeout") == Some("RebootAnyway");
            assert!(facts.pods == PodsView::Left(0) || (anyway && facts.pods != PodsView::NotRead));
        }
        Action::Undo { .. } | Action::Retire { .. } => {
            assert!(
                !fires,
                "{action:?} while a call may take effect: {:?}",
                facts.journal
            );
        }
        Action::Cordon { fence } | Action::Evict { fence } | Action::MarkDrained { fence } => {
            assert!(["Draining", "Drained"].contains(&raw.phase()));
            assert!(!fires && !revoked(*fence, raw));
            assert_eq!(raw.number("/status/fence").unwrap_or(0), *fence);
        }
        Action::MarkRebooted { .. } => {
            let noted = match &facts.journal {
                JournalView::Readable(journal) => Some(journal.boot_id.as_str()),
                JournalView::Unreadable { .. } => None,
            };
            let (before, after) = (
                raw.text("/status/bootIDBefore"),
                raw.text("/status/bootIDAfter"),
            );
            let boot = facts.host.boot_id.as_str();
            match raw.phase() {
                "Rebooting" => assert!(before.or(noted).is_some_and(|before| before != boot)),
                phase => assert!(phase == "Rebooted" && after != Some(boot)),
            }
        }
        Action::Wait { .. }
        | Action::ReportJournal { .. }
        | Action::Preflight { .. }
        | Action::MarkCalled { .. } => {}
    }
}

/// What accept and commit share.
fn granted(fence: i64, raw: &Raw, facts: &Facts) {
    assert_eq!(raw.number("/spec/grant/fence"), Some(fence));
    assert!(!revoked(fence, raw));
    let asked = raw.at("/spec/grant/request").is_some();
    assert!(
        facts.host.need == Need::Required || asked,
        "nothing asks for it"
    );
    let skew = facts.clocks.api.duration_since(facts.clocks.wall).abs();
    assert!(skew <= SignedDuration::from_secs(60));
    let LedgerView::Present(ledger) = &facts.ledger else {
        panic!("no ledger");
    };
    let slots = ledger.status.iter().flat_map(|status| &status.slots);
    assert!(!ledger.spec.paused && slots.into_iter().any(|slot| slot.fence == fence));
}

fn second_key(fence: i64, raw: &Raw, facts: &Facts) {
    assert_eq!(raw.number("/spec/clear/fence"), Some(fence));
    let at = raw.time("/spec/clear/at").expect("a time");
    let age = facts.clocks.api.duration_since(at);
    assert!((-5..=60).contains(&age.as_secs()), "{age}");
}

fn ours(fence: i64, facts: &Facts) {
    let Mark::Ours(record) = &facts.node.mark else {
        panic!("not our cordon");
    };
    assert!(record.fence == fence && facts.node.unschedulable);
    assert!(record.unschedulable_before || !facts.node.foreign_cordon);
}

fn revoked(fence: i64, raw: &Raw) -> bool {
    raw.number("/spec/revoke/fence")
        .is_some_and(|revoked| revoked >= fence)
}

fn committed(facts: &Facts) -> Option<i64> {
    match &facts.journal {
        JournalView::Readable(journal) => Some(journal.committed),
        JournalView::Unreadable { .. } => None,
    }
}

/// A call of this boot that is too young to be given up, or under which the machine goes down.
fn a_call_may_fire(facts: &Facts) -> bool {
    let JournalView::Readable(journal) = &facts.journal else {
        return false;
    };
    journal.call.as_ref().is_some_and(|call| {
        let age = facts.clocks.boottime.saturating_sub(call.at());
        let down = facts.host.shutdown_pending == Some(true);
        call.boot_id == facts.host.boot_id && (age < Duration::from_secs(30) || down)
    })
}
