//! The layers that a mutant is shown to, the cheapest first: each is a few test programs.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use super::bank::Mutant;
use crate::cache;
use crate::command::{cargo_in, output};

/// Longest that a layer may take: a mutant that never ends is noticed by that.
const LIMIT: Duration = Duration::from_mins(8);

/// What became of a mutant in a layer.
pub(crate) enum Verdict {
    /// Nothing was noticed.
    Survived,
    /// This noticed.
    Killed(String),
}

/// A layer before it is built: its name, the crates that it runs, and package directory and target of
/// its test programs.
struct Plan {
    name: &'static str,
    sees: &'static [&'static str],
    targets: &'static [(&'static str, &'static str)],
}

/// The crates of both programs.
const EVERYTHING: &[&str] = &["crds", "client", "planner", "operator", "node-agent"];

const PLANS: &[Plan] = &[
    Plan {
        name: "planner",
        sees: &["crds", "planner"],
        targets: &[
            ("crds", "slipway_api"),
            ("planner", "slipway_planner"),
            ("planner", "tables"),
            ("planner", "properties"),
        ],
    },
    Plan {
        name: "agent",
        sees: &["crds", "client", "node-agent"],
        targets: &[("node-agent", "slipway_node_agent")],
    },
    Plan {
        name: "operator",
        sees: &["crds", "client", "planner", "operator"],
        targets: &[("operator", "slipway_operator")],
    },
    Plan {
        name: "simulation",
        sees: EVERYTHING,
        targets: &[("tests", "simulation")],
    },
    Plan {
        name: "sweep",
        sees: EVERYTHING,
        targets: &[("tests", "crash_sweep")],
    },
    Plan {
        name: "model",
        sees: &["crds", "planner", "node-agent"],
        targets: &[("tests/model", "exhaustive")],
    },
];

/// A layer that can be run.
pub(crate) struct Layer {
    plan: &'static Plan,
    /// Directory of the package and the program.
    programs: Vec<(PathBuf, PathBuf)>,
}

/// The layers of these names, or all.
pub(crate) fn choose(names: &[String]) -> Result<Vec<&'static str>> {
    let known: Vec<&'static str> = PLANS.iter().map(|plan| plan.name).collect();
    if let Some(unknown) = names.iter().find(|name| !known.contains(&name.as_str())) {
        bail!(
            "there is no layer {unknown}; there are {}",
            known.join(", ")
        );
    }
    Ok(known
        .into_iter()
        .filter(|name| names.is_empty() || names.iter().any(|wanted| wanted == name))
        .collect())
}

/// Builds layers in the copy.
pub(crate) fn build(copy: &Path, names: &[&str]) -> Result<Vec<Layer>> {
    let plans: Vec<&'static Plan> = PLANS
        .iter()
        .filter(|plan| names.contains(&plan.name))
        .collect();
    let mut command = cargo_in(copy, "test");
    command.args(["--locked", "--no-run", "--quiet"]);
    command.args(["--message-format", "json", "--workspace"]);
    let targets: Vec<&str> = plans
        .iter()
        .flat_map(|plan| plan.targets)
        .map(|(_, target)| *target)
        .collect();
    for target in &targets {
        if !target.starts_with("slipway_") {
            command.args(["--test", target]);
        }
    }
    if targets.iter().any(|target| target.starts_with("slipway_")) {
        command.arg("--lib");
    }
    let messages = output(&mut command)?;
    let mut layers = Vec::new();
    for plan in plans {
        let mut programs = Vec::new();
        for (directory, target) in plan.targets {
            let directory = copy.join(directory);
            let program = program(&messages, &directory, target)
                .with_context(|| format!("cargo has built no test program {target}"))?;
            programs.push((directory, program));
        }
        layers.push(Layer { plan, programs });
    }
    Ok(layers)
}

/// Finds a test program in what cargo says, a line of JSON for each thing built.
fn program(messages: &str, directory: &Path, target: &str) -> Option<PathBuf> {
    let manifest = format!("\"{}\"", directory.join("Cargo.toml").display());
    let name = format!("\"name\":\"{target}\"");
    let line = messages
        .lines()
        .find(|line| line.contains(&manifest) && line.contains(&name) && field(line).is_some())?;
    field(line).map(PathBuf::from)
}

fn field(line: &str) -> Option<&str> {
    let (_, rest) = line.split_once("\"executable\":\"")?;
    rest.split('"').next()
}

impl Layer {
    pub(crate) fn name(&self) -> &'static str {
        self.plan.name
    }

    /// True when the layer runs any of the code that the mutant changes.
    pub(crate) fn sees(&self, mutant: &Mutant) -> bool {
        let crates = mutant
            .hunks
            .iter()
            .filter_map(|hunk| hunk.file.split('/').next());
        crates.into_iter().any(|one| self.plan.sees.contains(&one))
    }

    /// Runs the layer as a mutant; "" for none.
    pub(crate) fn run(&self, mutant: &str, seeds: u64) -> Result<Verdict> {
        let logs = cache::directory()?.join("mutants/logs");
        fs::create_dir_all(&logs).context("failed to make a directory for logs")?;
        for (directory, program) in &self.programs {
            let log = logs.join(format!("{mutant}.{}.txt", self.name()));
            let file = File::create(&log).context("failed to make a log")?;
            let mut command = Command::new(program);
            // A mutant need not be run twice to tell that it is the same.
            command
                .args(["--skip", "byte_for_byte"])
                .current_dir(directory)
                .env("CARGO_MANIFEST_DIR", directory)
                .env("SLIPWAY_MUTANT", mutant)
                .env("SLIPWAY_SEEDS", seeds.to_string())
                .env("RUST_BACKTRACE", "0")
                .stdin(Stdio::null())
                .stderr(file.try_clone().context("failed to share the log")?)
                .stdout(file);
            if let Some(by) = watch(&mut command, &log)? {
                return Ok(Verdict::Killed(by));
            }
        }
        Ok(Verdict::Survived)
    }
}

/// Waits for a program; `None` when it found nothing wrong.
fn watch(command: &mut Command, log: &Path) -> Result<Option<String>> {
    let mut child = command.spawn().context("failed to start a test program")?;
    let begun = Instant::now();
    loop {
        if let Some(status) = child.try_wait().context("failed to wait")? {
            if status.success() {
                return Ok(None);
            }
            let text = fs::read_to_string(log).unwrap_or_default();
            ensure!(
                !text.is_empty(),
                "{status}, and nothing was printed: {}",
                log.display()
            );
            return Ok(Some(finding(&text)));
        }
        if begun.elapsed() > LIMIT {
            child.kill().context("failed to end a test program")?;
            child.wait().context("failed to wait")?;
            return Ok(Some("it never ends".to_owned()));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// What noticed: the first broken invariant of a history, else the first test that failed.
fn finding(text: &str) -> String {
    let mut lines = text.lines();
    let history = lines
        .by_ref()
        .find(|line| line.contains("is broken:"))
        .map(|line| line.trim_start_matches("Error: ").trim().to_owned());
    let broken = history.map(|seed| format!("{seed} {}", lines.next().unwrap_or_default().trim()));
    let failed = || {
        let failed = text.lines().find(|line| line.ends_with("... FAILED"))?;
        Some(
            failed
                .trim_start_matches("test ")
                .trim_end_matches(" ... FAILED")
                .to_owned(),
        )
    };
    let all = broken
        .or_else(failed)
        .unwrap_or_else(|| "it failed".to_owned());
    all.chars().take(120).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_is_a_broken_invariant_or_the_test_that_failed() {
        let history = "test no_history ... FAILED\nError: seed 7 is broken:\n  S1b: a cordon\n";
        assert_eq!(finding(history), "seed 7 is broken: S1b: a cordon");
        let table = "test one ... ok\ntest two ... FAILED\n";
        assert_eq!(finding(table), "two");
    }

    #[test]
    fn a_program_is_found_by_package_and_target() {
        let line = r#"{"manifest_path":"/c/planner/Cargo.toml","target":{"name":"tables"},"executable":"/t/tables-1"}"#;
        let found = program(line, Path::new("/c/planner"), "tables");
        assert_eq!(found, Some(PathBuf::from("/t/tables-1")));
        assert_eq!(program(line, Path::new("/c/tests"), "tables"), None);
    }

    #[test]
    fn a_layer_that_does_not_exist_is_refused() {
        assert!(choose(&["moon".to_owned()]).is_err());
        assert_eq!(choose(&["agent".to_owned()]).unwrap(), ["agent"]);
    }
}
