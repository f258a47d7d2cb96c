//! Report: what a pass decided, in the status of leases and policies, and as events.
//!
//! No difference, no write. A report that loses a race is dropped: the next pass makes a new one.

mod diff;
mod outlook;

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use kube::Api;
use kube::api::Patch;
use serde_json::Value;
use slipway_api::{Phase, RebootLease, RebootPolicy, RebootPolicyStatus};
use slipway_client::call::{CallError, ErrorClass, bounded};
use slipway_client::{chain, clock};
use slipway_planner::report::{lease as lease_report, policy_status};
use slipway_planner::{Plan, PolicyView, Snapshot, Verdict};

use crate::apply::{Context, patch};
use crate::events::{Events, Notice};
use crate::notify::Notifier;
use crate::rate::Rate;
use diff::{lease_diff, policy_diff};
use outlook::Outlook;

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
    rate: Rate,
    /// The node whose lease is reported next; empty for the first.
    next: String,
    seen: Option<BTreeMap<String, Seen>>,
    outlook: Outlook,
    notifier: Notifier,
}

impl Reporter {
    pub(crate) fn new(events: Events, notifier: Notifier) -> Self {
        Self {
            events,
            rate: Rate::new(),
            next: String::new(),
            seen: None,
            outlook: Outlook::default(),
            notifier,
        }
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
        self.outlook.look(snapshot, plan, now);
        // Policies first: they are few, and what people look at first.
        self.report_policies(ctx, snapshot, plan, now).await
            || self.report_leases(ctx, snapshot, plan, written).await
    }

    /// True when some are left.
    async fn report_policies(
        &mut self,
        ctx: &Context,
        snapshot: &Snapshot,
        plan: &Plan,
        now: Timestamp,
    ) -> bool {
        for policy in &snapshot.policies {
            let Some(verdict) = plan.policies.get(&policy.name) else {
                continue;
            };
            let mut status = policy_status(verdict, policy.status.as_ref(), now);
            self.outlook.add(policy, &mut status, now);
            self.notifier.add(policy, &mut status, now);
            let Some(body) = policy_diff(policy.status.as_ref(), &status) else {
                continue;
            };
            if !self.may_write(ctx) {
                return true;
            }
            let answer = write_policy(ctx, &policy.name, &body).await;
            if answer.is_ok() {
                self.tell_policy(policy, &status);
            }
            if !goes_on(ctx, "policy", &policy.name, answer) {
                return true;
            }
        }
        false
    }

    /// True when some are left. Goes on where the last pass stopped: else the last nodes would
    /// never be reported while the first ones keep changing.
    async fn report_leases(
        &mut self,
        ctx: &Context,
        snapshot: &Snapshot,
        plan: &Plan,
        written: &BTreeSet<String>,
    ) -> bool {
        let from = std::mem::take(&mut self.next);
        for (name, verdict) in around(&plan.verdicts, &from) {
            let Some(lease) = snapshot.leases.get(name).filter(|_| verdict.report) else {
                continue;
            };
            let body = lease_diff(lease, &lease_report(verdict));
            let Some(body) = self.outlook.add_to_patch(name, lease, body) else {
                continue;
            };
            if written.contains(name) {
                continue;
            }
            if !self.may_write(ctx) {
                self.next.clone_from(name);
                return true;
            }
            let answer = ctx.patch_status(name, &body).await.map(drop);
            if !goes_on(ctx, "lease", name, answer) {
                self.next.clone_from(name);
                return true;
            }
        }
        false
    }

    fn may_write(&mut self, ctx: &Context) -> bool {
        ctx.may_act() && self.rate.take(clock::boottime())
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

/// Every entry once, in order, beginning with `from`.
fn around<'a, V>(
    all: &'a BTreeMap<String, V>,
    from: &str,
) -> impl Iterator<Item = (&'a String, &'a V)> {
    use std::ops::Bound::{Excluded, Included, Unbounded};
    all.range::<str, _>((Included(from), Unbounded))
        .chain(all.range::<str, _>((Unbounded, Excluded(from))))
}

/// False when the API server cannot be asked now: each further report could cost ten seconds.
fn goes_on(ctx: &Context, kind: &str, name: &str, answer: Result<(), CallError>) -> bool {
    let Err(error) = answer else { return true };
    if error.is_conflict() || error.is_not_found() {
        tracing::debug!(kind, name, "the report comes with the next pass");
        return true;
    }
    ctx.metrics.error(error.class());
    tracing::warn!(kind, name, error = %chain(&error), "cannot report");
    !matches!(error.class(), ErrorClass::Transient | ErrorClass::Throttled)
}

async fn write_policy(ctx: &Context, name: &str, body: &Value) -> Result<(), CallError> {
    let api: Api<RebootPolicy> = Api::all(ctx.client.clone());
    let (params, body) = (patch::params(), Patch::Merge(body));
    let write = api.patch_status(name, &params, &body);
    bounded("write the policy's status", write).await.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn lease(status: &Value) -> RebootLease {
        serde_json::from_value(json!({
            "apiVersion": "slipway.dev/v1alpha1", "kind": "RebootLease",
            "metadata": {"name": "n", "uid": "l", "resourceVersion": "7"},
            "spec": {"nodeUID": "u", "requestedAt": "2026-11-24T11:00:00Z"},
            "status": status,
        }))
        .unwrap()
    }

    #[test]
    fn reports_go_on_where_the_last_pass_stopped() {
        let all = BTreeMap::from(["a", "b", "c"].map(|name| (name.to_owned(), 0)));
        let names = |from: &str| -> Vec<String> {
            around(&all, from).map(|(name, _)| name.clone()).collect()
        };
        assert_eq!(names("b"), ["b", "c", "a"]);
        // A node that has gone since is passed over.
        assert_eq!(names("bb"), ["c", "a", "b"]);
        assert_eq!(names(""), ["a", "b", "c"]);
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
