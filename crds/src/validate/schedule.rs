//! The schedule of a policy: windows, freezes and the cutoff, parsed.

use std::str::FromStr;

use croner::Cron;
use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use super::{DailyWindow, PolicyError};
use crate::duration::Duration;
use crate::policy::{CUTOFF_AUTO, Freeze, Schedule, Weekday, Window};

/// A window that starts by a cron expression and lasts for a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CronWindow {
    /// When it starts, as wall-clock times.
    pub cron: Cron,
    /// How long it stays open.
    pub length: SignedDuration,
}

/// A stretch of time in which nothing starts: [start, end).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frozen {
    /// Its first instant.
    pub start: Timestamp,
    /// The first instant after it.
    pub end: Timestamp,
    /// Why, in the words of whoever wrote it; may be empty.
    pub reason: String,
}

/// How much time has to be left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cutoff {
    /// By the policy's own past reboots.
    Auto,
    /// This long.
    Fixed(SignedDuration),
}

/// A schedule that can be obeyed.
pub(super) struct Parsed {
    pub(super) windows: Vec<DailyWindow>,
    pub(super) crons: Vec<CronWindow>,
    pub(super) freezes: Vec<Frozen>,
    pub(super) cutoff: Cutoff,
}

pub(super) fn parse(schedule: &Schedule, zone: &TimeZone) -> Result<Parsed, PolicyError> {
    let (mut windows, mut crons) = (Vec::new(), Vec::new());
    for (index, window) in schedule.windows.iter().enumerate() {
        let invalid = |problem| PolicyError::InvalidWindow { index, problem };
        match (&window.cron, window.duration) {
            (None, None) => windows.push(weekly(window).map_err(invalid)?),
            (Some(cron), Some(length)) => crons.push(by_cron(cron, length).map_err(invalid)?),
            (Some(_), None) | (None, Some(_)) => {
                return Err(invalid("write cron and duration together".to_owned()));
            }
        }
    }
    let freezes = schedule
        .freezes
        .iter()
        .enumerate()
        .map(|(index, freeze)| {
            frozen(freeze, zone).map_err(|problem| PolicyError::InvalidFreeze { index, problem })
        })
        .collect::<Result<_, _>>()?;
    Ok(Parsed {
        windows,
        crons,
        freezes,
        cutoff: cutoff(&schedule.cutoff)?,
    })
}

fn cutoff(text: &str) -> Result<Cutoff, PolicyError> {
    if text == CUTOFF_AUTO {
        return Ok(Cutoff::Auto);
    }
    text.parse::<Duration>()
        .map(|length| Cutoff::Fixed(length.signed()))
        .map_err(|_| PolicyError::InvalidCutoff(text.to_owned()))
}

fn by_cron(text: &str, length: Duration) -> Result<CronWindow, String> {
    let cron = Cron::from_str(text).map_err(|error| {
        format!("cron {text:?} cannot be read ({error}); write for example 0 2 20 * *")
    })?;
    if length.is_zero() {
        return Err("the window has no length; write a duration such as 4h".to_owned());
    }
    // Else each pass would search thousands of years for a 31st of February.
    let first = cron.find_next_occurrence(&DateTime::constant(2024, 1, 1, 0, 0, 0, 0), true);
    if !first.is_ok_and(|first| first.year() < 2060) {
        return Err(format!("cron {text:?} never comes"));
    }
    Ok(CronWindow {
        cron,
        length: length.signed(),
    })
}

fn frozen(freeze: &Freeze, zone: &TimeZone) -> Result<Frozen, String> {
    let start = moment(&freeze.from, zone, false)?;
    let end = moment(&freeze.to, zone, true)?;
    if end <= start {
        return Err(format!(
            "it ends ({}) before it begins ({})",
            freeze.to, freeze.from
        ));
    }
    Ok(Frozen {
        start,
        end,
        reason: freeze.reason.clone().unwrap_or_default(),
    })
}

/// A day is its first instant, and as an end that of the day after it; where a clock change skips
/// midnight, that is the moment of the change.
fn moment(text: &str, zone: &TimeZone, is_end: bool) -> Result<Timestamp, String> {
    let bad = || {
        format!(
            "{text:?} is neither a day such as 2026-12-20 nor an instant such as 2026-12-20T18:00:00Z"
        )
    };
    if text.len() > 10 {
        return text.parse().map_err(|_| bad());
    }
    let day: Date = text.parse().map_err(|_| bad())?;
    let day = if is_end {
        day.tomorrow().map_err(|_| bad())?
    } else {
        day
    };
    day.to_zoned(zone.clone())
        .map(|midnight| midnight.timestamp())
        .map_err(|_| bad())
}

fn weekly(window: &Window) -> Result<DailyWindow, String> {
    let (start_minute, end_minute) = match (&window.start, &window.end) {
        (None, None) => (0, 24 * 60),
        (Some(start), Some(end)) => (parse_minute(start, 23)?, parse_minute(end, 24)?),
        (Some(_), None) | (None, Some(_)) => {
            return Err("write both start and end, or neither for the whole day".to_owned());
        }
    };
    if start_minute == end_minute {
        return Err("start and end are the same, so the window has no length".to_owned());
    }
    let days = if window.days.is_empty() {
        Weekday::ALL.to_vec()
    } else {
        window.days.clone()
    };
    // 00:00 as an end is the midnight after the start day.
    let end_minute = if end_minute == 0 { 24 * 60 } else { end_minute };
    Ok(DailyWindow {
        days,
        start_minute,
        end_minute,
    })
}

fn parse_minute(text: &str, hour_max: u16) -> Result<u16, String> {
    let bad = || format!("{text:?} is not a time; write HH:MM from 00:00 to {hour_max}:59");
    let (hour, minute) = text.split_once(':').ok_or_else(bad)?;
    if hour.len() != 2 || minute.len() != 2 {
        return Err(bad());
    }
    let (hour, minute): (u16, u16) = (
        hour.parse().map_err(|_| bad())?,
        minute.parse().map_err(|_| bad())?,
    );
    let total = hour * 60 + minute;
    if hour > hour_max || minute > 59 || total > 24 * 60 {
        return Err(bad());
    }
    Ok(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schedule(yaml: &str) -> Schedule {
        serde_yaml::from_str(yaml).unwrap()
    }

    fn freeze(yaml: &str, zone: &str) -> Frozen {
        let parsed = parse(&schedule(yaml), &TimeZone::get(zone).unwrap());
        parsed.ok().unwrap().freezes.remove(0)
    }

    #[test]
    fn a_freeze_of_days_ends_with_its_last_day_in_the_zone() {
        let freeze = freeze(
            "{freezes: [{from: '2026-12-20', to: '2027-01-04'}]}",
            "Europe/Berlin",
        );
        assert_eq!(freeze.start.to_string(), "2026-12-19T23:00:00Z");
        assert_eq!(freeze.end.to_string(), "2027-01-04T23:00:00Z");
    }

    #[test]
    fn f49_a_freeze_from_a_midnight_that_is_skipped_begins_with_the_change() {
        // Cairo, 2026-04-24: 00:00 becomes 01:00 at 22:00Z the day before.
        let freeze = freeze(
            "{freezes: [{from: '2026-04-24', to: '2026-04-24'}]}",
            "Africa/Cairo",
        );
        assert_eq!(freeze.start.to_string(), "2026-04-23T22:00:00Z");
        assert_eq!(freeze.end.to_string(), "2026-04-24T21:00:00Z");
    }

    #[test]
    fn what_cannot_be_obeyed_names_its_field_and_place() {
        for (yaml, expected) in [
            (
                "{freezes: [{from: '2026-12-20', to: '2026-12-19'}]}",
                "freezes[0]",
            ),
            (
                "{freezes: [{from: '2026-02-30', to: '2026-03-01'}]}",
                "freezes[0]",
            ),
            (
                "{windows: [{}, {cron: '0 0 31 2 *', duration: 1h}]}",
                "windows[1]",
            ),
            (
                "{windows: [{cron: '0 2 5-1 * *', duration: 1h}]}",
                "windows[0]",
            ),
            ("{windows: [{cron: '0 2 * * *'}]}", "windows[0]"),
            ("{cutoff: soon}", "cutoff"),
        ] {
            let refused = parse(&schedule(yaml), &TimeZone::UTC);
            let error = refused.err().unwrap().to_string();
            assert!(error.contains(expected), "{yaml}: {error}");
        }
    }
}
