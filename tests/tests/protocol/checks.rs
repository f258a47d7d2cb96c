//! What the checks of a host say is in its lease, and only a need that they prove leads to a reboot.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::Node;
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::json;
use slipway_api::checks::{CheckState, NODE_CONDITION, SENTINEL_FILE};
use slipway_lab::simulated::SimulatedOptions;

use crate::world::{BOUND, POLICY, World};

/// Waits until the lease says this of the sentinel files.
async fn wait_told(world: &World, state: CheckState, detail: &str) -> Result<()> {
    wait_told_by(world, SENTINEL_FILE, state, detail).await
}

/// Waits until the lease says this of a check.
async fn wait_told_by(world: &World, name: &str, state: CheckState, detail: &str) -> Result<()> {
    let what = format!("{name}: {state:?} {detail}");
    world
        .cluster
        .wait_lease("n1", &what, BOUND, |lease| {
            let checks = lease.status.iter().flat_map(|status| &status.checks);
            let mut answers = checks.filter(|check| check.name == name);
            answers.any(|check| check.state == state && check.detail.contains(detail))
        })
        .await
        .map(drop)
}

/// Puts something else where the sentinel should be.
fn put(sentinel: &Path, what: &str, secret: &Path) -> Result<()> {
    match what {
        "FIFO" => nix::unistd::mkfifo(sentinel, nix::sys::stat::Mode::S_IRWXU)?,
        "socket" => drop(std::os::unix::net::UnixListener::bind(sentinel)?),
        "directory" => std::fs::create_dir(sentinel)?,
        _ => std::os::unix::fs::symlink(secret, sentinel)?,
    }
    Ok(())
}

fn take(sentinel: &Path) -> Result<()> {
    if sentinel.is_dir() {
        std::fs::remove_dir(sentinel)?;
    } else {
        std::fs::remove_file(sentinel)?;
    }
    Ok(())
}

#[tokio::test]
async fn f88_what_is_in_the_place_of_a_sentinel_stands_in_the_lease_and_reboots_nothing()
-> Result<()> {
    let world = World::start(1).await?;
    world.apply(POLICY).await?;
    world.edit_policy(json!({"mode": "Observe"})).await?;
    world.cluster.set_sentinel("n1")?;
    let sentinel = world.cluster.sentinel("n1")?;
    let secret = sentinel.with_file_name("secret");
    std::fs::write(&secret, "password")?;
    for what in ["FIFO", "socket", "directory", "link to a secret"] {
        wait_told(&world, CheckState::Required, "reboot-required exists").await?;
        std::fs::remove_file(&sentinel)?;
        put(&sentinel, what, &secret)?;
        wait_told(&world, CheckState::Unknown, "not a plain file")
            .await
            .with_context(|| what.to_owned())?;
        if what != "link to a secret" {
            take(&sentinel)?;
            world.cluster.set_sentinel("n1")?;
        }
    }

    world.edit_policy(json!({"mode": "Automatic"})).await?;
    world
        .cluster
        .wait_lease("n1", "CheckFailed", BOUND, |lease| {
            let status = lease.status.as_ref();
            status.is_some_and(|status| status.reason == "CheckFailed")
        })
        .await?;
    ensure!(!world.holds_slot("n1").await?, "n1 was granted on a doubt");
    let lease = world.leases().get("n1").await?;
    let text = serde_json::to_string(&lease)?;
    ensure!(!text.contains("password"), "the secret is in the lease");

    // The same path as a plain file is a need again, and the reboot goes as ever.
    take(&sentinel)?;
    world.cluster.set_sentinel("n1")?;
    let lease = world.assert_rebooted_once("n1").await?;
    let grant = lease.spec.grant.context("no grant")?;
    ensure!(grant.triggers.checks == ["*"], "{:?}", grant.triggers);
    world.stop().await
}

#[tokio::test]
async fn f87_a_condition_that_the_installer_of_the_agents_named_asks_by_being_true() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let installed = directory.path().join("agent.json");
    let checks = json!({"checks": {"nodeConditions": ["KernelDeadlock"]}});
    std::fs::write(&installed, checks.to_string())?;
    let mut options = SimulatedOptions::with_nodes(1);
    let installed = installed.display().to_string();
    options
        .environment
        .insert("SLIPWAY_CONFIG".to_owned(), installed);
    let world = World::start_with(options).await?;
    world.apply(POLICY).await?;
    world.edit_policy(json!({"mode": "Observe"})).await?;
    // With it there is a lease, in which every check answers.
    world.cluster.set_sentinel("n1")?;
    let without = "the Node has no condition KernelDeadlock";
    wait_told_by(&world, NODE_CONDITION, CheckState::Unknown, without).await?;

    let nodes: Api<Node> = Api::all(world.cluster.client());
    let condition = json!({"type": "KernelDeadlock", "status": "True", "reason": "TaskHung"});
    let status = Patch::Strategic(json!({"status": {"conditions": [condition]}}));
    nodes
        .patch_status("n1", &PatchParams::default(), &status)
        .await?;
    // It reads the Node when it starts, and then every five minutes.
    world.cluster.kill_agent("n1").await?;
    let with = "condition KernelDeadlock is True (TaskHung)";
    wait_told_by(&world, NODE_CONDITION, CheckState::Required, with).await?;
    world.stop().await
}
