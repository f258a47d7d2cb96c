//! Operators that lack a rule.

use super::{
    DELETE, Mutant, QUIET, REVOKE, by_one, covered, lacks_also, mutant, of_one_node, with_time,
};
use crate::rules::Rule;

/// Every mutant of the operator.
pub const OF_OPERATOR: &[Mutant] = &[
    mutant(
        "the ledger is replaced without its version",
        Rule::LedgerVersion,
        QUIET,
        "S1c",
    ),
    mutant(
        "slots are counted in a cache",
        Rule::LimitInLedger,
        QUIET,
        "S1 ",
    ),
    mutant(
        "a grant is repeated after a 409",
        Rule::GrantVersion,
        QUIET,
        "S6",
    ),
    mutant(
        "a slot is repaired by writing the grant",
        Rule::RepairIsVoid,
        REVOKE,
        "L3",
    ),
    mutant(
        "a slot without its grant is left alone",
        Rule::Repair,
        QUIET,
        "L3",
    ),
    mutant(
        "server-side apply of the grant",
        Rule::GrantNeedsLease,
        DELETE,
        "S6",
    ),
    mutant(
        "a missing lease frees its slot",
        Rule::MissingFreesNothing,
        DELETE,
        "S1b",
    ),
    mutant("a timer frees a slot", Rule::TimeFreesNothing, QUIET, "S1c"),
    mutant(
        "a timer ends a committed reboot",
        Rule::TimeEndsNothing,
        QUIET,
        "S2",
    ),
    mutant(
        "a node that is not back frees its slot",
        Rule::NotReadyWaits,
        QUIET,
        "S1b",
    ),
    mutant(
        "a Ready of before the reboot counts",
        Rule::ReadyOfThisBoot,
        QUIET,
        "S1b",
    ),
    mutant(
        "an ending counts for any fence",
        Rule::OverByFence,
        REVOKE,
        "S5",
    ),
    mutant(
        "a slot is removed by the name of its node",
        Rule::FreeExactly,
        REVOKE,
        "S5",
    ),
    covered(
        "a slot is freed under our cordon",
        Rule::FreeWithoutCordon,
        REVOKE,
    ),
    covered(
        "a lease is reopened before its slot is free",
        Rule::ReopenAfterFree,
        REVOKE,
    ),
    by_one(mutant(
        "a lease made anew speaks for the slot",
        Rule::AnswerOwed,
        DELETE,
        "L3",
    )),
    lacks_also(
        mutant("no answer is owed", Rule::AnswerOwed, DELETE, "S5"),
        Rule::RevokeNeedsSpeaker,
    ),
    by_one(mutant(
        "an answer is demanded without the phase",
        Rule::DemandByPhase,
        DELETE,
        "L3",
    )),
    mutant(
        "who demands an answer reads the ledger first",
        Rule::DemandReadsLeaseFirst,
        DELETE,
        "S6",
    ),
    of_one_node(mutant(
        "no answer is demanded of a lease that has ended",
        Rule::DemandReopens,
        DELETE,
        "L3",
    )),
    mutant(
        "a lease made anew is called off unasked",
        Rule::RevokeNeedsSpeaker,
        DELETE,
        "S6",
    ),
    mutant("a commit is called off", Rule::RevokeVersion, REVOKE, "S6"),
    mutant(
        "a snapshot reads the ledger before the leases",
        Rule::LeasesBeforeLedger,
        DELETE,
        "S6",
    ),
    with_time(mutant(
        "the second key is dated by its write",
        Rule::KeyDatedByEvidence,
        QUIET,
        "S4",
    )),
    covered(
        "the second key is given without evidence",
        Rule::KeyNeedsEvidence,
        QUIET,
    ),
    lacks_also(
        mutant(
            "nobody looks at the pods",
            Rule::KeyNeedsEvidence,
            QUIET,
            "S2",
        ),
        Rule::PodsChecked,
    ),
];
