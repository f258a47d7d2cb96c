//! Pods that must not be disturbed, as the API server lists them.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::api::ListParams;
use kube::core::Selector;
use kube::{Api, Client};
use slipway_api::policy::{PodScope, PodsBlocker};
use slipway_client::call::bounded;
use slipway_planner::blockers::Answer;

use super::Trouble;

/// Pods that have finished do not count.
const RUNNING: &str = "status.phase!=Succeeded,status.phase!=Failed";
/// Pods in one answer of the API server, and answers: so many pods are kept in mind at most.
const PAGE: u32 = 500;
const PAGES_MAX: usize = 40;

/// Asks for the pods.
pub(super) async fn ask(client: &Client, blocker: &PodsBlocker) -> Result<Answer, Trouble> {
    let api: Api<Pod> = Api::all(client.clone());
    let mut params = ListParams::default()
        .fields(RUNNING)
        .labels_from(&labels(&blocker.selector)?)
        .limit(PAGE);
    let mut nodes: BTreeMap<String, String> = BTreeMap::new();
    for _ in 0..PAGES_MAX {
        let list = bounded("list the pods of a blocker", api.list(&params)).await;
        let list = list.map_err(|error| {
            let class = error.class().as_str();
            Trouble::new(format!("the pods cannot be listed ({class})"))
        })?;
        for pod in &list.items {
            let message = format!("pod {} runs", name(pod));
            if blocker.scope == PodScope::Cluster {
                return Ok(Answer::Blocks { message });
            }
            // One that is not placed yet disturbs no node.
            if let Some(node) = pod.spec.as_ref().and_then(|spec| spec.node_name.clone()) {
                nodes.entry(node).or_insert(message);
            }
        }
        params.continue_token = list.metadata.continue_.filter(|token| !token.is_empty());
        if params.continue_token.is_none() {
            return Ok(if nodes.is_empty() {
                Answer::Clear
            } else {
                Answer::BlocksNodes { nodes }
            });
        }
    }
    Err(Trouble::new(
        "selector: it selects more than 20000 pods, which is more than are looked at",
    ))
}

fn labels(selector: &LabelSelector) -> Result<Selector, Trouble> {
    Selector::try_from(selector.clone()).map_err(|_| Trouble::new("selector: it cannot be read"))
}

fn name(pod: &Pod) -> String {
    let part = |part: &Option<String>| part.clone().unwrap_or_default();
    let (namespace, name) = (&pod.metadata.namespace, &pod.metadata.name);
    format!("{}/{}", part(namespace), part(name))
}
