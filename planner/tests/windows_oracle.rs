//! Windows against an independent oracle: other zone data (chrono-tz), another algorithm.
//!
//! The oracle never asks when a window starts. It walks forward minute by minute and keeps the
//! latest wall-clock time seen so far: a wall-clock time "has come" once that maximum reaches it.
//! That is the written rule: in a gap the moment of the change, in a fold the first occurrence.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::too_many_lines,
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a panic fails the test, and a table of cases is long"
)]

use chrono::{DateTime, Datelike, NaiveDate, NaiveDateTime, NaiveTime, TimeDelta, Timelike, Utc};
use chrono_tz::{TZ_VARIANTS, Tz};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use slipway_api::policy::Weekday;
use slipway_api::validate::DailyWindow;
use slipway_api::{ValidatedPolicy, validate_policy};
use slipway_planner::schedule;
use slipway_planner::window::{Opening, opening};

/// The years that are compared.
const FIRST: &str = "2026-01-01T00:00:00Z";
const LAST: &str = "2036-01-01T00:00:00Z";
/// Minutes walked before and after each change of the clocks.
const AROUND: i64 = 4 * 60;
/// Random stretches per zone, and their length in minutes.
const STRETCHES: u64 = 120;
const STRETCH: i64 = 60;
/// What the whole comparison must reach.
const POINTS_MIN: u64 = 5_000_000;

/// Zones whose rules changed after chrono-tz' data (2025b) was made: the two databases differ, and
/// jiff's newer one decides in the product. Anything else that differs is a fault.
const KNOWN_TO_DIFFER: [&str; 15] = [
    "Africa/Casablanca",
    "Africa/El_Aaiun",
    "America/Edmonton",
    "America/Havana",
    "America/Inuvik",
    "America/Rainy_River",
    "America/Vancouver",
    "America/Winnipeg",
    "America/Yellowknife",
    "Canada/Central",
    "Canada/Mountain",
    "Canada/Pacific",
    "Cuba",
    "Europe/Chisinau",
    "Europe/Tiraspol",
];

fn windows() -> Vec<DailyWindow> {
    let window = |days: &[Weekday], start: u16, end: u16| DailyWindow {
        days: days.to_vec(),
        start_minute: start,
        end_minute: end,
    };
    vec![
        // Over midnight, from some days only.
        window(&[Weekday::Fri, Weekday::Sat, Weekday::Sun], 22 * 60, 5 * 60),
        // Start, end, and both in the hours in which clocks change.
        window(&[Weekday::Sat, Weekday::Sun], 2 * 60 + 30, 3 * 60 + 15),
        window(&Weekday::ALL, 60 + 15, 2 * 60 + 45),
        window(&[Weekday::Thu], 0, 24 * 60),
        window(&[Weekday::Mon], 23 * 60 + 59, 1),
    ]
}

fn local(zone: Tz, at: DateTime<Utc>) -> NaiveDateTime {
    at.with_timezone(&zone).naive_local()
}

/// True when, with the latest wall-clock time `reached`, some window has started and not ended.
fn oracle(windows: &[DailyWindow], reached: NaiveDateTime) -> bool {
    let day_of = |weekday: chrono::Weekday| match weekday {
        chrono::Weekday::Mon => Weekday::Mon,
        chrono::Weekday::Tue => Weekday::Tue,
        chrono::Weekday::Wed => Weekday::Wed,
        chrono::Weekday::Thu => Weekday::Thu,
        chrono::Weekday::Fri => Weekday::Fri,
        chrono::Weekday::Sat => Weekday::Sat,
        chrono::Weekday::Sun => Weekday::Sun,
    };
    windows.iter().any(|window| {
        (0..=1).any(|days_ago| {
            let day = reached.date() - TimeDelta::days(days_ago);
            let length = if window.end_minute <= window.start_minute {
                i64::from(window.end_minute) + 24 * 60
            } else {
                i64::from(window.end_minute)
            };
            let midnight = day.and_time(NaiveTime::MIN);
            let start = midnight + TimeDelta::minutes(i64::from(window.start_minute));
            let end = midnight + TimeDelta::minutes(length);
            window.days.contains(&day_of(day.weekday())) && start <= reached && reached < end
        })
    })
}

/// Compares every minute of a stretch, with each window alone and all together.
fn compare(name: &str, zone: Tz, from: DateTime<Utc>, minutes: i64, all: &[DailyWindow]) -> u64 {
    let ours = TimeZone::get(name).unwrap();
    // Long enough before, that no earlier change of the clocks still counts.
    let mut reached = local(zone, from - TimeDelta::hours(3));
    let mut points = 0;
    for minute in (-3 * 60)..minutes {
        let at = from + TimeDelta::minutes(minute);
        reached = reached.max(local(zone, at));
        if minute < 0 {
            continue;
        }
        let now = Timestamp::from_second(at.timestamp()).unwrap();
        let open = !matches!(opening(all, &ours, now), Opening::Closed { .. });
        assert_eq!(
            open,
            oracle(all, reached),
            "{name} at {now} ({reached}): {all:?}"
        );
        points += 1;
    }
    points
}

/// Both databases agree on every offset around every change, and in between.
fn agree(name: &str, zone: Tz, changes: &[Timestamp]) -> bool {
    let ours = TimeZone::get(name).unwrap();
    let first: Timestamp = FIRST.parse().unwrap();
    let last: Timestamp = LAST.parse().unwrap();
    let same = |at: i64| {
        use chrono::Offset;
        let time = DateTime::from_timestamp(at, 0).unwrap();
        let theirs = time.with_timezone(&zone).offset().fix().local_minus_utc();
        ours.to_offset(Timestamp::from_second(at).unwrap())
            .seconds()
            == theirs
    };
    let near = changes
        .iter()
        .flat_map(|change| [-1, 0].map(|step| change.as_second() + step));
    let often = (first.as_second()..last.as_second()).step_by(5 * 86_400);
    near.chain(often).all(same)
}

/// Every minute of a zone that is compared; `None` where the databases differ.
fn zone_agrees(number: usize, zone: Tz, windows: &[DailyWindow]) -> Option<u64> {
    let (first, last): (Timestamp, Timestamp) = (FIRST.parse().unwrap(), LAST.parse().unwrap());
    let name = zone.name();
    let ours = TimeZone::get(name).ok()?;
    let changes: Vec<Timestamp> = ours
        .following(first)
        .map(|change| change.timestamp())
        .take_while(|at| *at < last)
        .collect();
    if !agree(name, zone, &changes) {
        return None;
    }
    let start = |second: i64| DateTime::from_timestamp(second - second % 60, 0).unwrap();
    let mut points = 0;
    for (index, change) in changes.iter().enumerate() {
        let from = start(change.as_second()) - TimeDelta::minutes(AROUND / 2);
        let some = &windows[index % windows.len()..];
        points += compare(name, zone, from, AROUND, some);
    }
    // A fixed seed for each zone: the same minutes on every run.
    let mut random = 0x9e37_79b9_7f4a_7c15_u64 ^ u64::try_from(number).unwrap();
    for index in 0..STRETCHES {
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(index | 1);
        let span = u64::try_from(last.as_second() - first.as_second()).unwrap();
        let offset = i64::try_from((random >> 16) % span).unwrap();
        let from = start(first.as_second() + offset);
        // Not where an earlier change would still count.
        let near = changes
            .iter()
            .any(|change| (from.timestamp() - change.as_second()).abs() < 6 * 3600);
        if !near {
            points += compare(name, zone, from, STRETCH, windows);
        }
    }
    Some(points)
}

#[test]
fn f49_windows_agree_with_an_independent_oracle_in_every_zone() {
    let windows = windows();
    let threads = std::thread::available_parallelism().unwrap().get();
    let results: Vec<(Tz, Option<u64>)> = std::thread::scope(|scope| {
        let windows = &windows;
        let work = |share: usize| {
            let zones = TZ_VARIANTS.into_iter().enumerate();
            zones
                .filter(|(number, _)| number % threads == share)
                .map(|(number, zone)| (zone, zone_agrees(number, zone, windows)))
                .collect::<Vec<_>>()
        };
        let shares: Vec<_> = (0..threads)
            .map(|share| scope.spawn(move || work(share)))
            .collect();
        let joined = shares.into_iter().map(|share| share.join().unwrap());
        joined.flatten().collect()
    });
    let points: u64 = results.iter().filter_map(|(_, points)| *points).sum();
    let zones = results
        .iter()
        .filter(|(_, points)| points.is_some())
        .count();
    let differ = results.iter().filter(|(_, points)| points.is_none());
    let mut differ: Vec<&str> = differ.map(|(zone, _)| zone.name()).collect();
    differ.sort_unstable();
    println!("{points} minutes in {zones} zones agree; the databases differ in {differ:?}");
    assert!(points >= POINTS_MIN, "only {points} minutes were compared");
    let unexplained: Vec<_> = differ
        .iter()
        .filter(|name| !KNOWN_TO_DIFFER.contains(name))
        .collect();
    assert!(unexplained.is_empty(), "{unexplained:?}");
}

/// Minutes compared before and after a change with cron windows, which cost ten times as much.
const AROUND_CRON: i64 = 150;

/// A cron expression with its duration in minutes, and the wall-clock minutes that it names.
type CronCase = (&'static str, i64, fn(NaiveDateTime) -> bool);

/// In and around the hours in which clocks change, and where months end.
const CRONS: [CronCase; 4] = [
    ("30 2 * * *", 90, |at| (at.hour(), at.minute()) == (2, 30)),
    ("15 1 * * SUN", 200, |at| {
        at.weekday() == chrono::Weekday::Sun && (at.hour(), at.minute()) == (1, 15)
    }),
    ("0 0 20-31 * *", 60, |at| {
        at.day() >= 20 && (at.hour(), at.minute()) == (0, 0)
    }),
    ("*/40 1-3 * * *", 7, |at| {
        (1..=3).contains(&at.hour()) && at.minute() % 40 == 0
    }),
];

/// A policy with one cron window, and with a freeze of whole days where there is one.
fn policy(zone: &str, cron: &CronCase, frozen: Option<NaiveDate>) -> ValidatedPolicy {
    let day = |date: NaiveDate| date.format("%Y-%m-%d").to_string();
    let freezes: Vec<_> = frozen
        .map(|date| serde_json::json!({"from": day(date), "to": day(date)}))
        .into_iter()
        .collect();
    let spec = serde_json::json!({
        "nodeSelector": {},
        "schedule": {
            "timeZone": zone,
            "windows": [{"cron": cron.0, "duration": format!("{}m", cron.1)}],
            "freezes": freezes,
        },
    });
    validate_policy(&serde_json::from_value(spec).unwrap()).unwrap()
}

/// Compares every minute around a change of the clocks, with a freeze of the day of the change too.
fn compare_cron(name: &str, zone: Tz, change: Timestamp, case: &CronCase) -> (u64, u64) {
    let change = DateTime::from_timestamp(change.as_second() / 60 * 60, 0).unwrap();
    let day = local(zone, change).date();
    let (plain, frozen) = (policy(name, case, None), policy(name, case, Some(day)));
    // The latest start whose window may still be open, and the wall clock before it.
    let begin = change - TimeDelta::minutes(AROUND_CRON / 2 + case.1 + 180);
    let mut reached = local(zone, begin);
    let mut open_until = begin;
    let (mut points, mut opens) = (0, 0);
    for minute in 1..(AROUND_CRON + case.1 + 180) {
        let at = begin + TimeDelta::minutes(minute);
        let wall = local(zone, at);
        while reached < wall {
            reached += TimeDelta::minutes(1);
            if (case.2)(reached) {
                open_until = open_until.max(at + TimeDelta::minutes(case.1));
            }
        }
        if minute < case.1 + 180 {
            continue;
        }
        let now = Timestamp::from_second(at.timestamp()).unwrap();
        let is_open = |policy| !matches!(schedule::opening(policy, now), Opening::Closed { .. });
        let open = at < open_until;
        assert_eq!(is_open(&plain), open, "{name} {} at {now}", case.0);
        let free = reached.date() != day;
        assert_eq!(
            is_open(&frozen),
            open && free,
            "{name} {} frozen at {now}",
            case.0
        );
        points += 2;
        opens += u64::from(open);
    }
    (points, opens)
}

#[test]
fn f49_cron_windows_and_freezes_agree_with_an_independent_oracle_around_clock_changes() {
    let (first, last): (Timestamp, Timestamp) = (FIRST.parse().unwrap(), LAST.parse().unwrap());
    let (mut points, mut opens, mut zones) = (0, 0, 0_usize);
    for zone in TZ_VARIANTS {
        let name = zone.name();
        let Ok(ours) = TimeZone::get(name) else {
            continue;
        };
        let changes: Vec<Timestamp> = ours
            .following(first)
            .map(|change| change.timestamp())
            .take_while(|at| *at < last)
            .collect();
        if changes.is_empty() || !agree(name, zone, &changes) {
            continue;
        }
        for (index, change) in changes.iter().take(2).enumerate() {
            let case = &CRONS[(zones / 2 + index) % CRONS.len()];
            let (compared, open) = compare_cron(name, zone, *change, case);
            points += compared;
            opens += open;
        }
        zones += 1;
    }
    println!("{points} minutes of cron windows and freezes in {zones} zones agree, {opens} open");
    assert!(points > 100_000, "only {points} minutes were compared");
    assert!(opens > 10_000, "only {opens} of them were in a window");
}
