//! What there is to tell people, as rules.

use crate::world::World;
use jiff::Timestamp;
use serde_json::{Value, json};
use slipway_api::policy::{Notification, NotificationEvent as Event, NotificationStatus};
use slipway_api::{RebootLease, RebootPolicyStatus};
use slipway_planner::Snapshot;
use slipway_planner::notices::{Notice, NoticeId, is_for, recent, was_told};

const TELLS: &str =
    "{nodeSelector: {}, notifications: [{secretRef: {name: slack}, events: [Completed, Blocked]}]}";

fn time(clock: &str) -> Timestamp {
    format!("2026-11-24T{clock}Z").parse().unwrap()
}

fn now() -> Timestamp {
    time("12:00:00")
}

fn lease(spec: &Value, status: &Value) -> RebootLease {
    let mut lease: RebootLease = serde_json::from_value(json!({
        "apiVersion": "slipway.dev/v1alpha1", "kind": "RebootLease",
        "metadata": {"name": "n1", "uid": "l"},
        "spec": {
            "nodeUID": "u", "requestedAt": "2026-11-24T11:00:00Z",
            "policy": {"name": "workers", "uid": "policy-1"},
        },
        "status": status,
    }))
    .unwrap();
    if let Some(fence) = spec["revoked"].as_i64() {
        let revoke = json!({"fence": fence, "reason": "WindowClosed"});
        lease.spec.revoke = serde_json::from_value(revoke).unwrap();
    }
    lease
}

fn steps(all: &[(&str, &str)]) -> Value {
    all.iter()
        .map(|(phase, clock)| json!({"phase": phase, "at": format!("2026-11-24T{clock}.250000Z")}))
        .collect()
}

fn told_of(spec: &Value, status: &Value) -> Vec<Notice> {
    let mut world = World::new().policy("workers", TELLS).nodes(&["n1"]);
    world
        .snapshot
        .leases
        .insert("n1".to_owned(), lease(spec, status));
    recent(&world.snapshot, now()).remove("policy-1").unwrap()
}

fn events(notices: &[Notice]) -> Vec<(i64, Event)> {
    let each = notices.iter();
    each.map(|notice| (notice.id.fence(), notice.id.event()))
        .collect()
}

#[test]
fn every_step_that_has_passed_is_found_in_the_lease_by_whoever_leads() {
    let status = json!({
        "phase": "Completed", "fence": 7, "reason": "Verified", "message": "well",
        "transitions": steps(&[
            ("Pending", "11:40:00"), ("Granted", "11:41:00"), ("Draining", "11:41:01"),
            ("Drained", "11:43:00"), ("Rebooting", "11:43:10"), ("Rebooted", "11:45:00"),
            ("Completed", "11:46:01"),
        ]),
    });
    let notices = told_of(&Value::Null, &status);
    assert_eq!(
        events(&notices),
        [
            (7, Event::Draining),
            (7, Event::Rebooting),
            (7, Event::Completed)
        ]
    );
    let last = notices.last().unwrap();
    assert_eq!(
        (last.node.as_str(), last.reason.as_str()),
        ("n1", "Verified")
    );
    assert_eq!(last.duration.unwrap().as_secs(), 300);
    assert_eq!(notices[0].duration, None);
}

#[test]
fn why_a_node_has_to_be_rebooted_is_told_while_it_is() {
    let mut world = World::new().policy("workers", TELLS).nodes(&["n1"]);
    world.require("n1");
    let status = json!({"phase": "Draining", "fence": 7, "reason": "Draining",
        "transitions": steps(&[("Draining", "11:41:01")])});
    let lease = lease(&Value::Null, &status);
    world.snapshot.leases.insert("n1".to_owned(), lease);
    let notices = recent(&world.snapshot, now()).remove("policy-1").unwrap();
    assert_eq!(notices[0].reason, "SentinelFile");
    assert_eq!(notices[0].message, "the file is there");
}

#[test]
fn the_end_of_a_reboot_is_found_in_the_history_once_the_node_waits_again() {
    let status = json!({
        "phase": "Pending", "fence": 7, "reason": "BackingOff",
        "transitions": steps(&[("Pending", "11:50:00")]),
        "history": [
            {"fence": 7, "phase": "Failed", "reason": "Ineffective", "at": "2026-11-24T11:49:00Z"},
            {"fence": 0, "phase": "Aborted", "reason": "NoLongerNeeded", "at": "2026-11-24T11:48:00Z"},
        ],
    });
    let notices = told_of(&Value::Null, &status);
    assert_eq!(events(&notices), [(7, Event::Failed)]);
    assert_eq!(notices[0].reason, "Ineffective");
}

#[test]
fn q1_a_drain_that_is_called_off_or_only_demanded_is_not_told_late() {
    let status = json!({"phase": "Draining", "fence": 7, "reason": "AnswerOwed",
        "transitions": steps(&[("Draining", "11:41:01")])});
    assert_eq!(told_of(&json!({"revoked": 7}), &status), []);
    assert_eq!(
        events(&told_of(&json!({"revoked": 6}), &status)),
        [(7, Event::Draining)]
    );
}

#[test]
fn what_is_an_hour_old_is_not_told_any_more() {
    let status = |clock| {
        json!({"phase": "Completed", "fence": 7,
        "transitions": steps(&[("Completed", clock)])})
    };
    assert_eq!(told_of(&Value::Null, &status("10:59:59")), []);
    assert_eq!(told_of(&Value::Null, &status("11:00:01")).len(), 1);
}

#[test]
fn a_policy_that_tells_nobody_has_no_notices() {
    let world = World::new().policy("workers", "{nodeSelector: {}}");
    assert!(recent(&world.snapshot, now()).is_empty());
}

fn with_condition(kind: &str, reason: &str, since: &str) -> Snapshot {
    let mut world = World::new().policy("workers", TELLS);
    let status: RebootPolicyStatus = serde_json::from_value(json!({"conditions": [{
        "type": kind, "status": "True", "reason": reason, "message": "why",
        "lastTransitionTime": format!("2026-11-24T{since}Z"),
    }]}))
    .unwrap();
    world.snapshot.policies[0].status = Some(status);
    world.snapshot
}

#[test]
fn a_blockage_is_told_when_it_has_lasted_a_minute_and_wakes_the_pass_then() {
    let told = |since: &str| {
        let snapshot = with_condition("Blocked", "Blocked", since);
        recent(&snapshot, now()).remove("policy-1").unwrap()
    };
    assert_eq!(told("11:59:01"), []);
    let notices = told("11:59:00");
    let since = time("11:59:00");
    assert_eq!(notices[0].id, NoticeId::Blocked { since });
    assert_eq!(notices[0].message, "why");
    let snapshot = with_condition("Blocked", "Blocked", "11:59:01");
    let plan = slipway_planner::plan(&snapshot, now());
    assert_eq!(plan.wake_at, Some(time("12:00:01")));
}

#[test]
fn an_open_breaker_is_told_at_once() {
    let snapshot = with_condition("BreakerOpen", "Open", "12:00:00");
    let notices = recent(&snapshot, now()).remove("policy-1").unwrap();
    assert_eq!(events(&notices), [(0, Event::BreakerOpen)]);
}

fn status(fields: &Value) -> NotificationStatus {
    let mut all = json!({"secret": "slack", "key": "url", "since": "2026-11-24T10:00:00Z"});
    let fields = fields.as_object().unwrap().clone();
    all.as_object_mut().unwrap().extend(fields);
    serde_json::from_value(all).unwrap()
}

#[test]
fn what_the_status_says_was_told_is_not_told_again() {
    let told = status(&json!({
        "told": [{"fence": 7, "events": ["Draining", "Completed"]}],
        "toldBlocked": "2026-11-24T11:00:00Z",
        "toldBreakerOpen": "2026-11-24T11:00:00Z",
    }));
    let reboot = |fence, event| NoticeId::Reboot { fence, event };
    let blocked = |since| NoticeId::Blocked { since: time(since) };
    let open = |since| NoticeId::BreakerOpen { since: time(since) };
    for (id, at, expected) in [
        (reboot(7, Event::Draining), "12:00:00", true),
        (reboot(7, Event::Rebooting), "12:00:00", false),
        (reboot(8, Event::Draining), "12:00:00", false),
        (blocked("11:00:00"), "23:00:00", true),
        // Another one within the hour is noise, unless it outlasts the hour.
        (blocked("11:30:00"), "11:59:59", true),
        (blocked("11:30:00"), "12:00:00", false),
        (open("11:00:00"), "12:00:00", true),
        (open("11:00:01"), "11:00:02", false),
    ] {
        assert_eq!(was_told(&told, &id, time(at)), expected, "{id:?} at {at}");
    }
}

#[test]
fn a_notification_is_told_what_it_wants_and_nothing_from_before_it_was_there() {
    let world = World::new().policy("workers", TELLS);
    let wanted: &Notification = &world.snapshot.policies[0].spec.notifications[0];
    let notice = |event, at: &str| Notice {
        id: NoticeId::Reboot { fence: 7, event },
        node: "n1".to_owned(),
        reason: String::new(),
        message: String::new(),
        duration: None,
        at: time(at),
    };
    let fresh = status(&json!({"since": "2026-11-24T11:30:00Z"}));
    let is = |notice: &Notice| is_for(wanted, &fresh, notice, now());
    assert!(is(&notice(Event::Completed, "11:30:01")));
    // Whole seconds: what happened in the second in which it was written is told.
    assert!(is(&notice(Event::Completed, "11:30:00.1")));
    assert!(!is(&notice(Event::Completed, "11:29:59")));
    assert!(!is(&notice(Event::Draining, "11:30:01")));
    let told = status(&json!({"told": [{"fence": 7, "events": ["Completed"]}]}));
    let completed = notice(Event::Completed, "11:30:01");
    assert!(!is_for(wanted, &told, &completed, now()));
}
