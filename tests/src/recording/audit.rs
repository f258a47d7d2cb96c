//! Audit logs: who made which version of an object.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::Value;
use slipway_api::names;

use crate::fake_api::json::text;

/// A version of an object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Write {
    /// `plural.group`.
    pub(super) resource: String,
    pub(super) name: String,
    pub(super) version: u64,
}

/// Who wrote it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Audited {
    /// `agent:NODE`, `operator:POD`, or the user's name.
    pub(super) user: String,
    pub(super) verb: String,
    /// When the server took the request.
    pub(super) at: Timestamp,
}

/// Every write of some logs. A request that changes nothing answers with an older version: the first
/// that had it is its author.
pub(super) fn read(logs: &str) -> BTreeMap<Write, Audited> {
    let mut entries: Vec<(Timestamp, Value)> = logs
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .filter_map(|line: Value| {
            let at = text(&line, "/requestReceivedTimestamp").parse().ok()?;
            Some((at, line))
        })
        .collect();
    entries.sort_by_key(|(at, _)| *at);
    let mut writes = BTreeMap::new();
    for (at, line) in &entries {
        let version = text(line, "/responseObject/metadata/resourceVersion");
        let Ok(version) = version.parse() else {
            continue;
        };
        let (plural, group) = (
            text(line, "/objectRef/resource"),
            text(line, "/objectRef/apiGroup"),
        );
        let write = Write {
            resource: if group.is_empty() {
                plural.to_owned()
            } else {
                format!("{plural}.{group}")
            },
            name: text(line, "/responseObject/metadata/name").to_owned(),
            version,
        };
        writes.entry(write).or_insert_with(|| Audited {
            user: user(line),
            verb: text(line, "/verb").to_owned(),
            at: *at,
        });
    }
    writes
}

fn user(line: &Value) -> String {
    let name = text(line, "/user/username");
    let extra = |key: &str| {
        let all = line.pointer("/user/extra").and_then(|extra| extra.get(key));
        all.and_then(|all| all.pointer("/0"))
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    let account = format!("system:serviceaccount:{}:", names::NAMESPACE);
    match name.strip_prefix(&account) {
        Some("slipway-agent") => {
            format!("agent:{}", extra("authentication.kubernetes.io/node-name"))
        }
        Some("slipway-operator") => {
            format!(
                "operator:{}",
                extra("authentication.kubernetes.io/pod-name")
            )
        }
        _ => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_agent_is_named_by_its_node_and_a_repeated_answer_changes_no_author() {
        let line = |user: &str, second: u8| {
            json!({"verb": "patch", "requestReceivedTimestamp": format!("2026-01-01T00:00:0{second}.5Z"),
                "user": {"username": user, "extra": {"authentication.kubernetes.io/node-name": ["n1"]}},
                "objectRef": {"resource": "rebootleases", "apiGroup": "slipway.dev", "name": "n1"},
                "responseObject": {"metadata": {"name": "n1", "resourceVersion": "7"}}})
            .to_string()
        };
        let agent = "system:serviceaccount:slipway-system:slipway-agent";
        let logs = format!("{}\n{}\nhalf a li", line("ada", 2), line(agent, 1));
        let writes = read(&logs);
        let write = Write {
            resource: "rebootleases.slipway.dev".to_owned(),
            name: "n1".to_owned(),
            version: 7,
        };
        assert_eq!(writes.len(), 1);
        assert_eq!(writes[&write].user, "agent:n1");
    }
}
