//! The faults of the control plane that each commit runs, in their shortest form.

use std::time::Duration;

use anyhow::Result;
use slipway_api::Phase;

use crate::planes::{
    PAST_EVERY_BOUND, etcd_stands_still, everything_is_of_the_past, history_is_compacted,
    watches_are_of_the_past,
};

#[tokio::test]
async fn f36_an_etcd_that_stands_still_during_a_drain_holds_everything_up_and_loses_nothing()
-> Result<()> {
    etcd_stands_still(Phase::Draining, PAST_EVERY_BOUND).await
}

#[tokio::test]
async fn f30_programs_whose_history_is_compacted_list_anew_and_go_on() -> Result<()> {
    history_is_compacted(Phase::Draining).await
}

#[tokio::test]
async fn f27_programs_whose_watches_show_the_past_take_no_second_slot() -> Result<()> {
    watches_are_of_the_past(Phase::Pending, Duration::from_secs(8)).await
}

#[tokio::test]
async fn f27_programs_that_reach_only_a_server_in_the_past_reboot_nothing() -> Result<()> {
    everything_is_of_the_past(PAST_EVERY_BOUND).await
}
