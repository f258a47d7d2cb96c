//! What is told of a policy itself by real operators: that it is blocked, and that its breaker is
//! open.

use anyhow::{Context, Result, ensure};
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::json;
use slipway_api::{Phase, RebootPolicy};
use slipway_client::clock;
use slipway_lab::control_plane::apply::apply_yaml;
use slipway_lab::simulated::{RebootBehaviour, SimulatedCluster, SimulatedOptions};
use slipway_lab::wait::wait_until;

use crate::cluster::{BOUND, secret};
use crate::receiver::{Receiver, Reply};

const POLICIES: &str = "
apiVersion: slipway.dev/v1alpha1
kind: RebootPolicy
metadata: {name: held}
spec:
  nodeSelector: {matchLabels: {kubernetes.io/hostname: n1}}
  blockers: [{name: gate, http: {url: 'http://GATE/'}}]
  notifications: [{secretRef: {name: well}, events: [Blocked]}]
---
apiVersion: slipway.dev/v1alpha1
kind: RebootPolicy
metadata: {name: fragile}
spec:
  nodeSelector:
    matchExpressions: [{key: kubernetes.io/hostname, operator: In, values: [n2, n3]}]
  verify: {nodeReadyFor: 1s}
  failure: {maxFailures: 1, backoff: 1h, reset: Manual}
  notifications: [{secretRef: {name: well}, events: [BreakerOpen, Completed]}]
";
const BLOCKED: &str = "Policy held is blocked: ";
const BROKEN: &str = "Policy fragile grants no more reboots: ";

/// Everything that was told and begins with these words.
fn told(receiver: &Receiver, begin: &str) -> Vec<String> {
    let bodies = receiver.seen().into_iter().map(|request| request.body);
    bodies.filter(|body| body.starts_with(begin)).collect()
}

/// Waits until something is told that begins with these words.
async fn wait_told(receiver: &Receiver, begin: &str) -> Result<String> {
    wait_until(&format!("{begin:?} to be told"), BOUND, || async {
        Ok(told(receiver, begin).pop())
    })
    .await
}

/// Seconds since which a policy's condition has been True.
async fn age(cluster: &SimulatedCluster, policy: &str, condition: &str) -> Result<i64> {
    let policies: Api<RebootPolicy> = Api::all(cluster.client());
    let status = policies.get(policy).await?.status.unwrap_or_default();
    let mut conditions = status.conditions.into_iter();
    let found = conditions.find(|one| one.type_ == condition && one.status == "True");
    let since = found.context("it does not hold")?.last_transition_time.0;
    Ok(clock::wall().duration_since(since).as_secs())
}

#[tokio::test]
async fn a_policy_that_stays_blocked_and_a_breaker_that_opens_are_told_once() -> Result<()> {
    let cluster = SimulatedCluster::start(SimulatedOptions::with_nodes(3)).await?;
    cluster.wait_installed(BOUND).await?;
    let (gate, well) = (Receiver::open().await?, Receiver::open().await?);
    gate.answers(vec![Reply::Says(423, "not now"); 10_000]);
    secret(&cluster, "well", "url", &well).await?;
    let policies = POLICIES.replace("GATE", &gate.address.to_string());
    apply_yaml(&cluster.client(), &policies).await?;
    cluster.set_sentinel("n1")?;
    cluster.set_reboot_behaviour("n2", RebootBehaviour::Refuses)?;
    cluster.set_sentinel("n2")?;

    let broken = wait_told(&well, BROKEN).await?;
    ensure!(broken.contains("n2"), "{broken}");
    cluster.clear_sentinel("n2")?;
    let blocked = wait_told(&well, BLOCKED).await?;
    ensure!(blocked.contains("423"), "{blocked}");
    // Not before it has lasted: alerts come and go.
    let lasted = age(&cluster, "held", "Blocked").await?;
    ensure!(lasted >= 60, "told after {lasted} s");

    // The next leader sees both conditions, and that they were told.
    cluster.kill_operators().await?;
    let policies: Api<RebootPolicy> = Api::all(cluster.client());
    let now = clock::wall().strftime("%FT%TZ").to_string();
    let reset = Patch::Merge(json!({ "spec": { "failure": { "resetAt": now } } }));
    let params = PatchParams::default();
    policies.patch("fragile", &params, &reset).await?;
    cluster.set_sentinel("n3")?;
    cluster.wait_phase("n3", Phase::Completed, BOUND).await?;
    wait_told(&well, "Node n3 rebooted").await?;
    for begin in [BLOCKED, BROKEN] {
        let all = told(&well, begin);
        ensure!(all.len() == 1, "{all:?}");
    }
    cluster.stop().await
}
