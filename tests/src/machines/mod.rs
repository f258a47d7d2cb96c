//! Real machines: systemd as their init, logind, a boot id of their own, and real reboots.
//!
//! Each is a systemd-nspawn container over a shared root file system, in a network that exists for
//! this process only. Three kinds: plain ones, ones that run a node agent as a service
//! ([`PlainCluster`], in which the harness plays the kubelet), and ones with a real kubelet
//! ([`Cluster`]). They share the kernel with this computer; a reboot ends and starts the container.
//! Never leaves anything behind: processes, mounts and interfaces end with the process, however it
//! ends; control groups and logs are removed by the next lab at the latest.
//! To look into a machine while it runs: its console and events lie in [`Lab::logs`]; a person joins
//! the lab's network with `nsenter --net --mount --target PID` of this process, and a machine with
//! `nsenter --all --target PID` of its `systemd`.
//! Called by the suite `machines` and the demo. Each begins with [`requirements`], which says why
//! machines cannot run here, and [`enter_lab_namespace`], the first thing in `main`.

mod cgroups;
mod cluster;
mod keeper;
mod kinds;
mod lab;
mod leader;
mod machine;
mod namespace;
mod plain;
mod recipe;
pub mod setup;
mod sources;
mod stand_in;
pub mod suite;

pub use cgroups::of_process as control_groups_of;
pub use cluster::{Cluster, ClusterOptions, READY_BOUND, boot_id, is_ready};
pub use keeper::{Event, EventKind};
pub use kinds::{AgentUnit, Bind, File, Kubelet, MachineKind, MachineOptions};
pub use lab::{Lab, remove_leftovers};
pub use machine::{BOOT_BOUND, Machine};
pub use namespace::{HOST_ADDRESS, MACHINES_MAX, enter_lab_namespace};
pub use plain::{PlainCluster, PlainOptions};
pub use setup::{NotRun, Step, requirements};
