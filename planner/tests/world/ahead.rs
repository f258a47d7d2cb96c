//! A look ahead from where a world stands.

use jiff::SignedDuration;
use slipway_planner::forecast::{Durations, Forecast, forecast};

use super::World;

/// Reboots that take so many minutes: half of them, and nine of ten.
pub(crate) fn minutes(p50: i64, p90: i64) -> Durations {
    Durations {
        p50: SignedDuration::from_mins(p50),
        p90: SignedDuration::from_mins(p90),
    }
}

/// The forecast, where those of every policy take so long.
pub(crate) fn look_ahead(world: &World, durations: Durations) -> Forecast {
    let all = world.snapshot.policies.iter();
    let durations = all.map(|policy| (policy.uid.clone(), durations)).collect();
    forecast(&world.snapshot, &world.plan(), &durations, world.now)
}
