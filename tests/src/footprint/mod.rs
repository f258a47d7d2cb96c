//! What the real agent costs its node and the API server: measured on a real API server and a simulated
//! host, and held against ceilings (docs/design/footprint.md).
//!
//! Owns the three situations and the table. What is counted comes from the kernel ([`process`]) and from
//! the API server's audit log ([`requests`]), never from the agent. Called by `slipway-lab footprint`
//! (`cargo xtask bench agent`), and in short by a test.

pub mod process;
pub mod requests;
pub mod table;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use jiff::Timestamp;
use serde_json::json;
use slipway_api::{Phase, RebootPolicy};

use crate::control_plane::apply::apply_yaml;
use crate::simulated::{SimulatedCluster, SimulatedOptions};
use crate::wait::wait_until;
use process::Meter;
use requests::Requests;
use table::Situation;

/// How long anything may take that is not measured.
const BOUND: Duration = Duration::from_mins(2);
/// How often the kernel is asked.
const LOOK: Duration = Duration::from_millis(200);
/// As long without a request but the watch, and the agent has nothing left to do, and no connection left
/// that it did something over: those end after 90 s.
const QUIET: Duration = Duration::from_secs(100);
/// How long that may take to come.
const QUIET_BOUND: Duration = Duration::from_mins(5);
/// The node that is measured.
const NODE: &str = "n1";

const POLICY: &str = "
apiVersion: slipway.dev/v1alpha1
kind: RebootPolicy
metadata: {name: everything}
spec:
  nodeSelector: {}
  paused: true
  verify: {nodeReadyFor: 1s}
";

/// What is measured, and for how long.
#[derive(Clone, Debug)]
pub struct Options {
    /// The agent's program.
    pub agent: PathBuf,
    /// How long each situation is watched, but the reboot, which takes as long as it does.
    pub window: Duration,
}

/// Measures the three situations.
///
/// # Errors
/// The cluster cannot be had, or the node is not rebooted.
pub async fn measure(options: &Options) -> Result<Vec<Situation>> {
    let mut simulated = SimulatedOptions {
        agent: Some(options.agent.clone()),
        // The kubelet's, by the chart.
        probe_every: Duration::from_secs(5),
        // Everything as an installation has it.
        environment: [("SLIPWAY_LOG_FORMAT".to_owned(), "text".to_owned())].into(),
        ..SimulatedOptions::with_nodes(3)
    };
    simulated.control_plane.audit = true;
    simulated.control_plane.audited_users = vec![requests::agent_user()];
    let cluster = SimulatedCluster::start(simulated).await?;
    cluster.wait_installed(BOUND).await?;
    let mut all = Vec::new();

    quiet(&cluster).await?;
    all.push(watch(&cluster, "idle", options.window).await?);

    apply_yaml(&cluster.client(), POLICY).await?;
    cluster.set_sentinel(NODE)?;
    cluster.wait_phase(NODE, Phase::Pending, BOUND).await?;
    quiet(&cluster).await?;
    all.push(watch(&cluster, "waiting", options.window).await?);

    all.push(reboot(&cluster).await?);
    cluster.stop().await?;
    Ok(all)
}

/// Waits until the agent asks for nothing any more.
async fn quiet(cluster: &SimulatedCluster) -> Result<()> {
    wait_until("the agent to rest", QUIET_BOUND, || async {
        let logs = cluster.control_plane().audit_logs()?;
        let since = Timestamp::now().checked_sub(QUIET)?;
        let asked = Requests::of(&logs, NODE, since..Timestamp::now());
        Ok((asked.but_watches() == 0).then_some(()))
    })
    .await
}

async fn watch(
    cluster: &SimulatedCluster,
    name: &'static str,
    window: Duration,
) -> Result<Situation> {
    let pod = cluster.agent_pod(NODE).await?;
    let begun = Timestamp::now();
    let end = tokio::time::Instant::now() + window;
    let mut meter = Meter::new(cluster.control_plane().port());
    while tokio::time::Instant::now() < end {
        let pid = cluster.program_pid(&pod).context("the agent has ended")?;
        meter.look(pid)?;
        tokio::time::sleep(LOOK).await;
    }
    finished(cluster, name, &meter, begun)
}

/// One reboot, from the grant's permission to its verification.
async fn reboot(cluster: &SimulatedCluster) -> Result<Situation> {
    let pod = cluster.agent_pod(NODE).await?;
    let policies: kube::Api<RebootPolicy> = kube::Api::all(cluster.client());
    let go = kube::api::Patch::Merge(json!({"spec": {"paused": false}}));
    let begun = Timestamp::now();
    policies
        .patch("everything", &kube::api::PatchParams::default(), &go)
        .await?;
    let mut meter = Meter::new(cluster.control_plane().port());
    let completed = cluster.wait_phase(NODE, Phase::Completed, BOUND);
    let mut completed = std::pin::pin!(completed);
    loop {
        tokio::select! {
            lease = &mut completed => {
                lease?;
                break;
            }
            () = tokio::time::sleep(LOOK / 8) => {
                // While the machine is off, there is none.
                if let Some(pid) = cluster.program_pid(&pod) {
                    meter.look(pid).ok();
                }
            }
        }
    }
    finished(cluster, "reboot", &meter, begun)
}

fn finished(
    cluster: &SimulatedCluster,
    name: &'static str,
    meter: &Meter,
    begun: Timestamp,
) -> Result<Situation> {
    let ended = Timestamp::now();
    let logs = cluster.control_plane().audit_logs()?;
    Ok(Situation {
        name,
        lasted: Duration::try_from(ended.duration_since(begun))?,
        used: meter.used(),
        requests: Requests::of(&logs, NODE, begun..ended),
    })
}
