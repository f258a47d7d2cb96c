//! The Node condition `RebootRequired`: what the checks say, for everybody to read.
//!
//! Pure: owns the text and the patch. Written on change only; `None` means that nothing changes.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Node, NodeCondition};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::{Value, json};
use slipway_api::names;

use crate::checks::Reading;
use crate::checks::sentinel::Packages;

/// Reason that the check `sentinel-file` gives.
const SENTINEL_FILE: &str = "SentinelFile";

/// The condition that the Node should have instead of the one it has, if they differ.
pub fn change(node: &Node, reading: &Reading, now: Timestamp) -> Option<NodeCondition> {
    let conditions = node
        .status
        .iter()
        .flat_map(|status| status.conditions.iter().flatten());
    let present = conditions
        .into_iter()
        .find(|condition| condition.type_ == names::CONDITION_REBOOT_REQUIRED);
    let (status, reason) = verdict(reading);
    // "Since" is when the verdict changed, not when its wording did.
    let kept = present
        .filter(|condition| condition.status == status)
        .and_then(|condition| condition.last_transition_time.as_ref())
        .map(|time| time.0);
    let since = kept.unwrap_or(now);
    let message = message(reading, since);
    let current = present.is_some_and(|condition| {
        condition.status == status
            && condition.reason.as_deref() == Some(reason)
            && condition.message.as_deref() == Some(message.as_str())
    });
    (!current).then(|| NodeCondition {
        type_: names::CONDITION_REBOOT_REQUIRED.to_owned(),
        status: status.to_owned(),
        reason: Some(reason.to_owned()),
        message: Some(message),
        last_transition_time: Some(Time(since)),
        last_heartbeat_time: Some(Time(now)),
    })
}

/// A strategic merge patch of that condition alone: the list is merged by type.
pub fn patch(condition: &NodeCondition) -> Value {
    json!({"status": {"conditions": [condition]}})
}

fn verdict(reading: &Reading) -> (&'static str, &'static str) {
    match reading {
        Reading::Required { .. } => ("True", SENTINEL_FILE),
        Reading::NotRequired => ("False", names::REASON_NOT_REQUIRED),
        Reading::Unknown { .. } => ("Unknown", names::REASON_CHECK_FAILED),
    }
}

fn message(reading: &Reading, since: Timestamp) -> String {
    let since = since.strftime("%Y-%m-%dT%H:%M:%SZ");
    let text = match reading {
        Reading::Required { path, packages } => {
            format!("{path} exists since {since}{}", named(packages))
        }
        Reading::NotRequired => format!("no check asks for a reboot since {since}"),
        Reading::Unknown { reason } => {
            format!("the check sentinel-file fails since {since}: {reason}")
        }
    };
    text.chars().take(1024).collect()
}

fn named(packages: &Packages) -> String {
    if packages.names.is_empty() {
        return String::new();
    }
    let more = match packages.more {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!(", for {}{more}", packages.names.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_790_000_000 + seconds).unwrap()
    }

    fn required(packages: &[&str]) -> Reading {
        Reading::Required {
            path: "/run/reboot-required".into(),
            packages: Packages {
                names: packages.iter().map(|name| (*name).to_owned()).collect(),
                more: 0,
            },
        }
    }

    fn with(condition: &NodeCondition) -> Node {
        serde_json::from_value(
            json!({"metadata": {"name": "n"}, "status": {"conditions": [condition]}}),
        )
        .unwrap()
    }

    #[test]
    fn the_reason_is_one_that_the_operator_knows() {
        assert_eq!(names::check_of_reason(SENTINEL_FILE), Some("sentinel-file"));
    }

    #[test]
    fn a_condition_that_says_it_already_is_left_alone() {
        let first = change(&Node::default(), &required(&[]), at(0)).unwrap();
        assert_eq!(first.status, "True");
        assert!(first.message.as_ref().unwrap().contains("since 2026-"));
        assert_eq!(change(&with(&first), &required(&[]), at(60)), None);
    }

    #[test]
    fn since_is_when_the_verdict_changed_not_its_wording() {
        let first = change(&Node::default(), &required(&[]), at(0)).unwrap();
        let second = change(&with(&first), &required(&["libc6"]), at(60)).unwrap();
        assert_eq!(second.last_transition_time, first.last_transition_time);
        assert!(second.message.as_ref().unwrap().ends_with("for libc6"));
        let third = change(&with(&second), &Reading::NotRequired, at(90)).unwrap();
        assert_eq!(
            (third.status.as_str(), third.last_transition_time),
            ("False", Some(Time(at(90))))
        );
    }

    #[test]
    fn an_error_is_unknown_and_says_why() {
        let reading = Reading::Unknown {
            reason: "/run/x is not a plain file".into(),
        };
        let condition = change(&Node::default(), &reading, at(0)).unwrap();
        assert_eq!(condition.status, "Unknown");
        assert_eq!(condition.reason.as_deref(), Some("CheckFailed"));
        assert!(
            condition
                .message
                .unwrap()
                .contains("/run/x is not a plain file")
        );
    }

    #[test]
    fn the_patch_touches_one_condition_only() {
        let condition = change(&Node::default(), &Reading::NotRequired, at(0)).unwrap();
        let patch = patch(&condition);
        assert_eq!(patch["status"]["conditions"].as_array().unwrap().len(), 1);
        assert_eq!(patch.as_object().unwrap().len(), 1);
    }
}
