//! The ledger: made once, and replaced by compare-and-swap, never patched.

use kube::Api;
use kube::api::PostParams;
use slipway_api::{RebootLease, RebootLedger, RebootLedgerSpec, RebootLedgerStatus, names};
use slipway_client::call::{CallError, bounded};

use super::{Context, Done, patch, skip};
use crate::observe::read;

fn params() -> PostParams {
    PostParams {
        field_manager: Some(names::MANAGER_OPERATOR.to_owned()),
        ..PostParams::default()
    }
}

/// Replaces the status of the ledger that was read; refused if it has changed since.
pub(super) async fn write(
    ctx: &Context,
    ledger: &RebootLedger,
    status: RebootLedgerStatus,
) -> Result<RebootLedger, CallError> {
    let mut replacement = ledger.clone();
    replacement.metadata.resource_version = Some(patch::version(&ledger.metadata));
    replacement.metadata.managed_fields = None;
    replacement.status = Some(status);
    let api: Api<RebootLedger> = Api::all(ctx.client.clone());
    let params = params();
    let put = api.replace_status(names::LEDGER_NAME, &params, &replacement);
    bounded("write the ledger", put).await
}

/// Makes the ledger, or finishes one that was made and never filled.
pub(super) async fn create(ctx: &Context, status: &RebootLedgerStatus) -> Result<Done, CallError> {
    // The decision rests on a cache; a lease that the cache missed must not lose its slot, nor may
    // a fence be given twice (faults.md Q16).
    let leases: Api<RebootLease> = Api::all(ctx.client.clone());
    let all = bounded(
        "list the leases",
        leases.list(&kube::api::ListParams::default()),
    )
    .await?;
    if !covers(status, &all.items) {
        return skip("a lease is not in the ledger that was planned");
    }
    let ledger = match read::ledger(&ctx.client).await? {
        Some(ledger) if ledger.status.is_some() => return skip("there is a ledger"),
        Some(ledger) => ledger,
        None => {
            let api: Api<RebootLedger> = Api::all(ctx.client.clone());
            let new = RebootLedger::new(names::LEDGER_NAME, RebootLedgerSpec::default());
            bounded("make the ledger", api.create(&params(), &new)).await?
        }
    };
    write(ctx, &ledger, status.clone()).await?;
    tracing::info!(
        slots = status.slots.len(),
        next_fence = status.next_fence,
        "ledger made"
    );
    Ok(Done::Applied)
}

/// True when the ledger knows of every fence and every live reboot of these leases.
fn covers(status: &RebootLedgerStatus, leases: &[RebootLease]) -> bool {
    leases.iter().all(|lease| {
        let journal = lease
            .status
            .as_ref()
            .map_or(0, |status| status.journal_fence);
        let revoked = lease.spec.revoke.as_ref().map_or(0, |revoke| revoke.fence);
        let highest = lease
            .granted_fence()
            .max(lease.accepted_fence())
            .max(journal)
            .max(revoked);
        let held = status
            .slots
            .iter()
            .any(|slot| Some(slot.lease_uid.as_str()) == lease.metadata.uid.as_deref());
        highest < status.next_fence && (held || !lease.phase().is_accepted())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn lease(status: &Value) -> RebootLease {
        serde_json::from_value(json!({
            "apiVersion": "slipway.dev/v1alpha1", "kind": "RebootLease",
            "metadata": {"name": "n", "uid": "l"},
            "spec": {"nodeUID": "u", "requestedAt": "2026-11-24T11:00:00Z"},
            "status": status,
        }))
        .unwrap()
    }

    #[test]
    fn q16_a_rebuilt_ledger_knows_every_fence_and_every_live_reboot() {
        let mut status = RebootLedgerStatus {
            next_fence: 5,
            ..RebootLedgerStatus::default()
        };
        assert!(covers(&status, &[]));
        assert!(covers(
            &status,
            &[lease(&json!({"phase": "Completed", "fence": 4}))]
        ));
        assert!(!covers(
            &status,
            &[lease(&json!({"phase": "Completed", "fence": 5}))]
        ));
        let journal = json!({"phase": "Pending", "fence": 0, "journalFence": 7});
        assert!(!covers(&status, &[lease(&journal)]));
        let live = lease(&json!({"phase": "Draining", "fence": 4}));
        assert!(!covers(&status, std::slice::from_ref(&live)));
        status.slots.push(slipway_api::Slot {
            node: "n".into(),
            node_uid: "u".into(),
            lease_uid: "l".into(),
            policy_uid: String::new(),
            fence: 4,
            control_plane: false,
            ..slipway_api::Slot::default()
        });
        assert!(covers(&status, &[live]));
    }
}
