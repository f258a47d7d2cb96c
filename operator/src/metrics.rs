//! Metrics: every family and every known label is born at 0, so that a rate exists from the start.

mod blockers;
mod forecast;
mod notify;

use std::collections::BTreeMap;

use jiff::Timestamp;
use prometheus::{
    Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
    TextEncoder,
};
use slipway_api::Phase;
use slipway_api::lease::ExpectedSpan;
use slipway_client::call::ErrorClass;
use slipway_planner::{Action, Gap, Need, Plan, Reason, Snapshot, breaker};

use crate::notify::Counts;
use blockers::BlockerMetrics;
use forecast::ForecastMetrics;
use notify::NotifyMetrics;

/// Outcomes of an action.
const OUTCOMES: [&str; 3] = ["applied", "skipped", "failed"];
/// Bounds of a pass in seconds: a debounce apart at best, some calls of 10 s at worst.
const PASS_BOUNDS: [f64; 9] = [0.005, 0.02, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0];

/// Every metric; clones share the values.
#[derive(Clone, Debug)]
pub struct Metrics {
    registry: Registry,
    nodes: IntGaugeVec,
    required: IntGaugeVec,
    kured: Option<IntGaugeVec>,
    phases: IntGaugeVec,
    decisions: IntCounterVec,
    allowed: IntGaugeVec,
    in_use: IntGaugeVec,
    breaker: IntGaugeVec,
    pass: Histogram,
    applied: IntCounterVec,
    errors: IntCounterVec,
    refused: IntCounter,
    leader: IntGauge,
    reboots: IntCounterVec,
    stuck: IntGauge,
    admission: IntGauge,
    events_dropped: IntCounter,
    blockers: BlockerMetrics,
    notify: NotifyMetrics,
    forecast: ForecastMetrics,
}

impl Metrics {
    /// Every family, at 0.
    ///
    /// # Errors
    /// A family that cannot be registered: a mistake in this file, which its test finds.
    pub fn new(kured_alias: bool) -> Result<Self, prometheus::Error> {
        let gauges = |name: &str, help: &str, labels: &[&str]| {
            IntGaugeVec::new(Opts::new(name, help), labels)
        };
        let counters = |name: &str, help: &str, labels: &[&str]| {
            IntCounterVec::new(Opts::new(name, help), labels)
        };
        let kured = kured_alias
            .then(|| {
                gauges(
                    "kured_reboot_required",
                    "1 if the node's OS requires a reboot.",
                    &["node"],
                )
            })
            .transpose()?;
        let pass = HistogramOpts::new("slipway_pass_duration_seconds", "Duration of a pass.");
        let registry = Registry::new();
        let metrics = Self {
            blockers: BlockerMetrics::new(&registry)?,
            notify: NotifyMetrics::new(&registry)?,
            forecast: ForecastMetrics::new(&registry)?,
            registry,
            nodes: gauges(
                "slipway_nodes",
                "Nodes by policy and state.",
                &["policy", "state"],
            )?,
            required: gauges("slipway_reboot_required", "1 if the host asks.", &["node"])?,
            kured,
            phases: gauges("slipway_lease_phase", "Leases by phase.", &["phase"])?,
            decisions: counters(
                "slipway_decisions_total",
                "Verdicts on nodes by reason, counted in every pass.",
                &["reason"],
            )?,
            allowed: gauges("slipway_allowed_disruptions", "The budget.", &["policy"])?,
            in_use: gauges(
                "slipway_budget_in_use",
                "Nodes that use the budget.",
                &["policy"],
            )?,
            breaker: gauges(
                "slipway_breaker_state",
                "The policy's breaker: 0 closed, 1 half-open, 2 open.",
                &["policy"],
            )?,
            pass: Histogram::with_opts(pass.buckets(PASS_BOUNDS.to_vec()))?,
            applied: counters(
                "slipway_apply_total",
                "Actions by outcome.",
                &["action", "outcome"],
            )?,
            errors: counters("slipway_errors_total", "Failed calls by class.", &["class"])?,
            refused: IntCounter::new(
                "slipway_check_refused_total",
                "Plans refused because they would break an invariant.",
            )?,
            leader: IntGauge::new("slipway_leader", "1 if this replica leads.")?,
            reboots: counters("slipway_reboots_total", "Reboots that ended.", &["outcome"])?,
            stuck: IntGauge::new("slipway_stuck_nodes", "Nodes that should be back.")?,
            admission: IntGauge::new(
                "slipway_admission_policies_missing",
                "Admission policies that are not proved to be in force; nothing is granted unless 0.",
            )?,
            events_dropped: IntCounter::new("slipway_events_dropped_total", "Events not sent.")?,
        };
        metrics.register()?;
        metrics.be_born();
        Ok(metrics)
    }

    fn register(&self) -> Result<(), prometheus::Error> {
        let gauges = [
            &self.nodes,
            &self.required,
            &self.phases,
            &self.allowed,
            &self.in_use,
            &self.breaker,
        ];
        for family in gauges.into_iter().chain(&self.kured) {
            self.registry.register(Box::new(family.clone()))?;
        }
        for family in [&self.decisions, &self.applied, &self.errors, &self.reboots] {
            self.registry.register(Box::new(family.clone()))?;
        }
        for gauge in [&self.leader, &self.stuck, &self.admission] {
            self.registry.register(Box::new(gauge.clone()))?;
        }
        for counter in [&self.refused, &self.events_dropped] {
            self.registry.register(Box::new(counter.clone()))?;
        }
        self.registry.register(Box::new(self.pass.clone()))
    }

    fn be_born(&self) {
        for phase in Phase::ALL {
            self.phases.with_label_values(&[phase.as_str()]).set(0);
        }
        for phase in Phase::ALL.into_iter().filter(|phase| phase.is_terminal()) {
            self.reboots.with_label_values(&[phase.as_str()]).inc_by(0);
        }
        for class in ErrorClass::ALL {
            self.errors.with_label_values(&[class.as_str()]).inc_by(0);
        }
        for action in Action::CODES {
            for outcome in OUTCOMES {
                self.applied.with_label_values(&[action, outcome]).inc_by(0);
            }
        }
    }

    /// Counts a failed call.
    pub fn error(&self, class: ErrorClass) {
        self.errors.with_label_values(&[class.as_str()]).inc();
    }

    /// Counts an action.
    pub fn action(&self, action: &Action, outcome: &str) {
        self.applied
            .with_label_values(&[action.code(), outcome])
            .inc();
    }

    /// Counts a question to a blocker.
    pub fn blocker_asked(&self, kind: &str, outcome: &str) {
        self.blockers.asked(kind, outcome);
    }

    /// Counts what became of messages; the form is `None` while it is not known.
    pub(crate) fn notified(&self, policy: &str, form: Option<&str>, counts: Counts) {
        self.notify.count(policy, form, counts);
    }

    /// Notes how far the start of a reboot is from the range that its lease told.
    pub(crate) fn reboot_starts(&self, told: &ExpectedSpan, now: Timestamp) {
        self.forecast.started(told, now);
    }

    /// Counts a plan that was refused.
    pub fn check_refused(&self) {
        self.refused.inc();
    }

    /// Counts an event that was not sent.
    pub fn event_dropped(&self) {
        self.events_dropped.inc();
    }

    /// Counts a reboot that ended.
    pub fn reboot_ended(&self, phase: Phase) {
        self.reboots.with_label_values(&[phase.as_str()]).inc();
    }

    /// Notes whether this replica leads.
    pub fn leads(&self, leads: bool) {
        self.leader.set(i64::from(leads));
    }

    /// Notes how long a pass took.
    pub fn pass_took(&self, took: std::time::Duration) {
        self.pass.observe(took.as_secs_f64());
    }

    /// Shows what a pass saw and decided. Series of objects that are gone go too.
    pub fn show(&self, snapshot: &Snapshot, plan: &Plan) {
        self.show_nodes(snapshot, plan);
        let about_admission = |gap: &&Gap| match gap {
            Gap::AdmissionMissing { .. } | Gap::AdmissionUnknown { .. } => true,
            Gap::Unsynced { .. } | Gap::Undecodable { .. } | Gap::ClockSkew { .. } => false,
        };
        let missing = snapshot.gaps.iter().filter(about_admission).count();
        self.admission.set(signed(missing));
        self.blockers.show(&plan.policies);
        for family in [&self.nodes, &self.allowed, &self.in_use, &self.breaker] {
            family.reset();
        }
        for (policy, verdict) in &plan.policies {
            self.allowed
                .with_label_values(&[policy])
                .set(signed(verdict.allowed));
            self.in_use
                .with_label_values(&[policy])
                .set(signed(verdict.in_use));
            self.breaker
                .with_label_values(&[policy])
                .set(match verdict.breaker {
                    breaker::State::Closed => 0,
                    breaker::State::HalfOpen { .. } => 1,
                    breaker::State::Open { .. } => 2,
                });
            let counts = verdict.nodes;
            for (state, count) in [
                ("matched", counts.matched),
                ("required", counts.required),
                ("waiting", counts.waiting),
                ("in_progress", counts.in_progress),
                ("completed", counts.completed),
                ("failed", counts.failed),
            ] {
                self.nodes
                    .with_label_values(&[policy.as_str(), state])
                    .set(i64::from(count));
            }
        }
    }

    fn show_nodes(&self, snapshot: &Snapshot, plan: &Plan) {
        for family in std::iter::once(&self.required).chain(&self.kured) {
            family.reset();
            for (name, node) in &snapshot.nodes {
                // A node whose need is not known has no series: an error is never "not required".
                let required = match node.need {
                    Need::Required { .. } => 1,
                    Need::NotRequired => 0,
                    Need::Unreported | Need::Unknown { .. } => continue,
                };
                family.with_label_values(&[name]).set(required);
            }
        }
        let mut phases: BTreeMap<Phase, usize> = BTreeMap::new();
        for lease in snapshot.leases.values() {
            *phases.entry(lease.phase()).or_default() += 1;
        }
        for phase in Phase::ALL {
            let count = phases.get(&phase).copied().unwrap_or_default();
            self.phases
                .with_label_values(&[phase.as_str()])
                .set(signed(count));
        }
        for verdict in plan.verdicts.values() {
            self.decisions
                .with_label_values(&[verdict.reason.code()])
                .inc();
        }
        let stuck = plan
            .verdicts
            .values()
            .filter(|verdict| matches!(verdict.reason, Reason::Stuck { .. }));
        self.stuck.set(signed(stuck.count()));
    }

    /// Everything in Prometheus' text format.
    pub fn render(&self) -> String {
        TextEncoder::new()
            .encode_to_string(&self.registry.gather())
            .unwrap_or_default()
    }
}

fn signed(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use slipway_planner::NodeView;

    #[test]
    fn every_counter_is_born_at_zero() {
        let text = Metrics::new(false).unwrap().render();
        for line in [
            "slipway_apply_total{action=\"grant\",outcome=\"applied\"} 0",
            "slipway_errors_total{class=\"transient\"} 0",
            "slipway_reboots_total{outcome=\"Failed\"} 0",
            "slipway_check_refused_total 0",
            "slipway_leader 0",
            "slipway_stuck_nodes 0",
            "slipway_admission_policies_missing 0",
            "slipway_pass_duration_seconds_count 0",
        ] {
            assert!(text.contains(line), "{line} is missing in\n{text}");
        }
        assert!(!text.contains("kured"));
    }

    #[test]
    fn a_node_that_is_gone_has_no_series_and_one_that_is_unknown_none_either() {
        let metrics = Metrics::new(true).unwrap();
        let mut snapshot = Snapshot::default();
        let view = |need| NodeView {
            need,
            ..NodeView::default()
        };
        snapshot.nodes.insert("a".into(), view(Need::NotRequired));
        snapshot.nodes.insert(
            "b".into(),
            view(Need::Unknown {
                message: String::new(),
            }),
        );
        metrics.show(&snapshot, &Plan::default());
        let text = metrics.render();
        assert!(text.contains("slipway_reboot_required{node=\"a\"} 0"));
        assert!(text.contains("kured_reboot_required{node=\"a\"} 0"));
        assert!(!text.contains("node=\"b\""));
        let mut blind = Snapshot::default();
        blind.gaps.push(Gap::AdmissionUnknown { why: "x".into() });
        metrics.show(&blind, &Plan::default());
        let text = metrics.render();
        assert!(text.contains("slipway_admission_policies_missing 1"));
        metrics.show(&Snapshot::default(), &Plan::default());
        let text = metrics.render();
        assert!(text.contains("slipway_admission_policies_missing 0"));
        assert!(!metrics.render().contains("node=\"a\""));
    }
}
