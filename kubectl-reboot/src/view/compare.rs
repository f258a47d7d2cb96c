//! What a file of policies would change.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use super::{ExpectedRow, NodeRow, PlanView};

/// A date that moves by less is the same one: ranges are coarse.
const SAME: SignedDuration = SignedDuration::from_mins(5);

/// A node before the change that a file makes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Before {
    pub(crate) policy: Option<String>,
    pub(crate) reason: String,
    pub(crate) expected: Option<ExpectedRow>,
}

/// A policy before the change that a file makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PolicyBefore {
    pub(crate) matched: i32,
    pub(crate) all_done_by: Option<Timestamp>,
}

/// How many nodes a file changes in which way; each counts once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Change {
    /// Go earlier, by five minutes or more.
    pub(crate) sooner: usize,
    /// Go later.
    pub(crate) later: usize,
    /// Have a date, and had none.
    pub(crate) gained: usize,
    /// Have no date any more.
    pub(crate) lost: usize,
    /// Stay as they are, or change only their policy.
    pub(crate) same: usize,
    /// Of all these, those that obey another policy.
    pub(crate) under_another_policy: usize,
}

impl Change {
    /// By what stands in the rows.
    pub(crate) fn of(rows: &[NodeRow]) -> Self {
        let mut change = Self::default();
        for row in rows {
            let Some(before) = &row.before else {
                change.same += 1;
                continue;
            };
            if before.policy != row.policy {
                change.under_another_policy += 1;
            }
            let count = match (before.expected, row.expected) {
                (None, Some(_)) => &mut change.gained,
                (Some(_), None) => &mut change.lost,
                (Some(old), Some(new)) => {
                    let moved = new.from.duration_since(old.from);
                    if moved <= -SAME {
                        &mut change.sooner
                    } else if moved >= SAME {
                        &mut change.later
                    } else {
                        &mut change.same
                    }
                }
                (None, None) => &mut change.same,
            };
            *count += 1;
        }
        change
    }

    /// As a sentence.
    pub(crate) fn sentence(self) -> String {
        let counts = [
            (self.sooner, "sooner"),
            (self.later, "later"),
            (self.gained, "with a date that had none"),
            (self.lost, "without a date that had one"),
            (self.same, "at the same time"),
        ];
        let told: Vec<String> = counts
            .iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, word)| format!("{count} {word}"))
            .collect();
        let moved = match self.under_another_policy {
            0 => String::new(),
            count => format!("; {count} under another policy"),
        };
        if told.is_empty() {
            return "no node asks for a reboot".to_owned();
        }
        format!("{}{moved}", told.join(", "))
    }
}

/// Notes in each row what stood there before, where it differs.
pub(crate) fn compare(after: &mut PlanView, before: &PlanView) {
    let rows: BTreeMap<&str, &NodeRow> = before
        .nodes
        .iter()
        .map(|row| (row.name.as_str(), row))
        .collect();
    for row in &mut after.nodes {
        let Some(old) = rows.get(row.name.as_str()) else {
            continue;
        };
        if (&old.policy, &old.expected, old.if_automatic)
            != (&row.policy, &row.expected, row.if_automatic)
        {
            row.before = Some(Before {
                policy: old.policy.clone(),
                reason: old.reason.clone(),
                expected: old.expected,
            });
        }
    }
    for policy in &mut after.policies {
        let old = before.policies.iter().find(|old| old.name == policy.name);
        policy.before = old.map(|old| PolicyBefore {
            matched: old.matched,
            all_done_by: old.all_done_by,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(minute: i64) -> ExpectedRow {
        let time = |minute: i64| Timestamp::from_second(1_795_521_600 + minute * 60).unwrap();
        ExpectedRow {
            from: time(minute),
            to: time(minute + 5),
            done_by: time(minute + 20),
        }
    }

    fn row(before: Option<ExpectedRow>, now: Option<ExpectedRow>) -> NodeRow {
        NodeRow {
            before: Some(Before {
                policy: None,
                reason: "NoPolicy".into(),
                expected: before,
            }),
            expected: now,
            ..NodeRow::default()
        }
    }

    #[test]
    fn every_node_counts_once() {
        let rows = [
            row(Some(at(60)), Some(at(0))),
            row(Some(at(0)), Some(at(60))),
            row(Some(at(0)), Some(at(4))),
            row(None, Some(at(0))),
            row(Some(at(0)), None),
            NodeRow::default(),
        ];
        let change = Change::of(&rows);
        let counted = [
            change.sooner,
            change.later,
            change.gained,
            change.lost,
            change.same,
        ];
        assert_eq!(counted, [1, 1, 1, 1, 2]);
        assert!(
            change.sentence().starts_with("1 sooner, 1 later, "),
            "{}",
            change.sentence()
        );
        assert_eq!(Change::of(&[]).sentence(), "no node asks for a reboot");
    }
}
