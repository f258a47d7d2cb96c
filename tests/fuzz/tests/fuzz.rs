//! Replays the corpus of every fuzz target: what was found once is found again, and what the fuzzer
//! took an interest in still holds.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use slipway_fuzz::TARGETS;

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../corpus/fuzz")
}

/// The inputs of a target, in the order of their names.
fn inputs(target: &str) -> Result<Vec<PathBuf>> {
    let directory = corpus().join(target);
    let entries = fs::read_dir(&directory)
        .with_context(|| format!("failed to list {}", directory.display()))?;
    let mut paths = Vec::new();
    for entry in entries {
        paths.push(entry?.path());
    }
    paths.sort();
    Ok(paths)
}

#[test]
fn every_input_of_the_corpus_holds() -> Result<()> {
    let mut failed = Vec::new();
    for target in TARGETS {
        let inputs = inputs(target.name)?;
        ensure!(!inputs.is_empty(), "{} has no corpus", target.name);
        for path in inputs {
            let input = fs::read(&path)?;
            // The message is printed by the hook; the others are looked at all the same.
            if catch_unwind(AssertUnwindSafe(|| (target.run)(&input))).is_err() {
                failed.push(path);
            }
        }
    }
    ensure!(failed.is_empty(), "a property does not hold: {failed:?}");
    Ok(())
}

#[test]
fn every_directory_of_the_corpus_is_that_of_a_target() -> Result<()> {
    for entry in fs::read_dir(corpus())? {
        let path = entry?.path();
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        let known = TARGETS.iter().any(|target| target.name == name);
        ensure!(known, "no target reads {}", path.display());
    }
    Ok(())
}

#[test]
fn what_an_input_may_say_has_no_end_but_is_never_waited_for() {
    for target in TARGETS {
        for input in [&[][..], &[0; 3], &[0xff; 4096]] {
            (target.run)(input);
        }
    }
}
