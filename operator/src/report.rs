//! Report: what a pass decided, in the status of leases and policies, and as events.
//!
//! No difference, no write. A report that loses a race is dropped: the next pass makes a new one.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use kube::Api;
use kube::api::Patch;
use serde_json::{Value, json};
use slipway_api::{Phase, RebootLease, RebootPolicy, RebootPolicyStatus};
use slipway_client::call::{CallError, bounded};
use slipway_client::chain;
use slipway_planner::report::{LeaseReport, lease as lease_report, policy_status};
use slipway_planner::{Plan, PolicyView, Snapshot, Verdict};

use crate::apply::{Context, patch};
use crate::events::{Events, Notice};

/// Most leases reported in one pass: the others follow in the next, so that a fleet that changes
/// its mind at once neither floods the API server nor holds up the next decision.
const REPORTS_MAX: usize = 100;

/// What was last seen of a lease, to tell what is new.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Seen {
    phase: Phase,
    fence: i64,
    reason: String,
}

/// Reports passes. Remembers what it has told, in memory: after a restart nothing is told twice.
#[derive(Debug)]
pub(crate) struct Reporter {
    events: Events,
    seen: Option<BTreeMap<String, Seen>>,
}

impl Reporter {
    pub(crate) fn new(events: Events) -> Self {
        Self { events, seen: None }
    }

    /// Sends an event about something that is no lease or policy.
    pub(crate) fn tell(&mut self, notice: Notice) {
        self.events.send(notice);
    }

    /// Writes every report that differs from what stands there, but those of nodes whose lease was
    /// written in this pass. True when some are left for the next pass.
    pub(crate) async fn report(
        &mut self,
        ctx: &Context,
        (snapshot, plan): (&Snapshot, &Plan),
        written: &BTreeSet<String>,
        now: Timestamp,
    ) -> bool {
        self.tell_leases(ctx, snapshot, plan);
        let mut left = REPORTS_MAX;
        for (name, verdict) in &plan.verdicts {
            let Some(lease) = snapshot.leases.get(name).filter(|_| verdict.report) else {
                continue;
            };
            let Some(body) = lease_diff(lease, &lease_report(verdict)) else {
                continue;
            };
            if written.contains(name) {
                continue;
            }
            if left == 0 || !ctx.may_act() {
                return true;
            }
            left -= 1;
            dropped(
                ctx,
                "lease",
                name,
                ctx.patch_status(name, &body).await.map(drop),
            );
        }
        for policy in &snapshot.policies {
            let Some(verdict) = plan.policies.get(&policy.name) else {
                continue;
            };
            let status = policy_status(verdict, policy.status.as_ref(), now);
            let Some(body) = policy_diff(policy.status.as_ref(), &status) else {
                continue;
            };
            if !ctx.may_act() {
                return true;
            }
            let answer = write_policy(ctx, &policy.name, &body).await;
            if answer.is_ok() {
                self.tell_policy(policy, &status);
            }
            dropped(ctx, "policy", &policy.name, answer);
        }
        false
    }

    /// Events and counts for leases whose phase or reason is new. The first pass only learns.
    fn tell_leases(&mut self, ctx: &Context, snapshot: &Snapshot, plan: &Plan) {
        let mut present = BTreeMap::new();
        for (name, lease) in &snapshot.leases {
            let verdict = plan.verdicts.get(name);
            let (seen, message) = look(lease, verdict);
            let before = self.seen.as_ref().map(|all| all.get(name));
            if let Some(before) = before
                && before != Some(&seen)
            {
                if before.is_some_and(|before| has_ended(before, &seen)) {
                    ctx.metrics.reboot_ended(seen.phase);
                }
                if before.is_none_or(|before| {
                    (before.phase, &before.reason) != (seen.phase, &seen.reason)
                }) {
                    let uid = &lease.spec.node_uid;
                    self.events
                        .send(Notice::node(name, uid, seen.phase, &seen.reason, &message));
                }
            }
            present.insert(name.clone(), seen);
        }
        self.seen = Some(present);
    }

    fn tell_policy(&mut self, policy: &PolicyView, status: &RebootPolicyStatus) {
        let before = policy
            .status
            .as_ref()
            .map_or(&[][..], |status| &status.conditions);
        for condition in &status.conditions {
            let old = before.iter().find(|other| other.type_ == condition.type_);
            // A first report is no change.
            if old.is_some_and(|old| {
                (&old.status, &old.reason) != (&condition.status, &condition.reason)
            }) {
                self.events.send(Notice::policy(policy, condition));
            }
        }
    }
}

fn look(lease: &RebootLease, verdict: Option<&Verdict>) -> (Seen, String) {
    let status = lease.status.as_ref();
    let (reason, message) = match verdict.filter(|verdict| verdict.report) {
        Some(verdict) => {
            let report = lease_report(verdict);
            (report.reason, report.message)
        }
        None => status.map_or_else(
            || (String::new(), String::new()),
            |status| (status.reason.clone(), status.message.clone()),
        ),
    };
    (
        Seen {
            phase: lease.phase(),
            fence: lease.accepted_fence(),
            reason,
        },
        message,
    )
}

/// True when a reboot that was accepted has ended since.
fn has_ended(before: &Seen, now: &Seen) -> bool {
    let accepted = before.phase.is_accepted() || before.fence < now.fence;
    now.phase.is_terminal()
        && !(before.phase.is_terminal() && before.fence == now.fence)
        && accepted
}

fn dropped(ctx: &Context, kind: &str, name: &str, answer: Result<(), CallError>) {
    match answer {
        Ok(()) => {}
        Err(error) if error.is_conflict() || error.is_not_found() => {
            tracing::debug!(kind, name, "the report comes with the next pass");
        }
        Err(error) => {
            ctx.metrics.error(error.class());
            tracing::warn!(kind, name, error = %chain(&error), "cannot report");
        }
    }
}

async fn write_policy(ctx: &Context, name: &str, body: &Value) -> Result<(), CallError> {
    let api: Api<RebootPolicy> = Api::all(ctx.client.clone());
    let (params, body) = (patch::params(), Patch::Merge(body));
    let write = api.patch_status(name, &params, &body);
    bounded("write the policy's status", write).await.map(drop)
}

/// The patch that makes the lease's status say this, if it does not.
///
/// The reason of a reboot that has ended is the record of it: it stays, whatever keeps the next one.
fn lease_diff(lease: &RebootLease, report: &LeaseReport) -> Option<Value> {
    let present = lease.status.as_ref();
    let waits = present.map_or(&[][..], |status| &status.waiting_for) != report.waiting_for;
    if lease.phase().is_terminal() {
        return waits.then(|| patch::waiting(lease, &report.waiting_for));
    }
    let same = present
        .is_some_and(|status| status.reason == report.reason && status.message == report.message);
    (waits || !same)
        .then(|| patch::report(lease, &report.reason, &report.message, &report.waiting_for))
}

/// The patch that makes the policy's status this one, if it is not.
fn policy_diff(present: Option<&RebootPolicyStatus>, status: &RebootPolicyStatus) -> Option<Value> {
    if present == Some(status) {
        return None;
    }
    let mut fields = json!(status);
    // What is absent has to be taken away: a merge patch keeps what it does not name.
    if let Some(fields) = fields.as_object_mut() {
        for optional in ["observedGeneration", "window", "nextWindow"] {
            fields.entry(optional).or_insert(Value::Null);
        }
    }
    Some(json!({ "status": fields }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use slipway_api::lease::WaitingFor;
    use slipway_api::policy::WindowState;

    fn lease(status: &Value) -> RebootLease {
        serde_json::from_value(json!({
            "apiVersion": "slipway.dev/v1alpha1", "kind": "RebootLease",
            "metadata": {"name": "n", "uid": "l", "resourceVersion": "7"},
            "spec": {"nodeUID": "u", "requestedAt": "2026-11-24T11:00:00Z"},
            "status": status,
        }))
        .unwrap()
    }

    fn report() -> LeaseReport {
        LeaseReport {
            reason: "NoPolicy".into(),
            message: "m".into(),
            waiting_for: vec![WaitingFor {
                kind: "NoPolicy".into(),
                object: String::new(),
                message: "m".into(),
            }],
        }
    }

    #[test]
    fn s12_a_report_that_stands_there_already_is_not_written() {
        let standing = lease(
            &json!({"phase": "Pending", "fence": 0, "reason": "NoPolicy",
            "message": "m", "waitingFor": [{"kind": "NoPolicy", "message": "m"}]}),
        );
        assert_eq!(lease_diff(&standing, &report()), None);
        let status = RebootPolicyStatus::default();
        assert_eq!(policy_diff(Some(&status), &status), None);
    }

    #[test]
    fn any_difference_is_written_whole_and_tied_to_the_version_read() {
        for status in [
            Value::Null,
            json!({"phase": "Pending", "fence": 0, "reason": "Other", "message": "m"}),
            json!({"phase": "Pending", "fence": 0, "reason": "NoPolicy", "message": "m"}),
        ] {
            let body = lease_diff(&lease(&status), &report()).unwrap();
            assert_eq!(body["metadata"]["resourceVersion"], "7");
            assert_eq!(body["status"]["reason"], "NoPolicy");
            assert_eq!(body["status"]["waitingFor"].as_array().unwrap().len(), 1);
        }
    }

    #[test]
    fn the_reason_of_an_ended_reboot_is_never_overwritten() {
        let ended = lease(
            &json!({"phase": "Failed", "fence": 3, "reason": "Ineffective",
            "message": "why"}),
        );
        let body = lease_diff(&ended, &report()).unwrap();
        let written: Vec<&String> = body["status"].as_object().unwrap().keys().collect();
        assert_eq!(written, ["waitingFor"]);
    }

    #[test]
    fn a_window_that_is_gone_is_taken_away() {
        let open = RebootPolicyStatus {
            window: Some(WindowState::Open),
            ..RebootPolicyStatus::default()
        };
        let body = policy_diff(Some(&open), &RebootPolicyStatus::default()).unwrap();
        assert_eq!(body["status"]["window"], Value::Null);
        assert_eq!(body["status"]["nextWindow"], Value::Null);
        let body = policy_diff(None, &open).unwrap();
        assert_eq!(body["status"]["window"], "Open");
    }

    #[test]
    fn only_the_end_of_an_accepted_reboot_counts() {
        let seen = |phase, fence| Seen {
            phase,
            fence,
            reason: String::new(),
        };
        assert!(has_ended(
            &seen(Phase::Rebooted, 3),
            &seen(Phase::Completed, 3)
        ));
        assert!(has_ended(
            &seen(Phase::Draining, 3),
            &seen(Phase::Aborted, 3)
        ));
        // Everything in between was missed.
        assert!(has_ended(
            &seen(Phase::Pending, 2),
            &seen(Phase::Completed, 3)
        ));
        assert!(has_ended(
            &seen(Phase::Completed, 2),
            &seen(Phase::Failed, 3)
        ));
        // Nothing was granted.
        assert!(!has_ended(
            &seen(Phase::Pending, 2),
            &seen(Phase::Aborted, 2)
        ));
        assert!(!has_ended(
            &seen(Phase::Completed, 3),
            &seen(Phase::Completed, 3)
        ));
    }

    #[test]
    fn while_the_agent_is_at_work_its_own_words_are_told() {
        let lease = lease(
            &json!({"phase": "Draining", "fence": 3, "reason": "PodsBlocked",
            "message": "p"}),
        );
        let (seen, message) = look(&lease, None);
        assert_eq!(
            (seen.reason.as_str(), message.as_str()),
            ("PodsBlocked", "p")
        );
    }
}
