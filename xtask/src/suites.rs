//! The suites of `cargo xtask test`: what each proves, what it needs, and the commands that run it.

mod log;
mod outcome;
mod schedule;

use std::collections::BTreeMap;
use std::process::Command;
use std::time::Instant;

use anyhow::{Result, bail};

use crate::cache;
use crate::command::cargo;
use crate::nightly;
use crate::setup;
use outcome::Outcome;

/// Seeds of the simulation per commit.
const SEEDS: u64 = 20;

/// Modules of the program `protocol` with tests of minutes, which start first: cargo's runner goes by
/// the alphabet, and one that starts last is waited for by nobody else.
const LONG: &[&str] = &["crashes::", "lost::"];
/// Tests of a program that run at once where they wait, whatever the number of processors. With more,
/// the control planes that start together answer so late that installing Slipway fails.
const WAITING_TESTS_AT_ONCE: usize = 4;

/// What a suite needs before it can run.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Needs {
    /// Nothing but cargo.
    Cargo,
    /// cargo-deny, installed into the cache.
    CargoDeny,
    /// The Go-built programs.
    ControlPlane,
    /// The Go-built programs, and Debian's packages of Prometheus and Alertmanager.
    Prometheus,
    /// The Go-built programs, and a browser, which Debian's packages hold.
    Browser,
    /// Root, Debian and systemd-nspawn.
    Machines,
}

/// What a suite does with its time, which decides what may run beside it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Pace {
    /// Quick, and no use going on without: runs before the others, alone.
    First,
    /// Keeps processors busy.
    Computes,
    /// Waits for servers, machines and windows of time, mostly.
    Waits,
}

/// One suite.
struct Suite {
    name: &'static str,
    what: &'static str,
    needs: Needs,
    pace: Pace,
    commands: fn() -> Result<Vec<Command>>,
}

/// Every suite; among those of one pace the longest first.
const SUITES: &[Suite] = &[
    Suite {
        name: "format",
        what: "rustfmt finds nothing to change",
        needs: Needs::Cargo,
        pace: Pace::First,
        commands: || Ok(vec![words("fmt", &["--all", "--check"])]),
    },
    Suite {
        name: "lint",
        what: "clippy and rustc give no warning",
        needs: Needs::Cargo,
        pace: Pace::First,
        commands: || Ok(vec![lint()]),
    },
    Suite {
        name: "deny",
        what: "licences, bans and sources of every dependency",
        needs: Needs::CargoDeny,
        pace: Pace::First,
        commands: || Ok(vec![deny()?]),
    },
    Suite {
        name: "unit",
        what: "unit, table and property tests of every crate, and the model",
        needs: Needs::Cargo,
        pace: Pace::Computes,
        commands: || Ok(unit()),
    },
    Suite {
        name: "simulation",
        what: "seeded histories of the real programs on the in-memory API server",
        needs: Needs::Cargo,
        pace: Pace::Computes,
        commands: || Ok(vec![nightly::simulation(0, SEEDS)]),
    },
    Suite {
        name: "crash-sweep",
        what: "programs killed before and after every write and reboot call, in ten scenarios",
        needs: Needs::Cargo,
        pace: Pace::Computes,
        commands: || Ok(vec![nightly::crash_sweep(None)]),
    },
    Suite {
        name: "fidelity",
        what: "conversations in which the in-memory API server and the real one agree",
        needs: Needs::ControlPlane,
        pace: Pace::Computes,
        commands: || Ok(vec![lab_tests(&["fidelity"])]),
    },
    Suite {
        name: "tidy",
        what: "rules of the tree: purity, names, paths in documents",
        needs: Needs::Cargo,
        pace: Pace::Computes,
        commands: || Ok(vec![lab_tests(&["tidy"])]),
    },
    Suite {
        name: "faults",
        what: "the same with programs killed, an API server that is away, and requests that get lost",
        needs: Needs::ControlPlane,
        pace: Pace::Waits,
        commands: || Ok(vec![chosen(lab_tests(&["protocol"]), LONG, true)]),
    },
    Suite {
        name: "protocol",
        what: "operator and agents on a real API server, simulated nodes",
        needs: Needs::ControlPlane,
        pace: Pace::Waits,
        commands: || Ok(vec![chosen(lab_tests(&["protocol"]), LONG, false)]),
    },
    Suite {
        name: "machines",
        what: "real systemd machines, with and without a real kubelet",
        needs: Needs::Machines,
        pace: Pace::Waits,
        commands: || Ok(vec![machines()]),
    },
    Suite {
        name: "plugin",
        what: "kubectl reboot as a person runs it, on a simulated cluster",
        needs: Needs::ControlPlane,
        pace: Pace::Waits,
        commands: || Ok(vec![lab_tests(&["plugin"])]),
    },
    Suite {
        name: "notifications",
        what: "notifications to receivers that record every byte, and of a cluster whose leader dies",
        needs: Needs::ControlPlane,
        pace: Pace::Waits,
        commands: || Ok(vec![lab_tests(&["notifications"])]),
    },
    Suite {
        name: "drain",
        what: "drains of the real agent on a real API server, and kubectl's judgement of pods",
        needs: Needs::ControlPlane,
        pace: Pace::Waits,
        commands: || Ok(vec![lab_tests(&["drain"])]),
    },
    Suite {
        name: "api",
        what: "CRDs, refusals, RBAC and admission on a real API server",
        needs: Needs::ControlPlane,
        pace: Pace::Waits,
        commands: || Ok(vec![lab_tests(&["crds", "admission"])]),
    },
    Suite {
        name: "demo",
        what: "the demo on simulated nodes, with programs killed",
        needs: Needs::ControlPlane,
        pace: Pace::Waits,
        commands: || Ok(vec![demo(&["--machines", "simulated", "--chaos", "1"])]),
    },
    Suite {
        name: "blockers",
        what: "blockers against real Prometheus and Alertmanager servers, and hostile ones",
        needs: Needs::Prometheus,
        pace: Pace::Waits,
        commands: || Ok(vec![lab_tests(&["blockers"])]),
    },
    Suite {
        name: "lab",
        what: "the lab itself: control planes, simulated nodes",
        needs: Needs::ControlPlane,
        pace: Pace::Waits,
        commands: || Ok(vec![lab_tests(&["control_plane", "simulated"])]),
    },
    Suite {
        name: "timeline",
        what: "the timeline of kubectl reboot plan in headless Chromium",
        needs: Needs::Browser,
        pace: Pace::Waits,
        commands: || Ok(vec![lab_tests(&["timeline"])]),
    },
];

impl Suite {
    /// The command as this suite's pace wants it run.
    fn paced(&self, mut command: Command) -> Command {
        if self.pace == Pace::Waits {
            command.env("RUST_TEST_THREADS", WAITING_TESTS_AT_ONCE.to_string());
        }
        if self.pace != Pace::Computes {
            return command;
        }
        let mut nice = Command::new("nice");
        nice.arg("-n19").arg(command.get_program());
        nice.args(command.get_args());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => nice.env(name, value),
                None => nice.env_remove(name),
            };
        }
        if let Some(directory) = command.get_current_dir() {
            nice.current_dir(directory);
        }
        nice
    }
}

/// Prints the suites.
pub(crate) fn list() {
    for suite in SUITES {
        println!("{:12} {}", suite.name, suite.what);
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
    let hindrances = prepare(&chosen)?;
    let reports = schedule::run_all(&chosen, |suite| hindrances.get(&suite.needs).cloned());
    outcome::sum_up(&reports, started.elapsed())
}

/// Builds and installs what the chosen suites need; what cannot be had, and why.
fn prepare(chosen: &[&Suite]) -> Result<BTreeMap<Needs, Outcome>> {
    let needed = |needs| chosen.iter().any(|suite| suite.needs == needs);
    let mut hindrances = BTreeMap::new();
    let servers = [Needs::ControlPlane, Needs::Prometheus, Needs::Machines];
    if servers.into_iter().any(needed) {
        setup::control_plane()?;
    }
    setup::programs()?;
    if needed(Needs::CargoDeny) {
        setup::cargo_deny()?;
    }
    if needed(Needs::Prometheus)
        && let Some(outcome) = hindrance(setup::prometheus_possible(), setup::prometheus)
    {
        hindrances.insert(Needs::Prometheus, outcome);
    }
    if needed(Needs::Browser)
        && let Some(outcome) = hindrance(setup::browser_possible(), setup::browser)
    {
        hindrances.insert(Needs::Browser, outcome);
    }
    let machines = || setup::machines().and_then(|()| setup::images().map(|_| ()));
    if needed(Needs::Machines)
        && let Some(outcome) = hindrance(setup::machines_possible(), machines)
    {
        hindrances.insert(Needs::Machines, outcome);
    }
    Ok(hindrances)
}

/// Sets something up where that can be; what stands in the way, else.
fn hindrance(
    possible: Result<Result<(), String>>,
    set_up: impl FnOnce() -> Result<()>,
) -> Option<Outcome> {
    match possible {
        Ok(Ok(())) => set_up()
            .err()
            .map(|error| Outcome::Failed(format!("{error:#}"))),
        Ok(Err(reason)) => Some(Outcome::NotRun(reason)),
        Err(error) => Some(Outcome::Failed(format!("{error:#}"))),
    }
}

fn words(verb: &str, arguments: &[&str]) -> Command {
    let mut command = cargo(verb);
    command.args(arguments);
    command
}

fn lint() -> Command {
    let whole = ["--locked", "--workspace", "--all-targets"];
    let mut command = words("clippy", &whole);
    command.args(["--", "--deny", "warnings"]);
    command
}

fn unit() -> Vec<Command> {
    let others = ["--locked", "--workspace", "--exclude", "slipway-lab"];
    let lab = ["--locked", "--package", "slipway-lab", "--lib", "--bins"];
    vec![words("test", &others), words("test", &lab)]
}

fn deny() -> Result<Command> {
    let mut command = Command::new(setup::cargo_deny()?);
    command.args(["--locked", "check", "--hide-inclusion-graph"]);
    command.args(["bans", "licenses", "sources"]);
    command.current_dir(cache::root());
    Ok(command)
}

/// Test programs of the lab, by name. The whole workspace is named so that cargo finds what is built.
fn lab_tests(names: &[&str]) -> Command {
    let mut command = words("test", &["--locked", "--workspace"]);
    for name in names {
        command.args(["--test", name]);
    }
    command
}

/// Only tests whose names begin so, or all but those.
fn chosen(mut command: Command, names: &[&str], those: bool) -> Command {
    command.arg("--");
    for name in names {
        if !those {
            command.arg("--skip");
        }
        command.arg(name);
    }
    command
}

fn demo(arguments: &[&str]) -> Command {
    let mut command = crate::demo::program();
    command.args(arguments);
    command
}

fn machines() -> Command {
    let mut command = lab_tests(&["machines"]);
    command.env("SLIPWAY_STATIC_PROGRAMS", setup::static_programs());
    command
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
}
