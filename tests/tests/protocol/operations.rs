//! What people do to a single reboot, by the chart's own role and under its admission policies:
//! approve, hold, request and release; and the breaker, which stops everybody.

use anyhow::{Context, Result, ensure};
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, ResourceExt};
use serde_json::{Value, json};
use slipway_api::{Phase, RebootLease};
use slipway_lab::simulated::RebootBehaviour;
use slipway_lab::wait::wait_until;

use crate::world::{BOUND, POLICY, World, is_cordoned, is_ours};

/// Who looks after reboots here.
const ROB: &str = r"
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: rob}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: slipway-reboot-operator}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: rob}]
";

/// A cluster with a policy, and the leases as rob sees them.
async fn world(nodes: usize, spec: Value) -> Result<(World, Api<RebootLease>)> {
    let world = World::start(nodes).await?;
    world.apply(ROB).await?;
    world.apply(POLICY).await?;
    world.edit_policy(spec).await?;
    let rob = world.cluster.control_plane().client_for("rob", &[]).await?;
    Ok((world, Api::all(rob)))
}

/// Rob writes into a lease; the authorizer may take a moment to learn of his role.
async fn write(rob: &Api<RebootLease>, node: &str, spec: Value) -> Result<RebootLease> {
    let patch = Patch::Merge(json!({ "spec": spec }));
    wait_until("rob to be let", BOUND, || async {
        let written = rob.patch(node, &PatchParams::default(), &patch).await;
        Ok(Some(written?))
    })
    .await
}

async fn wait_reason(world: &World, node: &str, reason: &str) -> Result<RebootLease> {
    world
        .cluster
        .wait_lease(node, reason, BOUND, |lease| {
            let status = lease.status.as_ref();
            status.is_some_and(|status| {
                status.reason == reason || status.waiting_for.iter().any(|one| one.kind == reason)
            })
        })
        .await
}

#[tokio::test]
async fn f106_a_reboot_waits_for_its_approval_and_the_next_one_for_another() -> Result<()> {
    let (world, rob) = world(1, json!({ "mode": "Approve" })).await?;
    world.cluster.set_sentinel("n1")?;
    let lease = wait_reason(&world, "n1", "NotApproved").await?;
    let approved = json!({ "requestedAt": lease.spec.requested_at, "by": "rob" });
    write(&rob, "n1", json!({ "approved": approved })).await?;
    world.assert_rebooted_once("n1").await?;
    world.cluster.set_sentinel("n1")?;
    wait_reason(&world, "n1", "NotApproved").await?;
    ensure!(
        world.boots_since_start("n1")? == 1,
        "approved twice by once"
    );
    world.stop().await
}

#[tokio::test]
async fn a_hold_undoes_a_drain_and_lasts_until_it_is_taken_away() -> Result<()> {
    let (world, rob) = world(1, json!({})).await?;
    world.hold_in("n1", Phase::Draining).await?;
    world.cluster.set_sentinel("n1")?;
    world
        .cluster
        .wait_phase("n1", Phase::Draining, BOUND)
        .await?;
    let held = json!({ "hold": { "by": "rob", "reason": "debugging" } });
    write(&rob, "n1", held).await?;
    let lease = wait_reason(&world, "n1", "Held").await?;
    ensure!(lease.phase() != Phase::Draining || lease.spec.revoke.is_some());
    world.assert_clean("n1").await?;
    world.release(Phase::Draining).await?;
    ensure!(world.boots_since_start("n1")? == 0, "rebooted on hold");
    write(&rob, "n1", json!({ "hold": null })).await?;
    world.assert_rebooted_once("n1").await?;
    world.stop().await
}

#[tokio::test]
async fn a_node_that_nothing_asks_for_is_rebooted_once_on_request_outside_every_window()
-> Result<()> {
    let never = json!({ "schedule": { "windows": [{ "days": [far_day()] }] } });
    let (world, rob) = world(1, never).await?;
    let uid = world
        .cluster
        .node("n1")
        .await?
        .uid()
        .context("a node without a UID")?;
    let lease: RebootLease = serde_json::from_value(json!({
        "metadata": { "name": "n1", "ownerReferences": [{
            "apiVersion": "v1", "kind": "Node", "name": "n1", "uid": uid,
        }]},
        "spec": {
            "nodeUID": uid, "requestedAt": slipway_client::clock::wall().strftime("%FT%TZ").to_string(),
            "request": { "afterFence": 0, "by": "rob", "reason": "new firmware" },
        },
    }))?;
    wait_until("rob to be let", BOUND, || async {
        Ok(Some(rob.create(&PostParams::default(), &lease).await?))
    })
    .await?;
    let ended = world.assert_rebooted_once("n1").await?;
    let request = ended.spec.grant.and_then(|grant| grant.request);
    ensure!(
        request.is_some_and(|request| request.by == "rob"),
        "the grant does not say who asked"
    );
    // It still stands in the lease; the next need waits for its window all the same.
    world.cluster.set_sentinel("n1")?;
    wait_reason(&world, "n1", "WindowClosed").await?;
    ensure!(
        world.boots_since_start("n1")? == 1,
        "asked once, rebooted twice"
    );
    world.stop().await
}

/// A day that is neither today nor tomorrow nor yesterday, in any time zone.
fn far_day() -> &'static str {
    const DAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
    let now = slipway_client::clock::wall().to_zoned(jiff::tz::TimeZone::UTC);
    let today = usize::try_from(now.weekday().to_monday_zero_offset()).unwrap_or(0);
    DAYS.iter().cycle().nth(today + 3).copied().unwrap_or("Mon")
}

#[tokio::test]
async fn f11_f95_a_node_that_never_comes_back_is_released_and_undone_when_it_does_after_all()
-> Result<()> {
    let (world, rob) = world(2, json!({ "reboot": { "timeout": "5s" } })).await?;
    world.cluster.set_off_for("n1", None)?;
    world.cluster.set_sentinel("n1")?;
    let lease = world
        .cluster
        .wait_phase("n1", Phase::Rebooting, BOUND)
        .await?;
    wait_reason(&world, "n1", "Stuck").await?;
    ensure!(world.holds_slot("n1").await?, "time freed a slot");
    let fence = lease.accepted_fence();
    let release = json!({ "fence": fence, "by": "rob", "reason": "it is dead" });
    // Without force nothing happens for ten minutes: the call might still fire.
    write(&rob, "n1", json!({ "release": release })).await?;
    wait_reason(&world, "n1", "ReleaseWaits").await?;
    ensure!(world.cluster.lease("n1").await?.phase() == Phase::Rebooting);
    write(&rob, "n1", json!({ "release": { "force": true } })).await?;
    let ended = world.cluster.wait_phase("n1", Phase::Failed, BOUND).await?;
    let status = ended.status.unwrap_or_default();
    ensure!(
        status.reason == "Released" && status.message.contains("rob"),
        "{status:?}"
    );
    wait_until("the slot to be given back", BOUND * 2, || async {
        Ok((!world.holds_slot("n1").await?).then_some(()))
    })
    .await?;
    let node = world.cluster.node("n1").await?;
    ensure!(is_cordoned(&node) && is_ours(&node), "nobody could undo it");
    world.cluster.switch_on("n1")?;
    world.assert_clean("n1").await?;
    ensure!(world.boots_since_start("n1")? == 1, "booted once more");
    ensure!(world.cluster.lease("n1").await?.phase() == Phase::Failed);
    world.stop().await
}

#[tokio::test]
async fn f10_two_nodes_that_fail_open_the_breaker_and_a_human_closes_it() -> Result<()> {
    let failure = json!({ "maxFailures": 2, "backoff": "3s", "reset": "Manual" });
    let (world, _) = world(3, json!({ "failure": failure })).await?;
    for node in ["n1", "n2"] {
        world
            .cluster
            .set_reboot_behaviour(node, RebootBehaviour::Refuses)?;
        world.cluster.set_sentinel(node)?;
        world.cluster.wait_phase(node, Phase::Failed, BOUND).await?;
        world.assert_clean(node).await?;
    }
    world.cluster.set_sentinel("n3")?;
    wait_reason(&world, "n3", "BreakerOpen").await?;
    wait_until("the condition BreakerOpen", BOUND, || async {
        let status = world.policies().get("everything").await?.status;
        let conditions = status.map(|status| status.conditions).unwrap_or_default();
        let open = conditions.iter().any(|one| {
            one.type_ == "BreakerOpen" && one.status == "True" && one.message.contains("n1, n2")
        });
        Ok(open.then_some(()))
    })
    .await?;
    let status = world.cluster.ledger().await?.status.unwrap_or_default();
    let records = status.policies.iter();
    let failures: Vec<_> = records.flat_map(|record| &record.failures).collect();
    ensure!(failures.len() == 2, "the ledger counts {failures:?}");
    // One that resets by itself would let a node try once the pause is over.
    let last = failures
        .iter()
        .map(|failure| failure.at.0.as_second())
        .max();
    wait_until("the pause to be long over", BOUND, || async {
        let now = slipway_client::clock::wall().as_second();
        Ok(last.filter(|last| now >= *last + 8))
    })
    .await?;
    let after = world.cluster.ledger().await?.status.unwrap_or_default();
    ensure!(
        after.next_fence == status.next_fence && after.slots.is_empty(),
        "granted all the same: {:?}",
        after.slots
    );
    ensure!(world.boots_since_start("n3")? == 0, "rebooted all the same");
    for node in ["n1", "n2"] {
        world.cluster.clear_sentinel(node)?;
    }
    let now = slipway_client::clock::wall().strftime("%FT%TZ").to_string();
    world
        .edit_policy(json!({ "failure": { "resetAt": now } }))
        .await?;
    world.assert_rebooted_once("n3").await?;
    world.stop().await
}

/// Rob asks for the next reboot of a node.
async fn ask(
    world: &World,
    rob: &Api<RebootLease>,
    node: &str,
    overrides: &[&str],
) -> Result<RebootLease> {
    let fence = world.cluster.lease(node).await?.accepted_fence();
    let request = json!({
        "afterFence": fence, "by": "rob", "reason": "firmware", "overrides": overrides,
    });
    write(rob, node, json!({ "request": request })).await
}

#[tokio::test]
async fn a_request_goes_first_and_waits_for_budget_and_breaker_unless_it_names_them() -> Result<()>
{
    let failure = json!({ "maxFailures": 1, "backoff": "1h", "reset": "Manual" });
    let (world, rob) = world(3, json!({ "paused": true, "failure": failure })).await?;
    for node in ["n1", "n2", "n3"] {
        world.cluster.set_sentinel(node)?;
        wait_reason(&world, node, "PolicyPaused").await?;
    }
    // It came last, and goes first; then it is away for as long as it takes.
    ask(&world, &rob, "n3", &["Window", "Order"]).await?;
    world.cluster.set_off_for("n3", None)?;
    world.edit_policy(json!({ "paused": false })).await?;
    world.wait_reached("n3", Phase::Rebooting).await?;
    for node in ["n1", "n2"] {
        ensure!(world.boots_since_start(node)? == 0, "{node} went before n3");
    }
    // One at a time: whoever does not name the budget waits for it, whoever does is granted.
    ask(&world, &rob, "n1", &["Window", "Order"]).await?;
    wait_reason(&world, "n1", "BudgetUsed").await?;
    ask(&world, &rob, "n2", &["Budget"]).await?;
    world.assert_rebooted_once("n2").await?;
    let went = world.boots_since_start("n1")? > 0;
    let goes = went || world.holds_slot("n1").await?;
    ensure!(!goes, "n1 was granted beyond the budget");
    ensure!(world.holds_slot("n3").await?, "n3 was not away meanwhile");
    let off = std::time::Duration::from_secs(1);
    world.cluster.set_off_for("n3", Some(off))?;
    world.cluster.switch_on("n3")?;
    for node in ["n3", "n1"] {
        world.assert_rebooted_once(node).await?;
    }
    // The same with a breaker.
    let refuses = RebootBehaviour::Refuses;
    world.cluster.set_reboot_behaviour("n2", refuses)?;
    world.cluster.set_sentinel("n2")?;
    world.cluster.wait_phase("n2", Phase::Failed, BOUND).await?;
    world.assert_clean("n2").await?;
    world.cluster.set_sentinel("n1")?;
    wait_reason(&world, "n1", "BreakerOpen").await?;
    world.cluster.set_sentinel("n3")?;
    ask(&world, &rob, "n1", &["Window", "Order", "Budget"]).await?;
    wait_reason(&world, "n3", "BreakerOpen").await?;
    ask(&world, &rob, "n3", &["Breaker"]).await?;
    wait_until("the second reboot of n3", BOUND, || async {
        Ok((world.boots_since_start("n3")? == 2).then_some(()))
    })
    .await?;
    ensure!(world.boots_since_start("n1")? == 1, "n1 passed the breaker");
    world.stop().await
}
