//! The namespaces a lab lives in: one network and one mount namespace for the whole process.
//!
//! Both have no name: when the last process of the lab ends, in whatever way, the kernel removes
//! them with every interface, route and mount. So nothing of that kind can be left behind.
//! Called by the `main` of suites and of the demo, before anything else.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use anyhow::{Context, Result, bail, ensure};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};

use crate::cache;

/// The address of the lab's own side of the bridge: where machines reach the control plane.
pub const HOST_ADDRESS: std::net::Ipv4Addr = std::net::Ipv4Addr::new(10, 99, 0, 1);
/// The bridge that all machines are connected to.
pub(super) const BRIDGE: &str = "br0";
/// The highest number of a machine: routes are set up for these.
pub const MACHINES_MAX: u8 = 20;
/// Where systemd-nspawn keeps what belongs to a running machine, by the machine's name only.
const NSPAWN_STATE: &str = "/run/systemd/nspawn";

/// What identifies the process that entered.
static ENTERED: OnceLock<Namespace> = OnceLock::new();

/// The lab's place: the namespaces of this process.
#[derive(Debug)]
pub(super) struct Namespace {
    /// Unique among all processes that live or ever lived since the boot.
    pub(super) id: String,
    /// An empty file system in memory that nobody else sees and that ends with the process.
    pub(super) scratch: PathBuf,
}

/// Moves this process into a network of its own, 10.99.0.0/24 on a bridge without an uplink, and
/// into a mount namespace of its own. Later calls change nothing.
///
/// Call it first in `main`, before a runtime or any other thread exists: the kernel moves only the
/// calling thread, and what is started later inherits from it. It fails where other threads run.
/// No program needs to be started again under `nsenter` for this. From outside, a person joins with
/// `nsenter --net --mount --target PID`.
pub fn enter_lab_namespace() -> Result<()> {
    if ENTERED.get().is_some() {
        return Ok(());
    }
    let threads = fs::read_dir("/proc/self/task")
        .context("failed to count threads")?
        .count();
    ensure!(
        threads == 1,
        "the lab must be entered before the first of {threads} threads is started"
    );
    let scratch = machines_directory()?.join("scratch");
    fs::create_dir_all(&scratch)
        .with_context(|| format!("failed to make {}", scratch.display()))?;
    fs::create_dir_all(NSPAWN_STATE).with_context(|| format!("failed to make {NSPAWN_STATE}"))?;

    unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS)
        .context("failed to make namespaces (this needs root)")?;
    // What others mount still arrives here; nothing of ours goes out.
    let none: Option<&str> = None;
    mount(none, "/", none, MsFlags::MS_SLAVE | MsFlags::MS_REC, none)
        .context("failed to detach the mounts")?;
    for directory in [scratch.as_path(), Path::new(NSPAWN_STATE)] {
        mount(
            Some("lab"),
            directory,
            Some("tmpfs"),
            MsFlags::empty(),
            Some("mode=0755"),
        )
        .with_context(|| format!("failed to mount over {}", directory.display()))?;
    }
    connect()?;
    let id = format!("{}-{}", std::process::id(), start_time("self")?);
    // Only this thread exists, so nobody can have been faster.
    drop(ENTERED.set(Namespace { id, scratch }));
    Ok(())
}

/// The namespace of this process, once it has entered.
pub(super) fn current() -> Result<&'static Namespace> {
    ENTERED
        .get()
        .context("the lab was not entered: call enter_lab_namespace() first in main")
}

/// Where images, logs and the mount point of the scratch space lie.
pub(super) fn machines_directory() -> Result<PathBuf> {
    Ok(cache::directory()?.join("machines"))
}

/// Whether the process that an identity of [`Namespace`] was made from still runs.
pub(super) fn is_alive(id: &str) -> bool {
    id.split_once('-').is_some_and(|(pid, started)| {
        pid.parse::<u32>().is_ok() && start_time(pid).is_ok_and(|now| now == started)
    })
}

/// When a process was started, in ticks since the boot: with the process id, unique.
fn start_time(process: &str) -> Result<String> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat"))
        .with_context(|| format!("failed to look at process {process}"))?;
    // The name, in parentheses, may hold spaces; the time is the 20th field after it.
    stat.rsplit_once(") ")
        .and_then(|(_, rest)| rest.split(' ').nth(19))
        .map(str::to_owned)
        .context("failed to read the start time of a process")
}

/// Makes the bridge and the routes to the pods of all machines.
fn connect() -> Result<()> {
    let batch = format!(
        "link set lo up\n\
         link add {BRIDGE} type bridge\n\
         addr add {HOST_ADDRESS}/24 dev {BRIDGE}\n\
         link set {BRIDGE} up\n"
    );
    let routes = (1..=MACHINES_MAX).map(|number| {
        format!(
            "route add 10.244.{number}.0/24 via {}",
            machine_address(number)
        )
    });
    let batch = batch
        + &routes.collect::<Vec<_>>().join(
            "
",
        )
        + "
";
    ip(&batch)?;
    fs::write("/proc/sys/net/ipv4/ip_forward", "1\n").context("failed to allow forwarding")
}

/// The address of a machine.
pub(super) fn machine_address(number: u8) -> std::net::Ipv4Addr {
    std::net::Ipv4Addr::new(10, 99, 0, number.saturating_add(10))
}

/// Runs commands of `ip`, one a line, up to the first that fails.
pub(super) fn ip(batch: &str) -> Result<()> {
    let mut child = Command::new("ip")
        .args(["-batch", "-"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("failed to start ip")?;
    // Dropped at the end of the statement, which is the end of ip's input.
    child
        .stdin
        .take()
        .context("ip has no input")?
        .write_all(batch.as_bytes())
        .context("failed to write to ip")?;
    let output = child.wait_with_output().context("failed to wait for ip")?;
    if !output.status.success() {
        bail!(
            "failed to set up the network: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_known_by_its_id_and_start_time() -> Result<()> {
        let own = std::process::id();
        let started = start_time("self")?;
        assert!(is_alive(&format!("{own}-{started}")));
        // Another process under the same id.
        assert!(!is_alive(&format!("{own}-{started}0")));
        assert!(!is_alive("0-0"));
        assert!(!is_alive("self-1"));
        Ok(())
    }

    #[test]
    fn a_process_with_threads_is_refused_and_stays_where_it_is() -> Result<()> {
        // The runner of tests has several threads.
        let before = fs::read_link("/proc/thread-self/ns/net")?;
        let refused = enter_lab_namespace().expect_err("it was moved");
        assert!(refused.to_string().contains("threads"), "{refused}");
        assert_eq!(before, fs::read_link("/proc/thread-self/ns/net")?);
        Ok(())
    }
}
