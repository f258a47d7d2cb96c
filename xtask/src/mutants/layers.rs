//! The layers that a mutant is shown to, the cheapest first: each is a few test programs.
//!
//! The last one, [`API`], is not tried in turn: it runs the one test that a mutant names.

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

/// The layer of tests on a real API server.
pub(crate) const API: &str = "api";

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
    Plan {
        name: API,
        sees: EVERYTHING,
        targets: &[("tests", "protocol"), ("tests", "plugin")],
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
    // A place of its own: cargo tells the copy from the tree by the times of files alone, and would
    // take programs with mutants in them for those of the tree.
    command.arg("--target-dir");
    command.arg(cache::directory()?.join("mutants/target"));
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
        for (directory, program) in &self.programs {
            let log = log(&format!("{mutant}.{}", self.name()))?;
            let mut command = start(directory, program, mutant);
            // A mutant need not be run twice to tell that it is the same.
            command
                .args(["--skip", "byte_for_byte"])
                .env("SLIPWAY_SEEDS", seeds.to_string());
            if let Some(text) = watch(&mut command, &log)? {
                return Ok(Verdict::Killed(finding(&text)));
            }
        }
        Ok(Verdict::Survived)
    }

    /// Runs a single test, `program::test`, as a mutant; "" for none. Its programs inherit which
    /// mutant they are.
    pub(crate) fn run_test(&self, mutant: &str, test: &str) -> Result<Verdict> {
        let (target, name) = test.split_once("::").unwrap_or((test, ""));
        let mut targets = self.plan.targets.iter().zip(&self.programs);
        let (_, (directory, program)) = targets
            .find(|((_, one), _)| *one == target)
            .with_context(|| format!("{} runs no program {target}", self.name()))?;
        let log = log(&format!("{mutant}.{}", test.replace("::", ".")))?;
        let mut command = start(directory, program, mutant);
        command.args([name, "--exact"]);
        if let Some(text) = watch(&mut command, &log)? {
            return Ok(Verdict::Killed(said(&text)));
        }
        let printed = fs::read_to_string(&log).unwrap_or_default();
        ensure!(printed.contains("ok. 1 passed"), "there is no test {test}");
        Ok(Verdict::Survived)
    }
}

/// The file for what a test program prints.
fn log(name: &str) -> Result<PathBuf> {
    let logs = cache::directory()?.join("mutants/logs");
    fs::create_dir_all(&logs).context("failed to make a directory for logs")?;
    Ok(logs.join(format!("{name}.txt")))
}

/// A test program as a mutant.
fn start(directory: &Path, program: &Path, mutant: &str) -> Command {
    let mut command = Command::new(program);
    command
        .current_dir(directory)
        .env("CARGO_MANIFEST_DIR", directory)
        .env("SLIPWAY_MUTANT", mutant)
        .env("RUST_BACKTRACE", "0");
    command
}

/// Waits for a program; `None` when it found nothing wrong, else what it printed.
fn watch(command: &mut Command, log: &Path) -> Result<Option<String>> {
    let file = File::create(log).context("failed to make a log")?;
    let errors = file.try_clone().context("failed to share the log")?;
    command.stdin(Stdio::null()).stdout(file).stderr(errors);
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
            return Ok(Some(text));
        }
        if begun.elapsed() > LIMIT {
            child.kill().context("failed to end a test program")?;
            child.wait().context("failed to wait")?;
            return Ok(Some("Error: it never ends".to_owned()));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// What a single test said: the root of its error.
fn said(text: &str) -> String {
    let (_, causes) = text.split_once("Caused by:\n").unwrap_or_default();
    let mut causes = causes.lines().take_while(|line| !line.is_empty());
    let first = causes.next();
    let numbered = |line: &&str| {
        line.trim_start()
            .starts_with(|one: char| one.is_ascii_digit())
    };
    let cause = causes.filter(numbered).last().or(first);
    let error = || text.lines().find(|line| line.starts_with("Error: "));
    let root = cause.or_else(error).map(|line| {
        line.trim_start_matches("Error: ")
            .trim_start_matches(|one: char| one == ' ' || one == ':' || one.is_ascii_digit())
            .to_owned()
    });
    short(&root.unwrap_or_else(|| finding(text)))
}

fn short(text: &str) -> String {
    text.chars().take(120).collect()
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
    let never = || text.strip_prefix("Error: ").map(str::to_owned);
    let all = broken.or_else(failed).or_else(never);
    short(&all.unwrap_or_else(|| "it failed".to_owned()))
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
    fn a_test_says_the_root_of_its_error() {
        assert_eq!(
            said("x\nError: verified after 4s\n\nfailures:\n"),
            "verified after 4s"
        );
        let caused = "Error: n1 is\n  up\n\nCaused by:\n    waited 90s for n1\n\n";
        assert_eq!(said(caused), "waited 90s for n1");
        let twice = "Error: a\n\nCaused by:\n    0: waited\n    1: no such lease\n\nx";
        assert_eq!(said(twice), "no such lease");
        assert_eq!(said("test one ... FAILED\n"), "one");
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
