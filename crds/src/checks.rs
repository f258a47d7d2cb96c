//! The checks of the agents by name: what a policy may count, and how a need names them.
//!
//! Owns the spelling of check names and of the reason that a Node condition carries for them. Never
//! looks at a host: the agent does, and both programs and the plugin read what it says by this.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

/// Files whose presence asks for a reboot.
pub const SENTINEL_FILE: &str = "sentinel-file";
/// The running kernel against the newest one installed.
pub const KERNEL: &str = "kernel";
/// What the package manager says of the processes that run.
pub const PACKAGES: &str = "packages";
/// Conditions of the Node that ask for a reboot by being True.
pub const NODE_CONDITION: &str = "node-condition";
/// Before the name of a command of the agents' installed configuration.
pub const COMMAND_PREFIX: &str = "command/";
/// In `triggers.checks`: every check counts.
pub const EVERY: &str = "*";

/// The reason of a need that no check reports: the node has been up for `triggers.maxUptime`.
pub const REASON_MAX_UPTIME: &str = "MaxUptime";

/// Checks that every agent has, where the host has what they look at.
pub const BUILT_IN: [&str; 4] = [SENTINEL_FILE, KERNEL, PACKAGES, NODE_CONDITION];

/// Most checks that an agent has.
pub const CHECKS_MAX: usize = 16;
/// Most characters of a check's name.
pub const NAME_MAX: usize = 64;
/// Most characters of what a check says.
pub const DETAIL_MAX: usize = 256;

/// What to write instead of a check that nobody knows.
pub const UNKNOWN_FIX: &str = "unknown check; write sentinel-file, kernel, packages, node-condition, command/NAME for a command of the agents' configuration, or * for every check";

/// What one check says of its host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
pub struct CheckStatus {
    /// Its name, as `triggers.checks` of a policy knows it.
    #[schemars(length(min = 1, max = 64))]
    pub name: String,
    /// What it says.
    pub state: CheckState,
    /// Since when it says so.
    pub since: Time,
    /// Why, in words.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 256))]
    pub detail: String,
}

/// What a check says. An error is never the same as "not required".
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema,
)]
pub enum CheckState {
    /// The host asks for a reboot.
    Required,
    /// It does not.
    NotRequired,
    /// The check gave no answer; the detail says why.
    Unknown,
}

/// True for a name that `triggers.checks` takes: a built-in check, a command of the agents'
/// configuration, or every check.
pub fn is_known(name: &str) -> bool {
    name == EVERY
        || BUILT_IN.contains(&name)
        || name
            .strip_prefix(COMMAND_PREFIX)
            .is_some_and(is_command_name)
}

/// True for the name of a command: words of small letters and digits with one `-` between them, each
/// beginning with a letter, so that it can be told from the reason of a condition and back.
pub fn is_command_name(name: &str) -> bool {
    let word = |word: &str| {
        word.starts_with(|first: char| first.is_ascii_lowercase())
            && word
                .chars()
                .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit())
    };
    name.len() <= NAME_MAX - COMMAND_PREFIX.len() && name.split('-').all(word)
}

/// The reason of a condition for the checks that ask: `SentinelFile`, or `SentinelFile,Kernel`.
pub fn reason<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    let all: Vec<String> = names.into_iter().map(word).collect();
    all.join(",")
}

/// The checks that the reason of a condition names. What no version knows keeps its own spelling,
/// and counts where every check counts.
pub fn named(reason: &str) -> impl Iterator<Item = String> {
    reason.split(',').map(name)
}

fn word(name: &str) -> String {
    let mut text = String::with_capacity(name.len());
    let mut upper = true;
    for c in name.chars() {
        match c {
            '-' => upper = true,
            '/' => {
                text.push(':');
                upper = true;
            }
            c if upper => {
                text.push(c.to_ascii_uppercase());
                upper = false;
            }
            c => text.push(c),
        }
    }
    text
}

fn name(word: &str) -> String {
    let mut text = String::with_capacity(word.len() + 4);
    let mut first = true;
    for c in word.chars() {
        if c == ':' {
            text.push('/');
            first = true;
            continue;
        }
        if c.is_ascii_uppercase() && !first {
            text.push('-');
        }
        text.push(c.to_ascii_lowercase());
        first = false;
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_names_its_checks_and_they_are_read_back() {
        let names = [
            "sentinel-file",
            "kernel",
            "command/needs-vpn2",
            "node-condition",
        ];
        let reason = reason(names);
        assert_eq!(
            reason,
            "SentinelFile,Kernel,Command:NeedsVpn2,NodeCondition"
        );
        assert_eq!(named(&reason).collect::<Vec<_>>(), names);
        // What agents of the first version wrote.
        assert_eq!(named("SentinelFile").collect::<Vec<_>>(), ["sentinel-file"]);
    }

    #[test]
    fn names_that_could_not_be_read_back_are_no_names() {
        for good in ["*", "kernel", "packages", "command/a", "command/needs-vpn2"] {
            assert!(is_known(good), "{good}");
        }
        for bad in [
            "",
            "kernle",
            "Kernel",
            "command/",
            "command/A",
            "command/2a",
            "command/a--b",
            "command/a-",
            "command/a-1",
            "command/a/b",
            "command/a_b",
            "needs-vpn",
        ] {
            assert!(!is_known(bad), "{bad}");
        }
        assert!(!is_known(&format!("command/{}", "a".repeat(NAME_MAX))));
    }
}
