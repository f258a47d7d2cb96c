//! The lease protocol as an exhaustive model.
//!
//! Everything that operators, agents, machines, people and time can do, in every order, with old
//! caches, with crashes between any two writes and with writes that land after their sender's death:
//! for a few nodes and a few faults, completely. What is decided is decided by the programs' own
//! functions: the phase table and the fencing predicates of `slipway-api`, the agent's `decide` and
//! its Node patches, the planner's `plan`, `budget`, `clear` and `verify`. What is modelled is what
//! lies between: API server, executors, and who may be slow.
//!
//! Left out: several policies, windows and blockers (one policy's no is a revoke), the loss of the
//! ledger, of a journal or of a Node object, the control plane's own limit, annotations that people
//! edit, and pods that come back to a cordoned node. The CRD's rules are restated in `writes`.
//!
//! Called by its tests on every commit and by the program `slipway-model`; nothing depends on it.

pub mod agent;
pub mod canon;
pub mod configuration;
pub mod decision;
pub mod explore;
pub mod fencing;
pub mod model;
pub mod mutant;
pub mod objects;
pub mod operator;
pub mod planning;
pub mod property;
pub mod rules;
pub mod state;
pub mod world;
mod writes;
