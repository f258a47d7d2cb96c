//! `now`: asks for a reboot that nothing on the host asks for, or for one before its time.

use std::io::Write as _;

use anyhow::{Result, bail};
use kube::Client;
use serde_json::json;
use slipway_api::people::Request;
use slipway_api::{Phase, RebootLease};
use slipway_client::clock;

use super::lease::{self, Target, Words};
use crate::arguments::Connection;
use crate::arguments::write::{DryRun, NowVerb};
use crate::told::with_rights;
use crate::write::Step;
use crate::{cluster, view};

const RIGHTS: &str = "the verbs get and list on nodes, and get, create, patch and request on \
rebootleases.slipway.dev, which the ClusterRole slipway-reboot-operator has";

pub(crate) async fn run(connection: &Connection, verb: &NowVerb) -> Result<()> {
    let client = cluster::connect(connection).await?;
    let targets = with_rights(lease::targets(&client, &verb.nodes).await, RIGHTS)?;
    if verb.withdraw {
        let words = Words {
            done: "no longer requested",
            rights: RIGHTS,
        };
        return lease::each(&client, targets, &verb.write, words, |found, _| {
            Ok(withdrawn(found))
        })
        .await;
    }
    let request = Request {
        after_fence: 0,
        by: lease::who(&client).await?,
        reason: verb.reason.clone().unwrap_or_default(),
        overrides: verb.overrides.0.clone(),
    };
    let words = Words {
        done: "requested",
        rights: RIGHTS,
    };
    let asked: Vec<Target> = targets
        .iter()
        .filter_map(|(_, node)| node.as_ref().ok().cloned())
        .collect();
    let result = lease::each(&client, targets, &verb.write, words, |found, node| {
        requested(found, node, &request)
    })
    .await;
    if verb.write.dry_run == DryRun::None {
        warn(&client, connection, &asked).await;
    }
    result
}

fn requested(
    found: Option<&RebootLease>,
    node: &Target,
    request: &Request,
) -> Result<Step<RebootLease>> {
    let Some(lease) = found else {
        // Nothing asks for a reboot of this node: the lease begins with the request.
        let mut made = RebootLease::begin(&node.name, &node.uid, None, clock::wall());
        made.spec.request = Some(request.clone());
        return Ok(Step::Create(Box::new(made)));
    };
    if lease.phase().is_accepted() {
        bail!(
            "{} is being rebooted already ({})",
            node.name,
            lease.phase()
        );
    }
    let request = Request {
        after_fence: lease.accepted_fence(),
        ..request.clone()
    };
    if lease.open_request() == Some(&request) {
        return Ok(Step::Nothing);
    }
    Ok(Step::Merge(json!({ "spec": { "request": request } })))
}

fn withdrawn(found: Option<&RebootLease>) -> Step<RebootLease> {
    if found.is_some_and(|lease| lease.spec.request.is_some()) {
        return Step::Merge(json!({ "spec": { "request": null } }));
    }
    Step::Nothing
}

/// Says what stands in the way: `now` must not look like "at once" where nobody will act.
async fn warn(client: &Client, connection: &Connection, nodes: &[Target]) {
    let lines = match waits(client, connection, nodes).await {
        Ok(lines) => lines,
        Err(error) => vec![format!(
            "it cannot be told what stands in the way: {}",
            crate::chain(&error)
        )],
    };
    let mut err = std::io::stderr();
    for line in lines {
        drop(writeln!(err, "warning: {line}"));
    }
}

async fn waits(client: &Client, connection: &Connection, nodes: &[Target]) -> Result<Vec<String>> {
    let snapshot = cluster::snapshot(client, connection).await?;
    let plan = view::view(&snapshot, clock::wall());
    let rows = plan
        .nodes
        .iter()
        .filter(|row| nodes.iter().any(|node| node.name == row.name))
        .filter(|row| !row.phase.is_some_and(Phase::is_accepted));
    Ok(rows
        .flat_map(|row| {
            row.waiting_for
                .iter()
                .map(|wait| format!("{} waits: {} ({})", row.name, wait.message, wait.kind))
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use slipway_api::people::Override;

    fn lease(phase: &str, fence: i64) -> RebootLease {
        serde_json::from_value(json!({
            "apiVersion": "slipway.dev/v1alpha1", "kind": "RebootLease", "metadata": {"name": "n"},
            "spec": {"nodeUID": "u", "requestedAt": "2026-11-24T11:00:00Z"},
            "status": {"phase": phase, "fence": fence},
        }))
        .unwrap()
    }

    #[test]
    fn a_request_is_for_the_reboot_after_the_last_one_and_never_beside_one() {
        let node = Target {
            name: "n".into(),
            uid: "u".into(),
        };
        let request = Request {
            after_fence: 0,
            by: "rob".into(),
            reason: "x".into(),
            overrides: vec![Override::Window],
        };
        let mut ended = lease("Completed", 7);
        let Step::Merge(body) = requested(Some(&ended), &node, &request).unwrap() else {
            panic!("nothing to write")
        };
        assert_eq!(body["spec"]["request"]["afterFence"], 7);
        ended.spec.request = Some(Request {
            after_fence: 7,
            ..request.clone()
        });
        let again = requested(Some(&ended), &node, &request).unwrap();
        assert!(matches!(again, Step::Nothing));
        for phase in ["Draining", "Drained", "Rebooting", "Rebooted"] {
            assert!(requested(Some(&lease(phase, 7)), &node, &request).is_err());
        }
        let Step::Create(made) = requested(None, &node, &request).unwrap() else {
            panic!("nothing is made")
        };
        assert_eq!(made.spec.request, Some(request));
        assert_eq!(made.metadata.owner_references.unwrap()[0].uid, "u");
    }
}
