//! Times for people.

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use slipway_planner::forecast::Expected;

/// Closer than this is now.
const NOW: SignedDuration = SignedDuration::from_secs(90);

/// A moment to the minute: `2026-11-24 22:00`.
pub(crate) fn minute(time: Timestamp, zone: &TimeZone) -> String {
    zone.to_datetime(time)
        .strftime("%Y-%m-%d %H:%M")
        .to_string()
}

/// A range, with the day said once: `2026-11-24 22:00 - 22:35`.
pub(crate) fn range(expected: &Expected, now: Timestamp, zone: &TimeZone) -> String {
    if expected.to.duration_since(now) < NOW {
        return format!("now, {}", minute(now, zone));
    }
    let (from, to) = (minute(expected.from, zone), minute(expected.to, zone));
    match (from.split_once(' '), to.split_once(' ')) {
        _ if from == to => from,
        (Some((first, _)), Some((second, time))) if first == second => format!("{from} - {time}"),
        _ => format!("{from} - {to}"),
    }
}

/// How long ago, in kubectl's units: `45s`, `12m`, `3h20m`, `9d`.
pub(crate) fn age(since: Timestamp, now: Timestamp) -> String {
    let seconds = now.duration_since(since).as_secs().max(0);
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match seconds {
        0..120 => format!("{seconds}s"),
        120..7_200 => format!("{minutes}m"),
        7_200..36_000 => format!("{hours}h{}m", minutes % 60),
        36_000..172_800 => format!("{hours}h"),
        _ => format!("{days}d"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn a_range_says_each_day_once() {
        let now = at("2026-11-24T12:00:00Z");
        let said = |from: &str, to: &str| {
            let expected = Expected {
                from: at(from),
                to: at(to),
                done_by: at(to),
            };
            range(&expected, now, &TimeZone::UTC)
        };
        let (ten, eleven) = ("2026-11-24T22:00:00Z", "2026-11-24T23:00:59Z");
        assert_eq!(said(ten, eleven), "2026-11-24 22:00 - 23:00");
        assert_eq!(said(ten, ten), "2026-11-24 22:00");
        assert_eq!(
            said(ten, "2026-11-25T01:00:00Z"),
            "2026-11-24 22:00 - 2026-11-25 01:00"
        );
        assert_eq!(
            said("2026-11-24T12:00:00Z", "2026-11-24T12:01:00Z"),
            "now, 2026-11-24 12:00"
        );
    }

    #[test]
    fn ages_are_kubectls() {
        let now = at("2026-11-24T12:00:00Z");
        for (since, said) in [
            ("2026-11-24T11:59:15Z", "45s"),
            ("2026-11-24T11:48:00Z", "12m"),
            ("2026-11-24T08:40:00Z", "3h20m"),
            ("2026-11-23T20:00:00Z", "16h"),
            ("2026-11-15T12:00:00Z", "9d"),
            ("2026-11-25T12:00:00Z", "0s"),
        ] {
            assert_eq!(age(at(since), now), said);
        }
    }
}
