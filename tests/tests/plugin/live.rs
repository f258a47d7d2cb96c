//! `status --watch`: what changes is shown as it changes.

use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result, ensure};
use slipway_lab::control_plane::apply::apply_yaml;
use slipway_lab::plugin::Plugin;
use slipway_lab::simulated::{SimulatedCluster, SimulatedOptions};
use slipway_lab::wait::wait_until;

use crate::{BOUND, night};

/// The running plugin with the lines that it has printed; it ends with the test.
struct Watching {
    child: Child,
    lines: Arc<Mutex<Vec<String>>>,
}

impl Watching {
    fn start(plugin: &Plugin, arguments: &[&str]) -> Result<Self> {
        let mut command = plugin.command(arguments);
        let mut child = command.stdout(Stdio::piped()).spawn()?;
        let out = BufReader::new(child.stdout.take().context("no output")?);
        let lines = Arc::new(Mutex::new(Vec::new()));
        let kept = lines.clone();
        std::thread::spawn(move || {
            for line in out.lines().map_while(Result::ok) {
                kept.lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .push(line);
            }
        });
        Ok(Self { child, lines })
    }

    fn lines(&self) -> Vec<String> {
        let lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        lines.clone()
    }

    async fn wait(&self, what: &str, wanted: impl Fn(&str) -> bool) -> Result<()> {
        wait_until(what, BOUND, || async {
            let lines = self.lines();
            let found = lines.iter().any(|line| wanted(line));
            ensure!(found, "it has printed:\n{}", lines.join("\n"));
            Ok(Some(()))
        })
        .await
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn waits(line: &str, node: &str) -> bool {
    line.split_whitespace().next() == Some(node) && line.contains("WindowClosed")
}

#[tokio::test]
async fn status_stays_and_shows_each_change() -> Result<()> {
    let mut cluster = SimulatedCluster::start(SimulatedOptions::with_nodes(2)).await?;
    cluster.wait_installed(BOUND).await?;
    let plugin = Plugin::of_admin(&cluster)?;
    let selected = ["status", "--watch", "-l", "kubernetes.io/hostname=n2"];
    let all = Watching::start(&plugin, &["status", "-w"])?;
    let one = Watching::start(&plugin, &selected)?;
    let nowhere = plugin.refuses(&["status", "-w", "--as", "nobody"]).await?;
    ensure!(nowhere.contains("cannot list"), "{nowhere}");
    all.wait("the first look", |line| {
        line.contains("There is no RebootPolicy")
    })
    .await?;

    apply_yaml(&cluster.client(), &night(slipway_client::clock::wall())).await?;
    for node in ["n1", "n2"] {
        cluster.set_sentinel(node)?;
        all.wait(&format!("{node} to be shown"), |line| waits(line, node))
            .await?;
    }
    one.wait("the selected node", |line| waits(line, "n2"))
        .await?;
    ensure!(
        !one.lines().iter().any(|line| line.starts_with("n1")),
        "a node that was not selected is shown"
    );

    // The API server may be away for a while.
    cluster.control_plane_mut().kill_api_server()?;
    cluster.control_plane_mut().start_api_server().await?;
    plugin.says(&["pause", "nightly"]).await?;
    all.wait("what changed after the restart", |line| {
        line.starts_with("nightly") && line.ends_with("Paused")
    })
    .await?;
    // An API server waits for those who watch it.
    drop((all, one));
    cluster.stop().await
}
