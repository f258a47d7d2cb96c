//! `kubectl reboot` as a person runs it, against a simulated cluster with the real operator.
#![allow(
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a panic fails the test; what a person sees is shown beside the result"
)]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use slipway_api::Phase;
use slipway_lab::control_plane::apply::apply_yaml;
use slipway_lab::simulated::{SimulatedCluster, SimulatedOptions};
use slipway_lab::wait::wait_until;

const BOUND: Duration = Duration::from_secs(90);

/// Never open while the test runs: a window of an hour that began two hours ago, every day.
fn night(now: jiff::Timestamp) -> String {
    let hour = |back: i8| (now.to_zoned(jiff::tz::TimeZone::UTC).hour() + 24 - back) % 24;
    let (start, end) = (hour(3), hour(2));
    format!(
        "
apiVersion: slipway.dev/v1alpha1
kind: RebootPolicy
metadata: {{name: nightly}}
spec:
  nodeSelector: {{}}
  schedule: {{windows: [{{start: '{start:02}:00', end: '{end:02}:00'}}]}}
"
    )
}

struct Plugin {
    program: PathBuf,
    kubeconfig: PathBuf,
}

impl Plugin {
    fn of(cluster: &SimulatedCluster) -> Result<Self> {
        let own = std::env::current_exe()?;
        let program = own
            .ancestors()
            .skip(1)
            .take(2)
            .map(|directory| directory.join("kubectl-reboot"))
            .find(|path| path.is_file())
            .context("kubectl-reboot is not built: cargo build --workspace --bins")?;
        Ok(Self {
            program,
            kubeconfig: cluster.control_plane().admin_kubeconfig().to_owned(),
        })
    }

    async fn run(&self, arguments: &[&str]) -> Result<Output> {
        let mut command = Command::new(&self.program);
        command
            .arg("--kubeconfig")
            .arg(&self.kubeconfig)
            .args(arguments);
        // The cluster's nodes live on this runtime: its thread is never blocked.
        Ok(tokio::task::spawn_blocking(move || command.output()).await??)
    }

    async fn says(&self, arguments: &[&str]) -> Result<String> {
        let output = self.run(arguments).await?;
        let errors = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{arguments:?}: {errors}");
        Ok(String::from_utf8(output.stdout)?)
    }

    async fn code(&self, arguments: &[&str]) -> Result<Option<i32>> {
        Ok(self.run(arguments).await?.status.code())
    }
}

fn examples() -> Result<Vec<PathBuf>> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples");
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

fn line<'a>(text: &'a str, name: &str) -> Result<&'a str> {
    text.lines()
        .find(|line| line.split_whitespace().next() == Some(name))
        .with_context(|| format!("no line for {name} in\n{text}"))
}

#[tokio::test]
async fn the_plugin_tells_when_and_why_and_holds_the_brakes() -> Result<()> {
    let cluster = SimulatedCluster::start(SimulatedOptions::with_nodes(3)).await?;
    cluster.wait_installed(BOUND).await?;
    let plugin = Plugin::of(&cluster)?;
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
    changes(&plugin).await?;
    brakes(&cluster, &plugin).await?;
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
    let one = plugin
        .says(&["plan", "-l", "kubernetes.io/hostname=n2"])
        .await?;
    ensure!(
        line(&one, "n2").is_ok() && line(&one, "n1").is_err(),
        "{one}"
    );
    let page = plugin.says(&["plan", "-o", "html"]).await?;
    ensure!(
        page.starts_with("<!DOCTYPE html>") && page.contains(">n1<"),
        "{page}"
    );
    in_a_browser(&page)?;

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

/// Opens the page in Chromium, where there is one: every node has its bar.
fn in_a_browser(page: &str) -> Result<()> {
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("plan.html");
    std::fs::write(&path, page)?;
    let url = format!("file://{}", path.display());
    let profile = format!(
        "--user-data-dir={}",
        directory.path().join("profile").display()
    );
    let arguments = [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--dump-dom",
        &profile,
        &url,
    ];
    let opened = match Command::new("chromium").args(arguments).output() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            println!("not run: chromium is not installed, so the page was not opened in a browser");
            return Ok(());
        }
        opened => opened?,
    };
    let document = String::from_utf8_lossy(&opened.stdout).into_owned();
    let bars = document.matches("class=\"start\"").count();
    ensure!(
        opened.status.success() && bars == 2,
        "{bars} bars in\n{document}"
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

async fn changes(plugin: &Plugin) -> Result<()> {
    let examples = examples()?;
    ensure!(examples.len() >= 5, "{examples:?}");
    for path in examples {
        let file = path.to_str().context("not UTF-8")?;
        let table = plugin.says(&["plan", "--all", "-f", file]).await?;
        println!("{file}\n{table}");
        let dated = ["n1", "n2", "n3"]
            .iter()
            .all(|node| line(&table, node).is_ok_and(has_date) || table.contains("PolicyConflict"));
        ensure!(dated, "{file}: a node without a date\n{table}");
        ensure!(table.contains("CHANGE"), "{file}\n{table}");
    }
    Ok(())
}

async fn brakes(cluster: &SimulatedCluster, plugin: &Plugin) -> Result<()> {
    let said = plugin.says(&["pause", "nightly"]).await?;
    ensure!(
        said == "rebootpolicy.slipway.dev/nightly paused\n",
        "{said}"
    );
    ensure!(
        plugin
            .says(&["pause", "nightly"])
            .await?
            .contains("no change")
    );
    let text = plugin.says(&["explain", "n1"]).await?;
    ensure!(
        text.contains("PolicyPaused") && text.contains("kubectl reboot resume"),
        "{text}"
    );
    ensure!(
        plugin
            .says(&["resume", "nightly"])
            .await?
            .contains("resumed")
    );

    ensure!(plugin.says(&["pause", "--all"]).await?.contains("paused"));
    ensure!(
        cluster.ledger().await?.spec.paused,
        "the ledger is not paused"
    );
    ensure!(
        plugin
            .says(&["plan"])
            .await?
            .contains("Everything is paused")
    );
    ensure!(plugin.says(&["resume", "--all"]).await?.contains("resumed"));
    ensure!(!cluster.ledger().await?.spec.paused, "the ledger is paused");
    ensure!(plugin.code(&["pause", "nobody"]).await? == Some(1));
    ensure!(plugin.code(&["pause"]).await? == Some(2));
    Ok(())
}
