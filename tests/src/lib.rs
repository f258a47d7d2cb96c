//! Slipway's lab: real control planes, real machines and simulated hosts, for tests and the demo.
//!
//! Owns everything a test needs around the code under test.
//! Never part of a release: nothing outside tests, the demo and `xtask` depends on it.
#![allow(
    clippy::disallowed_methods,
    clippy::print_stderr,
    reason = "test code: it reads the environment and the clock where it needs them, and tells the \
              person at the terminal where the logs of a failed run are"
)]

pub mod browser;
pub mod cache;
pub mod chart;
pub mod control_plane;
pub mod demo;
pub mod fake_api;
pub mod fault_proxy;
pub mod footprint;
pub mod images;
pub mod machines;
pub mod plugin;
pub mod process;
pub mod prometheus;
pub mod recording;
pub mod secrets;
pub mod simulated;
pub mod wait;
pub mod world;
