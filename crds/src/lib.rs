//! Slipway's API: the kinds that people and the three programs agree on.
//!
//! This crate owns the shape of [`RebootPolicy`], [`RebootLease`] and [`RebootLedger`], the legal
//! phase transitions ([`phase`]), the names on Nodes ([`names`]) and the validation of a policy
//! ([`validate`]). It never talks to a server, reads no clock and starts no task.
//! The operator, the agent, the planner and the CLI all depend on it; it depends on none of them.

#![allow(
    unreachable_pub,
    reason = "the derive for CRDs repeats each type in a private module"
)]
#![allow(
    clippy::duplicated_attributes,
    reason = "each printer column names its type"
)]

pub mod blockers;
pub mod boot;
pub mod checks;
pub mod drain_filter;
pub mod duration;
pub mod lease;
pub mod ledger;
pub mod names;
pub mod people;
pub mod phase;
pub mod policy;
pub mod schema;
pub mod template;
pub mod validate;
pub mod workload;

pub use duration::Duration;
pub use lease::{RebootLease, RebootLeaseSpec, RebootLeaseStatus};
pub use ledger::{Failure, PolicyRecord, RebootLedger, RebootLedgerSpec, RebootLedgerStatus, Slot};
pub use phase::{Phase, PhaseOwner};
pub use policy::{RebootPolicy, RebootPolicySpec, RebootPolicyStatus};
pub use validate::{PolicyError, ValidatedPolicy, validate_policy};
pub use workload::Workload;
