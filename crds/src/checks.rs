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
/// Conditions of the Node that ask for a reboot by being True.
pub const NODE_CONDITION: &str = "node-condition";
/// What the host's package manager says.
pub const PACKAGES: &str = "packages";
/// What the name of a check begins with that is a command of the agents' configuration.
pub const COMMAND_PREFIX: &str = "command/";
/// In `triggers.checks`: every check counts.
pub const EVERY: &str = "*";

/// The reason of a need that no check reports: the node has been up for `triggers.maxUptime`.
pub const REASON_MAX_UPTIME: &str = "MaxUptime";

/// Checks that have a name of their own. The last two are there where the agents' configuration has
/// them.
pub const BUILT_IN: [&str; 4] = [SENTINEL_FILE, KERNEL, NODE_CONDITION, PACKAGES];

/// Most checks that an agent has.
pub const CHECKS_MAX: usize = 16;
/// Most characters of a check's name.
pub const NAME_MAX: usize = 64;
/// Most characters of what a check says.
pub const DETAIL_MAX: usize = 256;

/// What to write instead of a check that nobody knows.
pub const UNKNOWN_FIX: &str = "unknown check; write sentinel-file, kernel, node-condition, packages, command/ and the name that a command has in the chart's agent.checks.commands, or * for every check";

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
    let command = name.strip_prefix(COMMAND_PREFIX);
    name == EVERY || BUILT_IN.contains(&name) || command.is_some_and(is_command_name)
}

/// True for a name that a command may have: words of small letters and digits with a `-` between them.
/// Each begins with a letter, so that the reason of a condition can be read back.
pub fn is_command_name(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let mut words = name.split('-');
    name.len() <= NAME_MAX - COMMAND_PREFIX.len()
        && words.all(|word| {
            word.starts_with(|c: char| c.is_ascii_lowercase()) && word.chars().all(plain)
        })
}

/// The reason of a condition for the checks that ask: `SentinelFile`, or `Kernel,Command:NeedsVpn`.
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
            // Reasons of conditions have no slash.
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
            SENTINEL_FILE,
            KERNEL,
            "command/needs-vpn2",
            PACKAGES,
            NODE_CONDITION,
        ];
        let reason = reason(names);
        assert_eq!(
            reason,
            "SentinelFile,Kernel,Command:NeedsVpn2,Packages,NodeCondition"
        );
        assert_eq!(named(&reason).collect::<Vec<_>>(), names);
        // What agents of the first version wrote.
        assert_eq!(named("SentinelFile").collect::<Vec<_>>(), ["sentinel-file"]);
    }

    #[test]
    fn only_checks_that_agents_have_are_names() {
        let longest = format!("command/{}", "a".repeat(NAME_MAX - 8));
        for good in [
            "*",
            "sentinel-file",
            "kernel",
            "node-condition",
            "packages",
            "command/needs-vpn2",
            longest.as_str(),
        ] {
            assert!(is_known(good), "{good}");
        }
        let too_long = format!("{longest}a");
        for bad in [
            "",
            "kernle",
            "Kernel",
            "needs-vpn",
            "command/",
            "command/Vpn",
            "command/2fa",
            "command/needs-2fa",
            "command/needs--vpn",
            "command/needs-",
            "command/a b",
            "command/a/b",
            "commands/a",
            too_long.as_str(),
        ] {
            assert!(!is_known(bad), "{bad}");
        }
    }
}
