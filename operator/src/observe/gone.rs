//! Nodes that hold a slot and are gone: proved at quorum, timed from when that was first seen.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use kube::Client;
use slipway_api::Slot;
use slipway_client::chain;

use super::read;

/// Node UIDs that are gone, and when that was first seen, timed since boot: a clock that is set
/// forward must not shorten the wait (faults.md Q14).
///
/// Kept in memory: after a restart the wait starts anew, which is the safe direction.
#[derive(Debug, Default)]
pub(crate) struct Gone(BTreeMap<String, Duration>);

impl Gone {
    /// Asks for each of these slots' nodes whether it is gone. A UID that is gone never comes back.
    pub(crate) async fn look(&mut self, client: &Client, suspects: &[Slot], elapsed: Duration) {
        for slot in suspects {
            if self.0.contains_key(&slot.node_uid) {
                continue;
            }
            match read::node(client, &slot.node).await {
                Ok(node) => {
                    let uid = node.and_then(|node| node.metadata.uid);
                    if uid.as_deref() != Some(slot.node_uid.as_str()) {
                        tracing::info!(node = slot.node, uid = slot.node_uid, "the node is gone");
                        self.0.insert(slot.node_uid.clone(), elapsed);
                    }
                }
                Err(error) => {
                    tracing::debug!(node = slot.node, error = %chain(&error), "not known gone");
                }
            }
        }
    }

    /// Forgets nodes that hold no slot any more.
    pub(crate) fn keep(&mut self, slots: &[Slot]) {
        let held: BTreeSet<&str> = slots.iter().map(|slot| slot.node_uid.as_str()).collect();
        self.0.retain(|uid, _| held.contains(uid.as_str()));
    }

    /// Since when each UID is known to be gone, as wall time counted back from `now`.
    pub(crate) fn since(&self, now: Timestamp, elapsed: Duration) -> BTreeMap<String, Timestamp> {
        let age = |seen: Duration| {
            SignedDuration::try_from(elapsed.saturating_sub(seen)).unwrap_or(SignedDuration::ZERO)
        };
        self.0
            .iter()
            .map(|(uid, seen)| (uid.clone(), now.checked_sub(age(*seen)).unwrap_or(now)))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn q14_the_wait_is_timed_since_boot_and_not_by_the_wall_clock() {
        let gone = Gone(BTreeMap::from([("u".to_owned(), Duration::from_secs(100))]));
        let now: Timestamp = "2026-11-24T12:00:00Z".parse().unwrap();
        let since = gone.since(now, Duration::from_secs(130));
        assert_eq!(since["u"].to_string(), "2026-11-24T11:59:30Z");
        // An hour later by the wall clock only: still 30 s.
        let later: Timestamp = "2026-11-24T13:00:00Z".parse().unwrap();
        let since = gone.since(later, Duration::from_secs(130));
        assert_eq!(since["u"].to_string(), "2026-11-24T12:59:30Z");
    }

    #[test]
    fn a_node_without_a_slot_is_forgotten() {
        let mut gone = Gone(BTreeMap::from([("u".to_owned(), Duration::ZERO)]));
        gone.keep(&[]);
        assert!(gone.0.is_empty());
    }
}
