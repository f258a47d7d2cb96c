//! Machines whose kubelet the harness plays, with a stand-in for the agent: any program that
//! answers its probe.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::authentication::v1::SelfSubjectReview;
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::api::{DeleteParams, ListParams, PostParams};
use kube::{Api, ResourceExt};
use slipway_lab::cache::lab_tool_binary;
use slipway_lab::images::static_program;
use slipway_lab::machines::{AgentUnit, PlainCluster, PlainOptions, is_ready};
use slipway_lab::wait::wait_until;

const BOUND: Duration = Duration::from_secs(30);
/// How long a node may be silent; above the 2 s between its reports.
const GRACE: Duration = Duration::from_secs(5);
/// Whatever a shell or systemd could take for its own.
const WORDS: &str = "it's \"$HOME\" `x` \\ %n";
const CALL_BOUND: Duration = Duration::from_secs(10);

const AGENT: &str = r"
apiVersion: v1
kind: ServiceAccount
metadata: {name: agent}
---
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: agent}
spec:
  selector: {matchLabels: {app: agent}}
  template:
    metadata: {labels: {app: agent}}
    spec:
      serviceAccountName: agent
      tolerations: [{operator: Exists}]
      containers:
      - name: agent
        image: localhost/slipway-agent:1
        args: [web, '--address=:8081']
        env:
        - {name: POD, valueFrom: {fieldRef: {fieldPath: metadata.name}}}
";

pub(crate) async fn an_agent_on_a_machine_has_its_pods_identity_and_survives_reboots() -> Result<()>
{
    let started = Instant::now();
    let mut options = PlainOptions::new(2, &lab_tool_binary()?);
    options.control_plane.node_monitor_grace = GRACE;
    options.environment.insert("WORDS".into(), WORDS.into());
    let cluster = PlainCluster::start(options).await?;
    println!("    2 nodes Ready in {:?}", started.elapsed());
    cluster.apply(AGENT).await?;
    let first = ready_pod(&cluster, "n1", "").await?;
    ready_pod(&cluster, "n2", "").await?;

    let token = cluster
        .machine(1)?
        .exec(&["cat", "/opt/lab/agent/token"])
        .await?;
    let client = cluster.control_plane().client_with_token(&token).await?;
    let reviews: Api<SelfSubjectReview> = Api::all(client);
    let review = tokio::time::timeout(
        CALL_BOUND,
        reviews.create(&PostParams::default(), &SelfSubjectReview::default()),
    )
    .await??;
    let user = review
        .status
        .and_then(|status| status.user_info)
        .context("no user")?;
    let extra = user.extra.unwrap_or_default();
    ensure!(
        extra["authentication.kubernetes.io/node-name"] == ["n1"],
        "{extra:?}"
    );
    ensure!(
        extra["authentication.kubernetes.io/pod-uid"] == [first.clone()],
        "{extra:?}"
    );

    let started = Instant::now();
    let before = cluster.machine(1)?.reboot().await?;
    cluster.wait_rebooted(1, &before).await?;
    println!("    n1 rebooted and Ready again in {:?}", started.elapsed());
    ensure!(
        ready_pod(&cluster, "n1", "").await? == first,
        "the pod did not survive"
    );

    // Another pod: another token, and the service is started anew.
    let pods: Api<Pod> = Api::namespaced(cluster.client()?, "default");
    let name = pod_on(&pods, "n1").await?.context("no pod")?.name_any();
    tokio::time::timeout(CALL_BOUND, pods.delete(&name, &DeleteParams::default())).await??;
    ready_pod(&cluster, "n1", &first).await?;
    let other = cluster
        .machine(1)?
        .exec(&["cat", "/opt/lab/agent/token"])
        .await?;
    ensure!(other != token, "the new pod has the token of the old one");
    the_agents_environment_is_its_pods(&cluster).await?;

    a_pulled_cable_cuts_the_agent_off(&cluster).await?;
    a_power_cut_is_silent(&cluster).await?;
    ensure!(
        !Path::new("/opt/lab/agent").exists(),
        "this computer was written to"
    );
    cluster.stop();
    Ok(())
}

/// The real agent as a service of machines: it is Ready, and tells the node what the host asks for.
pub(crate) async fn an_agent_as_a_service_reports_its_machine() -> Result<()> {
    let mut options = PlainOptions::new(2, &static_program("slipway-node-agent")?);
    options
        .environment
        .insert("SLIPWAY_SETTLE".into(), "200ms".into());
    let cluster = PlainCluster::start(options).await?;
    let install = slipway_lab::chart::repository().join("examples/install.yaml");
    cluster.apply_file(&install).await?;
    let result = reports_what_the_host_asks_for(&cluster).await;
    if result.is_err() {
        println!("{}", cluster.agent_log(1).await?);
    }
    result?;
    cluster.stop();
    Ok(())
}

async fn reports_what_the_host_asks_for(cluster: &PlainCluster) -> Result<()> {
    wait_required(cluster, "n1", "False").await?;
    wait_required(cluster, "n2", "False").await?;
    cluster
        .machine(1)?
        .write_file("/run/reboot-required", "")
        .await?;
    wait_required(cluster, "n1", "True").await?;
    // The file lies in memory: a reboot takes it away, and the agent says so.
    let before = cluster.machine(1)?.reboot().await?;
    cluster.wait_rebooted(1, &before).await?;
    wait_required(cluster, "n1", "False").await?;
    wait_required(cluster, "n2", "False").await
}

async fn wait_required(cluster: &PlainCluster, node: &str, wanted: &str) -> Result<()> {
    let nodes: Api<Node> = Api::all(cluster.client()?);
    let what = format!("RebootRequired={wanted} on {node}");
    wait_until(&what, BOUND, || async {
        let found = tokio::time::timeout(CALL_BOUND, nodes.get(node)).await??;
        let says = found
            .status
            .iter()
            .flat_map(|status| status.conditions.iter().flatten())
            .any(|condition| condition.type_ == "RebootRequired" && condition.status == wanted);
        Ok(says.then_some(()))
    })
    .await
}

async fn the_agents_environment_is_its_pods(cluster: &PlainCluster) -> Result<()> {
    const SCRIPT: &str =
        r#"tr '\0' '\n' < /proc/"$(systemctl show --value -p MainPID "$1")"/environ"#;
    let machine = cluster.machine(1)?;
    let script = ["sh", "-ec", SCRIPT, "sh", AgentUnit::UNIT];
    let environment = machine.exec(&script).await?;
    let has = |line: &str| environment.lines().any(|found| found.starts_with(line));
    ensure!(has("POD=agent-"), "{environment}");
    ensure!(has(&format!("WORDS={WORDS}")), "{environment}");
    Ok(())
}

async fn a_pulled_cable_cuts_the_agent_off(cluster: &PlainCluster) -> Result<()> {
    let machine = cluster.machine(1)?;
    let answers = async || {
        let connect = tokio::net::TcpStream::connect((machine.address(), 8081));
        anyhow::Ok(matches!(
            tokio::time::timeout(Duration::from_millis(500), connect).await,
            Ok(Ok(_))
        ))
    };
    ensure!(answers().await?, "the agent does not listen");
    machine.disconnect()?;
    ensure!(!answers().await?, "the agent answers without a cable");
    machine.connect()?;
    wait_until("the agent to be reached again", BOUND, || async {
        anyhow::Ok(answers().await?.then_some(()))
    })
    .await
}

/// A machine without power says nothing; the node lifecycle controller notices.
async fn a_power_cut_is_silent(cluster: &PlainCluster) -> Result<()> {
    let machine = cluster.machine(2)?;
    let before = machine.boot_id().context("n2 is not up")?;
    machine.kill()?;
    let nodes: Api<Node> = Api::all(cluster.client()?);
    wait_until("n2 to be missed", BOUND, || async {
        let node = tokio::time::timeout(CALL_BOUND, nodes.get("n2")).await??;
        let unknown = node
            .status
            .iter()
            .flat_map(|status| status.conditions.iter().flatten())
            .any(|condition| condition.type_ == "Ready" && condition.status == "Unknown");
        Ok((unknown && !is_ready(&node)).then_some(()))
    })
    .await?;
    machine.power_on()?;
    cluster.wait_rebooted(2, &before).await.map(drop)
}

/// Waits for the agent's pod on a node, other than one, to be Ready; its UID.
async fn ready_pod(cluster: &PlainCluster, node: &str, other_than: &str) -> Result<String> {
    let pods: Api<Pod> = Api::namespaced(cluster.client()?, "default");
    let waited = wait_until(&format!("the agent on {node}"), BOUND, || async {
        let Some(pod) = pod_on(&pods, node).await? else {
            return Ok(None);
        };
        let ready = pod
            .status
            .iter()
            .flat_map(|status| status.conditions.iter().flatten())
            .any(|condition| condition.type_ == "Ready" && condition.status == "True");
        Ok(pod.uid().filter(|uid| ready && uid != other_than))
    })
    .await;
    if waited.is_err() {
        println!(
            "{}",
            cluster.kubectl(&["get", "pods", "-A", "-o=yaml"]).await?
        );
        println!("{}", cluster.agent_log(1).await?);
    }
    waited
}

async fn pod_on(pods: &Api<Pod>, node: &str) -> Result<Option<Pod>> {
    let bound = ListParams::default().fields(&format!("spec.nodeName={node}"));
    let list = tokio::time::timeout(CALL_BOUND, pods.list(&bound)).await??;
    Ok(list
        .items
        .into_iter()
        .find(|pod| pod.metadata.deletion_timestamp.is_none()))
}
