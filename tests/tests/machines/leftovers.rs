//! A test that is killed leaves no process, mount, network namespace or control group behind.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{ExitCode, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use slipway_lab::machines::{
    Lab, Machine, MachineKind, MachineOptions, control_groups_of, enter_lab_namespace,
    remove_leftovers,
};
use slipway_lab::wait::wait_until;

/// Makes this program the child of the scenario, and says where it reports.
const REPORT: &str = "SLIPWAY_LAB_MACHINES_CHILD_REPORT";
const BOUND: Duration = Duration::from_mins(1);

/// The child of the scenario, where this process is one: it starts machines and is then killed.
pub(crate) fn child() -> Option<ExitCode> {
    let report = PathBuf::from(std::env::var_os(REPORT)?);
    match hold_machines(&report) {
        Ok(()) => eprintln!("nobody killed this process"),
        Err(error) => eprintln!("{error:#}"),
    }
    Some(ExitCode::FAILURE)
}

fn hold_machines(report: &Path) -> Result<()> {
    enter_lab_namespace()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let lab = Lab::open()?;
        let mut machines = Vec::new();
        for number in 1..=2 {
            let options = MachineOptions::new(number, MachineKind::Plain);
            machines.push(Machine::start(&lab, &options)?);
        }
        for machine in &machines {
            machine.wait_booted().await?;
        }
        let draft = report.with_extension("draft");
        fs::write(&draft, lab.id())?;
        fs::rename(&draft, report)?;
        // Until it is killed; the bound is for the case that it is not.
        tokio::time::sleep(BOUND).await;
        Ok(())
    })
}

pub(crate) async fn a_killed_test_leaves_nothing_behind() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let report = directory.path().join("report");
    let mut child = tokio::process::Command::new(std::env::current_exe()?)
        .env(REPORT, &report)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .spawn()?;
    let pid = child.id().context("the child has ended")?;
    let id = wait_until("the child's machines", BOUND, || async {
        Ok(Some(fs::read_to_string(&report)?))
    })
    .await?;
    let network = fs::read_link(format!("/proc/{pid}/ns/net"))?;
    let mounts = fs::read_link(format!("/proc/{pid}/ns/mnt"))?;
    ensure!(
        network != fs::read_link("/proc/self/ns/net")?,
        "not in a network of its own"
    );
    let found = processes(&id, &network, &mounts)?;
    ensure!(
        found.len() > 10,
        "the child's machines are not there: {found:?}"
    );

    child.kill().await?;
    // A namespace lives as long as a process in it, and a mount as long as its namespace.
    wait_until("everything of a killed test to end", BOUND, || async {
        let left = processes(&id, &network, &mounts)?;
        ensure!(left.is_empty(), "still there: {left:?}");
        Ok(Some(()))
    })
    .await?;
    let in_host = fs::read_to_string("/proc/1/mountinfo")?;
    ensure!(!in_host.contains(&id), "a mount reached this computer");

    ensure!(
        !control_groups_of(&id)?.is_empty(),
        "the machines had no control groups"
    );
    if remove_leftovers()? == 0 {
        bail!("the next lab found nothing to remove");
    }
    let left = control_groups_of(&id)?;
    ensure!(left.is_empty(), "the next lab left {left:?}");
    Ok(())
}

/// The processes in one of the namespaces, or in a control group of the lab.
fn processes(id: &str, network: &Path, mounts: &Path) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let path = entry?.path();
        let is_there = |file: &str, namespace: &Path| {
            fs::read_link(path.join(file)).is_ok_and(|link| link == namespace)
        };
        let in_group =
            fs::read_to_string(path.join("cgroup")).is_ok_and(|groups| groups.contains(id));
        if in_group || is_there("ns/net", network) || is_there("ns/mnt", mounts) {
            let name = fs::read_to_string(path.join("comm")).unwrap_or_default();
            // A killed process may wait for its parent to notice; it holds nothing any more.
            let stat = fs::read_to_string(path.join("stat")).unwrap_or_default();
            if !stat.is_empty() && !stat.contains(") Z ") {
                found.push(format!("{} {}", path.display(), name.trim()));
            }
        }
    }
    Ok(found)
}
