//! Applying YAML documents of any kind to a cluster, as `kubectl apply --server-side` does.
//!
//! Owns the order (namespaces and CRDs first) and the wait for new kinds to be served.
//! Called by tests and the demo with examples and rendered charts.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{ApiResource, DynamicObject, Patch, PatchParams};
use kube::core::GroupVersionKind;
use kube::discovery::{ApiCapabilities, Scope};
use kube::{Api, Client, ResourceExt, discovery};
use serde::Deserialize;
use thiserror::Error;
use tokio::time::timeout;

use crate::wait::wait_until;

/// The field manager of everything the lab applies.
const FIELD_MANAGER: &str = "lab";
/// How long one call may take.
const CALL_BOUND: Duration = Duration::from_secs(10);
/// How long a new kind may take to be served.
const ESTABLISH_BOUND: Duration = Duration::from_secs(30);

/// Why documents could not be applied. Those before the failed one stay applied.
#[derive(Debug, Error)]
pub enum ApplyError {
    /// The file could not be read.
    #[error("failed to read {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// The text is not YAML of Kubernetes objects.
    #[error("failed to parse document {index}")]
    Parse {
        /// The document's place in the text, from 1.
        index: usize,
        /// The cause.
        source: serde_yaml::Error,
    },
    /// An object lacks `apiVersion`, `kind` or a valid combination of them.
    #[error("document {index} is not a Kubernetes object")]
    NotAnObject {
        /// The document's place in the text, from 1.
        index: usize,
    },
    /// The server does not serve the object's kind.
    #[error("failed to discover {kind}")]
    Discover {
        /// Group, version and kind.
        kind: String,
        /// The cause.
        source: anyhow::Error,
    },
    /// The server refused the object.
    #[error("failed to apply {object}")]
    Apply {
        /// Kind and name.
        object: String,
        /// The server's answer.
        source: Box<kube::Error>,
    },
    /// The server did not answer.
    #[error("failed to apply {object}: no answer within {CALL_BOUND:?}")]
    NoAnswer {
        /// Kind and name.
        object: String,
    },
    /// A definition of a custom resource was accepted but its kind is not served.
    #[error("failed to establish {name}")]
    Establish {
        /// The definition's name.
        name: String,
        /// The cause.
        source: anyhow::Error,
    },
}

/// Applies every document of a YAML file; see [`apply_yaml`].
pub async fn apply_file(client: &Client, path: &Path) -> Result<Vec<DynamicObject>, ApplyError> {
    let text = std::fs::read_to_string(path).map_err(|source| ApplyError::Read {
        path: path.to_owned(),
        source,
    })?;
    apply_yaml(client, &text).await
}

/// Applies every document of a YAML text by server-side apply, forcing conflicts, with strict field
/// validation, and returns the objects as the server answered them, in the order of application.
///
/// Namespaces go first, then definitions of custom resources, each until it is established, then the
/// rest in the order of the text. Objects without a namespace go to `default`.
pub async fn apply_yaml(client: &Client, yaml: &str) -> Result<Vec<DynamicObject>, ApplyError> {
    let mut objects = parse(yaml)?;
    // Stable: the order of the text is kept within each rank.
    objects.sort_by_key(|(_, object)| rank(object));
    // Discovery follows an established definition a moment later; nothing else is worth a wait.
    let patience = if objects.iter().any(|(_, object)| is_definition(object)) {
        CALL_BOUND
    } else {
        Duration::ZERO
    };
    let mut kinds = BTreeMap::new();
    let mut applied = Vec::new();
    for (kind, object) in objects {
        let key = kind.api_version_and_kind();
        if !kinds.contains_key(&key) {
            kinds.insert(key.clone(), discover(client, &kind, patience).await?);
        }
        let Some((resource, capabilities)) = kinds.get(&key) else {
            continue;
        };
        let answer = apply_object(client, resource, capabilities, &object).await?;
        if is_definition(&answer) {
            wait_established(client, &answer.name_any()).await?;
        }
        applied.push(answer);
    }
    Ok(applied)
}

/// A printable, ordered key of a kind.
trait KindKey {
    fn api_version_and_kind(&self) -> String;
}

impl KindKey for GroupVersionKind {
    fn api_version_and_kind(&self) -> String {
        format!("{} {}", self.api_version(), self.kind)
    }
}

fn parse(yaml: &str) -> Result<Vec<(GroupVersionKind, DynamicObject)>, ApplyError> {
    let mut objects = Vec::new();
    for (index, document) in (1..).zip(serde_yaml::Deserializer::from_str(yaml)) {
        let value = serde_yaml::Value::deserialize(document)
            .map_err(|source| ApplyError::Parse { index, source })?;
        // Between two separators there may be nothing but comments.
        if value.is_null() {
            continue;
        }
        let object: DynamicObject =
            serde_yaml::from_value(value).map_err(|source| ApplyError::Parse { index, source })?;
        let kind = object
            .types
            .as_ref()
            .and_then(|types| GroupVersionKind::try_from(types).ok())
            .ok_or(ApplyError::NotAnObject { index })?;
        objects.push((kind, object));
    }
    Ok(objects)
}

fn kind_of(object: &DynamicObject) -> &str {
    object
        .types
        .as_ref()
        .map_or("", |types| types.kind.as_str())
}

fn is_definition(object: &DynamicObject) -> bool {
    kind_of(object) == "CustomResourceDefinition"
}

fn rank(object: &DynamicObject) -> u8 {
    match kind_of(object) {
        "Namespace" => 0,
        "CustomResourceDefinition" => 1,
        _ => 2,
    }
}

/// Looks a kind up, again and again for as long as `patience` says.
async fn discover(
    client: &Client,
    kind: &GroupVersionKind,
    patience: Duration,
) -> Result<(ApiResource, ApiCapabilities), ApplyError> {
    let name = kind.api_version_and_kind();
    let look = || async {
        timeout(CALL_BOUND, discovery::pinned_kind(client, kind))
            .await?
            .map_err(anyhow::Error::from)
    };
    let found = match look().await {
        Err(_) if !patience.is_zero() => {
            wait_until(&format!("{name} to be served"), patience, || async {
                look().await.map(Some)
            })
            .await
        }
        found => found,
    };
    found.map_err(|source| ApplyError::Discover { kind: name, source })
}

async fn apply_object(
    client: &Client,
    resource: &ApiResource,
    capabilities: &ApiCapabilities,
    object: &DynamicObject,
) -> Result<DynamicObject, ApplyError> {
    let name = object.name_any();
    let api: Api<DynamicObject> = match (&capabilities.scope, object.namespace()) {
        (Scope::Cluster, _) => Api::all_with(client.clone(), resource),
        (Scope::Namespaced, Some(namespace)) => {
            Api::namespaced_with(client.clone(), &namespace, resource)
        }
        (Scope::Namespaced, None) => Api::default_namespaced_with(client.clone(), resource),
    };
    let params = PatchParams::apply(FIELD_MANAGER)
        .force()
        .validation_strict();
    let shown = || format!("{} {name}", resource.kind);
    timeout(CALL_BOUND, api.patch(&name, &params, &Patch::Apply(object)))
        .await
        .map_err(|_| ApplyError::NoAnswer { object: shown() })?
        .map_err(|source| ApplyError::Apply {
            object: shown(),
            source: Box::new(source),
        })
}

async fn wait_established(client: &Client, name: &str) -> Result<(), ApplyError> {
    let definitions: Api<CustomResourceDefinition> = Api::all(client.clone());
    wait_until(
        &format!("{name} to be established"),
        ESTABLISH_BOUND,
        || async {
            let definition = definitions.get(name).await?;
            let conditions = definition
                .status
                .and_then(|status| status.conditions)
                .unwrap_or_default();
            Ok(conditions
                .iter()
                .any(|condition| condition.type_ == "Established" && condition.status == "True")
                .then_some(()))
        },
    )
    .await
    .map_err(|source| ApplyError::Establish {
        name: name.to_owned(),
        source,
    })
}
