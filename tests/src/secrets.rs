//! Secrets as people make them for Slipway.

use anyhow::{Context, Result};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::api::PostParams;
use kube::{Api, Client};
use slipway_api::names;

/// Makes a Secret in the operator's namespace, where alone it is read.
pub async fn make_secret(client: Client, name: &str, entries: &[(&str, &str)]) -> Result<()> {
    let bytes = |value: &str| ByteString(value.as_bytes().to_vec());
    let data = entries
        .iter()
        .map(|(key, value)| ((*key).to_owned(), bytes(value)));
    let mut secret = Secret {
        data: Some(data.collect()),
        ..Secret::default()
    };
    secret.metadata.name = Some(name.to_owned());
    let secrets: Api<Secret> = Api::namespaced(client, names::NAMESPACE);
    let made = secrets.create(&PostParams::default(), &secret).await;
    made.with_context(|| format!("failed to make the Secret {name}"))?;
    Ok(())
}
