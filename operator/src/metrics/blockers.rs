//! Metrics of blockers.

use std::collections::BTreeMap;

use prometheus::{IntCounterVec, IntGaugeVec, Opts, Registry};
use slipway_api::blockers::Probe;
use slipway_planner::PolicyVerdict;

/// Outcomes of a question.
const OUTCOMES: [&str; 3] = ["clear", "blocks", "failed"];

/// Who waits for which blocker, and how questions end.
#[derive(Clone, Debug)]
pub(super) struct BlockerMetrics {
    waiting: IntGaugeVec,
    asked: IntCounterVec,
}

impl BlockerMetrics {
    pub(super) fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let waiting = Opts::new(
            "slipway_blockers",
            "Nodes that wait for a blocker, by policy, blocker and reason.",
        );
        let asked = Opts::new(
            "slipway_blocker_asks_total",
            "Questions to blockers by kind and outcome.",
        );
        let metrics = Self {
            waiting: IntGaugeVec::new(waiting, &["policy", "blocker", "reason"])?,
            asked: IntCounterVec::new(asked, &["kind", "outcome"])?,
        };
        registry.register(Box::new(metrics.waiting.clone()))?;
        registry.register(Box::new(metrics.asked.clone()))?;
        // Nodes are watched, not asked about.
        for kind in Probe::KINDS.into_iter().filter(|kind| *kind != "nodes") {
            for outcome in OUTCOMES {
                metrics.asked.with_label_values(&[kind, outcome]).inc_by(0);
            }
        }
        Ok(metrics)
    }

    pub(super) fn asked(&self, kind: &str, outcome: &str) {
        self.asked.with_label_values(&[kind, outcome]).inc();
    }

    /// Series of blockers that have gone go too.
    pub(super) fn show(&self, policies: &BTreeMap<String, PolicyVerdict>) {
        self.waiting.reset();
        for (policy, verdict) in policies {
            for line in verdict.blocked_by.iter().flatten() {
                self.waiting
                    .with_label_values(&[policy.as_str(), &line.blocker, line.reason])
                    .set(super::signed(line.nodes));
            }
        }
    }
}
