//! What the agent's pod may count on: from a pod without any capability, the machine's boot id and
//! sentinel are read, files outlive a reboot, and logind reboots the machine.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use slipway_lab::machines::{Cluster, ClusterOptions, Machine};
use slipway_lab::wait::wait_until;

const BOUND: Duration = Duration::from_mins(1);

/// The security context and mounts are those of the agent. Its program is a shell, with the
/// machine's own programs and libraries: the image holds none.
const PROBE: &str = r"
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: probe}
spec:
  selector: {matchLabels: {app: probe}}
  template:
    metadata: {labels: {app: probe}}
    spec:
      terminationGracePeriodSeconds: 1
      tolerations: [{operator: Exists}]
      securityContext: {runAsUser: 0, runAsGroup: 0, seccompProfile: {type: RuntimeDefault}}
      containers:
      - name: probe
        image: localhost/web:1
        imagePullPolicy: Never
        command: [/usr/bin/sh, -ec]
        args:
        - |
          cat /host/kernel-random/boot_id >> /var/lib/slipway/boots
          exec sleep 1000
        env: [{name: PATH, value: /usr/bin}]
        securityContext:
          allowPrivilegeEscalation: false
          readOnlyRootFilesystem: true
          capabilities: {drop: [ALL]}
        volumeMounts:
        - {name: run, mountPath: /host/run, readOnly: true}
        - {name: kernel-random, mountPath: /host/kernel-random, readOnly: true}
        - {name: state, mountPath: /var/lib/slipway}
        - {name: usr, mountPath: /usr, readOnly: true}
        - {name: lib, mountPath: /lib, readOnly: true}
        - {name: lib64, mountPath: /lib64, readOnly: true}
      volumes:
      - {name: run, hostPath: {path: /run, type: Directory}}
      - {name: kernel-random, hostPath: {path: /proc/sys/kernel/random, type: Directory}}
      - {name: state, hostPath: {path: /var/lib/slipway, type: DirectoryOrCreate}}
      - {name: usr, hostPath: {path: /usr}}
      - {name: lib, hostPath: {path: /usr/lib}}
      - {name: lib64, hostPath: {path: /usr/lib64}}
";

const REBOOT: [&str; 8] = [
    "busctl",
    "--address=unix:path=/host/run/dbus/system_bus_socket",
    "call",
    "org.freedesktop.login1",
    "/org/freedesktop/login1",
    "org.freedesktop.login1.Manager",
    "Reboot",
    "b",
];

pub(crate) async fn a_pod_without_capabilities_reads_and_reboots_its_machine() -> Result<()> {
    let cluster = Cluster::start(ClusterOptions::new(1)?).await?;
    let machine = cluster.machine(1)?;
    cluster.apply(PROBE).await?;
    let before = machine.boot_id().context("n1 is not up")?;
    wait_boots(machine, &[&before]).await?;

    // A sentinel that appears later is seen through the mounted directory.
    let sentinel = ["test", "-e", "/host/run/reboot-required"];
    let seen = exec(&cluster, &sentinel).await;
    ensure!(seen.is_err(), "a sentinel that is not there was seen");
    machine.write_file("/run/reboot-required", "").await?;
    exec(&cluster, &sentinel).await?;

    let reboot: Vec<&str> = REBOOT.into_iter().chain(["false"]).collect();
    exec(&cluster, &reboot).await?;
    let after = cluster.wait_rebooted(1, &before).await?;
    wait_boots(machine, &[&before, &after]).await?;
    ensure!(
        machine
            .exec(&["test", "-e", "/run/reboot-required"])
            .await
            .is_err(),
        "the sentinel outlived the reboot"
    );
    cluster.stop();
    Ok(())
}

/// Runs a command in the pod.
async fn exec(cluster: &Cluster, command: &[&str]) -> Result<String> {
    let arguments: Vec<&str> = ["exec", "daemonset/probe", "--"]
        .into_iter()
        .chain(command.iter().copied())
        .collect();
    cluster.kubectl(&arguments).await
}

/// Waits until the pods of the machine have seen just these boots.
async fn wait_boots(machine: &Machine, ids: &[&str]) -> Result<()> {
    wait_until("the pod to start", BOUND, || async {
        let boots = machine.exec(&["cat", "/var/lib/slipway/boots"]).await?;
        let boots: Vec<&str> = boots.lines().collect();
        ensure!(boots == ids, "the pods saw {boots:?}, not {ids:?}");
        Ok(Some(()))
    })
    .await
}
