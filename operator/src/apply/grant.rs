//! The first key (faults.md G1, G2, F80): admission proved, lease, then ledger, then policies, all at quorum; the slot by
//! compare-and-swap on the ledger, then the grant by compare-and-swap on the lease.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use slipway_api::drain_filter::DrainRules;
use slipway_api::lease::Grant;
use slipway_api::policy::Mode;
use slipway_api::{Phase, RebootLease, RebootLedger, Workload};
use slipway_client::call::CallError;
use slipway_client::{chain, clock};
use slipway_planner::limits::{NOT_AFTER_MARGIN, NOT_AFTER_WITHOUT_LIMIT};
use slipway_planner::{GrantRequest, PolicyView, Reason, Snapshot, budget};

use super::{Context, Done, ledger, patch, skip};
use crate::blockers::workloads;
use crate::observe::read;

/// Grants a reboot.
pub(super) async fn grant(
    ctx: &Context,
    snapshot: &Snapshot,
    request: &GrantRequest,
) -> Result<Done, CallError> {
    if !ctx.admission.holds(&ctx.client).await {
        return skip("the admission policies are not proved to be in force");
    }
    // Before everything that the grant rests on: this takes a while where there are many owners.
    let workloads = workloads_on(ctx, request).await?;
    let Some(lease) = read::lease(&ctx.client, &request.node).await? else {
        return skip("there is no lease");
    };
    if let Some(why) = unfit(&lease, request) {
        return skip(why);
    }
    let Some(ledger) = read::ledger(&ctx.client).await? else {
        return skip("there is no ledger");
    };
    let (policies, undecodable) = read::policies(&ctx.client).await?;
    if !undecodable.is_empty() || !same_policies(&snapshot.policies, &policies) {
        return skip("a policy has changed since the decision");
    }
    let Some(policy) = policies
        .iter()
        .find(|policy| policy.uid == request.policy.uid)
    else {
        return skip("the policy is gone");
    };
    if policy.spec.mode == Mode::Approve && request.request.is_none() && !lease.is_approved() {
        return skip("the approval was withdrawn");
    }
    let now = clock::wall();
    let limits = budget::limits(snapshot, policy);
    let (status, fence) = match budget::append(&ledger, request, &limits, now) {
        Ok(appended) => appended,
        Err(reason) => return skip(reason.to_string()),
    };
    if let Err(error) = ledger::write(ctx, &ledger, status).await {
        if !error.may_have_landed() {
            return Err(error);
        }
        // The answer is lost, the write may not be: read back, never guessed (faults.md F32). One
        // that lands later still leaves a slot without a grant, which is voided.
        tracing::warn!(node = request.node, error = %chain(&error), "reading the slot back");
        let read_back = read::ledger(&ctx.client).await?;
        if !read_back.is_some_and(|ledger| holds(&ledger, request, fence)) {
            return Err(error);
        }
    }
    // The version is the one read before the append: whatever happened to the lease since makes
    // this fail, and the slot is voided by a later pass.
    let granted = Grant {
        workloads,
        ..settings(request, fence, now)
    };
    let body = patch::grant(&lease, &granted);
    let written = ctx.patch_spec(&request.node, &body).await?;
    tracing::info!(
        node = request.node,
        policy = request.policy.name,
        fence,
        "granted"
    );
    let told = lease.status.as_ref().and_then(|it| it.expected.as_ref());
    if let Some(told) = told {
        ctx.metrics.reboot_starts(told, now);
    }
    show(ctx, &written, now).await;
    Ok(Done::Applied)
}

/// The owners of the pods on the node, if they are waited for after the reboot.
async fn workloads_on(ctx: &Context, request: &GrantRequest) -> Result<Vec<Workload>, CallError> {
    if request.verify.pods_ready_within.is_zero() {
        return Ok(Vec::new());
    }
    let rules = DrainRules::before_grant(&request.drain, &ctx.namespace, clock::wall());
    workloads::on_node(&ctx.client, &rules, &request.node).await
}

/// Why the lease cannot take a grant now.
fn unfit(lease: &RebootLease, request: &GrantRequest) -> Option<&'static str> {
    if lease.metadata.uid.as_deref() != Some(request.lease_uid.as_str())
        || lease.spec.node_uid != request.node_uid
    {
        return Some("the lease is another one");
    }
    if lease.metadata.deletion_timestamp.is_some() {
        return Some("the lease is being deleted");
    }
    // What people write is decided on in a cache, and may be withdrawn at any moment.
    if lease.spec.hold.is_some() {
        return Some("the node is held");
    }
    if lease.open_request() != request.request.as_ref() {
        return Some("the request has changed");
    }
    let granted = lease.granted_fence();
    let at_rest = lease.phase() == Phase::Pending
        && lease.open_grant().is_none()
        && (granted == 0 || lease.is_over(granted));
    (!at_rest).then_some("the lease is not waiting for a grant")
}

/// True when every policy is as it was when the plan was made: what the plan decided about modes,
/// pauses, windows and priorities then still holds.
fn same_policies(planned: &[PolicyView], present: &[PolicyView]) -> bool {
    let marks = |policies: &[PolicyView]| {
        let mut marks: Vec<(String, i64, bool)> = policies
            .iter()
            .map(|policy| (policy.uid.clone(), policy.generation, policy.deleting))
            .collect();
        marks.sort();
        marks
    };
    marks(planned) == marks(present)
}

fn holds(ledger: &RebootLedger, request: &GrantRequest, fence: i64) -> bool {
    budget::slots(ledger).iter().any(|slot| {
        (&slot.node, &slot.node_uid, &slot.lease_uid, slot.fence)
            == (&request.node, &request.node_uid, &request.lease_uid, fence)
    })
}

fn settings(request: &GrantRequest, fence: i64, now: Timestamp) -> Grant {
    let limit = if request.drain.timeout.is_zero() {
        NOT_AFTER_WITHOUT_LIMIT
    } else {
        request
            .drain
            .timeout
            .signed()
            .saturating_add(NOT_AFTER_MARGIN)
    };
    // What a policy waits for on purpose must not use up the time of the rest.
    let waits = [
        request.drain.delay,
        request.drain.wait_for_volume_detach,
        request.reboot.delay,
        request.reboot.timeout,
    ];
    let limit = waits
        .into_iter()
        .fold(limit, |limit, wait| limit.saturating_add(wait.signed()));
    Grant {
        fence,
        granted_at: Time(now),
        not_after: Time(now.saturating_add(limit).unwrap_or(now)),
        drain: request.drain.clone(),
        reboot: request.reboot.clone(),
        verify: request.verify.clone(),
        triggers: request.triggers.clone(),
        workloads: Vec::new(),
        request: request.request.clone(),
    }
}

/// Shows the grant in the phase, for people. The agent may be faster, and a later pass shows it
/// too: a failure matters to nobody.
async fn show(ctx: &Context, lease: &RebootLease, now: Timestamp) {
    let name = lease.metadata.name.as_deref().unwrap_or_default();
    let body = patch::enter(lease, Phase::Granted, &Reason::Granted, now);
    if let Err(error) = ctx.patch_status(name, &body).await {
        tracing::debug!(node = name, error = %chain(&error), "the phase is shown later");
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use serde_json::{Value, json};
    use slipway_api::lease::PolicyReference;
    use slipway_api::policy::{DrainSettings, RebootSettings, Triggers, VerifySettings};

    pub(in crate::apply) fn request() -> GrantRequest {
        GrantRequest {
            node: "n".into(),
            node_uid: "u".into(),
            lease_uid: "l".into(),
            policy: PolicyReference {
                name: "p".into(),
                uid: "pu".into(),
            },
            control_plane: false,
            place: slipway_planner::turn::Place::default(),
            drain: DrainSettings::default(),
            reboot: RebootSettings::default(),
            verify: VerifySettings::default(),
            triggers: Triggers::default(),
            request: None,
        }
    }

    pub(in crate::apply) fn lease(uid: &str, spec: &Value, status: &Value) -> RebootLease {
        let mut all = json!({"nodeUID": "u", "requestedAt": "2026-11-24T11:00:00Z"});
        for (key, value) in spec.as_object().into_iter().flatten() {
            all[key] = value.clone();
        }
        serde_json::from_value(json!({
            "apiVersion": "slipway.dev/v1alpha1", "kind": "RebootLease",
            "metadata": {"name": "n", "uid": uid, "resourceVersion": "7"},
            "spec": all, "status": status,
        }))
        .unwrap()
    }

    pub(in crate::apply) fn granted(fence: i64) -> Value {
        let now: Timestamp = "2026-11-24T12:00:00Z".parse().unwrap();
        json!({"grant": settings(&request(), fence, now)})
    }

    #[test]
    fn only_a_lease_at_rest_takes_a_grant() {
        let pending = json!({"phase": "Pending", "fence": 2});
        assert_eq!(
            unfit(&lease("l", &Value::Null, &Value::Null), &request()),
            None
        );
        assert_eq!(unfit(&lease("l", &Value::Null, &pending), &request()), None);
        // The grant of an ended reboot stays in the spec.
        assert_eq!(unfit(&lease("l", &granted(2), &pending), &request()), None);
        assert!(unfit(&lease("l", &granted(3), &pending), &request()).is_some());
        assert!(unfit(&lease("other", &Value::Null, &pending), &request()).is_some());
        for phase in [
            "Granted",
            "Draining",
            "Drained",
            "Rebooting",
            "Rebooted",
            "Completed",
        ] {
            let status = json!({"phase": phase, "fence": 2});
            assert!(
                unfit(&lease("l", &Value::Null, &status), &request()).is_some(),
                "{phase}"
            );
        }
    }

    #[test]
    fn a_hold_or_another_request_since_the_decision_stops_the_grant() {
        let hold = json!({"hold": {"by": "ada"}});
        assert!(unfit(&lease("l", &hold, &Value::Null), &request()).is_some());
        let asked = json!({"request": {"afterFence": 0, "by": "ada"}});
        let asking = lease("l", &asked, &Value::Null);
        assert!(unfit(&asking, &request()).is_some());
        let mut wanted = request();
        wanted.request = asking.spec.request.clone();
        assert_eq!(unfit(&asking, &wanted), None);
        // One that was withdrawn, or was for an earlier reboot, is none (F106).
        assert!(unfit(&lease("l", &Value::Null, &Value::Null), &wanted).is_some());
        let pending = json!({"phase": "Pending", "fence": 2});
        assert!(unfit(&lease("l", &asked, &pending), &wanted).is_some());
    }

    #[test]
    fn a_revoked_grant_that_was_never_accepted_makes_room_for_the_next() {
        let mut spec = granted(3);
        spec["revoke"] = json!({"fence": 3, "reason": "AgentSilent"});
        let pending = json!({"phase": "Pending", "fence": 2});
        assert_eq!(unfit(&lease("l", &spec, &pending), &request()), None);
    }

    #[test]
    fn a_grant_ends_half_an_hour_after_all_that_it_may_wait_for_and_a_day_later_without_a_limit() {
        let now: Timestamp = "2026-11-24T12:00:00Z".parse().unwrap();
        let mut request = request();
        // A drain of 30 min, volumes for 2 min, a reboot for 15 min.
        assert_eq!(
            settings(&request, 1, now).not_after.0.to_string(),
            "2026-11-24T13:17:00Z"
        );
        request.drain.delay = slipway_api::Duration::from_secs(60);
        assert_eq!(
            settings(&request, 1, now).not_after.0.to_string(),
            "2026-11-24T13:18:00Z"
        );
        request.drain.delay = slipway_api::Duration::from_secs(0);
        request.drain.timeout = slipway_api::Duration::from_secs(0);
        assert_eq!(
            settings(&request, 1, now).not_after.0.to_string(),
            "2026-11-25T12:17:00Z"
        );
    }

    #[test]
    fn f45_any_edit_of_any_policy_since_the_decision_stops_the_grant() {
        let view = |uid: &str, generation| {
            let spec: slipway_api::RebootPolicySpec =
                serde_json::from_value(json!({"nodeSelector": {}})).unwrap();
            PolicyView {
                name: uid.into(),
                uid: uid.into(),
                generation,
                parsed: slipway_api::validate_policy(&spec),
                spec,
                status: None,
                deleting: false,
            }
        };
        let planned = [view("a", 1), view("b", 4)];
        assert!(same_policies(&planned, &[view("b", 4), view("a", 1)]));
        assert!(!same_policies(&planned, &[view("b", 5), view("a", 1)]));
        assert!(!same_policies(&planned, &[view("a", 1)]));
        assert!(!same_policies(
            &planned,
            &[view("a", 1), view("b", 4), view("c", 1)]
        ));
        let mut leaving = view("b", 4);
        leaving.deleting = true;
        assert!(!same_policies(&planned, &[view("a", 1), leaving]));
    }

    #[test]
    fn a_slot_is_read_back_by_its_fence() {
        let ledger: RebootLedger = serde_json::from_value(json!({
            "apiVersion": "slipway.dev/v1alpha1", "kind": "RebootLedger",
            "metadata": {"name": "cluster"}, "spec": {},
            "status": {"nextFence": 4, "slots": [{"node": "n", "nodeUID": "u", "leaseUID": "l",
                "policyUID": "pu", "fence": 3}]},
        }))
        .unwrap();
        assert!(holds(&ledger, &request(), 3));
        assert!(!holds(&ledger, &request(), 2));
    }
}
