//! `pause` and `resume`: the brakes of a policy and of everything.

use std::fmt::Debug;

use anyhow::{Context, Result};
use kube::api::{Patch, PatchParams};
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;
use serde_json::json;
use slipway_api::{RebootLedger, RebootPolicy, names};
use slipway_client::call::bounded;

use crate::arguments::{Connection, PauseVerb};
use crate::{cluster, output};

/// Who writes, as the API server notes it.
const MANAGER: &str = "kubectl-reboot";

pub(crate) async fn run(connection: &Connection, verb: &PauseVerb, paused: bool) -> Result<()> {
    let client = cluster::connect(connection).await?;
    if verb.all {
        let is_paused = |ledger: &RebootLedger| ledger.spec.paused;
        return set(
            &client,
            "rebootledger",
            names::LEDGER_NAME,
            is_paused,
            paused,
        )
        .await
        .context("failed to reach the ledger, which the operator makes when it starts");
    }
    for name in &verb.policies {
        let is_paused = |policy: &RebootPolicy| policy.spec.paused;
        set(&client, "rebootpolicy", name, is_paused, paused).await?;
    }
    Ok(())
}

async fn set<K>(
    client: &Client,
    kind: &str,
    name: &str,
    is_paused: impl Fn(&K) -> bool,
    paused: bool,
) -> Result<()>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned,
{
    let api: Api<K> = Api::all(client.clone());
    let present = bounded(&format!("read the {kind} {name}"), api.get(name)).await?;
    let word = if paused { "paused" } else { "resumed" };
    if is_paused(&present) == paused {
        return output::text(&format!(
            "{kind}.{}/{name} {word} (no change)\n",
            names::GROUP
        ));
    }
    let params = PatchParams {
        field_manager: Some(MANAGER.to_owned()),
        ..PatchParams::default()
    };
    let patch = Patch::Merge(json!({ "spec": { "paused": paused } }));
    let what = format!("write the {kind} {name}");
    bounded(&what, api.patch(name, &params, &patch)).await?;
    output::text(&format!("{kind}.{}/{name} {word}\n", names::GROUP))
}
