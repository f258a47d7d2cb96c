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
const OUTPUT_MAX: usize = 64 * 1024;
/// Most of its last line that people are told.
const TOLD_MAX: usize = 256;
/// How long the last words of a program that has ended may take to arrive. Longer only where it has
/// left another one behind that holds its output open.
const LAST_WORDS: Duration = Duration::from_millis(200);
/// Where programs are looked for that are named without their path.
const PATH: &str =
    "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/run/current-system/sw/bin";

/// What a program is run for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum For {
    /// It does something: what it writes is cut, and what it leaves behind goes on.
    Action,
    /// It answers a question: one that floods is killed, and so is whatever it leaves behind.
    Answer,
}

/// How a program ended.
#[derive(Debug)]
pub struct Ended {
    /// Its exit status.
    pub status: ExitStatus,
    /// What it wrote to its standard output, cut.
    pub output: String,
    /// What it wrote to its standard error, cut.
    pub errors: String,
    /// True when it left programs behind that were killed.
    pub forked: bool,
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
    /// It wrote more than an answer takes and was killed, with all of its process group.
    #[error("{program} wrote more than 64 KiB")]
    TooMuch {
        /// The program.
        program: String,
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
pub async fn run(
    words: &[String],
    mounts: Mounts,
    limit: Duration,
    what_for: For,
) -> Result<Ended, CommandError> {
    let program = words.first().cloned().unwrap_or_default();
    let started = prepare(words, move || mounts.enter()).spawn();
    let child = started.map_err(|source| CommandError::Start {
        program: program.clone(),
        source,
    })?;
    let mut group = Group(child.id());
    match timeout(limit, end(child, &mut group, what_for)).await {
        Ok(Ok(Said::All(ended))) => Ok(ended),
        Ok(Ok(Said::TooMuch)) => Err(CommandError::TooMuch { program }),
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

/// What a program has said.
enum Said {
    All(Ended),
    TooMuch,
}

async fn end(mut child: Child, group: &mut Group, what_for: For) -> io::Result<Said> {
    let (mut output, mut errors) = (child.stdout.take(), child.stderr.take());
    let (mut said, mut complained) = (Vec::new(), Vec::new());
    let status = {
        let reading = async {
            let all = tokio::try_join!(
                keep(&mut output, &mut said, what_for),
                keep(&mut errors, &mut complained, what_for)
            );
            if all.is_ok() {
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            biased;
            status = child.wait() => status?,
            () = reading => return Ok(Said::TooMuch),
        }
    };
    // At once, and never again: the number of the group may soon be another's. An answer leaves
    // nothing behind; what an action leaves behind on purpose may go on.
    let forked = what_for == For::Answer && group.kill();
    group.0 = None;
    let rest = async {
        tokio::try_join!(
            keep(&mut output, &mut said, what_for),
            keep(&mut errors, &mut complained, what_for)
        )
    };
    if let Ok(Err(Flood)) = timeout(LAST_WORDS, rest).await {
        return Ok(Said::TooMuch);
    }
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ok(Said::All(Ended {
        status,
        output: text(&said),
        errors: text(&complained),
        forked,
    }))
}

/// More than an answer takes.
struct Flood;

/// Reads to the end and keeps the beginning: an action that floods must not block either. Half an
/// answer is none, so an answer that floods is not waited for.
async fn keep(
    stream: &mut Option<impl AsyncRead + Unpin>,
    kept: &mut Vec<u8>,
    what_for: For,
) -> Result<(), Flood> {
    let Some(stream) = stream else { return Ok(()) };
    let mut buffer = [0_u8; 1024];
    while let Ok(read @ 1..) = stream.read(&mut buffer).await {
        let room = OUTPUT_MAX.saturating_sub(kept.len()).min(read);
        kept.extend(buffer.iter().take(room));
        if room < read && what_for == For::Answer {
            return Err(Flood);
        }
    }
    Ok(())
}

/// The process group of a child; whoever is left in it is killed when this is dropped.
struct Group(Option<u32>);

impl Group {
    /// Kills what is left of it; true when anything was.
    fn kill(&self) -> bool {
        let id = self.0.and_then(|id| i32::try_from(id).ok());
        id.is_some_and(|id| killpg(Pid::from_raw(id), Signal::SIGKILL).is_ok())
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // It may be gone already.
        self.kill();
    }
}

#[cfg(test)]
#[path = "command_tests.rs"]
mod tests;
