//! The Helm chart as tests and the demo see it: rendered by Helm itself.
//!
//! Owns the call of Helm and the text of `examples/install.yaml`, which is the chart with its default
//! values below a Namespace. Never applies anything: [`crate::control_plane::apply`] does.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::cache;

/// The namespace of `examples/install.yaml`.
pub const NAMESPACE: &str = "slipway-system";
/// The release's name in `examples/install.yaml`.
const RELEASE: &str = "slipway";

/// What stands above the chart in `examples/install.yaml`. With Helm, `--create-namespace` makes it.
const NAMESPACE_DOCUMENT: &str = "\
# Slipway with the chart's default values. Generated from charts/slipway; do not edit.
# Apply it with `kubectl apply --server-side -f examples/install.yaml`.
apiVersion: v1
kind: Namespace
metadata:
  name: slipway-system
  labels:
    app.kubernetes.io/name: slipway
    # Agents are root and mount directories of the host; the operator is restricted.
    pod-security.kubernetes.io/enforce: privileged
";

/// The repository's root, as cargo says when it runs a test: clones share build products, and a
/// program that another one has built names that one's place.
pub fn repository() -> PathBuf {
    let said = std::env::var_os("CARGO_MANIFEST_DIR");
    let here = said.map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    here.parent().unwrap_or(&here).to_owned()
}

/// Renders the chart and its CRDs with these values in [`NAMESPACE`]; an error is Helm's.
pub fn render(values: &Value) -> Result<String> {
    render_in(NAMESPACE, values)
}

/// Renders the chart and its CRDs with these values in any namespace.
pub fn render_in(namespace: &str, values: &Value) -> Result<String> {
    let home = tempfile::tempdir()?;
    let file = home.path().join("values.json");
    std::fs::write(&file, values.to_string())?;
    let output = helm(home.path())?
        .args(["template", RELEASE, "--include-crds", "--namespace"])
        .arg(namespace)
        .arg("--values")
        .arg(&file)
        .arg(directory())
        .env_remove("KUBECONFIG")
        .output()
        .context("failed to run helm")?;
    if !output.status.success() {
        bail!("{}", String::from_utf8_lossy(&output.stderr).trim());
    }
    String::from_utf8(output.stdout).context("helm answered something other than text")
}

/// The chart's directory.
pub fn directory() -> PathBuf {
    repository().join("charts/slipway")
}

/// Helm with a home of its own, so that no configuration of the person at the terminal counts.
pub fn helm(home: &Path) -> Result<Command> {
    let program = cache::directory()?.join("bin/helm");
    ensure!(
        program.is_file(),
        "{} is missing: build it as tests/control-plane/BUILD says",
        program.display()
    );
    let mut command = Command::new(program);
    command
        .env("HELM_CACHE_HOME", home)
        .env("HELM_CONFIG_HOME", home)
        .env("HELM_DATA_HOME", home);
    Ok(command)
}

/// What `examples/install.yaml` has to be.
pub fn install_yaml() -> Result<String> {
    install_yaml_with(&json!({}))
}

/// The same with other values.
pub fn install_yaml_with(values: &Value) -> Result<String> {
    Ok(format!("{NAMESPACE_DOCUMENT}{}", render(values)?))
}

/// Every document of a YAML text that is not empty.
pub fn documents(yaml: &str) -> Result<Vec<Value>> {
    let mut documents = Vec::new();
    for document in serde_yaml::Deserializer::from_str(yaml) {
        let value = Value::deserialize(document).context("failed to parse YAML")?;
        if !value.is_null() {
            documents.push(value);
        }
    }
    Ok(documents)
}

/// The documents of one kind.
pub fn of_kind<'a>(documents: &'a [Value], kind: &str) -> Vec<&'a Value> {
    documents
        .iter()
        .filter(|document| document.get("kind").and_then(Value::as_str) == Some(kind))
        .collect()
}

/// The document of one kind and name.
pub fn find<'a>(documents: &'a [Value], kind: &str, name: &str) -> Result<&'a Value> {
    of_kind(documents, kind)
        .into_iter()
        .find(|document| document.pointer("/metadata/name").and_then(Value::as_str) == Some(name))
        .with_context(|| format!("there is no {kind} {name}"))
}
