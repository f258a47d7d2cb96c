//! The seeded simulation: real operators and agents on virtual time, against the in-memory API
//! server, with everything that may go wrong.
//!
//! Owns the world around the programs: machines, kubelets, a workload, people, the network between
//! them, and the invariants that are asked after every write. One seed is one history.
//! Called by the suites `simulation` and `crash-sweep`; its invariants also by [`crate::recording`].

mod cluster;
mod crash;
mod faults;
mod gates;
mod humans;
pub mod invariants;
mod machine;
mod objects;
mod programs;
mod record;
mod recorded;
mod rng;
mod run;
mod scenarios;
mod setup;
mod shrink;
mod sweep;
mod time;
pub mod view;

pub use crash::{Crash, Side};
pub use faults::KINDS as NETWORK_FAULTS;
pub use humans::deed_names;
pub use recorded::{Happening, Judged, judge};
pub use run::{Outcome, run, run_without};
pub use setup::Without;
pub use shrink::{Shrunk, shrink};
pub use sweep::{NodeEnding, Run, run_scenario, scenario_names};
