//! The suites of `cargo xtask test`, in order, and what became of each.

use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::cache;
use crate::command::{self, cargo};
use crate::setup;

/// What a suite needs before it can run.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Needs {
    /// Nothing but cargo.
    Cargo,
    /// The Go-built programs.
    ControlPlane,
    /// The Go-built programs, and Debian's packages of Prometheus and Alertmanager.
    Prometheus,
    /// Root, Debian and systemd-nspawn.
    Machines,
}

/// One suite.
struct Suite {
    name: &'static str,
    what: &'static str,
    needs: Needs,
    run: fn() -> Result<()>,
}

/// Every suite, the quickest first.
const SUITES: &[Suite] = &[
    Suite {
        name: "format",
        what: "rustfmt finds nothing to change",
        needs: Needs::Cargo,
        run: format,
    },
    Suite {
        name: "lint",
        what: "clippy and rustc give no warning",
        needs: Needs::Cargo,
        run: lint,
    },
    Suite {
        name: "unit",
        what: "unit, table and property tests of every crate",
        needs: Needs::Cargo,
        run: unit,
    },
    Suite {
        name: "deny",
        what: "licences, bans and sources of every dependency",
        needs: Needs::Cargo,
        run: deny,
    },
    Suite {
        name: "tidy",
        what: "rules of the tree: purity, names, paths in documents",
        needs: Needs::Cargo,
        run: || cargo_test("tidy"),
    },
    Suite {
        name: "lab",
        what: "the lab itself: control planes, simulated nodes",
        needs: Needs::ControlPlane,
        run: || cargo_tests(&["control_plane", "simulated"]),
    },
    Suite {
        name: "api",
        what: "CRDs, refusals, RBAC and admission on a real API server",
        needs: Needs::ControlPlane,
        run: || cargo_tests(&["crds", "admission"]),
    },
    Suite {
        name: "fidelity",
        what: "conversations in which the in-memory API server and the real one agree",
        needs: Needs::ControlPlane,
        run: || cargo_test("fidelity"),
    },
    Suite {
        name: "simulation",
        what: "seeded histories of the real programs on the in-memory API server",
        needs: Needs::Cargo,
        run: || cargo_test("simulation"),
    },
    Suite {
        name: "protocol",
        what: "operator and agents on a real API server, simulated nodes",
        needs: Needs::ControlPlane,
        run: || cargo_test("protocol"),
    },
    Suite {
        name: "blockers",
        what: "blockers against real Prometheus and Alertmanager servers, and hostile ones",
        needs: Needs::Prometheus,
        run: blockers,
    },
    Suite {
        name: "plugin",
        what: "kubectl reboot as a person runs it, on a simulated cluster",
        needs: Needs::ControlPlane,
        run: || cargo_test("plugin"),
    },
    Suite {
        name: "machines",
        what: "real systemd machines, with and without a real kubelet",
        needs: Needs::Machines,
        run: machines,
    },
];

/// What became of a suite.
enum Outcome {
    Passed,
    Failed(String),
    NotRun(String),
}

/// Prints the suites.
pub(crate) fn list() {
    for suite in SUITES {
        println!("{:10} {}", suite.name, suite.what);
    }
}

/// Runs the suites whose name contains one of `only`, or all, and sums up.
pub(crate) fn run(only: &[String]) -> Result<()> {
    let started = Instant::now();
    let chosen: Vec<&Suite> = SUITES
        .iter()
        .filter(|suite| only.is_empty() || only.iter().any(|name| suite.name.contains(name)))
        .collect();
    if chosen.is_empty() {
        bail!("no suite has such a name; cargo xtask test --list shows them");
    }
    if chosen.iter().any(|suite| suite.needs != Needs::Cargo) {
        setup::control_plane()?;
    }
    setup::programs()?;
    let mut results = Vec::new();
    for suite in chosen {
        println!("==> suite {}: {}", suite.name, suite.what);
        let begun = Instant::now();
        let outcome = outcome(suite);
        if let Outcome::Failed(reason) = &outcome {
            println!("    suite {} failed: {reason}", suite.name);
        }
        results.push((suite.name, outcome, begun.elapsed()));
    }
    sum_up(&results, started.elapsed())
}

fn outcome(suite: &Suite) -> Outcome {
    let possible = match suite.needs {
        Needs::Machines => Some(setup::machines_possible()),
        Needs::Prometheus => Some(setup::prometheus_possible()),
        Needs::Cargo | Needs::ControlPlane => None,
    };
    if let Some(possible) = possible {
        match possible {
            Ok(Ok(())) => {}
            Ok(Err(reason)) => return Outcome::NotRun(reason),
            Err(error) => return Outcome::Failed(format!("{error:#}")),
        }
    }
    match (suite.run)() {
        Ok(()) => Outcome::Passed,
        Err(error) => Outcome::Failed(format!("{error:#}")),
    }
}

fn sum_up(results: &[(&str, Outcome, Duration)], total: Duration) -> Result<()> {
    println!();
    let (mut passed, mut failed, mut not_run) = (0, 0, 0);
    for (name, outcome, took) in results {
        let word = match outcome {
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
        println!("{name:10} {:7.1} s  {word}", took.as_secs_f64());
    }
    println!("all suites {:6.1} s", total.as_secs_f64());
    println!("{passed} passed, {failed} failed, {not_run} skipped");
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

fn format() -> Result<()> {
    command::run(cargo("fmt").args(["--all", "--check"]))
}

fn lint() -> Result<()> {
    let mut command = cargo("clippy");
    command.args([
        "--locked",
        "--workspace",
        "--all-targets",
        "--",
        "--deny",
        "warnings",
    ]);
    command::run(&mut command)
}

fn unit() -> Result<()> {
    let mut command = cargo("test");
    command.args(["--locked", "--workspace", "--exclude", "slipway-lab"]);
    command::run(&mut command)?;
    command::run(cargo("test").args(["--locked", "--package", "slipway-lab", "--lib", "--bins"]))
}

fn deny() -> Result<()> {
    let program = setup::cargo_deny()?;
    let mut command = Command::new(program);
    command.args([
        "--locked",
        "check",
        "--hide-inclusion-graph",
        "bans",
        "licenses",
        "sources",
    ]);
    command::run(command.current_dir(cache::root()))
}

fn cargo_test(name: &str) -> Result<()> {
    cargo_tests(&[name])
}

fn cargo_tests(names: &[&str]) -> Result<()> {
    let mut command = cargo("test");
    command.args(["--locked", "--package", "slipway-lab"]);
    for name in names {
        command.args(["--test", name]);
    }
    command::run(&mut command)
}

fn blockers() -> Result<()> {
    setup::prometheus()?;
    cargo_test("blockers")
}

fn machines() -> Result<()> {
    setup::machines()?;
    setup::images()?;
    let mut command = cargo("test");
    command.args(["--locked", "--package", "slipway-lab", "--test", "machines"]);
    command.env("SLIPWAY_STATIC_PROGRAMS", setup::static_programs());
    command::run(&mut command)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suites_have_names_of_their_own() {
        let mut names: Vec<&str> = SUITES.iter().map(|suite| suite.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), SUITES.len());
    }

    #[test]
    fn a_suite_that_fails_fails_the_run() {
        let results = [("one", Outcome::Failed("because".to_owned()), Duration::ZERO)];
        assert!(sum_up(&results, Duration::ZERO).is_err());
    }
}
