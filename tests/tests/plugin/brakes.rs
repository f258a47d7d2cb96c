//! `pause` and `resume`: of a policy, of those with a label, of everything; and their dry runs.

use anyhow::{Result, ensure};
use serde_json::Value;
use slipway_api::RebootPolicy;
use slipway_lab::control_plane::apply::apply_yaml;
use slipway_lab::plugin::Plugin;
use slipway_lab::simulated::{SimulatedCluster, SimulatedOptions};
use slipway_lab::wait::wait_until;

use crate::{BOUND, night};

#[tokio::test]
async fn pause_and_resume_are_the_brakes() -> Result<()> {
    let cluster = SimulatedCluster::start(SimulatedOptions::with_nodes(1)).await?;
    cluster.wait_installed(BOUND).await?;
    apply_yaml(&cluster.client(), &night(slipway_client::clock::wall())).await?;
    wait_until("the ledger", BOUND, || async {
        Ok(Some(cluster.ledger().await?))
    })
    .await?;
    let plugin = Plugin::of_admin(&cluster)?;
    dry_runs(&cluster, &plugin).await?;
    of_a_policy(&cluster, &plugin).await?;
    of_everything(&cluster, &plugin).await?;
    cluster.stop().await
}

async fn is_paused(cluster: &SimulatedCluster) -> Result<bool> {
    let policies: kube::Api<RebootPolicy> = kube::Api::all(cluster.client());
    Ok(policies.get("nightly").await?.spec.paused)
}

async fn dry_runs(cluster: &SimulatedCluster, plugin: &Plugin) -> Result<()> {
    let said = plugin
        .says(&["pause", "nightly", "--dry-run=server"])
        .await?;
    ensure!(
        said == "rebootpolicy.slipway.dev/nightly paused (server dry run)\n",
        "{said}"
    );
    for how in ["--dry-run=client", "--dry-run=server"] {
        let shown = plugin
            .says(&["pause", "nightly", how, "-o", "json"])
            .await?;
        let shown: Value = serde_json::from_str(&shown)?;
        ensure!(shown["spec"]["paused"] == true, "{how}: {shown}");
        ensure!(!is_paused(cluster).await?, "{how} wrote");
    }
    Ok(())
}

async fn of_a_policy(cluster: &SimulatedCluster, plugin: &Plugin) -> Result<()> {
    let said = plugin.says(&["pause", "nightly"]).await?;
    ensure!(
        said == "rebootpolicy.slipway.dev/nightly paused\n",
        "{said}"
    );
    ensure!(is_paused(cluster).await?, "the policy is not paused");
    let again = plugin.says(&["pause", "nightly"]).await?;
    ensure!(again.contains("no change"), "{again}");
    let named = plugin
        .says(&["resume", "-l", "team=a", "-o", "name"])
        .await?;
    ensure!(named == "rebootpolicy.slipway.dev/nightly\n", "{named}");
    ensure!(!is_paused(cluster).await?, "the policy is paused");
    let none = plugin.refuses(&["pause", "-l", "team=b"]).await?;
    ensure!(none.contains("no policy has the labels"), "{none}");
    // One that is missing does not keep the others from being paused.
    let output = plugin.run(&["pause", "nobody", "nightly"]).await?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.code() == Some(1) && errors.contains("there is no RebootPolicy \"nobody\""),
        "{errors}"
    );
    ensure!(is_paused(cluster).await?, "the policy is not paused");
    let old = ["resume", "nightly", "--resource-version", "1"];
    let conflict = plugin.refuses(&old).await?;
    ensure!(conflict.contains("nothing was written"), "{conflict}");
    ensure!(
        is_paused(cluster).await?,
        "a write of an old version took effect"
    );
    plugin.says(&["resume", "nightly"]).await?;
    Ok(())
}

async fn of_everything(cluster: &SimulatedCluster, plugin: &Plugin) -> Result<()> {
    let said = plugin.says(&["pause", "--all"]).await?;
    ensure!(
        said == "rebootledger.slipway.dev/cluster paused\n",
        "{said}"
    );
    ensure!(
        cluster.ledger().await?.spec.paused,
        "the ledger is not paused"
    );
    let plan = plugin.says(&["plan"]).await?;
    ensure!(plan.contains("Everything is paused"), "{plan}");
    ensure!(plugin.says(&["resume", "--all"]).await?.contains("resumed"));
    ensure!(!cluster.ledger().await?.spec.paused, "the ledger is paused");
    ensure!(plugin.code(&["pause"]).await? == Some(2));
    Ok(())
}
