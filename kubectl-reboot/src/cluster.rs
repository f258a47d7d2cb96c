//! One look at the cluster, by the reading that the operator has.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::io::Write;

use anyhow::{Context, Result};
use k8s_openapi::api::core::v1::{Node, Pod};
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
    let ledger = ledgers
        .into_iter()
        .find(|ledger| ledger.metadata.name.as_deref() == Some(names::LEDGER_NAME));
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

/// Labels that a `-l` asks for, by the API server's own notation.
pub(crate) fn selector(text: &str) -> Result<Vec<Requirement>> {
    text.split(',')
        .map(str::trim)
        .filter(|part| !part.is_empty())
        .map(|part| {
            requirement(part).with_context(|| format!("failed to read the selector {part:?}"))
        })
        .collect()
}

/// One part of a selector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Requirement {
    Equals(String, String),
    Differs(String, String),
    Exists(String),
    Absent(String),
}

fn requirement(part: &str) -> Option<Requirement> {
    let pair = |separator: &str| {
        part.split_once(separator)
            .map(|(key, value)| (key.trim().to_owned(), value.trim().to_owned()))
    };
    let found = pair("!=")
        .map(|(key, value)| Requirement::Differs(key, value))
        .or_else(|| pair("==").map(|(key, value)| Requirement::Equals(key, value)))
        .or_else(|| pair("=").map(|(key, value)| Requirement::Equals(key, value)))
        .or_else(|| {
            part.strip_prefix('!')
                .map(|key| Requirement::Absent(key.trim().to_owned()))
        })
        .unwrap_or_else(|| Requirement::Exists(part.to_owned()));
    let (Requirement::Equals(key, _)
    | Requirement::Differs(key, _)
    | Requirement::Exists(key)
    | Requirement::Absent(key)) = &found;
    let readable = !key.is_empty() && !key.contains([' ', '(', ')', '=', '!']);
    readable.then_some(found)
}

/// True when the labels are what every part asks for.
pub(crate) fn matches(parts: &[Requirement], labels: &BTreeMap<String, String>) -> bool {
    parts.iter().all(|part| match part {
        Requirement::Equals(key, value) => labels.get(key) == Some(value),
        Requirement::Differs(key, value) => labels.get(key) != Some(value),
        Requirement::Exists(key) => labels.contains_key(key),
        Requirement::Absent(key) => !labels.contains_key(key),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selectors_are_read_as_kubectl_reads_them() {
        let labels = BTreeMap::from([("a", "b"), ("x/y", "")].map(|(k, v)| (k.into(), v.into())));
        for (text, expected) in [
            ("", true),
            ("a=b", true),
            ("a==b", true),
            ("a=b,x/y", true),
            ("a!=b", false),
            ("!a", false),
            ("!c", true),
            ("c!=d", true),
            ("a=c", false),
        ] {
            assert_eq!(
                matches(&selector(text).unwrap(), &labels),
                expected,
                "{text}"
            );
        }
        for text in ["=b", "a in (b)", "!"] {
            assert!(selector(text).is_err(), "{text}");
        }
    }
}
