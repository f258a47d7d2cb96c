//! The corpus of right and wrong objects, each sent to the API server as kubectl sends it.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail, ensure};
use kube::Client;
use kube::api::{DynamicObject, Patch, PatchParams, PostParams};
use kube::core::Request;
use serde_json::{Value, json};
use slipway_api::{RebootPolicy, validate_policy};
use slipway_lab::chart;

const CALL_BOUND: Duration = Duration::from_secs(10);
/// Wrong objects that there are at least: a corpus that was not found would prove nothing.
const WRONG_AT_LEAST: usize = 100;

fn files(directory: &str) -> Result<Vec<PathBuf>> {
    let directory = chart::repository().join("tests/corpus").join(directory);
    let mut files = fs::read_dir(&directory)
        .with_context(|| format!("failed to read {}", directory.display()))?
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<Vec<_>>>()?;
    files.sort();
    ensure!(!files.is_empty(), "{} is empty", directory.display());
    Ok(files)
}

/// The API's path of an object's kind.
fn collection(object: &Value) -> Result<&'static str> {
    Ok(match object["kind"].as_str() {
        Some("RebootPolicy") => "/apis/slipway.dev/v1alpha1/rebootpolicies",
        Some("RebootLease") => "/apis/slipway.dev/v1alpha1/rebootleases",
        Some("RebootLedger") => "/apis/slipway.dev/v1alpha1/rebootledgers",
        other => bail!("no kind of ours: {other:?}"),
    })
}

async fn send(
    client: &Client,
    request: Request,
    body: &Value,
    how: How<'_>,
) -> Result<DynamicObject> {
    let sent = match how {
        How::Create { dry_run } => {
            let params = PostParams {
                dry_run,
                ..PostParams::default()
            };
            let mut sent = request.create(&params, serde_json::to_vec(body)?)?;
            // kubectl asks for this: else an unknown field is dropped with a warning.
            *sent.uri_mut() = format!("{}&fieldValidation=Strict", sent.uri()).parse()?;
            sent
        }
        How::Patch(name, subresource) => {
            let params = PatchParams::default();
            match subresource {
                Some(subresource) => {
                    request.patch_subresource(subresource, name, &params, &Patch::Merge(body))?
                }
                None => request.patch(name, &params, &Patch::Merge(body))?,
            }
        }
    };
    Ok(tokio::time::timeout(CALL_BOUND, client.request(sent))
        .await
        .context("no answer")??)
}

enum How<'a> {
    Create { dry_run: bool },
    Patch(&'a str, Option<&'a str>),
}

/// What the API server accepts, the programs accept as well.
pub(crate) async fn what_is_right_is_accepted(client: &Client) -> Result<()> {
    for file in files("accepted")? {
        for object in chart::documents(&fs::read_to_string(&file)?)? {
            if object["kind"] == "RebootPolicy" {
                let policy: RebootPolicy = serde_json::from_value(object.clone())?;
                validate_policy(&policy.spec).with_context(|| file.display().to_string())?;
            }
            let request = Request::new(collection(&object)?);
            send(client, request, &object, How::Create { dry_run: true })
                .await
                .with_context(|| format!("{} was refused", file.display()))?;
        }
    }
    Ok(())
}

/// Every wrong object, or the second of two writes, is refused with the sentence in its first line.
pub(crate) async fn every_mistake_is_answered(client: &Client) -> Result<()> {
    let mut wrong = Vec::new();
    let mut seen = 0;
    for directory in ["policies", "leases", "ledgers"] {
        for file in files(directory)? {
            seen += 1;
            if let Err(error) = answered(client, &file).await {
                wrong.push(format!("{}: {error:#}", file.display()));
            }
        }
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    ensure!(seen >= WRONG_AT_LEAST, "only {seen} wrong objects");
    Ok(())
}

async fn answered(client: &Client, file: &Path) -> Result<()> {
    let text = fs::read_to_string(file)?;
    let sentence = text
        .lines()
        .next()
        .and_then(|line| line.strip_prefix("# expect: "))
        .context("the first line says nothing of what is expected")?;
    let documents = chart::documents(&text)?;
    let object = documents.first().context("no object")?;
    let collection = collection(object)?;
    let outcome = match documents.get(1) {
        None => {
            let request = Request::new(collection);
            send(client, request, object, How::Create { dry_run: true }).await
        }
        Some(change) => changed(client, collection, object, change).await?,
    };
    let error = match outcome {
        Ok(_) => bail!("accepted, but it should answer: {sentence}"),
        Err(error) => format!("{error:#}"),
    };
    ensure!(
        error.contains(sentence),
        "it should answer: {sentence}\nit answers: {error}"
    );
    Ok(())
}

/// Makes the object with its status, and returns the outcome of the change to it.
async fn changed(
    client: &Client,
    collection: &str,
    object: &Value,
    change: &Value,
) -> Result<Result<DynamicObject>> {
    let name = object["metadata"]["name"].as_str().context("no name")?;
    let request = || Request::new(collection);
    let before = async {
        let create = How::Create { dry_run: false };
        send(client, request(), object, create).await?;
        if let Some(status) = object.get("status") {
            let body = json!({ "status": status });
            send(client, request(), &body, How::Patch(name, Some("status"))).await?;
        }
        anyhow::Ok(())
    };
    before.await.context("failed to make what is changed")?;
    let subresource = change.get("status").map(|_| "status");
    let outcome = send(client, request(), change, How::Patch(name, subresource)).await;
    let delete = request().delete(name, &kube::api::DeleteParams::default())?;
    client
        .request_status::<DynamicObject>(delete)
        .await
        .map_err(|error| anyhow!("failed to delete {name}: {error}"))?;
    Ok(outcome)
}
