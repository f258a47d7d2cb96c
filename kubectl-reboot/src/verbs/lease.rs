//! What the verbs on single reboots share: who writes, which nodes, and a lease where there is none.

use std::collections::BTreeSet;

use anyhow::{Context, Result, anyhow, bail};
use k8s_openapi::api::authentication::v1::SelfSubjectReview;
use k8s_openapi::api::core::v1::Node;
use kube::api::{ListParams, PostParams};
use kube::{Api, Client};
use slipway_api::RebootLease;
use slipway_client::call::bounded;

use crate::arguments::write::{Nodes, Write};
use crate::told::{Told, one_version, plain, with_rights};
use crate::write::{Step, swap};

/// A node by name and UID.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) name: String,
    pub(crate) uid: String,
}

/// Who we are, as the API server sees it: it compares `by` with that.
pub(crate) async fn who(client: &Client) -> Result<String> {
    let api: Api<SelfSubjectReview> = Api::all(client.clone());
    let (params, asked) = (PostParams::default(), SelfSubjectReview::default());
    let review = bounded("ask who you are", api.create(&params, &asked))
        .await
        .map_err(plain)?;
    review
        .status
        .and_then(|status| status.user_info)
        .and_then(|user| user.username)
        .filter(|name| !name.is_empty())
        .ok_or_else(|| anyhow!("the API server does not say who you are"))
}

/// A verb on leases, in the words that people are told.
#[derive(Clone, Copy)]
pub(crate) struct Words {
    /// What was done: `held`.
    pub(crate) done: &'static str,
    /// What it takes.
    pub(crate) rights: &'static str,
}

/// Writes each lease, as `decide` says from the very lease that is replaced.
pub(crate) async fn each(
    client: &Client,
    targets: Vec<(String, Result<Target>)>,
    options: &Write,
    words: Words,
    decide: impl Fn(Option<&RebootLease>, &Target) -> Result<Step<RebootLease>>,
) -> Result<()> {
    one_version(options, targets.len())?;
    let mut told = Told::new(options, words.done);
    for (name, node) in targets {
        let written = match node {
            Ok(node) => swap(client, &name, options, |found| {
                if let Some(lease) = found {
                    of_this_node(lease, &node)?;
                }
                decide(found, &node)
            })
            .await
            .with_context(|| format!("{name} was not {}", words.done)),
            Err(error) => Err(error),
        };
        told.one::<RebootLease>(&name, with_rights(written, words.rights))?;
    }
    told.end()
}

/// The nodes that are meant: each that is named, or those that have the labels. A name that no node
/// has is an error of its own, so that the others are gone on with.
pub(crate) async fn targets(
    client: &Client,
    nodes: &Nodes,
) -> Result<Vec<(String, Result<Target>)>> {
    if let Some(selector) = &nodes.selector {
        let found = labelled(client, selector).await?;
        if found.is_empty() {
            bail!("no node has the labels {selector}");
        }
        return Ok(fine(found));
    }
    Ok(by_name(client, &nodes.nodes).await)
}

/// Targets that were found.
pub(crate) fn fine(nodes: Vec<Target>) -> Vec<(String, Result<Target>)> {
    nodes
        .into_iter()
        .map(|node| (node.name.clone(), Ok(node)))
        .collect()
}

/// Each node once, by its name.
pub(crate) async fn by_name(client: &Client, names: &[String]) -> Vec<(String, Result<Target>)> {
    let mut found = Vec::new();
    let mut seen = BTreeSet::new();
    for name in names.iter().filter(|name| seen.insert(name.as_str())) {
        found.push((name.clone(), node(client, name).await));
    }
    found
}

/// The nodes with these labels, by the API server's own reading of the selector.
pub(crate) async fn labelled(client: &Client, selector: &str) -> Result<Vec<Target>> {
    let api: Api<Node> = Api::all(client.clone());
    let params = ListParams::default().labels(selector);
    let list = bounded("list the nodes", api.list_metadata(&params))
        .await
        .map_err(plain)?;
    Ok(list
        .items
        .into_iter()
        .map(|node| target(node.metadata.name, node.metadata.uid))
        .collect())
}

async fn node(client: &Client, name: &str) -> Result<Target> {
    let api: Api<Node> = Api::all(client.clone());
    let found = bounded("read the node", api.get_metadata_opt(name))
        .await
        .map_err(plain)?;
    match found {
        Some(node) => Ok(target(node.metadata.name, node.metadata.uid)),
        None => bail!("there is no node {name:?}"),
    }
}

fn target(name: Option<String>, uid: Option<String>) -> Target {
    Target {
        name: name.unwrap_or_default(),
        uid: uid.unwrap_or_default(),
    }
}

/// Refuses the lease of a node that had the same name: what is written there is lost with it.
fn of_this_node(lease: &RebootLease, node: &Target) -> Result<()> {
    if lease.spec.node_uid != node.uid {
        bail!(
            "the lease of {} is that of a former node of this name, which is being removed: try again in a minute",
            node.name
        );
    }
    Ok(())
}
