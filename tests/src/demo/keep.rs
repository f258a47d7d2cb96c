//! Leaving the demo's cluster running: a process in the background that holds it, and its end.
//!
//! Every process of the cluster ends with the one that started it, so something must stay. With
//! `--keep` the demo runs in a child of its own session from the start; the parent waits for its
//! report and goes.

use std::fs;
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::signal::unix::{SignalKind, signal};

use crate::cache;
use crate::wait::wait_until;

/// Above the bound of a run, which reports by itself when it takes too long.
const RUN_BOUND: Duration = Duration::from_mins(7);
/// How long a cluster may take to end.
const DOWN_BOUND: Duration = Duration::from_mins(1);

/// Starts the demo in the background and waits for its report; the exit code it asks for.
pub async fn run_in_background() -> Result<u8> {
    if let Some(Kept { pid, .. }) = kept()? {
        bail!("process {pid} keeps a cluster already: end it with `cargo xtask demo --down`");
    }
    let directory = cache::directory()?;
    fs::create_dir_all(&directory).context("failed to make the cache directory")?;
    let report = directory.join(format!("demo-{}.report", std::process::id()));
    let mut child = Command::new(std::env::current_exe()?)
        .args(std::env::args_os().skip(1))
        .arg("--report-to")
        .arg(&report)
        .stdin(Stdio::null())
        // Ctrl-C reaches the parent, which ends the child.
        .process_group(0)
        .spawn()
        .context("failed to start the demo")?;
    let mut interrupted = signal(SignalKind::interrupt())?;
    let mut terminated = signal(SignalKind::terminate())?;
    let reported = tokio::select! {
        code = wait_for_report(&mut child, &report) => code,
        _ = interrupted.recv() => end(&mut child).await,
        _ = terminated.recv() => end(&mut child).await,
    };
    // Gone already where the child ended without a report.
    drop(fs::remove_file(&report));
    reported
}

/// Called by the child once its cluster is to be kept: tells the parent the exit code, leaves the
/// terminal alone, and returns when it is to end.
pub async fn hold(report: &Path, code: u8) -> Result<()> {
    let mut terminated = signal(SignalKind::terminate())?;
    let pid = std::process::id();
    fs::write(pid_file()?, format!("{pid} {}", start_time(pid)?))
        .context("failed to write the pid file")?;
    detach()?;
    let draft = report.with_extension("draft");
    fs::write(&draft, code.to_string())
        .and_then(|()| fs::rename(&draft, report))
        .context("failed to report")?;
    terminated.recv().await;
    Ok(())
}

/// Ends a kept cluster; says whether there was one.
pub async fn down() -> Result<bool> {
    let Some(kept) = kept()? else {
        return Ok(false);
    };
    let pid = kept.pid;
    kill(Pid::from_raw(i32::try_from(pid)?), Signal::SIGTERM)
        .with_context(|| format!("failed to end process {pid}"))?;
    wait_until(&format!("process {pid} to end"), DOWN_BOUND, || async {
        Ok((!kept.lives()).then_some(()))
    })
    .await?;
    fs::remove_file(pid_file()?).context("failed to remove the pid file")?;
    Ok(true)
}

/// A process that keeps a cluster.
struct Kept {
    pid: u32,
    /// A process id is given to another one some day; the time of its start tells them apart.
    started: String,
}

impl Kept {
    fn lives(&self) -> bool {
        start_time(self.pid).is_ok_and(|time| time == self.started)
    }
}

/// The process that keeps a cluster, if it still lives.
fn kept() -> Result<Option<Kept>> {
    let Ok(text) = fs::read_to_string(pid_file()?) else {
        return Ok(None);
    };
    let Some((pid, started)) = text.split_once(' ') else {
        return Ok(None);
    };
    let kept = Kept {
        pid: pid.parse().context("the pid file holds no process id")?,
        started: started.to_owned(),
    };
    Ok(kept.lives().then_some(kept))
}

fn pid_file() -> Result<PathBuf> {
    Ok(cache::directory()?.join("demo.pid"))
}

/// When a process was started, in ticks since the boot of this computer.
fn start_time(pid: u32) -> Result<String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))
        .with_context(|| format!("there is no process {pid}"))?;
    // The name, in parentheses, may hold spaces; the start is field 22, the state field 3.
    let (_, fields) = stat.rsplit_once(") ").context("an unreadable stat")?;
    let mut fields = fields.split(' ');
    let state = fields.next();
    // Dead, but nobody has asked how it died.
    anyhow::ensure!(state != Some("Z"), "process {pid} has ended");
    let time = fields.nth(18).context("a short stat")?;
    Ok(time.to_owned())
}

/// Lets go of the terminal: whoever reads the output of the demo is to see its end.
fn detach() -> Result<()> {
    let log = cache::directory()?.join("demo.log");
    let file =
        fs::File::create(&log).with_context(|| format!("failed to make {}", log.display()))?;
    nix::unistd::dup2_stdout(file.as_fd()).context("failed to redirect the output")?;
    nix::unistd::dup2_stderr(file.as_fd()).context("failed to redirect the errors")?;
    Ok(())
}

async fn wait_for_report(child: &mut Child, report: &Path) -> Result<u8> {
    let child = std::cell::RefCell::new(child);
    wait_until("the demo to end", RUN_BOUND, || async {
        if let Ok(text) = fs::read_to_string(report) {
            return Ok(Some(
                text.trim().parse().context("a report without a code")?,
            ));
        }
        let status = child.borrow_mut().try_wait()?;
        let code = status.map(|status| status.code().and_then(|code| u8::try_from(code).ok()));
        Ok(code.map(|code| code.unwrap_or(1)))
    })
    .await
}

async fn end(child: &mut Child) -> Result<u8> {
    kill(Pid::from_raw(i32::try_from(child.id())?), Signal::SIGTERM)
        .context("failed to end the demo")?;
    let child = std::cell::RefCell::new(child);
    wait_until("the demo to end", DOWN_BOUND, || async {
        Ok(child.borrow_mut().try_wait()?.map(|_| 130))
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_told_from_others_by_the_time_of_its_start() -> Result<()> {
        let own = start_time(std::process::id())?;
        assert_eq!(own, start_time(std::process::id())?);
        assert_ne!(own, start_time(1)?);
        assert!(start_time(0).is_err());
        Ok(())
    }
}
