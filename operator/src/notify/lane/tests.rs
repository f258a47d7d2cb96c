//! Queue, pauses and record of one notification.

use serde_json::json;
use slipway_api::policy::NotificationEvent as Event;

use super::*;

fn wall() -> Timestamp {
    "2026-11-24T12:00:00Z".parse().unwrap()
}

fn wanted() -> Notification {
    serde_json::from_value(json!({"secretRef": {"name": "slack"}})).unwrap()
}

fn lane() -> Lane {
    let mut lane = Lane::new((0, &wanted()), None, wall());
    lane.adopt(None, wall());
    lane
}

/// What would stand in status.
fn record(lane: &mut Lane) -> NotificationStatus {
    lane.adopt(None, wall())
}

fn notice(fence: i64, event: Event) -> Notice {
    Notice {
        id: NoticeId::Reboot { fence, event },
        node: "n1".to_owned(),
        reason: String::new(),
        message: String::new(),
        duration: None,
        at: wall(),
    }
}

fn at(seconds: u64) -> (Duration, Timestamp) {
    (Duration::from_secs(seconds), wall())
}

fn well() -> Ended {
    Ended {
        seen: Some(("slack", "1".to_owned())),
        trouble: None,
    }
}

fn failed() -> Ended {
    Ended {
        trouble: Some(Trouble::new(TroubleKind::Delivery, "slack: it answers 500")),
        ..well()
    }
}

fn send(lane: &mut Lane, seconds: u64, ended: Ended) -> Counts {
    let Some(Job::Send(notice)) = lane.job(at(seconds).0) else {
        panic!("nothing to send at {seconds}");
    };
    lane.begin();
    lane.sent(notice.id, ended, at(seconds))
}

#[test]
fn messages_go_one_after_the_other_and_only_once() {
    let mut lane = lane();
    let notices = [notice(7, Event::Draining), notice(7, Event::Rebooting)];
    lane.offer(&notices, at(1));
    lane.offer(&notices, at(2));
    assert_eq!(lane.job(at(2).0), Some(Job::Send(notices[0].clone())));
    lane.begin();
    assert_eq!(lane.job(at(2).0), None);
    lane.sent(notices[0].id, well(), at(3));
    lane.offer(&notices, at(3));
    assert_eq!(send(&mut lane, 3, well()).delivered, 1);
    lane.offer(&notices, at(4));
    assert_eq!(lane.job(at(4).0), None);
    let stands = record(&mut lane);
    assert_eq!(stands.told.len(), 1);
    assert_eq!(stands.told[0].events, [Event::Draining, Event::Rebooting]);
    assert_eq!((stands.pending, stands.form.as_deref()), (0, Some("slack")));
    assert!(stands.last_delivered.is_some() && stands.last_error.is_none());
}

#[test]
fn a_leader_that_comes_later_tells_nothing_again_and_what_is_left() {
    let mut first = lane();
    let notices = [notice(7, Event::Draining), notice(7, Event::Rebooting)];
    first.offer(&notices[..1], at(1));
    send(&mut first, 1, well());
    let written = record(&mut first);
    let mut next = Lane::new((0, &wanted()), None, wall());
    next.offer(&notices, at(1));
    // Nothing before the record was read: the cache may be older than it.
    assert_eq!(next.job(at(1).0), Some(Job::Look));
    assert_eq!(next.adopt(Some(&written), wall()).told, written.told);
    assert_eq!(next.job(at(1).0), Some(Job::Send(notices[1].clone())));
}

#[test]
fn a_message_is_tried_five_times_with_longer_and_longer_pauses() {
    let mut lane = lane();
    lane.offer(&[notice(7, Event::Failed)], at(0));
    let mut total = Counts::default();
    for (number, seconds) in [0, 5, 25, 105, 425].into_iter().enumerate() {
        if seconds > 0 {
            let early = lane.job(at(seconds - 1).0);
            assert!(!matches!(early, Some(Job::Send(_))), "early at {seconds}");
        }
        let counts = send(&mut lane, seconds, failed());
        total.failed += counts.failed;
        total.given_up += counts.given_up;
        let pending = i32::from(number < 4);
        assert_eq!(record(&mut lane).pending, pending, "after {seconds} s");
    }
    assert_eq!((total.failed, total.given_up), (5, 1));
    // Given up is told: the next leader does not begin anew.
    assert_eq!(record(&mut lane).told.len(), 1);
    assert_eq!(
        record(&mut lane).last_error.as_deref(),
        Some("slack: it answers 500")
    );
}

#[test]
fn what_waited_for_fifteen_minutes_behind_others_is_given_up_unsent() {
    let mut lane = lane();
    lane.offer(&[notice(7, Event::Failed)], at(0));
    send(&mut lane, 0, failed());
    lane.offer(&[notice(7, Event::Failed), notice(8, Event::Failed)], at(1));
    let counts = send(&mut lane, 901, failed());
    assert_eq!(counts.given_up, 2);
    assert_eq!(record(&mut lane).pending, 0);
}

#[test]
fn a_queue_that_is_full_drops_the_oldest_that_is_not_under_way() {
    let mut lane = lane();
    let count = i64::try_from(QUEUE).unwrap() + 2;
    let notices: Vec<Notice> = (1..=count)
        .map(|fence| notice(fence, Event::Draining))
        .collect();
    lane.offer(&notices[..1], at(0));
    lane.begin();
    assert_eq!(lane.offer(&notices, at(0)).dropped, 2);
    assert_eq!(lane.queue.front().unwrap().notice.id.fence(), 1);
    assert_eq!(lane.queue.get(1).unwrap().notice.id.fence(), 4);
    // Dropped is dropped, not pushed in again by the next pass.
    assert_eq!(lane.offer(&notices, at(0)).dropped, 0);
}

#[test]
fn a_changed_secret_is_found_by_a_look_and_tried_at_once() {
    let mut lane = lane();
    lane.offer(&[notice(7, Event::Failed)], at(0));
    for seconds in [0, 5, 25] {
        send(&mut lane, seconds, failed());
    }
    assert_eq!(lane.job(at(85).0), Some(Job::Look));
    lane.begin();
    lane.looked(well(), at(85).0);
    // Nothing has changed: still the same trouble, and the same pause.
    assert!(lane.trouble().is_some());
    assert_eq!(lane.job(at(86).0), None);
    send(&mut lane, 105, failed());
    let changed = Ended {
        seen: Some(("slack", "2".to_owned())),
        trouble: None,
    };
    lane.begin();
    lane.looked(changed, at(165).0);
    assert!(lane.trouble().is_none());
    assert!(matches!(lane.job(at(165).0), Some(Job::Send(_))));
}

#[test]
fn a_missing_secret_is_seen_before_there_is_anything_to_send() {
    let mut lane = lane();
    assert_eq!(lane.job(at(0).0), Some(Job::Look));
    assert!(!lane.is_known());
    let missing = Ended {
        seen: None,
        trouble: Some(Trouble::new(
            TroubleKind::Secret,
            "Secret slack does not exist",
        )),
    };
    lane.begin();
    lane.looked(missing, at(0).0);
    assert_eq!(lane.trouble().unwrap().kind, TroubleKind::Secret);
    assert_eq!(lane.job(at(59).0), None);
    assert_eq!(lane.job(at(60).0), Some(Job::Look));
    lane.begin();
    lane.looked(well(), at(60).0);
    assert!(lane.trouble().is_none() && lane.is_known());
}

#[test]
fn s12_a_record_that_was_written_is_not_written_again() {
    let mut lane = lane();
    assert!(lane.is_dirty());
    lane.wrote(lane.changes());
    lane.begin();
    lane.looked(well(), at(0).0);
    // The form is news, once.
    assert!(lane.is_dirty());
    lane.wrote(lane.changes());
    for seconds in [60, 120] {
        lane.offer(&[], at(seconds));
        lane.begin();
        lane.looked(well(), at(seconds).0);
        assert!(!lane.is_dirty());
    }
}

#[test]
fn a_record_keeps_what_another_leader_wrote_and_forgets_what_is_old() {
    let mut lane = lane();
    lane.offer(
        &[notice(7, Event::Draining), notice(8, Event::Draining)],
        at(0),
    );
    send(&mut lane, 0, well());
    let present: NotificationStatus = serde_json::from_value(json!({
        "secret": "slack", "key": "url", "since": "2026-11-24T11:00:00Z",
        "toldBlocked": "2026-11-24T11:30:00Z",
        "told": [{"fence": 3, "events": ["Failed"]}, {"fence": 8, "events": ["Draining"]}],
    }))
    .unwrap();
    let stands = lane.adopt(Some(&present), wall());
    let fences: Vec<i64> = stands.told.iter().map(|told| told.fence).collect();
    assert_eq!(fences, [7, 8]);
    assert_eq!(stands.since, present.since);
    assert_eq!(stands.told_blocked, present.told_blocked);
}

#[test]
fn a_record_stays_within_its_bound() {
    let mut lane = lane();
    let count = i64::try_from(TOLD_MAX).unwrap() + 10;
    for fence in 1..=count {
        lane.tell(notice(fence, Event::Draining).id);
        lane.recent.insert(fence);
    }
    let stands = record(&mut lane);
    assert_eq!(stands.told.len(), TOLD_MAX);
    assert_eq!(stands.told[0].fence, 11);
}
