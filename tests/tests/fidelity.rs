//! The in-memory API server answers as the real one does: scripted conversations, held with both.
//!
//! This is what makes the simulation mean something. A disagreement prints both answers.
#![allow(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::too_many_lines,
    clippy::needless_pass_by_value,
    reason = "tables of requests, which read best in one piece; a panic fails the test"
)]

#[path = "fidelity/basics.rs"]
mod basics;
#[path = "fidelity/conversation.rs"]
mod conversation;
#[path = "fidelity/evictions.rs"]
mod evictions;
#[path = "fidelity/leases.rs"]
mod leases;
#[path = "fidelity/ledger.rs"]
mod ledger;
#[path = "fidelity/lists.rs"]
mod lists;
#[path = "fidelity/nodes.rs"]
mod nodes;
#[path = "fidelity/normal.rs"]
mod normal;
#[path = "fidelity/patches.rs"]
mod patches;
#[path = "fidelity/pods.rs"]
mod pods;
#[path = "fidelity/policies.rs"]
mod policies;
#[path = "fidelity/status.rs"]
mod status;
#[path = "fidelity/watches.rs"]
mod watches;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use conversation::{Conversation, LEASES, LEDGERS, POLICIES, Server, hold_all};
use serde_json::json;
use slipway_lab::chart;
use slipway_lab::control_plane::{ControlPlane, ControlPlaneOptions};
use slipway_lab::fake_api::FakeApi;
use slipway_lab::wait::wait_until;

/// The least number of conversations that the suite promises.
const PROMISED: usize = 200;

fn conversations() -> Vec<Conversation> {
    let mut all = basics::conversations();
    all.extend(status::conversations());
    all.extend(nodes::conversations());
    all.extend(pods::conversations());
    all.extend(leases::conversations());
    all.extend(ledger::conversations());
    all.extend(policies::conversations());
    all.extend(evictions::conversations());
    all.extend(lists::conversations());
    all.extend(watches::conversations());
    all
}

async fn real() -> Result<ControlPlane> {
    let control_plane = ControlPlane::start(ControlPlaneOptions {
        controller_manager: false,
        scheduler: false,
        // So that versions become too old while a conversation lasts.
        api_server_flags: vec![
            "--etcd-compaction-interval=1s".to_owned(),
            "--watch-cache-sizes=configmaps#0".to_owned(),
        ],
        ..Default::default()
    })
    .await?;
    let yaml = chart::repository().join("crds/yaml");
    let apply = control_plane
        .kubectl()?
        .args(["apply", "--server-side", "-f"])
        .arg(yaml)
        .output()?;
    ensure!(
        apply.status.success(),
        "{}",
        String::from_utf8_lossy(&apply.stderr)
    );
    let wait = control_plane
        .kubectl()?
        .args(["wait", "--for=condition=Established", "--timeout=30s"])
        .args(["crd", "-l", "app.kubernetes.io/name=slipway"])
        .output()?;
    ensure!(
        wait.status.success(),
        "{}",
        String::from_utf8_lossy(&wait.stderr)
    );
    let admin = control_plane.admin_client()?;
    for path in [LEASES, LEDGERS, POLICIES] {
        // A new kind is established a moment before its storage is ready: 429 until then.
        wait_until("the new kind to be listed", Duration::from_secs(30), || {
            let request = http::Request::get(path).body(Vec::new());
            let admin = admin.clone();
            async move { Ok(admin.request_text(request?).await.ok()) }
        })
        .await?;
    }
    // Pods need an account, and no controller makes one here.
    let account = json!({"apiVersion": "v1", "kind": "ServiceAccount",
        "metadata": {"name": "default"}, "automountServiceAccountToken": false});
    let accounts: kube::Api<k8s_openapi::api::core::v1::ServiceAccount> =
        kube::Api::namespaced(control_plane.admin_client()?, "default");
    accounts
        .create(
            &kube::api::PostParams::default(),
            &serde_json::from_value(account)?,
        )
        .await
        .context("failed to make the account default")?;
    Ok(control_plane)
}

#[expect(
    clippy::disallowed_methods,
    reason = "the conversations with the real server are in real time"
)]
fn fake() -> FakeApi {
    FakeApi::new(Arc::new(jiff::Timestamp::now), 1)
}

#[test]
fn at_least_200_conversations_have_different_names() {
    let all = conversations();
    let names: BTreeSet<&str> = all.iter().map(|one| one.name.as_str()).collect();
    assert_eq!(names.len(), all.len(), "a name is used twice");
    assert!(all.len() >= PROMISED, "{} conversations", all.len());
}

#[tokio::test]
async fn the_in_memory_server_answers_as_the_real_one() -> Result<()> {
    let control_plane = real().await?;
    // Part of a name: for whoever looks into one disagreement.
    let filter = slipway_lab::fake_api::chosen_conversation();
    let chosen: Vec<Conversation> = conversations()
        .into_iter()
        .filter(|one| one.name.contains(&filter))
        .collect();
    let real = Server {
        client: control_plane.admin_client()?,
        fake: None,
    };
    let real = hold_all(&real, &chosen).await?;
    let fake = fake();
    let fake = Server {
        client: fake.client(""),
        fake: Some(fake),
    };
    let fake = hold_all(&fake, &chosen).await?;
    let mut disagreements = Vec::new();
    for ((conversation, real), fake) in chosen.iter().zip(&real).zip(&fake) {
        if let Some(text) = conversation.difference(real, fake) {
            disagreements.push(text);
        }
    }
    println!(
        "{} conversations, {} answers, {} disagreements",
        chosen.len(),
        real.iter().map(Vec::len).sum::<usize>(),
        disagreements.len()
    );
    ensure!(
        disagreements.is_empty(),
        "{} of {} conversations disagree\n{}",
        disagreements.len(),
        chosen.len(),
        disagreements.join("\n")
    );
    control_plane.stop().await
}
