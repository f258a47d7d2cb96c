//! Apply: one executor per action, each with the precondition that it proves by reading afresh.
//!
//! Owns every write but reports, events and the election. Decides nothing: an executor that finds
//! its precondition gone skips, and the next pass decides anew. No executor retries, none waits,
//! and none repeats a write whose answer was lost: it is read back, here or in the next pass.

mod answer;
mod clear;
mod conclude;
mod grant;
mod lease;
mod ledger;
mod marks;
pub(crate) mod patch;
mod release;
mod revoke;
mod slot;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use kube::api::Patch;
use kube::{Api, Client};
use serde_json::Value;
use slipway_api::RebootLease;
use slipway_client::call::{CallError, ErrorClass, bounded};
use slipway_client::chain;
use slipway_planner::{Action, Plan, Snapshot};
use tokio::sync::watch;

use crate::blockers::Blockers;
use crate::election::Leadership;
use crate::metrics::Metrics;
use crate::observe::Admission;

/// Failures of the way to the API server after which the rest of a pass is left to the next one:
/// each may have cost ten seconds, and leadership is short.
const TRANSIENT_MAX: usize = 3;

/// What became of an action.
#[derive(Debug)]
pub enum Outcome {
    /// Written.
    Applied,
    /// Its precondition is gone, or was never there: somebody else was faster, or the cache slow.
    Skipped(String),
    /// A call failed.
    Failed(CallError),
}

impl Outcome {
    /// The label of the metric.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Applied => "applied",
            Self::Skipped(_) => "skipped",
            Self::Failed(_) => "failed",
        }
    }
}

/// What an executor did, if no call failed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Done {
    Applied,
    Skipped(String),
}

/// Skips, and says why.
#[expect(
    clippy::unnecessary_wraps,
    reason = "it stands where an executor returns"
)]
pub(crate) fn skip(why: impl Into<String>) -> Result<Done, CallError> {
    Ok(Done::Skipped(why.into()))
}

/// What every executor needs.
#[derive(Clone)]
pub struct Context {
    /// To the API server, as ourselves.
    pub client: Client,
    /// Namespace of our pods.
    pub namespace: String,
    /// Whether we lead.
    pub leadership: Leadership,
    /// Whether the process is to end.
    pub stop: watch::Receiver<bool>,
    /// What blockers have answered.
    pub blockers: Blockers,
    /// Counters.
    pub metrics: Metrics,
    /// Whether the admission policies are in force.
    pub(crate) admission: Arc<Admission>,
}

impl Context {
    /// True while the next write may be made. Read before each: the pass may have slept since it
    /// began (faults.md F18).
    pub fn may_act(&self) -> bool {
        self.leadership.holds() && !*self.stop.borrow()
    }

    fn leases(&self) -> Api<RebootLease> {
        Api::all(self.client.clone())
    }

    /// Patches the spec of a lease.
    async fn patch_spec(&self, name: &str, body: &Value) -> Result<RebootLease, CallError> {
        let (api, params) = (self.leases(), patch::params());
        bounded(
            "write the lease",
            api.patch(name, &params, &Patch::Merge(body)),
        )
        .await
    }

    /// Patches the status of a lease.
    pub(crate) async fn patch_status(
        &self,
        name: &str,
        body: &Value,
    ) -> Result<RebootLease, CallError> {
        let (api, params) = (self.leases(), patch::params());
        bounded(
            "write the lease's status",
            api.patch_status(name, &params, &Patch::Merge(body)),
        )
        .await
    }
}

/// Applies a plan in order; an action that was not reached has no outcome.
pub async fn apply<'a>(
    ctx: &Context,
    snapshot: &Snapshot,
    plan: &'a Plan,
) -> Vec<(&'a Action, Outcome)> {
    let mut outcomes = Vec::with_capacity(plan.actions.len());
    let mut transient = 0;
    for action in &plan.actions {
        if !ctx.may_act() || transient >= TRANSIENT_MAX {
            break;
        }
        let outcome = Box::pin(execute(ctx, snapshot, action)).await;
        log(action, &outcome);
        ctx.metrics.action(action, outcome.as_str());
        if let Outcome::Failed(error) = &outcome {
            ctx.metrics.error(error.class());
            match error.class() {
                ErrorClass::Transient | ErrorClass::Throttled => transient += 1,
                ErrorClass::Conflict
                | ErrorClass::Denied
                | ErrorClass::Invalid
                | ErrorClass::NotFound
                | ErrorClass::Bug => {}
            }
        }
        outcomes.push((action, outcome));
    }
    outcomes
}

async fn execute(ctx: &Context, snapshot: &Snapshot, action: &Action) -> Outcome {
    let done = match action {
        Action::CreateLedger { status } => ledger::create(ctx, status).await,
        Action::CreateLease {
            node,
            node_uid,
            policy,
            requested_at,
        } => lease::create(ctx, node, node_uid, policy.as_ref(), *requested_at).await,
        Action::PointLease { node, policy } => lease::point(ctx, node, policy.as_ref()).await,
        Action::ReopenLease {
            node,
            fence,
            requested_at,
        } => lease::reopen(ctx, (node, *fence), *requested_at).await,
        Action::CloseLease { node } => lease::close(ctx, node).await,
        Action::Grant(request) => grant::grant(ctx, snapshot, request).await,
        Action::ShowPhase { node, phase } => lease::show(ctx, node, *phase).await,
        Action::Revoke {
            node,
            fence,
            reason,
        } => revoke::revoke(ctx, snapshot, (node, *fence), reason).await,
        Action::Clear { node, fence } => clear::clear(ctx, snapshot, (node, *fence)).await,
        Action::Conclude { node, fence } => conclude::conclude(ctx, (node, *fence)).await,
        Action::Release { node, fence } => release::release(ctx, (node, *fence)).await,
        Action::NoteStuck { slot } => release::note_stuck(ctx, slot).await,
        Action::FreeSlot { slot, because } => slot::free(ctx, slot, *because).await,
        Action::RestoreSlot { slot } => slot::restore(ctx, slot).await,
        Action::DemandAnswer { slot } => answer::demand(ctx, slot).await,
        Action::MarkNode {
            node,
            node_uid,
            marks,
        } => marks::mark(ctx, (node, node_uid), marks).await,
    };
    match done {
        Ok(Done::Applied) => Outcome::Applied,
        Ok(Done::Skipped(why)) => Outcome::Skipped(why),
        // Whoever was faster has changed what this rested on: forgotten, never repeated with a
        // fresh version (faults.md G2).
        Err(error) if error.is_conflict() => Outcome::Skipped("changed meanwhile".to_owned()),
        Err(error) => Outcome::Failed(error),
    }
}

fn log(action: &Action, outcome: &Outcome) {
    let (code, node) = (action.code(), action.node().unwrap_or_default());
    match (action, outcome) {
        // Refreshed every twenty seconds: no change of state.
        (Action::Clear { .. }, Outcome::Applied) => tracing::debug!(action = code, node, "applied"),
        (_, Outcome::Applied) => tracing::info!(action = code, node, "applied"),
        (_, Outcome::Skipped(why)) => tracing::debug!(action = code, node, why, "skipped"),
        (_, Outcome::Failed(error)) => {
            tracing::warn!(action = code, node, error = %chain(error), "failed");
        }
    }
}
