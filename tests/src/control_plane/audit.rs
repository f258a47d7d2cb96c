//! Who wrote what: the API servers' audit logs.
//!
//! Only writes to Nodes and to our own kinds are logged, each with the object as it is afterwards; of
//! users that a test names, every request.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};

use super::ControlPlane;

/// Says what is logged.
pub(super) fn policy(users: &[String]) -> String {
    let users = match users.join("\", \"") {
        users if users.is_empty() => String::new(),
        users => format!("- {{level: Metadata, users: [\"{users}\"]}}\n"),
    };
    [HEAD, &users, WRITES].concat()
}

const HEAD: &str = "
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
omitManagedFields: true
rules:
";
const WRITES: &str = r#"
- level: None
  verbs: [get, list, watch]
- level: RequestResponse
  resources:
  - {group: "", resources: [nodes, nodes/status]}
  - {group: slipway.dev}
- level: None
"#;

/// The name of the log of the API server with a port.
pub(super) fn log_name(port: u16) -> String {
    format!("audit-{port}.log")
}

impl ControlPlane {
    /// The text of the audit logs of every API server that ran.
    ///
    /// # Errors
    /// The control plane was started without them.
    pub fn audit_logs(&self) -> Result<String> {
        let entries = fs::read_dir(self.dir()).context("failed to list the directory")?;
        let paths: Vec<PathBuf> = entries
            .map(|entry| entry.map(|entry| entry.path()))
            .collect::<Result<_, _>>()?;
        let is_log = |path: &&PathBuf| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            name.starts_with("audit-") && name.ends_with(".log")
        };
        let logs: Vec<&PathBuf> = paths.iter().filter(is_log).collect();
        logs.first().context("nothing was audited")?;
        let read = |path: &&PathBuf| {
            fs::read_to_string(path).with_context(|| format!("failed to read {}", path.display()))
        };
        logs.iter().map(read).collect()
    }
}
