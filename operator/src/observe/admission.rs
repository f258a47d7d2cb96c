//! Whether the admission policies that bound our identities are in force (faults.md F80).
//!
//! Without them an agent's token could write any Node, and a person could hand out grants: no new
//! reboot is granted then, and the gap says which policy is missing.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use k8s_openapi::api::admissionregistration::v1::{
    ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding,
};
use kube::{Api, Client};
use slipway_client::call::CallError;
use slipway_planner::Gap;
use tokio::sync::Notify;

use super::read;
use super::trouble::Trouble;

/// The policies of the chart, each bound under its own name; a test compares them with the chart.
pub const POLICIES: &[&str] = &[
    "slipway-agent-lease-status",
    "slipway-agent-node",
    "slipway-operator-node",
    "slipway-lease-status",
    "slipway-lease-spec",
    "slipway-lease-delete",
    "slipway-lease-delete-slot",
    "slipway-ledger",
];

/// How often they are looked at while all is well.
const PERIOD: Duration = Duration::from_mins(10);
/// How soon after something was missing: an installation is under way, most likely. Doubles up to
/// [`PERIOD_MISSING_MAX`].
const PERIOD_MISSING: Duration = Duration::from_secs(1);
/// See [`PERIOD_MISSING`].
const PERIOD_MISSING_MAX: Duration = Duration::from_secs(30);

/// What is known: `None` before the first complete look.
#[derive(Debug)]
pub(crate) struct Admission {
    required: bool,
    missing: Mutex<Option<Vec<String>>>,
    trouble: Mutex<Option<Trouble>>,
}

impl Admission {
    pub(crate) fn new(required: bool) -> Arc<Self> {
        Arc::new(Self {
            required,
            missing: Mutex::new(None),
            trouble: Mutex::new(None),
        })
    }

    /// The gaps that this leaves.
    pub(crate) fn gaps(&self) -> Vec<Gap> {
        if !self.required {
            return Vec::new();
        }
        match self
            .missing
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .as_ref()
        {
            None => vec![Gap::Unsynced {
                kind: "admission policies".to_owned(),
            }],
            Some(missing) => missing
                .iter()
                .map(|policy| Gap::AdmissionMissing {
                    policy: policy.clone(),
                })
                .collect(),
        }
    }

    /// What is pending before the first complete look, if something is.
    pub(crate) fn pending(&self) -> Option<String> {
        let known = self
            .missing
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .is_some();
        if known || !self.required {
            return None;
        }
        let trouble = self
            .trouble
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        Some(trouble.map_or_else(
            || "admission policies: not looked at yet".to_owned(),
            |trouble| format!("admission policies: {trouble}"),
        ))
    }

    /// Looks again and again, for ever.
    pub(crate) async fn follow(self: Arc<Self>, client: Client, wake: Arc<Notify>) {
        if !self.required {
            return std::future::pending().await;
        }
        let mut retry = PERIOD_MISSING;
        loop {
            let complete = match look(&client).await {
                Ok(missing) => {
                    let complete = missing.is_empty();
                    self.note(missing, &wake);
                    complete
                }
                Err(error) => {
                    self.failed(Trouble::of_call(&error));
                    false
                }
            };
            if complete {
                retry = PERIOD_MISSING;
                tokio::time::sleep(PERIOD).await;
            } else {
                tokio::time::sleep(retry).await;
                retry = (retry * 2).min(PERIOD_MISSING_MAX);
            }
        }
    }

    /// What was known stays: an API server that is away proves nothing. Told on change only.
    fn failed(&self, trouble: Trouble) {
        let mut noted = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        if noted.as_ref().map(|noted| noted.kind) != Some(trouble.kind) {
            tracing::warn!(%trouble, "cannot look at the admission policies");
        }
        *noted = Some(trouble);
    }

    fn note(&self, missing: Vec<String>, wake: &Notify) {
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = None;
        let mut known = self.missing.lock().unwrap_or_else(PoisonError::into_inner);
        if known.as_ref() == Some(&missing) {
            return;
        }
        if missing.is_empty() {
            tracing::info!("the admission policies are in force");
        } else {
            tracing::error!(
                ?missing,
                "admission policies are not in force; nothing is granted"
            );
        }
        *known = Some(missing);
        wake.notify_one();
    }
}

async fn look(client: &Client) -> Result<Vec<String>, CallError> {
    let policies: Api<ValidatingAdmissionPolicy> = Api::all(client.clone());
    let bindings: Api<ValidatingAdmissionPolicyBinding> = Api::all(client.clone());
    let mut missing = Vec::new();
    for name in POLICIES {
        let policy = read::get(&policies, name, "read an admission policy").await?;
        let binding = read::get(&bindings, name, "read an admission policy's binding").await?;
        if !is_in_force(policy.as_ref(), binding.as_ref()) {
            missing.push((*name).to_owned());
        }
    }
    Ok(missing)
}

/// A policy bounds only what it is bound to, where it denies, and when a fault of its own denies too.
fn is_in_force(
    policy: Option<&ValidatingAdmissionPolicy>,
    binding: Option<&ValidatingAdmissionPolicyBinding>,
) -> bool {
    let (Some(policy), Some(binding)) = (policy, binding) else {
        return false;
    };
    let closed = policy.spec.as_ref().is_some_and(|spec| {
        spec.failure_policy
            .as_deref()
            .is_none_or(|on_failure| on_failure == "Fail")
            && spec
                .validations
                .as_ref()
                .is_some_and(|validations| !validations.is_empty())
    });
    let denies = binding.spec.as_ref().is_some_and(|spec| {
        spec.policy_name == policy.metadata.name
            && spec
                .validation_actions
                .iter()
                .flatten()
                .any(|action| action == "Deny")
    });
    closed && denies
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn policy(on_failure: &str) -> ValidatingAdmissionPolicy {
        serde_json::from_value(json!({
            "metadata": {"name": "p"},
            "spec": {"failurePolicy": on_failure, "validations": [{"expression": "true"}]},
        }))
        .unwrap()
    }

    fn binding(of: &str, action: &str) -> ValidatingAdmissionPolicyBinding {
        serde_json::from_value(json!({
            "metadata": {"name": "p"},
            "spec": {"policyName": of, "validationActions": [action]},
        }))
        .unwrap()
    }

    #[test]
    fn f80_a_policy_that_does_not_deny_is_not_in_force() {
        let (good, bound) = (policy("Fail"), binding("p", "Deny"));
        assert!(is_in_force(Some(&good), Some(&bound)));
        assert!(!is_in_force(None, Some(&bound)));
        assert!(!is_in_force(Some(&good), None));
        assert!(!is_in_force(Some(&policy("Ignore")), Some(&bound)));
        assert!(!is_in_force(Some(&good), Some(&binding("p", "Audit"))));
        assert!(!is_in_force(Some(&good), Some(&binding("q", "Deny"))));
    }

    #[test]
    fn before_the_first_look_and_while_one_is_missing_there_is_a_gap() {
        let admission = Admission::new(true);
        assert!(matches!(
            admission.gaps().as_slice(),
            [Gap::Unsynced { .. }]
        ));
        admission.note(vec!["p".into()], &Notify::new());
        assert_eq!(
            admission.gaps(),
            [Gap::AdmissionMissing { policy: "p".into() }]
        );
        admission.note(Vec::new(), &Notify::new());
        assert_eq!(admission.gaps(), []);
        assert_eq!(admission.pending(), None);
        assert_eq!(Admission::new(false).gaps(), []);
        assert_eq!(Admission::new(false).pending(), None);
    }

    #[test]
    fn the_policies_looked_for_are_those_of_the_chart() {
        let chart = concat!(env!("CARGO_MANIFEST_DIR"), "/../charts/slipway/templates");
        let mut shipped = Vec::new();
        for file in std::fs::read_dir(chart).unwrap() {
            let text = std::fs::read_to_string(file.unwrap().path()).unwrap();
            for document in text.split("\n---").filter(|part| {
                part.contains("kind: ValidatingAdmissionPolicy\n")
                    // Those of the fallback are there only on old servers.
                    && !part.contains("fallback")
            }) {
                let name = document
                    .lines()
                    .find_map(|line| line.strip_prefix("  name: "));
                shipped.push(name.unwrap().to_owned());
            }
        }
        shipped.sort();
        let mut expected = POLICIES.to_vec();
        expected.sort_unstable();
        assert_eq!(shipped, expected);
    }
}
