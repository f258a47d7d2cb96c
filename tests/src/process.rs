//! Child processes that cannot outlive us.
//!
//! Owns starting, signalling and ending one program and everything that program starts.
//! Each runs below a small supervisor (`lab-tool supervise`) that holds the read end of a pipe of
//! ours: when the pipe closes, because the guard is dropped or because this process dies in
//! whatever way, `kill -9` included, the supervisor kills the program with all its descendants.
//! Called by [`crate::control_plane`], the machines of the lab, and tests.

use std::fs::{self, OpenOptions};
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::signal::{self, Signal};
use nix::unistd::Pid;

use crate::cache;
pub use crate::wait::wait_until;

/// How long a supervisor may take to report the start of its program.
const START_BOUND: Duration = Duration::from_secs(10);
/// How long killed processes may take to disappear: above the supervisor's own bound of 10 s.
const KILL_BOUND: Duration = Duration::from_secs(12);
/// How often the end of a process is looked for.
const POLL: Duration = Duration::from_millis(2);

/// A running program; dropping it kills the program and all its descendants.
#[derive(Debug)]
pub struct Process {
    name: String,
    supervisor: Child,
    /// Our end of the pipe that keeps the program alive.
    lifeline: Option<ChildStdin>,
    pid: Pid,
    log: PathBuf,
}

impl Process {
    /// Starts a command, with its output appended to the file `log`.
    ///
    /// Program, arguments, environment and working directory are taken over; standard input is
    /// empty. `name` is what messages call it.
    pub fn spawn(name: &str, command: &Command, log: &Path) -> Result<Self> {
        Self::spawn_with_clean_up(name, command, log, &[])
    }

    /// As [`Process::spawn`]; if this process dies without dropping the guard, the supervisor
    /// also removes these absolute paths.
    pub fn spawn_with_clean_up(
        name: &str,
        command: &Command,
        log: &Path,
        clean_up: &[&Path],
    ) -> Result<Self> {
        let output = OpenOptions::new()
            .create(true)
            .append(true)
            .open(log)
            .with_context(|| format!("failed to open {}", log.display()))?;
        let mut supervisor = supervise(command, clean_up)?
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(output)
            // A group of its own: a Ctrl-C at the terminal reaches us, and we end our children in
            // order.
            .process_group(0)
            .spawn()
            .with_context(|| format!("failed to start the supervisor of {name}"))?;
        let lifeline = supervisor.stdin.take();
        let report = supervisor
            .stdout
            .take()
            .context("the supervisor has no standard output")?;
        match started_pid(report) {
            Ok(pid) => Ok(Self {
                name: name.to_owned(),
                supervisor,
                lifeline,
                pid,
                log: log.to_owned(),
            }),
            Err(error) => {
                drop(lifeline);
                // Nothing runs yet; a supervisor that hung before its report must not stay.
                supervisor.kill().context("failed to kill a supervisor")?;
                supervisor
                    .wait()
                    .context("failed to wait for a killed supervisor")?;
                Err(error.context(format!("failed to start {name}")))
            }
        }
    }

    /// The process id of the program itself (not of its supervisor).
    pub fn pid(&self) -> u32 {
        self.pid.as_raw().unsigned_abs()
    }

    /// The name given at the start.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The file that holds the program's output.
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// The last lines of the program's output, for messages.
    pub fn log_tail(&self, lines: usize) -> String {
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        let mut tail: Vec<&str> = text.lines().rev().take(lines).collect();
        tail.reverse();
        tail.join("\n")
    }

    /// Whether the program, or anything it left behind, still runs.
    pub fn is_running(&mut self) -> bool {
        matches!(self.supervisor.try_wait(), Ok(None))
    }

    /// The exit status, if the program has ended by itself; exit code 128+N stands for signal N.
    pub fn try_wait(&mut self) -> Result<Option<ExitStatus>> {
        self.supervisor.try_wait().context("failed to wait")
    }

    /// Waits for the program to end by itself; exit code 128+N stands for signal N.
    pub async fn wait(&mut self, bound: Duration) -> Result<ExitStatus> {
        let deadline = Instant::now() + bound;
        loop {
            if let Some(status) = self.try_wait()? {
                return Ok(status);
            }
            if Instant::now() >= deadline {
                bail!("waited {bound:?} for the end of {}", self.name);
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// Asks the program to end (SIGTERM) and waits; one that is still there after `bound` is
    /// killed and reported as an error.
    pub async fn terminate(&mut self, bound: Duration) -> Result<ExitStatus> {
        self.signal(Signal::SIGTERM)?;
        match self.wait(bound).await {
            Ok(status) => Ok(status),
            Err(error) => {
                self.kill()?;
                Err(error.context("killed it"))
            }
        }
    }

    /// Kills the program with all its descendants and waits until they are gone.
    pub fn kill(&mut self) -> Result<()> {
        if !self.is_running() {
            return Ok(());
        }
        // Not by closing the pipe: that would also remove the paths of the clean-up, and a killed
        // program may be started again on its data. The supervisor sweeps up the descendants.
        self.signal_group(Signal::SIGKILL)?;
        if self.ends_within(KILL_BOUND) {
            return Ok(());
        }
        bail!("{} was still there {KILL_BOUND:?} after SIGKILL", self.name)
    }

    /// Freezes the program's process group (SIGSTOP) and waits until the program has stopped.
    pub async fn suspend(&mut self) -> Result<()> {
        self.signal_group(Signal::SIGSTOP)?;
        let stat = format!("/proc/{}/stat", self.pid);
        wait_until(&format!("{} to stop", self.name), START_BOUND, || async {
            let stat = fs::read_to_string(&stat)?;
            // The state follows the name, which stands in parentheses and may hold spaces.
            let state = stat
                .rsplit_once(") ")
                .and_then(|(_, rest)| rest.chars().next());
            Ok((state == Some('T')).then_some(()))
        })
        .await
    }

    /// Lets a suspended program go on (SIGCONT).
    pub fn resume(&mut self) -> Result<()> {
        self.signal_group(Signal::SIGCONT)
    }

    /// Sends a signal to the program alone.
    pub fn signal(&mut self, signal: Signal) -> Result<()> {
        self.send(self.pid, signal)
    }

    /// Sends a signal to the program's process group.
    pub fn signal_group(&mut self, signal: Signal) -> Result<()> {
        self.send(Pid::from_raw(-self.pid.as_raw()), signal)
    }

    fn send(&mut self, target: Pid, signal: Signal) -> Result<()> {
        // The id of a program that has ended may already belong to another.
        if !self.is_running() {
            bail!("{} has ended", self.name);
        }
        match signal::kill(target, signal) {
            // It ended just now, which the supervisor is about to report.
            Ok(()) | Err(nix::errno::Errno::ESRCH) => Ok(()),
            Err(error) => Err(error).with_context(|| format!("failed to signal {}", self.name)),
        }
    }

    fn ends_within(&mut self, bound: Duration) -> bool {
        let deadline = Instant::now() + bound;
        while self.is_running() {
            if Instant::now() >= deadline {
                return false;
            }
            thread::sleep(POLL);
        }
        true
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let killed = self.kill();
        // Where the kill failed, the closed pipe still tells the supervisor to go on trying.
        self.lifeline = None;
        if let Err(error) = killed {
            eprintln!("{error:#}");
        }
    }
}

/// The supervisor's command line for a command.
fn supervise(command: &Command, clean_up: &[&Path]) -> Result<Command> {
    let mut supervise = Command::new(cache::lab_tool_binary()?);
    supervise.arg("supervise");
    for path in clean_up {
        supervise.arg("--remove").arg(path);
    }
    supervise
        .arg("--")
        .arg(command.get_program())
        .args(command.get_args());
    for (key, value) in command.get_envs() {
        match value {
            Some(value) => supervise.env(key, value),
            None => supervise.env_remove(key),
        };
    }
    if let Some(directory) = command.get_current_dir() {
        supervise.current_dir(directory);
    }
    Ok(supervise)
}

/// Reads the supervisor's report; a thread of its own keeps the wait bounded.
fn started_pid(report: ChildStdout) -> Result<Pid> {
    let (send, receive) = mpsc::channel();
    thread::spawn(move || {
        let mut line = String::new();
        let read = BufReader::new(report).read_line(&mut line).map(|_| line);
        // Nobody listens any more after the bound: nothing to tell then.
        drop(send.send(read));
    });
    let line = receive
        .recv_timeout(START_BOUND)
        .with_context(|| format!("no report of the supervisor within {START_BOUND:?}"))?
        .context("failed to read the supervisor's report")?;
    match line.trim_end().split_once(' ') {
        Some(("started", pid)) => Ok(Pid::from_raw(
            pid.parse()
                .context("the supervisor reported no process id")?,
        )),
        _ => bail!("the supervisor said: {:?}", line.trim_end()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUND: Duration = Duration::from_secs(5);

    fn shell(script: &str, directory: &Path) -> Result<Process> {
        let mut command = Command::new("sh");
        command
            .args(["-c", script])
            .current_dir(directory)
            .env("WORD", "word");
        Process::spawn("shell", &command, &directory.join("log"))
    }

    /// A script that says "ready" once its traps are set.
    async fn ready_shell(script: &str, directory: &Path) -> Result<Process> {
        let process = shell(script, directory)?;
        wait_until("the script to be ready", BOUND, || {
            let ready = process.log_tail(1) == "ready";
            async move { Ok(ready.then_some(())) }
        })
        .await?;
        Ok(process)
    }

    fn is_alive(pid: &str) -> bool {
        Path::new("/proc").join(pid).exists()
    }

    #[tokio::test]
    async fn output_environment_and_exit_code_are_those_of_the_program() -> Result<()> {
        let directory = tempfile::tempdir()?;
        let mut process = shell("echo $WORD; echo more >&2; exit 7", directory.path())?;
        assert_eq!(process.wait(BOUND).await?.code(), Some(7));
        assert_eq!(process.log_tail(5), "word\nmore");
        assert!(!process.is_running());
        Ok(())
    }

    #[tokio::test]
    async fn a_dropped_guard_kills_descendants_in_sessions_of_their_own() -> Result<()> {
        let directory = tempfile::tempdir()?;
        let script = "setsid sh -c 'echo $$ > draft; mv draft pid; sleep 1000' & sleep 1000";
        let process = shell(script, directory.path())?;
        let pid = wait_until("the grandchild", BOUND, || async {
            Ok(Some(fs::read_to_string(directory.path().join("pid"))?))
        })
        .await?;
        assert!(is_alive(pid.trim()));
        drop(process);
        assert!(!is_alive(pid.trim()), "{pid} is still there");
        Ok(())
    }

    #[tokio::test]
    async fn a_suspended_program_stops_and_goes_on() -> Result<()> {
        let directory = tempfile::tempdir()?;
        let script = "trap 'exit 3' TERM; echo ready; while :; do sleep 0.01; done";
        let mut process = ready_shell(script, directory.path()).await?;
        process.suspend().await?;
        process.signal(Signal::SIGTERM)?;
        assert!(
            process.wait(Duration::from_millis(200)).await.is_err(),
            "it ran while suspended"
        );
        process.resume()?;
        assert_eq!(process.wait(BOUND).await?.code(), Some(3));
        Ok(())
    }

    #[tokio::test]
    async fn a_program_that_does_not_end_when_asked_is_killed_and_reported() -> Result<()> {
        let directory = tempfile::tempdir()?;
        let script = "trap '' TERM; echo ready; while :; do sleep 0.01; done";
        let mut process = ready_shell(script, directory.path()).await?;
        assert!(process.terminate(Duration::from_millis(200)).await.is_err());
        assert!(!process.is_running());
        Ok(())
    }

    #[test]
    fn a_program_that_does_not_exist_is_an_error() -> Result<()> {
        let directory = tempfile::tempdir()?;
        let command = Command::new("/nonexistent/program");
        let error = Process::spawn("nothing", &command, &directory.path().join("log"));
        let message = format!("{:#}", error.err().context("it started")?);
        assert!(message.contains("no such file"), "{message}");
        Ok(())
    }
}
