//! Kubernetes older than 1.33 is refused, by name, by both programs.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::json;
use slipway_client::serve::{Answer, serve};
use slipway_lab::process::Process;
use slipway_lab::wait::wait_until;

const BOUND: Duration = Duration::from_secs(20);

/// What a server was asked for.
type Asked = Arc<Mutex<BTreeSet<String>>>;

/// A server that says that it is this version, and knows nothing else.
async fn server(minor: &'static str) -> Result<(SocketAddr, Asked)> {
    let asked = Asked::default();
    let notes = Arc::clone(&asked);
    let routes = move |path: &str| {
        notes
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(path.to_owned());
        let info = json!({ "major": "1", "minor": minor, "gitVersion": "", "gitCommit": "",
            "gitTreeState": "", "buildDate": "", "goVersion": "", "compiler": "", "platform": "" });
        match path {
            "/version" => Answer {
                status: 200,
                content_type: "application/json",
                body: info.to_string(),
            },
            _ => Answer::text(500, "no"),
        }
    };
    let (address, _) = serve("127.0.0.1:0".parse()?, Arc::new(routes)).await?;
    Ok((address, asked))
}

#[tokio::test]
async fn kubernetes_before_1_33_is_refused_by_both_programs() -> Result<()> {
    let programs = [
        ("operator", env!("CARGO_BIN_EXE_lab-operator")),
        ("agent", env!("CARGO_BIN_EXE_simulated-agent")),
    ];
    for (minor, refused) in [("32", true), ("32+", true), ("33", false), ("36", false)] {
        for (name, program) in programs {
            let (address, asked) = server(minor).await?;
            let directory = tempfile::tempdir()?;
            let kubeconfig = directory.path().join("kubeconfig");
            let config = json!({
                "apiVersion": "v1", "kind": "Config", "current-context": "c",
                "clusters": [{ "name": "c", "cluster": { "server": format!("http://{address}") } }],
                "users": [{ "name": "u", "user": {} }],
                "contexts": [{ "name": "c", "context": { "cluster": "c", "user": "u" } }],
            });
            std::fs::write(&kubeconfig, config.to_string())?;
            let mut command = Command::new(program);
            command
                .env("SLIPWAY_KUBECONFIG", &kubeconfig)
                .env("SLIPWAY_LISTEN", "127.0.0.1:0")
                .env("SLIPWAY_LOG_FORMAT", "text")
                .env("SLIPWAY_STATE_DIR", directory.path().join("state"))
                .env("SLIPWAY_HOST_DIR", directory.path())
                .env("SLIPWAY_NODE_NAME", "n1");
            let log = directory.path().join("log");
            let mut process = Process::spawn(name, &command, &log)?;
            if refused {
                let status = process.wait(BOUND).await?;
                ensure!(!status.success(), "{name} on 1.{minor}: {status}");
                let said = process.log_tail(20);
                let words = format!(
                    "refused to run: the API server is Kubernetes 1.{minor}, and Slipway needs 1.33"
                );
                ensure!(said.contains(&words), "{name} on 1.{minor}: {said}");
            } else {
                // It goes on to the next question, which this server cannot answer.
                let what = format!("{name} to go on with 1.{minor}");
                wait_until(&what, BOUND, || async {
                    let said = std::fs::read_to_string(&log)?;
                    ensure!(!said.contains("refused to run"), "{said}");
                    let asked = asked.lock().unwrap_or_else(PoisonError::into_inner);
                    let election = asked.iter().any(|path| path.contains("coordination"));
                    Ok((election || said.contains("ask who we are")).then_some(()))
                })
                .await?;
                process.kill()?;
            }
        }
    }
    Ok(())
}
