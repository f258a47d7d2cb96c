//! The eviction of a pod, with PodDisruptionBudgets.

use serde_json::{Value, json};

use super::answer::Answer;
use super::delete;
use super::json::{number, set, text};
use super::kinds;
use super::path::Call;
use super::select::label_selector;
use super::store::{Key, Store, generation};

/// How often the real server asks to come back.
const RETRY_SECONDS: i64 = 10;

/// POST pods/NAME/eviction.
pub(super) fn evict(store: &mut Store, call: &Call, body: &Value) -> Result<Answer, Answer> {
    let name = text(body, "/metadata/name");
    if !name.is_empty() && name != call.name {
        return Err(Answer::bad_request(
            "name in URL does not match name in Eviction object",
        ));
    }
    let Some(pod) = store.get(&call.key()).cloned() else {
        return Err(Answer::not_found(call.kind, &call.name));
    };
    let options = body.get("deleteOptions").cloned().unwrap_or(Value::Null);
    if needs_no_budget(&pod) {
        return remove(store, call, &options);
    }
    let budgets = budgets_of(store, &pod);
    if budgets.len() > 1 {
        let message = "This pod has more than one PodDisruptionBudget, which the eviction \
                       subresource does not support.";
        return Err(Answer::failure(500, "", message, &Value::Null));
    }
    if let Some(budget) = budgets.first()
        && counts(budget, &pod)
    {
        let rehearsed = call.param("dryRun") == "All";
        spend(store, budget, &call.name, rehearsed)?;
    }
    remove(store, call, &options)
}

/// A pod that has ended, waits for a node or is leaving already disturbs nobody.
fn needs_no_budget(pod: &Value) -> bool {
    matches!(
        text(pod, "/status/phase"),
        "Succeeded" | "Failed" | "Pending"
    ) || !text(pod, "/metadata/deletionTimestamp").is_empty()
}

fn is_ready(pod: &Value) -> bool {
    let conditions = pod.pointer("/status/conditions").and_then(Value::as_array);
    conditions.into_iter().flatten().any(|condition| {
        text(condition, "/type") == "Ready" && text(condition, "/status") == "True"
    })
}

/// A pod that is not Ready may go unless the budget wants what it has.
fn counts(budget: &Value, pod: &Value) -> bool {
    if is_ready(pod) {
        return true;
    }
    let always = text(budget, "/spec/unhealthyPodEvictionPolicy") == "AlwaysAllow";
    let healthy = number(budget, "/status/currentHealthy");
    let enough = healthy >= number(budget, "/status/desiredHealthy")
        && number(budget, "/status/desiredHealthy") > 0;
    !(always || enough)
}

fn budgets_of(store: &Store, pod: &Value) -> Vec<Value> {
    let Some(kind) = kinds::find("policy", "v1", "poddisruptionbudgets") else {
        return Vec::new();
    };
    let labels = pod.pointer("/metadata/labels").cloned().unwrap_or_default();
    let selects = |budget: &Value| {
        budget
            .pointer("/spec/selector")
            .is_some_and(|selector| label_selector(selector, &labels))
    };
    store
        .list(kind, text(pod, "/metadata/namespace"))
        .into_iter()
        .filter(|budget| selects(budget))
        .map(|budget| budget.as_ref().clone())
        .collect()
}

/// Takes one disruption out of the budget.
fn spend(store: &mut Store, budget: &Value, pod: &str, rehearsed: bool) -> Result<(), Answer> {
    let name = text(budget, "/metadata/name");
    let message = "Cannot evict pod as it would violate the pod's disruption budget.";
    if number(budget, "/status/observedGeneration") < generation(budget) {
        let cause = format!("The disruption budget {name} is still being processed by the server.");
        let details = json!({
            "causes": [{"reason": "DisruptionBudget", "message": cause}],
            "retryAfterSeconds": RETRY_SECONDS,
        });
        return Err(Answer::failure(429, "TooManyRequests", message, &details));
    }
    let allowed = number(budget, "/status/disruptionsAllowed");
    if allowed <= 0 {
        let (wanted, present) = (
            number(budget, "/status/desiredHealthy"),
            number(budget, "/status/currentHealthy"),
        );
        let cause = format!(
            "The disruption budget {name} needs {wanted} healthy pods and has {present} currently"
        );
        let details = json!({"causes": [{"reason": "DisruptionBudget", "message": cause}]});
        return Err(Answer::failure(429, "TooManyRequests", message, &details));
    }
    if rehearsed {
        return Ok(());
    }
    let mut spent = budget.clone();
    set(
        &mut spent,
        "/status",
        "disruptionsAllowed",
        json!(allowed - 1),
    );
    let stamp = store.stamp();
    if let Some(status) = super::json::map(&mut spent, "/status") {
        let disrupted = status.entry("disruptedPods").or_insert_with(|| json!({}));
        set(disrupted, "", pod, json!(stamp));
    }
    if allowed == 1 {
        let condition = json!({
            "type": "DisruptionAllowed", "status": "False", "reason": "InsufficientPods",
            "message": "", "observedGeneration": generation(budget), "lastTransitionTime": stamp,
        });
        add_condition(&mut spent, condition);
    }
    if let Some(kind) = kinds::find("policy", "v1", "poddisruptionbudgets") {
        let key = Key::of(kind, text(budget, "/metadata/namespace"), name);
        store.put(key, spent, &super::store::Author::default());
    }
    Ok(())
}

/// Sets a condition, keeping one that says the same already.
fn add_condition(object: &mut Value, condition: Value) {
    let Some(status) = super::json::map(object, "/status") else {
        return;
    };
    let list = status.entry("conditions").or_insert_with(|| json!([]));
    let Some(list) = list.as_array_mut() else {
        return;
    };
    let same = |other: &&mut Value| text(other, "/type") == text(&condition, "/type");
    match list.iter_mut().find(same) {
        Some(present) if text(present, "/status") == text(&condition, "/status") => {}
        Some(present) => *present = condition,
        None => list.push(condition),
    }
}

fn remove(store: &mut Store, call: &Call, options: &Value) -> Result<Answer, Answer> {
    let Some(pod) = store.get(&call.key()).cloned() else {
        return Err(Answer::not_found(call.kind, &call.name));
    };
    // After the budget was asked: a wrong UID costs a disruption, on the real server too.
    delete::check_preconditions(call, options, &pod)?;
    if call.param("dryRun") != "All" {
        let condition = json!({
            "type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI",
            "message": "Eviction API: evicting", "lastTransitionTime": store.stamp(),
        });
        let mut told = pod.as_ref().clone();
        add_condition(&mut told, condition);
        if told != *pod {
            store.put(call.key(), told, &call.author());
        }
    }
    delete::delete(store, call, options)?;
    Ok(Answer::created(json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201,
    })))
}
