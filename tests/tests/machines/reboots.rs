//! Machines without a kubelet: they boot, reboot and keep their disks.

use std::time::Instant;

use anyhow::{Context, Result, ensure};
use slipway_lab::machines::{EventKind, Lab, Machine, MachineKind, MachineOptions};

/// Machines with these numbers, switched on.
fn start(lab: &std::sync::Arc<Lab>, numbers: std::ops::RangeInclusive<u8>) -> Result<Vec<Machine>> {
    numbers
        .map(|number| Machine::start(lab, &MachineOptions::new(number, MachineKind::Plain)))
        .collect()
}

pub(crate) async fn four_machines_boot_at_once() -> Result<()> {
    let lab = Lab::open()?;
    let started = Instant::now();
    let machines = start(&lab, 1..=4)?;
    let mut ids = Vec::new();
    for machine in &machines {
        ids.push(machine.wait_booted().await?);
    }
    println!("    four machines booted in {:?}", started.elapsed());
    ids.sort();
    ids.dedup();
    ensure!(ids.len() == 4, "machines share a boot id: {ids:?}");

    // They reach each other, and each has its own name.
    let first = machines.first().context("no machine")?;
    ensure!(
        first.exec(&["hostname"]).await?.trim() == "n1",
        "another name"
    );
    for other in machines.iter().skip(1) {
        let route = first
            .exec(&["ip", "route", "get", &other.address().to_string()])
            .await?;
        ensure!(
            route.contains("host0"),
            "no route to {}: {route}",
            other.name()
        );
    }
    Ok(())
}

pub(crate) async fn a_reboot_gives_a_new_boot_id_and_keeps_the_disk() -> Result<()> {
    let lab = Lab::open()?;
    let machine = Machine::start(&lab, &MachineOptions::new(1, MachineKind::Plain))?;
    let first = machine.wait_booted().await?;
    machine.write_file("/etc/lab/kept", "kept").await?;
    machine.write_file("/run/lost", "lost").await?;

    let started = Instant::now();
    let before = machine.reboot().await?;
    ensure!(before == first, "the boot id changed without a reboot");
    let second = machine.wait_booted_after(&first).await?;
    println!("    reboot to booted in {:?}", started.elapsed());
    ensure!(
        machine.exec(&["cat", "/etc/lab/kept"]).await? == "kept",
        "the disk changed"
    );
    ensure!(
        machine.exec(&["cat", "/run/lost"]).await.is_err(),
        "memory outlived a reboot"
    );

    // A power cut, and switched on again.
    machine.kill()?;
    ensure!(
        machine.boot_id().is_none(),
        "a killed machine has a boot id"
    );
    ensure!(
        machine.exec(&["true"]).await.is_err(),
        "a killed machine runs commands"
    );
    machine.power_on()?;
    let third = machine.wait_booted().await?;
    ensure!(third != second && third != first, "a boot id came back");
    ensure!(
        machine.exec(&["cat", "/etc/lab/kept"]).await? == "kept",
        "the disk changed"
    );

    machine.power_off().await?;
    let kinds: Vec<EventKind> = machine.events().iter().map(|event| event.kind).collect();
    ensure!(
        kinds
            == [
                EventKind::Started,
                EventKind::Rebooted,
                EventKind::Started,
                EventKind::Killed,
                EventKind::Started,
                EventKind::PoweredOff,
            ],
        "other events: {kinds:?}"
    );
    Ok(())
}
