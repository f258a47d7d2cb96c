//! Agents that lack a rule.

use super::{
    BOTH, CORDON, DELETE, Mutant, QUIET, REVOKE, VETO_CRASH, by_one, covered, lacks_also, mutant,
    of_one_node, with_time,
};
use crate::rules::Rule;
use crate::state::Faults;

/// Every mutant of the agent.
pub const OF_AGENT: &[Mutant] = &[
    mutant(
        "the cordon comes before the accept",
        Rule::AcceptFirst,
        REVOKE,
        "S1b",
    ),
    mutant(
        "the accept carries no version",
        Rule::AcceptVersion,
        REVOKE,
        "S1c",
    ),
    mutant(
        "the cordon carries no version",
        Rule::CordonVersion,
        BOTH,
        "S9",
    ),
    mutant("an undo may change nothing", Rule::UndoChanges, BOTH, "S1b"),
    mutant("the undo carries no version", Rule::UndoVersion, BOTH, "S2"),
    mutant(
        "the commit carries no version",
        Rule::CommitVersion,
        REVOKE,
        "S4",
    ),
    mutant(
        "a call follows a commit that failed",
        Rule::CallNeedsCommit,
        REVOKE,
        "S2",
    ),
    with_time(mutant(
        "a call comes at any time",
        Rule::CallInTime,
        QUIET,
        "S4",
    )),
    mutant(
        "an undo while the call may take effect",
        Rule::UndoWaitsForCall,
        DELETE,
        "S2",
    ),
    mutant(
        "the boot ID is not compared",
        Rule::BootCompared,
        Faults {
            power_cuts: 1,
            ..QUIET
        },
        "S2",
    ),
    of_one_node(mutant(
        "a second boot is not told",
        Rule::SecondBootTold,
        Faults {
            power_cuts: 1,
            ..QUIET
        },
        "L3",
    )),
    covered("the slot is not looked for", Rule::SlotChecked, REVOKE),
    by_one(covered(
        "the lease UID of the slot is not compared",
        Rule::SlotUidChecked,
        DELETE,
    )),
    mutant(
        "the brake is not read at the commit",
        Rule::PauseChecked,
        Faults { pauses: 1, ..QUIET },
        "S4",
    ),
    mutant(
        "the trigger is not read again",
        Rule::TriggerReread,
        Faults { calms: 1, ..QUIET },
        "S7",
    ),
    covered("the journal refuses nothing", Rule::JournalChecked, REVOKE),
    mutant(
        "a human's uncordon is no veto",
        Rule::VetoObeyed,
        Faults {
            uncordons: 1,
            ..QUIET
        },
        "S2",
    ),
    mutant(
        "nobody asks whose cordon it is",
        Rule::OwnerAsked,
        Faults {
            uncordons: 1,
            cordons: 1,
            ..QUIET
        },
        "S3",
    ),
    by_one(covered(
        "a human's earlier cordon is not recorded",
        Rule::BeforeRecorded,
        CORDON,
    )),
    lacks_also(
        mutant(
            "an earlier cordon is neither recorded nor asked for",
            Rule::BeforeRecorded,
            CORDON,
            "S3",
        ),
        Rule::OwnerAsked,
    ),
    with_time(mutant(
        "the age of the second key is not looked at",
        Rule::KeyAgeChecked,
        QUIET,
        "S4",
    )),
    mutant("a revoke is not obeyed", Rule::RevokeObeyed, REVOKE, "S4"),
    covered(
        "an older cordon is overwritten",
        Rule::OlderCordonFirst,
        REVOKE,
    ),
    mutant(
        "a cordon is made again after its undo",
        Rule::UndoneIsFinal,
        VETO_CRASH,
        "S9",
    ),
    covered(
        "an ending is written before its undo",
        Rule::UndoBeforeEnd,
        REVOKE,
    ),
    lacks_also(
        mutant(
            "an ending comes before its undo, and frees",
            Rule::UndoBeforeEnd,
            REVOKE,
            "S1b",
        ),
        Rule::FreeWithoutCordon,
    ),
    covered(
        "Rebooted is written before the undo",
        Rule::UndoBeforeRebooted,
        QUIET,
    ),
    mutant(
        "an agent takes a full node for drained",
        Rule::PodsChecked,
        QUIET,
        "S9",
    ),
];
