//! Simulated machines: a boot ID, sentinel files, and what a reboot call leads to.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use slipway_api::policy::RebootMethod;
use slipway_node_agent::Host;
use slipway_node_agent::host::{HostError, Offer, RebootError};
use tokio::sync::watch;

use super::crash::{Crashes, Moment};
use super::time::Clock;
use crate::fake_api::service::end_sender;

/// The agent's journal, below a machine's directory.
pub(super) const JOURNAL: &str = "state/journal.json";

/// What the machine does with the next reboot call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Manner {
    /// It goes down, and the sentinel is gone afterwards.
    #[default]
    Good,
    /// It goes down, and the sentinel stays.
    Ineffective,
    /// It refuses.
    Refuses,
    /// It gives no clear answer, and goes down.
    UnclearAndDown,
    /// It gives no clear answer, and stays up.
    UnclearAndUp,
    /// It accepts, and goes down late.
    Late,
    /// It accepts, and never goes down.
    Forgets,
}

impl Manner {
    /// Every manner.
    pub(super) const ALL: [Self; 7] = [
        Self::Good,
        Self::Ineffective,
        Self::Refuses,
        Self::UnclearAndDown,
        Self::UnclearAndUp,
        Self::Late,
        Self::Forgets,
    ];
}

/// Power of a machine, and what comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Power {
    /// It runs.
    Up,
    /// It is on its way down, which takes until then.
    Ending(Duration),
    /// It is off or booting until then.
    Down(Duration),
}

/// One machine.
#[derive(Debug)]
pub(super) struct Machine {
    /// ID of the present boot.
    pub(super) boot_id: String,
    /// How often it was booted.
    pub(super) boots: u64,
    /// Whether it runs.
    pub(super) power: Power,
    /// Whether it was our call that took it down, and the fence of it.
    pub(super) by_us: bool,
    /// What it does with the next call.
    pub(super) manner: Manner,
    /// Directory of its sentinel and journal.
    pub(super) directory: PathBuf,
    /// How long it takes to go down.
    pub(super) ends_in: Duration,
    /// How long it takes to boot.
    pub(super) boots_in: Duration,
    /// From when on its kubelet runs.
    pub(super) kubelet_from: Duration,
}

impl Machine {
    /// The file that asks for a reboot.
    pub(super) fn sentinel(&self) -> PathBuf {
        self.directory.join("reboot-required")
    }

    /// True when the file is there.
    pub(super) fn needs_reboot(&self) -> bool {
        self.sentinel().exists()
    }
}

/// Told of every reboot call before it has an effect.
pub(super) type OnCall = Box<dyn Fn(&str, &Machine) + Send + Sync>;

/// All machines by name.
#[derive(Clone)]
pub(super) struct Machines {
    all: Arc<Mutex<BTreeMap<String, Machine>>>,
    /// Changes with every file of a machine that an agent looks at.
    pub(super) files: watch::Sender<u64>,
    on_call: Arc<OnCall>,
    clock: Clock,
    crashes: Crashes,
}

impl Machines {
    /// None yet.
    pub(super) fn new(clock: Clock, crashes: Crashes, on_call: OnCall) -> Self {
        Self {
            all: Arc::default(),
            files: watch::Sender::default(),
            on_call: Arc::new(on_call),
            clock,
            crashes,
        }
    }

    /// Every machine, to look at and to change.
    pub(super) fn all(&self) -> MutexGuard<'_, BTreeMap<String, Machine>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The machine as this run of its agent sees it.
    pub(super) fn host(&self, name: &str, user: &str) -> Arc<dyn Host> {
        Arc::new(SimulatedHost {
            machines: self.clone(),
            name: name.to_owned(),
            user: user.to_owned(),
        })
    }

    fn called(&self, name: &str) -> Result<(), RebootError> {
        let now = self.clock.elapsed();
        let mut all = self.all();
        let Some(machine) = all.get_mut(name) else {
            return Ok(());
        };
        (self.on_call)(name, machine);
        let refused = || RebootError::Refused {
            reason: "operation inhibited".to_owned(),
            blockers: vec!["backup".to_owned()],
        };
        let unclear = || RebootError::Unclear {
            reason: "no reply".to_owned(),
        };
        let (down_in, answer) = match machine.manner {
            Manner::Good | Manner::Ineffective => (Some(machine.ends_in), Ok(())),
            Manner::Late => (Some(machine.ends_in * 10), Ok(())),
            Manner::Refuses => (None, Err(refused())),
            Manner::UnclearAndDown => (Some(machine.ends_in), Err(unclear())),
            Manner::UnclearAndUp => (None, Err(unclear())),
            Manner::Forgets => (None, Ok(())),
        };
        if let (Some(down_in), Power::Up) = (down_in, machine.power) {
            machine.power = Power::Ending(now + down_in);
            machine.by_us = true;
        }
        answer
    }
}

struct SimulatedHost {
    machines: Machines,
    name: String,
    user: String,
}

impl Host for SimulatedHost {
    fn boot_id(&self) -> BoxFuture<'_, Result<String, HostError>> {
        let all = self.machines.all();
        let boot_id = all.get(&self.name).map(|machine| machine.boot_id.clone());
        let answer = boot_id.ok_or_else(|| HostError {
            what: "read the boot ID",
            reason: "no such machine".to_owned(),
        });
        futures::future::ready(answer).boxed()
    }

    fn offer<'a>(&'a self, _: &'a RebootMethod) -> BoxFuture<'a, Offer> {
        futures::future::ready(Offer::by(RebootMethod::Logind)).boxed()
    }

    fn reboot<'a>(&'a self, _: &'a RebootMethod) -> BoxFuture<'a, Result<(), RebootError>> {
        async {
            let crashes = &self.machines.crashes;
            if crashes.is_dead(&self.user) {
                end_sender();
            }
            let site = format!("agent:{}: reboot call", self.name);
            let moment = crashes.pass(&self.user, site);
            if moment == Moment::DiesBefore {
                end_sender();
            }
            let answer = self.machines.called(&self.name);
            if moment == Moment::DiesAfter {
                end_sender();
            }
            answer
        }
        .boxed()
    }

    fn shutdown_pending(&self) -> BoxFuture<'_, Result<bool, HostError>> {
        let all = self.machines.all();
        let ending = all
            .get(&self.name)
            .is_some_and(|machine| matches!(machine.power, Power::Ending(_)));
        futures::future::ready(Ok(ending)).boxed()
    }
}
