//! The demo: a rollout of reboots over a whole cluster, watched and judged.

pub mod chaos;
pub mod options;
pub mod promises;
#[cfg(test)]
mod promises_tests;
pub mod record;
pub mod screen;
pub mod watch;
pub mod workload;
