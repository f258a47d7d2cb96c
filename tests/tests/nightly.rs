//! The other faults of single requests, and those of the control plane at every phase, on a real API
//! server: minutes, so not for each commit.
//! `cargo test -p slipway-lab --test nightly` runs them.

use std::time::Duration;

use anyhow::Result;
use slipway_api::Phase;
use slipway_lab::fault_proxy::Fault;

#[path = "protocol/planes.rs"]
mod planes;
#[path = "protocol/requests.rs"]
mod requests;
#[allow(
    dead_code,
    reason = "most of it is for the scenarios of the suite protocol"
)]
#[path = "protocol/world.rs"]
mod world;

use planes::{PAST_EVERY_BOUND, etcd_stands_still, watches_are_of_the_past};
use requests::rounds;
use world::PHASES;

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

#[tokio::test]
async fn f36_an_etcd_that_stands_still_at_any_phase_loses_nothing() -> Result<()> {
    for phase in PHASES {
        let ended = etcd_stands_still(phase, 2 * PAST_EVERY_BOUND).await;
        ended.map_err(|error| error.context(format!("at {phase}")))?;
    }
    Ok(())
}

#[tokio::test]
async fn f30_a_history_that_is_compacted_at_any_phase_is_listed_anew() -> Result<()> {
    for phase in [Phase::Pending, Phase::Draining, Phase::Rebooting] {
        let ended = planes::history_is_compacted(phase).await;
        ended.map_err(|error| error.context(format!("at {phase}")))?;
    }
    planes::a_server_missed_the_compaction().await
}

/// For longer than a minute: frozen servers go on sending bookmarks, of a version long past.
#[tokio::test]
async fn f27_watches_of_the_past_at_any_phase_let_nobody_go_twice() -> Result<()> {
    for phase in PHASES {
        let ended = watches_are_of_the_past(phase, Duration::from_secs(75)).await;
        ended.map_err(|error| error.context(format!("at {phase}")))?;
    }
    Ok(())
}

#[tokio::test]
async fn f27_programs_that_reach_only_a_server_in_the_past_for_long_reboot_nothing() -> Result<()> {
    planes::everything_is_of_the_past(Duration::from_mins(2)).await
}
