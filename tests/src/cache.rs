//! Where the lab's built programs lie, and which of them a server is started from.
//!
//! Owns the layout of the cache directory and the choice between it and `KUBEBUILDER_ASSETS`.
//! Never builds: `cargo xtask` fills the cache.
//! Called by [`crate::process`], [`crate::control_plane`] and the machines of the lab.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

/// The multi-call binary of `tests/control-plane`: every server, the kubelet and kubectl.
const CONTROL_PLANE: &str = "control-plane";
/// Its small sibling: `pause`, `web` and `supervise`.
const LAB_TOOL: &str = "lab-tool";
/// The programs that `KUBEBUILDER_ASSETS` must hold, where it is set.
const REQUIRED_ASSETS: [&str; 2] = ["etcd", "kube-apiserver"];

/// The cache directory: `SLIPWAY_CACHE`, else `$HOME/.cache/slipway`.
pub fn directory() -> Result<PathBuf> {
    if let Some(directory) = variable("SLIPWAY_CACHE") {
        return Ok(directory.into());
    }
    let home = variable("HOME").context("neither SLIPWAY_CACHE nor HOME is set")?;
    Ok(Path::new(&home).join(".cache/slipway"))
}

/// The path of the multi-call binary; an error says how to build it.
pub fn control_plane_binary() -> Result<PathBuf> {
    built(CONTROL_PLANE)
}

/// The path of the small binary for images and supervisors; an error says how to build it.
pub fn lab_tool_binary() -> Result<PathBuf> {
    built(LAB_TOOL)
}

/// A command that starts one of Kubernetes' programs, by its upstream name (`etcd`, `kubectl`, ...).
///
/// Where `KUBEBUILDER_ASSETS` is set, etcd and the API server come from there, and every other
/// program that lies there too.
pub fn kubernetes_program(name: &str) -> Result<Command> {
    if let Some(assets) = variable("KUBEBUILDER_ASSETS") {
        let program = Path::new(&assets).join(name);
        if program.is_file() {
            return Ok(Command::new(program));
        }
        if REQUIRED_ASSETS.contains(&name) {
            bail!(
                "KUBEBUILDER_ASSETS is set, but there is no {}",
                program.display()
            );
        }
    }
    let mut command = Command::new(control_plane_binary()?);
    // A server lives for a minute and is small: collecting its garbage at every doubling (Go's
    // default, 100) was a quarter of the processor time of a test.
    command.arg(name).env("GOGC", "400");
    Ok(command)
}

fn built(name: &str) -> Result<PathBuf> {
    let path = directory()?.join("bin").join(name);
    if !path.is_file() {
        bail!(
            "{} is missing: build it as tests/control-plane/BUILD says",
            path.display()
        );
    }
    Ok(path)
}

/// An environment variable that is set and not empty.
fn variable(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}
