//! Notifications against receivers that record every byte: each form, troubles, leaders that die,
//! and secrets that appear nowhere.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails where something is missing"
)]

#[path = "notifications/bench.rs"]
mod bench;
#[path = "notifications/cluster.rs"]
mod cluster;
#[path = "notifications/conditions.rs"]
mod conditions;
#[path = "notifications/forms.rs"]
mod forms;
#[path = "notifications/mail.rs"]
mod mail;
#[path = "notifications/receiver.rs"]
mod receiver;
#[path = "notifications/troubles.rs"]
mod troubles;
