//! Rules of the tree that no compiler checks.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, ensure};

/// No file of code is longer: past that it holds a second concern.
const LINES_MAX: usize = 500;

fn root() -> PathBuf {
    slipway_lab::chart::repository()
}

/// Every file that git tracks, or would.
fn files() -> Result<Vec<PathBuf>> {
    let output = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard"])
        .current_dir(root())
        .output()
        .context("failed to run git")?;
    ensure!(output.status.success(), "git ls-files failed");
    let names = String::from_utf8(output.stdout)?;
    Ok(names
        .lines()
        .map(|name| root().join(name))
        .filter(|path| path.is_file())
        .collect())
}

fn sources() -> Result<Vec<(PathBuf, String)>> {
    files()?
        .into_iter()
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .map(|path| Ok((path.clone(), fs::read_to_string(&path)?)))
        .collect()
}

#[test]
fn the_planner_depends_on_no_client_no_runtime_and_no_log() -> Result<()> {
    let output = Command::new(env!("CARGO"))
        .args([
            "tree",
            "--locked",
            "--package",
            "slipway-planner",
            "--edges",
            "normal",
        ])
        .args(["--prefix", "none", "--format", "{p}"])
        .current_dir(root())
        .output()
        .context("failed to run cargo tree")?;
    ensure!(output.status.success(), "cargo tree failed");
    let text = String::from_utf8(output.stdout)?;
    let names: BTreeSet<&str> = text
        .lines()
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    ensure!(
        names.contains("slipway-api"),
        "cargo tree printed something else: {text}"
    );
    for banned in [
        "tokio",
        "kube-client",
        "kube-runtime",
        "tracing",
        "hyper",
        "rand",
    ] {
        ensure!(
            !names.contains(banned),
            "slipway-planner depends on {banned}"
        );
    }
    Ok(())
}

#[test]
fn no_file_of_code_holds_two_concerns() -> Result<()> {
    for (path, text) in sources()? {
        let lines = text.lines().count();
        // Tables of tests are long and one concern all the same.
        let is_test = path.components().any(|part| part.as_os_str() == "tests")
            || path.file_stem().is_some_and(|stem| stem == "tests");
        ensure!(
            is_test || lines <= LINES_MAX,
            "{}: {lines} lines",
            path.display()
        );
    }
    Ok(())
}

/// A file that no module names is not compiled, so nothing says that it is wrong.
#[test]
fn every_file_of_code_belongs_to_a_module() -> Result<()> {
    let roots = ["lib.rs", "main.rs"];
    let all = sources()?;
    for (path, _) in &all {
        let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else {
            continue;
        };
        let is_root = roots.iter().any(|root| name == *root) || directory.ends_with("src/bin");
        if is_root || !path.components().any(|part| part.as_os_str() == "src") {
            continue;
        }
        // `a/mod.rs` is named where `a.rs` would be.
        let module = match name.to_str() {
            Some("mod.rs") => directory.to_owned(),
            _ => path.with_extension(""),
        };
        let (Some(above), Some(name)) = (module.parent(), module.file_name()) else {
            continue;
        };
        let line = format!("mod {};", name.to_string_lossy());
        // Or its neighbour says where it lies.
        let by_path = format!("#[path = \"{}.rs\"]", name.to_string_lossy());
        let neighbours = all
            .iter()
            .filter(|(other, _)| other.parent() == Some(directory));
        if neighbours
            .into_iter()
            .any(|(_, text)| text.contains(&by_path))
        {
            continue;
        }
        let named = [above.join("mod.rs"), above.with_extension("rs")]
            .into_iter()
            .chain(roots.map(|root| above.join(root)))
            .filter_map(|parent| fs::read_to_string(parent).ok())
            .any(|text| text.contains(&line));
        ensure!(named, "{}: no module names it", path.display());
    }
    Ok(())
}

#[test]
fn nothing_is_left_open_or_ignored() -> Result<()> {
    // Spelt apart, so that this file does not find itself.
    let banned = [
        ["TO", "DO"],
        ["FIX", "ME"],
        ["#[ig", "nore"],
        ["to", "do!("],
        ["unimpl", "emented!("],
    ];
    for (path, text) in sources()? {
        for word in &banned {
            ensure!(
                !text.contains(&word.concat()),
                "{}: {}",
                path.display(),
                word.concat()
            );
        }
    }
    Ok(())
}

#[test]
fn errors_keep_their_operation_and_are_never_converted_in_silence() -> Result<()> {
    for (path, text) in sources()? {
        ensure!(
            !text.contains(&["#[fr", "om]"].concat()),
            "{} converts errors",
            path.display()
        );
    }
    Ok(())
}

#[test]
fn paths_that_documents_name_exist() -> Result<()> {
    for document in ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md"] {
        let text = fs::read_to_string(root().join(document))?;
        for word in text.split('`').skip(1).step_by(2) {
            let is_path = word.contains('/')
                && !word.contains([' ', '*', '{', ':', '<', '$', '=', '~'])
                && !word.starts_with('/')
                && !word.starts_with("slipway.dev/")
                && !word.starts_with("localhost/")
                && word
                    .split('/')
                    .next()
                    .is_some_and(|first| root().join(first).is_dir());
            ensure!(
                !is_path || root().join(word).exists(),
                "{document} names {word}"
            );
        }
    }
    Ok(())
}

#[test]
fn every_fault_of_the_catalogue_that_is_built_is_named_in_a_test() -> Result<()> {
    let catalogue = fs::read_to_string(root().join("docs/design/faults.md"))?;
    let tests: String = sources()?
        .into_iter()
        .filter(|(_, text)| text.contains("#[test]") || text.contains("#[tokio::test]"))
        .map(|(_, text)| text.to_lowercase())
        .collect();
    // Those of the protocol that first light stands on.
    for id in [
        "f01", "f07", "f08", "f10", "f11", "f12", "f13", "f14", "f15", "f38", "f45", "f46", "f47",
        "f48", "f49", "f50", "f51", "f52", "f57", "f58", "f61", "f62", "f64", "f66", "f72", "f101",
        "f102",
    ] {
        ensure!(
            catalogue.contains(&id.to_uppercase()),
            "{id} is not in the catalogue"
        );
        ensure!(
            tests.contains(&format!("{id}_")),
            "{id} is named in no test"
        );
    }
    Ok(())
}
