//! Who this agent is, and whether it may do what it will have to: asked before it matters.
//!
//! Owns the checks of identity (faults.md F21) and of the API server's age, and the permission probe,
//! which name what is missing: a CRD, a permission, the impersonation, an admission policy, a
//! way to reboot the host. Changes nothing on the API server.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::authentication::v1::SelfSubjectReview;
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec,
};
use kube::Api;
use kube::api::PostParams;
use slipway_api::drain_filter::DrainRules;
use slipway_client::{CallError, ErrorClass, bounded, chain, clock, version};

use crate::admission;
use crate::backoff::Backoff;
use crate::error::{AgentError, told};
use crate::health::{self, Health};
use crate::host::Host;
use crate::observe::Reader;

/// The claim of a pod-bound token that names the pod's node.
const NODE_CLAIM: &str = "authentication.kubernetes.io/node-name";
/// How long a good answer is good enough: what is taken away later shows where it is used.
const GOOD_FOR: Duration = Duration::from_hours(1);

/// Verifies that the API server is new enough; asks until there is an answer.
///
/// # Errors
/// [`AgentError::Version`]: what it does not know it would drop from objects without a word.
pub async fn verify_version(reader: &Reader, health: &Health) -> Result<(), AgentError> {
    let mut backoff = Backoff::default();
    loop {
        match version::require(&reader.client).await {
            Ok(()) => return Ok(()),
            Err(error) if error.may_pass() => {
                health.bad(health::START, chain(&error));
                tokio::time::sleep(backoff.failed()).await;
            }
            Err(error) => return Err(AgentError::Version(error)),
        }
    }
}

/// Verifies that our token is the token of our own node; asks until there is an answer.
///
/// # Errors
/// [`AgentError::WrongNode`]: every write would be about the wrong machine.
pub async fn verify_identity(reader: &Reader, health: &Health) -> Result<(), AgentError> {
    let mut backoff = Backoff::default();
    loop {
        match claimed_node(reader).await {
            Ok(Some(token)) if token != reader.node_name => {
                return Err(AgentError::WrongNode {
                    configured: reader.node_name.clone(),
                    token,
                });
            }
            Ok(_) => return Ok(()),
            // A cluster that answers nobody this question: admission judges every write anyway.
            Err(error) if matches!(error.class(), ErrorClass::Denied | ErrorClass::NotFound) => {
                tracing::warn!(error = %chain(&error), "the token's node is not verified");
                return Ok(());
            }
            Err(error) => {
                health.bad(health::START, chain(&error));
                tokio::time::sleep(backoff.failed()).await;
            }
        }
    }
}

async fn claimed_node(reader: &Reader) -> Result<Option<String>, CallError> {
    let api: Api<SelfSubjectReview> = Api::all(reader.client.clone());
    let review = SelfSubjectReview::default();
    let answer = bounded(
        "ask who we are",
        api.create(&PostParams::default(), &review),
    )
    .await?;
    let user = answer.status.and_then(|status| status.user_info);
    let extra = user.and_then(|user| user.extra).unwrap_or_default();
    Ok(extra
        .get(NODE_CLAIM)
        .and_then(|values| values.first().cloned()))
}

/// Probes for ever, and reports to `health`.
pub async fn watch_permissions(
    reader: &Reader,
    host: &Arc<dyn Host>,
    health: &Health,
) -> std::convert::Infallible {
    let mut backoff = Backoff::default();
    loop {
        let mut problems = missing(reader).await;
        if let Err(error) = host.ready().await {
            problems.push(error.to_string());
        }
        let good = problems.is_empty();
        health.note(health::PROBE, (!good).then(|| problems.join("; ")));
        let pause = if good {
            backoff.reset();
            GOOD_FOR
        } else {
            backoff.failed()
        };
        tokio::time::sleep(pause).await;
    }
}

async fn missing(reader: &Reader) -> Vec<String> {
    let mut problems = Vec::new();
    let node = Some(reader.node_name.as_str());
    for (resource, subresource, name) in [
        ("rebootleases", Some("status"), node),
        ("nodes", None, node),
        ("nodes", Some("status"), node),
    ] {
        match may_patch(reader, resource, subresource, name).await {
            Ok(true) => {}
            Ok(false) => {
                let whole = subresource.map_or(String::new(), |part| format!("/{part}"));
                problems.push(format!("not permitted to patch {resource}{whole}"));
            }
            Err(error) => problems.push(chain(&error)),
        }
    }
    // The reads are made rather than asked about: that shows a missing CRD as well.
    if let Err(error) = reader.ledger().await {
        problems.push(told(&error, "RebootLedgers", "rebootledgers"));
    }
    let rules = DrainRules::of(None, &reader.namespace, clock::wall());
    if let Err(error) = reader.pods(&rules).await {
        problems.push(chain(&error));
    }
    if reader.proves_admission {
        match admission(reader).await {
            Ok(problem) => problems.extend(problem),
            Err(error) => problems.push(chain(&error)),
        }
    }
    problems.dedup();
    problems
}

async fn admission(reader: &Reader) -> Result<Option<String>, CallError> {
    let lease = reader.lease().await?.lease.and_then(Result::ok);
    let node = reader.node().await?;
    admission::problem(reader, &node, lease.as_ref()).await
}

async fn may_patch(
    reader: &Reader,
    resource: &str,
    subresource: Option<&str>,
    name: Option<&str>,
) -> Result<bool, CallError> {
    let group = if resource == "nodes" {
        ""
    } else {
        slipway_api::names::GROUP
    };
    let text = |part: &str| Some(part.to_owned());
    let review = SelfSubjectAccessReview {
        spec: SelfSubjectAccessReviewSpec {
            resource_attributes: Some(ResourceAttributes {
                group: text(group),
                resource: text(resource),
                subresource: subresource.and_then(text),
                name: name.and_then(text),
                verb: text("patch"),
                ..ResourceAttributes::default()
            }),
            ..SelfSubjectAccessReviewSpec::default()
        },
        ..SelfSubjectAccessReview::default()
    };
    let api: Api<SelfSubjectAccessReview> = Api::all(reader.client.clone());
    let parameters = PostParams::default();
    let answer = bounded("ask what we may do", api.create(&parameters, &review)).await?;
    Ok(answer.status.is_some_and(|status| status.allowed))
}
