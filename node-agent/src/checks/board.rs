//! What the checks say, and when that may be believed: readings in, a need out.
//!
//! Pure: no clock, no host, no log. A change counts once two readings, a while apart, agree
//! (faults.md F15); a check that errs is Unknown, which is neither a need nor the lack of one.
//! Filled by the loop of [`super::run`], read by the agent's passes.

#![deny(clippy::wildcard_enum_match_arm)]

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use slipway_api::checks::{
    CHECKS_MAX, COMMAND_PREFIX, CheckState, CheckStatus, DETAIL_MAX, EVERY, NAME_MAX,
    NODE_CONDITION, PACKAGES,
};
use slipway_api::policy::Triggers;

use crate::facts::Need;

/// How many readings in a row may disagree before a check is known to give no answer. Two are a
/// change that is coming; with more allowed, one that flaps would keep its last answer for long.
pub const DISAGREE_MAX: u8 = 5;

/// What one look at the host has shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reading {
    /// What follows from it.
    pub state: CheckState,
    /// Why, in words that stay the same while it does.
    pub detail: String,
}

impl Reading {
    /// The host asks for a reboot.
    pub fn required(detail: impl Into<String>) -> Self {
        Self::of(CheckState::Required, detail)
    }

    /// The host does not ask.
    pub fn not_required(detail: impl Into<String>) -> Self {
        Self::of(CheckState::NotRequired, detail)
    }

    /// There is no answer, for this reason.
    pub fn unknown(reason: impl Into<String>) -> Self {
        Self::of(CheckState::Unknown, reason)
    }

    /// What is on a host may be anybody's words: they are cut, and must not draw on a terminal.
    fn of(state: CheckState, detail: impl Into<String>) -> Self {
        let shown = |c: char| if c.is_control() { ' ' } else { c };
        let detail = detail.into().chars().take(DETAIL_MAX).map(shown).collect();
        Self { state, detail }
    }
}

/// What a look at the host gives: `None` where the check does not apply.
pub type Look = Option<Reading>;

/// What a check says, once it can be believed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Answer {
    /// It has not answered yet.
    #[default]
    Settling,
    /// The host has nothing that it could look at.
    Absent,
    /// This.
    Settled(Reading),
}

impl Answer {
    fn of(look: Look) -> Self {
        look.map_or(Self::Absent, Self::Settled)
    }

    /// True when both lead to the same, whatever their words.
    fn agrees(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Settled(one), Self::Settled(two)) => one.state == two.state,
            (Self::Settling, Self::Settling) | (Self::Absent, Self::Absent) => true,
            (Self::Settling | Self::Absent | Self::Settled(_), _) => false,
        }
    }

    fn state(&self) -> Option<CheckState> {
        match self {
            Self::Settled(reading) => Some(reading.state),
            Self::Settling | Self::Absent => None,
        }
    }
}

/// What to do after a look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Look again shortly: this look differs from what is settled.
    Again,
    /// Rest until something changes.
    Rest,
}

/// Settles the looks of one check.
#[derive(Debug, Default)]
pub struct Settler {
    settled: Answer,
    candidate: Option<Answer>,
    disagreed: u8,
}

impl Settler {
    /// Takes a look into account.
    pub fn look(&mut self, look: Look) -> Next {
        let answer = match (look, &self.settled) {
            // What applied a moment ago and is gone may be a mount that was lost: no news is not
            // good news. A new process learns anew what applies.
            (None, Answer::Settled(_)) => {
                Answer::Settled(Reading::unknown("what this check looks at is gone"))
            }
            (look, _) => Answer::of(look),
        };
        let before = self.candidate.take();
        if answer.agrees(&self.settled) || before.is_some_and(|before| before.agrees(&answer)) {
            self.settled = answer;
            self.disagreed = 0;
            return Next::Rest;
        }
        self.disagreed = self.disagreed.saturating_add(1);
        if self.disagreed >= DISAGREE_MAX {
            let text = format!("{DISAGREE_MAX} readings in a row disagree");
            self.settled = Answer::Settled(Reading::unknown(text));
            self.disagreed = 0;
            return Next::Rest;
        }
        self.candidate = Some(answer);
        Next::Again
    }

    /// What is settled.
    pub fn settled(&self) -> &Answer {
        &self.settled
    }
}

/// What all checks of the host say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Board {
    answers: BTreeMap<String, Answer>,
}

impl Board {
    /// A board on which none of these checks has answered.
    pub fn settling<'a>(names: impl IntoIterator<Item = &'a str>) -> Self {
        let blank = |name: &str| (name.to_owned(), Answer::Settling);
        Self {
            answers: names.into_iter().take(CHECKS_MAX).map(blank).collect(),
        }
    }

    /// The same with a doubt for each check that is counted by its name and that this agent was not
    /// given: what nobody looks at must not pass for "not required".
    #[must_use]
    pub fn with_missing(&self, triggers: &Triggers) -> Self {
        let mut board = self.clone();
        for name in triggers.checks.iter().filter(|name| *name != EVERY) {
            if board.answers.len() >= CHECKS_MAX {
                break;
            }
            let missing = || Answer::Settled(Reading::unknown(not_installed(name)));
            board.answers.entry(name.clone()).or_insert_with(missing);
        }
        board
    }

    /// Notes what a check says; true when that is news.
    pub fn note(&mut self, name: &str, answer: &Answer) -> bool {
        match self.answers.get_mut(name) {
            Some(present) if present != answer => {
                *present = answer.clone();
                true
            }
            Some(_) | None => false,
        }
    }

    /// True once every check has answered: before, nothing may be concluded.
    pub fn is_settled(&self) -> bool {
        !self
            .answers
            .values()
            .any(|answer| *answer == Answer::Settling)
    }

    /// Every check that applies, by name.
    pub fn readings(&self) -> impl Iterator<Item = (&str, &Reading)> {
        self.answers
            .iter()
            .filter_map(|(name, answer)| match answer {
                Answer::Settled(reading) => Some((name.as_str(), reading)),
                Answer::Settling | Answer::Absent => None,
            })
    }

    /// Those of one state.
    pub fn of_state(&self, state: CheckState) -> impl Iterator<Item = (&str, &Reading)> {
        self.readings()
            .filter(move |(_, reading)| reading.state == state)
    }

    /// What follows from the checks that count. One that asks is enough, and one without an answer
    /// is a doubt that no other's "no" dispels.
    pub fn need(&self, triggers: &Triggers, up: Duration) -> Need {
        // Asked of the machine itself: no check, and no clock that somebody could set.
        let old = triggers.max_uptime.is_some_and(|most| up >= most.0);
        if !self.is_settled() {
            return Need::Settling;
        }
        let counted = self
            .answers
            .iter()
            .filter(|(name, _)| triggers.counts(name));
        let states: Vec<CheckState> = counted.filter_map(|(_, answer)| answer.state()).collect();
        if old || states.contains(&CheckState::Required) {
            Need::Required
        } else if states.contains(&CheckState::Unknown) {
            Need::Unknown
        } else {
            Need::NotRequired
        }
    }

    /// What the lease should say of the checks instead of `present`, if they differ. "Since" is kept
    /// while a check says the same.
    pub fn statuses(&self, present: &[CheckStatus], now: Timestamp) -> Option<Vec<CheckStatus>> {
        if !self.is_settled() {
            return None;
        }
        let status = |(name, reading): (&str, &Reading)| {
            let name: String = name.chars().take(NAME_MAX).collect();
            let before = present.iter().find(|one| one.name == name);
            let kept = before.filter(|one| one.state == reading.state);
            CheckStatus {
                since: kept.map_or_else(|| Time(whole_seconds(now)), |one| one.since.clone()),
                name,
                state: reading.state,
                detail: reading.detail.clone(),
            }
        };
        let statuses: Vec<CheckStatus> = self.readings().map(status).collect();
        (statuses != present).then_some(statuses)
    }
}

/// How to give the agent what it lacks.
fn not_installed(name: &str) -> String {
    let what = match name {
        PACKAGES => "set agent.checks.packages of the chart".to_owned(),
        NODE_CONDITION => "name conditions in agent.checks.nodeConditions of the chart".to_owned(),
        _ => match name.strip_prefix(COMMAND_PREFIX) {
            Some(command) => format!("add {command} to agent.checks.commands of the chart"),
            None => "update the agent".to_owned(),
        },
    };
    format!("this agent does not have it: {what}, or take it out of the policy's triggers.checks")
}

/// As the API server keeps it: else a status would differ from itself once it was read back.
fn whole_seconds(at: Timestamp) -> Timestamp {
    Timestamp::from_second(at.as_second()).unwrap_or(at)
}

#[cfg(test)]
#[path = "board_tests.rs"]
mod tests;
