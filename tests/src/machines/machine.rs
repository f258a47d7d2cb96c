//! One machine: systemd as its init, a disk in memory, an address on the lab's bridge.

use std::fs;
use std::net::Ipv4Addr;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail, ensure};

use super::cgroups::Groups;
use super::keeper::{self, Event, EventKind, Keeper, Plan};
use super::kinds::{Bind, File, MachineKind, MachineOptions};
use super::lab::Lab;
use super::leader::Leader;
use super::namespace::{self, BRIDGE, MACHINES_MAX};
use super::{recipe, setup};
use crate::wait::wait_until;

/// How long a machine may take to boot; half a second on an idle computer.
pub const BOOT_BOUND: Duration = Duration::from_secs(30);
/// How long a command in a machine may take.
const EXEC_BOUND: Duration = Duration::from_secs(20);
/// How long a machine may take to switch itself off: a kubelet delays it by 8 s, and systemd waits
/// for stubborn services.
const DOWN_BOUND: Duration = Duration::from_mins(1);
/// What a booted machine has written; in memory of the machine, so gone with every boot.
const BOOTED: &str = "/run/lab-booted";

/// A machine; dropping it cuts its power and removes its disk.
#[derive(Debug)]
pub struct Machine {
    name: String,
    number: u8,
    console: PathBuf,
    // The order of drops: the machine before its disk.
    keeper: Keeper,
    disk: Disk,
    _lab: Arc<Lab>,
}

#[derive(Debug)]
struct Disk(PathBuf);

impl Drop for Disk {
    fn drop(&mut self) {
        if let Err(error) = setup::remove_tree(&self.0) {
            eprintln!("{error:#}");
        }
    }
}

impl Machine {
    /// Makes a machine and switches it on; it is not waited for (see [`Machine::wait_booted`]).
    pub fn start(lab: &Arc<Lab>, options: &MachineOptions) -> Result<Self> {
        let machine = Self::make(lab, options)?;
        machine.power_on()?;
        Ok(machine)
    }

    /// Makes a machine that is off.
    pub fn make(lab: &Arc<Lab>, options: &MachineOptions) -> Result<Self> {
        let number = options.number;
        ensure!(
            (1..=MACHINES_MAX).contains(&number),
            "machines are numbered from 1 to {MACHINES_MAX}, not {number}"
        );
        let name = format!("n{number}");
        let directory = lab.scratch().join(&name);
        ensure!(!directory.exists(), "the machine {name} exists already");
        let disk = Disk(directory.clone());
        keeper::make_disk(&directory)?;
        let mut binds = options.binds.clone();
        binds.extend(options.kind.binds(&directory)?);
        let mut files = options.kind.files(number)?;
        files.extend(options.files.iter().cloned());
        write_files(&directory.join("upper"), &files)?;
        enable(&directory.join("upper"), options.kind.units())?;

        let console = lab.logs().join(format!("{name}.console"));
        let events = lab.logs().join(format!("{name}.events"));
        let plan = Plan {
            name: name.clone(),
            image: lab.image().to_owned(),
            groups: Groups::make(lab.id(), &name)?,
            arguments: arguments(&name, &options.kind, &binds),
            directory,
            console: console.clone(),
            events,
        };
        Ok(Self {
            keeper: Keeper::new(plan)?,
            name,
            number,
            console,
            disk,
            _lab: Arc::clone(lab),
        })
    }

    /// `n1` for machine 1; a kubelet's node has the same name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The machine's number.
    pub fn number(&self) -> u8 {
        self.number
    }

    /// The machine's address on the bridge.
    pub fn address(&self) -> Ipv4Addr {
        namespace::machine_address(self.number)
    }

    /// Everything that the machine printed, over all its boots.
    pub fn console(&self) -> &Path {
        &self.console
    }

    /// The machine's directory on this computer; what it holds below names of the caller's own
    /// can be shown to the machine with a [`Bind`].
    pub fn directory(&self) -> &Path {
        &self.disk.0
    }

    /// What happened to the machine so far.
    pub fn events(&self) -> Vec<Event> {
        self.keeper.events()
    }

    /// How often the machine was started.
    pub fn boots(&self) -> usize {
        self.count(EventKind::Started)
    }

    /// How often an event happened.
    pub fn count(&self, kind: EventKind) -> usize {
        self.events()
            .iter()
            .filter(|event| event.kind == kind)
            .count()
    }

    /// Whether the machine is on.
    pub fn is_on(&self) -> bool {
        self.keeper.pid().is_some()
    }

    /// The id of the machine's boot; none while it is off, starts or ends.
    pub fn boot_id(&self) -> Option<String> {
        self.leader()?.boot_id()
    }

    /// Switches the machine on.
    pub fn power_on(&self) -> Result<()> {
        self.keeper.start()
    }

    /// Cuts the machine's power: nothing is told, nothing is written. Its disk stays.
    pub fn kill(&self) -> Result<()> {
        self.keeper.kill()
    }

    /// Switches the machine off as an administrator does, and waits until it is off.
    pub async fn power_off(&self) -> Result<()> {
        self.exec(&["systemctl", "poweroff"]).await?;
        wait_until(&format!("{} to go off", self.name), DOWN_BOUND, || async {
            Ok((!self.is_on()).then_some(()))
        })
        .await
    }

    /// Asks the machine to reboot as an administrator does, without waiting; returns the id of the
    /// boot that ends.
    pub async fn reboot(&self) -> Result<String> {
        let before = self
            .boot_id()
            .with_context(|| format!("{} is not up", self.name))?;
        self.exec(&["systemctl", "reboot"]).await?;
        Ok(before)
    }

    /// Waits until the machine has booted, and returns the id of that boot.
    pub async fn wait_booted(&self) -> Result<String> {
        self.wait_booted_after("").await
    }

    /// Waits until the machine has booted with another id than this one, and returns the new one.
    pub async fn wait_booted_after(&self, before: &str) -> Result<String> {
        let bound = BOOT_BOUND + DOWN_BOUND;
        let what = format!("{} to boot", self.name);
        let waited = wait_until(&what, bound, || async {
            if let Some(EventKind::Failed(code)) = self.last_event() {
                // No use in waiting on: nobody starts it again.
                return Ok(Some(Err(anyhow!("systemd-nspawn failed with {code}"))));
            }
            let Some(leader) = self.leader() else {
                return Ok(None);
            };
            let booted = leader.path(BOOTED).exists();
            let id = leader.boot_id().filter(|id| booted && id != before);
            Ok(id.map(Ok))
        })
        .await;
        match waited.flatten() {
            Ok(id) => Ok(id),
            Err(error) => Err(error.context(self.diagnose().await)),
        }
    }

    /// Runs a command in the machine as root; its output, or an error if its exit code is not 0.
    pub async fn exec(&self, command: &[&str]) -> Result<String> {
        self.exec_with_input(command, b"").await
    }

    /// As [`Machine::exec`], with something on standard input.
    pub async fn exec_with_input(&self, command: &[&str], input: &[u8]) -> Result<String> {
        let leader = self
            .leader()
            .with_context(|| format!("{} is not up", self.name))?;
        let output = leader.run(command, input, EXEC_BOUND).await?;
        if !output.status.success() {
            bail!(
                "{}: {command:?} failed ({}): {}",
                self.name,
                output.status,
                String::from_utf8_lossy(&output.stderr).trim()
            );
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Writes a file in the running machine, whole or not at all, and makes its directory.
    pub async fn write_file(&self, path: &str, content: &str) -> Result<()> {
        // In the machine, not through its file system from here: there may be links in the path.
        const SCRIPT: &str =
            r#"mkdir -p "$(dirname "$1")" && cat > "$1.draft" && mv "$1.draft" "$1""#;
        self.exec_with_input(&["sh", "-ec", SCRIPT, "sh", path], content.as_bytes())
            .await
            .map(drop)
    }

    /// Removes a file in the running machine, if it is there.
    pub async fn remove_file(&self, path: &str) -> Result<()> {
        self.exec(&["rm", "-f", path]).await.map(drop)
    }

    /// Pulls the machine's network cable.
    pub fn disconnect(&self) -> Result<()> {
        namespace::ip(&format!("link set {} down\n", keeper::cable(&self.name)))
    }

    /// Plugs the machine's network cable in again.
    pub fn connect(&self) -> Result<()> {
        namespace::ip(&format!("link set {} up\n", keeper::cable(&self.name)))
    }

    /// The last lines of the console, for messages.
    pub fn console_tail(&self) -> String {
        const LINES: usize = 20;
        let text = fs::read(&self.console).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().collect();
        lines
            .get(lines.len().saturating_sub(LINES)..)
            .unwrap_or_default()
            .join("\n")
    }

    /// What a person wants to see of a machine that does not do as it should: the end of its
    /// console, and of the logs of what runs on it.
    pub async fn diagnose(&self) -> String {
        const LOGS: [&str; 10] = [
            "journalctl",
            "--no-pager",
            "--output=cat",
            "--lines=30",
            "--unit=lab-prep",
            "--unit=containerd",
            "--unit=kubelet",
            "--unit=slipway-agent",
            "--boot",
            "--quiet",
        ];
        let logs = self
            .exec(&LOGS)
            .await
            .unwrap_or_else(|error| format!("{error:#}"));
        format!(
            "{} ({:?}), the end of its console:\n{}\nand of its logs:\n{logs}",
            self.name,
            self.last_event(),
            self.console_tail()
        )
    }

    fn last_event(&self) -> Option<EventKind> {
        self.events().last().map(|event| event.kind)
    }

    fn leader(&self) -> Option<Leader> {
        Leader::below(self.keeper.pid()?)
    }
}

fn arguments(name: &str, kind: &MachineKind, binds: &[Bind]) -> Vec<String> {
    let mut arguments: Vec<String> = [
        "--quiet",
        "--register=no",
        "--keep-unit",
        "--boot",
        "--console=read-only",
        "--link-journal=no",
        // Neither is taken from this computer: the lab has no uplink.
        "--resolv-conf=off",
        "--timezone=off",
    ]
    .map(String::from)
    .to_vec();
    arguments.push(format!("--machine={name}"));
    arguments.push(format!("--network-bridge={BRIDGE}"));
    if matches!(kind, MachineKind::Kubelet(_)) {
        arguments.push("--capability=all".into());
        arguments.push("--system-call-filter=@keyring bpf".into());
    }
    arguments.extend(binds.iter().map(Bind::argument));
    arguments
}

fn write_files(root: &Path, files: &[File]) -> Result<()> {
    for file in files {
        let path = root.join(file.path.trim_start_matches('/'));
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)
                .with_context(|| format!("failed to make {}", parent.display()))?;
        }
        fs::write(&path, &file.content)
            .with_context(|| format!("failed to write {}", path.display()))?;
    }
    Ok(())
}

fn enable(root: &Path, units: &[&str]) -> Result<()> {
    let wants = root.join(recipe::WANTS);
    fs::create_dir_all(&wants).context("failed to make a directory")?;
    for unit in units {
        symlink(format!("/etc/systemd/system/{unit}"), wants.join(unit))
            .with_context(|| format!("failed to enable {unit}"))?;
    }
    Ok(())
}
