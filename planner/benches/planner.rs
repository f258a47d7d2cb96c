//! How long a pass and a forecast take, and how that grows.
//!
//! Prints the median and the 99th percentile for each size, and by which power of the size each case
//! grows. Fails where a goal is missed: it is run by hand and by `cargo xtask bench planner`, never
//! as a test, since a busy machine would fail it.
//!
//! The goal is growth by n log n at most. Time alone cannot show that: a thousand nodes fit the
//! caches of a core and fifty thousand do not, so that the same steps take several times as long.
//! So the yardstick is measured in the same process on the same nodes: sorting them, which is
//! n log n by definition, by what a pass reads of a node. How many steps there are is counted, and
//! is a test (`planner/tests/work.rs`).
//!
//! `cargo bench -p slipway-planner -- CASE NODES RUNS` only runs one case, for a profiler.

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
use slipway_planner::forecast::{forecast, mix};
use slipway_planner::{NodeView, check, plan};

/// Nodes of each size.
const SIZES: [usize; 3] = [1_000, 10_000, 50_000];
/// A pass over ten thousand nodes takes this long at most.
const PASS_MAX: Duration = Duration::from_millis(10);
/// A forecast of as many takes this long at most.
const FORECAST_MAX: Duration = Duration::from_secs(1);
/// From the smallest size to the largest n log n grows by this power, were all memory the same.
const N_LOG_N: f64 = 1.12;
/// Two measurements of the same differ by this.
const NOISE: f64 = 0.08;

/// One thing that is timed.
struct Case {
    name: &'static str,
    runs: usize,
    /// Most that the median over [`SIZES`]`[1]` nodes may be.
    goal: Option<Duration>,
    work: fn(&Fleet),
}

/// What every case is held against: sorting the nodes, which come in no order, by a label and name.
const YARDSTICK: Case = Case {
    name: "sort",
    runs: 200,
    goal: None,
    work: |fleet| {
        let nodes = fleet.snapshot.nodes.values().zip(0..);
        let mut nodes: Vec<(u64, &NodeView)> =
            nodes.map(|(node, number)| (mix(7, number), node)).collect();
        nodes.sort_unstable_by_key(|(scattered, _)| *scattered);
        nodes.sort_by(|(_, a), (_, b)| {
            let read = |node: &NodeView| (node.ready, node.label("example.com/pool").map(str::len));
            read(a).cmp(&read(b)).then_with(|| a.name.cmp(&b.name))
        });
        black_box(nodes);
    },
};

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
    let asked: Vec<String> = { std::env::args().skip(1) }
        .filter(|word| !word.starts_with('-'))
        .collect();
    if let [name, nodes, runs] = asked.as_slice() {
        let case = CASES.iter().find(|case| case.name == name).unwrap();
        let fleet = fleet(nodes.parse().unwrap());
        (0..runs.parse().unwrap()).for_each(|_: usize| (case.work)(&fleet));
        return ExitCode::SUCCESS;
    }
    println!(
        "{:<20}{:>8}{:>12}{:>12}{:>10}",
        "", "nodes", "p50", "p99", "exponent"
    );
    let fleets = SIZES.map(fleet);
    let measure = |case: &Case| -> Vec<(usize, Duration)> {
        fleets.iter().map(|fleet| time(case, fleet)).collect()
    };
    let most = exponent(&YARDSTICK, &measure(&YARDSTICK)).max(N_LOG_N) + NOISE;
    let mut missed = Vec::new();
    for case in &CASES {
        missed.extend(judge(case, &measure(case), most));
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

/// By which power of the size the time grows; printed.
fn exponent(case: &Case, medians: &[(usize, Duration)]) -> f64 {
    let (first, last) = (medians[0], medians[medians.len() - 1]);
    let times = last.1.as_secs_f64() / first.1.as_secs_f64();
    let exponent = times.ln() / (last.0 as f64 / first.0 as f64).ln();
    println!(
        "{:<20}{:>8}{:>12}{:>12}{exponent:>10.2}",
        case.name, "", "", ""
    );
    exponent
}

/// The goals that are missed.
fn judge(case: &Case, medians: &[(usize, Duration)], most: f64) -> Vec<String> {
    let mut missed = Vec::new();
    let exponent = exponent(case, medians);
    if exponent > most {
        missed.push(format!(
            "{} grows by the power {exponent:.2}, more than {most:.2}, by which sorting does",
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
