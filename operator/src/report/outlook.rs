//! What is ahead: forecasts and findings, made anew from time to time and written coarsely.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use slipway_api::{RebootLease, RebootPolicyStatus};
use slipway_planner::forecast::{Durations, Forecast, forecast, mix};
use slipway_planner::lint::{Finding, findings};
use slipway_planner::{Plan, PolicyView, Snapshot, breaker, outlook};

use crate::apply::patch;

/// A forecast is this old at most, where nothing has changed.
const EVERY: SignedDuration = SignedDuration::from_secs(30);
/// Over more nodes than this it takes a noticeable part of a second, and passes come often: then
/// it may be as old although something has changed.
const NODES_MANY: usize = 2_000;

/// The last forecast.
#[derive(Debug, Default)]
pub(super) struct Outlook {
    made: Option<(Timestamp, u64)>,
    forecast: Forecast,
    findings: BTreeMap<String, Vec<Finding>>,
    durations: BTreeMap<String, Durations>,
}

impl Outlook {
    /// Looks ahead, where the last look is old, or a policy or the state of a node has changed.
    pub(super) fn look(&mut self, snapshot: &Snapshot, plan: &Plan, now: Timestamp) {
        let marks = marks(snapshot, plan);
        let is_fresh = self.made.is_some_and(|(at, before)| {
            let age = now.duration_since(at);
            // A clock that was set back must not keep an old look for ever.
            let is_young = !age.is_negative() && age < EVERY;
            is_young && (before == marks || snapshot.nodes.len() > NODES_MANY)
        });
        if is_fresh {
            return;
        }
        self.forecast = forecast(snapshot, plan, &BTreeMap::new(), now);
        self.findings = snapshot
            .policies
            .iter()
            .map(|policy| {
                let durations = Durations::of(snapshot, policy);
                (
                    policy.name.clone(),
                    findings(snapshot, policy, durations, now),
                )
            })
            .collect();
        let ledger = snapshot.ledger.present();
        let status = ledger.and_then(|ledger| ledger.status.as_ref());
        let recorded = |policy: &PolicyView| {
            let record = status.and_then(|status| breaker::record(status, &policy.uid));
            Some((policy.name.clone(), Durations::recorded(record)?))
        };
        self.durations = snapshot.policies.iter().filter_map(recorded).collect();
        self.made = Some((now, marks));
    }

    /// Adds what is ahead to a policy's status.
    pub(super) fn add(&self, policy: &PolicyView, status: &mut RebootPolicyStatus, now: Timestamp) {
        let findings = self
            .findings
            .get(&policy.name)
            .map_or(&[][..], Vec::as_slice);
        let ahead = (
            self.forecast.policies.get(&policy.name),
            self.durations.get(&policy.name).copied(),
        );
        outlook::policy(status, policy.status.as_ref(), ahead, findings, now);
    }

    /// The patch of a lease with what is expected of its node, on top of what else is written.
    pub(super) fn add_to_patch(
        &self,
        name: &str,
        lease: &RebootLease,
        body: Option<Value>,
    ) -> Option<Value> {
        let present = lease.status.as_ref();
        let present = present.and_then(|status| status.expected.as_ref());
        let Some(told) = outlook::lease(present, self.forecast.nodes.get(name)) else {
            return body;
        };
        let mut body = body.unwrap_or_else(|| patch::nothing(lease));
        if let Some(status) = body.get_mut("status").and_then(Value::as_object_mut) {
            status.insert("expected".to_owned(), json!(told));
        }
        Some(body)
    }
}

/// Differs where a policy, or where a node stands, has changed.
fn marks(snapshot: &Snapshot, plan: &Plan) -> u64 {
    let text = |mark: u64, text: &str| text.bytes().fold(mark, |mark, byte| mix(mark, byte.into()));
    let policies = snapshot.policies.iter().fold(0, |mark, policy| {
        mix(text(mark, &policy.uid), policy.generation.unsigned_abs())
    });
    plan.verdicts
        .iter()
        .fold(policies, |mark, (name, verdict)| {
            let phase = verdict.phase.map_or("", |phase| phase.as_str());
            text(text(text(mark, name), phase), verdict.reason.code())
        })
}
