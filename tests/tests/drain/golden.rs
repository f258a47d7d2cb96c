//! The drain filter against `kubectl drain` itself, over every shape of pod that the rules speak of.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Result, ensure};
use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::core::v1::{Node, Pod, ServiceAccount};
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::{Api, Client, ResourceExt};
use serde_json::{Value, json};
use slipway_api::drain_filter::{BlocksBecause, DrainRules, PodVerdict};
use slipway_api::lease::Grant;
use slipway_lab::control_plane::{ControlPlane, ControlPlaneOptions};
use slipway_lab::wait::wait_until;

use crate::bench::{BOUND, merge};

type Names = BTreeSet<String>;

/// Owner, volumes, phase and whether it is leaving: all of them with each other.
fn shapes(set_uid: &str) -> Vec<(Value, &'static str, bool)> {
    let owner = |kind: &str, controller: bool| {
        json!({"metadata": {"ownerReferences": [{"apiVersion": "apps/v1", "kind": kind, "name": "set",
            "uid": set_uid, "controller": controller}]}})
    };
    let owners = [
        json!({}),
        owner("ReplicaSet", true),
        owner("StatefulSet", true),
        owner("DaemonSet", true),
        owner("DaemonSet", false),
        json!({"metadata": {"annotations": {"kubernetes.io/config.mirror": "x"}}}),
    ];
    let volumes = [
        json!({}),
        json!({"spec": {"volumes": [{"name": "v", "emptyDir": {}}]}}),
        json!({"spec": {"volumes": [{"name": "v", "hostPath": {"path": "/x"}}]}}),
    ];
    let mut all = Vec::new();
    for owner in &owners {
        for volume in &volumes {
            for phase in ["Pending", "Running", "Succeeded", "Failed"] {
                for leaving in [false, true] {
                    let mut shape = owner.clone();
                    merge(&mut shape, volume);
                    all.push((shape, phase, leaving));
                }
            }
        }
    }
    all
}

struct World {
    control_plane: ControlPlane,
    client: Client,
}

impl World {
    async fn make() -> Result<Self> {
        // No controllers: nobody collects pods whose owners are only names.
        let control_plane = ControlPlane::start(ControlPlaneOptions {
            controller_manager: false,
            scheduler: false,
            ..ControlPlaneOptions::default()
        })
        .await?;
        let client = control_plane.admin_client()?;
        let world = Self {
            control_plane,
            client,
        };
        let post = PostParams::default();
        let nodes: Api<Node> = Api::all(world.client.clone());
        nodes
            .create(
                &post,
                &serde_json::from_value(json!({"metadata": {"name": "n1"}}))?,
            )
            .await?;
        let accounts: Api<ServiceAccount> = Api::default_namespaced(world.client.clone());
        let account = serde_json::from_value(json!({"metadata": {"name": "default"}}))?;
        accounts.create(&post, &account).await?;
        let sets: Api<DaemonSet> = Api::default_namespaced(world.client.clone());
        let set = json!({"metadata": {"name": "set"}, "spec": {
            "selector": {"matchLabels": {"set": "set"}},
            "template": {"metadata": {"labels": {"set": "set"}}, "spec": {
                "containers": [{"name": "c", "image": "localhost/none:1"}]}}}});
        let set = sets.create(&post, &serde_json::from_value(set)?).await?;
        let uid = set.metadata.uid.unwrap_or_default();
        for (number, (shape, phase, leaving)) in shapes(&uid).into_iter().enumerate() {
            world.make_pod(number, shape, phase, leaving).await?;
        }
        Ok(world)
    }

    async fn make_pod(
        &self,
        number: usize,
        shape: Value,
        phase: &str,
        leaving: bool,
    ) -> Result<()> {
        let name = format!("pod-{number:03}");
        let mut pod = json!({
            "metadata": {"name": name, "labels": {"half": (number % 2).to_string()}},
            "spec": {"nodeName": "n1", "containers": [{"name": "c", "image": "localhost/none:1"}]},
        });
        merge(&mut pod, &shape);
        if leaving {
            pod["metadata"]["finalizers"] = json!(["example.com/keep"]);
        }
        let pods: Api<Pod> = Api::default_namespaced(self.client.clone());
        pods.create(&PostParams::default(), &serde_json::from_value(pod)?)
            .await?;
        let status = Patch::Merge(json!({"status": {"phase": phase}}));
        pods.patch_status(&name, &PatchParams::default(), &status)
            .await?;
        if leaving {
            pods.delete(&name, &DeleteParams::default().grace_period(0))
                .await?;
        }
        Ok(())
    }

    async fn pods(&self) -> Result<Vec<Pod>> {
        let pods: Api<Pod> = Api::default_namespaced(self.client.clone());
        Ok(pods.list(&ListParams::default()).await?.items)
    }

    /// What kubectl says, with these flags.
    fn kubectl(&self, flags: &[&str]) -> Result<String> {
        let output = self
            .control_plane
            .kubectl()?
            .args(["drain", "n1", "--dry-run=server", "--ignore-daemonsets"])
            .args(flags)
            .output()?;
        let text = [output.stdout, output.stderr].concat();
        Ok(String::from_utf8(text)?)
    }

    /// The pods that kubectl would evict.
    fn evicted(&self, flags: &[&str]) -> Result<Names> {
        let flags = [&["--force", "--delete-emptydir-data"], flags].concat();
        let text = self.kubectl(&flags)?;
        let lines = text.lines();
        let evicting = lines.filter_map(|line| line.strip_prefix("evicting pod default/"));
        let names: Names = evicting
            .map(|rest| {
                rest.split_whitespace()
                    .next()
                    .unwrap_or_default()
                    .to_owned()
            })
            .collect();
        ensure!(!names.is_empty(), "kubectl evicts nothing: {text}");
        Ok(names)
    }

    /// The pods that we would wait for.
    async fn moved(&self, drain: &Value, later: Duration) -> Result<Names> {
        let grant = grant(drain)?;
        let now = slipway_client::clock::wall().checked_add(later)?;
        let rules = DrainRules::of(Some(&grant), "slipway-system", now);
        let pods = self.pods().await?;
        let moved = pods.iter().filter(|pod| rules.must_go(pod));
        Ok(moved.map(ResourceExt::name_any).collect())
    }

    /// The pods that are not leaving yet and that we would not evict because of this.
    async fn blocked(&self, drain: &Value, because: BlocksBecause) -> Result<Names> {
        let grant = grant(drain)?;
        let rules = DrainRules::of(
            Some(&grant),
            "slipway-system",
            slipway_client::clock::wall(),
        );
        let pods = self.pods().await?;
        let blocked = pods
            .iter()
            .filter(|pod| rules.judge(pod) == PodVerdict::Blocks(because));
        Ok(blocked.map(ResourceExt::name_any).collect())
    }

    /// The pods that kubectl names in its refusal, but for those that are leaving: we wait for them,
    /// whatever they are.
    async fn refused(&self, flag: &str, words: &str) -> Result<Names> {
        let text = self.kubectl(&[flag])?;
        ensure!(text.contains(words), "kubectl does not refuse: {text}");
        let pods = self.pods().await?;
        let staying = pods
            .iter()
            .filter(|pod| pod.metadata.deletion_timestamp.is_none());
        let refusal = text.split(words).nth(1).unwrap_or_default();
        Ok(staying
            .map(ResourceExt::name_any)
            .filter(|name| refusal.contains(&format!("default/{name}")))
            .collect())
    }
}

fn grant(drain: &Value) -> Result<Grant> {
    let grant = json!({"fence": 1, "grantedAt": "2026-01-01T00:00:00Z",
        "notAfter": "2026-01-01T01:00:00Z", "drain": drain, "reboot": {}, "verify": {}});
    Ok(serde_json::from_value(grant)?)
}

#[tokio::test]
async fn f58_the_filter_judges_every_shape_of_pod_as_kubectl_drain_does() -> Result<()> {
    let world = World::make().await?;
    let count = world.pods().await?.len();
    ensure!(count >= 60, "only {count} shapes");
    let now = Duration::ZERO;

    assert_eq!(world.moved(&json!({}), now).await?, world.evicted(&[])?);

    let half = json!({"podSelector": {"matchLabels": {"half": "1"}}});
    let expected = world.evicted(&["--pod-selector=half=1"])?;
    assert_eq!(world.moved(&half, now).await?, expected);

    // Old enough by both clocks: kubectl's is asked until it is.
    let skip = json!({"skipWaitForDeleteTimeout": "1s"});
    let ours = world.moved(&skip, Duration::from_mins(1)).await?;
    wait_until("kubectl to skip the same pods", BOUND, || async {
        let evicted = world.evicted(&["--skip-wait-for-delete-timeout=1"])?;
        ensure!(evicted == ours, "{evicted:?}, not {ours:?}");
        Ok(Some(()))
    })
    .await?;

    let unmanaged = json!({"unmanagedPods": "Block"});
    assert_eq!(
        world.blocked(&unmanaged, BlocksBecause::Unmanaged).await?,
        world
            .refused("--delete-emptydir-data", "declare no controller")
            .await?
    );
    let data = json!({"emptyDirData": "Block"});
    assert_eq!(
        world.blocked(&data, BlocksBecause::EmptyDir).await?,
        world.refused("--force", "local storage").await?
    );
    world.control_plane.stop().await
}
