//! How good forecasts are.

use jiff::Timestamp;
use prometheus::{Histogram, HistogramOpts, Registry};
use slipway_api::lease::ExpectedSpan;

/// Bounds in seconds: told in steps of five minutes, useless when a day off.
const BOUNDS: [f64; 7] = [0.0, 300.0, 900.0, 3600.0, 14_400.0, 43_200.0, 86_400.0];

/// The distance between what leases said and when reboots started.
#[derive(Clone, Debug)]
pub(super) struct ForecastMetrics {
    error: Histogram,
}

impl ForecastMetrics {
    pub(super) fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let options = HistogramOpts::new(
            "slipway_forecast_error_seconds",
            "How far the start of a reboot was from the range that its lease had told; 0 is within.",
        );
        let error = Histogram::with_opts(options.buckets(BOUNDS.to_vec()))?;
        registry.register(Box::new(error.clone()))?;
        Ok(Self { error })
    }

    /// A reboot starts for which the lease told this range.
    pub(super) fn started(&self, told: &ExpectedSpan, now: Timestamp) {
        let early = told.from.0.duration_since(now);
        let late = now.duration_since(told.to.0);
        let error = early.max(late).as_secs_f64();
        self.error.observe(error.max(0.0));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

    #[test]
    fn only_what_lies_outside_the_range_is_an_error() {
        let metrics = ForecastMetrics::new(&Registry::new()).unwrap();
        let at = |second| Timestamp::from_second(second).unwrap();
        let told = ExpectedSpan {
            from: Time(at(1000)),
            to: Time(at(2000)),
        };
        for (now, sum) in [(1500, 0.0), (400, 600.0), (2400, 1000.0)] {
            metrics.started(&told, at(now));
            assert!((metrics.error.get_sample_sum() - sum).abs() < 0.1, "{now}");
        }
        assert_eq!(metrics.error.get_sample_count(), 3);
    }
}
