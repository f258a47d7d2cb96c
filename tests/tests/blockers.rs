//! Blockers against real Prometheus and Alertmanager servers, against hostile ones, and in a cluster.
#![allow(
    clippy::unwrap_used,
    reason = "a test fails where something is missing"
)]

#[path = "blockers/bench.rs"]
mod bench;
#[path = "blockers/cluster.rs"]
mod cluster;
#[path = "blockers/hostile.rs"]
mod hostile;
#[path = "blockers/pods.rs"]
mod pods;
#[path = "blockers/real.rs"]
mod real;
#[path = "protocol/world.rs"]
#[allow(dead_code, reason = "each suite uses its part")]
mod world;
