//! Tables: what one pass decides, rule by rule. One program, so that the world is compiled once and
//! a helper has one place.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::too_many_lines,
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a panic fails the test, and a table of cases is long"
)]

mod blockers;
mod budget;
mod calling_off;
mod cooperate;
mod endings;
mod excess;
mod failure;
mod forecast;
mod granting;
mod lint;
mod look;
mod marks;
mod notices;
mod operations;
mod order;
mod pauses;
mod reasons;
mod release;
mod rollout;
mod schedule;
mod slots;
mod triggers;
mod verify;
#[path = "../world/mod.rs"]
mod world;
