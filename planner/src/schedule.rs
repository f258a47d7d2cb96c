//! A policy's schedule as a whole: the union of its windows, less its freezes.
//!
//! A cron time is a wall-clock time and follows the rule of a window's start: where a clock change
//! skips it, the moment of the change; where it comes twice, the first. What follows it, `duration`,
//! is elapsed time.

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use slipway_api::ValidatedPolicy;
use slipway_api::validate::{CronWindow, Frozen};

use crate::limits::{CRON_STARTS, WINDOW_DAYS_AHEAD};
use crate::reason::Reason;
use crate::window::{Opening, Span, instant, merge, spans_around};

/// What the schedule says at `now`.
pub fn opening(policy: &ValidatedPolicy, now: Timestamp) -> Opening {
    if policy.windows.is_empty() && policy.crons.is_empty() && ahead(policy, now).next().is_none() {
        return Opening::Always;
    }
    let spans = free_spans(policy, now);
    let present = spans
        .iter()
        .find(|span| span.start <= now && now < span.end);
    if let Some(span) = present {
        return Opening::Open { span: *span };
    }
    // Whatever a freeze covers as far as the windows are known is looked for again behind it.
    let mut next = spans.into_iter().find(|span| span.start > now);
    for freeze in ahead(policy, now) {
        if next.is_none_or(|span| freeze.end < span.start) {
            let behind = free_spans(policy, freeze.end);
            let first = behind.into_iter().find(|span| span.start > now);
            next = next.into_iter().chain(first).min();
        }
    }
    Opening::Closed { next }
}

/// Why nothing that needs this much time may start now, if it may not; `opening` is what the
/// schedule says at `now`.
pub fn refusal(
    (name, policy): (&str, &ValidatedPolicy),
    opening: Opening,
    needs: SignedDuration,
    now: Timestamp,
) -> Option<Reason> {
    let name = name.to_owned();
    if let Some(freeze) = freeze(policy, now) {
        return Some(Reason::Frozen {
            policy: name,
            why: freeze.reason.clone(),
            until: freeze.end,
        });
    }
    match opening {
        Opening::Open { span } if !opening.is_open_for(needs, now) => Some(Reason::CutoffReached {
            policy: name,
            needs,
            ends: span.end,
        }),
        Opening::Always | Opening::Open { .. } => None,
        Opening::Closed { .. } => Some(Reason::WindowClosed {
            policy: name,
            opens: opening.opens(),
        }),
    }
}

/// The freeze in force at `now`, the one that lasts longest.
pub fn freeze(policy: &ValidatedPolicy, now: Timestamp) -> Option<&Frozen> {
    ahead(policy, now)
        .filter(|freeze| freeze.start <= now)
        .max_by_key(|freeze| freeze.end)
}

/// Freezes that are not over.
fn ahead(policy: &ValidatedPolicy, now: Timestamp) -> impl Iterator<Item = &Frozen> {
    policy.freezes.iter().filter(move |freeze| freeze.end > now)
}

/// The windows around `at` less every freeze, in order.
fn free_spans(policy: &ValidatedPolicy, at: Timestamp) -> Vec<Span> {
    let mut spans = if policy.windows.is_empty() && policy.crons.is_empty() {
        vec![Span {
            start: Timestamp::MIN,
            end: Timestamp::MAX,
        }]
    } else {
        let mut spans = spans_around(&policy.windows, &policy.zone, at);
        for window in &policy.crons {
            spans.extend(cron_spans(window, &policy.zone, at));
        }
        spans.sort();
        merge(&spans)
    };
    for freeze in &policy.freezes {
        spans = spans
            .into_iter()
            .flat_map(|span| without(span, freeze))
            .collect();
    }
    spans
}

/// What a freeze leaves of a span.
fn without(span: Span, freeze: &Frozen) -> impl Iterator<Item = Span> {
    let before = Span {
        start: span.start,
        end: span.end.min(freeze.start),
    };
    let after = Span {
        start: span.start.max(freeze.end),
        end: span.end,
    };
    [before, after]
        .into_iter()
        .filter(|part| part.start < part.end)
}

/// The windows of a cron expression around `at`: those that may still be open, and at least one to
/// come.
fn cron_spans(window: &CronWindow, zone: &TimeZone, at: Timestamp) -> Vec<Span> {
    let wall = zone.to_datetime(at);
    let span = |start| {
        let start = instant(start, zone)?;
        let end = start.saturating_add(window.length).ok()?;
        Some(Span { start, end })
    };
    let past = window.cron.clone().iter_before(wall);
    let open = past
        .take(CRON_STARTS)
        .map_while(span)
        .take_while(|span| span.end >= at);
    let latest = at
        .saturating_add(SignedDuration::from_hours(24 * WINDOW_DAYS_AHEAD))
        .unwrap_or(at);
    let mut came = false;
    let coming = window
        .cron
        .clone()
        .iter_from(wall, croner::Direction::Forward)
        .take(CRON_STARTS)
        .map_while(span)
        .take_while(|span| {
            // In an hour that comes twice, wall-clock times ahead may lie behind.
            let goes_on = !came || span.start <= latest;
            came |= span.start > at;
            goes_on
        });
    open.chain(coming).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(schedule: &str) -> ValidatedPolicy {
        let yaml = format!("{{nodeSelector: {{}}, schedule: {schedule}}}");
        let spec = serde_yaml::from_str(&yaml).unwrap();
        slipway_api::validate_policy(&spec).unwrap()
    }

    fn ask(schedule: &str, now: &str) -> Opening {
        opening(&policy(schedule), now.parse().unwrap())
    }

    fn span(start: &str, end: &str) -> Span {
        Span {
            start: start.parse().unwrap(),
            end: end.parse().unwrap(),
        }
    }

    #[test]
    fn a_cron_window_opens_at_its_time_and_lasts() {
        let schedule = "{windows: [{cron: '0 2 20 * *', duration: 4h}]}";
        let expected = span("2026-11-20T02:00:00Z", "2026-11-20T06:00:00Z");
        for now in ["2026-11-20T02:00:00Z", "2026-11-20T05:59:59Z"] {
            assert_eq!(ask(schedule, now), Opening::Open { span: expected });
        }
        let next = span("2026-12-20T02:00:00Z", "2026-12-20T06:00:00Z");
        assert_eq!(
            ask(schedule, "2026-11-20T06:00:00Z"),
            Opening::Closed { next: Some(next) }
        );
    }

    #[test]
    fn f49_cron_obeys_the_same_rule_as_a_windows_start() {
        // Berlin, 2026-03-29: 02:00 becomes 03:00 at 01:00Z; 2026-10-25: 03:00 becomes 02:00 at 01:00Z.
        let schedule = "{timeZone: Europe/Berlin, windows: [{cron: '30 2 * * *', duration: 1h}]}";
        assert_eq!(
            ask(schedule, "2026-03-29T01:30:00Z"),
            Opening::Open {
                span: span("2026-03-29T01:00:00Z", "2026-03-29T02:00:00Z")
            }
        );
        let first = span("2026-10-25T00:30:00Z", "2026-10-25T01:30:00Z");
        assert_eq!(
            ask(schedule, "2026-10-25T01:15:00Z"),
            Opening::Open { span: first }
        );
        // The second 02:30 opens nothing.
        assert!(matches!(
            ask(schedule, "2026-10-25T01:35:00Z"),
            Opening::Closed { .. }
        ));
    }

    #[test]
    fn windows_of_both_kinds_are_one_union() {
        let schedule =
            "{windows: [{start: '22:00', end: '24:00'}, {cron: '0 0 * * *', duration: 90m}]}";
        assert_eq!(
            ask(schedule, "2026-11-24T23:00:00Z"),
            Opening::Open {
                span: span("2026-11-24T22:00:00Z", "2026-11-25T01:30:00Z")
            }
        );
    }

    #[test]
    fn a_freeze_closes_every_window_and_what_opens_behind_it_is_found() {
        let schedule = "{windows: [{start: '22:00', end: '05:00'}], freezes: [{from: '2026-12-20', to: '2027-01-04'}]}";
        // The night before ends with the freeze.
        assert_eq!(
            ask(schedule, "2026-12-19T23:00:00Z"),
            Opening::Open {
                span: span("2026-12-19T22:00:00Z", "2026-12-20T00:00:00Z")
            }
        );
        // Longer than the planner looks ahead.
        let behind = span("2027-01-05T00:00:00Z", "2027-01-05T05:00:00Z");
        assert_eq!(
            ask(schedule, "2026-12-20T00:00:00Z"),
            Opening::Closed { next: Some(behind) }
        );
    }

    #[test]
    fn without_windows_a_freeze_is_the_only_thing_that_closes() {
        let schedule =
            "{freezes: [{from: '2026-12-20T06:00:00Z', to: '2026-12-20T08:00:00+01:00'}]}";
        assert_eq!(
            ask(schedule, "2026-12-20T05:00:00Z"),
            Opening::Open {
                span: Span {
                    start: Timestamp::MIN,
                    end: "2026-12-20T06:00:00Z".parse().unwrap()
                }
            }
        );
        let Opening::Closed { next: Some(next) } = ask(schedule, "2026-12-20T06:30:00Z") else {
            panic!("open in a freeze");
        };
        assert_eq!(next.start.to_string(), "2026-12-20T07:00:00Z");
        assert_eq!(ask(schedule, "2026-12-20T07:00:00Z"), Opening::Always);
    }
}
