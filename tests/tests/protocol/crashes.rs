//! `kill -9` of agent and operator at each phase, and an API server that is away for a minute,
//! end as an undisturbed run does.

use std::time::Duration;

use anyhow::Result;
use slipway_api::Phase;

use crate::world::{PHASES, POLICY, World};

/// What is done to the cluster when the reboot has come to a phase.
#[derive(Clone, Copy)]
enum Fault {
    KillAgent,
    KillOperators,
    KillBoth,
    ApiServerAway(Duration),
}

async fn survives(world: &mut World, node: &str, phase: Phase, fault: Fault) -> Result<()> {
    world.hold_in(node, phase).await?;
    world.cluster.set_sentinel(node)?;
    world.wait_reached(node, phase).await?;
    match fault {
        Fault::KillAgent => world.cluster.kill_agent(node).await?,
        Fault::KillOperators => world.cluster.kill_operators().await?,
        Fault::KillBoth => {
            world.cluster.kill_agent(node).await?;
            world.cluster.kill_operators().await?;
        }
        Fault::ApiServerAway(time) => {
            world.cluster.control_plane_mut().kill_api_server()?;
            // The outage itself is what is tested, so its length is time and no condition.
            tokio::time::sleep(time).await;
            world.cluster.control_plane_mut().start_api_server().await?;
        }
    }
    world.release(phase).await?;
    world.assert_rebooted_once(node).await?;
    Ok(())
}

async fn killed_at_each_phase(fault: Fault) -> Result<()> {
    let mut world = World::start(PHASES.len()).await?;
    world.apply(POLICY).await?;
    for (number, phase) in (1..).zip(PHASES) {
        let node = format!("n{number}");
        survives(&mut world, &node, phase, fault)
            .await
            .map_err(|error| error.context(format!("fault at {phase}")))?;
    }
    world.stop().await
}

#[tokio::test]
async fn f01_to_f06_an_agent_killed_at_each_phase_ends_as_if_undisturbed() -> Result<()> {
    killed_at_each_phase(Fault::KillAgent).await
}

#[tokio::test]
async fn f22_f23_operators_killed_at_each_phase_end_as_if_undisturbed() -> Result<()> {
    killed_at_each_phase(Fault::KillOperators).await
}

#[tokio::test]
async fn both_killed_at_each_phase_end_as_if_undisturbed() -> Result<()> {
    killed_at_each_phase(Fault::KillBoth).await
}

/// One cluster per phase, at the same time: the outages are waited for together.
#[tokio::test]
async fn f07_f37_an_api_server_that_is_away_for_a_minute_at_each_phase_changes_nothing()
-> Result<()> {
    let runs = PHASES.map(|phase| async move {
        let mut world = World::start(2).await?;
        world.apply(POLICY).await?;
        let fault = Fault::ApiServerAway(Duration::from_mins(1));
        survives(&mut world, "n1", phase, fault)
            .await
            .map_err(|error| error.context(format!("outage at {phase}")))?;
        world.stop().await
    });
    for result in futures::future::join_all(runs).await {
        result?;
    }
    Ok(())
}
