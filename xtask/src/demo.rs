//! `cargo xtask demo`: sets up what the demo needs, then becomes it.

use std::os::unix::process::CommandExt;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::cache;
use crate::command::{cargo, run, step};
use crate::setup;

/// Sets up and starts the demo.
pub(crate) fn run_demo(arguments: &[String]) -> Result<()> {
    let asks_only = arguments
        .iter()
        .any(|word| word == "--down" || word == "--help");
    if !asks_only {
        setup::control_plane()?;
    }
    step("building the programs with cargo", || {
        run(cargo("build").args(["--locked", "--bins"]).args([
            "--package",
            "slipway-operator",
            "--package",
            "slipway-node-agent",
            "--package",
            "slipway-lab",
        ]))
    })?;
    let mut words = arguments.to_vec();
    if !asks_only && wants_machines(&mut words)? {
        setup::machines()?;
        setup::images()?;
    }
    let mut command = program();
    command
        .args(&words)
        .env("SLIPWAY_STATIC_PROGRAMS", setup::static_programs());
    // The demo takes this process' place: signals and the exit code are its own.
    let error = command.exec();
    Err(error).context("failed to start the demo")
}

/// The demo as it was built, in this checkout; without arguments.
pub(crate) fn program() -> Command {
    let mut command = Command::new(setup::target().join("debug/slipway-demo"));
    command.current_dir(cache::root());
    // As cargo tells its own tests: the program may have been built in another checkout.
    command.env("CARGO_MANIFEST_DIR", cache::root().join("tests"));
    command
}

/// Whether the demo runs on machines; says so in its arguments where nobody has chosen.
fn wants_machines(arguments: &mut Vec<String>) -> Result<bool> {
    let chosen = arguments
        .iter()
        .position(|word| word.starts_with("--machines"));
    let Some(place) = chosen else {
        let possible = setup::machines_possible()?;
        if let Err(reason) = &possible {
            println!("    real machines cannot run here ({reason}): the nodes are simulated");
        }
        let kind = if possible.is_ok() {
            "kubelet"
        } else {
            "simulated"
        };
        arguments.extend(["--machines".to_owned(), kind.to_owned()]);
        return Ok(possible.is_ok());
    };
    let word = arguments
        .get(place)
        .and_then(|word| word.strip_prefix("--machines="));
    let kind = word.or_else(|| arguments.get(place + 1).map(String::as_str));
    match kind {
        Some("kubelet") => match setup::machines_possible()? {
            Ok(()) => Ok(true),
            Err(reason) => bail!("machines cannot run here: {reason}"),
        },
        Some("simulated") => Ok(false),
        _ => bail!("--machines takes kubelet or simulated"),
    }
}
