//! Merge patches (RFC 7396) and strategic merge patches, as far as our programs use them.

use serde_json::{Map, Value};

/// Applies a merge patch.
pub(super) fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Some(target) = target.as_object_mut() else {
        return;
    };
    for (key, value) in patch {
        if value.is_null() {
            target.remove(key);
        } else {
            merge(target.entry(key).or_insert(Value::Null), value);
        }
    }
}

/// Applies a strategic merge patch: like a merge patch, but lists with a merge key are merged by it.
pub(super) fn strategic(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Some(target) = target.as_object_mut() else {
        return;
    };
    match patch.get("$patch").and_then(Value::as_str) {
        Some("replace") => {
            *target = without_directives(patch);
            return;
        }
        Some("delete") => {
            target.clear();
            return;
        }
        _ => {}
    }
    for (key, value) in patch.iter().filter(|(key, _)| !key.starts_with('$')) {
        if value.is_null() {
            target.remove(key);
            continue;
        }
        match (merge_key(key), value) {
            (Some(merge_key), Value::Array(patches)) => {
                let list = target
                    .entry(key)
                    .or_insert_with(|| Value::Array(Vec::new()));
                list_by_key(list, patches, merge_key);
            }
            _ => strategic(target.entry(key).or_insert(Value::Null), value),
        }
    }
}

/// The member by which the elements of a list are told apart; `None` where it is replaced whole.
fn merge_key(list: &str) -> Option<&'static str> {
    match list {
        "conditions" | "addresses" => Some("type"),
        "containers" | "initContainers" | "volumes" => Some("name"),
        "ownerReferences" => Some("uid"),
        _ => None,
    }
}

fn list_by_key(list: &mut Value, patches: &[Value], key: &str) {
    if !list.is_array() {
        *list = Value::Array(Vec::new());
    }
    let Some(list) = list.as_array_mut() else {
        return;
    };
    let is_whole = patches.iter().any(|patch| {
        patch.get("$patch").and_then(Value::as_str) == Some("replace") && patch.get(key).is_none()
    });
    if is_whole {
        let plain = patches.iter().filter(|patch| patch.get("$patch").is_none());
        *list = plain.cloned().collect();
        return;
    }
    let server_order: Vec<Option<Value>> = list.iter().map(|it| it.get(key).cloned()).collect();
    let mut new = Vec::new();
    for patch in patches {
        let id = patch.get(key);
        let delete = patch.get("$patch").and_then(Value::as_str) == Some("delete");
        let present = list.iter().position(|element| element.get(key) == id);
        match present {
            Some(at) if delete => {
                list.remove(at);
            }
            Some(at) => {
                if let Some(element) = list.get_mut(at) {
                    strategic(element, patch);
                }
            }
            None if delete => {}
            None => {
                let mut element = Value::Object(Map::new());
                strategic(&mut element, patch);
                new.push(element);
            }
        }
    }
    list.extend(new);
    order(list, patches, key, &server_order);
}

/// Two sequences are woven: what the patch names in its order, the rest in the server's; a new
/// element comes before whatever follows it.
fn order(list: &mut Vec<Value>, patches: &[Value], key: &str, server: &[Option<Value>]) {
    let place = |element: &Value| {
        let id = element.get(key).cloned();
        server.iter().position(|known| *known == id)
    };
    let named = |element: &Value| {
        patches
            .iter()
            .position(|patch| patch.get(key) == element.get(key))
    };
    let (mut left, right): (Vec<Value>, Vec<Value>) = std::mem::take(list)
        .into_iter()
        .partition(|element| named(element).is_some());
    left.sort_by_key(|element| named(element));
    let mut right = right.into_iter().peekable();
    for element in left {
        // `None` is less than any place.
        while let Some(other) = right.next_if(|other| place(other) < place(&element)) {
            list.push(other);
        }
        list.push(element);
    }
    list.extend(right);
}

fn without_directives(patch: &Map<String, Value>) -> Map<String, Value> {
    patch
        .iter()
        .filter(|(key, _)| !key.starts_with('$'))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_merge_patch_replaces_lists_and_removes_nulls() {
        let mut target = json!({"a": {"b": 1, "c": 2}, "l": [1, 2]});
        merge(&mut target, &json!({"a": {"b": null, "d": 3}, "l": [3]}));
        assert_eq!(target, json!({"a": {"c": 2, "d": 3}, "l": [3]}));
    }

    #[test]
    fn a_strategic_patch_merges_conditions_by_type() {
        let mut target = json!({"status": {"conditions": [
            {"type": "Ready", "status": "True"}, {"type": "Other", "status": "False"}]}});
        let patch = json!({"status": {"conditions": [
            {"type": "Ready", "status": "False"}, {"type": "New", "status": "True"},
            {"type": "Other", "$patch": "delete"}]}});
        strategic(&mut target, &patch);
        assert_eq!(
            target["status"]["conditions"],
            json!([{"type": "Ready", "status": "False"}, {"type": "New", "status": "True"}])
        );
    }
}
