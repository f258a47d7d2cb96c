//! The clocks of this machine: the only reader of time in the programs.

use std::time::Duration;

use jiff::Timestamp;
use nix::time::{ClockId, clock_gettime};

use crate::simulate;

/// Wall time, for what people and other machines read. Read once per pass and handed on.
#[expect(
    clippy::disallowed_methods,
    reason = "this is the one reader of wall time"
)]
pub fn wall() -> Timestamp {
    simulate::ask(|world| world.wall()).unwrap_or_else(Timestamp::now)
}

/// Time since boot, suspension included, for every deadline.
///
/// Wall time may jump and `CLOCK_MONOTONIC` stands still while a virtual machine is suspended: a
/// leader that slept would believe its lease still holds (faults.md F18).
/// A kernel without the clock (none that runs a kubelet) gives zero: deadlines then never pass and
/// nothing is decided on time.
pub fn boottime() -> Duration {
    if let Some(simulated) = simulate::ask(|world| world.boottime()) {
        return simulated;
    }
    clock_gettime(ClockId::CLOCK_BOOTTIME).map_or(Duration::ZERO, Duration::from)
}
