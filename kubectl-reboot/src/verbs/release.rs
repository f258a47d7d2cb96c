//! `release`: gives a reboot up that does not end by itself, and its slot back.

use std::io::{BufRead, IsTerminal, Write as _};

use anyhow::{Context, Result, bail};
use serde_json::json;
use slipway_api::people::Release;
use slipway_api::{Phase, RebootLease};

use super::lease::{self, Target, Words};
use crate::arguments::Connection;
use crate::arguments::write::{DryRun, ReleaseVerb};
use crate::cluster;
use crate::write::Step;

const RIGHTS: &str = "the verbs get on nodes and get, patch and release on rebootleases.slipway.dev, \
which the ClusterRole slipway-reboot-operator has";

pub(crate) async fn run(connection: &Connection, verb: &ReleaseVerb) -> Result<()> {
    let client = cluster::connect(connection).await?;
    let targets = lease::by_name(&client, std::slice::from_ref(&verb.node)).await;
    let release = Release {
        fence: verb.fence,
        by: lease::who(&client).await?,
        reason: verb.reason.clone(),
        force: verb.force,
    };
    if verb.write.dry_run == DryRun::None {
        confirm(verb)?;
    }
    let words = Words {
        done: "released",
        rights: RIGHTS,
    };
    lease::each(&client, targets, &verb.write, words, |found, node| {
        let lease = found.with_context(|| {
            format!(
                "{} has no lease, so no reboot of it can be released",
                node.name
            )
        })?;
        released(lease, node, &release)
    })
    .await
}

fn released(lease: &RebootLease, node: &Target, release: &Release) -> Result<Step<RebootLease>> {
    let (accepted, granted) = (lease.accepted_fence(), lease.granted_fence());
    if ![accepted, granted].contains(&release.fence) {
        let present = accepted.max(granted);
        if present == 0 {
            bail!("{} was never granted a reboot", node.name);
        }
        bail!(
            "fence {} is not that of the present reboot of {}, which has fence {present} and is {}: look at it again before you release it",
            release.fence,
            node.name,
            lease.phase()
        );
    }
    if accepted == release.fence && lease.phase() == Phase::Completed {
        bail!(
            "the reboot of {} with fence {accepted} is Completed: there is nothing to release",
            node.name
        );
    }
    if lease.spec.release.as_ref() == Some(release) {
        return Ok(Step::Nothing);
    }
    Ok(Step::Merge(json!({ "spec": { "release": release } })))
}

/// Says what it means, and goes on only when a person says so.
fn confirm(verb: &ReleaseVerb) -> Result<()> {
    let mut err = std::io::stderr();
    let (node, fence) = (&verb.node, verb.fence);
    writeln!(
        err,
        "Releasing the reboot of {node} with fence {fence} counts it as failed and gives its slot back."
    )?;
    writeln!(
        err,
        "Where {node} is still going down, another node may go down beside it, beyond the budget."
    )?;
    if verb.force {
        writeln!(
            err,
            "With --force that holds within ten minutes after the commit as well, when it is likeliest."
        )?;
    }
    if verb.yes {
        return Ok(());
    }
    let stdin = std::io::stdin();
    if !stdin.is_terminal() {
        bail!("nothing was written: say --yes to release it");
    }
    write!(err, "Release it? Type the name of the node: ")?;
    err.flush()?;
    let mut answer = String::new();
    stdin.lock().read_line(&mut answer)?;
    if answer.trim() != verb.node {
        bail!("nothing was written");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(phase: &str, fence: i64, wanted: i64) -> Result<Step<RebootLease>> {
        let lease: RebootLease = serde_json::from_value(json!({
            "apiVersion": "slipway.dev/v1alpha1", "kind": "RebootLease", "metadata": {"name": "n"},
            "spec": {"nodeUID": "u", "requestedAt": "2026-11-24T11:00:00Z"},
            "status": {"phase": phase, "fence": fence},
        }))?;
        let node = Target {
            name: "n".into(),
            uid: "u".into(),
        };
        let release = Release {
            fence: wanted,
            by: "rob".into(),
            reason: "dead".into(),
            force: false,
        };
        released(&lease, &node, &release)
    }

    #[test]
    fn only_the_present_reboot_is_released() {
        assert!(matches!(step("Rebooting", 7, 7), Ok(Step::Merge(_))));
        for (phase, fence, wanted) in [("Rebooting", 7, 6), ("Rebooting", 7, 8), ("Pending", 0, 1)]
        {
            assert!(
                step(phase, fence, wanted).is_err(),
                "{phase} {fence} {wanted}"
            );
        }
        assert!(step("Completed", 7, 7).is_err());
        // Its cordon may be what holds the slot.
        assert!(matches!(step("Failed", 7, 7), Ok(Step::Merge(_))));
    }
}
