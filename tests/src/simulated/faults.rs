//! What a test does to nodes and programs.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use slipway_api::names;

use super::cluster::SimulatedCluster;
use super::directory::RebootBehaviour;
use crate::process::Process;

impl SimulatedCluster {
    /// Makes a host ask for a reboot. The next reboot takes the file with it.
    pub fn set_sentinel(&self, node: &str) -> Result<()> {
        let path = self.machine(node)?.host().sentinel();
        fs::write(&path, "").with_context(|| format!("failed to write {}", path.display()))
    }

    /// Where a host asks for a reboot.
    pub fn sentinel(&self, node: &str) -> Result<PathBuf> {
        Ok(self.machine(node)?.host().sentinel())
    }

    /// Makes a host ask for nothing any more.
    pub fn clear_sentinel(&self, node: &str) -> Result<()> {
        let path = self.machine(node)?.host().sentinel();
        fs::remove_file(&path).with_context(|| format!("failed to remove {}", path.display()))
    }

    /// Says what a host does from now on when it is asked to reboot.
    pub fn set_reboot_behaviour(&self, node: &str, behaviour: RebootBehaviour) -> Result<()> {
        self.machine(node)?.host().set_behaviour(behaviour)
    }

    /// How long a machine stays off at its next reboots; `None`: until [`Self::switch_on`].
    pub fn set_off_for(&self, node: &str, off_for: Option<Duration>) -> Result<()> {
        self.machine(node)?.set_off_for(off_for);
        Ok(())
    }

    /// Cuts the power of a node; it boots after a time, or with `None` when it is switched on.
    pub fn cut_power(&self, node: &str, off_for: Option<Duration>) -> Result<()> {
        self.machine(node)?.cut_power(off_for)
    }

    /// Switches on a node that is off.
    pub fn switch_on(&self, node: &str) -> Result<()> {
        self.machine(node)?.switch_on()
    }

    /// Reboots a node as an admin at its console would.
    pub fn reboot_by_hand(&self, node: &str) -> Result<()> {
        self.machine(node)?.host().request_reboot(Duration::ZERO)
    }

    /// Kills the agent of a node (SIGKILL); the kubelet starts it again.
    pub async fn kill_agent(&self, node: &str) -> Result<()> {
        let pod = self.agent_pod(node).await?;
        self.kill_pod(&pod)
    }

    /// Kills the program of a pod by its UID (SIGKILL); the kubelet starts it again.
    pub fn kill_pod(&self, uid: &str) -> Result<()> {
        self.with_process(uid, Process::kill)?
    }

    /// Kills every operator at once.
    pub async fn kill_operators(&self) -> Result<()> {
        for uid in self.program_pods(names::COMPONENT_OPERATOR).await? {
            // One that is just being restarted is dead already.
            if self.is_running(&uid) {
                self.kill_pod(&uid)?;
            }
        }
        Ok(())
    }

    /// Freezes the agent of a node (SIGSTOP): it holds its connections and does nothing.
    pub async fn suspend_agent(&self, node: &str) -> Result<()> {
        let pod = self.agent_pod(node).await?;
        self.suspend_pod(&pod)
    }

    /// Lets a frozen agent go on.
    pub async fn resume_agent(&self, node: &str) -> Result<()> {
        let pod = self.agent_pod(node).await?;
        self.resume_pod(&pod)
    }

    /// Freezes the program of a pod by its UID (SIGSTOP).
    pub fn suspend_pod(&self, uid: &str) -> Result<()> {
        self.with_process(uid, |process| {
            process.signal_group(nix::sys::signal::Signal::SIGSTOP)
        })?
    }

    /// Lets a frozen program go on.
    pub fn resume_pod(&self, uid: &str) -> Result<()> {
        self.with_process(uid, Process::resume)?
    }

    /// Whether the program of a pod runs, by the pod's UID.
    pub fn is_running(&self, uid: &str) -> bool {
        self.machines().values().any(|machine| {
            machine
                .with_program(uid, |program| {
                    program.process().is_some_and(Process::is_running)
                })
                .unwrap_or(false)
        })
    }

    /// The process of a pod's program, by the pod's UID; none while it does not run.
    pub fn program_pid(&self, uid: &str) -> Option<u32> {
        let mut machines = self.machines().values();
        machines.find_map(|machine| machine.with_program(uid, |program| program.pid()).flatten())
    }

    fn with_process<T>(&self, uid: &str, work: impl FnOnce(&mut Process) -> T) -> Result<T> {
        let machine = self
            .machines()
            .values()
            .find(|machine| machine.with_program(uid, |_| ()).is_some())
            .with_context(|| format!("the pod {uid} has no program on any node"))?;
        machine
            .with_program(uid, |program| program.process().map(work))
            .flatten()
            .with_context(|| format!("the program of the pod {uid} does not run"))
    }
}
