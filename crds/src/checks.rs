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
/// In `triggers.checks`: every check counts.
pub const EVERY: &str = "*";

/// The reason of a need that no check reports: the node has been up for `triggers.maxUptime`.
pub const REASON_MAX_UPTIME: &str = "MaxUptime";

/// Checks that every agent has, where the host has what they look at.
pub const BUILT_IN: [&str; 2] = [SENTINEL_FILE, KERNEL];

/// Most checks that an agent has.
pub const CHECKS_MAX: usize = 16;
/// Most characters of a check's name.
pub const NAME_MAX: usize = 64;
/// Most characters of what a check says.
pub const DETAIL_MAX: usize = 256;

/// What to write instead of a check that nobody knows.
pub const UNKNOWN_FIX: &str = "unknown check; write sentinel-file, kernel, or * for every check";

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

/// True for a name that `triggers.checks` takes: a check, or every check.
pub fn is_known(name: &str) -> bool {
    name == EVERY || BUILT_IN.contains(&name)
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
        let names = [SENTINEL_FILE, KERNEL];
        let reason = reason(names);
        assert_eq!(reason, "SentinelFile,Kernel");
        assert_eq!(named(&reason).collect::<Vec<_>>(), names);
        // What agents of the first version wrote.
        assert_eq!(named("SentinelFile").collect::<Vec<_>>(), ["sentinel-file"]);
    }

    #[test]
    fn only_checks_that_agents_have_are_names() {
        for good in ["*", "sentinel-file", "kernel"] {
            assert!(is_known(good), "{good}");
        }
        for bad in ["", "kernle", "Kernel", "packages", "needs-vpn"] {
            assert!(!is_known(bad), "{bad}");
        }
    }
}
