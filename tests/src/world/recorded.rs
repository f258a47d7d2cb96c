//! The invariants over a history that was recorded elsewhere: on a real API server.
//!
//! The very predicates that the simulation asks after every write. Called by [`crate::recording`].

use std::time::Duration;

use serde_json::{Value, json};

use super::invariants::{self, Called};
use super::record::Record;
use crate::fake_api::store::Event;

/// Something that happened.
#[derive(Clone, Debug)]
pub enum Happening {
    /// A write; with an author whose name begins with `agent:` or `operator:` it is ours.
    Wrote(Event),
    /// A reboot was called on a machine that goes down by it or not.
    Called {
        /// Its node.
        node: String,
        /// Its boot at that time.
        boot_id: String,
        /// Whether it went down by it.
        obeyed: bool,
    },
    /// A machine that we took down is up again.
    Back {
        /// Its node.
        node: String,
        /// Its new boot.
        boot_id: String,
    },
}

/// What came of a history.
#[derive(Clone, Debug, Default)]
pub struct Judged {
    /// Writes.
    pub writes: u64,
    /// Those of our programs, but for elections.
    pub our_writes: u64,
    /// Reboot calls.
    pub calls: usize,
    /// Invariants that were broken.
    pub broken: Vec<String>,
    /// The last lines of the history.
    pub lines: Vec<String>,
}

/// Asks every invariant of a history: what happened, each with its time since the beginning and the
/// wall time in seconds. `rests` says that nothing is under way at its end.
pub fn judge(history: &[(Duration, i64, Happening)], rests: bool) -> Judged {
    let record = Record::default();
    let mut calls = 0;
    for (at, wall, happening) in history {
        match happening {
            Happening::Wrote(event) => {
                note_people(&record, event);
                record.history().written(event, *at);
            }
            Happening::Called {
                node,
                boot_id,
                obeyed,
            } => {
                calls += 1;
                let called = Called {
                    name: node,
                    boot_id,
                    wall: *wall,
                };
                record.called(called, *at);
                if *obeyed {
                    record.went_down(node, *at);
                }
            }
            Happening::Back { node, boot_id } => record.came_back(node, boot_id.clone()),
        }
    }
    let history = record.history();
    let mut broken = history.broken.clone();
    if rests {
        broken.extend(invariants::at_rest(&history.view));
    }
    Judged {
        writes: history.writes,
        our_writes: history.our_writes,
        calls,
        broken,
        lines: history.lines(),
    }
}

/// Cordons of people, which must stay until people lift them. A write whose author is not known is
/// nobody's.
fn note_people(record: &Record, event: &Event) {
    let user = &event.author.user;
    if event.key.resource != "nodes" || user.is_empty() || user.starts_with("agent:") {
        return;
    }
    let cordoned = |object: &Value| object.pointer("/spec/unschedulable") == Some(&json!(true));
    let was = event.before.as_deref().is_some_and(cordoned);
    let memory = &mut record.history().memory;
    match (was, cordoned(&event.after)) {
        (false, true) => drop(memory.human_cordons.insert(event.key.name.clone())),
        (true, false) => drop(memory.human_cordons.remove(&event.key.name)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::fake_api::store::{Author, Key};

    /// Writes to one object, each by an author.
    fn writes(
        resource: &str,
        name: &str,
        all: &[(&str, Value)],
    ) -> Vec<(Duration, i64, Happening)> {
        let mut before: Option<Arc<Value>> = None;
        let mut history = Vec::new();
        for (version, (user, object)) in (1..).zip(all) {
            let after = Arc::new(object.clone());
            let event = Event {
                version,
                key: Key {
                    resource: resource.to_owned(),
                    namespace: String::new(),
                    name: name.to_owned(),
                },
                before: before.replace(Arc::clone(&after)),
                after,
                deleted: false,
                author: Author {
                    user: (*user).to_owned(),
                    ..Author::default()
                },
            };
            let wall = i64::try_from(version).unwrap_or_default();
            history.push((Duration::from_secs(version), wall, Happening::Wrote(event)));
        }
        history
    }

    fn node(unschedulable: bool) -> Value {
        json!({"metadata": {"name": "n1", "uid": "u"}, "spec": {"unschedulable": unschedulable}})
    }

    #[test]
    fn a_cordon_of_a_person_that_an_agent_lifts_breaks_s3_and_one_that_its_person_lifts_does_not() {
        let lifted_by = |user: &str| {
            let all = [
                ("kubelet", node(false)),
                ("ada", node(true)),
                (user, node(false)),
            ];
            judge(&writes("nodes", "n1", &all), true).broken
        };
        assert_eq!(lifted_by("ada"), [""; 0]);
        assert_eq!(
            lifted_by("agent:n1"),
            ["S3: the human's cordon of n1 is gone"]
        );
    }

    #[test]
    fn a_slot_that_is_held_at_the_end_is_no_rest() {
        let slot = json!({"node": "n1", "nodeUID": "u", "leaseUID": "l", "policy": "p",
            "policyUID": "p", "fence": 1, "grantedAt": "2026-01-01T00:00:00Z", "controlPlane": false});
        let ledger = json!({"apiVersion": "slipway.dev/v1alpha1", "kind": "RebootLedger",
            "metadata": {"name": "cluster"}, "spec": {}, "status": {"nextFence": 2, "slots": [slot]}});
        let all = [("operator:a", ledger)];
        let history = writes("rebootledgers.slipway.dev", "cluster", &all);
        assert_eq!(judge(&history, false).broken, [""; 0]);
        assert_eq!(
            judge(&history, true).broken,
            ["L3: the slot of n1 is held at rest"]
        );
    }

    #[test]
    fn a_reboot_that_nothing_allows_breaks_s2() {
        let called = Happening::Called {
            node: "n1".to_owned(),
            boot_id: "b".to_owned(),
            obeyed: true,
        };
        let judged = judge(&[(Duration::from_secs(1), 1, called)], true);
        assert_eq!(judged.calls, 1);
        assert_eq!(judged.broken, ["S2: reboot of n1 without a lease"]);
    }
}
