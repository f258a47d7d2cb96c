//! Finding a machine's init, and running commands beside it.
//!
//! Every step is guarded: what is taken for a machine must have a process id namespace of its own,
//! else a command meant for a machine, such as a reboot, would run on this computer.

use std::fs;
use std::path::PathBuf;
use std::process::{Output, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;
use tokio::time::timeout;

/// Where programs are, here and in machines.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A machine's init, by its process id on this computer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Leader(u32);

impl Leader {
    /// The init below a systemd-nspawn; none while the machine starts or ends.
    pub(super) fn below(nspawn: u32) -> Option<Self> {
        children(nspawn)
            .into_iter()
            .map(Self)
            .find(|leader| leader.is_init().unwrap_or(false))
    }

    /// Whether this is an init in a process id namespace that is not ours.
    fn is_init(self) -> Result<bool> {
        let name = fs::read_to_string(self.proc("comm"))?;
        let theirs = fs::read_link(self.proc("ns/pid"))?;
        let ours = fs::read_link("/proc/self/ns/pid")?;
        let status = fs::read_to_string(self.proc("status"))?;
        let ids: Vec<&str> = status
            .lines()
            .find_map(|line| line.strip_prefix("NSpid:"))
            .unwrap_or_default()
            .split_whitespace()
            .collect();
        Ok(name.trim() == "systemd" && theirs != ours && ids.len() > 1 && ids.last() == Some(&"1"))
    }

    fn proc(self, file: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/{file}", self.0))
    }

    /// A file as the machine sees it. The path must not lead over a link that the machine can
    /// make: an absolute link would lead into this computer's files.
    pub(super) fn path(self, path: &str) -> PathBuf {
        self.proc(&format!("root/{}", path.trim_start_matches('/')))
    }

    /// The machine's boot id; none while it still shows that of this computer.
    pub(super) fn boot_id(self) -> Option<String> {
        const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";
        let theirs = fs::read_to_string(self.path(BOOT_ID)).ok()?;
        let ours = fs::read_to_string(BOOT_ID).ok()?;
        (theirs != ours).then(|| theirs.trim().to_owned())
    }

    /// Runs a command in all namespaces of the machine.
    pub(super) async fn run(
        self,
        command: &[&str],
        input: &[u8],
        bound: Duration,
    ) -> Result<Output> {
        ensure!(
            self.is_init().unwrap_or(false),
            "the machine has gone: refusing to run {command:?}"
        );
        let mut child = Command::new("nsenter")
            .args(["--target", &self.0.to_string(), "--all", "--"])
            .args(command)
            // The machine is another computer: nothing of our environment belongs there.
            .env_clear()
            .env("PATH", PATH)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .context("failed to start nsenter")?;
        let mut stdin = child.stdin.take().context("nsenter has no input")?;
        let work = async {
            // A command that reads nothing closes its end, and that is no error.
            drop(stdin.write_all(input).await);
            drop(stdin);
            child.wait_with_output().await
        };
        match timeout(bound, work).await {
            Ok(output) => output.with_context(|| format!("failed to run {command:?}")),
            Err(_) => bail!("waited {bound:?} for the end of {command:?}"),
        }
    }
}

/// The processes that a process started itself.
fn children(parent: u32) -> Vec<u32> {
    if let Ok(list) = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")) {
        return list
            .split_whitespace()
            .filter_map(|pid| pid.parse().ok())
            .collect();
    }
    // A kernel built without that file.
    let wanted = parent.to_string();
    fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok())
        .filter(|pid| {
            fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| {
                stat.rsplit_once(") ")
                    .and_then(|(_, rest)| rest.split(' ').nth(1))
                    == Some(wanted.as_str())
            })
        })
        .collect()
}
