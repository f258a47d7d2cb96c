//! Running a program of the host: no shell, a time limit, a process group that is killed as a whole,
//! and output that is cut.
//!
//! Never takes a word of a command from an object of Kubernetes: what is run is written here, or in
//! the agent's installed configuration ([`crate::installed`]).

use std::io;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::{AccessFlags, Pid, access};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use super::init::Mounts;
use super::plain;

/// Longest that a command which reboots the host may take to end.
pub const CALL_LIMIT: Duration = Duration::from_secs(20);
/// Most that is kept of what a program writes, and of each of its two streams.
const OUTPUT_MAX: usize = 4 * 1024;
/// Most of its last line that people are told.
const TOLD_MAX: usize = 256;
/// How long the last words of a program that has ended may take to arrive. Longer only where it has
/// left another one behind that holds its output open.
const LAST_WORDS: Duration = Duration::from_millis(200);
/// Where programs are looked for that are named without their path.
const PATH: &str =
    "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/run/current-system/sw/bin";

/// How a program ended.
#[derive(Debug)]
pub struct Ended {
    /// Its exit status.
    pub status: ExitStatus,
    /// What it wrote to its standard output, cut.
    pub output: String,
    /// What it wrote to its standard error, cut.
    pub errors: String,
}

impl Ended {
    /// The exit status and the last line that it wrote, for people.
    pub fn told(&self) -> String {
        let last = |text: &str| {
            text.lines()
                .rev()
                .find(|line| !line.trim().is_empty())
                .map(str::to_owned)
        };
        match last(&self.errors).or_else(|| last(&self.output)) {
            Some(line) => format!("{}: {}", self.status, plain(line.trim(), TOLD_MAX)),
            None => self.status.to_string(),
        }
    }
}

/// Why a program did not end by itself.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// It was not started: nothing has happened.
    #[error("failed to start {program}: {source}")]
    Start {
        /// The program.
        program: String,
        /// The cause.
        source: io::Error,
    },
    /// It took too long and was killed, with all of its process group.
    #[error("{program} did not end within {limit:?}")]
    TooLong {
        /// The program.
        program: String,
        /// The limit.
        limit: Duration,
    },
    /// Whether it ended is not known.
    #[error("failed to wait for {program}: {source}")]
    Wait {
        /// The program.
        program: String,
        /// The cause.
        source: io::Error,
    },
}

/// Runs a program and waits for its end; dropping the future kills it.
///
/// # Errors
/// [`CommandError`]
pub async fn run(words: &[String], mounts: Mounts, limit: Duration) -> Result<Ended, CommandError> {
    let program = words.first().cloned().unwrap_or_default();
    let started = prepare(words, move || mounts.enter()).spawn();
    let child = started.map_err(|source| CommandError::Start {
        program: program.clone(),
        source,
    })?;
    let mut group = Group(child.id());
    match timeout(limit, end(child)).await {
        Ok(Ok(ended)) => {
            // What it left behind on purpose may go on; its number may soon be another's.
            group.0 = None;
            Ok(ended)
        }
        Ok(Err(source)) => Err(CommandError::Wait { program, source }),
        Err(_) => Err(CommandError::TooLong { program, limit }),
    }
}

/// Whether a program could be started, without starting it.
///
/// # Errors
/// The cause: it does not exist there, or the mounts cannot be entered.
pub fn probe(program: &str, mounts: Mounts) -> io::Result<()> {
    let path = std::ffi::CString::new(program)?;
    let words = [program.to_owned()];
    let refuse = move || {
        mounts.enter()?;
        access(path.as_c_str(), AccessFlags::X_OK)?;
        // All is well; the program itself is not wanted.
        Err(nix::errno::Errno::ECANCELED.into())
    };
    match prepare(&words, refuse).spawn() {
        Err(error) if error.raw_os_error() == Some(nix::libc::ECANCELED) => Ok(()),
        Err(error) => Err(error),
        Ok(_) => Err(io::Error::other("it was started")),
    }
}

fn prepare(
    words: &[String],
    before: impl FnMut() -> io::Result<()> + Send + Sync + 'static,
) -> Command {
    let mut command = Command::new(words.first().map_or("", String::as_str));
    command
        .args(words.iter().skip(1))
        .env_clear()
        .env("PATH", PATH)
        .env("LANG", "C")
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true);
    #[expect(
        unsafe_code,
        reason = "only here can a child enter another mount namespace"
    )]
    // SAFETY: the closures do system calls on what was opened before the fork, and neither allocate
    // nor take a lock.
    unsafe {
        command.pre_exec(before);
    }
    command
}

async fn end(mut child: Child) -> io::Result<Ended> {
    let (mut output, mut errors) = (child.stdout.take(), child.stderr.take());
    let (mut said, mut complained) = (Vec::new(), Vec::new());
    let status = {
        let reading = async {
            tokio::join!(
                keep(&mut output, &mut said),
                keep(&mut errors, &mut complained)
            );
            std::future::pending::<()>().await;
        };
        tokio::select! {
            biased;
            status = child.wait() => status?,
            () = reading => return Err(io::Error::other("the output never ends")),
        }
    };
    let rest = async {
        tokio::join!(
            keep(&mut output, &mut said),
            keep(&mut errors, &mut complained)
        );
    };
    drop(timeout(LAST_WORDS, rest).await);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ok(Ended {
        status,
        output: text(&said),
        errors: text(&complained),
    })
}

/// Reads to the end and keeps the beginning: a program that floods must not block either.
async fn keep(stream: &mut Option<impl AsyncRead + Unpin>, kept: &mut Vec<u8>) {
    let Some(stream) = stream else { return };
    let mut buffer = [0_u8; 1024];
    while let Ok(read @ 1..) = stream.read(&mut buffer).await {
        let room = OUTPUT_MAX.saturating_sub(kept.len()).min(read);
        kept.extend(buffer.iter().take(room));
    }
}

/// The process group of a child; whoever is left in it is killed when this is dropped.
struct Group(Option<u32>);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(id) = self.0.and_then(|id| i32::try_from(id).ok()) {
            // It may be gone already.
            killpg(Pid::from_raw(id), Signal::SIGKILL).ok();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Vec<String> {
        ["/bin/sh", "-c", script].map(str::to_owned).to_vec()
    }

    async fn run_shell(script: &str, limit: Duration) -> Result<Ended, CommandError> {
        run(&shell(script), Mounts::own(), limit).await
    }

    const LONG: Duration = Duration::from_secs(30);

    #[tokio::test]
    async fn a_program_ends_with_its_status_and_its_last_words() {
        let ended = run_shell("echo no >&2; echo; exit 3", LONG).await.unwrap();
        assert_eq!(ended.status.code(), Some(3));
        assert_eq!(ended.told(), "exit status: 3: no");
        let ended = run_shell("printf '\\033[31mno\\007%09999d' 0 >&2", LONG).await;
        let told = ended.unwrap().told();
        assert!(told.starts_with("exit status: 0:  [31mno 000"), "{told}");
        assert!(told.len() < 300, "{told}");
        let ended = run_shell("echo $HOME-$PATH", LONG).await.unwrap();
        assert_eq!(ended.output.trim(), format!("-{PATH}"));
    }

    #[tokio::test]
    async fn f16_a_program_that_hangs_is_killed_with_its_children() {
        let directory = tempfile::tempdir().unwrap();
        let pids = directory.path().join("pids");
        let script = format!(
            "sleep 1000 & echo $! > {0}; echo $$ >> {0}; wait",
            pids.display()
        );
        let ended = run_shell(&script, Duration::from_millis(500)).await;
        assert!(
            matches!(ended, Err(CommandError::TooLong { .. })),
            "{ended:?}"
        );
        let pids = std::fs::read_to_string(&pids).unwrap();
        assert_eq!(pids.lines().count(), 2, "{pids:?}");
        for pid in pids.lines() {
            for _ in 0..500 {
                if is_gone(pid) {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            assert!(is_gone(pid), "{pid} lives");
        }
    }

    /// A killed process may wait for its parent to notice; it does nothing any more.
    fn is_gone(pid: &str) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        stat.is_empty() || stat.contains(") Z ")
    }

    #[tokio::test]
    async fn f16_a_flood_is_cut_and_what_is_left_behind_keeps_nobody() {
        let ended = run_shell("yes | head -c 1000000; yes | head -c 9000 >&2", LONG)
            .await
            .unwrap();
        assert_eq!(ended.output.len(), OUTPUT_MAX);
        assert_eq!(ended.errors.len(), OUTPUT_MAX);
        let ended = run_shell("sleep 5 & echo done", Duration::from_secs(4)).await;
        assert_eq!(ended.unwrap().output.trim(), "done");
    }

    #[tokio::test]
    async fn a_probe_tells_a_program_that_is_there_and_starts_none() {
        let directory = tempfile::tempdir().unwrap();
        let program = directory.path().join("program");
        let ran = directory.path().join("ran");
        let name = program.display().to_string();
        let missing = probe(&name, Mounts::own()).unwrap_err();
        assert_eq!(missing.kind(), io::ErrorKind::NotFound);
        std::fs::write(&program, format!("#!/bin/sh\ntouch {}\n", ran.display())).unwrap();
        assert!(probe(&name, Mounts::own()).is_err(), "it may not be run");
        let all = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(&program, all).unwrap();
        probe(&name, Mounts::own()).unwrap();
        assert!(!ran.exists());
        let lost = run(&["/nonexistent".to_owned()], Mounts::own(), LONG).await;
        assert!(matches!(lost, Err(CommandError::Start { .. })), "{lost:?}");
    }
}
