//! `approve`: lets the need that a node waits with be served, where its policy has mode Approve.

use anyhow::{Context, Result, bail};
use kube::api::ListParams;
use kube::{Api, Client};
use serde_json::json;
use slipway_api::people::Approval;
use slipway_api::{Phase, RebootLease};
use slipway_client::call::bounded;

use super::lease::{self, Target, Words};
use crate::arguments::Connection;
use crate::arguments::write::ApproveVerb;
use crate::cluster;
use crate::told::{plain, with_rights};
use crate::write::Step;

/// The reason in status of a lease that waits for it; a test asks the planner for its name.
const NOT_APPROVED: &str = "NotApproved";

const RIGHTS: &str = "the verbs get and list on nodes, and get, list, patch and approve on \
rebootleases.slipway.dev, which the ClusterRole slipway-reboot-operator has";

pub(crate) async fn run(connection: &Connection, verb: &ApproveVerb) -> Result<()> {
    let client = cluster::connect(connection).await?;
    let targets = with_rights(targets(&client, verb).await, RIGHTS)?;
    let by = lease::who(&client).await?;
    let words = Words {
        done: if verb.withdraw {
            "no longer approved"
        } else {
            "approved"
        },
        rights: RIGHTS,
    };
    lease::each(&client, targets, &verb.write, words, |found, node| {
        let lease = found.with_context(|| {
            format!(
                "{} has no lease: nothing asks for a reboot of it",
                node.name
            )
        })?;
        if verb.withdraw {
            Ok(withdrawn(lease))
        } else {
            approved(lease, node, &by)
        }
    })
    .await
}

fn approved(lease: &RebootLease, node: &Target, by: &str) -> Result<Step<RebootLease>> {
    let (name, phase) = (&node.name, lease.phase());
    if phase.is_accepted() || phase == Phase::Granted {
        bail!("the reboot of {name} is under way ({phase}) and takes no approval");
    }
    if phase.is_terminal() {
        // An approval names its need, and the next one has no time yet.
        bail!(
            "{name} does not wait: its last reboot has ended ({phase}), and the next one is approved once the lease is Pending again"
        );
    }
    if lease.is_approved() {
        return Ok(Step::Nothing);
    }
    let approval = Approval {
        requested_at: lease.spec.requested_at.clone(),
        by: by.to_owned(),
    };
    Ok(Step::Merge(json!({ "spec": { "approved": approval } })))
}

fn withdrawn(lease: &RebootLease) -> Step<RebootLease> {
    if lease.spec.approved.is_none() {
        return Step::Nothing;
    }
    Step::Merge(json!({ "spec": { "approved": null } }))
}

/// With `--all` and `-l` only those that wait for it: nobody approves more than is asked.
async fn targets(client: &Client, verb: &ApproveVerb) -> Result<Vec<(String, Result<Target>)>> {
    let wanted = &verb.nodes;
    if !wanted.nodes.is_empty() {
        return Ok(lease::by_name(client, &wanted.nodes).await);
    }
    let leases: Api<RebootLease> = Api::all(client.clone());
    let leases = bounded("list the leases", leases.list(&ListParams::default()))
        .await
        .map_err(plain)?;
    let labelled = match &wanted.selector {
        Some(selector) => Some(lease::labelled(client, selector).await?),
        None => None,
    };
    let found: Vec<Target> = leases
        .into_iter()
        .filter(|lease| {
            if verb.withdraw {
                lease.is_approved() && !lease.phase().is_terminal()
            } else {
                waits(lease)
            }
        })
        .filter_map(|lease| {
            Some(Target {
                uid: lease.spec.node_uid.clone(),
                name: lease.metadata.name?,
            })
        })
        .filter(|node| {
            labelled
                .as_ref()
                .is_none_or(|nodes| nodes.iter().any(|other| other.name == node.name))
        })
        .collect();
    if found.is_empty() {
        let what = if verb.withdraw {
            "has an approval"
        } else {
            "waits for approval"
        };
        bail!("no such node {what}");
    }
    Ok(lease::fine(found))
}

/// By the operator's own report.
fn waits(lease: &RebootLease) -> bool {
    let status = lease.status.as_ref();
    lease.phase() == Phase::Pending
        && !lease.is_approved()
        && status.is_some_and(|status| {
            status
                .waiting_for
                .iter()
                .any(|wait| wait.kind == NOT_APPROVED)
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    fn lease(phase: &str, approved: &str, waits: &str) -> RebootLease {
        let approved = match approved {
            "" => Value::Null,
            time => json!({ "requestedAt": time, "by": "ada" }),
        };
        serde_json::from_value(json!({
            "apiVersion": "slipway.dev/v1alpha1", "kind": "RebootLease", "metadata": {"name": "n"},
            "spec": {"nodeUID": "u", "requestedAt": "2026-11-24T11:00:00Z", "approved": approved},
            "status": {"phase": phase, "waitingFor": [{"kind": waits, "message": ""}]},
        }))
        .unwrap()
    }

    #[test]
    fn the_reason_is_called_so() {
        let reason = slipway_planner::Reason::NotApproved {
            policy: String::new(),
        };
        assert_eq!(reason.code(), NOT_APPROVED);
    }

    const NEED: &str = "2026-11-24T11:00:00Z";

    #[test]
    fn only_a_lease_that_waits_for_it_is_approved_with_all() {
        assert!(waits(&lease("Pending", "", "NotApproved")));
        assert!(waits(&lease(
            "Pending",
            "2026-11-23T11:00:00Z",
            "NotApproved"
        )));
        assert!(!waits(&lease("Pending", "", "WindowClosed")));
        assert!(!waits(&lease("Pending", NEED, "NotApproved")));
        assert!(!waits(&lease("Failed", "", "NotApproved")));
    }

    #[test]
    fn f106_an_approval_names_the_present_need_and_no_ended_one() {
        let node = Target {
            name: "n".into(),
            uid: "u".into(),
        };
        let step = approved(&lease("Pending", "2026-11-23T11:00:00Z", ""), &node, "rob").unwrap();
        let Step::Merge(body) = step else {
            panic!("nothing to write")
        };
        assert_eq!(
            body,
            json!({"spec": {"approved": {"requestedAt": NEED, "by": "rob"}}})
        );
        let again = approved(&lease("Pending", NEED, ""), &node, "rob").unwrap();
        assert!(matches!(again, Step::Nothing));
        for phase in ["Granted", "Draining", "Rebooting", "Completed", "Failed"] {
            assert!(
                approved(&lease(phase, "", ""), &node, "rob").is_err(),
                "{phase}"
            );
        }
    }
}
