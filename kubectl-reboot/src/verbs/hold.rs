//! `hold` and `unhold`: a node that is not rebooted, whatever asks for it.

use anyhow::{Result, bail};
use serde_json::json;
use slipway_api::RebootLease;
use slipway_api::people::Hold;
use slipway_client::clock;

use super::lease::{self, Target, Words};
use crate::arguments::Connection;
use crate::arguments::write::{HoldVerb, UnholdVerb};
use crate::cluster;
use crate::told::with_rights;
use crate::write::Step;

const RIGHTS: &str = "the verbs get and list on nodes, and get, create, patch and hold on \
rebootleases.slipway.dev, which the ClusterRole slipway-reboot-operator has";

pub(crate) async fn hold(connection: &Connection, verb: &HoldVerb) -> Result<()> {
    let client = cluster::connect(connection).await?;
    let targets = with_rights(lease::targets(&client, &verb.nodes).await, RIGHTS)?;
    let hold = Hold {
        by: lease::who(&client).await?,
        reason: verb.reason.clone(),
    };
    let words = Words {
        done: "held",
        rights: RIGHTS,
    };
    lease::each(&client, targets, &verb.write, words, |found, node| {
        held(found, node, &hold)
    })
    .await
}

fn held(found: Option<&RebootLease>, node: &Target, hold: &Hold) -> Result<Step<RebootLease>> {
    let Some(lease) = found else {
        let mut made = RebootLease::begin(&node.name, &node.uid, None, clock::wall());
        made.spec.hold = Some(hold.clone());
        return Ok(Step::Create(Box::new(made)));
    };
    match &lease.spec.hold {
        Some(present) if present == hold => return Ok(Step::Nothing),
        // Whoever ends theirs would end the other one's as well.
        Some(present) if present.by != hold.by => bail!(
            "{} holds it already ({}); kubectl reboot unhold {} ends that",
            present.by,
            present.reason,
            node.name
        ),
        _ => {}
    }
    Ok(Step::Merge(json!({ "spec": { "hold": hold } })))
}

pub(crate) async fn unhold(connection: &Connection, verb: &UnholdVerb) -> Result<()> {
    let client = cluster::connect(connection).await?;
    let targets = with_rights(lease::targets(&client, &verb.nodes).await, RIGHTS)?;
    let words = Words {
        done: "unheld",
        rights: RIGHTS,
    };
    lease::each(&client, targets, &verb.write, words, |found, _| {
        let is_held = found.is_some_and(|lease| lease.spec.hold.is_some());
        Ok(if is_held {
            Step::Merge(json!({ "spec": { "hold": null } }))
        } else {
            Step::Nothing
        })
    })
    .await
}
