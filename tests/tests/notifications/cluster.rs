//! Notifications of real operators in a cluster of simulated nodes.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Result, ensure};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::api::events::v1::Event;
use kube::Api;
use kube::api::{ListParams, PostParams};
use slipway_api::{Phase, RebootLease, RebootPolicy, names};
use slipway_lab::control_plane::apply::apply_yaml;
use slipway_lab::simulated::{RebootBehaviour, SimulatedCluster, SimulatedOptions};
use slipway_lab::wait::wait_until;

use crate::receiver::{Receiver, Reply};

/// How long anything that is not held up may take on two busy cores.
pub(crate) const BOUND: Duration = Duration::from_mins(3);
/// A word of every URL, that must appear nowhere.
const CANARY: &str = "canary-7f3a";

const POLICY: &str = "
apiVersion: slipway.dev/v1alpha1
kind: RebootPolicy
metadata: {name: everything}
spec:
  nodeSelector: {}
  verify: {nodeReadyFor: 1s}
  notifications:
    - secretRef: {name: hanging}
    - secretRef: {name: missing}
    - secretRef: {name: well, key: address}
      events: [Draining, Rebooting, Completed]
      templates: {draining: '{node} of {policy} drains: {reason}'}
";

/// Makes a Secret with the URL of a receiver.
pub(crate) async fn secret(
    cluster: &SimulatedCluster,
    name: &str,
    key: &str,
    receiver: &Receiver,
) -> Result<()> {
    let url = format!(
        "generic+http://{CANARY}:{CANARY}@{}/{CANARY}?@X-Key={CANARY}",
        receiver.address
    );
    let mut secret = Secret {
        data: Some(BTreeMap::from([(
            key.to_owned(),
            ByteString(url.into_bytes()),
        )])),
        ..Secret::default()
    };
    secret.metadata.name = Some(name.to_owned());
    let secrets: Api<Secret> = Api::namespaced(cluster.client(), names::NAMESPACE);
    secrets.create(&PostParams::default(), &secret).await?;
    Ok(())
}

async fn wait_told(cluster: &SimulatedCluster, count: usize) -> Result<()> {
    wait_until(&format!("{count} told"), BOUND, || async {
        let policies: Api<RebootPolicy> = Api::all(cluster.client());
        let status = policies.get("everything").await?.status.unwrap_or_default();
        let told = status.notifications.iter().find(|one| one.secret == "well");
        let told = told.map_or(0, |one| one.told.iter().map(|it| it.events.len()).sum());
        ensure!(told == count, "{told} are: {:?}", status.notifications);
        Ok(Some(()))
    })
    .await
}

async fn logs(cluster: &SimulatedCluster) -> Result<String> {
    let mut all = String::new();
    for uid in cluster.program_pods(names::COMPONENT_OPERATOR).await? {
        all.push_str(&cluster.pod_log(&uid, 1_000_000));
    }
    Ok(all)
}

/// Everything that people and machines are shown.
async fn shown(cluster: &SimulatedCluster) -> Result<String> {
    let client = cluster.client();
    let any = ListParams::default();
    let policies: Api<RebootPolicy> = Api::all(client.clone());
    let leases: Api<RebootLease> = Api::all(client.clone());
    let events: Api<Event> = Api::all(client);
    Ok([
        serde_json::to_string(&policies.list(&any).await?.items)?,
        serde_json::to_string(&leases.list(&any).await?.items)?,
        serde_json::to_string(&events.list(&any).await?.items)?,
    ]
    .concat())
}

#[tokio::test]
async fn reboots_are_told_once_although_the_leader_is_killed_and_a_target_hangs() -> Result<()> {
    let mut options = SimulatedOptions::with_nodes(2);
    // Everything that the operator and its libraries have to say.
    let trace = ("SLIPWAY_LOG".to_owned(), "trace".to_owned());
    options.environment.extend([trace]);
    let cluster = SimulatedCluster::start(options).await?;
    cluster.wait_installed(BOUND).await?;
    let (hanging, well) = (Receiver::open().await?, Receiver::open().await?);
    hanging.answers(vec![Reply::Hangs; 100]);
    secret(&cluster, "hanging", "url", &hanging).await?;
    secret(&cluster, "well", "address", &well).await?;
    apply_yaml(&cluster.client(), POLICY).await?;

    cluster.set_reboot_behaviour("n1", RebootBehaviour::Delays(8000))?;
    cluster.set_sentinel("n1")?;
    cluster.wait_phase("n1", Phase::Rebooting, BOUND).await?;
    wait_told(&cluster, 2).await?;
    let mut log = logs(&cluster).await?;
    cluster.kill_operators().await?;
    cluster.wait_phase("n1", Phase::Completed, BOUND).await?;
    wait_told(&cluster, 3).await?;
    cluster.set_sentinel("n2")?;
    cluster.wait_phase("n2", Phase::Completed, BOUND).await?;
    wait_told(&cluster, 6).await?;

    let seen: Vec<String> = well.seen().into_iter().map(|one| one.body).collect();
    let told = |node: &str| {
        [
            format!("{node} of everything drains: SentinelFile"),
            format!("Rebooting node {node}"),
            format!("Node {node} rebooted & uncordoned successfully!"),
        ]
    };
    ensure!(seen == [told("n1"), told("n2")].concat(), "{seen:#?}");
    ensure!(!hanging.seen().is_empty(), "nobody has hung");
    let condition = wait_until("the condition", BOUND, || async {
        let policies: Api<RebootPolicy> = Api::all(cluster.client());
        let status = policies.get("everything").await?.status.unwrap_or_default();
        let found = status
            .conditions
            .into_iter()
            .find(|one| one.type_ == "Notified");
        Ok(found.filter(|one| one.status == "False"))
    })
    .await?;
    ensure!(
        condition.message.starts_with("spec.notifications["),
        "{condition:?}"
    );

    log.push_str(&logs(&cluster).await?);
    ensure!(
        log.contains("cannot tell"),
        "the log says nothing of what failed"
    );
    for (what, text) in [("log", log), ("objects", shown(&cluster).await?)] {
        let line = text.split('\n').find(|line| line.contains(CANARY));
        ensure!(line.is_none(), "S11: the {what} shows the URL: {line:?}");
    }
    cluster.stop().await
}
