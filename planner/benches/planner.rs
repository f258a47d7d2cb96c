//! How long a pass and a forecast take, and how that grows.
//!
//! Prints the median and the 99th percentile for each size, and how many times more work each size
//! is than the one before it. Fails where a goal is missed: it is run by hand and by
//! `cargo xtask bench planner`, never as a test, since a busy machine would fail it.

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_precision_loss,
    clippy::as_conversions,
    reason = "a command for people: it prints, and times its steps"
)]

#[path = "../tests/fleet/mod.rs"]
mod fleet;

use std::collections::BTreeMap;
use std::hint::black_box;
use std::process::ExitCode;
use std::time::Duration;

use fleet::{Fleet, fleet};
use nix::time::{ClockId, clock_gettime};
use slipway_planner::forecast::forecast;
use slipway_planner::{check, plan};

/// Nodes of each size.
const SIZES: [usize; 3] = [1_000, 10_000, 50_000];
/// A pass over ten thousand nodes takes this long at most.
const PASS_MAX: Duration = Duration::from_millis(10);
/// A forecast of as many takes this long at most.
const FORECAST_MAX: Duration = Duration::from_secs(1);
/// From the smallest size to the largest, n log n grows by the exponent 1.12; what memory that does
/// not fit a cache costs comes on top.
const EXPONENT_MAX: f64 = 1.25;

/// One thing that is timed.
struct Case {
    name: &'static str,
    runs: usize,
    /// Most that the median over [`SIZES`]`[1]` nodes may be.
    goal: Option<Duration>,
    work: fn(&Fleet),
}

const CASES: [Case; 4] = [
    Case {
        name: "pass",
        runs: 200,
        goal: Some(PASS_MAX),
        work: |fleet| {
            black_box(plan(&fleet.snapshot, fleet.now));
        },
    },
    Case {
        name: "check",
        runs: 200,
        goal: Some(PASS_MAX),
        work: |fleet| {
            black_box(check::check(&fleet.snapshot, &fleet.plan, fleet.now));
        },
    },
    Case {
        name: "pass, all waiting",
        runs: 30,
        goal: None,
        work: |fleet| {
            black_box(plan(&fleet.waiting, fleet.now));
        },
    },
    Case {
        name: "forecast",
        runs: 10,
        goal: Some(FORECAST_MAX),
        work: |fleet| {
            let known = BTreeMap::new();
            black_box(forecast(&fleet.waiting, &fleet.waits, &known, fleet.now));
        },
    },
];

fn main() -> ExitCode {
    println!(
        "{:<20}{:>8}{:>12}{:>12}{:>10}",
        "", "nodes", "p50", "p99", "exponent"
    );
    let fleets = SIZES.map(fleet);
    let mut missed = Vec::new();
    for case in &CASES {
        let medians: Vec<(usize, Duration)> =
            fleets.iter().map(|fleet| time(case, fleet)).collect();
        missed.extend(judge(case, &medians));
    }
    for goal in &missed {
        println!("missed: {goal}");
    }
    if missed.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Times a case over a fleet and prints a line; its size and median.
fn time(case: &Case, fleet: &Fleet) -> (usize, Duration) {
    let nodes = fleet.snapshot.nodes.len();
    // Large sizes are run less often: the whole bench stays below a minute or two.
    let runs = (case.runs * SIZES[0] / nodes.max(SIZES[0])).max(5);
    (case.work)(fleet);
    let mut times: Vec<Duration> = (0..runs)
        .map(|_| {
            let started = cpu_time();
            (case.work)(fleet);
            cpu_time().saturating_sub(started)
        })
        .collect();
    times.sort_unstable();
    let (p50, p99) = (times[runs / 2], times[(runs * 99 / 100).min(runs - 1)]);
    println!(
        "{:<20}{nodes:>8}{:>9.2} ms{:>9.2} ms",
        case.name,
        p50.as_secs_f64() * 1e3,
        p99.as_secs_f64() * 1e3,
    );
    (nodes, p50)
}

/// What this thread has cost so far: a machine that others use as well does not count theirs.
fn cpu_time() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID)
        .unwrap()
        .into()
}

/// The goals that are missed.
fn judge(case: &Case, medians: &[(usize, Duration)]) -> Vec<String> {
    let mut missed = Vec::new();
    let (first, last) = (medians[0], medians[medians.len() - 1]);
    let times = last.1.as_secs_f64() / first.1.as_secs_f64();
    let exponent = times.ln() / (last.0 as f64 / first.0 as f64).ln();
    println!(
        "{:<20}{:>8}{:>12}{:>12}{exponent:>10.2}",
        case.name, "", "", ""
    );
    if exponent > EXPONENT_MAX {
        missed.push(format!(
            "{} grows by the exponent {exponent:.2}, more than {EXPONENT_MAX}",
            case.name
        ));
    }
    if let Some(goal) = case.goal.filter(|goal| medians[1].1 > *goal) {
        missed.push(format!(
            "{} over {} nodes takes {:.1} ms, more than {} ms",
            case.name,
            medians[1].0,
            medians[1].1.as_secs_f64() * 1e3,
            goal.as_millis()
        ));
    }
    missed
}
