//! Drains on a real API server: the agent's own code against real PodDisruptionBudgets, and the pods
//! that it moves compared with those that `kubectl drain` moves.
#![allow(clippy::indexing_slicing, reason = "a panic fails the test")]

#[path = "drain/bench.rs"]
mod bench;
#[path = "drain/budgets.rs"]
mod budgets;
#[path = "drain/endings.rs"]
mod endings;
#[path = "drain/golden.rs"]
mod golden;
#[path = "drain/paper.rs"]
mod paper;
#[path = "drain/rules.rs"]
mod rules;

use anyhow::{Result, ensure};
use futures::StreamExt;
use futures::stream::FuturesUnordered;

use bench::{Bench, Scenario};

/// Each on a node and in a namespace of its own, all at once: most of their time is waiting.
#[tokio::test]
async fn a_drain_does_what_its_grant_says_whatever_the_pods_and_their_budgets_are() -> Result<()> {
    let bench = Bench::start().await?;
    let scenarios: Vec<Scenario> = [
        budgets::scenarios(),
        rules::scenarios(),
        endings::scenarios(),
    ]
    .into_iter()
    .flatten()
    .collect();
    let count = scenarios.len();
    let mut running: FuturesUnordered<_> = scenarios
        .into_iter()
        .enumerate()
        .map(|(number, scenario)| bench.run(number, scenario))
        .collect();
    let mut failed = Vec::new();
    while let Some((name, outcome)) = running.next().await {
        if let Err(error) = outcome {
            failed.push(format!("{name}: {error:#}"));
        }
    }
    drop(running);
    ensure!(failed.is_empty(), "\n{}", failed.join("\n"));
    ensure!(count >= 20, "only {count} scenarios");
    bench.stop().await
}
