//! Blockers: other systems are asked off the pass's path, and their answers kept with their age.
//!
//! Owns every question to a blocker. Decides nothing: the planner judges answers, and says which
//! policies are worth asking for. The pass never waits for a blocker: it takes what is there, and a
//! new answer that differs wakes the next pass. What is answered appears in a status only as names
//! of alerts and statuses of HTTP.

mod alertmanager;
mod asker;
mod credentials;
mod fetch;
mod http;
mod pods;
mod prometheus;
mod promql;
pub(crate) mod workloads;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use slipway_api::blockers::{BlockerRule, Probe};
use slipway_client::clock;
use slipway_planner::blockers::{Answer, Answered, Answers};
use slipway_planner::limits::{BLOCKER_ANSWER_VALID, BLOCKER_ASKED_AGAIN};
use slipway_planner::{Plan, PolicyView, Snapshot, budget};
use tokio::sync::Notify;

pub use asker::Asker;
pub use fetch::AllowedUrl;

/// UID of the policy and name of the blocker; of what verifies a reboot, as the planner names it.
type Key = (String, String);

/// What is asked and was answered; clones share it.
#[derive(Clone, Debug, Default)]
pub struct Blockers(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    wanted: BTreeMap<Key, BlockerRule>,
    answers: BTreeMap<Key, Kept>,
    /// Asked anew if its answer is older: somebody is drained and waits for it.
    ask_after: BTreeMap<Key, Duration>,
    /// When a node was first seen drained, by node and fence.
    drained: BTreeMap<(String, i64), Duration>,
}

#[derive(Debug)]
struct Kept {
    answered: Answered,
    /// When it was asked, by the clock that nobody sets.
    asked: Duration,
}

/// What blockers have said since a node was seen drained.
#[derive(Debug, Default)]
pub(crate) struct SinceDrained {
    /// The answers; one that is missing is being asked for.
    pub(crate) answers: Answers,
    /// Age of the oldest: the second key rests on it.
    pub(crate) oldest: Option<Duration>,
}

impl SinceDrained {
    /// The evidence for a key, `at` being the API server's time now: as old as the oldest answer,
    /// and every answer dated by that clock. How old they are was measured by one that counts on; by
    /// ours, which may be a minute off, they would seem too old or not yet given.
    pub(crate) fn dated(self, at: Timestamp) -> (Answers, Timestamp) {
        let age = self.oldest.map_or(SignedDuration::ZERO, |age| {
            SignedDuration::try_from(age).unwrap_or(SignedDuration::MAX)
        });
        let at = at.saturating_sub(age).unwrap_or(Timestamp::MIN);
        let mut answers = self.answers;
        for answered in answers.values_mut() {
            answered.at = at;
        }
        (answers, at)
    }
}

impl Blockers {
    /// Nothing asked yet.
    pub fn new() -> Self {
        Self::default()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes up which policies' blockers decide now; the others are not asked any more.
    pub fn want(&self, snapshot: &Snapshot, plan: &Plan) {
        let mut wanted = wanted(&snapshot.policies, &plan.ask);
        let questions = plan.questions.iter();
        wanted.extend(questions.map(|(key, rule)| (key.clone(), rule.clone())));
        let slots = snapshot.ledger.present().map_or(&[][..], budget::slots);
        let mut state = self.state();
        let news = wanted
            .iter()
            .any(|(key, rule)| state.wanted.get(key) != Some(rule));
        state.drained.retain(|(node, fence), _| {
            let held = |slot: &slipway_api::Slot| slot.node == *node && slot.fence == *fence;
            slots.iter().any(held)
        });
        state.ask_after.retain(|key, _| wanted.contains_key(key));
        let now = clock::boottime();
        state
            .answers
            .retain(|key, kept| wanted.contains_key(key) || is_young(kept, now));
        state.wanted = wanted;
        drop(state);
        if news {
            self.0.changed.notify_one();
        }
    }

    /// Every answer there is.
    pub fn answers(&self) -> Answers {
        let state = self.state();
        let each = state.answers.iter();
        each.map(|(key, kept)| (key.clone(), kept.answered.clone()))
            .collect()
    }

    /// What the policy's blockers have said since the node was first seen drained; those that have
    /// not spoken since are asked at once, and the pass is woken when they have.
    pub(crate) fn since_drained(
        &self,
        policy: &PolicyView,
        (node, fence): (&str, i64),
    ) -> SinceDrained {
        let now = clock::boottime();
        let asked = wanted(
            std::slice::from_ref(policy),
            &BTreeSet::from([policy.uid.clone()]),
        );
        let mut guard = self.state();
        let state = &mut *guard;
        let drained = *state.drained.entry((node.to_owned(), fence)).or_insert(now);
        let mut found = SinceDrained::default();
        let mut missing = false;
        for (key, rule) in asked {
            match state.answers.get(&key) {
                Some(kept)
                    if kept.asked >= drained
                        && kept.answered.rule == rule
                        && is_young(kept, now) =>
                {
                    let age = now.saturating_sub(kept.asked);
                    found.oldest = found.oldest.max(Some(age));
                    found.answers.insert(key, kept.answered.clone());
                }
                Some(_) | None => {
                    state.ask_after.insert(key.clone(), drained);
                    state.wanted.insert(key, rule);
                    missing = true;
                }
            }
        }
        drop(guard);
        if missing {
            self.0.changed.notify_one();
        }
        found
    }

    /// What is to be asked now, and when something will be next.
    fn due(&self, busy: &BTreeSet<Key>, now: Duration) -> (Vec<(Key, BlockerRule)>, Duration) {
        let state = self.state();
        let again = Duration::try_from(BLOCKER_ASKED_AGAIN).unwrap_or_default();
        let mut due = Vec::new();
        let mut next = again;
        for (key, rule) in &state.wanted {
            if busy.contains(key) {
                continue;
            }
            let kept = state
                .answers
                .get(key)
                .filter(|kept| kept.answered.rule == *rule);
            let after = state.ask_after.get(key).copied().unwrap_or_default();
            match kept {
                Some(kept) if kept.asked >= after && now < kept.asked + again => {
                    next = next.min((kept.asked + again).saturating_sub(now));
                }
                Some(_) | None => due.push((key.clone(), rule.clone())),
            }
        }
        (due, next)
    }

    /// Takes an answer in; true when a pass should look at it.
    fn take(&self, key: Key, answered: Answered, asked: Duration) -> bool {
        let now = clock::boottime();
        let mut state = self.state();
        let awaited = state
            .ask_after
            .get(&key)
            .is_some_and(|after| asked >= *after);
        if awaited {
            state.ask_after.remove(&key);
        }
        let before = state.answers.get(&key).filter(|kept| is_young(kept, now));
        let same = before.is_some_and(|kept| {
            (&kept.answered.answer, &kept.answered.rule) == (&answered.answer, &answered.rule)
        });
        state.answers.insert(key, Kept { answered, asked });
        awaited || !same
    }
}

fn is_young(kept: &Kept, now: Duration) -> bool {
    let valid = Duration::try_from(BLOCKER_ANSWER_VALID).unwrap_or_default();
    now.saturating_sub(kept.asked) <= valid
}

fn wanted(policies: &[PolicyView], ask: &BTreeSet<String>) -> BTreeMap<Key, BlockerRule> {
    let mut wanted = BTreeMap::new();
    for policy in policies.iter().filter(|policy| ask.contains(&policy.uid)) {
        for rule in policy.parsed.iter().flat_map(|parsed| &parsed.blockers) {
            // Nodes are watched already.
            if !matches!(rule.probe, Probe::Nodes { .. }) {
                wanted.insert((policy.uid.clone(), rule.name.clone()), rule.clone());
            }
        }
    }
    wanted
}

/// Why there is no answer, as a sentence without anything of what was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Trouble(pub(crate) String);

impl Trouble {
    fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

/// An answer that was given just now.
fn answered(rule: BlockerRule, answer: Result<Answer, Trouble>, at: Timestamp) -> Answered {
    let answer = answer.unwrap_or_else(|Trouble(message)| Answer::Failed { message });
    Answered { rule, answer, at }
}

#[cfg(test)]
#[path = "blockers/tests.rs"]
mod tests;
