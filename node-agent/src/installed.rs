//! The agent's installed configuration: what may not be in an object of Kubernetes, because whoever
//! writes it is root on every node.
//!
//! Owns the file's form and its checks. It is read once, at the start: another content is another
//! rollout of the agents.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::checks::installed::InstalledChecks;

/// Most words of a command.
const WORDS_MAX: usize = 64;
/// Longest name of a method, as the policies' schema has it.
const NAME_MAX: usize = 63;

/// The content of the file, as JSON.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Installed {
    /// Ways to reboot the host, by the name that policies use.
    pub methods: BTreeMap<String, Method>,
    /// What checks the host beside what every agent has.
    pub checks: InstalledChecks,
}

/// A way to reboot the host.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Method {
    /// The program of the host, by its whole path, and its arguments. No shell reads them.
    pub command: Vec<String>,
}

/// Why the configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum InstalledError {
    /// The file cannot be read.
    #[error("failed to read {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// It is not what it should be.
    #[error("failed to understand {path}")]
    Parse {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: serde_json::Error,
    },
    /// What it says about checks cannot be obeyed.
    #[error("{0}")]
    Checks(String),
    /// A method cannot be obeyed.
    #[error("method {name} of the agent's configuration: {problem}")]
    Method {
        /// Its name.
        name: String,
        /// What is wrong, and how to mend it.
        problem: &'static str,
    },
}

impl Installed {
    /// Reads the file; none is an empty one.
    ///
    /// # Errors
    /// [`InstalledError`]
    pub fn read(path: Option<&Path>) -> Result<Self, InstalledError> {
        let Some(path) = path else {
            return Ok(Self::default());
        };
        let text = std::fs::read(path).map_err(|source| InstalledError::Read {
            path: path.to_owned(),
            source,
        })?;
        let parsed = serde_json::from_slice(&text);
        let installed: Self = parsed.map_err(|source| InstalledError::Parse {
            path: path.to_owned(),
            source,
        })?;
        for (name, method) in &installed.methods {
            if let Some(problem) = problem(name, method) {
                let name = name.clone();
                return Err(InstalledError::Method { name, problem });
            }
        }
        match installed.checks.problem() {
            Some(problem) => Err(InstalledError::Checks(problem)),
            None => Ok(installed),
        }
    }
}

fn problem(name: &str, method: &Method) -> Option<&'static str> {
    let first = name.starts_with(|c: char| c.is_ascii_lowercase());
    let rest = name
        .bytes()
        .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    if !first || !rest || name.len() > NAME_MAX {
        return Some("a name is small letters, digits and -, and begins with a letter");
    }
    match method.command.first() {
        None => Some("command needs the path of a program"),
        Some(program) if !program.starts_with('/') => {
            Some("command begins with the whole path of a program, such as /usr/sbin/ipmitool")
        }
        Some(_) if method.command.len() > WORDS_MAX => Some("command has more than 64 words"),
        Some(_) if method.command.iter().any(|word| word.contains('\0')) => {
            Some("command has a word with a zero byte")
        }
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        file
    }

    fn read(text: &str) -> Result<Installed, String> {
        let read = Installed::read(Some(file(text).path()));
        read.map_err(|error| slipway_client::chain(&error))
    }

    #[test]
    fn f87_methods_are_words_and_never_a_line_for_a_shell() {
        let text = r#"{"methods": {"power-cycle": {"command": ["/usr/sbin/ipmitool", "power", "cycle"]}}}"#;
        let installed = read(text).unwrap();
        let method = &installed.methods["power-cycle"];
        assert_eq!(method.command, ["/usr/sbin/ipmitool", "power", "cycle"]);
        assert_eq!(read("{}").unwrap(), Installed::default());
        assert_eq!(Installed::read(None).unwrap(), Installed::default());
    }

    #[test]
    fn what_could_not_be_obeyed_is_refused_at_the_start_with_the_fix() {
        for (text, told) in [
            (r#"{"method": {}}"#, "unknown field"),
            (
                r#"{"checks": {"commands": {"a": {"command": ["x"], "required": [1], "notRequired": [0]}}}}"#,
                "checks.commands.a: command begins with the whole path",
            ),
            (
                r#"{"methods": {"a": {"command": "reboot"}}}"#,
                "invalid type",
            ),
            (
                r#"{"methods": {"a": {"command": []}}}"#,
                "the path of a program",
            ),
            (
                r#"{"methods": {"a": {"command": ["reboot"]}}}"#,
                "the whole path",
            ),
            (
                r#"{"methods": {"Auto": {"command": ["/sbin/reboot"]}}}"#,
                "small letters",
            ),
            (
                r#"{"methods": {"a b": {"command": ["/sbin/reboot"]}}}"#,
                "small letters",
            ),
            (
                r#"{"methods": {"a": {"command": ["/sbin/reboot"], "shell": true}}}"#,
                "unknown field",
            ),
        ] {
            let why = read(text).unwrap_err();
            assert!(why.contains(told), "{text}: {why}");
        }
        let missing = Installed::read(Some(Path::new("/nonexistent")));
        assert!(matches!(missing, Err(InstalledError::Read { .. })));
    }
}
