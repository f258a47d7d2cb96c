//! Answers made comparable: what no two servers can agree on becomes a symbol or goes.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use slipway_lab::fake_api::owners_of_unschedulable;

/// Symbols of one conversation, in order of appearance.
#[derive(Default)]
pub(crate) struct Symbols {
    uids: BTreeMap<String, String>,
    versions: BTreeMap<String, String>,
}

/// Makes an answer comparable.
pub(crate) fn normalise(answer: &Value, own: &str, symbols: &mut Symbols) -> Value {
    let mut value = answer.clone();
    shape(&mut value);
    note(&value, symbols);
    let value = rewrite(&value, "", own, symbols);
    without_empty(value)
}

/// Drops what depends on the server's time, its other objects, or defaults nobody looks at.
fn shape(value: &mut Value) {
    match value {
        Value::Array(items) => {
            items.retain(|item| item["type"] != "BOOKMARK");
            items.iter_mut().for_each(shape);
        }
        Value::Object(map) => {
            let kind = map.get("kind").and_then(Value::as_str).unwrap_or_default();
            let kind = kind.to_owned();
            if let Some(base) = kind.strip_suffix("List") {
                if let Some(metadata) = map.get_mut("metadata").and_then(Value::as_object_mut) {
                    metadata.remove("resourceVersion");
                    // Lists of custom kinds say that nothing follows.
                    if metadata.get("continue") == Some(&json!("")) {
                        metadata.remove("continue");
                    }
                    if metadata.contains_key("continue") {
                        metadata.insert("continue".into(), json!("<token>"));
                    }
                }
                for item in map
                    .get_mut("items")
                    .and_then(Value::as_array_mut)
                    .into_iter()
                    .flatten()
                {
                    let bare = item.get("kind").is_none();
                    item["kind"] = json!(base);
                    shape(item);
                    if bare {
                        item.as_object_mut().unwrap().remove("kind");
                    }
                }
                return;
            }
            let owners = owners_of_unschedulable(&Value::Object(map.clone()));
            shape_object(map, &kind);
            if let Some(metadata) = map.get_mut("metadata").and_then(Value::as_object_mut) {
                metadata.remove("managedFields");
                metadata.remove("creationTimestamp");
                metadata.remove("selfLink");
                if metadata.contains_key("continue") {
                    metadata.insert("continue".into(), json!("<token>"));
                }
                if metadata.contains_key("deletionTimestamp") {
                    metadata.insert("deletionTimestamp".into(), json!("<time>"));
                }
                if !owners.is_empty() {
                    metadata.insert("unschedulableOwners".into(), json!(owners));
                }
            }
            if let Some(object) = map.get_mut("object") {
                shape(object);
            }
        }
        _ => {}
    }
}

fn shape_object(map: &mut Map<String, Value>, kind: &str) {
    let keep = |map: &mut Map<String, Value>, part: &str, keys: &[&str]| {
        if let Some(part) = map.get_mut(part).and_then(Value::as_object_mut) {
            part.retain(|key, _| keys.contains(&key.as_str()));
        }
    };
    match kind {
        "Node" => keep(map, "status", &["conditions", "addresses", "phase"]),
        "Pod" => {
            keep(map, "spec", &["nodeName"]);
            keep(map, "status", &["phase", "conditions"]);
        }
        "PodDisruptionBudget" => {
            let conditions = map
                .get_mut("status")
                .and_then(|status| status.get_mut("conditions"));
            for condition in conditions
                .and_then(Value::as_array_mut)
                .into_iter()
                .flatten()
            {
                condition
                    .as_object_mut()
                    .unwrap()
                    .remove("lastTransitionTime");
            }
            if let Some(Value::Object(pods)) = map
                .get_mut("status")
                .and_then(|status| status.get_mut("disruptedPods"))
            {
                pods.values_mut().for_each(|at| *at = json!("<time>"));
            }
        }
        "Status" => {
            let code = map.get("code").and_then(Value::as_u64).unwrap_or_default();
            // Why a version is too old is said by the cache or by the database.
            if code == 410 {
                map.remove("message");
            }
            // These say what the server's decoder met, in its own words.
            if matches!(code, 400 | 415) {
                map.remove("message");
                map.remove("details");
            }
        }
        _ => {}
    }
    if kind == "Node" || kind == "Pod" {
        let conditions = map
            .get_mut("status")
            .and_then(|status| status.get_mut("conditions"))
            .and_then(Value::as_array_mut);
        for condition in conditions.into_iter().flatten() {
            let condition = condition.as_object_mut().unwrap();
            condition.retain(|key, value| !key.ends_with("Time") || !value.is_null());
            if condition["type"] == "DisruptionTarget" {
                condition.remove("lastTransitionTime");
            }
        }
    }
}

fn note(value: &Value, symbols: &mut Symbols) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| note(item, symbols)),
        Value::Object(map) => {
            for (key, member) in map {
                if let Some(text) = member.as_str() {
                    let (known, letter) = match key.as_str() {
                        "uid" => (&mut symbols.uids, "uid"),
                        "resourceVersion" => (&mut symbols.versions, "rv"),
                        _ => continue,
                    };
                    let next = format!("<{letter}{}>", known.len() + 1);
                    known.entry(text.to_owned()).or_insert(next);
                } else {
                    note(member, symbols);
                }
            }
        }
        _ => {}
    }
}

fn rewrite(value: &Value, key: &str, own: &str, symbols: &Symbols) -> Value {
    match value {
        Value::Array(items) => items
            .iter()
            .map(|item| rewrite(item, key, own, symbols))
            .collect(),
        Value::Object(map) => map
            .iter()
            .map(|(key, member)| (key.replace(own, "$X"), rewrite(member, key, own, symbols)))
            .collect(),
        Value::String(text) if key == "resourceVersion" => {
            json!(symbols.versions.get(text).unwrap_or(text))
        }
        Value::String(text) => {
            let mut text = text.replace(own, "$X");
            if key == "message" && text.contains("esource") {
                text = numbers(&text, symbols);
            }
            for (uid, symbol) in &symbols.uids {
                text = text.replace(uid, symbol);
            }
            json!(text)
        }
        other => other.clone(),
    }
}

/// Replaces resourceVersions in a message: known ones by their symbols, others by `<n>`.
fn numbers(text: &str, symbols: &Symbols) -> String {
    let word = |part: &str| {
        if !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()) {
            let symbol = symbols.versions.get(part);
            return symbol.map_or("<n>", String::as_str).to_owned();
        }
        part.to_owned()
    };
    let mut out = String::new();
    let mut part = String::new();
    for letter in text.chars() {
        if letter.is_alphanumeric() || matches!(letter, '-' | '.' | '$') {
            part.push(letter);
            continue;
        }
        out.push_str(&word(&part));
        part.clear();
        out.push(letter);
    }
    out.push_str(&word(&part));
    out
}

fn without_empty(value: Value) -> Value {
    match value {
        Value::Array(items) => items.into_iter().map(without_empty).collect(),
        Value::Object(map) => map
            .into_iter()
            .map(|(key, member)| (key, without_empty(member)))
            .filter(|(_, member)| {
                !member.is_null() && member.as_object().is_none_or(|map| !map.is_empty())
            })
            .collect(),
        other => other,
    }
}
