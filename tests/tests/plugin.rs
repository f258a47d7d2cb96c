//! `kubectl reboot` as a person runs it, against a simulated cluster with the real operator.
#![allow(
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a panic fails the test; what a person sees is shown beside the result"
)]

#[path = "plugin/brakes.rs"]
mod brakes;
#[path = "plugin/live.rs"]
mod live;
#[path = "plugin/people.rs"]
mod people;
#[path = "plugin/reading.rs"]
mod reading;
#[path = "plugin/refusals.rs"]
mod refusals;
#[path = "protocol/world.rs"]
#[allow(dead_code, reason = "the suite of the protocol uses the rest")]
mod world;

use std::time::Duration;

use anyhow::{Context, Result};

const BOUND: Duration = Duration::from_secs(90);

/// Never open while the test runs: a window of an hour that began two hours ago, every day.
pub(crate) fn night(now: jiff::Timestamp) -> String {
    let hour = |back: i8| (now.to_zoned(jiff::tz::TimeZone::UTC).hour() + 24 - back) % 24;
    let (start, end) = (hour(3), hour(2));
    format!(
        "
apiVersion: slipway.dev/v1alpha1
kind: RebootPolicy
metadata: {{name: nightly, labels: {{team: a}}}}
spec:
  nodeSelector: {{}}
  schedule: {{windows: [{{start: '{start:02}:00', end: '{end:02}:00'}}]}}
"
    )
}

pub(crate) fn line<'a>(text: &'a str, name: &str) -> Result<&'a str> {
    text.lines()
        .find(|line| line.split_whitespace().next() == Some(name))
        .with_context(|| format!("no line for {name} in\n{text}"))
}
