//! `pause` and `resume`: the brakes of a policy and of everything.

use anyhow::{Context, Result, bail};
use kube::api::ListParams;
use kube::{Api, Client};
use serde_json::json;
use slipway_api::{RebootLedger, RebootPolicy, names};
use slipway_client::call::bounded;

use crate::arguments::Connection;
use crate::arguments::write::PauseVerb;
use crate::cluster;
use crate::told::{Told, one_version, plain, with_rights};
use crate::write::{Step, swap};

const RIGHTS: &str = "the verbs get, list and patch on rebootpolicies.slipway.dev, or on \
rebootledgers.slipway.dev with --all";

pub(crate) async fn run(connection: &Connection, verb: &PauseVerb, paused: bool) -> Result<()> {
    let client = cluster::connect(connection).await?;
    let word = if paused { "paused" } else { "resumed" };
    let mut told = Told::new(&verb.write, word);
    if verb.brakes.all {
        let name = names::LEDGER_NAME;
        let written = swap(
            &client,
            name,
            &verb.write,
            |found: Option<&RebootLedger>| {
                let ledger = found
                    .context("there is no ledger yet; the operator makes it when it starts")?;
                Ok(step(ledger.spec.paused, paused))
            },
        )
        .await;
        told.one::<RebootLedger>(name, with_rights(written, RIGHTS))?;
        return told.end();
    }
    let policies = with_rights(policies(&client, verb).await, RIGHTS)?;
    one_version(&verb.write, policies.len())?;
    for name in &policies {
        let written = swap(
            &client,
            name,
            &verb.write,
            |found: Option<&RebootPolicy>| {
                let policy = found.with_context(|| format!("there is no RebootPolicy {name:?}"))?;
                Ok(step(policy.spec.paused, paused))
            },
        )
        .await;
        told.one::<RebootPolicy>(name, with_rights(written, RIGHTS))?;
    }
    told.end()
}

fn step<K>(is_paused: bool, paused: bool) -> Step<K> {
    if is_paused == paused {
        Step::Nothing
    } else {
        Step::Merge(json!({ "spec": { "paused": paused } }))
    }
}

async fn policies(client: &Client, verb: &PauseVerb) -> Result<Vec<String>> {
    let Some(selector) = &verb.brakes.selector else {
        return Ok(verb.brakes.policies.clone());
    };
    let api: Api<RebootPolicy> = Api::all(client.clone());
    let params = ListParams::default().labels(selector);
    let list = bounded("list the policies", api.list_metadata(&params))
        .await
        .map_err(plain)?;
    if list.items.is_empty() {
        bail!("no policy has the labels {selector}");
    }
    let names = list
        .items
        .into_iter()
        .filter_map(|policy| policy.metadata.name);
    Ok(names.collect())
}
