//! What an agent has asked of the API server, by the server's audit log.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use jiff::Timestamp;
use serde_json::Value;
use slipway_api::names;

use crate::fake_api::json::text;

/// The user that agents are.
pub fn agent_user() -> String {
    format!("system:serviceaccount:{}:slipway-agent", names::NAMESPACE)
}

/// Requests, by verb. Dry runs and reviews, which change nothing, are verbs of their own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Requests(BTreeMap<String, u64>);

impl Requests {
    /// Those of a node's agent that the server took within a time.
    pub fn of(logs: &str, node: &str, within: Range<Timestamp>) -> Self {
        let (user, mut seen) = (agent_user(), BTreeSet::new());
        let mut all = BTreeMap::new();
        for line in logs.lines() {
            // The last line may be half written.
            let Ok(entry) = serde_json::from_str::<Value>(line) else {
                continue;
            };
            let claims = "/user/extra/authentication.kubernetes.io~1node-name/0";
            let at = text(&entry, "/requestReceivedTimestamp").parse::<Timestamp>();
            let ours = text(&entry, "/user/username") == user && text(&entry, claims) == node;
            if !ours || !at.is_ok_and(|at| within.contains(&at)) {
                continue;
            }
            // A watch is logged when it begins and when it ends.
            if seen.insert(text(&entry, "/auditID").to_owned()) {
                *all.entry(verb(&entry)).or_default() += 1;
            }
        }
        Self(all)
    }

    /// Each verb with its number.
    pub fn by_verb(&self) -> impl Iterator<Item = (&str, u64)> {
        self.0.iter().map(|(verb, count)| (verb.as_str(), *count))
    }

    /// All of them.
    pub fn total(&self) -> u64 {
        self.0.values().sum()
    }

    /// Watches that were begun.
    pub fn watches(&self) -> u64 {
        self.0.get("watch").copied().unwrap_or_default()
    }

    /// Everything but watches.
    pub fn but_watches(&self) -> u64 {
        self.total() - self.watches()
    }

    /// What may have changed an object.
    pub fn writes(&self) -> u64 {
        let writes = ["create", "update", "patch", "delete", "deletecollection"];
        self.by_verb()
            .filter(|(verb, _)| writes.contains(verb))
            .map(|(_, count)| count)
            .sum()
    }
}

fn verb(entry: &Value) -> String {
    let verb = text(entry, "/verb");
    let resource = text(entry, "/objectRef/resource");
    if text(entry, "/requestURI").contains("dryRun=All") {
        format!("{verb}, dry run")
    } else if resource.ends_with("reviews") {
        "review".to_owned()
    } else if text(entry, "/objectRef/subresource") == "eviction" {
        "evict".to_owned()
    } else {
        verb.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn entry(id: &str, verb: &str, node: &str, second: u8) -> String {
        json!({"auditID": id, "verb": verb, "requestReceivedTimestamp": format!("2026-01-01T00:00:0{second}.5Z"),
            "requestURI": "/x", "objectRef": {"resource": "nodes"},
            "user": {"username": agent_user(), "extra": {"authentication.kubernetes.io/node-name": [node]}}})
        .to_string()
    }

    #[test]
    fn a_watch_counts_once_and_other_nodes_and_other_times_do_not() {
        let time = |second: u8| format!("2026-01-01T00:00:0{second}Z").parse().unwrap();
        let logs = [
            entry("a", "watch", "n1", 2),
            entry("a", "watch", "n1", 2),
            entry("b", "patch", "n1", 3),
            entry("b2", "patch", "n1", 3).replace("/x", "/x?dryRun=All"),
            entry("c", "get", "n2", 3),
            entry("d", "get", "n1", 8),
            "{\"half".to_owned(),
        ];
        let asked = Requests::of(&logs.join("\n"), "n1", time(1)..time(5));
        assert_eq!((asked.watches(), asked.total(), asked.writes()), (1, 3, 1));
        assert_eq!(asked.but_watches(), 2);
    }
}
