//! Programs that cannot see the cluster say which thing is missing, keep trying, and never reboot.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use slipway_lab::control_plane::certificates::Authority;
use slipway_lab::control_plane::{ControlPlane, ControlPlaneOptions};
use slipway_lab::process::Process;
use slipway_lab::simulated::HostDirectory;
use slipway_lab::wait::wait_until;

const BOUND: Duration = Duration::from_mins(1);

/// What is wrong, and what the operator and the agent must say about it.
struct Trouble {
    name: &'static str,
    kubeconfig: PathBuf,
    operator: &'static str,
    agent: &'static str,
}

fn beside(name: &str) -> Result<PathBuf> {
    let own = std::env::current_exe()?;
    own.ancestors()
        .skip(1)
        .take(2)
        .map(|directory| directory.join(name))
        .find(|path| path.is_file())
        .with_context(|| format!("{name} is not built"))
}

fn operator(trouble: &Trouble, directory: &Path) -> Result<Process> {
    let mut command = Command::new(beside("slipway-operator")?);
    command
        .env("SLIPWAY_KUBECONFIG", &trouble.kubeconfig)
        .env("SLIPWAY_IDENTITY", "alone")
        .env("SLIPWAY_LISTEN", "127.0.0.1:0")
        .env("SLIPWAY_LOG_FORMAT", "text");
    Process::spawn(
        "operator",
        &command,
        &directory.join(format!("{}-operator.log", trouble.name)),
    )
}

fn agent(trouble: &Trouble, directory: &Path, host: &HostDirectory) -> Result<Process> {
    let mut command = Command::new(beside("simulated-agent")?);
    command
        .env("SLIPWAY_KUBECONFIG", &trouble.kubeconfig)
        .env("SLIPWAY_HOST_DIR", host.root())
        .env("SLIPWAY_BOOT_ID_FILE", host.boot_id_file())
        .env("SLIPWAY_SENTINELS", host.sentinel())
        .env("SLIPWAY_STATE_DIR", host.state())
        .env("SLIPWAY_NODE_NAME", "n1")
        .env("SLIPWAY_SETTLE", "100ms")
        .env("SLIPWAY_LISTEN", "127.0.0.1:0")
        .env("SLIPWAY_LOG_FORMAT", "text");
    Process::spawn(
        "agent",
        &command,
        &directory.join(format!("{}-agent.log", trouble.name)),
    )
}

/// Waits until a program's log says the words, and that the program is still there.
async fn says(process: &mut Process, words: &str) -> Result<()> {
    let log = process.log().to_owned();
    wait_until(
        &format!("{words:?} in {}", log.display()),
        BOUND,
        || async {
            let text = std::fs::read_to_string(&log)?;
            Ok(text.contains(words).then_some(()))
        },
    )
    .await?;
    ensure!(
        process.is_running(),
        "the program gave up: {}",
        process.log_tail(5)
    );
    Ok(())
}

fn edited(
    kubeconfig: &Path,
    copy: &Path,
    edit: impl Fn(&mut serde_json::Value),
) -> Result<PathBuf> {
    let mut document = serde_json::from_str(&std::fs::read_to_string(kubeconfig)?)?;
    edit(&mut document);
    std::fs::write(copy, document.to_string())?;
    Ok(copy.to_owned())
}

#[tokio::test]
async fn a_program_without_crds_permission_trust_or_server_names_it_and_goes_on_trying()
-> Result<()> {
    let control_plane = ControlPlane::start(ControlPlaneOptions {
        controller_manager: false,
        scheduler: false,
        ..ControlPlaneOptions::default()
    })
    .await?;
    let directory = tempfile::tempdir()?;
    let admin = control_plane.admin_kubeconfig();
    let stranger = base64_of(&Authority::new()?.certificate());
    let troubles = [
        Trouble {
            name: "crds",
            kubeconfig: admin.to_owned(),
            operator: "install the CRDs",
            agent: "CRD",
        },
        Trouble {
            name: "permission",
            kubeconfig: control_plane.kubeconfig_for("nobody", &[])?,
            operator: "not permitted",
            agent: "not permitted",
        },
        Trouble {
            name: "trust",
            kubeconfig: edited(
                admin,
                &directory.path().join("trust.kubeconfig"),
                |document| {
                    document["clusters"][0]["cluster"]["certificate-authority-data"] =
                        stranger.clone().into();
                },
            )?,
            operator: "certificate is not trusted",
            agent: "certificate",
        },
        Trouble {
            name: "server",
            kubeconfig: edited(
                admin,
                &directory.path().join("server.kubeconfig"),
                |document| {
                    document["clusters"][0]["cluster"]["server"] = "https://127.0.0.1:1".into();
                },
            )?,
            operator: "cannot be reached",
            agent: "onnect",
        },
    ];
    for trouble in &troubles {
        let host = HostDirectory::new(directory.path().join(trouble.name));
        host.create()?;
        std::fs::write(
            host.boot_id_file(),
            "11111111-2222-3333-4444-555555555555\n",
        )?;
        std::fs::write(host.sentinel(), "")?;
        let mut operator = operator(trouble, directory.path())?;
        let mut agent = agent(trouble, directory.path(), &host)?;
        says(&mut operator, trouble.operator)
            .await
            .context(trouble.name)?;
        says(&mut agent, trouble.agent)
            .await
            .context(trouble.name)?;
        ensure!(host.calls()? == 0, "{}: a reboot was called", trouble.name);
    }
    control_plane.stop().await
}

fn base64_of(text: &str) -> String {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.encode(text)
}
