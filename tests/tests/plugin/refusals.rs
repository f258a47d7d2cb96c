//! What the plugin refuses, or has refused by the API server, is said in a sentence and changes
//! nothing.

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use slipway_api::RebootLease;
use slipway_lab::plugin::Plugin;
use slipway_lab::wait::wait_until;

use crate::world::{BOUND, World};

/// Eve may look, fay may write leases without the verbs that admission asks for, and rob is who
/// looks after reboots.
const PEOPLE: &str = "
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: eve}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: slipway-view}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: eve}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: nodes-and-leases}
rules:
  - {apiGroups: [''], resources: [nodes], verbs: [get, list]}
  - {apiGroups: [slipway.dev], resources: [rebootleases], verbs: [get, list, create, patch]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: fay}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: nodes-and-leases}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: fay}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: rob}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: slipway-reboot-operator}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: rob}]
";

/// Binds people to their roles, and waits until the API server has noticed.
pub(crate) async fn people(world: &World) -> Result<()> {
    world.apply(PEOPLE).await?;
    for user in ["eve", "rob"] {
        let client = world.cluster.control_plane().client_for(user, &[]).await?;
        let leases: kube::Api<RebootLease> = kube::Api::all(client);
        wait_until(&format!("{user}'s rights"), BOUND, || async {
            leases.list(&kube::api::ListParams::default()).await?;
            Ok(Some(()))
        })
        .await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_verb_that_may_not_or_cannot_says_so_and_changes_nothing() -> Result<()> {
    let world = World::start(2).await?;
    people(&world).await?;
    world
        .apply(&crate::night(slipway_client::clock::wall()))
        .await?;
    // The leader makes it when it starts; a verb that needs it says so until then.
    wait_until("the ledger", BOUND, || async {
        Ok(Some(world.cluster.ledger().await?))
    })
    .await?;
    let rob = Plugin::of_user(&world.cluster, "rob")?;
    rights(&world).await?;
    unknown(&world, &rob).await?;
    dry_runs(&world, &rob).await?;
    conflicts(&world, &rob).await?;
    world.stop().await
}

async fn rights(world: &World) -> Result<()> {
    let eve = Plugin::of_user(&world.cluster, "eve")?;
    let fay = Plugin::of_user(&world.cluster, "fay")?;
    let hold = ["hold", "n1", "--reason", "x"];
    let now = ["now", "n1", "--reason", "x"];
    for (arguments, verb) in [(&hold, "hold"), (&now, "request")] {
        let said = eve.refuses(arguments).await?;
        ensure!(
            said.contains("you may not do this") && said.contains("slipway-reboot-operator"),
            "{said}"
        );
        let said = fay.refuses(arguments).await?;
        let words = format!("takes the verb {verb} on rebootleases");
        ensure!(
            said.contains(&words) && said.contains("slipway-reboot-operator"),
            "{said}"
        );
    }
    ensure!(
        world.cluster.lease_opt("n1").await?.is_none(),
        "a lease was made"
    );
    // She may look, though, and is told what she cannot see.
    let output = eve.run(&["status"]).await?;
    ensure!(output.status.success(), "{output:?}");
    let said = eve.refuses(&["pause", "nightly"]).await?;
    ensure!(
        said.contains("patch on rebootpolicies.slipway.dev"),
        "{said}"
    );
    let said = eve.refuses(&["pause", "--all"]).await?;
    ensure!(said.contains("rebootledgers.slipway.dev"), "{said}");
    Ok(())
}

async fn unknown(world: &World, rob: &Plugin) -> Result<()> {
    for arguments in [
        &["hold", "n9", "--reason", "x"][..],
        &["now", "n9", "--reason", "x"],
        &["approve", "n9"],
        &["unhold", "n9"],
        &["release", "n9", "--fence", "1", "--reason", "x", "--yes"],
    ] {
        let said = rob.refuses(arguments).await?;
        ensure!(said.contains("there is no node \"n9\""), "{said}");
    }
    for arguments in [
        &["approve", "n1"][..],
        &["release", "n1", "--fence", "1", "--reason", "x", "--yes"],
    ] {
        let said = rob.refuses(arguments).await?;
        ensure!(said.contains("n1 has no lease"), "{said}");
    }
    let said = rob.refuses(&["approve", "--all"]).await?;
    ensure!(said.contains("waits for approval"), "{said}");
    let said = rob.refuses(&["hold", "-l", "a=b", "--reason", "x"]).await?;
    ensure!(said.contains("no node has the labels a=b"), "{said}");
    let free = rob.says(&["unhold", "n1"]).await?;
    ensure!(
        free == "rebootlease.slipway.dev/n1 unheld (no change)\n",
        "{free}"
    );
    for node in ["n1", "n9"] {
        ensure!(
            world.cluster.lease_opt(node).await?.is_none(),
            "a lease was made"
        );
    }
    let said = rob
        .refuses(&["hold", "n1", "--reason", "x", "--context", "nowhere"])
        .await?;
    ensure!(said.contains("kubeconfig"), "{said}");
    Ok(())
}

/// Neither kind of dry run writes, also where a lease would have to be made.
async fn dry_runs(world: &World, rob: &Plugin) -> Result<()> {
    for how in ["client", "server"] {
        let option = format!("--dry-run={how}");
        let hold = ["hold", "n1", "--reason", "disk", &option, "-o", "json"];
        let shown: Value = serde_json::from_str(&rob.says(&hold).await?)?;
        ensure!(
            shown["spec"]["hold"]["by"] == "rob" && shown["spec"]["hold"]["reason"] == "disk",
            "{how}: {shown}"
        );
        ensure!(
            shown["metadata"]["ownerReferences"][0]["kind"] == "Node",
            "{how}: {shown}"
        );
        let now = [
            "now",
            "-l",
            "kubernetes.io/hostname",
            "--reason",
            "x",
            &option,
            "-o",
            "yaml",
        ];
        let list: serde_yaml::Value = serde_yaml::from_str(&rob.says(&now).await?)?;
        let items = list["items"].as_sequence().context("no list")?;
        ensure!(
            items.len() == 2 && list["kind"] == "List",
            "{how}: {list:?}"
        );
        ensure!(
            world.cluster.lease_opt("n1").await?.is_none(),
            "{how} wrote"
        );
    }
    Ok(())
}

/// A condition of the person's own: that version or none. And whoever else holds a node keeps it.
async fn conflicts(world: &World, rob: &Plugin) -> Result<()> {
    rob.says(&["hold", "n1", "--reason", "disk"]).await?;
    let old = ["unhold", "n1", "--resource-version", "1"];
    let said = rob.refuses(&old).await?;
    ensure!(said.contains("nothing was written"), "{said}");
    let lease = world.cluster.lease("n1").await?;
    ensure!(
        lease.spec.hold.is_some(),
        "a write of an old version took effect"
    );
    let both = ["unhold", "n1", "n2", "--resource-version", "1"];
    let said = rob.refuses(&both).await?;
    ensure!(said.contains("one object"), "{said}");

    let admin = Plugin::of_admin(&world.cluster)?;
    let said = admin.refuses(&["hold", "n1", "--reason", "mine"]).await?;
    ensure!(said.contains("rob holds it already (disk)"), "{said}");
    let again = rob.says(&["hold", "n1", "--reason", "disk"]).await?;
    ensure!(again.contains("no change"), "{again}");
    let hold = world
        .cluster
        .lease("n1")
        .await?
        .spec
        .hold
        .context("no hold")?;
    ensure!(hold.by == "rob" && hold.reason == "disk", "{hold:?}");
    Ok(())
}
