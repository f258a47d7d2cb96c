//! What can be read of the admission policies: that each is there, bound, and denies.

use k8s_openapi::api::admissionregistration::v1::{
    ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding,
};
use kube::{Api, Client};
use slipway_client::call::CallError;

use super::{Missing, POLICIES};
use crate::observe::read;

/// The policies that are not as shipped, as far as that can be read.
pub(super) async fn look(client: &Client) -> Result<Vec<Missing>, CallError> {
    let policies: Api<ValidatingAdmissionPolicy> = Api::all(client.clone());
    let bindings: Api<ValidatingAdmissionPolicyBinding> = Api::all(client.clone());
    let mut missing = Vec::new();
    for name in POLICIES {
        let policy = read::get(&policies, name, "read an admission policy").await?;
        let binding = read::get(&bindings, name, "read an admission policy's binding").await?;
        if let Some(why) = fault(policy.as_ref(), binding.as_ref()) {
            missing.push(Missing::new(name, why));
        }
    }
    Ok(missing)
}

/// A policy bounds only what it is bound to, where it denies, and when a fault of its own denies too.
fn fault(
    policy: Option<&ValidatingAdmissionPolicy>,
    binding: Option<&ValidatingAdmissionPolicyBinding>,
) -> Option<&'static str> {
    let Some(policy) = policy else {
        return Some("there is no such policy");
    };
    let Some(spec) = &policy.spec else {
        return Some("it has no spec");
    };
    if spec.failure_policy.as_deref().unwrap_or("Fail") != "Fail" {
        return Some("its failurePolicy lets faults of its own through");
    }
    if spec.validations.iter().flatten().next().is_none() {
        return Some("it has no validations");
    }
    let bound = binding.and_then(|binding| binding.spec.as_ref());
    let Some(bound) = bound.filter(|bound| bound.policy_name == policy.metadata.name) else {
        return Some("nothing binds it");
    };
    if !{ bound.validation_actions.iter().flatten() }.any(|action| action == "Deny") {
        return Some("its binding does not deny");
    }
    bound
        .match_resources
        .is_some()
        .then_some("its binding leaves objects out")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn policy(on_failure: &str) -> ValidatingAdmissionPolicy {
        serde_json::from_value(json!({
            "metadata": {"name": "p"},
            "spec": {"failurePolicy": on_failure, "validations": [{"expression": "true"}]},
        }))
        .unwrap()
    }

    fn binding(of: &str, action: &str, resources: &Value) -> ValidatingAdmissionPolicyBinding {
        serde_json::from_value(json!({
            "metadata": {"name": "p"},
            "spec": {"policyName": of, "validationActions": [action], "matchResources": resources},
        }))
        .unwrap()
    }

    #[test]
    fn f80_a_policy_that_does_not_deny_everywhere_is_not_in_force() {
        let good = policy("Fail");
        let bound = binding("p", "Deny", &Value::Null);
        assert_eq!(fault(Some(&good), Some(&bound)), None);
        let mut empty = good.clone();
        empty.spec.as_mut().unwrap().validations = Some(Vec::new());
        let everywhere = Value::Null;
        let some = json!({"namespaceSelector": {}});
        for (policy, binding, why) in [
            (None, Some(bound.clone()), "there is no such policy"),
            (Some(good.clone()), None, "nothing binds it"),
            (
                Some(policy("Ignore")),
                Some(bound.clone()),
                "its failurePolicy lets faults of its own through",
            ),
            (Some(empty), Some(bound), "it has no validations"),
            (
                Some(good.clone()),
                Some(binding("p", "Audit", &everywhere)),
                "its binding does not deny",
            ),
            (
                Some(good.clone()),
                Some(binding("q", "Deny", &everywhere)),
                "nothing binds it",
            ),
            (
                Some(good),
                Some(binding("p", "Deny", &some)),
                "its binding leaves objects out",
            ),
        ] {
            assert_eq!(fault(policy.as_ref(), binding.as_ref()), Some(why));
        }
    }
}
