//! POST, PUT and PATCH: the order of the real server's checks.

use serde_json::{Value, json};

use super::answer::{Answer, Fault};
use super::json::{set, take_over, text};
use super::kinds::Kind;
use super::path::Call;
use super::store::{Key, Store, generation};
use super::{builtin, custom, managed, merge};

/// POST.
pub(super) fn create(store: &mut Store, call: &Call, body: Value) -> Result<Answer, Answer> {
    // The real server takes it for custom kinds, by the name in the body.
    if !call.name.is_empty() && !call.kind.custom {
        return Err(Answer::not_allowed());
    }
    let object = typed(call, body)?;
    make(store, call, object)
}

fn make(store: &mut Store, call: &Call, mut object: Value) -> Result<Answer, Answer> {
    let kind = call.kind;
    placed(call, &mut object)?;
    if text(&object, "/metadata/name").is_empty() {
        let prefix = text(&object, "/metadata/generateName").to_owned();
        if !prefix.is_empty() {
            let suffix = format!("{:05x}", store.random() & 0xF_FFFF);
            set(
                &mut object,
                "/metadata",
                "name",
                json!(format!("{prefix}{suffix}")),
            );
        }
    }
    let name = text(&object, "/metadata/name").to_owned();
    let metadata = meta_of_new(store, kind, &object);
    set(&mut object, "", "metadata", metadata);
    if kind.custom {
        custom::prepare_new(kind, &mut object);
        custom::validate(kind, &object, None, false)?;
    } else {
        builtin::prepare_new(kind, &mut object);
        builtin::validate(kind, &object, None)?;
    }
    let key = Key::of(kind, &call.namespace, &name);
    if store.get(&key).is_some() {
        return Err(Answer::exists(kind, &name));
    }
    if !text(&object, "/metadata/resourceVersion").is_empty() {
        let message = "resourceVersion should not be set on objects to be created";
        return Err(Answer::failure(500, "", message, &Value::Null));
    }
    managed::track(kind, &mut object, None, call.param("fieldManager"));
    if call.param("dryRun") == "All" {
        return Ok(Answer::created(object));
    }
    let stored = store.put(key, object, &call.author());
    Ok(Answer::created(stored.as_ref().clone()))
}

/// PUT.
pub(super) fn replace(store: &mut Store, call: &Call, body: Value) -> Result<Answer, Answer> {
    let mut object = typed(call, body)?;
    placed(call, &mut object)?;
    let name = text(&object, "/metadata/name").to_owned();
    if name.is_empty() {
        set(&mut object, "/metadata", "name", json!(call.name));
    } else if name != call.name {
        let url = &call.name;
        let message =
            format!("the name of the object ({name}) does not match the name on the URL ({url})");
        return Err(Answer::bad_request(&message));
    }
    let Some(present) = store.get(&call.key()).cloned() else {
        if call.kind.create_on_update && call.subresource.is_empty() {
            super::json::remove(&mut object, "/metadata", "resourceVersion");
            return make(store, call, object);
        }
        return Err(Answer::not_found(call.kind, &call.name));
    };
    let uid = text(&object, "/metadata/uid").to_owned();
    let real = text(&present, "/metadata/uid");
    if !uid.is_empty() && uid != real {
        let why = format!(
            "StorageError: invalid object, Code: 4, Key: {}, ResourceVersion: 0, \
             AdditionalErrorMsg: Precondition failed: UID in precondition: {uid}, UID in object \
             meta: {real}",
            stored_at(call)
        );
        return Err(Answer::conflict(call.kind, &call.name, &why));
    }
    update(store, call, &present, object)
}

/// PATCH.
pub(super) fn patch(store: &mut Store, call: &Call, patch: &Value) -> Result<Answer, Answer> {
    let media = call.content_type.split(';').next().unwrap_or_default();
    let known = match media.trim() {
        "application/merge-patch+json" => true,
        "application/strategic-merge-patch+json" => !call.kind.custom,
        _ => false,
    };
    if !known {
        let accepted = if call.kind.custom {
            "application/json-patch+json, application/merge-patch+json, \
             application/apply-patch+yaml, application/apply-patch+cbor"
        } else {
            "application/json-patch+json, application/merge-patch+json, \
             application/strategic-merge-patch+json, application/apply-patch+yaml, \
             application/apply-patch+cbor"
        };
        let message = format!(
            "the body of the request was in an unknown format - accepted media types include: \
             {accepted}"
        );
        return Err(Answer::failure(
            415,
            "UnsupportedMediaType",
            &message,
            &json!({}),
        ));
    }
    let Some(present) = store.get(&call.key()).cloned() else {
        return Err(Answer::not_found(call.kind, &call.name));
    };
    let mut object = present.as_ref().clone();
    if media.contains("strategic") {
        merge::strategic(&mut object, patch);
    } else {
        merge::merge(&mut object, patch);
    }
    update(store, call, &present, object)
}

fn update(
    store: &mut Store,
    call: &Call,
    present: &Value,
    mut object: Value,
) -> Result<Answer, Answer> {
    let kind = call.kind;
    let version = text(&object, "/metadata/resourceVersion").to_owned();
    let current = text(present, "/metadata/resourceVersion");
    if version.is_empty() || version == "0" {
        if !kind.unconditional {
            let why = "must be specified for an update";
            let fault = Fault::invalid("metadata.resourceVersion", "0", why);
            let resource = kind.resource();
            let names = (kind.plural, resource.as_str());
            return Err(Answer::invalid_as(names, kind.group, &call.name, &[fault]));
        }
    } else if version != current {
        return Err(Answer::modified(kind, &call.name));
    }
    let (name, own) = (text(&object, "/metadata/name"), &call.name);
    if name != own {
        let message =
            format!("the name of the object ({name}) does not match the name on the URL ({own})");
        return Err(Answer::bad_request(&message));
    }
    keep_foreign_parts(call, &mut object, present);
    let mut faults = immutable_metadata(&object, present);
    if kind.plural == "poddisruptionbudgets" {
        faults.truncate(1);
    }
    if !faults.is_empty() {
        return Err(Answer::invalid(kind, &call.name, &faults));
    }
    if kind.custom {
        custom::prepare(kind, &mut object);
        custom::validate(kind, &object, Some(present), call.subresource == "status")?;
    } else {
        builtin::prepare(kind, &mut object);
        builtin::validate(kind, &object, Some(present))?;
    }
    if kind.generation && call.subresource.is_empty() && differs(kind, &object, present) {
        let next = generation(present) + 1;
        set(&mut object, "/metadata", "generation", json!(next));
    }
    set(&mut object, "/metadata", "resourceVersion", json!(current));
    managed::track(kind, &mut object, Some(present), call.param("fieldManager"));
    if object == *present || call.param("dryRun") == "All" {
        return Ok(Answer::ok(object));
    }
    if is_finished(&object) {
        store.remove(&call.key(), &call.author());
        return Ok(Answer::ok(object));
    }
    let stored = store.put(call.key(), object, &call.author());
    Ok(Answer::ok(stored.as_ref().clone()))
}

/// An object that was to be deleted and has lost its last finalizer.
fn is_finished(object: &Value) -> bool {
    let finalizers = object
        .pointer("/metadata/finalizers")
        .and_then(Value::as_array);
    !text(object, "/metadata/deletionTimestamp").is_empty()
        && super::json::number(object, "/metadata/deletionGracePeriodSeconds") == 0
        && finalizers.is_none_or(Vec::is_empty)
}

/// The main resource never changes `status`, and the status subresource nothing else.
fn keep_foreign_parts(call: &Call, object: &mut Value, present: &Value) {
    for key in [
        "creationTimestamp",
        "generation",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "managedFields",
    ] {
        take_over(object, present, "/metadata", key);
    }
    if text(object, "/metadata/uid").is_empty() {
        take_over(object, present, "/metadata", "uid");
    }
    if !call.kind.status {
        return;
    }
    if call.subresource.is_empty() {
        take_over(object, present, "", "status");
        return;
    }
    if call.kind.custom {
        let status = object.get("status").cloned();
        let version = object.pointer("/metadata/resourceVersion").cloned();
        *object = present.clone();
        match status {
            Some(status) => set(object, "", "status", status),
            None => {
                super::json::remove(object, "", "status");
            }
        }
        set(
            object,
            "/metadata",
            "resourceVersion",
            version.unwrap_or_default(),
        );
    } else {
        take_over(object, present, "", "spec");
    }
}

fn differs(kind: &Kind, object: &Value, present: &Value) -> bool {
    if kind.custom {
        let strip = |object: &Value| {
            let mut rest = object.clone();
            super::json::remove(&mut rest, "", "metadata");
            super::json::remove(&mut rest, "", "status");
            rest
        };
        return strip(object) != strip(present);
    }
    object.get("spec") != present.get("spec")
}

fn immutable_metadata(object: &Value, present: &Value) -> Vec<Fault> {
    let (new, old) = (
        text(object, "/metadata/uid"),
        text(present, "/metadata/uid"),
    );
    if new == old {
        return Vec::new();
    }
    // Twice, as the real server says it.
    let fault = Fault::invalid("metadata.uid", &format!("\"{new}\""), "field is immutable");
    vec![fault.clone(), fault]
}

/// Where the real server keeps the object in etcd.
fn stored_at(call: &Call) -> String {
    let kind = call.kind;
    let directory = match kind.plural {
        "nodes" => "minions".to_owned(),
        plural if kind.custom => format!("{}/{plural}", kind.group),
        plural => plural.to_owned(),
    };
    if kind.namespaced {
        format!("/registry/{directory}/{}/{}", call.namespace, call.name)
    } else {
        format!("/registry/{directory}/{}", call.name)
    }
}

/// What the body says it is must be what the path leads to.
fn typed(call: &Call, mut body: Value) -> Result<Value, Answer> {
    let kind = call.kind;
    if !body.is_object() {
        return Err(Answer::bad_request("the body is not an object"));
    }
    let (said, version) = (
        text(&body, "/kind").to_owned(),
        text(&body, "/apiVersion").to_owned(),
    );
    let wanted = kind.api_version();
    if said.is_empty() && version.is_empty() && !kind.custom {
        set(&mut body, "", "kind", json!(kind.kind));
        set(&mut body, "", "apiVersion", json!(wanted));
    } else if kind.custom && said != kind.kind && version == wanted {
        let why = format!("must be {}", kind.kind);
        let fault = Fault::invalid("kind", &format!("\"{said}\""), &why);
        let qualified = format!("{said}.{}", kind.group);
        let name = text(&body, "/metadata/name");
        let names = (said.as_str(), qualified.as_str());
        return Err(Answer::invalid_as(names, kind.group, name, &[fault]));
    } else if said != kind.kind || version != wanted {
        let (plural, ours) = (kind.resource(), kind.kind);
        let message = format!(
            "{said} in version \"{version}\" cannot be handled as a {ours}: the path leads to {plural}"
        );
        return Err(Answer::bad_request(&message));
    }
    if !body.get("metadata").is_some_and(Value::is_object) {
        set(&mut body, "", "metadata", json!({}));
    }
    Ok(body)
}

/// Name and namespace of the body against those of the path.
fn placed(call: &Call, object: &mut Value) -> Result<(), Answer> {
    let said = text(object, "/metadata/namespace").to_owned();
    let wanted = &call.namespace;
    if !said.is_empty() && said != *wanted {
        let message = "the namespace of the provided object does not match the namespace sent on \
                       the request";
        return Err(Answer::bad_request(message));
    }
    if call.kind.namespaced {
        set(object, "/metadata", "namespace", json!(wanted));
    }
    Ok(())
}

fn meta_of_new(store: &mut Store, kind: &Kind, object: &Value) -> Value {
    let mut metadata = object.get("metadata").cloned().unwrap_or_default();
    for key in [
        "selfLink",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "managedFields",
    ] {
        super::json::remove(&mut metadata, "", key);
    }
    set(&mut metadata, "", "uid", json!(store.uid()));
    set(&mut metadata, "", "creationTimestamp", json!(store.stamp()));
    if kind.generation {
        set(&mut metadata, "", "generation", json!(1));
    }
    metadata
}
