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
    /// One node to three.
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

/// Two nodes, one at a time, two operators, no fault.
pub const PLAIN: Case = Case {
    name: "",
    nodes: 2,
    allowed: 1,
    operators: 2,
    has_time: false,
    faults: QUIET,
    is_nightly: false,
};

const NIGHTLY: Case = Case {
    is_nightly: true,
    ..PLAIN
};
const REVOKE: Faults = Faults {
    revokes: 1,
    ..QUIET
};
const BOTH: Faults = Faults {
    crashes: 1,
    ..REVOKE
};
const DELETE: Faults = Faults {
    deletions: 1,
    ..QUIET
};

const REVOKE_DELETE: Faults = Faults {
    deletions: 1,
    ..REVOKE
};
const HUMAN: Faults = Faults {
    cordons: 1,
    uncordons: 1,
    ..QUIET
};
const MACHINE: Faults = Faults {
    lost_calls: 1,
    refusals: 1,
    power_cuts: 1,
    in_vain: 1,
    crashes: 1,
    ..QUIET
};

/// Every configuration.
pub const CASES: &[Case] = &[
    Case {
        name: "1 node, crash, revoke, lease deleted",
        nodes: 1,
        faults: Faults {
            crashes: 1,
            ..REVOKE_DELETE
        },
        ..PLAIN
    },
    Case {
        name: "1 node, time, crash, revoke, human",
        nodes: 1,
        has_time: true,
        faults: Faults {
            crashes: 1,
            revokes: 1,
            ..HUMAN
        },
        ..PLAIN
    },
    Case {
        name: "1 node, time, every fault of machines",
        nodes: 1,
        has_time: true,
        faults: MACHINE,
        ..PLAIN
    },
    Case {
        name: "1 node, lease deleted, machine, paused",
        nodes: 1,
        faults: Faults {
            lost_calls: 1,
            power_cuts: 1,
            pauses: 1,
            ..DELETE
        },
        ..PLAIN
    },
    Case {
        name: "2 nodes, budget 1, quiet",
        ..PLAIN
    },
    Case {
        name: "2 nodes, budget 1, crash and revoke",
        faults: BOTH,
        ..PLAIN
    },
    Case {
        name: "2 nodes, budget 1, lease deleted",
        faults: DELETE,
        ..PLAIN
    },
    Case {
        name: "2 nodes, budget 1, time",
        has_time: true,
        ..PLAIN
    },
    Case {
        name: "2 nodes, budget 1, human cordons, 1 operator",
        operators: 1,
        faults: Faults {
            cordons: 1,
            ..QUIET
        },
        ..PLAIN
    },
    Case {
        name: "2 nodes, budget 1, human vetoes",
        faults: Faults {
            uncordons: 1,
            ..QUIET
        },
        ..PLAIN
    },
    Case {
        name: "2 nodes, budget 1, power cut",
        faults: Faults {
            power_cuts: 1,
            ..QUIET
        },
        ..PLAIN
    },
    Case {
        name: "2 nodes, budget 1, paused",
        faults: Faults { pauses: 1, ..QUIET },
        ..PLAIN
    },
    Case {
        name: "2 nodes, budget 1, call lost or refused",
        faults: Faults {
            lost_calls: 1,
            refusals: 1,
            ..QUIET
        },
        ..PLAIN
    },
    Case {
        name: "2 nodes, budget 1, grant expires",
        faults: Faults {
            expiries: 1,
            ..QUIET
        },
        ..PLAIN
    },
    Case {
        name: "2 nodes, budget 1, need goes",
        faults: Faults { calms: 1, ..QUIET },
        ..PLAIN
    },
    Case {
        name: "2 nodes, budget 1, reboot in vain",
        faults: Faults {
            in_vain: 1,
            ..QUIET
        },
        ..PLAIN
    },
    Case {
        name: "2 nodes, budget 2, quiet",
        allowed: 2,
        ..PLAIN
    },
    Case {
        name: "2 nodes, budget 2, revoke, 1 operator",
        allowed: 2,
        operators: 1,
        faults: REVOKE,
        ..PLAIN
    },
    Case {
        name: "3 nodes, budget 1, quiet",
        nodes: 3,
        ..PLAIN
    },
    Case {
        name: "3 nodes, budget 1, revoke, 1 operator",
        nodes: 3,
        operators: 1,
        faults: REVOKE,
        ..PLAIN
    },
    Case {
        name: "3 nodes, budget 2, quiet, 1 operator",
        nodes: 3,
        allowed: 2,
        operators: 1,
        ..PLAIN
    },
    Case {
        name: "2 nodes, budget 1, human cordons",
        faults: Faults {
            cordons: 1,
            ..QUIET
        },
        ..NIGHTLY
    },
    Case {
        name: "2 nodes, budget 2, crash and revoke",
        allowed: 2,
        faults: BOTH,
        ..NIGHTLY
    },
    Case {
        name: "2 nodes, budget 2, lease deleted",
        allowed: 2,
        faults: DELETE,
        ..NIGHTLY
    },
    Case {
        name: "2 nodes, budget 1, crash and lease deleted",
        faults: Faults {
            crashes: 1,
            ..DELETE
        },
        ..NIGHTLY
    },
    Case {
        name: "2 nodes, budget 1, time, crash and revoke",
        has_time: true,
        faults: BOTH,
        ..NIGHTLY
    },
    Case {
        name: "3 nodes, budget 1, revoke",
        nodes: 3,
        faults: REVOKE,
        ..NIGHTLY
    },
    Case {
        name: "3 nodes, budget 2, quiet",
        nodes: 3,
        allowed: 2,
        ..NIGHTLY
    },
    Case {
        name: "2 nodes, budget 1, crash, revoke, lease deleted, human, 1 operator",
        operators: 1,
        faults: Faults {
            crashes: 1,
            revokes: 1,
            deletions: 1,
            cordons: 1,
            uncordons: 1,
            ..QUIET
        },
        ..NIGHTLY
    },
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
        1 => account_of::<1>(case, rules, most),
        3 => account_of::<3>(case, rules, most),
        _ => account_of::<2>(case, rules, most),
    }
}

/// The model of a case.
pub fn configuration<const N: usize>(case: &Case, rules: Rules) -> Configuration<N> {
    Configuration {
        allowed: case.allowed,
        operators: case.operators,
        faults: case.faults,
        has_time: case.has_time,
        rules,
    }
}

fn account_of<const N: usize>(case: &Case, rules: Rules, most: usize) -> Account {
    let configuration = configuration::<N>(case, rules);
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
