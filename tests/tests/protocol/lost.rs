//! The faults of single requests that each commit runs: those that want different cures.

use std::time::Duration;

use anyhow::{Result, ensure};
use http::Method;
use slipway_lab::fault_proxy::{Fault, Rule};

use crate::requests::rounds;
use crate::world::{POLICY, World};

/// Longer than our programs wait for an answer (10 s).
const PAST_EVERY_BOUND: Duration = Duration::from_secs(12);

const WATCH_FAULTS: [Fault; 5] = [
    Fault::Expired,
    Fault::DropBefore,
    Fault::Refuse(429, Some(1)),
    Fault::Refuse(500, None),
    Fault::Delay(Duration::from_secs(3)),
];

/// An answer that is lost must be read back, a request that lands late must change nothing, and a
/// refusal must be tried again.
#[tokio::test]
async fn f31_f32_f35_requests_that_are_lost_late_or_refused_end_in_one_proven_reboot() -> Result<()>
{
    rounds(&[
        Fault::DropAfter,
        Fault::Late(PAST_EVERY_BOUND),
        Fault::Refuse(503, Some(1)),
    ])
    .await
}

/// A watch that cannot be had, or whose history is gone: the agent's and the operator's, one after
/// the other, each met when its program starts anew.
#[tokio::test]
async fn f30_watches_that_expire_or_are_refused_are_taken_up_again() -> Result<()> {
    let world = World::start_behind_proxy(WATCH_FAULTS.len()).await?;
    world.apply(POLICY).await?;
    for (number, fault) in (1..).zip(WATCH_FAULTS) {
        let node = format!("n{number}");
        let proxy = world.cluster.proxy()?;
        let watches = Rule::new(Method::GET, "watch=true", fault.clone()).and("rebootleases");
        // The agent's one watch, and the operators' of leases.
        let rule = proxy.add(watches.times(3))?;
        world.cluster.kill_agent(&node).await?;
        world.cluster.kill_operators().await?;
        world.cluster.set_sentinel(&node)?;
        let ended = world.assert_rebooted_once(&node).await;
        ended.map_err(|error| error.context(format!("{fault:?}")))?;
        let hits = proxy.hits(rule)?;
        ensure!(hits == 3, "{hits} of 3 watches met {fault:?}");
        proxy.clear()?;
    }
    world.stop().await
}
