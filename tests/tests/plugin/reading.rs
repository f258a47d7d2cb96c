//! What the plugin says: plan, explain and status, in every format.

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use slipway_api::Phase;
use slipway_lab::control_plane::apply::apply_yaml;
use slipway_lab::plugin::Plugin;
use slipway_lab::simulated::{SimulatedCluster, SimulatedOptions};
use slipway_lab::wait::wait_until;

use crate::{BOUND, line, night};

fn examples() -> Result<Vec<PathBuf>> {
    let directory = slipway_lab::chart::repository().join("examples");
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        if std::fs::read_to_string(&path)?.contains("\nkind: RebootPolicy\n") {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

fn has_date(text: &str) -> bool {
    text.split_whitespace().any(|word| {
        word.trim_start_matches('(')
            .parse::<jiff::civil::Date>()
            .is_ok()
    })
}

#[tokio::test]
async fn the_plugin_tells_when_and_why() -> Result<()> {
    let cluster = SimulatedCluster::start(SimulatedOptions::with_nodes(3)).await?;
    cluster.wait_installed(BOUND).await?;
    let plugin = Plugin::of_admin(&cluster)?;
    ensure!(
        plugin
            .says(&["plan"])
            .await?
            .contains("There is no RebootPolicy")
    );
    ensure!(
        plugin
            .says(&["status"])
            .await?
            .contains("No node has needed")
    );

    apply_yaml(&cluster.client(), &night(slipway_client::clock::wall())).await?;
    cluster.set_sentinel("n1")?;
    cluster.set_sentinel("n2")?;
    for node in ["n1", "n2"] {
        cluster
            .wait_lease(node, "waits for its window", BOUND, |lease| {
                let status = lease.status.as_ref();
                lease.phase() == Phase::Pending
                    && status.is_some_and(|status| status.reason == "WindowClosed")
            })
            .await?;
    }
    foretells(&cluster).await?;
    plans(&plugin).await?;
    explains(&plugin).await?;
    wide(&plugin).await?;
    // Below every example: each is planned as if it alone were there.
    yields(&cluster).await?;
    changes(&plugin).await?;
    cluster.stop().await
}

/// The operator says the same in status.
async fn foretells(cluster: &SimulatedCluster) -> Result<()> {
    let lease = cluster
        .wait_lease("n2", "is told when", BOUND, |lease| {
            let status = lease.status.as_ref();
            status.is_some_and(|status| status.expected.is_some())
        })
        .await?;
    let expected = lease.status.and_then(|status| status.expected);
    let expected = expected.context("no range")?;
    for time in [&expected.from, &expected.to] {
        ensure!(
            time.0.as_second() % 300 == 0,
            "{expected:?} is not told coarsely"
        );
    }
    let policies: kube::Api<slipway_api::RebootPolicy> = kube::Api::all(cluster.client());
    wait_until("the policy's forecast", BOUND, || async {
        let status = policies.get("nightly").await?.status.unwrap_or_default();
        let feasible = status
            .conditions
            .iter()
            .any(|condition| condition.type_ == "Feasible" && condition.status == "True");
        let told = status
            .forecast
            .is_some_and(|forecast| forecast.all_done_by.is_some());
        Ok((feasible && told).then_some(()))
    })
    .await
}

async fn plans(plugin: &Plugin) -> Result<()> {
    let table = plugin.says(&["plan"]).await?;
    println!("{table}");
    let row = line(&table, "n1")?;
    ensure!(
        row.contains("nightly") && row.contains("WindowClosed") && has_date(row),
        "{row}"
    );
    ensure!(
        table.lines().all(|line| line.trim_end() == line),
        "blanks at the end of a line"
    );
    ensure!(
        line(&table, "n3").is_err(),
        "a node that asks for nothing is in the plan"
    );
    ensure!(line(&plugin.says(&["plan", "--all"]).await?, "n3").is_ok());

    let wide = plugin.says(&["plan", "-o", "wide"]).await?;
    ensure!(
        wide.contains("MESSAGE") && wide.contains("the next opens at"),
        "{wide}"
    );
    let json: Value = serde_json::from_str(&plugin.says(&["plan", "-o", "json"]).await?)?;
    let nodes = json["nodes"].as_array().context("no nodes")?;
    ensure!(
        nodes.len() == 2 && nodes[0]["expected"]["from"].is_string(),
        "{json}"
    );
    let yaml: serde_yaml::Value =
        serde_yaml::from_str(&plugin.says(&["plan", "-o", "yaml"]).await?)?;
    ensure!(yaml["policies"][0]["name"] == "nightly");
    for selector in [
        "kubernetes.io/hostname=n2",
        "kubernetes.io/hostname notin (n1),kubernetes.io/hostname",
    ] {
        let one = plugin.says(&["plan", "-l", selector]).await?;
        ensure!(
            line(&one, "n2").is_ok() && line(&one, "n1").is_err(),
            "{selector}: {one}"
        );
    }
    let page = plugin.says(&["plan", "-o", "html"]).await?;
    ensure!(
        page.starts_with("<!DOCTYPE html>") && page.contains("data-node=\"n1\""),
        "{page}"
    );

    let status = plugin.says(&["status"]).await?;
    println!("{status}");
    ensure!(line(&status, "n1")?.contains("Pending"), "{status}");
    let json: Value = serde_json::from_str(&plugin.says(&["status", "-o", "json"]).await?)?;
    ensure!(
        json["leases"].as_array().is_some_and(|all| all.len() == 2),
        "{json}"
    );
    Ok(())
}

async fn explains(plugin: &Plugin) -> Result<()> {
    let text = plugin.says(&["explain", "n1"]).await?;
    println!("{text}");
    for part in [
        "WindowClosed",
        "cleared by: Time: the next window",
        "Expected:",
        "Pending",
    ] {
        ensure!(text.contains(part), "no {part:?} in\n{text}");
    }
    let idle = plugin.says(&["explain", "n3"]).await?;
    ensure!(idle.contains("nothing asks for a reboot"), "{idle}");
    ensure!(plugin.code(&["explain", "n9"]).await? == Some(1));
    ensure!(plugin.code(&["explain"]).await? == Some(2));
    ensure!(plugin.code(&["plan", "--context", "nowhere"]).await? == Some(1));
    ensure!(plugin.code(&["plan", "-f", "/nowhere.yaml"]).await? == Some(1));
    Ok(())
}

/// The present policy outranks nothing any more, and nodes are in the pools that examples name.
async fn yields(cluster: &SimulatedCluster) -> Result<()> {
    let policies: kube::Api<slipway_api::RebootPolicy> = kube::Api::all(cluster.client());
    let last = serde_json::json!({ "spec": { "priority": -1_000_000 } });
    let params = kube::api::PatchParams::default();
    let patch = kube::api::Patch::Merge(last);
    policies.patch("nightly", &params, &patch).await?;
    let nodes: kube::Api<k8s_openapi::api::core::v1::Node> = kube::Api::all(cluster.client());
    for (node, pool) in [("n1", "web"), ("n2", "batch")] {
        let labels = serde_json::json!({ "metadata": { "labels": { "pool": pool } } });
        let patch = kube::api::Patch::Merge(labels);
        nodes.patch(node, &params, &patch).await?;
    }
    Ok(())
}

async fn changes(plugin: &Plugin) -> Result<()> {
    let examples = examples()?;
    ensure!(examples.len() >= 5, "{examples:?}");
    for path in &examples {
        let file = path.to_str().context("not UTF-8")?;
        let table = plugin.says(&["plan", "--all", "-f", file]).await?;
        println!("{file}\n{table}");
        let name = path.file_stem().and_then(|name| name.to_str());
        let name = name.context("not UTF-8")?;
        let mut planned = false;
        for node in ["n1", "n2", "n3"] {
            let row = line(&table, node)?;
            ensure!(has_date(row), "{file}: no date\n{table}");
            planned |= row.split_whitespace().nth(1) == Some(name);
        }
        ensure!(planned, "{file}: no node obeys it\n{table}");
        ensure!(
            table.contains("CHANGE") && table.contains("Difference to the present: "),
            "{file}\n{table}"
        );
    }
    Ok(())
}

/// What the operator reports, with the columns of `-o wide`.
async fn wide(plugin: &Plugin) -> Result<()> {
    let status = plugin.says(&["status", "-o", "wide"]).await?;
    let head = line(&status, "NODE")?;
    ensure!(
        head.contains("FENCE") && head.contains("MESSAGE"),
        "{status}"
    );
    let selected = plugin
        .says(&["status", "-l", "kubernetes.io/hostname in (n2)"])
        .await?;
    ensure!(
        line(&selected, "n2").is_ok() && line(&selected, "n1").is_err(),
        "{selected}"
    );
    ensure!(plugin.code(&["status", "-l", "a in b"]).await? == Some(1));
    Ok(())
}
