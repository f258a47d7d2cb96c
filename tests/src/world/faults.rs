//! What goes wrong between programs and the API server (faults.md 4.3).
//!
//! Owns the choice for every request and every watch event; each seed has a mix of its own. Counts
//! what it did, so that a suite can tell that every fault was met.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::Method;
use serde_json::{Value, json};

use super::crash::{Crashes, Moment, run_of};
use super::rng::Rng;
use super::setup::Without;
use super::time::{Clock, Process};
use crate::fake_api::{Act, Answer, Call, Fate, Network, store};

/// The faults of single requests and events.
pub const KINDS: &[&str] = &[
    "unavailable",
    "failed after the write",
    "throttled",
    "throttled with a pause",
    "conflict",
    "lost",
    "answer lost",
    "late",
    "black hole",
    "truncated",
    "slow",
    "denied",
    "no such kind",
    "refused by admission",
    "event lost",
    "event twice",
    "watch lags",
    "date off",
    STOPPED,
];

/// A program is stopped in the middle of a request, and goes on.
const STOPPED: &str = "stopped at a request";
/// How many seconds that lasts; in a sweep the longest.
const STOPPED_FOR: (u64, u64) = (5, 100);

/// Counts what a program was told late because all of its watches stood still.
const BEHIND: &str = "told minutes late";

/// How many requests of a thousand meet one fault, where the seed has it at all.
const RATE: u64 = 12;
/// The same, of being stopped in the middle of it.
const STOPPED_RATE: u64 = 2;

/// The way between programs and server.
pub(super) struct SimulatedNetwork {
    clock: Clock,
    crashes: Crashes,
    state: Mutex<State>,
}

struct State {
    rng: Rng,
    on: bool,
    mix: BTreeSet<&'static str>,
    counts: BTreeMap<&'static str, u64>,
    /// Users whose requests fail until then, and how.
    bad_until: BTreeMap<String, (Duration, &'static str)>,
    date_offset: (Duration, i64),
    /// Programs by their run.
    programs: BTreeMap<String, Arc<Process>>,
    /// Programs whose watches stand still until then.
    behind: BTreeMap<String, Duration>,
    /// Until when admission refuses writes to this resource.
    refused: Option<(Duration, String)>,
}

impl SimulatedNetwork {
    /// The network of a seed, without some of its faults.
    pub(super) fn new(clock: Clock, crashes: Crashes, seed: u64, without: &Without) -> Arc<Self> {
        let mut rng = Rng::new(seed, 1);
        // Each fault in about a third of the seeds.
        // What came later draws from numbers of its own: the seeds without it stay as they were.
        let mut later = Rng::new(seed, 4);
        let chosen = |kind: &&str| {
            let rng = if *kind == STOPPED {
                &mut later
            } else {
                &mut rng
            };
            rng.chance(330)
        };
        let mix: BTreeSet<&'static str> = KINDS.iter().copied().filter(chosen).collect();
        let mix = mix
            .into_iter()
            .filter(|kind| !without.kinds.contains(*kind))
            .collect();
        Arc::new(Self {
            clock,
            crashes,
            state: Mutex::new(State {
                rng,
                on: true,
                mix,
                counts: BTreeMap::new(),
                bad_until: BTreeMap::new(),
                date_offset: (Duration::ZERO, 0),
                programs: BTreeMap::new(),
                behind: BTreeMap::new(),
                refused: None,
            }),
        })
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on everything works.
    pub(super) fn heal(&self) {
        let mut state = self.state();
        state.on = false;
        state.bad_until.clear();
        state.behind.clear();
        state.refused = None;
    }

    /// A program that starts.
    pub(super) fn register(&self, process: &Arc<Process>) {
        let run = process.incarnation.to_string();
        self.state().programs.insert(run, Arc::clone(process));
    }

    /// From now on the watches of a program stand still until then: its caches show the past.
    pub(super) fn delay(&self, program: &str, until: Duration) {
        self.state().behind.insert(program.to_owned(), until);
    }

    /// The faults that may be met.
    pub(super) fn mix(&self) -> BTreeSet<&'static str> {
        self.state().mix.clone()
    }

    /// How often each fault was met.
    pub(super) fn counts(&self) -> BTreeMap<&'static str, u64> {
        self.state().counts.clone()
    }
}

impl State {
    /// Stops whoever sends this, once the request is served: its answer waits with it.
    fn stop(&self, call: &Call, until: Duration) -> Fate {
        if let Some(process) = self.programs.get(run_of(&call.user)) {
            process.pause(until);
        }
        Fate {
            after: Duration::from_millis(1),
            ..Fate::default()
        }
    }

    fn meets(&mut self, kind: &'static str, rate: u64) -> bool {
        let met = self.on && self.mix.contains(kind) && self.rng.chance(rate);
        if met {
            *self.counts.entry(kind).or_default() += 1;
        }
        met
    }

    fn millis(&mut self, low: u64, high: u64) -> Duration {
        Duration::from_millis(self.rng.range(low, high))
    }

    fn act(&mut self, call: &Call, now: Duration) -> Act {
        if let Some((until, kind)) = self.bad_until.get(&call.user).copied() {
            if now < until {
                return refusal(kind, call);
            }
            self.bad_until.remove(&call.user);
        }
        for kind in ["denied", "no such kind"] {
            if self.meets(kind, 2) {
                let until = now + self.millis(1_000, 60_000);
                self.bad_until.insert(call.user.clone(), (until, kind));
                return refusal(kind, call);
            }
        }
        if let Some(act) = self.admission(call, now) {
            return act;
        }
        for kind in ["unavailable", "throttled", "throttled with a pause"] {
            if self.meets(kind, RATE) {
                return refusal(kind, call);
            }
        }
        if call.method != Method::GET && self.meets("conflict", RATE * 2) {
            return refusal("conflict", call);
        }
        if self.meets("lost", RATE) {
            return Act::Lost;
        }
        if self.meets("answer lost", RATE) {
            return Act::AnswerLost;
        }
        if call.method != Method::GET && self.meets("failed after the write", RATE) {
            let message = "the server was unable to return a response in the time allotted";
            return Act::Masked(Answer::failure(504, "Timeout", message, &Value::Null));
        }
        if call.method != Method::GET && self.meets("late", RATE) {
            return Act::Late;
        }
        if self.meets("black hole", RATE) {
            return Act::BlackHole;
        }
        if !call.is_watch() && self.meets("truncated", RATE) {
            return Act::Truncated;
        }
        Act::Serve
    }
}

impl State {
    /// An admission policy refuses every write to one resource for a while.
    fn admission(&mut self, call: &Call, now: Duration) -> Option<Act> {
        if call.method == Method::GET {
            return None;
        }
        let resource = call.kind.resource();
        if let Some((until, refused)) = &self.refused
            && now < *until
        {
            return (*refused == resource).then(|| denied_by_policy(call));
        }
        let elections = resource == "leases.coordination.k8s.io";
        if !elections && self.meets("refused by admission", 4) {
            let until = now + self.millis(1_000, 90_000);
            self.refused = Some((until, resource));
            return Some(denied_by_policy(call));
        }
        None
    }
}

fn denied_by_policy(call: &Call) -> Act {
    let message = format!(
        "{} \"{}\" is forbidden: ValidatingAdmissionPolicy 'someone-elses' denied request",
        call.kind.resource(),
        call.name
    );
    let details = json!({"name": call.name, "kind": call.kind.plural});
    Act::Refuse(Answer::failure(403, "Forbidden", &message, &details))
}

fn refusal(kind: &str, call: &Call) -> Act {
    Act::Refuse(match kind {
        "throttled" => Answer::failure(429, "TooManyRequests", "too many requests", &Value::Null),
        "throttled with a pause" => {
            let details = json!({"retryAfterSeconds": 3});
            Answer::failure(429, "TooManyRequests", "too many requests", &details)
        }
        "conflict" => Answer::modified(call.kind, &call.name),
        "denied" => Answer::failure(403, "Forbidden", "forbidden", &json!({"name": call.name})),
        "no such kind" => Answer::no_such_page(),
        _ => Answer::failure(503, "ServiceUnavailable", "etcd is away", &Value::Null),
    })
}

impl Network for SimulatedNetwork {
    fn fate(&self, call: &Call) -> Fate {
        let now = self.clock.elapsed();
        if self.crashes.is_dead(&call.user) {
            return Fate {
                act: Act::SenderDies,
                ..Fate::default()
            };
        }
        let ends = match self.crashes.write(call) {
            Moment::Passes => None,
            Moment::DiesBefore => Some(Act::SenderDies),
            Moment::DiesAfter => Some(Act::SenderDiesAfter),
            Moment::Stops => {
                let until = now + Duration::from_secs(STOPPED_FOR.1);
                return self.state().stop(call, until);
            }
        };
        if let Some(act) = ends {
            return Fate {
                act,
                ..Fate::default()
            };
        }
        let mut state = self.state();
        let mut fate = Fate {
            before: state.millis(1, 8),
            act: Act::Serve,
            after: state.millis(1, 8),
        };
        fate.act = state.act(call, now);
        if matches!(fate.act, Act::Late) {
            fate.after = state.millis(100, 120_000);
        }
        if matches!(fate.act, Act::Serve) && state.meets(STOPPED, STOPPED_RATE) {
            let (least, most) = STOPPED_FOR;
            let until = now + Duration::from_secs(state.rng.range(least, most));
            return state.stop(call, until);
        }
        if state.meets("slow", RATE) {
            fate.before = state.millis(100, 12_000);
        }
        if state.meets("date off", 3) {
            let until = now + state.millis(1_000, 90_000);
            let offset = i64::try_from(state.rng.range(0, 600)).unwrap_or_default() - 300;
            state.date_offset = (until, offset);
        }
        fate
    }

    fn event_copies(&self, event: &store::Event) -> usize {
        // Pods are a matter of the world's own actors.
        if event.key.resource == "pods" {
            return 1;
        }
        let mut state = self.state();
        if state.meets("event lost", RATE * 2) {
            return 0;
        }
        if state.meets("event twice", RATE * 2) {
            return 2;
        }
        1
    }

    fn event_delay(&self, call: &Call, event: &store::Event) -> Duration {
        let mut state = self.state();
        let program = call.user.split('#').next().unwrap_or_default();
        let behind = state.behind.get(program).copied().unwrap_or_default();
        let now = self.clock.elapsed();
        if behind > now {
            *state.counts.entry(BEHIND).or_default() += 1;
            return behind.saturating_sub(now);
        }
        if event.key.resource == "pods" {
            return Duration::ZERO;
        }
        if state.meets("watch lags", RATE) {
            return state.millis(500, 60_000);
        }
        Duration::ZERO
    }

    fn date_offset(&self) -> i64 {
        let now = self.clock.elapsed();
        let state = self.state();
        let (until, offset) = state.date_offset;
        if state.on && now < until { offset } else { 0 }
    }
}
