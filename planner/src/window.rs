//! Weekly windows in a time zone, by one written rule for every clock change.
//!
//! `start` and `end` are wall-clock times. A start in the hour that a change skips is the first
//! instant after the change, an end there is the moment of the change (the same instant); in an hour
//! that comes twice both mean the first. A window belongs to the day on which it starts and is
//! half-open, [start, end). Windows that touch or overlap are one.

use jiff::civil::{Date, DateTime};
use jiff::tz::{AmbiguousOffset, TimeZone};
use jiff::{SignedDuration, Timestamp};
use slipway_api::policy::Weekday;
use slipway_api::validate::DailyWindow;

use crate::limits::{WINDOW_DAYS_AHEAD, WINDOW_DAYS_BACK};

/// A stretch of time in which reboots may start: [start, end).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span {
    /// Its first instant.
    pub start: Timestamp,
    /// The first instant after it.
    pub end: Timestamp,
}

/// Whether a schedule lets reboots start now, and when that changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opening {
    /// There are no windows: always open.
    Always,
    /// Inside a window.
    Open {
        /// The window.
        span: Span,
    },
    /// Outside every window.
    Closed {
        /// The next window, if one comes.
        next: Option<Span>,
    },
}

impl Opening {
    /// True when it is open now and stays so for `left`.
    pub fn is_open_for(self, left: SignedDuration, now: Timestamp) -> bool {
        match self {
            Self::Always => true,
            Self::Open { span } => span.end.duration_since(now) >= left,
            Self::Closed { .. } => false,
        }
    }

    /// When the schedule opens next: now's window does not count.
    pub fn opens(self) -> Option<Timestamp> {
        match self {
            Self::Always | Self::Open { .. } => None,
            Self::Closed { next } => next.map(|span| span.start),
        }
    }

    /// When time alone changes the answer.
    pub fn edge(self) -> Option<Timestamp> {
        match self {
            Self::Always => None,
            Self::Open { span } => Some(span.end),
            Self::Closed { next } => next.map(|span| span.start),
        }
    }
}

/// What the windows say at `now`.
pub fn opening(windows: &[DailyWindow], zone: &TimeZone, now: Timestamp) -> Opening {
    if windows.is_empty() {
        return Opening::Always;
    }
    let spans = spans_around(windows, zone, now);
    let present = spans
        .iter()
        .find(|span| span.start <= now && now < span.end);
    present.map_or_else(
        || Opening::Closed {
            next: spans.iter().find(|span| span.start > now).copied(),
        },
        |span| Opening::Open { span: *span },
    )
}

/// The windows around `now`, merged and in order.
pub(crate) fn spans_around(windows: &[DailyWindow], zone: &TimeZone, now: Timestamp) -> Vec<Span> {
    let today = zone.to_datetime(now).date();
    let mut spans: Vec<Span> = (-WINDOW_DAYS_BACK..=WINDOW_DAYS_AHEAD)
        .filter_map(|offset| {
            today
                .checked_add(SignedDuration::from_hours(24 * offset))
                .ok()
        })
        .flat_map(|day| {
            windows
                .iter()
                .filter_map(move |window| span_on(window, day, zone))
        })
        .collect();
    spans.sort();
    merge(&spans)
}

pub(crate) fn merge(sorted: &[Span]) -> Vec<Span> {
    let mut merged: Vec<Span> = Vec::with_capacity(sorted.len());
    for span in sorted {
        match merged.last_mut() {
            Some(last) if span.start <= last.end => last.end = last.end.max(span.end),
            _ => merged.push(*span),
        }
    }
    merged
}

/// The window that starts on `day`, if it does; `None` too where a clock change swallows it whole.
fn span_on(window: &DailyWindow, day: Date, zone: &TimeZone) -> Option<Span> {
    if !window.days.contains(&weekday(day)) {
        return None;
    }
    let start = instant(at_minute(day, window.start_minute)?, zone)?;
    let end_day = if window.end_minute <= window.start_minute {
        day.tomorrow().ok()?
    } else {
        day
    };
    let end = instant(at_minute(end_day, window.end_minute)?, zone)?;
    (start < end).then_some(Span { start, end })
}

/// A minute of a day as a wall-clock time; minute 1440 is the midnight after it.
fn at_minute(day: Date, minute: u16) -> Option<DateTime> {
    let (hour, minute) = (
        i8::try_from(minute / 60).ok()?,
        i8::try_from(minute % 60).ok()?,
    );
    if hour == 24 {
        return Some(day.tomorrow().ok()?.at(0, 0, 0, 0));
    }
    Some(day.at(hour, minute, 0, 0))
}

/// The instant of a wall-clock time: in a gap the moment of the change, in a fold the first.
pub(crate) fn instant(wall: DateTime, zone: &TimeZone) -> Option<Timestamp> {
    let ambiguous = zone.to_ambiguous_timestamp(wall);
    match ambiguous.offset() {
        AmbiguousOffset::Unambiguous { .. } | AmbiguousOffset::Fold { .. } => {
            ambiguous.earlier().ok()
        }
        AmbiguousOffset::Gap { .. } => {
            // The change lies between the two readings of a time that it skips.
            let before = ambiguous.earlier().ok()?;
            zone.following(before)
                .next()
                .map(|change| change.timestamp())
        }
    }
}

fn weekday(day: Date) -> Weekday {
    match day.weekday() {
        jiff::civil::Weekday::Monday => Weekday::Mon,
        jiff::civil::Weekday::Tuesday => Weekday::Tue,
        jiff::civil::Weekday::Wednesday => Weekday::Wed,
        jiff::civil::Weekday::Thursday => Weekday::Thu,
        jiff::civil::Weekday::Friday => Weekday::Fri,
        jiff::civil::Weekday::Saturday => Weekday::Sat,
        jiff::civil::Weekday::Sunday => Weekday::Sun,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(days: &[Weekday], start: u16, end: u16) -> DailyWindow {
        DailyWindow {
            days: days.to_vec(),
            start_minute: start,
            end_minute: end,
        }
    }

    fn ask(window: &DailyWindow, zone: &str, now: &str) -> Opening {
        let zone = TimeZone::get(zone).unwrap();
        opening(std::slice::from_ref(window), &zone, now.parse().unwrap())
    }

    fn span(start: &str, end: &str) -> Span {
        Span {
            start: start.parse().unwrap(),
            end: end.parse().unwrap(),
        }
    }

    #[test]
    fn no_windows_are_always_open() {
        let now = "2026-01-01T00:00:00Z".parse().unwrap();
        assert_eq!(opening(&[], &TimeZone::UTC, now), Opening::Always);
    }

    #[test]
    fn a_window_over_midnight_belongs_to_its_start_day() {
        let friday_night = window(&[Weekday::Fri], 22 * 60, 5 * 60);
        let expected = span("2026-11-27T22:00:00Z", "2026-11-28T05:00:00Z");
        // Saturday at three is inside, Friday at three is not.
        assert_eq!(
            ask(&friday_night, "UTC", "2026-11-28T03:00:00Z"),
            Opening::Open { span: expected }
        );
        assert_eq!(
            ask(&friday_night, "UTC", "2026-11-27T03:00:00Z"),
            Opening::Closed {
                next: Some(expected)
            }
        );
    }

    #[test]
    fn the_end_is_outside_and_the_start_inside() {
        let day = window(&Weekday::ALL, 9 * 60, 17 * 60);
        assert!(matches!(
            ask(&day, "UTC", "2026-11-24T09:00:00Z"),
            Opening::Open { .. }
        ));
        assert!(matches!(
            ask(&day, "UTC", "2026-11-24T17:00:00Z"),
            Opening::Closed { .. }
        ));
    }

    #[test]
    fn f49_a_start_that_a_change_skips_is_the_moment_of_the_change() {
        // Berlin, 2026-03-29: 02:00 becomes 03:00 at 01:00Z.
        let night = window(&Weekday::ALL, 2 * 60 + 30, 4 * 60);
        let expected = span("2026-03-29T01:00:00Z", "2026-03-29T02:00:00Z");
        assert_eq!(
            ask(&night, "Europe/Berlin", "2026-03-29T01:10:00Z"),
            Opening::Open { span: expected }
        );
    }

    #[test]
    fn f49_an_end_that_a_change_skips_is_the_moment_of_the_change() {
        let night = window(&Weekday::ALL, 60, 2 * 60 + 30);
        let expected = span("2026-03-29T00:00:00Z", "2026-03-29T01:00:00Z");
        assert_eq!(
            ask(&night, "Europe/Berlin", "2026-03-29T00:30:00Z"),
            Opening::Open { span: expected }
        );
    }

    #[test]
    fn f49_a_window_that_a_change_swallows_does_not_come_that_day() {
        let skipped = window(&Weekday::ALL, 2 * 60 + 10, 2 * 60 + 50);
        let Opening::Closed { next: Some(next) } =
            ask(&skipped, "Europe/Berlin", "2026-03-29T00:30:00Z")
        else {
            panic!("open in a window that does not exist");
        };
        assert_eq!(next, span("2026-03-30T00:10:00Z", "2026-03-30T00:50:00Z"));
    }

    #[test]
    fn f49_in_an_hour_that_comes_twice_the_first_counts() {
        // Berlin, 2026-10-25: 03:00 becomes 02:00 at 01:00Z.
        let night = window(&Weekday::ALL, 2 * 60 + 30, 3 * 60 + 30);
        let expected = span("2026-10-25T00:30:00Z", "2026-10-25T02:30:00Z");
        assert_eq!(
            ask(&night, "Europe/Berlin", "2026-10-25T00:30:00Z"),
            Opening::Open { span: expected }
        );
    }

    #[test]
    fn windows_that_touch_are_one() {
        let windows = [
            window(&[Weekday::Mon], 0, 1440),
            window(&[Weekday::Tue], 0, 1440),
        ];
        let now = "2026-11-23T12:00:00Z".parse().unwrap();
        assert_eq!(
            opening(&windows, &TimeZone::UTC, now),
            Opening::Open {
                span: span("2026-11-23T00:00:00Z", "2026-11-25T00:00:00Z")
            }
        );
    }
}
