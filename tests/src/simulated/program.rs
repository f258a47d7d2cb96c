//! The process behind one container: started, restarted, stopped.
//!
//! Called by [`super::machine`] on every tick.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::Result;
use nix::sys::signal::Signal;

use crate::control_plane::ports::free_port;
use crate::process::Process;

/// Tells our programs where to answer probes.
const LISTEN_VARIABLE: &str = "SLIPWAY_LISTEN";

/// How soon a program that ended is started again.
const RESTART: Duration = Duration::from_millis(300);
/// How soon after a boot programs are started.
const AFTER_BOOT: Duration = Duration::from_millis(100);

/// How a program is started.
#[derive(Debug, Clone)]
pub(super) struct Launch {
    pub(super) name: String,
    pub(super) program: PathBuf,
    pub(super) arguments: Vec<String>,
    pub(super) environment: Vec<(String, String)>,
    pub(super) log: PathBuf,
    /// Where it answers probes; another one for every start.
    pub(super) port: u16,
}

impl Launch {
    /// Picks a port for the next start: while the program was down, another process may have taken
    /// the last one, and it would never come up again.
    fn listen_anew(&mut self) -> Result<()> {
        let (port, _held) = free_port()?;
        self.port = port;
        self.environment.retain(|(name, _)| name != LISTEN_VARIABLE);
        let address = format!("127.0.0.1:{port}");
        self.environment.push((LISTEN_VARIABLE.to_owned(), address));
        Ok(())
    }
}

/// A program that belongs to a pod.
pub(super) struct Program {
    launch: Launch,
    process: Option<Process>,
    starts: u32,
    start_at: Option<Instant>,
    kill_at: Option<Instant>,
    ready: bool,
    probed_at: Option<Instant>,
}

impl Program {
    pub(super) fn new(launch: Launch, now: Instant) -> Self {
        Self {
            launch,
            process: None,
            starts: 0,
            start_at: Some(now),
            kill_at: None,
            ready: false,
            probed_at: None,
        }
    }

    pub(super) fn launch(&self) -> &Launch {
        &self.launch
    }

    pub(super) fn log(&self) -> &Path {
        &self.launch.log
    }

    pub(super) fn pid(&self) -> Option<u32> {
        self.process.as_ref().map(Process::pid)
    }

    pub(super) fn process(&mut self) -> Option<&mut Process> {
        self.process.as_mut()
    }

    /// How often it was started again.
    pub(super) fn restarts(&self) -> u32 {
        self.starts.saturating_sub(1)
    }

    /// Whether it runs and its last probe succeeded.
    pub(super) fn is_ready(&self) -> bool {
        self.ready && self.process.is_some()
    }

    /// What a probe found, unless the program was started anew meanwhile.
    pub(super) fn probed(&mut self, starts: u32, ready: bool) {
        if self.starts == starts && self.process.is_some() {
            self.ready = ready;
            self.probed_at = Some(Instant::now());
        }
    }

    /// Whether to ask it; one that is Ready only every so often.
    pub(super) fn is_probe_due(&self, every: Duration) -> bool {
        let asked = self.probed_at.filter(|_| self.is_ready());
        asked.is_none_or(|at| at.elapsed() >= every)
    }

    pub(super) fn starts(&self) -> u32 {
        self.starts
    }

    /// Whether it was asked to stop and has ended.
    pub(super) fn is_gone(&self) -> bool {
        self.kill_at.is_some() && self.process.is_none()
    }

    /// Asks it to end, and kills it after the grace period.
    pub(super) fn stop(&mut self, grace: Duration, now: Instant) {
        if self.kill_at.is_some() {
            return;
        }
        self.kill_at = Some(now + grace);
        self.start_at = None;
        self.ask_to_end();
    }

    /// SIGTERM, as a system that shuts down sends it.
    pub(super) fn ask_to_end(&mut self) {
        self.ready = false;
        if let Some(process) = &mut self.process
            && let Err(error) = process.signal(Signal::SIGTERM)
        {
            tracing::debug!("{}: {error:#}", self.launch.name);
        }
    }

    /// Ends it at once; after a boot it is started again.
    pub(super) fn cut(&mut self) {
        self.ready = false;
        self.start_at = None;
        // Dropped: killed with all its descendants.
        self.process = None;
    }

    /// Lets it start again after a boot.
    pub(super) fn boot(&mut self, now: Instant) {
        if self.kill_at.is_none() {
            self.start_at = Some(now + AFTER_BOOT);
        }
    }

    /// Notices its end, starts it when that is due, kills it when its grace is over.
    pub(super) fn tick(&mut self, now: Instant, may_start: bool) -> Result<()> {
        if let Some(process) = &mut self.process {
            if !process.is_running() {
                tracing::debug!("{} has ended", self.launch.name);
                self.process = None;
                self.ready = false;
                self.start_at = self.kill_at.is_none().then(|| now + RESTART);
            } else if self.kill_at.is_some_and(|at| at <= now) {
                process.kill()?;
            }
            return Ok(());
        }
        if may_start && self.start_at.is_some_and(|at| at <= now) {
            // First: a start that fails is tried again later, not at once.
            self.start_at = Some(now + RESTART);
            self.launch.listen_anew()?;
            let mut command = Command::new(&self.launch.program);
            command
                .args(&self.launch.arguments)
                .envs(
                    self.launch
                        .environment
                        .iter()
                        .map(|(name, value)| (name, value)),
                )
                // Else our programs would take the harness for a pod of some other cluster.
                .env_remove("KUBERNETES_SERVICE_HOST")
                .env_remove("KUBECONFIG");
            let process = Process::spawn(&self.launch.name, &command, &self.launch.log)?;
            self.process = Some(process);
            self.starts += 1;
            self.start_at = None;
        }
        Ok(())
    }
}
