//! A test runner for suites on machines.
//!
//! The runner of `cargo test` starts threads before any test; a lab must be entered before them.
//! This one runs scenarios one after another on the main thread. Its lines are those of `cargo test`.
#![allow(
    clippy::print_stdout,
    reason = "a test runner says on standard output what it does"
)]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};

use super::{enter_lab_namespace, setup};

/// How long one scenario may take: one that hangs must not cost the whole run.
const SCENARIO_BOUND: Duration = Duration::from_mins(5);

type Run = Box<dyn Fn() -> Pin<Box<dyn Future<Output = Result<()>>>>>;

/// One test of a suite.
pub struct Scenario {
    name: &'static str,
    run: Run,
}

/// A scenario from its name and function.
pub fn scenario<F, Fut>(name: &'static str, function: F) -> Scenario
where
    F: Fn() -> Fut + 'static,
    Fut: Future<Output = Result<()>> + 'static,
{
    Scenario {
        name,
        run: Box::new(move || Box::pin(function())),
    }
}

/// Enters the lab and runs the scenarios that the command line chooses, one after another.
///
/// To be called from `main`, before any other thread exists. Where machines cannot run, the reason
/// is printed; that is a failure in CI (`CI` is set and not empty), where a suite that silently
/// does nothing would prove nothing.
pub fn run(suite: &str, scenarios: Vec<Scenario>) -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let filters: Vec<&String> = arguments
        .iter()
        .filter(|argument| !argument.starts_with('-'))
        .collect();
    let exact = arguments.iter().any(|argument| argument == "--exact");
    let is_chosen = |name: &str| {
        filters.is_empty()
            || filters.iter().any(|filter| {
                (exact && name == filter.as_str()) || (!exact && name.contains(filter.as_str()))
            })
    };
    let total = scenarios.len();
    let chosen: Vec<Scenario> = scenarios
        .into_iter()
        .filter(|scenario| is_chosen(scenario.name))
        .collect();
    if arguments.iter().any(|argument| argument == "--list") {
        for scenario in &chosen {
            println!("{}: test", scenario.name);
        }
        return ExitCode::SUCCESS;
    }
    if let Err(reason) = prepare() {
        println!("{suite}: not run: {reason}");
        println!(
            "test result: ok. 0 passed; 0 failed; {total} ignored; 0 measured; 0 filtered out"
        );
        let in_ci = std::env::var_os("CI").is_some_and(|value| !value.is_empty());
        return if in_ci {
            ExitCode::FAILURE
        } else {
            ExitCode::SUCCESS
        };
    }
    run_all(&chosen, total)
}

/// Packages are installed by the setup alone; the image goes into our own cache.
fn prepare() -> Result<()> {
    setup::host_requirements()?;
    let step = setup::build_image()?;
    if step.changed {
        println!("{}: built in {:.1}s", step.name, step.took.as_secs_f64());
    }
    enter_lab_namespace()
}

fn run_all(chosen: &[Scenario], total: usize) -> ExitCode {
    let started = Instant::now();
    println!("\nrunning {} tests", chosen.len());
    let mut failures = Vec::new();
    for scenario in chosen {
        let began = Instant::now();
        let result = run_one(scenario);
        let took = began.elapsed().as_secs_f64();
        match result {
            Ok(()) => println!("test {} ... ok ({took:.1}s)", scenario.name),
            Err(error) => {
                println!("test {} ... FAILED ({took:.1}s)", scenario.name);
                println!("    {error:#}");
                failures.push(scenario.name);
            }
        }
    }
    if !failures.is_empty() {
        println!("\nfailures:");
        for name in &failures {
            println!("    {name}");
        }
    }
    println!(
        "\ntest result: {}. {} passed; {} failed; 0 ignored; 0 measured; {} filtered out; finished in {:.2}s",
        if failures.is_empty() { "ok" } else { "FAILED" },
        chosen.len() - failures.len(),
        failures.len(),
        total - chosen.len(),
        started.elapsed().as_secs_f64()
    );
    if failures.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Runs one scenario on a runtime of its own; what it left running ends with that.
fn run_one(scenario: &Scenario) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let work = async {
        tokio::time::timeout(SCENARIO_BOUND, (scenario.run)())
            .await
            .map_err(|_| anyhow!("it did not end within {SCENARIO_BOUND:?}"))?
    };
    catch_unwind(AssertUnwindSafe(|| runtime.block_on(work)))
        .unwrap_or_else(|_| Err(anyhow!("it panicked")))
}
