//! Every constant that bounds a decision, with the reason for its value.

use jiff::SignedDuration;

/// A grant that no agent has accepted after this long is revoked: the agent is absent or broken,
/// and the slot is wanted by others (faults.md F14). Over at once, because it was never accepted.
pub const ACCEPT_LIMIT: SignedDuration = SignedDuration::from_mins(5);

/// An answer of a blocker counts for this long: asked every [`BLOCKER_ASKED_AGAIN`] with up to 10 s
/// for each answer, a blocker that works is never older than 20 s.
pub const BLOCKER_ANSWER_VALID: SignedDuration = SignedDuration::from_secs(30);

/// How far an answer may lie in the future: our clock may have been set back a little since.
pub const BLOCKER_ANSWER_EARLY: SignedDuration = SignedDuration::from_secs(5);

/// How often a blocker is asked while somebody waits for it.
pub const BLOCKER_ASKED_AGAIN: SignedDuration = SignedDuration::from_secs(10);

/// A query that verifies a node and gets no answer makes the node wait for this long; then the reboot
/// counts as a failure. Its slot is not held for ever by an address that is wrong.
pub const VERIFY_QUERY_UNANSWERED: SignedDuration = SignedDuration::from_mins(10);

/// A window must stay open for this long after the second key is turned: the key is valid for 60 s
/// and the call follows within 60 s, so no reboot starts in a closed window (faults.md S4).
pub const WINDOW_LEFT_AT_CLEAR: SignedDuration = SignedDuration::from_secs(120);

/// The second key is turned again when it is this old: a third of the 60 s for which it is valid,
/// so two refreshes may be lost before an agent finds it stale.
pub const CLEAR_REFRESH: SignedDuration = SignedDuration::from_secs(20);

/// A node whose object is gone keeps its slot for this long after that was seen: a reboot call
/// may still be under way (faults.md Q14).
pub const GONE_NODE_KEEPS_SLOT: SignedDuration = SignedDuration::from_secs(120);

/// After a lost ledger was rebuilt, nothing is granted for this long, so that agents can report
/// fences that the leases do not show (faults.md Q16).
pub const REBUILT_LEDGER_WAITS: SignedDuration = SignedDuration::from_secs(120);

/// An agent that has not committed gives up by itself this long after its drain should have ended.
pub const NOT_AFTER_MARGIN: SignedDuration = SignedDuration::from_mins(30);

/// The same where the drain has no limit (`drain.timeout: 0s`).
pub const NOT_AFTER_WITHOUT_LIMIT: SignedDuration = SignedDuration::from_hours(24);

/// `failure.maxRebootsPerNode` counts the reboots of a node within this time: a trigger that no
/// reboot clears must not make a node reboot for ever (faults.md S7, F10).
pub const REBOOTS_PERIOD: SignedDuration = SignedDuration::from_hours(24);

/// A release without force waits for this long after the commit: a reboot call may take effect so
/// much later (faults.md F95).
pub const CALL_MAY_FIRE: SignedDuration = SignedDuration::from_mins(10);

/// A released node that carries our cordon still gives its agent this long to undo it before the
/// slot is given back: a human said so, but an agent that is alive is worth a minute.
pub const RELEASED_KEEPS_SLOT: SignedDuration = SignedDuration::from_mins(1);

/// First pause after a reboot call that was refused or lost, if the policy's own is not shorter:
/// nothing was disturbed but pods.
pub const BACKOFF_NOT_REBOOTED: SignedDuration = SignedDuration::from_mins(1);

/// So many drains in a row that a blocker called off are no accident: the drain itself may cause
/// what the blocker sees (faults.md Q8).
pub const BLOCKED_DRAINS_MAX: usize = 3;

/// No pause is longer.
pub const BACKOFF_MAX: SignedDuration = SignedDuration::from_hours(24);

/// Most doublings of a pause: bounds the exponent (Brupop's has no bound and overflows, H2).
pub const BACKOFF_DOUBLINGS_MAX: u32 = 10;

/// The planner looks this many days back and ahead for windows: a weekly window recurs within 7,
/// one that crosses midnight started the day before, and two days cover every zone's offset.
pub const WINDOW_DAYS_BACK: i64 = 2;
/// See [`WINDOW_DAYS_BACK`].
pub const WINDOW_DAYS_AHEAD: i64 = 9;

/// So many reboots of a policy have to be on record before the forecast goes by them: one or two may
/// be anything.
pub const DURATIONS_MIN: usize = 5;

/// How long a node is away for a reboot, until one is on record.
pub const REBOOT_GUESS: SignedDuration = SignedDuration::from_mins(5);

/// A node is passed by at most this many that came later; then they wait for it.
pub const PASSED_TIMES_MAX: i32 = 10;

/// So long at most: whatever keeps it may not keep everybody.
pub const HELD_FOR_PASSED: SignedDuration = SignedDuration::from_hours(1);

/// Starts of a cron window that are looked at before and after now: an hourly one is known for two
/// days, a monthly one for years; one that starts every minute must not cost thousands.
pub const CRON_STARTS: usize = 64;

const _: () = assert!(
    CLEAR_REFRESH.as_secs() * 3 <= 60,
    "a key would go stale between refreshes"
);
const _: () = assert!(
    WINDOW_LEFT_AT_CLEAR.as_secs() >= 60 + 60,
    "a call could leave the window"
);
