//! Each policy and each of its validations is needed: without it, a cell of the matrix is answered
//! otherwise.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail, ensure};
use k8s_openapi::api::admissionregistration::v1::{
    ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding, ValidatingAdmissionPolicySpec,
};
use kube::api::{DeleteParams, Patch, PatchParams};
use kube::{Api, ResourceExt};
use serde_json::json;
use slipway_lab::chart;
use slipway_lab::control_plane::apply::apply_yaml;

use super::cells::Cell;
use super::world::World;

/// Validations that cannot be seen to work, by policy and position, because the API server itself
/// refuses or undoes what they guard against before they are asked.
const GUARDED_TWICE: &[(&str, usize)] = &[
    // The status subresource drops changes of the spec.
    ("slipway-agent-lease-status", 3),
    // The CRD refuses another fence outside of acceptance.
    ("slipway-agent-lease-status", 4),
    // RBAC lets no agent create or delete Nodes.
    ("slipway-agent-node", 2),
    // The CRD refuses the same.
    ("slipway-lease-status", 2),
];

/// The cells that one policy has to refuse.
fn of_policy(cells: &[Cell], policy: &str) -> Vec<Cell> {
    let refused = |cell: &&Cell| cell.policy() == Some(policy);
    cells.iter().filter(refused).cloned().collect()
}

/// Takes the policies out of force, and puts them back: each misses a cell of its own.
pub(crate) async fn every_policy_is_needed(world: &World, cells: &[Cell]) -> Result<()> {
    let bindings: Api<ValidatingAdmissionPolicyBinding> = Api::all(world.admin.clone());
    let ours = bindings
        .list(&kube::api::ListParams::default())
        .await?
        .items;
    ensure!(!ours.is_empty(), "there is no policy");
    for binding in &ours {
        bindings
            .delete(&binding.name_any(), &DeleteParams::default())
            .await?;
    }
    let mut missed = Vec::new();
    for binding in &ours {
        let name = binding.name_any();
        let wrong = world.wait_wrong(&of_policy(cells, &name)).await;
        missed.push(wrong.with_context(|| format!("nothing changes without {name}"))?);
    }
    let documents = chart::documents(&chart::install_yaml()?)?;
    for binding in &ours {
        let kind = "ValidatingAdmissionPolicyBinding";
        let original = chart::find(&documents, kind, &binding.name_any())?;
        apply_yaml(&world.admin, &original.to_string()).await?;
    }
    world.wait_restored(&missed).await
}

async fn write_spec(
    policies: &Api<ValidatingAdmissionPolicy>,
    name: &str,
    spec: &ValidatingAdmissionPolicySpec,
) -> Result<()> {
    let patch = json!({ "spec": spec });
    policies
        .patch(name, &PatchParams::default(), &Patch::Merge(&patch))
        .await?;
    Ok(())
}

/// Makes each validation of each policy hold always, the n-th of all policies at a time.
pub(crate) async fn every_validation_is_needed(world: &World, cells: &[Cell]) -> Result<()> {
    let policies: Api<ValidatingAdmissionPolicy> = Api::all(world.admin.clone());
    let originals: BTreeMap<String, ValidatingAdmissionPolicy> = policies
        .list(&kube::api::ListParams::default())
        .await?
        .items
        .into_iter()
        .map(|policy| (policy.name_any(), policy))
        .collect();
    let mut unneeded = Vec::new();
    for position in 0.. {
        let mut mutants = Vec::new();
        for (name, original) in &originals {
            let mut mutant = original.spec.clone().context("no spec")?;
            let validations = mutant.validations.as_mut().context("no validations")?;
            let Some(validation) = validations.get_mut(position) else {
                continue;
            };
            "true".clone_into(&mut validation.expression);
            write_spec(&policies, name, &mutant).await?;
            mutants.push(name);
        }
        if mutants.is_empty() {
            break;
        }
        let mut missed = Vec::new();
        for name in &mutants {
            if GUARDED_TWICE.contains(&(name.as_str(), position)) {
                continue;
            }
            match world.wait_wrong(&of_policy(cells, name)).await {
                Ok(cell) => missed.push(cell),
                Err(error) => {
                    unneeded.push(format!("validation {position} of {name}: {error:#}"));
                }
            }
        }
        for name in mutants {
            let original = originals.get(name).and_then(|policy| policy.spec.as_ref());
            write_spec(&policies, name, original.context("no spec")?).await?;
        }
        // Else a miss of this round would count for the next one.
        world.wait_restored(&missed).await?;
    }
    if !unneeded.is_empty() {
        bail!("nothing changes without:\n{}", unneeded.join("\n"));
    }
    Ok(())
}
