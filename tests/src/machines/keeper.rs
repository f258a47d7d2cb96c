//! The thread that keeps one machine: it starts systemd-nspawn, and starts it again after a reboot.
//!
//! A thread, not a task: a machine must come back while a test blocks its runtime.
//! The machine runs below a supervisor, so it ends with this process.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, anyhow};

use super::cgroups::Groups;
use crate::process::Process;

/// How often the end of a machine is looked for.
const POLL: Duration = Duration::from_millis(5);
/// What systemd-nspawn exits with when the machine asked for a reboot.
const REBOOT: i32 = 133;
/// How long an order may take: above the bound of a kill.
const ORDER_BOUND: Duration = Duration::from_secs(20);
const START_SCRIPT: &str = include_str!("files/start.sh");

/// Something that happened to a machine, seen from outside.
#[derive(Debug, Clone, Copy)]
pub struct Event {
    /// When it was seen.
    pub at: Instant,
    /// What it was.
    pub kind: EventKind,
}

/// What happened to a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventKind {
    /// Its init was started: power on, or the second half of a reboot.
    Started,
    /// It went down for a reboot; a start follows at once.
    Rebooted,
    /// It switched itself off.
    PoweredOff,
    /// Its power was cut by [`super::Machine::kill`].
    Killed,
    /// It ended in another way, with this exit code.
    Failed(i32),
}

/// What a machine is started from.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) name: String,
    pub(super) image: PathBuf,
    /// Its disk: `upper`, `work` and the mount point `root` lie here.
    pub(super) directory: PathBuf,
    pub(super) groups: Groups,
    /// Further arguments of systemd-nspawn.
    pub(super) arguments: Vec<String>,
    pub(super) console: PathBuf,
    pub(super) events: PathBuf,
}

#[derive(Debug, Default)]
struct State {
    pid: Option<u32>,
    events: Vec<Event>,
}

enum Order {
    Start,
    Kill,
}

type Answer = Sender<Result<()>>;

/// The handle of a keeper; dropping it kills the machine.
#[derive(Debug)]
pub(super) struct Keeper {
    orders: Option<Sender<(Order, Answer)>>,
    thread: Option<JoinHandle<()>>,
    state: Arc<Mutex<State>>,
}

impl Keeper {
    /// Starts the thread; the machine is still off.
    pub(super) fn new(plan: Plan) -> Result<Self> {
        let state = Arc::new(Mutex::new(State::default()));
        let (orders, receiver) = mpsc::channel();
        let shared = Arc::clone(&state);
        let thread = thread::Builder::new()
            .name(plan.name.clone())
            .spawn(move || {
                Keeping {
                    plan,
                    state: shared,
                    process: None,
                }
                .run(&receiver);
            })
            .context("failed to start a thread")?;
        Ok(Self {
            orders: Some(orders),
            thread: Some(thread),
            state,
        })
    }

    /// Switches the machine on; nothing changes where it runs already.
    pub(super) fn start(&self) -> Result<()> {
        self.order(Order::Start)
    }

    /// Cuts the machine's power and waits until nothing of it runs.
    pub(super) fn kill(&self) -> Result<()> {
        self.order(Order::Kill)
    }

    /// The process of systemd-nspawn, while the machine is on.
    pub(super) fn pid(&self) -> Option<u32> {
        lock(&self.state).pid
    }

    pub(super) fn events(&self) -> Vec<Event> {
        lock(&self.state).events.clone()
    }

    fn order(&self, order: Order) -> Result<()> {
        let (answer, answered) = mpsc::channel();
        self.orders
            .as_ref()
            .and_then(|orders| orders.send((order, answer)).ok())
            .context("the keeper of the machine has ended")?;
        answered
            .recv_timeout(ORDER_BOUND)
            .context("the keeper of the machine does not answer")?
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        // The end of the orders is the order to end.
        self.orders = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            eprintln!("the keeper of a machine panicked");
        }
    }
}

/// The thread's side.
struct Keeping {
    plan: Plan,
    state: Arc<Mutex<State>>,
    process: Option<Process>,
}

impl Keeping {
    fn run(mut self, orders: &Receiver<(Order, Answer)>) {
        loop {
            match orders.recv_timeout(POLL) {
                Ok((order, answer)) => {
                    let result = match order {
                        Order::Start => self.start(),
                        Order::Kill => self.kill(),
                    };
                    // Who gave the order may have stopped waiting.
                    drop(answer.send(result));
                }
                Err(RecvTimeoutError::Timeout) => {
                    if let Err(error) = self.look() {
                        eprintln!("{}: {error:#}", self.plan.name);
                    }
                }
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        if let Err(error) = self.kill() {
            eprintln!("{}: {error:#}", self.plan.name);
        }
    }

    fn start(&mut self) -> Result<()> {
        if self.process.is_some() {
            return Ok(());
        }
        let plan = &self.plan;
        plan.groups.clear();
        let mut command = Command::new("unshare");
        // The overlay is mounted where only this boot sees it: it goes with the machine.
        command
            .args(["--mount", "--propagation=private"])
            .args(["sh", "-ec", START_SCRIPT, "start"])
            .arg(plan.groups.words())
            .arg(&plan.image)
            .arg(&plan.directory)
            .arg(cable(&plan.name))
            .args(&plan.arguments)
            // Machines' /proc/sys is the host's: they may write only what their network owns.
            .env("SYSTEMD_NSPAWN_API_VFS_WRITABLE", "network")
            .env("SYSTEMD_NSPAWN_LOCK", "0");
        let process = Process::spawn(&plan.name, &command, &plan.console)?;
        let pid = process.pid();
        self.process = Some(process);
        self.note(EventKind::Started, Some(pid));
        Ok(())
    }

    fn kill(&mut self) -> Result<()> {
        let Some(mut process) = self.process.take() else {
            return Ok(());
        };
        process.kill()?;
        self.note(EventKind::Killed, None);
        Ok(())
    }

    /// Notices the end of the machine, and starts it again if that was a reboot.
    fn look(&mut self) -> Result<()> {
        let Some(process) = &mut self.process else {
            return Ok(());
        };
        let Some(status) = process.try_wait()? else {
            return Ok(());
        };
        self.process = None;
        let kind = kind_of(status);
        self.note(kind, None);
        if kind == EventKind::Rebooted {
            self.start()?;
        }
        Ok(())
    }

    fn note(&self, kind: EventKind, pid: Option<u32>) {
        let mut state = lock(&self.state);
        state.pid = pid;
        state.events.push(Event {
            at: Instant::now(),
            kind,
        });
        drop(state);
        if let Err(error) = append(&self.plan.events, kind) {
            eprintln!("{error:#}");
        }
    }
}

fn kind_of(status: ExitStatus) -> EventKind {
    match status.code() {
        Some(0) => EventKind::PoweredOff,
        Some(REBOOT) => EventKind::Rebooted,
        Some(code) => EventKind::Failed(code),
        None => EventKind::Failed(-1),
    }
}

/// A panic elsewhere leaves the state whole: every change of it is one statement.
fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

fn append(path: &Path, kind: EventKind) -> Result<()> {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_err(|_| anyhow!("the clock is before 1970"))?;
    OpenOptions::new()
        .create(true)
        .append(true)
        .open(path)
        .and_then(|mut file| writeln!(file, "{:.3} {kind:?}", now.as_secs_f64()))
        .with_context(|| format!("failed to write {}", path.display()))
}

/// The name that systemd-nspawn gives to our end of a machine's network cable.
pub(super) fn cable(machine: &str) -> String {
    format!("vb-{machine}")
}

/// Makes the directories of a plan's disk.
pub(super) fn make_disk(directory: &Path) -> Result<()> {
    for name in ["upper", "work", "root"] {
        let path = directory.join(name);
        fs::create_dir_all(&path).with_context(|| format!("failed to make {}", path.display()))?;
    }
    Ok(())
}
