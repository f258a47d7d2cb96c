//! One eviction, and what its answer means.
//!
//! Owns the request: by UID, so that a new pod under an old name is never evicted, and through the
//! subresource itself, because the library's own helper drops the delete options.

use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::policy::v1::Eviction;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{DeleteOptions, ObjectMeta, Preconditions};
use kube::api::{DeleteParams, PostParams};
use kube::core::Status;
use kube::{Api, Client};
use slipway_client::{CallError, ErrorClass, bounded, chain};

/// How long a pod that a PodDisruptionBudget holds is left alone; as kubectl does.
const BLOCKED_PAUSE: Duration = Duration::from_secs(5);
/// How long after a failure that is nobody's decision.
const FAILED_PAUSE: Duration = Duration::from_secs(5);
/// How long after a refusal that only a person mends.
const DENIED_PAUSE: Duration = Duration::from_secs(15);
/// Longest pause that an API server may ask for.
const PAUSE_MAX: Duration = Duration::from_mins(1);
/// Most characters of a reason; the schema takes 512.
const REASON_MAX: usize = 400;

/// What an eviction led to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The pod will leave.
    Accepted,
    /// There is no such pod any more.
    Gone,
    /// The API server takes no more for now: nothing else is asked of it until the pause is over.
    Busy {
        /// The pause.
        pause: Duration,
    },
    /// Again after the pause.
    Held {
        /// Why, for people.
        reason: String,
        /// True when it is a decision that waits for somebody, not a failure.
        blocked: bool,
        /// The pause.
        pause: Duration,
    },
}

/// Evicts a pod.
pub async fn evict(client: &Client, pod: &Pod, grace_seconds: Option<i64>) -> Answer {
    post(client, pod, grace_seconds, false).await
}

/// Asks whether a pod could be evicted now; nothing changes.
pub async fn could_evict(client: &Client, pod: &Pod, grace_seconds: Option<i64>) -> Answer {
    post(client, pod, grace_seconds, true).await
}

/// Deletes a pod, past its PodDisruptionBudgets.
pub async fn delete(client: &Client, pod: &Pod, grace_seconds: Option<i64>) -> Answer {
    let name = pod.metadata.name.clone().unwrap_or_default();
    let namespace = pod.metadata.namespace.clone().unwrap_or_default();
    let parameters = DeleteParams {
        grace_period_seconds: grace_seconds.and_then(|seconds| u32::try_from(seconds).ok()),
        preconditions: Some(kube::api::Preconditions {
            uid: pod.metadata.uid.clone(),
            resource_version: None,
        }),
        ..DeleteParams::default()
    };
    let pods: Api<Pod> = Api::namespaced(client.clone(), &namespace);
    let what = format!("delete the pod {namespace}/{name}");
    match bounded(&what, pods.delete(&name, &parameters)).await {
        Ok(_) => Answer::Accepted,
        Err(error) => match answer(&error) {
            Answer::Held {
                pause,
                blocked: true,
                ..
            } => {
                let said = error.status().map_or("", |status| status.message.as_str());
                held(&format!("its deletion is refused: {said}"), true, pause)
            }
            other => other,
        },
    }
}

async fn post(client: &Client, pod: &Pod, grace_seconds: Option<i64>, dry_run: bool) -> Answer {
    let name = pod.metadata.name.clone().unwrap_or_default();
    let namespace = pod.metadata.namespace.clone().unwrap_or_default();
    let body = Eviction {
        metadata: ObjectMeta {
            name: Some(name.clone()),
            namespace: Some(namespace.clone()),
            ..ObjectMeta::default()
        },
        delete_options: Some(DeleteOptions {
            grace_period_seconds: grace_seconds,
            preconditions: Some(Preconditions {
                uid: pod.metadata.uid.clone(),
                resource_version: None,
            }),
            ..DeleteOptions::default()
        }),
    };
    let pods: Api<Pod> = Api::namespaced(client.clone(), &namespace);
    let parameters = PostParams {
        dry_run,
        ..PostParams::default()
    };
    let call = pods.create_subresource::<_, Status>("eviction", &name, &parameters, &body);
    match bounded(&format!("evict the pod {namespace}/{name}"), call).await {
        Ok(_) => Answer::Accepted,
        Err(error) => answer(&error),
    }
}

/// What a failed eviction means (faults.md F57, F60).
pub fn answer(error: &CallError) -> Answer {
    let Some(status) = error.status() else {
        return held(&chain(error), false, FAILED_PAUSE);
    };
    let causes = status.details.iter().flat_map(|details| &details.causes);
    let cause = |reason: &str| causes.clone().find(|cause| cause.reason == reason);
    if let Some(budget) = cause("DisruptionBudget") {
        let text = format!("a PodDisruptionBudget holds it: {}", budget.message);
        return held(&text, true, BLOCKED_PAUSE);
    }
    if cause("NamespaceTerminating").is_some() {
        return held("its namespace is being deleted", false, FAILED_PAUSE);
    }
    if status.message.contains("more than one PodDisruptionBudget") {
        let text = format!("several PodDisruptionBudgets select it: {}", status.message);
        return held(&text, true, DENIED_PAUSE);
    }
    match error.class() {
        ErrorClass::NotFound => Answer::Gone,
        ErrorClass::Denied | ErrorClass::Invalid => {
            let text = format!("its eviction is refused: {}", status.message);
            held(&text, true, DENIED_PAUSE)
        }
        ErrorClass::Throttled => {
            let asked = status
                .details
                .as_ref()
                .map_or(0, |details| details.retry_after_seconds);
            let pause =
                Duration::from_secs(u64::from(asked)).clamp(Duration::from_secs(1), PAUSE_MAX);
            Answer::Busy { pause }
        }
        // Another UID under this name: the next list shows it.
        ErrorClass::Conflict => held("it has just changed", false, Duration::from_secs(1)),
        ErrorClass::Transient | ErrorClass::Bug => held(&chain(error), false, FAILED_PAUSE),
    }
}

/// Something that only a person changes.
pub fn blocked(reason: &str) -> Answer {
    held(reason, true, BLOCKED_PAUSE)
}

fn held(reason: &str, blocked: bool, pause: Duration) -> Answer {
    let reason = reason.chars().take(REASON_MAX).collect();
    Answer::Held {
        reason,
        blocked,
        pause,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn failed(code: u16, message: &str, details: &serde_json::Value) -> Answer {
        let status: Status = serde_json::from_value(
            json!({"status": "Failure", "code": code, "message": message, "reason": "", "details": details}),
        )
        .unwrap();
        answer(&CallError::api("evict", kube::Error::Api(Box::new(status))))
    }

    fn is_blocked(answer: &Answer) -> Option<bool> {
        match answer {
            Answer::Held { blocked, .. } => Some(*blocked),
            Answer::Accepted | Answer::Gone | Answer::Busy { .. } => None,
        }
    }

    #[test]
    fn f57_a_disruption_budget_is_waited_for_and_named() {
        let details = json!({"causes": [{"reason": "DisruptionBudget",
            "message": "The disruption budget web needs 2 healthy pods and has 2 currently"}]});
        let Answer::Held {
            reason, blocked, ..
        } = failed(429, "Cannot evict pod", &details)
        else {
            panic!("not held");
        };
        assert!(blocked && reason.contains("disruption budget web"));
    }

    #[test]
    fn f33_a_busy_api_server_is_told_from_a_budget_and_its_pause_obeyed() {
        let answer = failed(429, "too many requests", &json!({"retryAfterSeconds": 7}));
        let pause = Duration::from_secs(7);
        assert_eq!(answer, Answer::Busy { pause });
        let endless = failed(
            429,
            "too many requests",
            &json!({"retryAfterSeconds": 9999}),
        );
        assert_eq!(endless, Answer::Busy { pause: PAUSE_MAX });
    }

    #[test]
    fn f60_the_other_refusals_are_told_apart() {
        assert_eq!(failed(404, "not found", &json!({})), Answer::Gone);
        let terminating = json!({"causes": [{"reason": "NamespaceTerminating", "message": "x"}]});
        assert_eq!(
            is_blocked(&failed(403, "forbidden", &terminating)),
            Some(false)
        );
        assert_eq!(
            is_blocked(&failed(403, "forbidden", &json!({}))),
            Some(true)
        );
        let two = "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.";
        assert_eq!(is_blocked(&failed(500, two, &json!({}))), Some(true));
        assert_eq!(is_blocked(&failed(500, "etcd", &json!({}))), Some(false));
        assert_eq!(
            is_blocked(&failed(409, "precondition", &json!({}))),
            Some(false)
        );
    }
}
