//! Tokens of service accounts, bound to pods.

use std::time::Duration;

use anyhow::{Context, Result};
use k8s_openapi::api::authentication::v1::{BoundObjectReference, TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::api::PostParams;
use kube::{Api, Client};

const LIFETIME_SECONDS: i64 = 3600;
const BOUND: Duration = Duration::from_secs(10);

/// Requests a token bound to a pod, as the kubelet does for a projected volume.
pub(super) async fn pod_token(
    client: Client,
    namespace: &str,
    service_account: &str,
    pod_name: &str,
    pod_uid: &str,
) -> Result<String> {
    let request = TokenRequest {
        spec: TokenRequestSpec {
            expiration_seconds: Some(LIFETIME_SECONDS),
            bound_object_ref: Some(BoundObjectReference {
                api_version: Some("v1".into()),
                kind: Some("Pod".into()),
                name: Some(pod_name.into()),
                uid: Some(pod_uid.into()),
            }),
            ..TokenRequestSpec::default()
        },
        ..TokenRequest::default()
    };
    let accounts: Api<ServiceAccount> = Api::namespaced(client, namespace);
    let what = format!("failed to get a token of {namespace}/{service_account} for {pod_name}");
    let answer = tokio::time::timeout(
        BOUND,
        accounts.create_token_request(service_account, &PostParams::default(), &request),
    )
    .await
    .with_context(|| what.clone())?
    .with_context(|| what.clone())?;
    Ok(answer.status.context(what)?.token)
}
