//! Metrics of notifications.

use prometheus::{IntCounter, IntCounterVec, Opts, Registry};

use crate::notify::Counts;

/// How messages fare.
#[derive(Clone, Debug)]
pub(super) struct NotifyMetrics {
    told: IntCounterVec,
    dropped: IntCounter,
}

impl NotifyMetrics {
    pub(super) fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let told = Opts::new(
            "slipway_notifications_total",
            "Notifications by policy, form and result: delivered, failed (an attempt) or given_up.",
        );
        let metrics = Self {
            told: IntCounterVec::new(told, &["policy", "form", "result"])?,
            dropped: IntCounter::new(
                "slipway_notifications_dropped_total",
                "Notifications given up because too many waited.",
            )?,
        };
        registry.register(Box::new(metrics.told.clone()))?;
        registry.register(Box::new(metrics.dropped.clone()))?;
        Ok(metrics)
    }

    /// Series are born at 0 once the form is known: a rate exists from the first message on.
    pub(super) fn count(&self, policy: &str, form: Option<&str>, counts: Counts) {
        let Counts {
            delivered,
            failed,
            given_up,
            dropped,
        } = counts;
        self.dropped.inc_by(dropped);
        let results = [
            ("delivered", delivered),
            ("failed", failed),
            ("given_up", given_up),
        ];
        for (result, count) in results {
            if count > 0 || form.is_some() {
                let form = form.unwrap_or("unknown");
                self.told
                    .with_label_values(&[policy, form, result])
                    .inc_by(count);
            }
        }
    }
}
