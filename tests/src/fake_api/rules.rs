//! The CEL rules of our CRDs, written once more in Rust.
//!
//! Each is found by its message; a test proves that there is none without a counterpart here, and
//! the fidelity suite that both give the same answers.

use jiff::Timestamp;
use serde_json::Value;
use slipway_api::{Duration, Phase, PhaseOwner};

use super::answer::Fault;
use super::json::{number, text};

/// A value and what it was before; `None` for a new one.
type Rule = fn(&Value, &Value) -> bool;

/// Every rule, by its message. True means that it holds.
const RULES: &[(&str, Rule)] = &[
    ("spec.grant changes only to a higher fence", grant_grows),
    (
        "a fence that was revoked is never granted",
        no_revoked_grant,
    ),
    ("spec.clear never goes back", clear_grows),
    ("spec.revoke never goes back", revoke_grows),
    ("a committed reboot cannot be revoked", no_late_revoke),
    ("status.fence never goes back", fence_grows),
    (
        "status.fence changes only when a grant is accepted (phase Draining)",
        fence_changes_at_accept,
    ),
    (
        "a fence is accepted once: phase Draining needs a higher status.fence",
        accepted_once,
    ),
    (
        "status.phase may only move along the table of phases in the documentation",
        phase_moves,
    ),
    (
        "spec.nodeUID never changes: a node made anew gets a lease of its own",
        |new, old| new.get("nodeUID") == old.get("nodeUID"),
    ),
    (
        "there is only one RebootLedger: name it cluster",
        |new, _| text(new, "/metadata/name") == "cluster",
    ),
    (
        "status.nextFence never goes back: an old grant would count again",
        next_fence_grows,
    ),
    (
        "write a duration such as 90s, 30m or 1h30m, not negative and at most 168h",
        |new, _| {
            let parsed = new.as_str().unwrap_or_default().parse::<Duration>();
            parsed.is_ok_and(|duration| duration.0.as_secs() <= 168 * 3600)
        },
    ),
    (
        "write a number of nodes from 0 to 1000, or a percentage from 0% to 100% in quotes",
        max_unavailable,
    ),
    (
        "no node has such a label: write a label name such as pool or example.com/pool",
        label_names,
    ),
    (
        "no pod has such a label: write a label name such as pool or example.com/pool",
        label_names,
    ),
    (
        "no label has such a value: write letters, digits, and - _ . between them",
        |new, _| is_name(new.as_str().unwrap_or_default(), true),
    ),
    (
        "In and NotIn need values; Exists and DoesNotExist take none",
        |new, _| {
            let values = new.get("values").and_then(Value::as_array);
            let some = values.is_some_and(|values| !values.is_empty());
            matches!(text(new, "/operator"), "In" | "NotIn") == some
        },
    ),
    (
        "write an IANA time zone name such as Europe/Berlin or UTC",
        |new, _| is_zone(new.as_str().unwrap_or_default()),
    ),
    (
        "write a time from 00:00 to 23:59 as HH:MM, in quotes",
        |new, _| is_clock(new.as_str().unwrap_or_default()),
    ),
    (
        "write a time from 00:00 to 24:00 as HH:MM, in quotes",
        |new, _| new == "24:00" || is_clock(new.as_str().unwrap_or_default()),
    ),
    (
        "write both start and end, or neither for the whole day",
        |new, _| new.get("start").is_some() == new.get("end").is_some(),
    ),
    (
        "start and end are the same, so the window has no length; leave both out for the whole day",
        |new, _| new.get("start").is_none() || new.get("start") != new.get("end"),
    ),
    (
        "order DomainByDomain needs budget.perDomain, which says what a domain is",
        |new, _| {
            let order = new.pointer("/spec/order").and_then(Value::as_array);
            let by_domain = order.is_some_and(|all| all.iter().any(|it| it == "DomainByDomain"));
            !by_domain || new.pointer("/spec/budget/perDomain").is_some()
        },
    ),
    (
        "nodeMetadata writes a label that nodeSelector selects by; the nodes would leave the policy \
         while they are rebooted",
        writes_no_selected_label,
    ),
    (
        "labels of kubernetes.io and k8s.io are Kubernetes' own; of these, only \
         node.kubernetes.io/exclude-from-external-load-balancers may be written",
        |new, _| {
            let labels = new.as_object().into_iter().flatten();
            let of_kubernetes = |prefix: &str| {
                let domain = |name| prefix == name || prefix.ends_with(&format!(".{name}"));
                domain("kubernetes.io") || domain("k8s.io")
            };
            labels.into_iter().all(|(name, _)| {
                let prefix = name.split_once('/').map_or("", |(prefix, _)| prefix);
                !of_kubernetes(prefix)
                    || name == "node.kubernetes.io/exclude-from-external-load-balancers"
            })
        },
    ),
    (
        "write exactly one of prometheus, promql, alertmanager, pods, nodes and http beside the \
         name; another one is another blocker",
        |new, _| {
            let kinds = [
                "prometheus",
                "promql",
                "alertmanager",
                "pods",
                "nodes",
                "http",
            ];
            kinds
                .iter()
                .filter(|kind| new.get(**kind).is_some())
                .count()
                == 1
        },
    ),
    ("write a duration from 1s to 10s", |new, _| {
        seconds(new).is_some_and(|seconds| (1..=10).contains(&seconds))
    }),
    (
        "write Auto, or a duration such as 45m or 1h30m, at most 168h",
        |new, _| new == "Auto" || seconds(new).is_some_and(|seconds| seconds <= 168 * 3600),
    ),
    (
        "the freeze ends before it begins; from is the first day and to the last",
        |new, _| {
            let (from, to) = (text(new, "/from"), text(new, "/to"));
            from.len() != to.len() || from.len() != 10 || from <= to
        },
    ),
    (
        "write cron and duration together: cron is when the window starts, duration how long it \
         stays open",
        |new, _| new.get("cron").is_some() == new.get("duration").is_some(),
    ),
    (
        "a window is either weekly (days, start, end) or by cron and duration, not both",
        |new, _| {
            let weekly = ["days", "start", "end"];
            new.get("cron").is_none() || weekly.iter().all(|key| new.get(*key).is_none())
        },
    ),
    (
        "a window of no length is never open; write a duration such as 4h",
        |new, _| {
            let duration = new.get("duration");
            duration.is_none_or(|duration| seconds(duration).is_some_and(|seconds| seconds > 0))
        },
    ),
    (
        "write at least one event, or leave events out to be told of all",
        |new, _| new.as_array().is_some_and(|all| !all.is_empty()),
    ),
    (
        "names stand for what happened: write {node} where kured had %s",
        |new, _| !new.as_str().unwrap_or_default().contains("%s"),
    ),
    (
        "two notifications name the same key of the same Secret; write one with the events of both",
        |new, _| {
            let all = new.as_array().map_or(&[][..], Vec::as_slice);
            let mut names: Vec<_> = all
                .iter()
                .map(|one| (text(one, "/secretRef/name"), text(one, "/secretRef/key")))
                .collect();
            names.sort_unstable();
            names.dedup();
            names.len() == all.len()
        },
    ),
    (slipway_api::schema::MAX_UPTIME_FIX, |new, _| {
        let text = new.as_str().unwrap_or_default();
        let parsed = text.parse::<Duration>();
        parsed.is_ok_and(|it| (3600..=8760 * 3600).contains(&it.0.as_secs()))
    }),
    (slipway_api::checks::UNKNOWN_FIX, |new, _| {
        slipway_api::checks::is_known(new.as_str().unwrap_or_default())
    }),
    (
        "write Auto, Logind, Systemctl or Signal, or the name that a method has in the chart's agent.methods, such as power-cycle",
        |new, _| {
            let word = new.as_str().unwrap_or_default();
            let named = |word: &str| {
                word.starts_with(|first: char| first.is_ascii_lowercase())
                    && word
                        .bytes()
                        .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
            };
            matches!(word, "Auto" | "Logind" | "Systemctl" | "Signal") || named(word)
        },
    ),
];

/// Evaluates every rule of the schema.
pub(super) fn check(
    value: &Value,
    old: Option<&Value>,
    schema: &Value,
    path: &str,
    faults: &mut Vec<Fault>,
) {
    let own = schema
        .get("x-kubernetes-validations")
        .and_then(Value::as_array);
    for rule in own.into_iter().flatten() {
        let message = text(rule, "/message");
        let compares = text(rule, "/rule").contains("oldSelf");
        let holds = match (RULES.iter().find(|(known, _)| *known == message), old) {
            (Some(_), None) if compares => true,
            (Some((_, holds)), old) => holds(value, old.unwrap_or(&Value::Null)),
            // A rule that is one pattern needs no counterpart; any other unknown one never holds.
            (None, _) => pattern(text(rule, "/rule"))
                .is_some_and(|pattern| pattern.is_match(value.as_str().unwrap_or_default())),
        };
        if !holds {
            let field = if path.is_empty() { "<nil>" } else { path };
            faults.push(Fault::broken(field, value, message));
        }
    }
    let below = |key: &str| {
        if path.is_empty() {
            key.to_owned()
        } else {
            format!("{path}.{key}")
        }
    };
    match value {
        Value::Object(map) => {
            for (key, member) in map
                .iter()
                .filter(|(key, _)| *key != "metadata" || !path.is_empty())
            {
                let named = schema.get("properties").and_then(|all| all.get(key));
                let old = old.and_then(|old| old.get(key));
                if let Some(of_member) = named {
                    check(member, old, of_member, &below(key), faults);
                } else if let Some(of_member) = schema.get("additionalProperties") {
                    check(member, old, of_member, &format!("{path}[{key}]"), faults);
                }
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                if let Some(of_item) = schema.get("items") {
                    check(item, None, of_item, &format!("{path}[{index}]"), faults);
                }
            }
        }
        _ => {}
    }
}

/// The pattern of a rule that is `self.matches('...')` and nothing else.
fn pattern(rule: &str) -> Option<regex::Regex> {
    let pattern = rule.strip_prefix("self.matches('")?.strip_suffix("')")?;
    if pattern.contains('\'') {
        return None;
    }
    regex::Regex::new(pattern).ok()
}

fn seconds(duration: &Value) -> Option<u64> {
    let parsed = duration.as_str()?.parse::<Duration>().ok()?;
    Some(parsed.0.as_secs())
}

fn writes_no_selected_label(new: &Value, _: &Value) -> bool {
    let writes = |label: &str| {
        ["labelsWhileRebooting", "labelsAfter"].iter().any(|list| {
            let labels = new.pointer(&format!("/spec/nodeMetadata/{list}"));
            labels.is_some_and(|labels| labels.get(label).is_some())
        })
    };
    let selector = new.pointer("/spec/nodeSelector").unwrap_or(&Value::Null);
    let labels = selector.get("matchLabels").and_then(Value::as_object);
    let expressions = selector.get("matchExpressions").and_then(Value::as_array);
    let mut keys = labels.into_iter().flatten().map(|(key, _)| key.as_str());
    let mut others = expressions
        .into_iter()
        .flatten()
        .map(|one| text(one, "/key"));
    !keys.any(writes) && !others.any(writes)
}

fn fence(object: &Value, part: &str) -> Option<i64> {
    object.pointer(&format!("/spec/{part}/fence"))?.as_i64()
}

fn grant_grows(new: &Value, old: &Value) -> bool {
    let (now, before) = (new.pointer("/spec/grant"), old.pointer("/spec/grant"));
    before.is_none() || now == before || fence(new, "grant") > fence(old, "grant")
}

fn no_revoked_grant(new: &Value, old: &Value) -> bool {
    let (Some(granted), Some(revoked)) = (fence(new, "grant"), fence(old, "revoke")) else {
        return true;
    };
    fence(old, "grant") == Some(granted) || granted > revoked
}

fn clear_grows(new: &Value, old: &Value) -> bool {
    let Some(before) = fence(old, "clear") else {
        return true;
    };
    let at = |object: &Value| text(object, "/spec/clear/at").parse::<Timestamp>().ok();
    fence(new, "clear").is_some_and(|now| now > before || (now == before && at(new) >= at(old)))
}

fn revoke_grows(new: &Value, old: &Value) -> bool {
    fence(old, "revoke").is_none() || fence(new, "revoke") >= fence(old, "revoke")
}

fn no_late_revoke(new: &Value, old: &Value) -> bool {
    let Some(revoked) = fence(new, "revoke") else {
        return true;
    };
    fence(old, "revoke") == Some(revoked)
        || !matches!(text(old, "/status/phase"), "Rebooting" | "Rebooted")
        || revoked < number(old, "/status/fence")
}

fn has_status(object: &Value) -> bool {
    object.get("status").is_some_and(Value::is_object)
}

fn fence_grows(new: &Value, old: &Value) -> bool {
    !has_status(old)
        || (has_status(new) && number(new, "/status/fence") >= number(old, "/status/fence"))
}

fn enters_draining(new: &Value, old: &Value) -> bool {
    text(new, "/status/phase") == "Draining" && text(old, "/status/phase") != "Draining"
}

fn fence_changes_at_accept(new: &Value, old: &Value) -> bool {
    !has_status(old)
        || !has_status(new)
        || number(new, "/status/fence") == number(old, "/status/fence")
        || enters_draining(new, old)
}

fn accepted_once(new: &Value, old: &Value) -> bool {
    !has_status(old)
        || !has_status(new)
        || !enters_draining(new, old)
        || number(new, "/status/fence") > number(old, "/status/fence")
}

fn phase_moves(new: &Value, old: &Value) -> bool {
    if !has_status(old) {
        return true;
    }
    let phase = |object: &Value| {
        let name = text(object, "/status/phase");
        Phase::ALL.into_iter().find(|phase| phase.as_str() == name)
    };
    match (phase(old), phase(new)) {
        (Some(from), Some(to)) => {
            from.may_become(to, PhaseOwner::Operator) || from.may_become(to, PhaseOwner::Agent)
        }
        _ => false,
    }
}

fn next_fence_grows(new: &Value, old: &Value) -> bool {
    let next = |object: &Value| object.pointer("/status/nextFence").and_then(Value::as_i64);
    next(old).is_none() || next(new) >= next(old)
}

fn max_unavailable(new: &Value, _: &Value) -> bool {
    if let Some(count) = new.as_i64() {
        return (0..=1000).contains(&count);
    }
    let text = new.as_str().unwrap_or_default();
    let (digits, most) = match text.strip_suffix('%') {
        Some(digits) => (digits, 100),
        None => (text, 1000),
    };
    let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    let canonical = digits == "0" || !digits.starts_with('0');
    plain && canonical && digits.parse::<i64>().is_ok_and(|count| count <= most)
}

fn label_names(new: &Value, _: &Value) -> bool {
    match new {
        Value::Object(map) => map.keys().all(|name| is_label_name(name)),
        other => is_label_name(other.as_str().unwrap_or_default()),
    }
}

fn is_label_name(name: &str) -> bool {
    let (prefix, rest) = match name.split_once('/') {
        Some((prefix, rest)) => (Some(prefix), rest),
        None => (None, name),
    };
    let lower = |text: &str| {
        is_name(text, false) && !text.contains('_') && !text.bytes().any(|b| b.is_ascii_uppercase())
    };
    prefix.is_none_or(lower) && is_name(rest, false)
}

fn is_name(text: &str, may_be_empty: bool) -> bool {
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let ends = |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric());
    if text.is_empty() {
        return may_be_empty;
    }
    text.bytes().all(inner) && ends(text.bytes().next()) && ends(text.bytes().last())
}

fn is_zone(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'+' | b'-');
    let parts = || text.split('/');
    text.bytes()
        .next()
        .is_some_and(|byte| byte.is_ascii_alphabetic())
        && parts().all(|part| !part.is_empty() && part.bytes().all(inner))
}

fn is_clock(text: &str) -> bool {
    let Some((hour, minute)) = text.split_once(':') else {
        return false;
    };
    let part = |text: &str, most: u32| {
        text.len() == 2 && text.parse::<u32>().is_ok_and(|number| number <= most)
    };
    part(hour, 23) && part(minute, 59)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake_api::{custom, kinds};

    fn messages(schema: &Value, found: &mut Vec<String>) {
        match schema {
            Value::Object(map) => {
                for (key, value) in map {
                    if key == "x-kubernetes-validations" {
                        let rules = value.as_array().unwrap();
                        let own = rules
                            .iter()
                            .filter(|rule| pattern(text(rule, "/rule")).is_none());
                        found.extend(own.map(|rule| text(rule, "/message").to_owned()));
                    }
                    messages(value, found);
                }
            }
            Value::Array(items) => items.iter().for_each(|item| messages(item, found)),
            _ => {}
        }
    }

    #[test]
    fn every_rule_of_the_crds_has_its_counterpart() {
        let mut found = Vec::new();
        for kind in kinds::KINDS.iter().filter(|kind| kind.custom) {
            messages(custom::schema_of(kind).unwrap(), &mut found);
        }
        assert!(found.len() > 20, "{found:?}");
        for message in &found {
            assert!(RULES.iter().any(|(known, _)| known == message), "{message}");
        }
    }
}
