//! Where a moment lies on the timeline, and the marks above it: round times of the zone.

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Span, Timestamp};

use crate::view::PlanView;

/// Most marks of the axis.
const MARKS_MAX: i64 = 6;
/// Possible distances of two marks, in minutes.
const STEPS: [i64; 13] = [
    5, 10, 15, 30, 60, 120, 180, 360, 720, 1_440, 2_880, 10_080, 40_320,
];
const DAY: i64 = 1_440;
/// Shortest axis.
const SHORTEST: i64 = 1_800;
/// Nearer to either end than this, in hundredths of a percent, the words of a mark would not fit.
const EDGE: i64 = 700;
/// The axis goes on a little behind the last bar, for one hundredth of these parts.
const MARGIN: i64 = 3;

/// A stretch of time, drawn from left to right.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scale {
    from: Timestamp,
    /// In seconds.
    length: i64,
}

/// A mark of the axis.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) at: Timestamp,
    pub(super) day: String,
    pub(super) time: String,
}

impl Scale {
    /// From now until everything that has a date is done, before and after a change.
    pub(super) fn new(plan: &PlanView) -> Self {
        let before = plan
            .nodes
            .iter()
            .filter_map(|row| row.before.as_ref()?.expected);
        let last = plan
            .nodes
            .iter()
            .filter_map(|row| row.expected)
            .chain(before)
            .map(|expected| expected.done_by)
            .max()
            .unwrap_or(plan.at);
        let length = last.as_second().saturating_sub(plan.at.as_second());
        let length = length.max(SHORTEST);
        Self {
            from: plan.at,
            length: length.saturating_add(length.saturating_mul(MARGIN) / 100),
        }
    }

    /// In hundredths of a percent of the axis, so that a number is a number and no float.
    fn hundredths(&self, time: Timestamp) -> i64 {
        let passed = time.duration_since(self.from).as_secs();
        passed.clamp(0, self.length).saturating_mul(10_000) / self.length
    }

    /// The end of the axis.
    pub(super) fn end(&self) -> Timestamp {
        let length = SignedDuration::from_secs(self.length);
        self.from.saturating_add(length).unwrap_or(self.from)
    }

    /// A fifth of the axis, for what begins now and ends nobody knows when.
    pub(super) fn soon(&self) -> Timestamp {
        let length = SignedDuration::from_secs(self.length / 5);
        self.from.saturating_add(length).unwrap_or(self.from)
    }

    /// `12.34%`.
    pub(super) fn left(&self, time: Timestamp) -> String {
        percent(self.hundredths(time))
    }

    /// CSS of what lies between two moments.
    pub(super) fn span(&self, from: Timestamp, to: Timestamp) -> String {
        let (left, right) = (self.hundredths(from), self.hundredths(to));
        let width = right.saturating_sub(left).max(0);
        format!("left:{};width:{}", percent(left), percent(width))
    }

    /// Round times of the zone, the day told where it changes. They stay round when clocks change.
    pub(super) fn marks(&self, zone: &TimeZone) -> Vec<Mark> {
        let step = STEPS
            .iter()
            .copied()
            .find(|step| self.length / (step * 60) < MARKS_MAX)
            .unwrap_or(40_320);
        let mut marks: Vec<Mark> = Vec::new();
        let Some(mut next) = first(zone.to_datetime(self.from), step) else {
            return marks;
        };
        // Bounded whatever the calendar does.
        for _ in 0..4 * MARKS_MAX {
            let Ok(at) = zone.to_timestamp(next) else {
                break;
            };
            if at > self.end() {
                break;
            }
            let is_later = marks.last().is_none_or(|mark| at > mark.at);
            if is_later && (EDGE..=10_000 - EDGE).contains(&self.hundredths(at)) {
                let day = next.strftime("%a %d %b").to_string();
                marks.push(Mark {
                    at,
                    day,
                    time: if step < DAY {
                        next.strftime("%H:%M").to_string()
                    } else {
                        String::new()
                    },
                });
            }
            let Ok(later) = next.checked_add(Span::new().minutes(step)) else {
                break;
            };
            next = later;
        }
        told_once(marks)
    }
}

/// The last round time before or at the start: steps of whole days begin at midnight.
fn first(start: DateTime, step: i64) -> Option<DateTime> {
    let midnight = start.date().to_datetime(jiff::civil::Time::midnight());
    let passed = i64::from(start.hour()) * 60 + i64::from(start.minute());
    let rounded = if step < DAY { passed / step * step } else { 0 };
    midnight.checked_add(Span::new().minutes(rounded)).ok()
}

/// The day stands only where it begins.
fn told_once(mut marks: Vec<Mark>) -> Vec<Mark> {
    let mut last = String::new();
    for mark in &mut marks {
        if mark.day == last && !mark.time.is_empty() {
            mark.day.clear();
        } else {
            last.clone_from(&mark.day);
        }
    }
    marks
}

fn percent(hundredths: i64) -> String {
    format!("{}.{:02}%", hundredths / 100, hundredths % 100)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn scale(from: &str, hours: i64) -> Scale {
        Scale {
            from: at(from),
            length: hours * 3600,
        }
    }

    #[test]
    fn a_moment_lies_where_it_is_and_never_outside() {
        let scale = scale("2026-11-24T12:00:00Z", 2);
        assert_eq!(scale.left(at("2026-11-24T13:00:00Z")), "50.00%");
        assert_eq!(scale.left(at("2026-11-24T11:00:00Z")), "0.00%");
        assert_eq!(scale.left(at("2026-11-25T12:00:00Z")), "100.00%");
        assert_eq!(
            scale.span(at("2026-11-24T12:30:00Z"), at("2026-11-24T12:45:00Z")),
            "left:25.00%;width:12.50%"
        );
        assert_eq!(
            scale.span(at("2026-11-24T13:00:00Z"), at("2026-11-24T12:00:00Z")),
            "left:50.00%;width:0.00%"
        );
    }

    #[test]
    fn marks_are_round_times_of_the_zone_and_say_each_day_once() {
        let zone = TimeZone::get("Asia/Kolkata").unwrap();
        let marks = scale("2026-11-24T12:10:00Z", 9).marks(&zone);
        let said: Vec<String> = marks
            .iter()
            .map(|mark| format!("{} {}", mark.day, mark.time).trim().to_owned())
            .collect();
        assert_eq!(said.first().map(String::as_str), Some("Tue 24 Nov 20:00"));
        assert_eq!(said.last().map(String::as_str), Some("02:00"));
        let days = said.iter().filter(|said| said.contains("Nov")).count();
        assert_eq!(days, 2, "{said:?}");
    }

    #[test]
    fn marks_stay_round_when_clocks_change() {
        let zone = TimeZone::get("Europe/Berlin").unwrap();
        let marks = scale("2026-10-24T12:00:00Z", 36).marks(&zone);
        assert!(marks.len() >= 2, "{marks:?}");
        for mark in &marks {
            assert!(mark.time.ends_with(":00"), "{mark:?}");
            assert_eq!(
                zone.to_datetime(mark.at).strftime("%H:%M").to_string(),
                mark.time
            );
        }
    }

    #[test]
    fn there_are_never_too_many_marks() {
        for hours in [1, 3, 10, 30, 100, 300, 1_000, 9_000] {
            let marks = scale("2026-11-24T12:10:00Z", hours).marks(&TimeZone::UTC);
            assert!(
                (1..=15).contains(&marks.len()),
                "{hours} hours: {}",
                marks.len()
            );
        }
    }
}
