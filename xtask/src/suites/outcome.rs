//! What became of each suite, and of the whole run.

use std::time::Duration;

use anyhow::{Result, bail};

use super::Suite;

/// What became of a suite.
#[derive(Clone)]
pub(super) enum Outcome {
    Passed,
    Failed(String),
    NotRun(String),
}

/// A suite's outcome, time and output.
pub(super) struct Report<'a> {
    suite: &'a Suite,
    outcome: Outcome,
    took: Duration,
    output: String,
}

impl<'a> Report<'a> {
    pub(super) fn new(suite: &'a Suite, outcome: Outcome, took: Duration, output: String) -> Self {
        Self {
            suite,
            outcome,
            took,
            output,
        }
    }

    /// Prints the output of a suite that did not fail; [`sum_up`] prints the others last, where one
    /// looks first.
    pub(super) fn print(&self) {
        let (name, seconds) = (self.suite.name, self.took.as_secs_f64());
        match &self.outcome {
            Outcome::Passed => {
                println!("==> suite {name} passed in {seconds:.1} s\n{}", self.output);
            }
            Outcome::Failed(_) => println!("==> suite {name} FAILED after {seconds:.1} s"),
            Outcome::NotRun(reason) => println!("==> suite {name} not run: {reason}"),
        }
    }
}

/// Prints every failure and the table; an error if anything failed, or, in CI, did not run.
pub(super) fn sum_up(reports: &[Report<'_>], total: Duration) -> Result<()> {
    let (mut passed, mut failed, mut not_run) = (0, 0, 0);
    for report in reports {
        if let Outcome::Failed(reason) = &report.outcome {
            println!(
                "==> suite {} failed: {reason}\n{}",
                report.suite.name, report.output
            );
        }
    }
    println!();
    for report in reports {
        let word = match &report.outcome {
            Outcome::Passed => {
                passed += 1;
                "passed".to_owned()
            }
            Outcome::Failed(reason) => {
                failed += 1;
                format!("FAILED: {reason}")
            }
            Outcome::NotRun(reason) => {
                not_run += 1;
                format!("not run: {reason}")
            }
        };
        let (name, took) = (report.suite.name, report.took.as_secs_f64());
        println!("{name:13} {took:7.1} s  {word}");
    }
    println!("all suites    {:7.1} s", total.as_secs_f64());
    println!("{passed} passed, {failed} failed, {not_run} not run");
    if failed > 0 {
        bail!("{failed} suites failed");
    }
    // On a person's machine a suite that cannot run is only named; CI must run everything.
    let in_ci = std::env::var_os("CI").is_some_and(|value| !value.is_empty());
    if not_run > 0 && in_ci {
        bail!("{not_run} suites could not run, which is a failure where CI is set");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::SUITES;
    use super::*;

    #[test]
    fn a_suite_that_fails_fails_the_run() {
        let outcome = Outcome::Failed("because".to_owned());
        let report = Report::new(&SUITES[0], outcome, Duration::ZERO, String::new());
        assert!(sum_up(&[report], Duration::ZERO).is_err());
    }
}
