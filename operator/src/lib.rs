//! Slipway's operator: who is rebooted when.
//!
//! One pass over everything, woken by any change, never per object:
//!
//! 1. [`observe`]: watches and quorum reads become a snapshot, with `gaps` for what is not known;
//! 2. `slipway_planner::plan`: pure; every node gets a verdict, and the plan its actions;
//! 3. `slipway_planner::check`: an independent judge; a plan that breaks an invariant is refused;
//! 4. [`apply`]: one executor per action, each of which proves its precondition by reading afresh
//!    and writes by compare-and-swap;
//! 5. `report`: status of leases and policies, events, metrics; no difference, no write.
//!
//! Beside the passes, and in the way of none: [`blockers`] are asked, and people are told ([`notify`]).
//!
//! [`election`] lets one replica at a time do this, for efficiency only: two at once are harmless.
//! The operator never touches a pod, and of a Node only labels of its own, the soft taint and what keeps
//! autoscalers away. Nothing is granted while admission is not proved to be in force. What it cannot see stops grants and second keys, and
//! is named at /readyz ([`health`]).

pub mod apply;
pub mod blockers;
pub mod config;
pub mod election;
mod events;
pub mod health;
pub mod metrics;
pub mod notify;
pub mod observe;
mod pass;
mod rate;
mod reach;
mod report;
pub mod runtime;

pub use config::Config;
pub use runtime::{RunError, run};
