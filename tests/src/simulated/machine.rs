//! A simulated machine: power, boots, and the processes that run on it.
//!
//! Never talks to the API server, so that it reboots and restarts programs while that is away, as
//! a real one does. [`super::kubelet`] speaks for it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use tokio::time::{MissedTickBehavior, interval};

use super::directory::HostDirectory;
use super::program::{Launch, Program};

/// How often the machine looks after its processes and its requests.
const TICK: Duration = Duration::from_millis(25);
/// How long a shutdown takes: the kubelet says NotReady and programs get SIGTERM.
const SHUTDOWN: Duration = Duration::from_millis(400);

/// Whether a machine runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Power {
    /// It runs.
    On,
    /// It runs, and will be off in a moment.
    ShuttingDown,
    /// It is off.
    Off,
}

/// One boot of a machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Boot {
    /// Its boot ID.
    pub id: String,
    /// When it began.
    pub at: Instant,
}

/// A machine.
pub(super) struct Machine {
    name: String,
    host: HostDirectory,
    pods: PathBuf,
    state: Mutex<State>,
}

struct State {
    power: Power,
    /// When the present state of power ends by itself.
    until: Option<Instant>,
    /// How long the machine stays off at its next reboot; `None` for until it is switched on.
    off_for: Option<Duration>,
    boots: Vec<Boot>,
    programs: BTreeMap<String, Program>,
    closed: bool,
}

impl Machine {
    /// Makes a machine below a directory and boots it.
    pub(super) fn new(name: &str, directory: &Path, off_for: Duration) -> Result<Arc<Self>> {
        let host = HostDirectory::new(directory.join("host"));
        let pods = directory.join("pods");
        std::fs::create_dir_all(&pods).context("failed to make a directory for pods")?;
        let id = host.begin_boot()?;
        Ok(Arc::new(Self {
            name: name.to_owned(),
            host,
            pods,
            state: Mutex::new(State {
                power: Power::On,
                until: None,
                off_for: Some(off_for),
                boots: vec![Boot {
                    id,
                    at: Instant::now(),
                }],
                programs: BTreeMap::new(),
                closed: false,
            }),
        }))
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn host(&self) -> &HostDirectory {
        &self.host
    }

    /// Where a pod's files lie.
    pub(super) fn pod_directory(&self, uid: &str) -> PathBuf {
        self.pods.join(uid)
    }

    pub(super) fn power(&self) -> Power {
        self.lock().power
    }

    /// Every boot so far, the first one included.
    pub(super) fn boots(&self) -> Vec<Boot> {
        self.lock().boots.clone()
    }

    /// How often it has booted: names the present boot.
    pub(super) fn boot_count(&self) -> usize {
        self.lock().boots.len()
    }

    /// Looks after everything until the task is aborted.
    pub(super) async fn run(self: Arc<Self>) {
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            ticks.tick().await;
            if let Err(error) = self.tick() {
                tracing::warn!("{}: {error:#}", self.name);
            }
        }
    }

    /// Cuts the power, and switches on again after a time or never.
    pub(super) fn cut_power(&self, off_for: Option<Duration>) -> Result<()> {
        let mut state = self.lock();
        self.switch_off(&mut state, off_for)
    }

    /// Switches on a machine that is off.
    pub(super) fn switch_on(&self) -> Result<()> {
        let mut state = self.lock();
        if state.power == Power::Off {
            self.boot(&mut state)?;
        }
        Ok(())
    }

    /// How long reboots keep the machine off from now on; `None` for until it is switched on.
    pub(super) fn set_off_for(&self, off_for: Option<Duration>) {
        self.lock().off_for = off_for;
    }

    /// Runs a program for a pod, unless it has one.
    pub(super) fn add_program(&self, uid: &str, launch: Launch) {
        let mut state = self.lock();
        if !state.closed {
            state
                .programs
                .entry(uid.to_owned())
                .or_insert_with(|| Program::new(launch, Instant::now()));
        }
    }

    /// Does something with a pod's program, where there is one.
    pub(super) fn with_program<T>(
        &self,
        uid: &str,
        work: impl FnOnce(&mut Program) -> T,
    ) -> Option<T> {
        self.lock().programs.get_mut(uid).map(work)
    }

    /// Every pod with a program: its UID.
    pub(super) fn program_uids(&self) -> Vec<String> {
        self.lock().programs.keys().cloned().collect()
    }

    /// Forgets a pod's program, killing what is left of it.
    pub(super) fn remove_program(&self, uid: &str) {
        self.lock().programs.remove(uid);
    }

    /// Kills everything, for good.
    pub(super) fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        state.programs.clear();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic of another test's thread leaves nothing half done that matters here.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tick(&self) -> Result<()> {
        let now = Instant::now();
        let mut state = self.lock();
        if state.closed {
            return Ok(());
        }
        let due = state.until.is_some_and(|until| until <= now);
        match state.power {
            Power::On if due => {
                tracing::debug!("{} shuts down", self.name);
                state.power = Power::ShuttingDown;
                state.until = Some(now + SHUTDOWN);
                state.programs.values_mut().for_each(Program::ask_to_end);
            }
            Power::On => {
                if let Some(delay) = self.host.take_request() {
                    state.until = Some(now + delay);
                }
            }
            Power::ShuttingDown if due => {
                let off_for = state.off_for;
                self.switch_off(&mut state, off_for)?;
            }
            Power::Off if due => self.boot(&mut state)?,
            Power::ShuttingDown | Power::Off => {}
        }
        let may_start = state.power == Power::On;
        for program in state.programs.values_mut() {
            program.tick(now, may_start)?;
        }
        Ok(())
    }

    fn switch_off(&self, state: &mut State, off_for: Option<Duration>) -> Result<()> {
        tracing::debug!("{} is off", self.name);
        state.power = Power::Off;
        state.until = off_for.map(|time| Instant::now() + time);
        state.programs.values_mut().for_each(Program::cut);
        self.host.lose_memory()
    }

    fn boot(&self, state: &mut State) -> Result<()> {
        let id = self.host.begin_boot()?;
        tracing::debug!("{} boots: {id}", self.name);
        let at = Instant::now();
        state.boots.push(Boot { id, at });
        state.power = Power::On;
        state.until = None;
        for program in state.programs.values_mut() {
            program.boot(at);
        }
        Ok(())
    }
}
