//! What the checks of a host say is in its lease, and only a need that they prove leads to a reboot.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde_json::json;
use slipway_api::checks::CheckState;

use crate::world::{BOUND, POLICY, World};

/// Waits until the lease says this of the sentinel files.
async fn wait_told(world: &World, state: CheckState, detail: &str) -> Result<()> {
    let what = format!("{state:?} {detail}");
    world
        .cluster
        .wait_lease("n1", &what, BOUND, |lease| {
            let checks = lease.status.iter().flat_map(|status| &status.checks);
            let mut sentinel = checks.filter(|check| check.name == "sentinel-file");
            sentinel.any(|check| check.state == state && check.detail.contains(detail))
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
