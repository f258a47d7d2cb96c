//! Files in the tree that are made from others.

use std::fs;

use anyhow::{Context, Result, bail};

use crate::cache;
use crate::command::{cargo, output, run};
use crate::setup;

/// The CRDs: from the types to crds/yaml, and from there into the chart.
pub(crate) fn crds(check: bool) -> Result<()> {
    for directory in ["crds/yaml", "charts/slipway/crds"] {
        let mut command = cargo("run");
        command.args([
            "--quiet",
            "--locked",
            "--package",
            "slipway-api",
            "--bin",
            "generate-crds",
        ]);
        command.arg("--").arg(directory);
        if check {
            command.arg("--check");
        }
        run(&mut command).with_context(|| format!("{directory} is not current"))?;
    }
    Ok(())
}

/// examples/install.yaml: the chart with its default values.
pub(crate) fn chart(check: bool) -> Result<()> {
    setup::control_plane()?;
    run(cargo("build").args(["--quiet", "--locked", "--package", "slipway-lab", "--bins"]))?;
    let text = output(&mut setup::lab(&["chart"]))?;
    put("examples/install.yaml", &text, check, "chart")
}

/// docs/reasons.md: every reason of the planner, with what clears it.
pub(crate) fn reasons(check: bool) -> Result<()> {
    let mut command = cargo("run");
    command.args(["--quiet", "--locked", "--package", "slipway-planner"]);
    let text = output(command.args(["--example", "reasons"]))?;
    put("docs/reasons.md", &text, check, "reasons")
}

fn put(name: &str, text: &str, check: bool, verb: &str) -> Result<()> {
    let path = cache::root().join(name);
    let current = fs::read_to_string(&path).is_ok_and(|present| present == text);
    if check && !current {
        bail!("{name} is not current: run cargo xtask {verb}");
    }
    if !check && !current {
        fs::write(&path, text).with_context(|| format!("failed to write {name}"))?;
    }
    Ok(())
}
