//! `cargo xtask fuzz`: libFuzzer on what the agent reads of hosts and of the API server.
//!
//! Only the crates of the workspace are built with coverage (`tests/fuzz/instrument`), with the pinned
//! compiler. An input that breaks a property goes into the corpus, which `cargo test` replays.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::cache;
use crate::command::{cargo, run, step};
use crate::setup::target;

/// Longest that one input may take, in seconds; a machine that is busy must not fail one.
const INPUT_LIMIT: u32 = 10;
/// Most memory of the fuzzer, in MiB (faults.md 4.2).
const MEMORY_MAX: u32 = 256;
/// Longest input, in bytes: a lease with everything in it.
const LENGTH_MAX: u32 = 8192;

/// What is fuzzed, and for how long.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Only this target; without it each, one after the other.
    target: Option<String>,
    /// Seconds for each target.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// Adds to the corpus in the tree what reaches code that nothing in it reaches.
    #[arg(long)]
    keep: bool,
}

impl Options {
    /// Every target for a minute.
    pub(crate) fn everything() -> Self {
        Self {
            target: None,
            seconds: 60,
            keep: false,
        }
    }
}

/// Fuzzes; fails where an input breaks a property.
pub(crate) fn fuzz(options: &Options) -> Result<()> {
    let known = targets()?;
    let chosen: Vec<&String> = known
        .iter()
        .filter(|name| options.target.as_ref().is_none_or(|only| only == *name))
        .collect();
    if chosen.is_empty() {
        bail!("there is no such target; there are {}", known.join(", "));
    }
    let program = step("building the fuzz targets with coverage", build)?;
    let mut failed = Vec::new();
    for name in chosen {
        let fuzzed = step(&format!("fuzzing {name} for {} s", options.seconds), || {
            one(&program, name, options)
        });
        if let Err(error) = fuzzed {
            println!("{error:#}");
            failed.push(name.as_str());
        }
    }
    if failed.is_empty() {
        return Ok(());
    }
    bail!("an input breaks a property of {}", failed.join(", "))
}

fn corpus() -> PathBuf {
    cache::root().join("tests/corpus/fuzz")
}

/// The targets, by their directories in the corpus; a test says that these are all.
fn targets() -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(corpus()).context("failed to list the corpus")? {
        let path = entry?.path();
        if let (true, Some(name)) = (path.is_dir(), path.file_name()) {
            names.push(name.to_string_lossy().into_owned());
        }
    }
    names.sort();
    Ok(names)
}

fn build() -> Result<PathBuf> {
    let mut command = cargo("build");
    command
        .args(["--locked", "--workspace", "--bin", "slipway-fuzz"])
        .args(["--features", "slipway-fuzz/guided"])
        .env(
            "RUSTC_WORKSPACE_WRAPPER",
            cache::root().join("tests/fuzz/instrument"),
        );
    run(&mut command)?;
    Ok(target().join("debug/slipway-fuzz"))
}

fn one(program: &Path, name: &str, options: &Options) -> Result<()> {
    let seeds = corpus().join(name);
    // What a night has found the next one begins with; the tree keeps a few of them.
    let found = cache::directory()?.join("fuzz").join(name);
    fs::create_dir_all(&found).context("failed to make the directory of inputs")?;
    let before = files(&seeds)?;
    let fuzzed = run(fuzzer(program, name)
        .arg(format!("-max_total_time={}", options.seconds))
        .arg(format!("-artifact_prefix={}/", seeds.display()))
        .args(["-print_final_stats=1", "-verbosity=0"])
        .args([&found, &seeds]));
    for input in files(&seeds)?.difference(&before) {
        let bytes = fs::read(input).unwrap_or_default();
        println!(
            "{} is in the corpus now, and cargo test --workspace --test fuzz shows it again:\n{}",
            input.display(),
            bytes.escape_ascii()
        );
    }
    fuzzed?;
    if options.keep {
        run(fuzzer(program, name).arg("-merge=1").args([&seeds, &found]))?;
    }
    Ok(())
}

fn fuzzer(program: &Path, name: &str) -> Command {
    let mut command = Command::new(program);
    command
        .env("SLIPWAY_FUZZ_TARGET", name)
        .arg(format!("-timeout={INPUT_LIMIT}"))
        .arg(format!("-rss_limit_mb={MEMORY_MAX}"))
        .arg(format!("-max_len={LENGTH_MAX}"));
    let words = corpus().join(format!("{name}.dict"));
    if words.is_file() {
        command.arg(format!("-dict={}", words.display()));
    }
    command
}

fn files(directory: &Path) -> Result<BTreeSet<PathBuf>> {
    let entries = fs::read_dir(directory)
        .with_context(|| format!("failed to list {}", directory.display()))?;
    entries.map(|entry| Ok(entry?.path())).collect()
}
