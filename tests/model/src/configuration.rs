//! The configurations that are explored, by name.

use crate::explore::explore;
use crate::model::{Configuration, Step};
use crate::rules::Rules;
use crate::state::Faults;

/// How many nodes, what budget, which faults.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    /// What it is called.
    pub name: &'static str,
    /// Two nodes or three.
    pub nodes: u8,
    /// The budget.
    pub allowed: usize,
    /// One operator or two.
    pub operators: u8,
    /// A minute may pass anywhere.
    pub has_time: bool,
    /// Faults.
    pub faults: Faults,
    /// Too large for every commit.
    pub is_nightly: bool,
}

/// No fault.
pub const QUIET: Faults = Faults {
    crashes: 0,
    revokes: 0,
    deletions: 0,
    cordons: 0,
    uncordons: 0,
    pauses: 0,
    power_cuts: 0,
    lost_calls: 0,
    refusals: 0,
    expiries: 0,
    calms: 0,
    in_vain: 0,
};

const PLAIN: Case = Case {
    name: "",
    nodes: 2,
    allowed: 1,
    operators: 2,
    has_time: false,
    faults: QUIET,
    is_nightly: false,
};

/// Every configuration, the small ones first.
pub const CASES: &[Case] = &[
    Case { name: "quiet", ..PLAIN },
    Case { name: "crash-revoke", faults: Faults { crashes: 1, revokes: 1, ..QUIET }, ..PLAIN },
    Case { name: "revoke", faults: Faults { revokes: 1, ..QUIET }, ..PLAIN },
    Case { name: "delete", faults: Faults { deletions: 1, ..QUIET }, ..PLAIN },
    Case { name: "time", has_time: true, ..PLAIN },
    Case { name: "cordon", faults: Faults { cordons: 1, ..QUIET }, ..PLAIN },
    Case { name: "uncordon", faults: Faults { uncordons: 1, ..QUIET }, ..PLAIN },
    Case { name: "power", faults: Faults { power_cuts: 1, ..QUIET }, ..PLAIN },
    Case { name: "pause", faults: Faults { pauses: 1, ..QUIET }, ..PLAIN },
    Case { name: "lost", faults: Faults { lost_calls: 1, refusals: 1, ..QUIET }, ..PLAIN },
    Case { name: "expiry", faults: Faults { expiries: 1, ..QUIET }, ..PLAIN },
    Case { name: "calm", faults: Faults { calms: 1, ..QUIET }, ..PLAIN },
    Case { name: "vain", faults: Faults { in_vain: 1, ..QUIET }, ..PLAIN },
    Case { name: "crash", faults: Faults { crashes: 1, ..QUIET }, ..PLAIN },
    Case { name: "budget-2", allowed: 2, ..PLAIN },
    Case { name: "three", nodes: 3, ..PLAIN },
];


/// What is known after a case was explored.
#[derive(Clone, Debug)]
pub struct Account {
    /// States up to symmetry.
    pub states: usize,
    /// Steps.
    pub steps: usize,
    /// Longest way.
    pub depth: usize,
    /// What does not hold.
    pub verdict: Option<&'static str>,
    /// States from which the goal is out of reach.
    pub stuck: usize,
    /// Goals that were missed.
    pub missed: Vec<&'static str>,
    /// Kinds of steps and how many new states each led to.
    pub kinds: std::collections::BTreeMap<String, usize>,
    /// The way to what does not hold.
    pub trace: Vec<String>,
}

/// Explores a case under these rules.
pub fn account(case: &Case, rules: Rules, most: usize) -> Account {
    match case.nodes {
        3 => account_of::<3>(case, rules, most),
        _ => account_of::<2>(case, rules, most),
    }
}

fn account_of<const N: usize>(case: &Case, rules: Rules, most: usize) -> Account {
    let configuration = Configuration::<N> {
        allowed: case.allowed,
        operators: case.operators,
        faults: case.faults,
        has_time: case.has_time,
        rules,
    };
    let findings = explore(&configuration, most, Step::kind);
    let verdict = findings.verdict();
    let trace = findings
        .broken
        .map(|(_, trace)| trace)
        .or(findings.orphan)
        .or(findings.stuck_at)
        .map_or_else(Vec::new, |(steps, state)| {
            let steps = steps.iter().map(|step| format!("{step:?}"));
            steps.chain([format!("{state:#?}")]).collect()
        });
    Account {
        states: findings.states,
        steps: findings.steps,
        depth: findings.depth,
        verdict,
        stuck: findings.stuck,
        missed: findings.missed,
        kinds: findings.kinds,
        trace,
    }
}
