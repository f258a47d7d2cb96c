//! The other faults of single requests, on a real API server: minutes, so not for each commit.
//! `cargo test -p slipway-lab --test nightly` runs them.

use std::time::Duration;

use anyhow::Result;
use slipway_lab::fault_proxy::Fault;

#[path = "protocol/requests.rs"]
mod requests;
#[allow(
    dead_code,
    reason = "most of it is for the scenarios of the suite protocol"
)]
#[path = "protocol/world.rs"]
mod world;

use requests::rounds;

#[tokio::test]
async fn f32_requests_and_answers_that_are_lost_end_in_one_proven_reboot() -> Result<()> {
    rounds(&[Fault::DropBefore, Fault::Reset, Fault::Truncate]).await
}

#[tokio::test]
async fn f31_requests_that_are_late_or_repeated_end_in_one_proven_reboot() -> Result<()> {
    rounds(&[
        Fault::Blackhole,
        Fault::Delay(Duration::from_secs(3)),
        Fault::Twice,
    ])
    .await
}

#[tokio::test]
async fn f33_f35_requests_that_are_refused_end_in_one_proven_reboot() -> Result<()> {
    rounds(&[
        Fault::Refuse(429, Some(1)),
        Fault::Refuse(429, None),
        Fault::Refuse(500, None),
    ])
    .await
}
