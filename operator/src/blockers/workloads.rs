//! The owners of a node's pods: remembered when its reboot is granted, and asked after it whether
//! their pods are ready again (`verify.podsReadyWithin`).

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::{ReplicaSet, StatefulSet};
use k8s_openapi::api::core::v1::{Pod, ReplicationController};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::api::ListParams;
use kube::{Api, Client, ResourceExt};
use slipway_api::Workload;
use slipway_api::drain_filter::DrainRules;
use slipway_api::workload::WORKLOADS_MAX;
use slipway_client::call::{CallError, bounded};
use slipway_planner::blockers::Answer;

use super::Trouble;
use crate::observe::read;

/// Pods in one answer of the API server, and answers about one namespace.
const PAGE: u32 = 500;
const PAGES_MAX: usize = 40;

/// Ready pods of each owner of a namespace, by UID.
type Counts = BTreeMap<String, i32>;

/// What an owner has, and what it wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Standing {
    ready: i32,
    wanted: i32,
}

/// The owners of the Ready pods that a drain moves away from the node, with all that each of them
/// has in the cluster.
pub(crate) async fn on_node(
    client: &Client,
    rules: &DrainRules<'_>,
    node: &str,
) -> Result<Vec<Workload>, CallError> {
    let api: Api<Pod> = Api::all(client.clone());
    let params = ListParams::default().fields(&format!("spec.nodeName={node}"));
    let pods = bounded("list the node's pods", api.list(&params)).await?;
    let mut owners = Owners::new(client);
    let mut found = Vec::new();
    for mut workload in of_pods(&pods.items, rules) {
        // One that has gone meanwhile owes nothing.
        if let Some(standing) = owners.look(&workload).await? {
            workload.ready = standing.ready;
            found.push(workload);
        }
    }
    Ok(found)
}

/// Asks whether every owner has its pods ready again.
pub(super) async fn ask(client: &Client, workloads: &[Workload]) -> Result<Answer, Trouble> {
    let mut owners = Owners::new(client);
    let mut short = Vec::new();
    for workload in workloads {
        let looked = owners.look(workload).await.map_err(|error| {
            let class = error.class().as_str();
            Trouble::new(format!("{workload} cannot be looked at ({class})"))
        })?;
        let shortage = looked.and_then(|standing| shortage(workload, standing));
        short.extend(shortage.map(|message| (workload.to_string(), message)));
    }
    let Some((owner, first)) = short.first().cloned() else {
        return Ok(Answer::Clear);
    };
    let message = match short.len() - 1 {
        0 => first,
        more => format!("{first}, and {more} more owners of pods"),
    };
    Ok(Answer::PodsNotReady { owner, message })
}

/// What is missing, if something is: as many as it had, or as it wants now, if that is fewer.
fn shortage(workload: &Workload, standing: Standing) -> Option<String> {
    let needs = workload.ready.min(standing.wanted);
    let ready = standing.ready;
    (ready < needs).then(|| format!("{workload} has {ready} of {needs} ready pods"))
}

/// The owners of those pods that are Ready and that the drain moves, without their numbers.
fn of_pods(pods: &[Pod], rules: &DrainRules<'_>) -> Vec<Workload> {
    let moved = pods
        .iter()
        .filter(|pod| rules.must_go(pod) && is_ready(pod));
    let mut owners: Vec<Workload> = moved
        .filter_map(|pod| {
            let owner = controller(pod)?;
            // Pods of Jobs end by themselves, and what has ended is not ready again.
            (owner.kind != "Job").then(|| Workload {
                api_version: owner.api_version.clone(),
                kind: owner.kind.clone(),
                namespace: pod.namespace().unwrap_or_default(),
                name: owner.name.clone(),
                uid: owner.uid.clone(),
                ready: 0,
            })
        })
        .collect();
    owners.sort();
    owners.dedup();
    owners.truncate(WORKLOADS_MAX);
    owners
}

fn controller(pod: &Pod) -> Option<&OwnerReference> {
    let mut owners = pod.metadata.owner_references.iter().flatten();
    owners.find(|owner| owner.controller == Some(true))
}

fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.iter().flat_map(|status| &status.conditions);
    let mut conditions = conditions.flatten();
    pod.metadata.deletion_timestamp.is_none()
        && conditions.any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

/// Looks at owners, and lists the pods of a namespace once at most.
struct Owners<'a> {
    client: &'a Client,
    counts: BTreeMap<String, Counts>,
}

impl<'a> Owners<'a> {
    fn new(client: &'a Client) -> Self {
        Self {
            client,
            counts: BTreeMap::new(),
        }
    }

    /// What the owner has and wants; `None` where it has gone.
    async fn look(&mut self, workload: &Workload) -> Result<Option<Standing>, CallError> {
        let Workload {
            namespace, name, ..
        } = workload;
        let client = self.client.clone();
        let what = "read an owner of pods";
        let standing = match (workload.api_version.as_str(), workload.kind.as_str()) {
            ("apps/v1", "ReplicaSet") => {
                let api: Api<ReplicaSet> = Api::namespaced(client, namespace);
                read::get(&api, name, what).await?.map(|owner| {
                    let uid = owner.uid();
                    let ready = owner.status.and_then(|status| status.ready_replicas);
                    (uid, ready, owner.spec.and_then(|spec| spec.replicas))
                })
            }
            ("apps/v1", "StatefulSet") => {
                let api: Api<StatefulSet> = Api::namespaced(client, namespace);
                read::get(&api, name, what).await?.map(|owner| {
                    let uid = owner.uid();
                    let ready = owner.status.and_then(|status| status.ready_replicas);
                    (uid, ready, owner.spec.and_then(|spec| spec.replicas))
                })
            }
            ("v1", "ReplicationController") => {
                let api: Api<ReplicationController> = Api::namespaced(client, namespace);
                read::get(&api, name, what).await?.map(|owner| {
                    let uid = owner.uid();
                    let ready = owner.status.and_then(|status| status.ready_replicas);
                    (uid, ready, owner.spec.and_then(|spec| spec.replicas))
                })
            }
            // Of another kind: its pods are counted, and what it wants is not known.
            _ => {
                let counts = self.counts_of(namespace).await?;
                let ready = counts.get(&workload.uid).copied().unwrap_or_default();
                let wanted = i32::MAX;
                return Ok(Some(Standing { ready, wanted }));
            }
        };
        let same = standing.filter(|(uid, ..)| uid.as_deref() == Some(workload.uid.as_str()));
        Ok(same.map(|(_, ready, wanted)| Standing {
            ready: ready.unwrap_or_default(),
            wanted: wanted.unwrap_or(1),
        }))
    }

    async fn counts_of(&mut self, namespace: &str) -> Result<&Counts, CallError> {
        if !self.counts.contains_key(namespace) {
            let counts = count(self.client, namespace).await?;
            self.counts.insert(namespace.to_owned(), counts);
        }
        Ok(self.counts.entry(namespace.to_owned()).or_default())
    }
}

async fn count(client: &Client, namespace: &str) -> Result<Counts, CallError> {
    let api: Api<Pod> = Api::namespaced(client.clone(), namespace);
    let mut params = ListParams::default().limit(PAGE);
    let mut counts = Counts::new();
    for _ in 0..PAGES_MAX {
        let list = bounded("list the pods of an owner", api.list(&params)).await?;
        for owner in list
            .items
            .iter()
            .filter(|pod| is_ready(pod))
            .filter_map(controller)
        {
            *counts.entry(owner.uid.clone()).or_default() += 1;
        }
        params.continue_token = list.metadata.continue_.filter(|token| !token.is_empty());
        if params.continue_token.is_none() {
            break;
        }
    }
    Ok(counts)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules() -> DrainRules<'static> {
        DrainRules::of(None, "slipway-system", jiff::Timestamp::UNIX_EPOCH)
    }
    use serde_json::{Value, json};

    fn pod(name: &str, kind: &str, owner: &str, status: &str) -> Pod {
        serde_json::from_value(json!({
            "metadata": {"name": name, "namespace": "shop", "ownerReferences": [{
                "apiVersion": "apps/v1", "kind": kind, "name": owner, "uid": format!("{owner}-uid"),
                "controller": true,
            }]},
            "spec": {"containers": []},
            "status": {"conditions": [{"type": "Ready", "status": status}]},
        }))
        .unwrap()
    }

    #[test]
    fn owners_of_ready_pods_are_remembered_once_and_only_where_they_bring_pods_back() {
        let mut bare = pod("bare", "ReplicaSet", "x", "True");
        bare.metadata.owner_references = None;
        let mut leaving = pod("leaving", "ReplicaSet", "gone", "True");
        leaving.metadata.deletion_timestamp =
            serde_json::from_value(Value::from("2026-11-24T12:00:00Z")).unwrap();
        let pods = vec![
            pod("b-0", "StatefulSet", "b", "True"),
            pod("a-0", "ReplicaSet", "a", "True"),
            pod("a-1", "ReplicaSet", "a", "True"),
            pod("c-0", "ReplicaSet", "c", "False"),
            pod("d-0", "DaemonSet", "d", "True"),
            pod("e-0", "Job", "e", "True"),
            bare,
            leaving,
        ];
        let found: Vec<String> = of_pods(&pods, &rules())
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(found, ["ReplicaSet shop/a", "StatefulSet shop/b"]);
    }

    #[test]
    fn no_more_owners_are_remembered_than_fit_a_lease() {
        let pods: Vec<Pod> = (0..100)
            .map(|number| pod("p", "ReplicaSet", &format!("owner-{number}"), "True"))
            .collect();
        assert_eq!(of_pods(&pods, &rules()).len(), WORKLOADS_MAX);
    }

    #[test]
    fn an_owner_needs_what_it_had_or_what_it_wants_if_that_is_fewer() {
        let had = |ready| Workload {
            kind: "ReplicaSet".into(),
            namespace: "shop".into(),
            name: "cart".into(),
            ready,
            ..Workload::default()
        };
        let now = |ready, wanted| Standing { ready, wanted };
        assert_eq!(shortage(&had(2), now(2, 3)), None);
        assert_eq!(shortage(&had(2), now(3, 3)), None);
        assert_eq!(shortage(&had(2), now(0, 0)), None, "scaled to nothing");
        assert_eq!(shortage(&had(2), now(1, 1)), None, "scaled down");
        assert_eq!(
            shortage(&had(2), now(1, 3)).as_deref(),
            Some("ReplicaSet shop/cart has 1 of 2 ready pods")
        );
    }
}
