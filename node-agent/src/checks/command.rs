//! The checks `command/NAME`: programs of the host that the agents' installed configuration names.
//!
//! Owns what follows from how a program ended. Only an exit status that is named means something; a
//! program that is not there, is killed, takes too long, floods or leaves others running has given no
//! answer, whatever its exit status (faults.md F16). No word of a command comes from a policy (F87).

use std::sync::Arc;
use std::time::Duration;

use futures::future::{BoxFuture, FutureExt};
use slipway_api::checks::COMMAND_PREFIX;

use super::installed::CommandSettings;
use super::programs::{Ended, NoAnswer, Programs};
use super::{Check, Look, Reading};

/// A command of the installed configuration.
pub struct CommandCheck {
    name: String,
    settings: CommandSettings,
    programs: Arc<dyn Programs>,
}

impl CommandCheck {
    /// The command of this name.
    pub fn new(name: &str, settings: &CommandSettings, programs: Arc<dyn Programs>) -> Self {
        Self {
            name: format!("{COMMAND_PREFIX}{name}"),
            settings: settings.clone(),
            programs,
        }
    }

    async fn run(&self) -> Look {
        let limit = self.settings.timeout.0;
        Some(
            match self.programs.ask(&self.settings.command, limit).await {
                Ok(ended) => judge(&self.settings, &ended),
                // Somebody has configured it: that it is not there is no "not required".
                Err(NoAnswer::NotThere) => {
                    let program = self.settings.command.first().map_or("", String::as_str);
                    Reading::unknown(format!("the host has no {program}"))
                }
                Err(NoAnswer::Failed(reason)) => Reading::unknown(reason),
            },
        )
    }
}

impl Check for CommandCheck {
    fn name(&self) -> &str {
        &self.name
    }

    fn look(&self) -> BoxFuture<'_, Look> {
        self.run().boxed()
    }

    fn every(&self) -> Option<Duration> {
        Some(self.settings.interval.0)
    }

    fn is_quick(&self) -> bool {
        false
    }
}

fn judge(settings: &CommandSettings, ended: &Ended) -> Reading {
    let status = ended.status.and_then(|status| u8::try_from(status).ok());
    let Some(status) = status else {
        return Reading::unknown("a signal ended it");
    };
    let told = format!("exit status {status}{}", first_line(&ended.output));
    if ended.forked {
        Reading::unknown(format!(
            "it ended before what it had started, which was killed: {told}"
        ))
    } else if settings.required.contains(&status) {
        Reading::required(told)
    } else if settings.not_required.contains(&status) {
        Reading::not_required(told)
    } else {
        Reading::unknown(told)
    }
}

/// The first words of what was written, for people.
pub(super) fn first_line(output: &str) -> String {
    let mut lines = output.lines().map(str::trim);
    lines
        .find(|line| !line.is_empty())
        .map_or_else(String::new, |line| format!(": {line}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use slipway_api::checks::CheckState::{NotRequired, Required, Unknown};

    use super::super::programs::tests::our_own;
    use super::*;

    /// What a command of the configuration that is this script for a shell says.
    async fn look(script: &str, timeout: &str) -> Reading {
        let settings = json!({
            "command": ["/bin/sh", "-c", script], "required": [1, 2], "notRequired": [0],
            "timeout": timeout,
        });
        let settings = serde_json::from_value(settings).unwrap();
        let (_proc, programs) = our_own();
        let check = CommandCheck::new("needs-vpn", &settings, Arc::new(programs));
        assert_eq!(check.name(), "command/needs-vpn");
        assert!(!check.is_quick());
        check.look().await.unwrap()
    }

    #[tokio::test]
    async fn only_an_exit_status_that_is_named_means_something() {
        for (script, expected, detail) in [
            ("exit 0", NotRequired, "exit status 0"),
            ("exit 1", Required, "exit status 1"),
            (
                "echo; echo ' vpn 3 < 4 '; echo more; exit 2",
                Required,
                "exit status 2: vpn 3 < 4",
            ),
            ("echo no >&2; exit 3", Unknown, "exit status 3: no"),
            ("/nonexistent 2> /dev/null", Unknown, "exit status 127"),
            ("kill -9 $$", Unknown, "a signal ended it"),
        ] {
            let reading = look(script, "30s").await;
            assert_eq!(
                (reading.state, reading.detail.as_str()),
                (expected, detail),
                "{script}"
            );
        }
    }

    #[tokio::test]
    async fn f16_a_command_that_hangs_forks_or_floods_is_no_answer() {
        for (script, timeout, detail) in [
            ("sleep 1000", "200ms", "did not end within 200ms"),
            (
                "sleep 1000 & sleep 1000",
                "200ms",
                "did not end within 200ms",
            ),
            (
                "sleep 1000 & exit 0",
                "30s",
                "it ended before what it had started",
            ),
            (
                "sleep 1000 & exit 1",
                "30s",
                "it ended before what it had started",
            ),
            ("yes | head -c 1000000000", "30s", "wrote more than 64 KiB"),
            (
                "yes | head -c 1000000000 >&2; exit 1",
                "30s",
                "wrote more than 64 KiB",
            ),
        ] {
            let reading = look(script, timeout).await;
            assert_eq!(reading.state, Unknown, "{script}: {}", reading.detail);
            assert!(
                reading.detail.contains(detail),
                "{script}: {}",
                reading.detail
            );
        }
    }

    #[tokio::test]
    async fn a_program_that_the_host_does_not_have_is_no_answer() {
        let settings = json!({"command": ["/nonexistent"], "required": [1], "notRequired": [0]});
        let settings = serde_json::from_value(settings).unwrap();
        let (_proc, programs) = our_own();
        let check = CommandCheck::new("a", &settings, Arc::new(programs));
        let look = check.look().await;
        assert_eq!(look, Some(Reading::unknown("the host has no /nonexistent")));
    }
}
