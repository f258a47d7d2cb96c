//! Reads at quorum: what every write rests on. A cache is never enough (faults.md F27).

use std::fmt::Debug;

use k8s_openapi::api::core::v1::Node;
use kube::core::DeserializeGuard;
use kube::{Api, Client};
use serde::de::DeserializeOwned;
use slipway_api::{RebootLease, RebootLedger, RebootPolicy, names};
use slipway_client::call::{CallError, bounded};
use slipway_planner::{PolicyView, objects};

/// Reads an object; `None` only when the API server says that this very object does not exist.
///
/// A 404 that names no object says that there is no such kind, or no such server: nothing may be
/// concluded from it, least of all that a node or a lease is gone.
pub(crate) async fn get<K>(api: &Api<K>, name: &str, what: &str) -> Result<Option<K>, CallError>
where
    K: Clone + Debug + DeserializeOwned,
{
    match bounded(what, api.get(name)).await {
        Ok(object) => Ok(Some(object)),
        Err(error) if is_absence(&error, name) => Ok(None),
        Err(error) => Err(error),
    }
}

fn is_absence(error: &CallError, name: &str) -> bool {
    error.status().is_some_and(|status| {
        status.code == 404
            && status
                .details
                .as_ref()
                .is_some_and(|details| details.name == name)
    })
}

/// The lease of a node.
pub(crate) async fn lease(client: &Client, node: &str) -> Result<Option<RebootLease>, CallError> {
    get(&Api::all(client.clone()), node, "read the lease").await
}

/// The ledger.
pub(crate) async fn ledger(client: &Client) -> Result<Option<RebootLedger>, CallError> {
    get(
        &Api::all(client.clone()),
        names::LEDGER_NAME,
        "read the ledger",
    )
    .await
}

/// A Node.
pub(crate) async fn node(client: &Client, name: &str) -> Result<Option<Node>, CallError> {
    get(&Api::all(client.clone()), name, "read the node").await
}

/// Every policy, and the names of those that cannot be decoded.
pub(crate) async fn policies(client: &Client) -> Result<(Vec<PolicyView>, Vec<String>), CallError> {
    let api: Api<DeserializeGuard<RebootPolicy>> = Api::all(client.clone());
    let list = bounded(
        "list the policies",
        api.list(&kube::api::ListParams::default()),
    )
    .await?;
    let (mut views, mut undecodable) = (Vec::new(), Vec::new());
    for policy in list.items {
        match policy.0 {
            Ok(policy) => views.push(objects::policy_view(&policy)),
            Err(invalid) => undecodable.push(invalid.metadata.name.unwrap_or_default()),
        }
    }
    Ok((views, undecodable))
}

#[cfg(test)]
mod tests {
    use super::*;
    use kube::core::Status;

    fn answer(code: u16, name: Option<&str>) -> CallError {
        let details = name.map(|name| serde_json::json!({ "name": name }));
        let status: Status = serde_json::from_value(serde_json::json!({
            "status": "Failure", "message": "", "reason": "", "code": code, "details": details,
        }))
        .unwrap();
        CallError::api("read", kube::Error::Api(Box::new(status)))
    }

    #[test]
    fn f75_only_a_404_that_names_the_object_says_that_it_is_gone() {
        assert!(is_absence(&answer(404, Some("n1")), "n1"));
        assert!(!is_absence(&answer(404, Some("n2")), "n1"));
        assert!(!is_absence(&answer(404, None), "n1"));
        assert!(!is_absence(&answer(403, Some("n1")), "n1"));
        assert!(!is_absence(
            &CallError::NoAnswer {
                what: "read".into()
            },
            "n1"
        ));
    }
}
