//! The API as people meet it: what the real API server accepts, and what it answers to mistakes.
#![allow(clippy::indexing_slicing, reason = "a panic fails the test")]

#[path = "crds/corpus.rs"]
mod corpus;
#[path = "crds/phases.rs"]
mod phases;
#[path = "crds/values.rs"]
mod values;

use std::collections::BTreeSet;
use std::fs;

use anyhow::{Context, Result, ensure};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{Api, ResourceExt};
use slipway_api::schema;
use slipway_lab::chart;
use slipway_lab::control_plane::{ControlPlane, ControlPlaneOptions};

fn api_server_only() -> ControlPlaneOptions {
    ControlPlaneOptions {
        controller_manager: false,
        scheduler: false,
        ..Default::default()
    }
}

/// A control plane that serves our kinds, and no admission policy of ours.
async fn with_crds() -> Result<ControlPlane> {
    let control_plane = ControlPlane::start(api_server_only()).await?;
    let mut kubectl = control_plane.kubectl()?;
    let yaml = chart::repository().join("crds/yaml");
    let output = kubectl
        .args(["apply", "--server-side", "-f"])
        .arg(yaml)
        .output()?;
    let told = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success() && told.is_empty(),
        "kubectl apply of the CRDs said: {told}"
    );
    let output = control_plane
        .kubectl()?
        .args(["wait", "--for=condition=Established", "--timeout=30s"])
        .args(["crd", "-l", "app.kubernetes.io/name=slipway"])
        .output()?;
    ensure!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(control_plane)
}

#[test]
fn the_crds_in_the_repository_are_those_of_the_code() -> Result<()> {
    let root = chart::repository();
    for (name, text) in schema::documents() {
        for directory in ["crds/yaml", "charts/slipway/crds"] {
            let path = root.join(directory).join(&name);
            let present = fs::read_to_string(&path).unwrap_or_default();
            ensure!(
                present == text,
                "{} is stale: run `cargo xtask crds`",
                path.display()
            );
        }
    }
    Ok(())
}

#[tokio::test]
async fn the_api_server_accepts_the_crds_and_answers_every_mistake() -> Result<()> {
    let control_plane = with_crds().await?;
    let client = control_plane.admin_client()?;
    let definitions: Api<CustomResourceDefinition> = Api::all(client.clone());
    for (file, _) in schema::documents() {
        let name = file.trim_end_matches(".yaml");
        let definition = definitions.get(name).await?;
        let conditions = definition
            .status
            .as_ref()
            .and_then(|status| status.conditions.clone())
            .context("no conditions")?;
        for condition in conditions {
            let wanted = ["Established", "NamesAccepted"].contains(&condition.type_.as_str());
            ensure!(
                (condition.status == "True") == wanted,
                "{}: {condition:?}",
                definition.name_any()
            );
        }
    }
    corpus::what_is_right_is_accepted(&client).await?;
    corpus::every_mistake_is_answered(&client).await?;
    phases::the_crd_allows_exactly_the_table(&client).await?;
    control_plane.stop().await
}

#[tokio::test]
async fn install_yaml_and_the_policies_beside_it_are_accepted_without_a_warning() -> Result<()> {
    let control_plane = ControlPlane::start(api_server_only()).await?;
    let examples = chart::repository().join("examples");
    // install.yaml makes what the others need.
    let mut files = vec![examples.join("install.yaml")];
    for entry in fs::read_dir(&examples)? {
        let path = entry?.path();
        if path
            .extension()
            .is_some_and(|extension| extension == "yaml")
            && path != files[0]
        {
            files.push(path);
        }
    }
    for file in files {
        // As people type it.
        let output = control_plane
            .kubectl()?
            .args(["apply", "-f"])
            .arg(&file)
            .output()?;
        let told = String::from_utf8_lossy(&output.stderr);
        ensure!(
            output.status.success() && told.is_empty(),
            "kubectl apply of {} said: {told}",
            file.display()
        );
    }
    control_plane.stop().await
}

#[tokio::test]
async fn helm_installs_upgrades_and_leaves_nothing_but_the_crds() -> Result<()> {
    let control_plane = ControlPlane::start(api_server_only()).await?;
    let home = tempfile::tempdir()?;
    let helm = |arguments: &[&str]| -> Result<()> {
        let output = chart::helm(home.path())?
            .args(arguments)
            .args(["--namespace", chart::NAMESPACE])
            .env("KUBECONFIG", control_plane.admin_kubeconfig())
            .output()?;
        ensure!(
            output.status.success(),
            "helm {arguments:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(())
    };
    let everything = || -> Result<BTreeSet<String>> {
        let kinds = "sa,role,rolebinding,clusterrole,clusterrolebinding,deploy,ds,pdb,\
                     validatingadmissionpolicy,validatingadmissionpolicybinding";
        let output = control_plane
            .kubectl()?
            .args(["get", "--all-namespaces", "--output=name", kinds])
            .output()?;
        let text = String::from_utf8(output.stdout)?;
        Ok(text.lines().map(str::to_owned).collect())
    };
    let chart = chart::directory();
    let chart = chart.to_str().context("not text")?;
    let before = everything()?;
    helm(&["install", "slipway", chart, "--create-namespace"])?;
    let installed = everything()?;
    let ours = installed.difference(&before).count();
    ensure!(ours >= 25, "only {ours} objects were installed");
    // The policies that came with the release let it be upgraded.
    helm(&["upgrade", "slipway", chart, "--set", "operator.replicas=3"])?;
    ensure!(
        everything()? == installed,
        "an upgrade made or removed objects"
    );
    helm(&["uninstall", "slipway"])?;
    let left = everything()?;
    ensure!(left == before, "left: {:?}", left.difference(&before));
    control_plane.stop().await
}
