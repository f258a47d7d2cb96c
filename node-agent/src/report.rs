//! The Node condition `RebootRequired`: what the checks say, for everybody to read.
//!
//! Pure: owns the text and the patch. Written on change only; `None` means that nothing changes.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Node, NodeCondition};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::{Value, json};
use slipway_api::checks::{self, CheckState};
use slipway_api::names;

use crate::checks::Board;

/// Most characters of the message.
const MESSAGE_MAX: usize = 1024;

/// The condition that the Node should have instead of the one it has, if they differ. Nothing is said
/// before every check has answered.
pub fn change(node: &Node, board: &Board, now: Timestamp) -> Option<NodeCondition> {
    if !board.is_settled() {
        return None;
    }
    let conditions = node
        .status
        .iter()
        .flat_map(|status| status.conditions.iter().flatten());
    let present = conditions
        .into_iter()
        .find(|condition| condition.type_ == names::CONDITION_REBOOT_REQUIRED);
    let (status, reason) = verdict(board);
    // "Since" is when the verdict changed, not when its wording did.
    let kept = present
        .filter(|condition| condition.status == status)
        .and_then(|condition| condition.last_transition_time.as_ref())
        .map(|time| time.0);
    let since = kept.unwrap_or(now);
    let message = message(board, status, since);
    let current = present.is_some_and(|condition| {
        condition.status == status
            && condition.reason.as_deref() == Some(reason.as_str())
            && condition.message.as_deref() == Some(message.as_str())
    });
    (!current).then(|| NodeCondition {
        type_: names::CONDITION_REBOOT_REQUIRED.to_owned(),
        status: status.to_owned(),
        reason: Some(reason),
        message: Some(message),
        last_transition_time: Some(Time(since)),
        last_heartbeat_time: Some(Time(now)),
    })
}

/// A strategic merge patch of that condition alone: the list is merged by type.
pub fn patch(condition: &NodeCondition) -> Value {
    json!({"status": {"conditions": [condition]}})
}

/// One check that asks is enough for True; without one, a check that errs makes it Unknown.
fn verdict(board: &Board) -> (&'static str, String) {
    let asks = board.of_state(CheckState::Required).map(|(name, _)| name);
    let reason = checks::reason(asks);
    if !reason.is_empty() {
        ("True", reason)
    } else if board.of_state(CheckState::Unknown).next().is_some() {
        ("Unknown", names::REASON_CHECK_FAILED.to_owned())
    } else {
        ("False", names::REASON_NOT_REQUIRED.to_owned())
    }
}

fn message(board: &Board, status: &str, since: Timestamp) -> String {
    let since = since.strftime("%Y-%m-%dT%H:%M:%SZ");
    let told = |state| {
        let all: Vec<String> = board
            .of_state(state)
            .map(|(name, reading)| format!("{name} ({})", reading.detail))
            .collect();
        all.join("; ")
    };
    let unknown = told(CheckState::Unknown);
    let text = match status {
        "True" if unknown.is_empty() => {
            format!(
                "a reboot is required since {since}: {}",
                told(CheckState::Required)
            )
        }
        "True" => format!(
            "a reboot is required since {since}: {}; not known: {unknown}",
            told(CheckState::Required)
        ),
        "Unknown" => format!("not known since {since} whether a reboot is required: {unknown}"),
        _ => {
            let looked: Vec<&str> = board.readings().map(|(name, _)| name).collect();
            format!(
                "no check asks for a reboot since {since} ({})",
                looked.join(", ")
            )
        }
    };
    text.chars().take(MESSAGE_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::Reading;
    use crate::checks::board::Answer;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_790_000_000 + seconds).unwrap()
    }

    fn board(readings: &[(&str, Reading)]) -> Board {
        let mut board = Board::settling(readings.iter().map(|(name, _)| *name));
        for (name, reading) in readings {
            board.note(name, &Answer::Settled(reading.clone()));
        }
        board
    }

    fn required(detail: &str) -> Board {
        board(&[("sentinel-file", Reading::required(detail))])
    }

    fn with(condition: &NodeCondition) -> Node {
        serde_json::from_value(
            json!({"metadata": {"name": "n"}, "status": {"conditions": [condition]}}),
        )
        .unwrap()
    }

    fn first(board: &Board) -> NodeCondition {
        change(&Node::default(), board, at(0)).unwrap()
    }

    #[test]
    fn the_reason_names_every_check_that_asks() {
        let both = board(&[
            ("kernel", Reading::required("newer")),
            ("packages", Reading::unknown("broken")),
            ("sentinel-file", Reading::required("there")),
        ]);
        let condition = first(&both);
        let reason = condition.reason.unwrap();
        assert_eq!(reason, "Kernel,SentinelFile");
        assert_eq!(
            checks::named(&reason).collect::<Vec<_>>(),
            ["kernel", "sentinel-file"]
        );
        let message = condition.message.unwrap();
        assert!(
            message
                .ends_with("kernel (newer); sentinel-file (there); not known: packages (broken)")
        );
    }

    #[test]
    fn a_condition_that_says_it_already_is_left_alone() {
        let condition = first(&required("a"));
        assert_eq!(condition.status, "True");
        assert!(condition.message.as_ref().unwrap().contains("since 2026-"));
        assert_eq!(change(&with(&condition), &required("a"), at(60)), None);
    }

    #[test]
    fn since_is_when_the_verdict_changed_not_its_wording() {
        let first = first(&required("a"));
        let second = change(&with(&first), &required("for libc6"), at(60)).unwrap();
        assert_eq!(second.last_transition_time, first.last_transition_time);
        assert!(second.message.as_ref().unwrap().contains("for libc6"));
        let calm = board(&[("sentinel-file", Reading::not_required("none"))]);
        let third = change(&with(&second), &calm, at(90)).unwrap();
        assert_eq!(
            (third.status.as_str(), third.last_transition_time),
            ("False", Some(Time(at(90))))
        );
        assert!(third.message.unwrap().ends_with("(sentinel-file)"));
    }

    #[test]
    fn an_error_is_unknown_and_says_why_whatever_the_others_say() {
        let condition = first(&board(&[
            ("kernel", Reading::not_required("current")),
            (
                "sentinel-file",
                Reading::unknown("/run/x: not a plain file"),
            ),
        ]));
        assert_eq!(condition.status, "Unknown");
        assert_eq!(condition.reason.as_deref(), Some("CheckFailed"));
        assert!(
            condition
                .message
                .unwrap()
                .contains("sentinel-file (/run/x: not a plain file)")
        );
    }

    #[test]
    fn nothing_is_said_before_every_check_has_answered() {
        let settling = Board::settling(["kernel"]);
        assert_eq!(change(&Node::default(), &settling, at(0)), None);
    }

    #[test]
    fn the_patch_touches_one_condition_only() {
        let patch = patch(&first(&required("a")));
        assert_eq!(patch["status"]["conditions"].as_array().unwrap().len(), 1);
        assert_eq!(patch.as_object().unwrap().len(), 1);
    }
}
