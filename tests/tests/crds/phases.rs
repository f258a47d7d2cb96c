//! The phase table as the API server enforces it, pair by pair.

use anyhow::{Context, Result, ensure};
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::json;
use slipway_api::{Phase, PhaseOwner, RebootLease};

/// Of all 81 moves, the CRD allows those that one of our programs may make, and no other.
pub(crate) async fn the_crd_allows_exactly_the_table(client: &Client) -> Result<()> {
    let leases: Api<RebootLease> = Api::all(client.clone());
    let params = PatchParams::default();
    let mut wrong = Vec::new();
    for from in Phase::ALL {
        for to in Phase::ALL {
            let name = format!("{from}-{to}").to_lowercase();
            let lease = serde_json::from_value(json!({
                "metadata": { "name": name },
                "spec": { "nodeUID": "u", "requestedAt": "2026-03-01T00:00:00Z" },
            }))?;
            leases.create(&PostParams::default(), &lease).await?;
            let status = json!({ "status": { "phase": from } });
            leases
                .patch_status(&name, &params, &Patch::Merge(&status))
                .await
                .with_context(|| format!("failed to prepare {name}"))?;
            // What is accepted is a higher fence, and nothing else changes it.
            let accepts = to == Phase::Draining && from != Phase::Draining;
            let status = json!({ "status": { "phase": to, "fence": i64::from(accepts) } });
            let allowed = match leases
                .patch_status(&name, &params, &Patch::Merge(&status))
                .await
            {
                Ok(_) => true,
                Err(kube::Error::Api(answer)) if answer.message.contains("table of phases") => {
                    false
                }
                Err(error) => return Err(error).with_context(|| name),
            };
            let legal =
                from.may_become(to, PhaseOwner::Operator) || from.may_become(to, PhaseOwner::Agent);
            if allowed != legal {
                wrong.push(format!(
                    "{from} -> {to}: allowed is {allowed}, legal is {legal}"
                ));
            }
            leases.delete(&name, &DeleteParams::default()).await?;
        }
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}
