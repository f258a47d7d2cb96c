//! Programs of the host, for the checks that ask one.
//!
//! Owns what a check asks of [`crate::host::command`]: the host's mounts, a limit of time and of
//! output, and nobody left behind (faults.md F16). Never says what an exit status means: the checks do.

use std::io::ErrorKind;
use std::time::Duration;

use futures::future::{BoxFuture, FutureExt};

use crate::host::command::{self, For};
use crate::host::init::Init;

/// How a program ended by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Its exit status; `None` when a signal ended it.
    pub status: Option<i32>,
    /// What it wrote, all of it: its standard output, then its standard error.
    pub output: String,
    /// True when it left programs behind, which were killed.
    pub forked: bool,
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoAnswer {
    /// The host does not have the program.
    NotThere,
    /// Another reason, as a sentence.
    Failed(String),
}

/// Asks programs of the host.
pub trait Programs: Send + Sync + 'static {
    /// Runs one, and whatever it starts, for no longer than `limit`.
    fn ask<'a>(
        &'a self,
        words: &'a [String],
        limit: Duration,
    ) -> BoxFuture<'a, Result<Ended, NoAnswer>>;
}

/// The programs of the host that the agent's pod is on: `agent.profile: privileged`.
#[derive(Clone, Debug, Default)]
pub struct HostPrograms {
    init: Init,
}

impl HostPrograms {
    async fn run(&self, words: &[String], limit: Duration) -> Result<Ended, NoAnswer> {
        let mounts = || self.init.mounts().map_err(NoAnswer::Failed);
        let program = words.first().map_or("", String::as_str);
        // Asked apart: a script whose interpreter is missing is there, and broken.
        if let Err(error) = command::probe(program, mounts()?) {
            return Err(match error.kind() {
                ErrorKind::NotFound => NoAnswer::NotThere,
                _ => NoAnswer::Failed(format!("{program} cannot be started: {error}")),
            });
        }
        let ended = command::run(words, mounts()?, limit, For::Answer).await;
        let ended = ended.map_err(|error| NoAnswer::Failed(error.to_string()))?;
        Ok(Ended {
            status: ended.status.code(),
            output: format!("{}\n{}", ended.output, ended.errors),
            forked: ended.forked,
        })
    }
}

impl Programs for HostPrograms {
    fn ask<'a>(
        &'a self,
        words: &'a [String],
        limit: Duration,
    ) -> BoxFuture<'a, Result<Ended, NoAnswer>> {
        self.run(words, limit).boxed()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    /// A host whose mounts are those of this very process.
    pub(crate) fn our_own() -> (tempfile::TempDir, HostPrograms) {
        let proc = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(proc.path().join("1/ns")).unwrap();
        std::fs::write(proc.path().join("1/comm"), "systemd\n").unwrap();
        symlink("/proc/self/ns/mnt", proc.path().join("1/ns/mnt")).unwrap();
        symlink("/proc/self", proc.path().join("self")).unwrap();
        let init = Init::of(proc.path().to_owned());
        (proc, HostPrograms { init })
    }

    const LIMIT: Duration = Duration::from_secs(30);

    #[tokio::test]
    async fn a_program_that_is_there_and_broken_is_told_from_one_that_is_not_there() {
        let (directory, programs) = our_own();
        let words = [directory.path().join("check").display().to_string()];
        assert_eq!(programs.ask(&words, LIMIT).await, Err(NoAnswer::NotThere));
        std::fs::write(&words[0], "#!/nonexistent/python3\n").unwrap();
        std::fs::set_permissions(&words[0], PermissionsExt::from_mode(0o755)).unwrap();
        let broken = programs.ask(&words, LIMIT).await;
        assert!(matches!(broken, Err(NoAnswer::Failed(_))), "{broken:?}");
        std::fs::set_permissions(&words[0], PermissionsExt::from_mode(0o600)).unwrap();
        let barred = programs.ask(&words, LIMIT).await;
        assert!(matches!(barred, Err(NoAnswer::Failed(_))), "{barred:?}");
    }

    #[tokio::test]
    async fn without_the_hosts_mounts_nothing_is_run() {
        let init = Init::of("/nonexistent".into());
        let words = ["/bin/true".to_owned()];
        let answer = HostPrograms { init }.ask(&words, LIMIT).await;
        assert!(matches!(answer, Err(NoAnswer::Failed(_))), "{answer:?}");
    }
}
