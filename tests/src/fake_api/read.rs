//! GET and LIST.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::answer::Answer;
use super::json::{set, text};
use super::path::Call;
use super::select::Selector;
use super::store::{Key, Objects, Store};

/// One object.
pub(super) fn get(store: &Store, call: &Call) -> Result<Answer, Answer> {
    check_version(store, call)?;
    let object = store
        .get(&call.key())
        .ok_or_else(|| Answer::not_found(call.kind, &call.name))?;
    Ok(Answer::ok(object.as_ref().clone()))
}

/// A collection, or a page of it.
pub(super) fn list(store: &Store, call: &Call) -> Result<Answer, Answer> {
    let selector = Selector::read(
        call.kind,
        call.param("labelSelector"),
        call.param("fieldSelector"),
    )?;
    let limit: usize = match call.param("limit") {
        "" => 0,
        limit => limit
            .parse()
            .map_err(|_| Answer::bad_request(&not_a_number("limit", limit)))?,
    };
    let (version, after) = match call.param("continue") {
        "" => {
            check_version(store, call)?;
            (store.version(), None)
        }
        token => {
            if !matches!(call.param("resourceVersion"), "" | "0") {
                let message = "specifying resource version is not allowed when using continue";
                return Err(Answer::bad_request(message));
            }
            let (version, after) = read_token(token)?;
            if version < store.compacted() {
                return Err(expired_token(store, &after));
            }
            (version, Some(after))
        }
    };
    // Only a page of an older list needs the past.
    let past: Objects;
    let objects = if version == store.version() {
        store.objects()
    } else {
        past = store.at(version);
        &past
    };
    let page = page(objects, call, &selector, after.as_ref(), limit);
    let mut metadata = json!({"resourceVersion": version.to_string()});
    if let Some(last) = page.continues {
        set(
            &mut metadata,
            "",
            "continue",
            json!(write_token(version, &last)),
        );
        if selector.is_everything() {
            set(
                &mut metadata,
                "",
                "remainingItemCount",
                json!(page.remaining),
            );
        }
    }
    let kind = call.kind;
    let items: Vec<Value> = page
        .items
        .iter()
        .map(|item| listed(item.as_ref().clone(), kind.custom))
        .collect();
    Ok(Answer::ok(json!({
        "kind": format!("{}List", kind.kind), "apiVersion": kind.api_version(),
        "metadata": metadata, "items": items,
    })))
}

/// Items of built-in lists do not repeat kind and version; those of custom lists do.
fn listed(mut item: Value, custom: bool) -> Value {
    if !custom {
        super::json::remove(&mut item, "", "kind");
        super::json::remove(&mut item, "", "apiVersion");
    }
    item
}

struct Page {
    items: Vec<Arc<Value>>,
    continues: Option<Key>,
    remaining: usize,
}

fn page(
    objects: &Objects,
    call: &Call,
    selector: &Selector,
    after: Option<&Key>,
    limit: usize,
) -> Page {
    let resource = call.kind.resource();
    let mut page = Page {
        items: Vec::new(),
        continues: None,
        remaining: 0,
    };
    let mut last = None;
    for (key, object) in objects {
        let here = key.resource == resource
            && (call.namespace.is_empty() || key.namespace == call.namespace)
            && after.is_none_or(|after| key > after);
        if !here || !selector.selects(object) {
            continue;
        }
        if limit > 0 && page.items.len() == limit {
            page.continues.clone_from(&last);
            page.remaining += 1;
            continue;
        }
        page.items.push(Arc::clone(object));
        last = Some(key.clone());
    }
    page
}

fn write_token(version: u64, last: &Key) -> String {
    let token = json!({"rv": version, "r": last.resource, "ns": last.namespace, "n": last.name});
    URL_SAFE_NO_PAD.encode(token.to_string())
}

fn read_token(token: &str) -> Result<(u64, Key), Answer> {
    let invalid = || Answer::bad_request("continue key is not valid");
    let bytes = URL_SAFE_NO_PAD.decode(token).map_err(|_| invalid())?;
    let token: Value = serde_json::from_slice(&bytes).map_err(|_| invalid())?;
    let version = token
        .get("rv")
        .and_then(Value::as_u64)
        .ok_or_else(invalid)?;
    let part = |pointer: &str| text(&token, pointer).to_owned();
    let key = Key {
        resource: part("/r"),
        namespace: part("/ns"),
        name: part("/n"),
    };
    Ok((version, key))
}

fn expired_token(store: &Store, after: &Key) -> Answer {
    let message = "The provided continue parameter is too old to display a consistent list \
                   result. You can start a new list without the continue parameter, or use the \
                   continue token in this response to retrieve the remainder of the results. \
                   Continuing with the provided token results in an inconsistent list - objects \
                   that were created, modified, or deleted between the time the first chunk was \
                   returned and now may show up in the list.";
    let mut answer = Answer::expired(message);
    let token = write_token(store.version(), after);
    set(&mut answer.body, "/metadata", "continue", json!(token));
    answer
}

/// A read may ask for at least some version; one that is not there yet is waited for in vain.
fn check_version(store: &Store, call: &Call) -> Result<(), Answer> {
    let asked = call.param("resourceVersion");
    if asked.is_empty() {
        return Ok(());
    }
    let Ok(version) = asked.parse::<u64>() else {
        let message = not_a_version(asked);
        return Err(if call.name.is_empty() {
            Answer::bad_request(&message)
        } else {
            Answer::failure(500, "", &message, &Value::Null)
        });
    };
    if version <= store.version() {
        return Ok(());
    }
    let current = store.version();
    let message = format!("Too large resource version: {version}, current: {current}");
    let details = json!({
        "causes": [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}],
        "retryAfterSeconds": 1,
    });
    Err(Answer::failure(504, "Timeout", &message, &details))
}

fn not_a_number(field: &str, value: &str) -> String {
    format!("{field}: strconv.ParseInt: parsing \"{value}\": invalid syntax")
}

pub(super) fn not_a_version(text: &str) -> String {
    format!(
        "resourceVersion: Invalid value: \"{text}\": strconv.ParseUint: parsing \"{text}\": invalid \
         syntax"
    )
}
