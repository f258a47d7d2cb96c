//! Deaths of programs: who is dead, and where one is to die.
//!
//! Owns the numbering of *sites*: every write of our programs to the API server but for elections and
//! Events, and every reboot call, in the order in which they come. A run without a plan counts them;
//! a run with one ends the program at the site, before or after it has an effect.
//! A write to the journal lies between two sites, so the crashes around those are the crashes around it.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::Method;

use crate::fake_api::Call;

/// What happens to a program at a site.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Side {
    /// It ends before the effect.
    Before,
    /// It ends after the effect.
    After,
    /// It is stopped after the effect, for longer than anything it rests on is good for, and goes on.
    /// A reboot call stops nobody.
    Stopped,
}

/// Where a program ends, or is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Crash {
    /// The number of the site.
    pub site: usize,
    /// What happens there.
    pub side: Side,
}

/// What happens at a site.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Moment {
    /// Nothing.
    Passes,
    /// The program ends before the effect.
    DiesBefore,
    /// The program ends after the effect.
    DiesAfter,
    /// The program is stopped after the effect.
    Stops,
}

#[derive(Default)]
struct State {
    plan: Vec<Crash>,
    sites: Vec<String>,
    dead: BTreeSet<String>,
}

/// The deaths of one history.
#[derive(Clone, Default)]
pub(super) struct Crashes(Arc<Mutex<State>>);

impl Crashes {
    /// With this plan; empty for none.
    pub(super) fn new(plan: &[Crash]) -> Self {
        let state = State {
            plan: plan.to_vec(),
            ..State::default()
        };
        Self(Arc::new(Mutex::new(state)))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The sites so far.
    pub(super) fn sites(&self) -> Vec<String> {
        self.state().sites.clone()
    }

    /// Nothing comes from this sender any more.
    pub(super) fn kill(&self, user: &str) {
        self.state().dead.insert(run_of(user).to_owned());
    }

    /// True when nothing may come from this sender.
    pub(super) fn is_dead(&self, user: &str) -> bool {
        self.state().dead.contains(run_of(user))
    }

    /// A request of a program, if it is a site.
    pub(super) fn write(&self, call: &Call) -> Moment {
        let resource = call.kind.resource();
        let ours = ["agent:", "operator:", "system:node:"]
            .iter()
            .any(|kind| call.user.starts_with(kind));
        let counts = ours
            && call.method != Method::GET
            && call.param("dryRun").is_empty()
            && resource != "leases.coordination.k8s.io"
            && resource != "events.events.k8s.io";
        if !counts {
            return Moment::Passes;
        }
        let who = call.user.split('#').next().unwrap_or_default();
        let place = format!("{} {resource}/{}", call.method, call.name);
        self.pass(&call.user, format!("{who}: {place} {}", call.subresource))
    }

    /// A site is reached.
    pub(super) fn pass(&self, user: &str, label: String) -> Moment {
        let mut state = self.state();
        let site = state.sites.len();
        state.sites.push(label);
        let Some(crash) = state.plan.iter().find(|crash| crash.site == site).copied() else {
            return Moment::Passes;
        };
        let moment = match crash.side {
            Side::Before => Moment::DiesBefore,
            Side::After => Moment::DiesAfter,
            Side::Stopped => return Moment::Stops,
        };
        state.dead.insert(run_of(user).to_owned());
        moment
    }
}

/// One run of a program has one number, whomever it speaks for.
pub(super) fn run_of(user: &str) -> &str {
    user.split_once('#').map_or(user, |(_, run)| run)
}
