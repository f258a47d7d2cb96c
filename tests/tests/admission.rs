//! Least privilege on a real API server: who may do what, asked with the real identities, and what
//! the chart grants.
#![allow(
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a panic fails the test, and the matrix tells its size"
)]

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
#[path = "admission/proof.rs"]
mod proof;
#[path = "admission/rbac.rs"]
mod rbac;
#[path = "admission/versions.rs"]
mod versions;
#[path = "admission/world.rs"]
mod world;

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use serde_json::json;

use cells::Cell;
use world::World;

/// The matrix where constrained impersonation is served.
fn matrix() -> Vec<Cell> {
    [nodes::pods(), common()].concat()
}

/// And where it is not.
fn fallback_matrix() -> Vec<Cell> {
    [nodes::fallback(), common()].concat()
}

/// What is the same in both.
fn common() -> Vec<Cell> {
    [
        nodes::nodes(),
        nodes::node_status(),
        operator::nodes(),
        operator::protections(),
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

/// Tells how many cells are asked, and of whom.
fn counted(cells: &[Cell]) -> Result<()> {
    let mut of: BTreeMap<&str, usize> = BTreeMap::new();
    for cell in cells {
        *of.entry(cell.kind()).or_default() += 1;
    }
    println!("{} cells: {of:?}", cells.len());
    ensure!(cells.len() > 250, "only {} cells", cells.len());
    Ok(())
}

#[tokio::test]
async fn everybody_may_do_what_they_need_and_nothing_else() -> Result<()> {
    let world = World::make().await?;
    let cells = matrix();
    counted(&cells)?;
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
    let cells = fallback_matrix();
    counted(&cells)?;
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
