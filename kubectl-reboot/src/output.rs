//! What machines read.

use std::io::Write;

use anyhow::{Context, Result};
use serde::Serialize;

/// Writes a text to standard output.
pub(crate) fn text(text: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()?;
    Ok(())
}

/// As indented JSON.
pub(crate) fn json(value: &impl Serialize) -> Result<String> {
    let mut text = serde_json::to_string_pretty(value).context("failed to write JSON")?;
    text.push('\n');
    Ok(text)
}

/// As YAML.
pub(crate) fn yaml(value: &impl Serialize) -> Result<String> {
    serde_yaml::to_string(value).context("failed to write YAML")
}
