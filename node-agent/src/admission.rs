//! Proof that the admission policies which bound this agent are in force: they are made to refuse
//! dry runs of what they must refuse (faults.md F80).
//!
//! Asked before a node counts as ready, and again right before a grant is accepted: from then on this
//! agent's token is worth something. Never writes: each is a dry run that rests on the version read.

use k8s_openapi::api::core::v1::Node;
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};
use slipway_api::{Phase, RebootLease};
use slipway_client::admission::proof;
use slipway_client::{CallError, bounded};

use crate::observe::Reader;
use crate::pass::writer;

const NODE: &str = "slipway-agent-node";
const LEASE: &str = "slipway-agent-lease-status";

/// What is wrong with the policies; `None` when both refuse. That about leases is asked as far as
/// the lease is in a phase that the agent may not leave: in the others there is nothing to accept.
pub(crate) async fn problem(
    reader: &Reader,
    node: &Node,
    lease: Option<&RebootLease>,
) -> Result<Option<String>, CallError> {
    let api: Api<Node> = Api::all(reader.client.clone());
    let version = node.metadata.resource_version.as_deref();
    // A label that nobody has: an agent changes no label.
    let body = json!({"metadata": {
        "resourceVersion": version, "labels": {"slipway.dev/admission-probe": "1"},
    }});
    let (params, body) = (dry_run(), Patch::Merge(&body));
    let call = api.patch(&reader.node_name, &params, &body);
    let answer = bounded("try what admission must refuse", call).await;
    if let Some(why) = proof(NODE, answer.map(drop))?.missing() {
        return Ok(Some(told(NODE, &why)));
    }
    let Some((lease, to)) = lease.and_then(|lease| Some((lease, not_ours(lease.phase())?))) else {
        return Ok(None);
    };
    let api: Api<RebootLease> = Api::all(reader.client.clone());
    let body = moved(lease, to);
    let (params, body) = (dry_run(), Patch::Merge(&body));
    let call = api.patch_status(&reader.node_name, &params, &body);
    let answer = bounded("try what admission must refuse", call).await;
    let missing = proof(LEASE, answer.map(drop))?.missing();
    Ok(missing.map(|why| told(LEASE, &why)))
}

fn told(policy: &str, why: &str) -> String {
    format!("admission policy {policy} is not in force: {why}")
}

fn dry_run() -> PatchParams {
    PatchParams {
        dry_run: true,
        ..writer()
    }
}

/// A move that the table of phases has, and that is the operator's.
const fn not_ours(from: Phase) -> Option<Phase> {
    match from {
        Phase::Pending => Some(Phase::Granted),
        Phase::Granted | Phase::Completed | Phase::Aborted | Phase::Failed => Some(Phase::Pending),
        Phase::Draining | Phase::Drained | Phase::Rebooting | Phase::Rebooted => None,
    }
}

fn moved(lease: &RebootLease, to: Phase) -> Value {
    json!({
        "metadata": {"resourceVersion": lease.metadata.resource_version},
        "status": {"phase": to, "fence": lease.accepted_fence()},
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use slipway_api::PhaseOwner;

    #[test]
    fn f80_what_is_tried_is_in_the_table_of_phases_and_not_the_agents() {
        for from in Phase::ALL {
            if let Some(to) = not_ours(from) {
                assert!(from.may_become(to, PhaseOwner::Operator), "{from:?}");
                assert!(!from.may_become(to, PhaseOwner::Agent), "{from:?}");
            }
        }
        // A grant is accepted from these.
        assert!(not_ours(Phase::Pending).is_some() && not_ours(Phase::Granted).is_some());
    }
}
