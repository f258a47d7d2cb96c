//! A control plane that is itself at fault: etcd stands still or forgets, one of two API servers is
//! behind. Two nodes must reboot one after the other all the same, each once, and the invariants of
//! the simulation hold over everything that was written meanwhile.
//!
//! A commit runs the shortest form of each; `tests/nightly.rs` runs them at every phase.

use std::time::Duration;

use anyhow::{Result, ensure};
use slipway_api::Phase;
use slipway_lab::recording::Recording;
use slipway_lab::simulated::SimulatedOptions;

use crate::world::{BOUND, POLICY, World};

/// Longer than our programs wait for an answer (10 s).
pub(crate) const PAST_EVERY_BOUND: Duration = Duration::from_secs(12);

/// A cluster of two nodes behind a proxy, of which every write is kept.
pub(crate) struct Bench {
    pub(crate) world: World,
    recording: Recording,
}

impl Bench {
    pub(crate) async fn start(api_server_flags: &[&str]) -> Result<Self> {
        let mut options = SimulatedOptions {
            behind_proxy: true,
            ..SimulatedOptions::with_nodes(2)
        };
        options.control_plane.audit = true;
        options.control_plane.api_server_flags =
            api_server_flags.iter().map(ToString::to_string).collect();
        let world = World::start_with(options).await?;
        let recording = Recording::start(world.cluster.client());
        world.apply(POLICY).await?;
        Ok(Self { world, recording })
    }

    /// Brings the reboot of n1 to a phase, with n2 waiting for its turn.
    pub(crate) async fn bring_to(&self, phase: Phase) -> Result<()> {
        self.world.hold_in("n1", phase).await?;
        self.world.cluster.set_sentinel("n1")?;
        self.world.wait_reached("n1", phase).await?;
        self.world.cluster.set_sentinel("n2")
    }

    /// Agents and operators start anew: with empty caches, and with watches where the proxy leads them.
    pub(crate) async fn restart_programs(&self) -> Result<()> {
        self.world.cluster.kill_operators().await?;
        for node in self.world.cluster.node_names() {
            let agent = self.world.cluster.agent_pod(&node).await?;
            // The machine may be off: then its agent starts anew all the same.
            if self.world.cluster.is_running(&agent) {
                self.world.cluster.kill_pod(&agent)?;
            }
        }
        Ok(())
    }

    /// Both nodes end as undisturbed, and nothing that was written or called broke an invariant.
    pub(crate) async fn conclude(self) -> Result<()> {
        for node in self.world.cluster.node_names() {
            self.world.assert_rebooted_once(&node).await?;
        }
        let judged = self.recording.judge(&self.world.cluster).await?;
        ensure!(
            judged.broken.is_empty(),
            "broken:\n  {}\n{}",
            judged.broken.join("\n  "),
            judged.lines.join("\n")
        );
        ensure!(judged.calls == 2, "{} reboot calls", judged.calls);
        self.world.stop().await
    }
}

/// etcd stands still: writes and reads at quorum hang, then go on.
pub(crate) async fn etcd_stands_still(phase: Phase, time: Duration) -> Result<()> {
    let mut bench = Bench::start(&[]).await?;
    bench.bring_to(phase).await?;
    let boots = bench.world.boots_since_start("n1")?;
    bench
        .world
        .cluster
        .control_plane_mut()
        .suspend_etcd()
        .await?;
    // The outage itself is what is tested, so its length is time and no condition.
    tokio::time::sleep(time).await;
    let uncommitted = !phase.is_committed();
    let boots_meanwhile = bench.world.boots_since_start("n1")? - boots;
    bench
        .world
        .cluster
        .control_plane_mut()
        .resume_etcd()
        .await?;
    // Right after Drained the commit may have landed before etcd stood still.
    ensure!(
        !uncommitted || phase == Phase::Drained || boots_meanwhile == 0,
        "n1 was rebooted without a commit"
    );
    bench.world.release(phase).await?;
    bench.conclude().await
}

/// Watches of both programs end, and the history in which they would go on is compacted.
pub(crate) async fn history_is_compacted(phase: Phase) -> Result<()> {
    // Without its cache, the server asks etcd for the history of every watch.
    let bench = Bench::start(&["--watch-cache=false"]).await?;
    bench.bring_to(phase).await?;
    bench.world.cluster.control_plane().compact_etcd().await?;
    let proxy = bench.world.cluster.proxy()?;
    let before = proxy.gone().len();
    proxy.cut();
    slipway_lab::wait::wait_until("watches of both programs to be told 410", BOUND, || async {
        let gone = proxy.gone();
        let of_agent = |path: &&String| path.contains("metadata.name");
        let new = gone.iter().skip(before);
        let (agents, operators): (Vec<_>, Vec<_>) = new.partition(of_agent);
        ensure!(
            !agents.is_empty() && !operators.is_empty(),
            "told so far: {gone:?}"
        );
        Ok(Some(()))
    })
    .await?;
    bench.world.release(phase).await?;
    bench.conclude().await
}

/// Behind one address are two API servers, and the one that has the watches is frozen in the past:
/// what programs list is the present, and what they are told from then on is nothing.
pub(crate) async fn watches_are_of_the_past(phase: Phase, time: Duration) -> Result<()> {
    let mut bench = Bench::start(&[]).await?;
    let plane = bench.world.cluster.control_plane_mut();
    let (first, second) = (plane.port(), plane.start_second_api_server().await?);
    bench.bring_to(phase).await?;
    let plane = bench.world.cluster.control_plane();
    plane.freeze_second_api_server(true)?;
    bench.world.cluster.proxy()?.lead(first, second);
    bench.world.cluster.proxy()?.cut();
    bench.restart_programs().await?;
    bench.world.release(phase).await?;
    tokio::time::sleep(time).await;
    plane.freeze_second_api_server(false)?;
    bench.conclude().await
}

/// The only API server that programs reach is frozen: its caches show an old world, and nothing that
/// rests on a read at quorum goes on until it catches up.
pub(crate) async fn everything_is_of_the_past(time: Duration) -> Result<()> {
    let mut bench = Bench::start(&[]).await?;
    let plane = bench.world.cluster.control_plane_mut();
    let second = plane.start_second_api_server().await?;
    bench.bring_to(Phase::Draining).await?;
    let plane = bench.world.cluster.control_plane();
    plane.freeze_second_api_server(true)?;
    bench.world.cluster.proxy()?.lead(second, second);
    bench.world.cluster.proxy()?.cut();
    bench.restart_programs().await?;
    bench.world.release(Phase::Draining).await?;
    tokio::time::sleep(time).await;
    for node in bench.world.cluster.node_names() {
        ensure!(
            bench.world.boots_since_start(&node)? == 0,
            "{node} was rebooted on the word of a server in the past"
        );
    }
    ensure!(
        !bench.world.holds_slot("n2").await?,
        "n2 was granted on the word of a server in the past"
    );
    plane.freeze_second_api_server(false)?;
    bench.conclude().await
}

/// A server that was cut off while etcd compacted the history that it would have gone on in.
pub(crate) async fn a_server_missed_the_compaction() -> Result<()> {
    let mut bench = Bench::start(&[]).await?;
    let plane = bench.world.cluster.control_plane_mut();
    let (first, second) = (plane.port(), plane.start_second_api_server().await?);
    bench.world.cluster.proxy()?.lead(first, second);
    bench.world.cluster.proxy()?.cut();
    bench.bring_to(Phase::Draining).await?;
    let plane = bench.world.cluster.control_plane();
    plane.freeze_second_api_server(true)?;
    bench.world.release(Phase::Draining).await?;
    bench.world.wait_reached("n1", Phase::Drained).await?;
    plane.compact_etcd().await?;
    plane.cut_second_api_server()?;
    plane.freeze_second_api_server(false)?;
    bench.conclude().await
}
