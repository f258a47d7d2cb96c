//! The operator and the agents together, as real processes on a real API server, with simulated
//! nodes: policies are edited, programs are killed, frozen and cut off, people interfere.

#[path = "protocol/behind.rs"]
mod behind;
#[path = "protocol/crashes.rs"]
mod crashes;
#[path = "protocol/drains.rs"]
mod drains;
#[path = "protocol/failures.rs"]
mod failures;
#[path = "protocol/hosts.rs"]
mod hosts;
#[path = "protocol/losses.rs"]
mod losses;
#[path = "protocol/lost.rs"]
mod lost;
#[path = "protocol/marks.rs"]
mod marks;
#[path = "protocol/operations.rs"]
mod operations;
#[path = "protocol/pauses.rs"]
mod pauses;
#[path = "protocol/people.rs"]
mod people;
#[allow(dead_code, reason = "what takes minutes is for the suite nightly")]
#[path = "protocol/planes.rs"]
mod planes;
#[path = "protocol/policies.rs"]
mod policies;
#[path = "protocol/requests.rs"]
mod requests;
#[path = "protocol/troubles.rs"]
mod troubles;
#[path = "protocol/verification.rs"]
mod verification;
#[path = "protocol/world.rs"]
mod world;
