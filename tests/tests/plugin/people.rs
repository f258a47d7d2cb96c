//! The operator acts on what the plugin writes: approve, now, hold, unhold and release, in the hands
//! of somebody who has the role for it and no other rights.

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use slipway_api::Phase;
use slipway_api::people::Override;
use slipway_lab::plugin::Plugin;

use crate::refusals::people;
use crate::world::{BOUND, POLICY, World};

async fn rob(world: &World) -> Result<Plugin> {
    people(world).await?;
    Plugin::of_user(&world.cluster, "rob")
}

async fn wait_reason(world: &World, node: &str, phase: Phase, reason: &str) -> Result<()> {
    let what = format!("{phase} with {reason}");
    world
        .cluster
        .wait_lease(node, &what, BOUND, |lease| {
            let status = lease.status.as_ref();
            lease.phase() == phase && status.is_some_and(|status| status.reason == reason)
        })
        .await?;
    Ok(())
}

#[tokio::test]
async fn an_approved_node_is_rebooted_and_no_other_one() -> Result<()> {
    let world = World::start(3).await?;
    let rob = rob(&world).await?;
    world.apply(POLICY).await?;
    world.edit_policy(json!({ "mode": "Approve" })).await?;
    for node in ["n1", "n2"] {
        world.cluster.set_sentinel(node)?;
        wait_reason(&world, node, Phase::Pending, "NotApproved").await?;
    }
    let told = rob.says(&["explain", "n1"]).await?;
    ensure!(told.contains("kubectl reboot approve"), "{told}");
    let dry = ["approve", "--all", "--dry-run=server", "-o", "name"];
    let both = "rebootlease.slipway.dev/n1\nrebootlease.slipway.dev/n2\n";
    ensure!(rob.says(&dry).await? == both);
    let lease = world.cluster.lease("n1").await?;
    ensure!(lease.spec.approved.is_none(), "a dry run wrote");

    let one = rob
        .says(&["approve", "-l", "kubernetes.io/hostname=n1"])
        .await?;
    ensure!(one == "rebootlease.slipway.dev/n1 approved\n", "{one}");
    let lease = world.assert_rebooted_once("n1").await?;
    let approved = lease.spec.approved.context("no approval")?;
    ensure!(approved.by == "rob", "{approved:?}");
    let said = rob.refuses(&["approve", "n1"]).await?;
    ensure!(said.contains("has ended (Completed)"), "{said}");

    // The other one still waits, and a withdrawn approval lets nothing go.
    ensure!(world.reason("n2").await? == "NotApproved");
    world.pause_all(true).await?;
    rob.says(&["approve", "n2"]).await?;
    let told = rob.says(&["explain", "n2"]).await?;
    ensure!(told.contains("approved by rob"), "{told}");
    rob.says(&["approve", "n2", "--withdraw"]).await?;
    world.pause_all(false).await?;
    wait_reason(&world, "n2", Phase::Pending, "NotApproved").await?;
    rob.says(&["approve", "--all"]).await?;
    world.assert_rebooted_once("n2").await?;
    ensure!(world.boots_since_start("n3")? == 0);
    world.stop().await
}

#[tokio::test]
async fn a_node_without_a_lease_is_rebooted_now_whatever_the_window_says() -> Result<()> {
    let world = World::start(2).await?;
    let rob = rob(&world).await?;
    world
        .apply(&crate::night(slipway_client::clock::wall()))
        .await?;
    let asked = ["now", "n1", "--reason", "new firmware"];
    let said = rob.says(&asked).await?;
    ensure!(said == "rebootlease.slipway.dev/n1 requested\n", "{said}");
    let lease = world.assert_rebooted_once("n1").await?;
    let request = lease.spec.grant.and_then(|grant| grant.request);
    let request = request.context("the grant serves no request")?;
    ensure!(
        request.by == "rob" && request.reason == "new firmware" && request.after_fence == 0,
        "{request:?}"
    );
    ensure!(
        request.overrides == [Override::Window, Override::Order],
        "{request:?}"
    );

    // Nothing set aside: it waits for the window, and says so at once.
    let output = rob
        .run(&["now", "n2", "--reason", "x", "--override", "none"])
        .await?;
    let warned = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(
        output.status.success()
            && warned.contains("warning: n2 waits: ")
            && warned.contains("(WindowClosed)"),
        "{warned}"
    );
    wait_reason(&world, "n2", Phase::Pending, "WindowClosed").await?;
    let lease = world.cluster.lease("n2").await?;
    let request = lease.spec.request.context("no request")?;
    ensure!(request.overrides.is_empty(), "{request:?}");
    let plan: Value = serde_json::from_str(&rob.says(&["plan", "-o", "json"]).await?)?;
    ensure!(
        plan["nodes"][0]["name"] == "n2" && plan["nodes"][0]["expected"]["from"].is_string(),
        "a node that a person asked for is not in the plan: {plan}"
    );
    rob.says(&["now", "n2", "--withdraw"]).await?;
    wait_reason(&world, "n2", Phase::Aborted, "NoLongerNeeded").await?;
    ensure!(world.boots_since_start("n2")? == 0);

    // The next request is for the reboot after the last one.
    let again = rob.says(&asked).await?;
    ensure!(again == "rebootlease.slipway.dev/n1 requested\n", "{again}");
    world
        .cluster
        .wait_lease("n1", "a second reboot", BOUND, |lease| {
            lease.phase() == Phase::Completed && lease.granted_fence() > 1
        })
        .await?;
    ensure!(world.boots_since_start("n1")? == 2);
    world.stop().await
}

#[tokio::test]
async fn a_held_node_stays_up_until_it_is_unheld() -> Result<()> {
    let world = World::start(2).await?;
    let rob = rob(&world).await?;
    world.apply(POLICY).await?;
    // Nothing asks for a reboot yet: the hold is there before the need.
    let held = rob.says(&["hold", "n1", "--reason", "debugging"]).await?;
    ensure!(held == "rebootlease.slipway.dev/n1 held\n", "{held}");
    world.cluster.set_sentinel("n1")?;
    world.cluster.set_sentinel("n2")?;
    // The other one goes and comes back meanwhile: the operator had time for this one.
    world.assert_rebooted_once("n2").await?;
    let waits = |kind: &'static str| {
        move |lease: &slipway_api::RebootLease| {
            let status = lease.status.as_ref();
            status.is_some_and(|status| status.waiting_for.iter().any(|wait| wait.kind == kind))
        }
    };
    world
        .cluster
        .wait_lease("n1", "to wait for its hold", BOUND, waits("Held"))
        .await?;
    let told = rob.says(&["explain", "n1"]).await?;
    ensure!(
        told.contains("held by rob: debugging") && told.contains("kubectl reboot unhold"),
        "{told}"
    );
    let output = rob.run(&["now", "n1", "--reason", "x"]).await?;
    let warned = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(warned.contains("(Held)"), "{warned}");
    ensure!(
        world.boots_since_start("n1")? == 0,
        "a held node was rebooted"
    );
    rob.says(&["unhold", "n1"]).await?;
    world.assert_rebooted_once("n1").await?;

    // A drain under way is undone.
    world.hold_in("n2", Phase::Draining).await?;
    rob.says(&["now", "n2", "--reason", "x"]).await?;
    world
        .cluster
        .wait_phase("n2", Phase::Draining, BOUND)
        .await?;
    rob.says(&["hold", "n2", "--reason", "no"]).await?;
    wait_reason(&world, "n2", Phase::Aborted, "Held").await?;
    world.assert_clean("n2").await?;
    ensure!(world.boots_since_start("n2")? == 1, "rebooted on hold");
    world.stop().await
}

#[tokio::test]
async fn a_released_reboot_has_failed_and_gives_its_slot_back() -> Result<()> {
    let world = World::start(2).await?;
    let rob = rob(&world).await?;
    world.apply(POLICY).await?;
    world.hold_in("n1", Phase::Draining).await?;
    world.cluster.set_sentinel("n1")?;
    let lease = world
        .cluster
        .wait_phase("n1", Phase::Draining, BOUND)
        .await?;
    let fence = lease.accepted_fence().to_string();
    let wrong = (lease.accepted_fence() + 1).to_string();
    let release = |fence: &str, last: &str| {
        ["release", "n1", "--fence", fence, "--reason", "dead", last].map(ToOwned::to_owned)
    };
    let words = release(&wrong, "--yes");
    let said = rob.refuses(&words.each_ref().map(String::as_str)).await?;
    ensure!(said.contains(&format!("which has fence {fence}")), "{said}");
    // Nobody answers for a person.
    let words = release(&fence, "--force");
    let said = rob.refuses(&words.each_ref().map(String::as_str)).await?;
    ensure!(
        said.contains("counts it as failed")
            && said.contains("beyond the budget")
            && said.contains("--yes"),
        "{said}"
    );
    let eve = Plugin::of_user(&world.cluster, "eve")?;
    let words = release(&fence, "--yes");
    let words = words.each_ref().map(String::as_str);
    let said = eve.refuses(&words).await?;
    ensure!(said.contains("you may not do this"), "{said}");
    let lease = world.cluster.lease("n1").await?;
    ensure!(lease.spec.release.is_none() && world.holds_slot("n1").await?);

    let said = rob.says(&words).await?;
    ensure!(said == "rebootlease.slipway.dev/n1 released\n", "{said}");
    wait_reason(&world, "n1", Phase::Failed, "Released").await?;
    world.assert_clean("n1").await?;
    let told = rob.says(&["explain", "n1"]).await?;
    ensure!(
        told.contains(&format!("fence {fence} released by rob: dead")),
        "{told}"
    );
    ensure!(world.boots_since_start("n1")? == 0);
    world.stop().await
}
