//! The operator and the agents together, as real processes on a real API server, with simulated
//! nodes: policies are edited, programs are killed, frozen and cut off, people interfere.
//!
//! Each rule of verification, failures and modes has a test here that fails without it: a mutant of
//! `tests/mutants` names the test, and `cargo xtask mutants --layer api` shows that it fails.
//!
//! | rule | test |
//! |---|---|
//! | `nodeReadyFor`, `settle`, `triggerCleared`; Ineffective counts for breaker and loop guard | `verification`: a node has to be ready for long enough |
//! | `podsReadyWithin` | `verification`: the pods that ran on a node |
//! | `verify.promql` | `verification`: a query has to agree |
//! | breaker: open with its reason, half-open with one node, closed by its success | `failures`: an open breaker lets one node try alone |
//! | breaker: `maxFailures`, `reset: Manual`, `resetAt` | `operations`: f10 |
//! | pauses that double | `failures`: a node that failed pauses |
//! | `maxRebootsPerNode`; mode Observe, mode Automatic | `failures`: s7 |
//! | a node that cannot be drained pauses, and others go on | `drains`: f57 |
//! | mode Approve | `operations`: f106 |
//! | a request: who and why in the grant, its window set aside, once | `operations`: a node that nothing asks for |
//! | a request: first in order; budget and breaker only where they are named | `operations`: a request goes first |
//! | a request that sets no window aside | `plugin`: a node without a lease is rebooted now |
//! | hold | `operations`: a hold undoes a drain; `plugin`: a held node stays up |
//! | release | `operations`: f11, f95 |

#[path = "protocol/behind.rs"]
mod behind;
#[path = "protocol/checks.rs"]
mod checks;
#[path = "protocol/cooperate.rs"]
mod cooperate;
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
