//! The evidence for a second key: everything read at quorum, and the API server's time before the
//! first of these reads (faults.md G8).

use std::future::Future;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Node, Pod};
use k8s_openapi::api::storage::v1::VolumeAttachment;
use kube::api::ListParams;
use kube::{Api, Client};
use slipway_api::drain_filter::DrainRules;
use slipway_api::lease::Grant;
use slipway_api::{Phase, RebootLease, drain_filter, names};
use slipway_client::call::{CallError, bounded};
use slipway_client::{chain, clock, server_time};
use slipway_planner::clear::volumes_awaited_until;
use slipway_planner::govern::governance;
use slipway_planner::{Gap, LedgerState, NodeView, Snapshot, objects};

use crate::apply::Context;

use super::{clock_gap, read};

/// What a second key rests on.
#[derive(Debug)]
pub(crate) struct Evidence {
    /// The pass's snapshot with everything that may decide replaced by what was just read. The
    /// nodes that were not are as the watch shows them: they only size the budget.
    pub(crate) snapshot: Snapshot,
    /// The lease that the key will be written to, with the version to swap against.
    pub(crate) lease: RebootLease,
    /// Pods that have to move and have not, as namespace/name.
    pub(crate) pods_left: Vec<String>,
    /// The API server's time before all of this was read.
    pub(crate) at: Timestamp,
}

/// Gathers the evidence; `None` when the lease does not ask for a key under this fence.
pub(crate) async fn gather(
    ctx: &Context,
    base: &Snapshot,
    (name, fence): (&str, i64),
) -> Result<Option<Evidence>, CallError> {
    let (client, namespace) = (&ctx.client, ctx.namespace.as_str());
    let at = server_time::now(client).await?;
    let Some(lease) = read::lease(client, name).await? else {
        return Ok(None);
    };
    if lease.phase() != Phase::Drained || !lease.is_live(fence) {
        return Ok(None);
    }
    let mut snapshot = base.clone();
    snapshot
        .gaps
        .retain(|gap| !matches!(gap, Gap::ClockSkew { .. }));
    snapshot.gaps.extend(clock_gap(at, clock::wall()));
    snapshot.leases.insert(name.to_owned(), lease.clone());
    snapshot.ledger = match read::ledger(client).await? {
        Some(ledger) => LedgerState::Present(Box::new(ledger)),
        None => LedgerState::Missing,
    };
    let (policies, undecodable) = read::policies(client).await?;
    snapshot.policies = policies;
    snapshot
        .gaps
        .extend(undecodable.iter().map(|name| Gap::Undecodable {
            object: format!("RebootPolicy {name}"),
        }));
    read_nodes(client, &mut snapshot, name).await?;
    let at = ask_blockers(ctx, &mut snapshot, (name, fence), at);
    let pods_left = pods_left(client, (namespace, name), lease.spec.grant.as_ref(), at).await?;
    // Once the key was turned they are not waited for any more.
    let awaited = lease
        .spec
        .clear
        .as_ref()
        .is_none_or(|clear| clear.fence != fence);
    let waits =
        lease.spec.grant.as_ref().is_some_and(|grant| {
            grant.fence == fence && !grant.drain.wait_for_volume_detach.is_zero()
        });
    if awaited && waits {
        match attached(client, name).await {
            Ok(attached) => {
                snapshot.volumes.insert(name.to_owned(), attached);
            }
            // Not to know of them must not hold the key for longer than they could.
            Err(error) if volumes_awaited_until(&lease, at).is_some() => return Err(error),
            Err(error) => tracing::warn!(node = name, error = %chain(&error), "unknown volumes"),
        }
    }
    Ok(Some(Evidence {
        snapshot,
        lease,
        pods_left,
        at,
    }))
}

/// What blockers have said since the node was drained. The evidence is then as old as the oldest of
/// their answers: asked before it, on a clock that counts on.
fn ask_blockers(
    ctx: &Context,
    snapshot: &mut Snapshot,
    (name, fence): (&str, i64),
    at: Timestamp,
) -> Timestamp {
    let node = snapshot.nodes.get(name);
    let policy = node.and_then(|node| governance(snapshot, node).policy().cloned());
    let Some(policy) = policy else { return at };
    let since = ctx.blockers.since_drained(&policy, (name, fence));
    let (answers, at) = since.dated(at);
    snapshot.blockers = answers;
    at
}

/// The target, and every other node whose health decides: the control plane (faults.md S8), the
/// target's quorum groups, or everybody where a policy counts nodes that are not Ready.
async fn read_nodes(client: &Client, snapshot: &mut Snapshot, name: &str) -> Result<(), CallError> {
    let api: Api<Node> = Api::all(client.clone());
    for selection in decisive(snapshot, name) {
        let params = match &selection {
            Some(label) => ListParams::default().labels(label),
            None => ListParams::default(),
        };
        let listed = bounded("list the nodes that decide", api.list(&params)).await?;
        // Those that have left the selection are gone from it here too.
        snapshot
            .nodes
            .retain(|_, node| selection.as_ref().is_some_and(|label| !has(node, label)));
        for node in listed.items {
            let view = objects::node(node);
            snapshot.nodes.insert(view.name.clone(), view);
        }
    }
    match read::node(client, name).await? {
        Some(node) => snapshot.nodes.insert(name.to_owned(), objects::node(node)),
        None => snapshot.nodes.remove(name),
    };
    Ok(())
}

/// Which nodes have to be read afresh, by label; `None` for all.
fn decisive(snapshot: &Snapshot, name: &str) -> Vec<Option<String>> {
    let mut blockers = snapshot.policies.iter().flat_map(|one| &one.spec.blockers);
    if blockers.any(|one| one.nodes.is_some()) {
        return vec![None];
    }
    let labels = snapshot.nodes.get(name).map(|node| &node.labels);
    let keys = snapshot
        .policies
        .iter()
        .filter_map(|policy| policy.spec.budget.quorum_label.as_deref());
    let mut groups: Vec<String> = keys
        .filter_map(|key| Some(format!("{key}={}", labels?.get(key)?)))
        .collect();
    groups.sort();
    groups.dedup();
    std::iter::once(names::LABEL_CONTROL_PLANE.to_owned())
        .chain(groups)
        .map(Some)
        .collect()
}

/// True when the node has a label, written `key` or `key=value`.
fn has(node: &NodeView, label: &str) -> bool {
    match label.split_once('=') {
        Some((key, value)) => node.labels.get(key).is_some_and(|one| one == value),
        None => node.labels.contains_key(label),
    }
}

/// Names of the node's `VolumeAttachments`. Kubernetes cannot select them by node.
async fn attached(client: &Client, node: &str) -> Result<Vec<String>, CallError> {
    let api: Api<VolumeAttachment> = Api::all(client.clone());
    let params = ListParams::default();
    let attachments = bounded("list the volume attachments", api.list(&params)).await?;
    let of_node = attachments
        .items
        .into_iter()
        .filter(|one| one.spec.node_name == node);
    Ok(of_node.filter_map(|one| one.metadata.name).collect())
}

/// The operator's own look at the pods: an agent's word is not proof (faults.md F83). By the rules of
/// the grant; where it reboots with pods left once the drain has had its time, that time counts from
/// the grant itself, which no agent can write.
fn pods_left(
    client: &Client,
    (namespace, node): (&str, &str),
    grant: Option<&Grant>,
    now: Timestamp,
) -> impl Future<Output = Result<Vec<String>, CallError>> {
    let api: Api<Pod> = Api::all(client.clone());
    let params = ListParams::default().fields(&format!("spec.nodeName={node}"));
    let (namespace, grant) = (namespace.to_owned(), grant.cloned());
    async move {
        let pods = bounded("list the node's pods", api.list(&params)).await?;
        Ok(left(&pods.items, &namespace, grant.as_ref(), now))
    }
}

fn left(pods: &[Pod], namespace: &str, grant: Option<&Grant>, now: Timestamp) -> Vec<String> {
    let passed = |grant: &Grant| now.duration_since(grant.granted_at.0);
    if grant.is_some_and(|grant| drain_filter::goes_anyway(grant, passed(grant))) {
        return Vec::new();
    }
    let rules = DrainRules::of(grant, namespace, now);
    let must_go = pods.iter().filter(|pod| rules.must_go(pod));
    must_go.map(pod_name).collect()
}

fn pod_name(pod: &Pod) -> String {
    let part = |part: &Option<String>| part.clone().unwrap_or_default();
    format!(
        "{}/{}",
        part(&pod.metadata.namespace),
        part(&pod.metadata.name)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn snapshot(spec: &Value) -> Snapshot {
        let policy = serde_json::from_value(json!({
            "apiVersion": "slipway.dev/v1alpha1", "kind": "RebootPolicy",
            "metadata": {"name": "p", "uid": "p"}, "spec": spec,
        }))
        .unwrap();
        let mut snapshot = Snapshot {
            policies: vec![objects::policy_view(&policy)],
            ..Snapshot::default()
        };
        for (name, group) in [("a", "etcd-1"), ("b", "etcd-1"), ("c", "etcd-2")] {
            let view = NodeView {
                name: name.to_owned(),
                labels: [("quorum".to_owned(), group.to_owned())].into(),
                ..NodeView::default()
            };
            snapshot.nodes.insert(name.to_owned(), view);
        }
        snapshot
    }

    #[test]
    fn s8_the_control_plane_and_the_members_of_the_nodes_quorum_group_are_read_again() {
        let control_plane = Some(names::LABEL_CONTROL_PLANE.to_owned());
        let plain = snapshot(&json!({"nodeSelector": {}}));
        assert_eq!(decisive(&plain, "a"), vec![control_plane.clone()]);
        let spec = json!({"nodeSelector": {}, "budget": {"quorumLabel": "quorum"}});
        let group = Some("quorum=etcd-1".to_owned());
        let grouped = snapshot(&spec);
        assert_eq!(decisive(&grouped, "a"), [control_plane, group]);
        assert!(has(&grouped.nodes["b"], "quorum=etcd-1"));
        assert!(!has(&grouped.nodes["c"], "quorum=etcd-1"));
        let spec = json!({"nodeSelector": {}, "blockers": [{"name": "fleet", "nodes": {}}]});
        assert_eq!(decisive(&snapshot(&spec), "a"), [None]);
    }

    fn grant(drain: &Value) -> Grant {
        serde_json::from_value(json!({
            "fence": 7, "grantedAt": "2026-01-01T00:00:00Z", "notAfter": "2026-01-01T01:00:00Z",
            "drain": drain, "reboot": {}, "verify": {},
        }))
        .unwrap()
    }

    fn pods() -> Vec<Pod> {
        let pod = |name: &str| {
            let value = json!({"metadata": {"name": name, "namespace": "shop",
                "labels": {"app": name}}, "spec": {"containers": []}});
            serde_json::from_value(value).unwrap()
        };
        vec![pod("web"), pod("db")]
    }

    fn seen(drain: &Value, at: &str) -> Vec<String> {
        left(
            &pods(),
            "slipway-system",
            Some(&grant(drain)),
            at.parse().unwrap(),
        )
    }

    #[test]
    fn f83_the_operator_judges_pods_by_the_rules_of_the_grant() {
        let late = "2026-01-01T00:59:00Z";
        assert_eq!(seen(&json!({}), late), ["shop/web", "shop/db"]);
        let selector = json!({"podSelector": {"matchLabels": {"app": "db"}}});
        assert_eq!(seen(&selector, late), ["shop/db"]);
        let blocks = json!({"unmanagedPods": "Block"});
        assert_eq!(seen(&blocks, late).len(), 2);
    }

    #[test]
    fn f83_pods_may_be_left_only_once_the_time_since_the_grant_itself_is_up() {
        let anyway = json!({"onTimeout": "RebootAnyway", "timeout": "10m"});
        assert_eq!(seen(&anyway, "2026-01-01T00:09:59Z").len(), 2);
        assert_eq!(seen(&anyway, "2026-01-01T00:10:00Z").len(), 0);
        let force = json!({"onTimeout": "ForceDelete", "timeout": "10m"});
        assert_eq!(seen(&force, "2026-01-01T00:59:00Z").len(), 2);
    }
}
