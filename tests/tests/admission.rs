//! Least privilege on a real API server: who may do what, asked with the real identities, and what
//! the chart grants.
#![allow(clippy::indexing_slicing, reason = "a panic fails the test")]

#[path = "admission/cells.rs"]
mod cells;
#[path = "admission/leases.rs"]
mod leases;
#[path = "admission/mutants.rs"]
mod mutants;
#[path = "admission/nodes.rs"]
mod nodes;
#[path = "admission/operator.rs"]
mod operator;
#[path = "admission/people.rs"]
mod people;
#[path = "admission/rbac.rs"]
mod rbac;
#[path = "admission/world.rs"]
mod world;

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use serde_json::json;

use cells::Cell;
use world::World;

fn matrix() -> Vec<Cell> {
    [
        nodes::nodes(),
        nodes::node_status(),
        nodes::pods(),
        operator::nodes(),
        leases::moves(),
        leases::acceptances(),
        leases::by_agents(),
        leases::by_others(),
        leases::deletions(),
        leases::ledger(),
        people::cells(),
    ]
    .concat()
}

#[tokio::test]
async fn everybody_may_do_what_they_need_and_nothing_else() -> Result<()> {
    let world = World::make().await?;
    let cells = matrix();
    ensure!(cells.len() > 250, "only {} cells", cells.len());
    world.wait_right(&cells).await?;
    world.policies_fit_the_types().await?;
    world.control_plane.stop().await
}

#[tokio::test]
async fn without_constrained_impersonation_an_agent_evicts_only_while_its_node_holds_a_slot()
-> Result<()> {
    let gates = BTreeMap::from([("ConstrainedImpersonation".to_owned(), false)]);
    let values = json!({ "agent": { "eviction": "own" } });
    let world = World::make_with(&gates, &values).await?;
    let cells = [
        nodes::nodes(),
        nodes::node_status(),
        leases::acceptances(),
        leases::by_agents(),
        nodes::fallback(),
    ]
    .concat();
    world.wait_right(&cells).await?;
    world.policies_fit_the_types().await?;
    world.control_plane.stop().await
}

#[tokio::test]
async fn an_agent_that_may_delete_pods_deletes_those_of_its_own_node_only() -> Result<()> {
    let values = json!({ "agent": { "forceDelete": true } });
    let world = World::make_with(&BTreeMap::new(), &values).await?;
    world.wait_right(&nodes::deletions()).await?;
    world.control_plane.stop().await
}

#[tokio::test]
async fn each_policy_and_each_of_its_validations_is_needed() -> Result<()> {
    let world = World::make().await?;
    let cells = matrix();
    world.wait_right(&cells).await?;
    mutants::every_policy_is_needed(&world, &cells).await?;
    mutants::every_validation_is_needed(&world, &cells).await?;
    // Here, because the collector has met our kinds meanwhile.
    world.a_lease_goes_with_its_node().await?;
    world.the_crds_can_be_deleted().await?;
    world.control_plane.stop().await
}
