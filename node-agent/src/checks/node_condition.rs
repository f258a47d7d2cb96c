//! The check `node-condition`: a condition of the Node that asks for a reboot by being True.
//!
//! Owns what follows from the conditions that the agents' installed configuration names, such as those
//! of the node problem detector. Reads the Node itself, so that a look is never older than it says.

use std::time::Duration;

use futures::future::{BoxFuture, FutureExt};
use k8s_openapi::api::core::v1::{Node, NodeCondition};
use slipway_api::checks::NODE_CONDITION;
use slipway_client::chain;
use tokio::sync::watch;

use super::{Check, Look, Reading};
use crate::observe::Reader;

/// How often the Node is read: each agent asks the API server, and conditions are no emergencies.
const EVERY: Duration = Duration::from_mins(5);
/// How often a Node that cannot be read is asked for, and the pause between: an API server that is
/// restarted is no news about this host.
const TRIES: u32 = 3;
const TRY_PAUSE: Duration = Duration::from_secs(5);

/// The check.
pub struct NodeConditions {
    types: Vec<String>,
    reader: watch::Receiver<Option<Reader>>,
}

impl NodeConditions {
    /// Looks at these conditions, once there is a reader.
    pub fn new(types: &[String], reader: watch::Receiver<Option<Reader>>) -> Self {
        Self {
            types: types.to_vec(),
            reader,
        }
    }

    async fn ask(&self) -> Look {
        let mut connected = self.reader.clone();
        let reader = match connected.wait_for(Option::is_some).await {
            Ok(reader) => reader.clone(),
            Err(_) => None,
        };
        let reader = reader?;
        let mut tries = 1;
        loop {
            match reader.node().await {
                Ok(node) => return Some(judge(&self.types, &node)),
                Err(error) if tries >= TRIES => {
                    let text = format!("the Node cannot be read: {}", chain(&error));
                    return Some(Reading::unknown(text));
                }
                Err(_) => tokio::time::sleep(TRY_PAUSE).await,
            }
            tries += 1;
        }
    }
}

impl Check for NodeConditions {
    fn name(&self) -> &'static str {
        NODE_CONDITION
    }

    fn look(&self) -> BoxFuture<'_, Look> {
        self.ask().boxed()
    }

    fn every(&self) -> Option<Duration> {
        Some(EVERY)
    }
}

/// One that is True asks; without one, whatever is neither True nor False is a doubt. So is a condition
/// that the Node does not have: whoever reports it is away, or its name is misspelt.
fn judge(types: &[String], node: &Node) -> Reading {
    let all = node.status.iter().flat_map(|status| &status.conditions);
    let all: Vec<&NodeCondition> = all.flatten().collect();
    let mut doubt = None;
    for wanted in types {
        let found = all.iter().find(|condition| condition.type_ == *wanted);
        match found.map(|condition| condition.status.as_str()) {
            Some("True") => {
                let reason = found.and_then(|condition| condition.reason.as_deref());
                let reason = reason.map_or_else(String::new, |reason| format!(" ({reason})"));
                return Reading::required(format!("condition {wanted} is True{reason}"));
            }
            Some("False") => {}
            Some(other) => doubt = doubt.or_else(|| Some(format!("condition {wanted} is {other}"))),
            None => doubt = doubt.or_else(|| Some(missing(wanted))),
        }
    }
    match doubt {
        Some(doubt) => Reading::unknown(doubt),
        None => Reading::not_required(format!("not True: {}", types.join(", "))),
    }
}

fn missing(wanted: &str) -> String {
    format!(
        "the Node has no condition {wanted}: start what reports it, or take it out of agent.checks.nodeConditions of the chart"
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use slipway_api::checks::CheckState::{NotRequired, Required, Unknown};

    use super::*;

    #[test]
    fn a_condition_that_is_true_asks_and_whatever_is_not_false_is_a_doubt() {
        let types = ["KernelDeadlock".to_owned(), "OldFirmware".to_owned()];
        for (first, second, expected, detail) in [
            (
                "False",
                "False",
                NotRequired,
                "not True: KernelDeadlock, OldFirmware",
            ),
            (
                "False",
                "True",
                Required,
                "condition OldFirmware is True (BecauseOfIt)",
            ),
            ("Unknown", "True", Required, "OldFirmware is True"),
            (
                "Unknown",
                "False",
                Unknown,
                "condition KernelDeadlock is Unknown",
            ),
            (
                "false",
                "False",
                Unknown,
                "condition KernelDeadlock is false",
            ),
            (
                "",
                "False",
                Unknown,
                "the Node has no condition KernelDeadlock",
            ),
        ] {
            let mut conditions = vec![json!({"type": "Ready", "status": "True"})];
            for (name, status) in [("KernelDeadlock", first), ("OldFirmware", second)] {
                if !status.is_empty() {
                    conditions
                        .push(json!({"type": name, "status": status, "reason": "BecauseOfIt"}));
                }
            }
            let node = json!({"metadata": {"name": "n"}, "status": {"conditions": conditions}});
            let reading = judge(&types, &serde_json::from_value(node).unwrap());
            assert_eq!(reading.state, expected, "{first} {second}");
            assert!(reading.detail.contains(detail), "{}", reading.detail);
        }
    }
}
