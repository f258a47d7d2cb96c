//! What goes wrong between programs and the API server (faults.md 4.3).
//!
//! Owns the choice for every request and every watch event; each seed has a mix of its own. Counts
//! what it did, so that a suite can tell that every fault was met.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::Method;
use serde_json::{Value, json};

use super::rng::Rng;
use super::time::Clock;
use crate::fake_api::{Act, Answer, Call, Fate, Network, store};

/// The faults of single requests and events.
pub const KINDS: &[&str] = &[
    "unavailable",
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
    "event lost",
    "event twice",
    "date off",
];

/// How many requests of a thousand meet one fault, where the seed has it at all.
const RATE: u64 = 12;

/// The way between programs and server.
pub(super) struct SimulatedNetwork {
    clock: Clock,
    state: Mutex<State>,
}

struct State {
    rng: Rng,
    on: bool,
    mix: BTreeSet<&'static str>,
    counts: BTreeMap<&'static str, u64>,
    /// Users that nothing comes from any more.
    dead: BTreeSet<String>,
    /// Users whose requests fail until then, and how.
    bad_until: BTreeMap<String, (Duration, &'static str)>,
    date_offset: (Duration, i64),
}

impl SimulatedNetwork {
    /// The network of a seed.
    pub(super) fn new(clock: Clock, seed: u64) -> Arc<Self> {
        let mut rng = Rng::new(seed, 1);
        // Each fault in about a third of the seeds.
        let mix = KINDS.iter().copied().filter(|_| rng.chance(330)).collect();
        Arc::new(Self {
            clock,
            state: Mutex::new(State {
                rng,
                on: true,
                mix,
                counts: BTreeMap::new(),
                dead: BTreeSet::new(),
                bad_until: BTreeMap::new(),
                date_offset: (Duration::ZERO, 0),
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
    }

    /// Nothing comes from these requests' sender any more.
    pub(super) fn kill(&self, run: &str) {
        self.state().dead.insert(run.to_owned());
    }

    /// How often each fault was met.
    pub(super) fn counts(&self) -> BTreeMap<&'static str, u64> {
        self.state().counts.clone()
    }
}

impl State {
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
        let mut state = self.state();
        if state.dead.contains(&call.user) {
            return Fate {
                act: Act::BlackHole,
                ..Fate::default()
            };
        }
        let mut fate = Fate {
            before: state.millis(1, 8),
            act: Act::Serve,
            after: state.millis(1, 8),
        };
        fate.act = state.act(call, now);
        if matches!(fate.act, Act::Late) {
            fate.after = state.millis(100, 120_000);
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

    fn date_offset(&self) -> i64 {
        let now = self.clock.elapsed();
        let state = self.state();
        let (until, offset) = state.date_offset;
        if state.on && now < until { offset } else { 0 }
    }
}
