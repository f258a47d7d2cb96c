//! The lab's control plane keeps its promises: isolation, identities, restarts, and no process
//! left behind.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a panic fails the test"
)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::authentication::v1::SelfSubjectReview;
use k8s_openapi::api::core::v1::{ConfigMap, Node, Pod};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::api::{ListParams, Patch, PatchParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config, ResourceExt};
use serde_json::json;
use slipway_lab::control_plane::apply::{ApplyError, apply_yaml};
use slipway_lab::control_plane::{ControlPlane, ControlPlaneOptions};
use slipway_lab::wait::wait_until;

/// Where the child of the kill test says what it started.
const CHILD_REPORT: &str = "SLIPWAY_LAB_TEST_CHILD_REPORT";
const START_BOUND: Duration = Duration::from_secs(90);
const CALL_BOUND: Duration = Duration::from_secs(10);

fn servers_only() -> ControlPlaneOptions {
    ControlPlaneOptions {
        controller_manager: false,
        scheduler: false,
        ..Default::default()
    }
}

async fn call<T>(call: impl Future<Output = kube::Result<T>>) -> Result<T> {
    Ok(tokio::time::timeout(CALL_BOUND, call)
        .await
        .context("no answer")??)
}

#[tokio::test]
async fn control_planes_side_by_side_trust_only_their_own_authority() -> Result<()> {
    let (first, second) = tokio::join!(
        ControlPlane::start(ControlPlaneOptions::default()),
        ControlPlane::start(servers_only())
    );
    let (first, second) = (first?, second?);
    ensure!(
        first.url() != second.url(),
        "both listen at {}",
        first.url()
    );
    pod_tokens_name_their_node(&first).await?;
    controllers_and_scheduler_work(&first).await?;

    // A server that another authority vouches for is not talked to.
    let mut kubeconfig = Kubeconfig::read_from(first.admin_kubeconfig())?;
    let other = Kubeconfig::read_from(second.admin_kubeconfig())?;
    kubeconfig.clusters[0]
        .cluster
        .as_mut()
        .context("no cluster")?
        .certificate_authority_data = other.clusters[0]
        .cluster
        .as_ref()
        .context("no cluster")?
        .certificate_authority_data
        .clone();
    let refused = list_nodes(kubeconfig)
        .await
        .expect_err("the wrong authority was accepted");
    let chain = format!("{:#}", anyhow::Error::from(refused));
    ensure!(
        chain.contains("certificate"),
        "refused for another reason: {chain}"
    );

    // A user that another authority vouches for is not let in.
    let mut kubeconfig = Kubeconfig::read_from(first.admin_kubeconfig())?;
    kubeconfig.auth_infos = other.auth_infos;
    match list_nodes(kubeconfig).await {
        Err(kube::Error::Api(status)) => ensure!(status.code == 401, "answer {status:?}"),
        other => anyhow::bail!("expected 401, got {other:?}"),
    }

    first.stop().await?;
    second.stop().await
}

async fn list_nodes(kubeconfig: Kubeconfig) -> kube::Result<usize> {
    let mut config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
        .await
        .expect("a valid kubeconfig");
    config.default_retry = false;
    let nodes: Api<Node> = Api::all(Client::try_from(config)?);
    nodes
        .list(&ListParams::default())
        .await
        .map(|list| list.items.len())
}

async fn pod_tokens_name_their_node(control_plane: &ControlPlane) -> Result<()> {
    let admin = control_plane.admin_client()?;
    let nodes: Api<Node> = Api::all(admin.clone());
    let node = serde_json::from_value(json!({ "metadata": { "name": "n1" } }))?;
    call(nodes.create(&PostParams::default(), &node)).await?;
    let pods: Api<Pod> = Api::namespaced(admin, "default");
    let pod = serde_json::from_value(json!({
        "metadata": { "name": "p1" },
        "spec": { "nodeName": "n1", "containers": [{ "name": "c", "image": "localhost/none:1" }] },
    }))?;
    let pod = call(pods.create(&PostParams::default(), &pod)).await?;
    let uid = pod.uid().context("no uid")?;

    let token = control_plane
        .pod_token("default", "default", "p1", &uid)
        .await?;
    let client = control_plane.client_with_token(&token).await?;
    let reviews: Api<SelfSubjectReview> = Api::all(client);
    let review =
        call(reviews.create(&PostParams::default(), &SelfSubjectReview::default())).await?;
    let user = review
        .status
        .and_then(|status| status.user_info)
        .context("no user")?;
    let extra = user.extra.unwrap_or_default();
    assert_eq!(
        user.username.as_deref(),
        Some("system:serviceaccount:default:default")
    );
    assert_eq!(extra["authentication.kubernetes.io/node-name"], ["n1"]);
    assert_eq!(extra["authentication.kubernetes.io/pod-uid"], [uid]);
    Ok(())
}

const WORKLOAD: &str = r"
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, image: 'localhost/none:1'}]}
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {name: web}
spec: {minAvailable: 1, selector: {matchLabels: {app: web}}}
";

/// Node lifecycle, deployment and disruption controllers and the scheduler, in one go.
async fn controllers_and_scheduler_work(control_plane: &ControlPlane) -> Result<()> {
    let admin = control_plane.admin_client()?;
    apply_yaml(&admin, WORKLOAD).await?;
    let node: Api<Node> = Api::all(admin.clone());
    let ready = json!({ "status": {
        "allocatable": { "cpu": "1", "memory": "1Gi", "pods": "10" },
        "conditions": [{ "type": "Ready", "status": "True" }],
    }});
    call(node.patch_status("n1", &PatchParams::default(), &Patch::Merge(&ready))).await?;

    let pods: Api<Pod> = Api::namespaced(admin.clone(), "default");
    wait_until("the pod to be placed on n1", CALL_BOUND, || async {
        let list = pods.list(&ListParams::default().labels("app=web")).await?;
        let node = list
            .items
            .first()
            .and_then(|pod| pod.spec.as_ref()?.node_name.as_deref());
        Ok((node == Some("n1")).then_some(()))
    })
    .await?;
    let budgets: Api<PodDisruptionBudget> = Api::namespaced(admin, "default");
    wait_until(
        "the disruption controller to count the pod",
        CALL_BOUND,
        || async {
            let status = budgets.get("web").await?.status.unwrap_or_default();
            Ok((status.expected_pods == 1).then_some(()))
        },
    )
    .await
}

#[tokio::test]
async fn an_api_server_comes_back_with_its_state() -> Result<()> {
    let mut control_plane = ControlPlane::start(servers_only()).await?;
    let configs: Api<ConfigMap> = Api::namespaced(control_plane.admin_client()?, "default");
    let config = serde_json::from_value(json!({ "metadata": { "name": "kept" } }))?;
    call(configs.create(&PostParams::default(), &config)).await?;

    control_plane.kill_api_server()?;
    ensure!(
        call(configs.get("kept")).await.is_err(),
        "a killed API server answered"
    );
    control_plane.start_api_server().await?;
    call(configs.get("kept")).await?;

    control_plane.suspend_api_server().await?;
    let answer = tokio::time::timeout(Duration::from_secs(1), configs.get("kept")).await;
    ensure!(answer.is_err(), "a frozen API server answered: {answer:?}");
    control_plane.resume_api_server().await?;
    call(configs.get("kept")).await?;

    let node = control_plane
        .client_for("system:node:n1", &["system:nodes"])
        .await?;
    let all: Api<ConfigMap> = Api::all(node);
    let refused = all
        .list(&ListParams::default())
        .await
        .expect_err("a node may list everything");
    ensure!(
        matches!(&refused, kube::Error::Api(status) if status.is_forbidden()),
        "{refused:?}"
    );

    let output = control_plane
        .kubectl()?
        .args(["get", "configmap", "kept", "-o=name"])
        .output()?;
    assert_eq!(String::from_utf8(output.stdout)?.trim(), "configmap/kept");
    applies_definitions_before_their_objects(&control_plane).await?;
    let directory = control_plane.dir().to_owned();
    drop(control_plane);
    ensure!(
        !directory.exists(),
        "{} was left behind",
        directory.display()
    );
    ensure!(
        processes_of(&directory)?.is_empty(),
        "servers were left behind"
    );
    Ok(())
}

const OBJECT_AND_DEFINITION: &str = r"
apiVersion: lab.test/v1
kind: Boat
metadata: {name: one, namespace: harbour}
spec: {length: 3}
---
# nothing but a comment
---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: boats.lab.test}
spec:
  group: lab.test
  names: {kind: Boat, plural: boats}
  scope: Namespaced
  versions:
  - name: v1
    served: true
    storage: true
    schema:
      openAPIV3Schema:
        type: object
        properties:
          spec: {type: object, properties: {length: {type: integer}}}
---
apiVersion: v1
kind: Namespace
metadata: {name: harbour}
";

async fn applies_definitions_before_their_objects(control_plane: &ControlPlane) -> Result<()> {
    let admin = control_plane.admin_client()?;
    let applied = apply_yaml(&admin, OBJECT_AND_DEFINITION).await?;
    let names: Vec<String> = applied.iter().map(ResourceExt::name_any).collect();
    assert_eq!(names, ["harbour", "boats.lab.test", "one"]);

    let unknown_field = OBJECT_AND_DEFINITION.replace("length: 3", "lenght: 3");
    match apply_yaml(&admin, &unknown_field).await {
        Err(ApplyError::Apply { object, .. }) => assert_eq!(object, "Boat one"),
        other => anyhow::bail!("an unknown field was accepted: {other:?}"),
    }
    let unknown_kind = "apiVersion: v1\nkind: Ship\nmetadata: {name: one}\n";
    match apply_yaml(&admin, unknown_kind).await {
        Err(ApplyError::Discover { kind, .. }) => assert_eq!(kind, "v1 Ship"),
        other => anyhow::bail!("an unknown kind was accepted: {other:?}"),
    }
    Ok(())
}

/// The test runs itself again in a child, which starts a control plane and is then killed.
#[tokio::test]
async fn a_killed_test_leaves_no_server_behind() -> Result<()> {
    if let Some(report) = std::env::var_os(CHILD_REPORT) {
        return hold_a_control_plane(Path::new(&report)).await;
    }
    let directory = tempfile::tempdir()?;
    let report = directory.path().join("report");
    let mut child = tokio::process::Command::new(std::env::current_exe()?)
        .args(["--exact", "a_killed_test_leaves_no_server_behind"])
        .env(CHILD_REPORT, &report)
        .stdout(Stdio::null())
        .kill_on_drop(true)
        .spawn()?;
    let held = wait_until("the child's control plane", START_BOUND, || async {
        Ok(Some(PathBuf::from(fs::read_to_string(&report)?)))
    })
    .await?;
    // Four servers, each below its supervisor.
    let found = processes_of(&held)?;
    ensure!(
        found.len() == 8,
        "the child's servers are not all there: {found:?}"
    );
    let in_memory = in_memory(&held)?;
    ensure!(
        in_memory.exists(),
        "etcd's data is not at {}",
        in_memory.display()
    );

    child.kill().await?;
    wait_until(
        "the servers of a killed test to end",
        CALL_BOUND,
        || async {
            let left = processes_of(&held)?;
            ensure!(left.is_empty(), "still there: {left:?}");
            Ok(Some(()))
        },
    )
    .await?;
    // No destructor ran in the child.
    fs::remove_dir_all(&held)?;
    Ok(())
}

async fn hold_a_control_plane(report: &Path) -> Result<()> {
    let control_plane = ControlPlane::start(ControlPlaneOptions::default()).await?;
    // Renamed into place: the parent must never read half of it.
    let draft = report.with_extension("draft");
    fs::write(&draft, control_plane.dir().as_os_str().as_encoded_bytes())?;
    fs::rename(&draft, report)?;
    // Until it is killed; the bound is for the case that it is not.
    tokio::time::sleep(START_BOUND).await;
    anyhow::bail!("nobody killed this process")
}

/// Where etcd's data of a control plane lies.
fn in_memory(directory: &Path) -> Result<PathBuf> {
    Ok(Path::new("/dev/shm").join(directory.file_name().context("no name")?))
}

/// The processes whose command line names the directory of a control plane, or etcd's of the same
/// name: servers and their supervisors.
fn processes_of(directory: &Path) -> Result<Vec<PathBuf>> {
    let name = directory
        .file_name()
        .and_then(|name| name.to_str())
        .context("not text")?;
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let path = entry?.path();
        // What ended meanwhile has no command line any more.
        let Ok(arguments) = fs::read(path.join("cmdline")) else {
            continue;
        };
        if String::from_utf8_lossy(&arguments).contains(name) {
            found.push(path);
        }
    }
    Ok(found)
}
