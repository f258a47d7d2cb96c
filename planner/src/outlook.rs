//! What is written of forecasts and findings: coarsely, and only when it moves.
//!
//! A forecast moves a little with every pass; a status that followed it would be written for ever.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use slipway_api::lease::ExpectedSpan;
use slipway_api::policy::{Forecast as ForecastStatus, RebootDurations};
use slipway_api::{Duration, RebootPolicyStatus};

use crate::forecast::{Durations, Expected, PolicyForecast};
use crate::lint::Finding;

/// Times are told in steps of this.
const STEP: i64 = 300;
/// Type of the condition.
const FEASIBLE: &str = "Feasible";

/// What a lease should say where it says `present`; `None` where that is close enough.
pub fn lease(
    present: Option<&ExpectedSpan>,
    expected: Option<&Expected>,
) -> Option<Option<ExpectedSpan>> {
    let told = expected.map(|expected| ExpectedSpan {
        from: Time(down(expected.from)),
        to: Time(up(expected.to)),
    });
    match (present, &told) {
        (None, None) => None,
        (Some(before), Some(after))
            if is_close(before.from.0, after.from.0) && is_close(before.to.0, after.to.0) =>
        {
            None
        }
        _ => Some(told),
    }
}

/// Adds the forecast, the durations on record and the condition `Feasible` to a policy's status.
pub fn policy(
    status: &mut RebootPolicyStatus,
    present: Option<&RebootPolicyStatus>,
    (forecast, durations): (Option<&PolicyForecast>, Option<Durations>),
    findings: &[Finding],
    now: Timestamp,
) {
    let before = present.and_then(|status| status.forecast.as_ref());
    status.forecast = forecast.and_then(|forecast| told(forecast, before));
    status.durations = durations.map(|durations| RebootDurations {
        p50: seconds(durations.p50),
        p90: seconds(durations.p90),
    });
    let others = present.map_or(&[][..], |status| &status.conditions);
    let condition = feasible(findings, others, status.observed_generation, now);
    status.conditions.push(condition);
}

fn seconds(length: SignedDuration) -> Duration {
    Duration::from_secs(length.as_secs().unsigned_abs())
}

fn told(forecast: &PolicyForecast, before: Option<&ForecastStatus>) -> Option<ForecastStatus> {
    if *forecast == PolicyForecast::default() {
        return None;
    }
    let number = |count: usize| i32::try_from(count).unwrap_or(i32::MAX);
    let by = forecast.all_done_by.map(up);
    let stands = before.and_then(|before| before.all_done_by.clone());
    let all_done_by = match (by, stands) {
        (Some(by), Some(stands)) if is_close(by, stands.0) => Some(stands),
        (by, _) => by.map(Time),
    };
    Some(ForecastStatus {
        all_done_by,
        blocked: number(forecast.blocked),
        never: number(forecast.never),
    })
}

fn feasible(
    findings: &[Finding],
    before: &[Condition],
    generation: Option<i64>,
    now: Timestamp,
) -> Condition {
    let (status, reason, message) = match findings.first() {
        None => (
            "True",
            FEASIBLE,
            "budget and windows let every node be done".to_owned(),
        ),
        Some(first) => {
            let all: Vec<String> = findings.iter().map(ToString::to_string).collect();
            ("False", first.code(), all.join("; "))
        }
    };
    let since = before
        .iter()
        .find(|other| other.type_ == FEASIBLE && other.status == status)
        // Whole seconds, as the API server keeps them: else every pass would differ.
        .map_or_else(
            || Timestamp::from_second(now.as_second()).unwrap_or(now),
            |other| other.last_transition_time.0,
        );
    Condition {
        type_: FEASIBLE.to_owned(),
        status: status.to_owned(),
        reason: reason.to_owned(),
        message,
        last_transition_time: Time(since),
        observed_generation: generation,
    }
}

fn is_close(a: Timestamp, b: Timestamp) -> bool {
    a.duration_since(b).abs() <= SignedDuration::from_secs(STEP)
}

fn down(time: Timestamp) -> Timestamp {
    let second = time.as_second();
    Timestamp::from_second(second - second.rem_euclid(STEP)).unwrap_or(time)
}

fn up(time: Timestamp) -> Timestamp {
    let below = down(time);
    if below == time {
        return time;
    }
    below
        .saturating_add(SignedDuration::from_secs(STEP))
        .unwrap_or(time)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn expected(from: &str, to: &str) -> Expected {
        Expected {
            from: at(from),
            to: at(to),
            done_by: at(to),
        }
    }

    fn span(from: &str, to: &str) -> ExpectedSpan {
        ExpectedSpan {
            from: Time(at(from)),
            to: Time(at(to)),
        }
    }

    #[test]
    fn a_range_is_told_in_steps_of_five_minutes_that_hold_it() {
        let told = lease(
            None,
            Some(&expected("2026-11-24T22:03:10Z", "2026-11-24T22:31:00Z")),
        );
        let whole = span("2026-11-24T22:00:00Z", "2026-11-24T22:35:00Z");
        assert_eq!(told, Some(Some(whole)));
    }

    #[test]
    fn a_range_that_hardly_moves_is_not_written_again() {
        let stands = span("2026-11-24T22:00:00Z", "2026-11-24T22:35:00Z");
        let near = expected("2026-11-24T22:07:00Z", "2026-11-24T22:39:00Z");
        assert_eq!(lease(Some(&stands), Some(&near)), None);
        let far = expected("2026-11-24T22:11:00Z", "2026-11-24T22:39:00Z");
        assert!(lease(Some(&stands), Some(&far)).is_some());
        assert_eq!(lease(Some(&stands), None), Some(None));
        assert_eq!(lease(None, None), None);
    }

    #[test]
    fn a_policy_with_nothing_ahead_says_nothing_and_is_feasible() {
        let mut status = RebootPolicyStatus::default();
        let now = at("2026-11-24T12:00:00.5Z");
        policy(
            &mut status,
            None,
            (Some(&PolicyForecast::default()), None),
            &[],
            now,
        );
        assert_eq!(status.forecast, None);
        assert_eq!(status.conditions[0].status, "True");
        let mut again = RebootPolicyStatus::default();
        let later = at("2026-11-24T13:00:00Z");
        policy(&mut again, Some(&status), (None, None), &[], later);
        assert_eq!(again, status, "time alone changes a status");
    }

    #[test]
    fn durations_on_record_are_told_in_seconds() {
        let mut status = RebootPolicyStatus::default();
        let durations = Durations {
            p50: SignedDuration::from_millis(240_900),
            p90: SignedDuration::from_secs(700),
        };
        let now = at("2026-11-24T12:00:00Z");
        policy(&mut status, None, (None, Some(durations)), &[], now);
        let told = status.durations.unwrap();
        assert_eq!((told.p50.0.as_secs(), told.p90.0.as_secs()), (240, 700));
    }

    #[test]
    fn what_is_wrong_is_the_reason_of_the_condition() {
        let mut status = RebootPolicyStatus::default();
        let findings = [Finding::NoBudget, Finding::NeverOpen];
        policy(
            &mut status,
            None,
            (None, None),
            &findings,
            at("2026-11-24T12:00:00Z"),
        );
        let condition = &status.conditions[0];
        assert_eq!(
            (condition.status.as_str(), condition.reason.as_str()),
            ("False", "NoBudget")
        );
        assert!(condition.message.contains("no window"));
    }
}
