//! The rules of the protocol as switches: a mutant is the protocol without one of them.

/// A rule that a mutant leaves out or weakens. The names are those of the good protocol.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Rule {
    /// G1: the ledger is replaced with the version that was read.
    LedgerVersion,
    /// G1: the budget is counted in the very ledger that is replaced.
    LimitInLedger,
    /// G2: a grant is written with the version read before the append; a 409 is final.
    GrantVersion,
    /// G2: a grant is never written by server-side apply, which makes missing leases.
    GrantNeedsLease,
    /// G3, Q4: a slot without its grant is voided, never granted late.
    RepairIsVoid,
    /// G3: a slot without its grant is repaired at all.
    Repair,
    /// G3: a missing lease frees nothing.
    MissingFreesNothing,
    /// S5: no timer frees a slot.
    TimeFreesNothing,
    /// No timer ends a committed reboot.
    TimeEndsNothing,
    /// Q2: a node that is not back keeps its slot.
    NotReadyWaits,
    /// F12: Ready counts only with the boot ID of after the reboot.
    ReadyOfThisBoot,
    /// G4: an ending counts only for its own fence.
    OverByFence,
    /// G4: a slot is removed by its exact fence.
    FreeExactly,
    /// S5: no slot is freed under a cordon of ours.
    FreeWithoutCordon,
    /// G4: a lease is reopened only when its slot is gone.
    ReopenAfterFree,
    /// Q1: a lease made anew owes an answer before it speaks for a slot.
    AnswerOwed,
    /// Q1: the answer is demanded by the phase Draining, before the revoke.
    DemandByPhase,
    /// Q1: who demands an answer reads the lease before the ledger.
    DemandReadsLeaseFirst,
    /// Q1: an answer can be demanded of a lease that has ended.
    DemandReopens,
    /// Q1: no lease made anew is called off before it was asked.
    RevokeNeedsSpeaker,
    /// A revoke is a compare-and-swap: a commit that was faster stands.
    RevokeVersion,
    /// A snapshot reads the leases before the ledger.
    LeasesBeforeLedger,
    /// Q5: the second key is dated by its evidence, not by its write.
    KeyDatedByEvidence,
    /// G8: the second key is given on evidence at all: drained, cordoned, not paused.
    KeyNeedsEvidence,
    /// G5: accept before the node is touched.
    AcceptFirst,
    /// G5: the accept carries the version of the lease.
    AcceptVersion,
    /// The cordon carries the version of the Node.
    CordonVersion,
    /// Q3: every undo changes something.
    UndoChanges,
    /// The undo carries the version of the Node.
    UndoVersion,
    /// G5: the commit carries the version of the lease that was read first.
    CommitVersion,
    /// A commit whose write is not known to have landed is followed by no call.
    CallNeedsCommit,
    /// S4: the call follows within 60 s.
    CallInTime,
    /// G6: no undo while a reboot call may take effect.
    UndoWaitsForCall,
    /// Boot ID decides: one that changes again before the operator has verified is told again, or
    /// the operator waits for ever for a boot that is gone.
    SecondBootTold,
    /// Q13: the boot ID is compared.
    BootCompared,
    /// G5: accept and commit look for the slot.
    SlotChecked,
    /// Q1: accept and commit compare the slot's lease UID.
    SlotUidChecked,
    /// S4: the commit looks at the ledger's brake.
    PauseChecked,
    /// S7: the trigger is read again at accept and commit.
    TriggerReread,
    /// G9: the journal refuses fences that it has committed.
    JournalChecked,
    /// F64: a human's uncordon is a veto.
    VetoObeyed,
    /// Q15: `managedFields` says whose cordon it is.
    OwnerAsked,
    /// F62: what was there before is recorded with the cordon.
    BeforeRecorded,
    /// S4: the age of the second key is looked at.
    KeyAgeChecked,
    /// The agent obeys a revoke.
    RevokeObeyed,
    /// A cordon of an older fence is undone first, its record never overwritten.
    OlderCordonFirst,
    /// A cordon whose undo is on the Node is never made again.
    UndoneIsFinal,
    /// An ending is written after its undo.
    UndoBeforeEnd,
    /// Rebooted is written after the undo.
    UndoBeforeRebooted,
    /// S2: the commit needs an empty node.
    PodsChecked,
}

/// Which rules hold: all but at most two.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Rules {
    off: [Option<Rule>; 2],
}

impl Rules {
    /// Every rule.
    pub const ALL: Self = Self { off: [None, None] };

    /// Every rule but one.
    pub const fn without(rule: Rule) -> Self {
        Self {
            off: [Some(rule), None],
        }
    }

    /// The same without one more, where one alone is covered by the other.
    #[must_use]
    pub const fn and_without(self, rule: Rule) -> Self {
        let [first, _] = self.off;
        Self {
            off: [first, Some(rule)],
        }
    }

    /// True when the rule holds.
    pub fn hold(self, rule: Rule) -> bool {
        !self.off.contains(&Some(rule))
    }
}
