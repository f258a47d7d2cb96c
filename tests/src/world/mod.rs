//! The seeded simulation: real operators and agents on virtual time, against the in-memory API
//! server, with everything that may go wrong.
//!
//! Owns the world around the programs: machines, kubelets, a workload, people, the network between
//! them, and the invariants that are asked after every write. One seed is one history.
//! Called by the suite `simulation`.

mod cluster;
mod faults;
mod humans;
pub mod invariants;
mod machine;
mod programs;
mod record;
mod rng;
mod run;
mod time;
pub mod view;

pub use faults::KINDS as NETWORK_FAULTS;
pub use run::{Outcome, run};
