//! What is ahead: forecasts and findings, made anew from time to time and written coarsely.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use slipway_api::{RebootLease, RebootPolicyStatus};
use slipway_planner::forecast::{Durations, Forecast, forecast};
use slipway_planner::lint::{Finding, findings};
use slipway_planner::{Plan, PolicyView, Snapshot, outlook};

use crate::apply::patch;

/// A forecast over thousands of nodes takes a noticeable part of a second, and passes come often.
const EVERY: SignedDuration = SignedDuration::from_secs(30);

/// The last forecast.
#[derive(Debug, Default)]
pub(super) struct Outlook {
    made: Option<(Timestamp, Vec<(String, i64)>)>,
    forecast: Forecast,
    findings: BTreeMap<String, Vec<Finding>>,
}

impl Outlook {
    /// Looks ahead, where the last look is old or a policy has changed.
    pub(super) fn look(&mut self, snapshot: &Snapshot, plan: &Plan, now: Timestamp) {
        let policies = || {
            let marks = snapshot.policies.iter();
            marks
                .map(|policy| (policy.uid.clone(), policy.generation))
                .collect()
        };
        let is_fresh = self.made.as_ref().is_some_and(|(at, marks)| {
            let age = now.duration_since(*at);
            // A clock that was set back must not keep an old look for ever.
            !age.is_negative() && age < EVERY && *marks == policies()
        });
        if is_fresh {
            return;
        }
        self.forecast = forecast(snapshot, plan, &BTreeMap::new(), now);
        self.findings = snapshot
            .policies
            .iter()
            .map(|policy| {
                let assumed = Durations::assumed(&policy.spec);
                (
                    policy.name.clone(),
                    findings(snapshot, policy, assumed, now),
                )
            })
            .collect();
        self.made = Some((now, policies()));
    }

    /// Adds what is ahead to a policy's status.
    pub(super) fn add(&self, policy: &PolicyView, status: &mut RebootPolicyStatus, now: Timestamp) {
        let findings = self
            .findings
            .get(&policy.name)
            .map_or(&[][..], Vec::as_slice);
        let forecast = self.forecast.policies.get(&policy.name);
        outlook::policy(status, policy.status.as_ref(), forecast, findings, now);
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
