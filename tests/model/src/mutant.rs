//! The protocol with a rule left out: each mutant must be killed, by the property that is named.
//! Rules that the model shows to be covered by others are listed as such, with the mutant that
//! lacks both.

mod of_agent;
mod of_operator;

use crate::configuration::{Account, Case, PLAIN, QUIET, account};
use crate::rules::{Rule, Rules};
use crate::state::Faults;

pub use of_agent::OF_AGENT;
pub use of_operator::OF_OPERATOR;

/// A mutant.
#[derive(Clone, Copy, Debug)]
pub struct Mutant {
    /// What it does wrong.
    pub name: &'static str,
    /// The rules it has.
    pub rules: Rules,
    /// Where it is tried.
    pub case: Case,
    /// What it breaks, by the beginning of the property's name; `None` for a rule that is covered
    /// by others in everything that the model has.
    pub breaks: Option<&'static str>,
}

/// So many states are explored at most: a mutant that needs more is not killed per commit.
const MOST: usize = 3_000_000;

impl Mutant {
    /// Tries it.
    pub fn account(&self) -> Account {
        account(&self.case, self.rules, MOST)
    }
}

const VETO_CRASH: Faults = Faults {
    crashes: 1,
    uncordons: 1,
    ..QUIET
};
const REVOKE: Faults = Faults {
    revokes: 1,
    ..QUIET
};
const BOTH: Faults = Faults {
    crashes: 1,
    revokes: 1,
    ..QUIET
};
const DELETE: Faults = Faults {
    deletions: 1,
    ..QUIET
};
const CORDON: Faults = Faults {
    cordons: 1,
    ..QUIET
};

const fn mutant(name: &'static str, rule: Rule, faults: Faults, breaks: &'static str) -> Mutant {
    let case = Case { faults, ..PLAIN };
    Mutant {
        name,
        rules: Rules::without(rule),
        case,
        breaks: Some(breaks),
    }
}

const fn with_time(mutant: Mutant) -> Mutant {
    Mutant {
        case: Case {
            has_time: true,
            ..mutant.case
        },
        ..mutant
    }
}

const fn lacks_also(mutant: Mutant, rule: Rule) -> Mutant {
    Mutant {
        rules: mutant.rules.and_without(rule),
        ..mutant
    }
}

const fn of_one_node(mutant: Mutant) -> Mutant {
    Mutant {
        case: Case {
            nodes: 1,
            ..mutant.case
        },
        ..mutant
    }
}

const fn by_one(mutant: Mutant) -> Mutant {
    Mutant {
        case: Case {
            operators: 1,
            ..mutant.case
        },
        ..mutant
    }
}

const fn covered(name: &'static str, rule: Rule, faults: Faults) -> Mutant {
    let case = Case { faults, ..PLAIN };
    Mutant {
        name,
        rules: Rules::without(rule),
        case,
        breaks: None,
    }
}
