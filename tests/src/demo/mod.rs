//! The demo: every node of a cluster asks for a reboot, Slipway reboots them one after the other,
//! and everything is watched and judged.
//!
//! Owns the story, what is shown of it, and the judgement. Knows nothing of Slipway but its API,
//! as a user does. Exits with 1 if any promise was broken or the end did not come in time.
//! Called by the program `slipway-demo`, and that by `cargo xtask demo`.

pub mod chaos;
pub mod keep;
pub mod options;
pub mod promises;
#[cfg(test)]
mod promises_tests;
pub mod record;
mod rollout;
pub mod screen;
pub mod timeline;
pub mod watch;
pub mod workload;
pub mod world;

pub use options::DemoOptions;
pub use rollout::run;
