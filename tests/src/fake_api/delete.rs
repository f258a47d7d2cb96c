//! DELETE, with preconditions, grace and finalizers.

use serde_json::{Value, json};

use super::answer::Answer;
use super::json::{number, set, text};
use super::path::Call;
use super::store::{Key, Store};

/// The grace that a pod gets when nobody says otherwise.
const GRACE_SECONDS: i64 = 30;

/// DELETE of one object.
pub(super) fn delete(store: &mut Store, call: &Call, options: &Value) -> Result<Answer, Answer> {
    if call.name.is_empty() {
        return delete_all(store, call);
    }
    let key = call.key();
    let Some(present) = store.get(&key).cloned() else {
        return Err(Answer::not_found(call.kind, &call.name));
    };
    check_preconditions(call, options, &present)?;
    let uid = text(&present, "/metadata/uid").to_owned();
    let is_pod = call.kind.plural == "pods";
    let asked = match call.param("gracePeriodSeconds") {
        "" => options.get("gracePeriodSeconds").and_then(Value::as_i64),
        seconds => seconds.parse().ok(),
    };
    let has_finalizers = present
        .pointer("/metadata/finalizers")
        .and_then(Value::as_array)
        .is_some_and(|all| !all.is_empty());
    let grace = if is_pod { grace(&present, asked) } else { 0 };
    if call.param("dryRun") == "All" {
        return Ok(answer(call, &uid, present.as_ref().clone(), is_pod));
    }
    if grace > 0 || has_finalizers {
        let marked = mark(store, &key, &present, grace, call);
        return Ok(answer(call, &uid, marked, is_pod || has_finalizers));
    }
    let mut last = present.as_ref().clone();
    if is_pod {
        // A mark is written first, whatever the grace.
        if !text(&last, "/metadata/deletionTimestamp").is_empty() {
            set(
                &mut last,
                "/metadata",
                "deletionGracePeriodSeconds",
                json!(1),
            );
        }
        last = mark(store, &key, &last, 0, call);
    }
    store.remove(&key, &call.author());
    let version = json!(store.version().to_string());
    set(&mut last, "/metadata", "resourceVersion", version);
    Ok(answer(call, &uid, last, is_pod))
}

fn answer(call: &Call, uid: &str, object: Value, whole: bool) -> Answer {
    if whole {
        Answer::ok(object)
    } else {
        Answer::deleted(call.kind, &call.name, uid)
    }
}

/// A pod that never ran has nothing to end.
fn grace(pod: &Value, asked: Option<i64>) -> i64 {
    let own = pod
        .pointer("/spec/terminationGracePeriodSeconds")
        .and_then(Value::as_i64)
        .unwrap_or(GRACE_SECONDS);
    let phase = text(pod, "/status/phase");
    if text(pod, "/spec/nodeName").is_empty() || matches!(phase, "Succeeded" | "Failed") {
        return 0;
    }
    asked.unwrap_or(own).max(0)
}

/// Marks an object for deletion; a mark that is there may only be brought forward.
fn mark(store: &mut Store, key: &Key, present: &Value, grace: i64, call: &Call) -> Value {
    let marked = !text(present, "/metadata/deletionTimestamp").is_empty();
    let sooner = grace < number(present, "/metadata/deletionGracePeriodSeconds");
    if marked && !sooner {
        return present.clone();
    }
    let seconds = jiff::SignedDuration::from_secs(grace);
    let at = store
        .now()
        .saturating_add(seconds)
        .unwrap_or_else(|_| store.now());
    let at = at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let mut object = present.clone();
    set(&mut object, "/metadata", "deletionTimestamp", json!(at));
    set(
        &mut object,
        "/metadata",
        "deletionGracePeriodSeconds",
        json!(grace),
    );
    if call.kind.generation && !marked {
        let next = super::store::generation(present) + 1;
        set(&mut object, "/metadata", "generation", json!(next));
    }
    store
        .put(key.clone(), object, &call.author())
        .as_ref()
        .clone()
}

/// The preconditions of a deletion, or of an eviction's delete options.
pub(super) fn check_preconditions(
    call: &Call,
    options: &Value,
    present: &Value,
) -> Result<(), Answer> {
    let of = |key: &str| text(options, &format!("/preconditions/{key}"));
    let name = &call.name;
    let conflict = |why: &str| {
        // The real server names the kind here, not the resource.
        let qualified = call.kind.qualified();
        let message = format!("Operation cannot be fulfilled on {qualified} \"{name}\": {why}");
        let mut details = json!({"name": name, "kind": call.kind.kind});
        if !call.kind.group.is_empty() {
            set(&mut details, "", "group", json!(call.kind.group));
        }
        Err(Answer::failure(409, "Conflict", &message, &details))
    };
    let (wanted, uid) = (of("uid"), text(present, "/metadata/uid"));
    if !wanted.is_empty() && wanted != uid {
        return conflict(&format!(
            "the UID in the precondition ({wanted}) does not match the UID in record ({uid}). The \
             object might have been deleted and then recreated"
        ));
    }
    let (wanted, version) = (
        of("resourceVersion"),
        text(present, "/metadata/resourceVersion"),
    );
    if !wanted.is_empty() && wanted != version {
        return conflict(&format!(
            "the ResourceVersion in the precondition ({wanted}) does not match the \
             ResourceVersion in record ({version}). The object might have been modified"
        ));
    }
    Ok(())
}

fn delete_all(store: &mut Store, call: &Call) -> Result<Answer, Answer> {
    let selector = super::select::Selector::read(
        call.kind,
        call.param("labelSelector"),
        call.param("fieldSelector"),
    )?;
    let listed = super::read::list(store, call)?;
    let doomed = store.list(call.kind, &call.namespace);
    for object in doomed.iter().filter(|object| selector.selects(object)) {
        let key = Key::of(
            call.kind,
            text(object, "/metadata/namespace"),
            text(object, "/metadata/name"),
        );
        store.remove(&key, &call.author());
    }
    Ok(listed)
}
