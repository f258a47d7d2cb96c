//! The journal on the host's disk: whatever became of the file, it says what was written or nothing.
//!
//! A journal that says something else would let a fence be used twice, or undo a node while a reboot
//! call may still take it down. An empty file is a host imaged anew, by design (F98).

use std::fs;
use std::time::Duration;

use arbitrary::Unstructured;
use slipway_node_agent::decide::{Action, decide};
use slipway_node_agent::facts::{JournalView, LeaseView};
use slipway_node_agent::journal::{Call, Journal, Store};

use crate::facts::{BOOT, BOOTTIME, OTHER_BOOT, facts, lease};
use crate::input::{byte, mangled, one_of, scratch, text};

pub(crate) fn run(input: &[u8]) {
    let mut u = Unstructured::new(input);
    let written = journal(&mut u);
    let directory = scratch();
    let store = Store::open(directory.path()).unwrap();
    store.write(&written).unwrap();
    let path = directory.path().join("journal.json");
    let whole = fs::read(&path).unwrap();
    let found = mangled(&whole, &mut u);
    fs::write(&path, &found).unwrap();
    let read = store.read();
    match &read {
        JournalView::Readable(read) if found.is_empty() => assert_eq!(*read, Journal::default()),
        JournalView::Readable(read) => assert_eq!(*read, written, "it says something else"),
        JournalView::Unreadable { .. } => assert_ne!(found, whole, "nothing is wrong with it"),
    }
    if !found.is_empty() {
        follows(&read, &written);
    }
}

fn journal(u: &mut Unstructured<'_>) -> Journal {
    let noted = Journal::default().with_commit(
        u.arbitrary().unwrap_or_default(),
        one_of(u, &[BOOT, OTHER_BOOT, ""]),
        &text(u, 64),
    );
    let at = Duration::from_secs(u64::from(u.arbitrary::<u16>().unwrap_or_default()));
    match byte(u) % 4 {
        0 => noted,
        1 => noted.with_call(at),
        2 => noted.with_call(at).with_answer(&text(u, 255)),
        _ => noted.with_call(at).with_refusal(&text(u, 255), at),
    }
}

/// What the agent does by what was read never contradicts what was written.
fn follows(read: &JournalView, written: &Journal) {
    let fires = written.call.as_ref().is_some_and(may_fire);
    let granted = written.committed;
    let fences = [
        granted.saturating_sub(1),
        granted,
        granted.saturating_add(1),
    ];
    let decided = |phase: &str, accepted: i64, granted: i64, cordoned: bool| {
        let lease = serde_json::from_value(lease(phase, accepted, granted)).unwrap();
        let lease = LeaseView::Present(Box::new(lease));
        decide(&facts(lease, read.clone(), granted, cordoned))
    };
    for fence in fences {
        let action = decided("Granted", 0, fence, false);
        if matches!(action, Action::Accept { .. }) {
            assert!(fence > granted && !fires, "accepted {fence}: {written:?}");
        }
        let action = decided("Drained", fence, fence, true);
        if matches!(action, Action::Commit { .. }) {
            assert!(fence >= granted && !fires, "committed {fence}: {written:?}");
        }
        let action = decided("Rebooting", fence, fence, true);
        assert!(!(fires && undoes(&action)), "{action:?}: {written:?}");
    }
    let action = decide(&facts(LeaseView::Missing, read.clone(), granted, true));
    assert!(!(fires && undoes(&action)), "{action:?}: {written:?}");
}

fn may_fire(call: &Call) -> bool {
    let age = BOOTTIME.saturating_sub(call.at());
    call.boot_id == BOOT && age < Duration::from_secs(30)
}

fn undoes(action: &Action) -> bool {
    matches!(action, Action::Undo { .. } | Action::Retire { .. })
}
