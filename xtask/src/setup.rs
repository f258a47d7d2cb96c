//! What a fresh machine needs: the control plane's programs, Debian's packages, the machine image,
//! and the programs under test. Each step says what it is, where it is kept and how long it took;
//! a step whose inputs have not changed costs nothing.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};

use crate::cache;
use crate::command::{cargo, output, run, step};

/// The target that images are built for; naming it keeps static linking away from build scripts.
const STATIC_TARGET: &str = "x86_64-unknown-linux-gnu";
/// What makes them static.
const STATIC_FLAGS: &str = "-C target-feature=+crt-static";
/// The profile of the static programs (see the workspace's Cargo.toml).
const STATIC_PROFILE: &str = "lab";

/// The version of cargo-deny.
const CARGO_DENY: &str = "0.20.2";

/// Everything that a suite or the demo may need.
pub(crate) fn everything() -> Result<()> {
    control_plane()?;
    programs()?;
    if prometheus_possible()?.is_ok() {
        prometheus()?;
    }
    if browser_possible()?.is_ok() {
        browser()?;
    }
    if machines_possible()?.is_ok() {
        machines()?;
        images()?;
    }
    Ok(())
}

/// Builds the Go programs: the control plane, the small lab tool and helm.
pub(crate) fn control_plane() -> Result<()> {
    let module = cache::root().join("tests/control-plane");
    let bin = cache::directory()?.join("bin");
    let mark = bin.join("control-plane.made-from");
    let go = output(Command::new("go").arg("version"))?;
    let fingerprint = cache::fingerprint(&[&module], &[&go])?;
    if cache::is_current(&mark, &fingerprint) {
        return Ok(());
    }
    let name = format!(
        "building Kubernetes {} and helm from Go modules into {} (minutes when Go's cache is empty)",
        "1.36",
        bin.display()
    );
    step(&name, || {
        fs::create_dir_all(&bin).context("failed to make the cache directory")?;
        run(Command::new("sh")
            .arg("BUILD")
            .current_dir(&module)
            .env("BIN", &bin))?;
        fs::write(&mark, &fingerprint).context("failed to mark the programs as made")
    })
}

/// Builds every Rust program and test of the workspace.
pub(crate) fn programs() -> Result<()> {
    step("building the workspace with cargo", || {
        run(cargo("build").args(["--locked", "--workspace", "--all-targets"]))
    })
}

/// Where cargo puts what it builds.
pub(crate) fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR")
        .filter(|value| !value.is_empty())
        .map_or_else(|| cache::root().join("target"), PathBuf::from)
}

/// A program of the lab.
pub(crate) fn lab(arguments: &[&str]) -> Command {
    let mut command = Command::new(target().join("debug/slipway-lab"));
    command.args(arguments).current_dir(cache::root());
    command
}

/// Whether machines can run here, or why not.
pub(crate) fn machines_possible() -> Result<Result<(), String>> {
    let answer = output(&mut lab(&["machines", "possible"]))?;
    let reason = answer.trim();
    Ok(if reason.is_empty() {
        Ok(())
    } else {
        Err(reason.to_owned())
    })
}

/// Installs the packages that machines need and builds their image.
pub(crate) fn machines() -> Result<()> {
    step(
        "setting machines up (Debian packages, then the image)",
        || run(&mut lab(&["machines", "set-up"])),
    )
}

/// Whether Prometheus and Alertmanager can be had here, or why not.
pub(crate) fn prometheus_possible() -> Result<Result<(), String>> {
    let answer = output(&mut lab(&["prometheus", "possible"]))?;
    let reason = answer.trim();
    Ok(if reason.is_empty() {
        Ok(())
    } else {
        Err(reason.to_owned())
    })
}

/// Unpacks Prometheus and Alertmanager into the cache.
pub(crate) fn prometheus() -> Result<()> {
    step(
        "getting Prometheus and Alertmanager (Debian packages, unpacked into the cache)",
        || run(&mut lab(&["prometheus", "set-up"])),
    )
}

/// Whether a browser can be had here, or why not.
pub(crate) fn browser_possible() -> Result<Result<(), String>> {
    let answer = output(&mut lab(&["browser", "possible"]))?;
    let reason = answer.trim();
    Ok(if reason.is_empty() {
        Ok(())
    } else {
        Err(reason.to_owned())
    })
}

/// Installs Chromium without its windows, for the timeline.
pub(crate) fn browser() -> Result<()> {
    step("getting headless Chromium (Debian packages)", || {
        run(&mut lab(&["browser", "set-up"]))
    })
}

/// Builds the operator and the agent statically, and their images as OCI archives.
pub(crate) fn images() -> Result<Vec<PathBuf>> {
    step("building static programs and their images", || {
        run(cargo("build")
            .args([
                "--locked",
                "--profile",
                STATIC_PROFILE,
                "--target",
                STATIC_TARGET,
            ])
            .args([
                "--package",
                "slipway-operator",
                "--package",
                "slipway-node-agent",
                "--bins",
            ])
            .env("RUSTFLAGS", STATIC_FLAGS))?;
        let programs = static_programs();
        let directory = programs.join("images");
        fs::create_dir_all(&directory).context("failed to make the directory of images")?;
        let mut command = lab(&["images"]);
        let written = output(command.arg(&programs).arg(&directory))?;
        Ok(written.lines().map(PathBuf::from).collect())
    })
}

/// Builds the agent as it is released: statically, for size.
pub(crate) fn released_agent() -> Result<PathBuf> {
    step(
        "building the agent for release (minutes the first time)",
        || {
            run(cargo("build")
                .args(["--locked", "--release", "--target", STATIC_TARGET])
                .args(["--package", "slipway-node-agent"])
                .args(["--bin", "slipway-node-agent"])
                .env("RUSTFLAGS", STATIC_FLAGS))?;
            Ok(target()
                .join(STATIC_TARGET)
                .join("release/slipway-node-agent"))
        },
    )
}

/// cargo-deny, installed into the cache where it is not there yet.
pub(crate) fn cargo_deny() -> Result<PathBuf> {
    let tools = cache::directory()?.join("tools");
    let program = tools.join("bin/cargo-deny");
    if !program.is_file() {
        step("installing cargo-deny into the cache (minutes)", || {
            let mut command = cargo("install");
            command
                .args(["--locked", "--debug", "cargo-deny", "--version", CARGO_DENY])
                .arg("--root")
                .arg(&tools);
            // Its products are not ours to keep.
            let products = tools.join("build");
            run(command.env("CARGO_TARGET_DIR", &products))?;
            fs::remove_dir_all(&products).context("failed to remove the products of the build")
        })?;
    }
    Ok(program)
}

/// Where the static programs lie.
pub(crate) fn static_programs() -> PathBuf {
    target().join(STATIC_TARGET).join(STATIC_PROFILE)
}
