//! A blocker in a cluster with real operators and agents.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use anyhow::{Result, ensure};
use serde_json::json;
use slipway_api::Phase;
use slipway_lab::wait::wait_until;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::world::{BOUND, World};

/// A URL that answers with the status that it was last told.
async fn gate(status: &Arc<AtomicU16>) -> Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let status = Arc::clone(status);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut head = [0; 4096];
            drop(stream.read(&mut head).await);
            let code = status.load(Ordering::Relaxed);
            let answer = format!("HTTP/1.1 {code} x\r\nconnection: close\r\n\r\n");
            drop(stream.write_all(answer.as_bytes()).await);
        }
    });
    Ok(address)
}

fn policy(gate: SocketAddr) -> String {
    format!(
        "
apiVersion: slipway.dev/v1alpha1
kind: RebootPolicy
metadata: {{name: everything}}
spec:
  nodeSelector: {{}}
  verify: {{nodeReadyFor: 1s}}
  blockers: [{{name: gate, http: {{url: 'http://{gate}/'}}}}]
"
    )
}

async fn wait_blocked_by(world: &World, reason: &str) -> Result<()> {
    wait_until(
        &format!("{reason} in the policy's status"),
        BOUND,
        || async {
            let policy = world.policies().get("everything").await?;
            let status = policy.status.unwrap_or_default();
            let line = status.blocked_by.first();
            ensure!(
                line.is_some_and(|line| line.blocker == "gate" && line.reason == reason),
                "it says {line:?}"
            );
            Ok(Some(()))
        },
    )
    .await
}

#[tokio::test]
async fn a_blocker_keeps_a_node_waiting_until_it_clears() -> Result<()> {
    let world = World::start(2).await?;
    let status = Arc::new(AtomicU16::new(423));
    world.apply(&policy(gate(&status).await?)).await?;
    world.cluster.set_sentinel("n1")?;
    let says = |reason: &'static str| {
        world.cluster.wait_lease("n1", reason, BOUND, move |lease| {
            lease.phase() == Phase::Pending
                && lease
                    .status
                    .as_ref()
                    .is_some_and(|status| status.reason == reason)
        })
    };
    says("Blocked").await?;
    wait_blocked_by(&world, "Blocked").await?;
    status.store(500, Ordering::Relaxed);
    says("BlockerFailed").await?;
    wait_blocked_by(&world, "BlockerFailed").await?;
    ensure!(!world.holds_slot("n1").await?, "n1 was granted");
    status.store(200, Ordering::Relaxed);
    world.assert_rebooted_once("n1").await?;
    world.stop().await
}

#[tokio::test]
async fn f69_a_blocker_that_blocks_between_the_keys_has_the_node_uncordoned() -> Result<()> {
    let world = World::start(2).await?;
    let status = Arc::new(AtomicU16::new(200));
    world.apply(&policy(gate(&status).await?)).await?;
    world.hold_in("n1", Phase::Draining).await?;
    world.cluster.set_sentinel("n1")?;
    world
        .cluster
        .wait_phase("n1", Phase::Draining, BOUND)
        .await?;
    // No answer is no reason to call anything off.
    status.store(500, Ordering::Relaxed);
    world.release(Phase::Draining).await?;
    world.wait_reached("n1", Phase::Drained).await?;
    world
        .cluster
        .wait_lease("n1", "waiting for the blocker", BOUND, |lease| {
            let status = lease.status.as_ref();
            lease.phase() == Phase::Drained
                && status
                    .iter()
                    .flat_map(|status| &status.waiting_for)
                    .any(|entry| entry.kind == "BlockerFailed" && entry.message.contains("500"))
        })
        .await?;
    ensure!(world.boots_since_start("n1")? == 0, "n1 was rebooted");
    status.store(423, Ordering::Relaxed);
    let lease = world
        .cluster
        .wait_phase("n1", Phase::Aborted, BOUND)
        .await?;
    let reason = lease.spec.revoke.map(|revoke| revoke.reason);
    ensure!(
        reason.as_deref() == Some("Blocked"),
        "called off by {reason:?}"
    );
    world.edit_policy(json!({"paused": true})).await?;
    world.assert_clean("n1").await?;
    ensure!(world.boots_since_start("n1")? == 0, "n1 was rebooted");
    world.stop().await
}
