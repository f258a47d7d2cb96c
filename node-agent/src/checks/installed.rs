//! The part of the agent's installed configuration that is about checks.
//!
//! Owns its form and what is refused in it. A command that checks the host is here and nowhere else:
//! whoever may write it is root on every node, so no object of Kubernetes carries one (faults.md F87).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::Deserialize;
use slipway_api::checks::{BUILT_IN, CHECKS_MAX, is_command_name};
use slipway_api::names::CONDITION_REBOOT_REQUIRED;

/// Most words of a command.
const WORDS_MAX: usize = 64;
/// The highest exit status of a map: those above tell that a program was not found or was killed.
const STATUS_MAX: u8 = 125;
/// How long a command may take when nothing is written.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Longest that a command may be given: at its start the agent waits for every check.
const TIMEOUT_MAX: Duration = Duration::from_mins(2);
/// How often a command runs when nothing is written.
const INTERVAL: Duration = Duration::from_mins(30);
/// Bounds of that: what a command says may be as old at the commit point.
const INTERVALS: std::ops::RangeInclusive<Duration> =
    Duration::from_mins(1)..=Duration::from_hours(24);

/// What the installer says about checks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct InstalledChecks {
    /// Conditions of the Node that ask for a reboot by being True.
    pub node_conditions: Vec<String>,
    /// Whether the package managers of the host are asked.
    pub packages: bool,
    /// Commands, by the name that policies know after `command/`.
    pub commands: BTreeMap<String, CommandSettings>,
}

/// A command that checks the host.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CommandSettings {
    /// The program of the host, by its whole path, and its arguments. No shell reads them.
    pub command: Vec<String>,
    /// Exit statuses that ask for a reboot.
    pub required: BTreeSet<u8>,
    /// Exit statuses that say that none is needed. Every other one is no answer.
    pub not_required: BTreeSet<u8>,
    /// How long it may take.
    #[serde(default = "timeout")]
    pub timeout: slipway_api::Duration,
    /// How often it runs.
    #[serde(default = "interval")]
    pub interval: slipway_api::Duration,
}

fn timeout() -> slipway_api::Duration {
    slipway_api::Duration(TIMEOUT)
}

fn interval() -> slipway_api::Duration {
    slipway_api::Duration(INTERVAL)
}

impl InstalledChecks {
    /// What is wrong, and how to mend it.
    pub fn problem(&self) -> Option<String> {
        let most = CHECKS_MAX - BUILT_IN.len();
        if self.commands.len() > most {
            return Some(format!("checks.commands: more than {most} commands"));
        }
        let ours = CONDITION_REBOOT_REQUIRED;
        if self.node_conditions.iter().any(|name| name == ours) {
            return Some(format!(
                "checks.nodeConditions: {ours} is what the agent itself reports"
            ));
        }
        self.commands.iter().find_map(|(name, settings)| {
            let problem = if is_command_name(name) {
                settings.problem()
            } else {
                Some("a name is words of small letters and digits with a - between them, each beginning with a letter")
            };
            problem.map(|problem| format!("checks.commands.{name}: {problem}"))
        })
    }
}

impl CommandSettings {
    fn problem(&self) -> Option<&'static str> {
        let mut statuses = self.required.iter().chain(&self.not_required);
        match self.command.first() {
            None => Some("command needs the path of a program"),
            Some(program) if !program.starts_with('/') => Some(
                "command begins with the whole path of a program, such as /usr/bin/needs-restarting",
            ),
            Some(_) if self.command.len() > WORDS_MAX => Some("command has more than 64 words"),
            Some(_) if self.command.iter().any(|word| word.contains('\0')) => {
                Some("command has a word with a zero byte")
            }
            Some(_) if self.required.is_empty() || self.not_required.is_empty() => {
                Some("required and notRequired name one exit status at least, each")
            }
            Some(_) if !self.required.is_disjoint(&self.not_required) => {
                Some("an exit status is either required or notRequired")
            }
            Some(_) if statuses.any(|status| *status > STATUS_MAX) => {
                Some("exit statuses go from 0 to 125: those above tell that a program was not run")
            }
            Some(_) if self.timeout.0.is_zero() || self.timeout.0 > TIMEOUT_MAX => {
                Some("timeout is at most 2m")
            }
            Some(_) if !INTERVALS.contains(&self.interval.0) => {
                Some("interval goes from 1m to 24h")
            }
            Some(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn problem(value: Value) -> Option<String> {
        match serde_json::from_value::<InstalledChecks>(value) {
            Ok(checks) => checks.problem(),
            Err(error) => Some(error.to_string()),
        }
    }

    fn command(changes: &Value) -> Value {
        let mut settings =
            json!({"command": ["/usr/bin/check"], "required": [1], "notRequired": [0]});
        for (key, value) in changes.as_object().unwrap() {
            settings[key] = value.clone();
        }
        json!({"commands": {"needs-vpn": settings}})
    }

    #[test]
    fn what_is_not_written_is_half_a_minute_every_half_hour() {
        let checks: InstalledChecks = serde_json::from_value(command(&json!({}))).unwrap();
        assert_eq!(checks.problem(), None);
        let settings = &checks.commands["needs-vpn"];
        assert_eq!(
            (settings.timeout.0, settings.interval.0),
            (TIMEOUT, INTERVAL)
        );
        assert_eq!(InstalledChecks::default().problem(), None);
    }

    #[test]
    fn f87_what_could_not_be_obeyed_is_refused_with_the_fix() {
        for (value, told) in [
            (json!({"command": []}), "unknown field"),
            (command(&json!({"command": "reboot"})), "invalid type"),
            (command(&json!({"command": []})), "the path of a program"),
            (command(&json!({"command": ["check"]})), "the whole path"),
            (command(&json!({"command": ["/a", "b\0c"]})), "zero byte"),
            (command(&json!({"shell": true})), "unknown field"),
            (
                command(&json!({"required": []})),
                "one exit status at least",
            ),
            (
                command(&json!({"required": [0]})),
                "either required or notRequired",
            ),
            (command(&json!({"required": [127]})), "from 0 to 125"),
            (command(&json!({"required": [256]})), "invalid value"),
            (command(&json!({"timeout": "0s"})), "at most 2m"),
            (command(&json!({"timeout": "6m"})), "at most 2m"),
            (command(&json!({"interval": "1s"})), "from 1m to 24h"),
            (
                json!({"commands": {"NeedsVpn": {"command": ["/a"], "required": [1], "notRequired": [0]}}}),
                "small letters",
            ),
            (
                json!({"nodeConditions": ["RebootRequired"]}),
                "the agent itself reports",
            ),
        ] {
            let told_of = problem(value.clone()).unwrap_or_default();
            assert!(told_of.contains(told), "{value}: {told_of}");
        }
        let many: serde_json::Map<String, Value> = (0..=CHECKS_MAX)
            .map(|n| {
                (
                    format!("c{n}"),
                    command(&json!({}))["commands"]["needs-vpn"].clone(),
                )
            })
            .collect();
        assert!(
            problem(json!({"commands": many}))
                .unwrap()
                .contains("more than 12")
        );
    }
}
