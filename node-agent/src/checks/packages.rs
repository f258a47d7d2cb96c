//! The check `packages`: what the host's package manager says.
//!
//! Owns which programs are asked and how each is understood. The first one that the host has is asked;
//! where it has none, the check does not apply. Exit statuses alone are not trusted where an error has
//! the same one as a need: then the program's own words must say it, too.
//!
//! | program | a reboot | none | source |
//! |---|---|---|---|
//! | `needs-restarting -r`, `dnf needs-restarting -r` | 1 | 0 | dnf-needs-restarting(8), option `--reboothint`; dnf5-needs-restarting(8) |
//! | `zypper needs-rebooting` | 102 | 0 | zypper(8), `ZYPPER_EXIT_INF_REBOOT_NEEDED` |
//! | `needrestart -b -k` | `NEEDRESTART-KSTA: 2` or `3` | `1` | needrestart's README.batch.md |
//!
//! `transactional-update` has no such command: it writes `/run/reboot-needed`, which `sentinel-file`
//! sees.

use std::sync::Arc;
use std::time::Duration;

use futures::future::{BoxFuture, FutureExt};
use slipway_api::checks::{CheckState, PACKAGES};

use super::command::first_line;
use super::programs::{Ended, NoAnswer, Programs};
use super::{Check, Look, Reading};

/// How long a package manager may take: it may wait for another one.
const LIMIT: Duration = Duration::from_mins(1);
/// How often it is asked: each time it reads its database.
const EVERY: Duration = Duration::from_mins(30);

/// A program that knows.
struct Program {
    words: &'static [&'static str],
    understand: fn(&Ended) -> Option<CheckState>,
}

const PROGRAMS: [Program; 4] = [
    Program {
        words: &["/usr/bin/needs-restarting", "-r"],
        understand: dnf,
    },
    Program {
        words: &["/usr/bin/dnf", "needs-restarting", "-r"],
        understand: dnf,
    },
    Program {
        words: &["/usr/bin/zypper", "--non-interactive", "needs-rebooting"],
        understand: zypper,
    },
    Program {
        words: &["/usr/sbin/needrestart", "-b", "-k"],
        understand: needrestart,
    },
];

/// An error of `dnf` ends with 1 as well; both versions write one of these sentences otherwise.
fn dnf(ended: &Ended) -> Option<CheckState> {
    let said = |words: &str| ended.output.contains(words);
    match ended.status {
        Some(1) if said("Reboot is required") => Some(CheckState::Required),
        Some(0) => Some(CheckState::NotRequired),
        _ => None,
    }
}

fn zypper(ended: &Ended) -> Option<CheckState> {
    match ended.status {
        Some(102) => Some(CheckState::Required),
        Some(0) => Some(CheckState::NotRequired),
        _ => None,
    }
}

fn needrestart(ended: &Ended) -> Option<CheckState> {
    let mut lines = ended.output.lines();
    let status = lines.find_map(|line| line.strip_prefix("NEEDRESTART-KSTA:"))?;
    match (ended.status, status.trim()) {
        (Some(0), "2" | "3") => Some(CheckState::Required),
        (Some(0), "1") => Some(CheckState::NotRequired),
        _ => None,
    }
}

/// True where `dnf` is there and its plugin is not.
fn has_no_such_command(ended: &Ended) -> bool {
    ["No such command", "Unknown argument \"needs-restarting\""]
        .iter()
        .any(|words| ended.output.contains(words))
}

/// The check.
pub struct Packages {
    programs: Arc<dyn Programs>,
}

impl Packages {
    /// Asks the programs of the host.
    pub fn new(programs: Arc<dyn Programs>) -> Self {
        Self { programs }
    }

    async fn ask(&self) -> Look {
        for program in &PROGRAMS {
            let words: Vec<String> = program.words.iter().map(|&word| word.to_owned()).collect();
            let told = program.words.join(" ");
            match self.programs.ask(&words, LIMIT).await {
                Ok(ended) if has_no_such_command(&ended) => {}
                Ok(ended) => return Some(judge(program, &told, &ended)),
                Err(NoAnswer::NotThere) => {}
                Err(NoAnswer::Failed(reason)) => return Some(Reading::unknown(reason)),
            }
        }
        None
    }
}

fn judge(program: &Program, told: &str, ended: &Ended) -> Reading {
    match (program.understand)(ended) {
        Some(CheckState::Required) => Reading::required(format!("{told} asks for a reboot")),
        Some(CheckState::NotRequired) => Reading::not_required(format!("{told} asks for none")),
        Some(CheckState::Unknown) | None => {
            let status = ended.status.map_or_else(
                || "a signal ended it".to_owned(),
                |status| format!("exit status {status}"),
            );
            let words = first_line(&ended.output);
            Reading::unknown(format!("{told} is not understood: {status}{words}"))
        }
    }
}

impl Check for Packages {
    fn name(&self) -> &'static str {
        PACKAGES
    }

    fn look(&self) -> BoxFuture<'_, Look> {
        self.ask().boxed()
    }

    fn every(&self) -> Option<Duration> {
        Some(EVERY)
    }

    fn is_quick(&self) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use slipway_api::checks::CheckState::{NotRequired, Required, Unknown};

    use super::*;

    /// A host that has these programs, by the first word.
    struct Host(BTreeMap<&'static str, Result<Ended, NoAnswer>>);

    impl Programs for Host {
        fn ask<'a>(
            &'a self,
            words: &'a [String],
            _: Duration,
        ) -> BoxFuture<'a, Result<Ended, NoAnswer>> {
            let answer = self.0.get(words[0].as_str()).cloned();
            Box::pin(async move { answer.unwrap_or(Err(NoAnswer::NotThere)) })
        }
    }

    fn ended(status: i32, output: &str) -> Ended {
        Ended {
            status: Some(status),
            output: output.to_owned(),
            forked: false,
        }
    }

    async fn look(programs: &[(&'static str, Result<Ended, NoAnswer>)]) -> Option<CheckState> {
        let host = Host(programs.iter().cloned().collect());
        let look = Packages::new(Arc::new(host)).look().await;
        look.map(|reading| reading.state)
    }

    const DNF: &str = "/usr/bin/dnf";
    const NEEDS_RESTARTING: &str = "/usr/bin/needs-restarting";
    const ZYPPER: &str = "/usr/bin/zypper";
    const NEEDRESTART: &str = "/usr/sbin/needrestart";

    #[tokio::test]
    async fn each_program_is_understood_by_its_own_rules() {
        let kernel = |status: &str| format!("NEEDRESTART-VER: 3.6\nNEEDRESTART-KSTA: {status}\n");
        for (program, status, output, expected) in [
            (
                NEEDS_RESTARTING,
                1,
                "glibc\n\nReboot is required to fully utilize these updates.",
                Required,
            ),
            (
                NEEDS_RESTARTING,
                0,
                "Reboot should not be necessary.",
                NotRequired,
            ),
            (
                NEEDS_RESTARTING,
                1,
                "Error: cannot open the database",
                Unknown,
            ),
            (NEEDS_RESTARTING, 127, "", Unknown),
            (
                DNF,
                1,
                "Reboot is required to fully utilize these updates.",
                Required,
            ),
            (DNF, 1, "Error: Failed to download metadata", Unknown),
            (ZYPPER, 102, "", Required),
            (ZYPPER, 0, "", NotRequired),
            (ZYPPER, 7, "System management is locked", Unknown),
            (ZYPPER, 1, "", Unknown),
            (NEEDRESTART, 0, &kernel("3"), Required),
            (NEEDRESTART, 0, &kernel("2"), Required),
            (NEEDRESTART, 0, &kernel("1"), NotRequired),
            (NEEDRESTART, 0, &kernel("0"), Unknown),
            (NEEDRESTART, 0, "", Unknown),
            (NEEDRESTART, 1, &kernel("3"), Unknown),
        ] {
            let state = look(&[(program, Ok(ended(status, output)))]).await;
            assert_eq!(state, Some(expected), "{program} {status} {output}");
        }
    }

    #[tokio::test]
    async fn where_no_program_is_there_the_check_does_not_apply() {
        assert_eq!(look(&[]).await, None);
        let bare = "No such command: needs-restarting. Please use /usr/bin/dnf --help";
        assert_eq!(look(&[(DNF, Ok(ended(1, bare)))]).await, None);
        let five = "Unknown argument \"needs-restarting\" for command \"dnf5\".";
        assert_eq!(look(&[(DNF, Ok(ended(2, five)))]).await, None);
        // The next one is asked instead.
        let other = [(DNF, Ok(ended(1, bare))), (ZYPPER, Ok(ended(102, "")))];
        assert_eq!(look(&other).await, Some(Required));
    }

    #[tokio::test]
    async fn f16_a_program_that_hangs_or_is_killed_is_no_answer_and_no_other_is_asked() {
        let hangs = Err(NoAnswer::Failed("did not end within 1m".to_owned()));
        let both = [(DNF, hangs), (ZYPPER, Ok(ended(0, "")))];
        assert_eq!(look(&both).await, Some(Unknown));
        let killed = Ok(Ended {
            status: None,
            output: "Reboot is required".to_owned(),
            forked: false,
        });
        assert_eq!(look(&[(DNF, killed)]).await, Some(Unknown));
    }
}
