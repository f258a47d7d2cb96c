//! Least privilege on a real API server: who may do what, asked with the real identities, and what
//! the chart grants.

#[path = "admission/cells.rs"]
mod cells;
#[path = "admission/leases.rs"]
mod leases;
#[path = "admission/nodes.rs"]
mod nodes;
#[path = "admission/world.rs"]
mod world;

use anyhow::{Result, ensure};

use cells::Cell;
use world::World;

fn matrix() -> Vec<Cell> {
    [
        nodes::nodes(),
        nodes::node_status(),
        nodes::pods(),
        leases::moves(),
        leases::by_agents(),
        leases::by_others(),
        leases::deletions(),
        leases::ledger(),
    ]
    .concat()
}

#[tokio::test]
async fn everybody_may_do_what_they_need_and_nothing_else() -> Result<()> {
    let world = World::make().await?;
    let cells = matrix();
    world.wait_right(&cells).await?;
    ensure!(cells.len() > 200, "only {} cells", cells.len());
    world.control_plane.stop().await
}
