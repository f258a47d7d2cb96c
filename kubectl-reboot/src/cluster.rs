//! One look at the cluster, by the reading that the operator has.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::io::Write;

use anyhow::Result;
use k8s_openapi::api::core::v1::{Node, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::ListParams;
use kube::core::DeserializeGuard;
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;
use slipway_api::{RebootLease, RebootLedger, RebootPolicy, names};
use slipway_client::call::{CallError, ErrorClass, bounded};
use slipway_client::connect::{ConnectOptions, client_of_person};
use slipway_planner::{Gap, LedgerState, Snapshot, objects};

use crate::arguments::Connection;

/// Objects per page: a cluster of any size is read in bounded answers.
const PAGE: u32 = 500;

/// A client of the person's cluster.
pub(crate) async fn connect(connection: &Connection) -> Result<Client> {
    let options = ConnectOptions {
        kubeconfig: connection.kubeconfig.clone(),
        context: connection.context.clone(),
        impersonate: connection.impersonate.clone(),
    };
    Ok(client_of_person(&options).await?)
}

/// Reads everything that a plan rests on, at quorum.
pub(crate) async fn snapshot(client: &Client, connection: &Connection) -> Result<Snapshot> {
    let mut gaps = Vec::new();
    let policies: Vec<RebootPolicy> =
        list(client, "list the policies", "RebootPolicy", &mut gaps).await?;
    // Leases before the ledger: a grant that is seen then has its slot in the ledger.
    let leases: Vec<RebootLease> =
        list(client, "list the leases", "RebootLease", &mut gaps).await?;
    let ledgers: Vec<RebootLedger> =
        list(client, "list the ledgers", "RebootLedger", &mut gaps).await?;
    let nodes: Vec<Node> = list(client, "list the nodes", "Node", &mut gaps).await?;
    let ledger = ledgers.into_iter().find(is_the_ledger);
    let nodes: BTreeMap<_, _> = nodes
        .into_iter()
        .map(objects::node)
        .map(|node| (node.name.clone(), node))
        .collect();
    Ok(Snapshot {
        gaps,
        ledger: ledger.map_or(LedgerState::Missing, |ledger| {
            LedgerState::Present(Box::new(ledger))
        }),
        policies: policies.iter().map(objects::policy_view).collect(),
        leases: leases
            .into_iter()
            .filter_map(|lease| Some((lease.metadata.name.clone()?, lease)))
            .collect(),
        agents: agents(
            client,
            &connection.namespace,
            &nodes.keys().cloned().collect(),
        )
        .await?,
        nodes,
        ..Snapshot::default()
    })
}

/// What the status of everything rests on.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    /// By name.
    pub(crate) policies: Vec<RebootPolicy>,
    /// By name.
    pub(crate) leases: Vec<RebootLease>,
    pub(crate) ledger: Option<RebootLedger>,
    /// Labels of nodes by name, where they were asked for.
    pub(crate) labels: BTreeMap<String, BTreeMap<String, String>>,
}

/// Reads policies, leases and the ledger, and the labels of nodes only where somebody selects by
/// them.
pub(crate) async fn seen(client: &Client, with_labels: bool) -> Result<Seen> {
    let mut gaps = Vec::new();
    let policies = list(client, "list the policies", "RebootPolicy", &mut gaps).await?;
    let leases = list(client, "list the leases", "RebootLease", &mut gaps).await?;
    let ledgers: Vec<RebootLedger> =
        list(client, "list the ledgers", "RebootLedger", &mut gaps).await?;
    let nodes: Vec<Node> = if with_labels {
        list(client, "list the nodes", "Node", &mut gaps).await?
    } else {
        Vec::new()
    };
    Ok(Seen {
        policies,
        leases,
        ledger: ledgers.into_iter().find(is_the_ledger),
        labels: nodes
            .into_iter()
            .map(|node| labels(node.metadata))
            .collect(),
    })
}

/// The one that counts.
pub(crate) fn is_the_ledger(ledger: &RebootLedger) -> bool {
    ledger.metadata.name.as_deref() == Some(names::LEDGER_NAME)
}

/// A node's name and labels.
pub(crate) fn labels(meta: ObjectMeta) -> (String, BTreeMap<String, String>) {
    (
        meta.name.unwrap_or_default(),
        meta.labels.unwrap_or_default(),
    )
}

/// Nodes with a Ready agent. A person who may not see pods is not told that every node lacks one.
async fn agents(
    client: &Client,
    namespace: &str,
    nodes: &BTreeSet<String>,
) -> Result<BTreeSet<String>> {
    let selector = format!("{}={}", names::LABEL_COMPONENT, names::COMPONENT_AGENT);
    let api: Api<Pod> = Api::namespaced(client.clone(), namespace);
    let params = ListParams::default().labels(&selector);
    match bounded("list the agents", api.list(&params)).await {
        Ok(pods) => Ok(pods
            .into_iter()
            .map(objects::agent_pod)
            .filter(|pod| pod.ready)
            .map(|pod| pod.node)
            .collect()),
        Err(error) if error.class() == ErrorClass::Denied => {
            let mut err = std::io::stderr();
            writeln!(
                err,
                "warning: you may not list pods in {namespace}, so agents are taken to be Ready"
            )?;
            Ok(nodes.clone())
        }
        Err(error) => Err(error.into()),
    }
}

async fn list<K>(client: &Client, what: &str, kind: &str, gaps: &mut Vec<Gap>) -> Result<Vec<K>>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned,
{
    let api: Api<DeserializeGuard<K>> = Api::all(client.clone());
    let mut params = ListParams::default().limit(PAGE);
    let mut found = Vec::new();
    loop {
        let page = bounded(what, api.list(&params)).await.map_err(missing)?;
        for object in page.items {
            match object.0 {
                Ok(object) => found.push(object),
                Err(invalid) => gaps.push(Gap::Undecodable {
                    object: format!("{kind} {}", invalid.metadata.name.unwrap_or_default()),
                }),
            }
        }
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => params = params.continue_token(&token),
            None => return Ok(found),
        }
    }
}

/// A cluster without our kinds has no Slipway: say that instead of "404".
fn missing(error: CallError) -> anyhow::Error {
    if error.is_not_found() {
        return anyhow::Error::new(error)
            .context("Slipway is not installed in this cluster (its CRDs are missing)");
    }
    error.into()
}
