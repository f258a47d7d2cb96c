//! What was told, in the policy's status: read at quorum and written by compare-and-swap, so that
//! two leaders cannot undo each other's record.

use kube::api::Patch;
use kube::{Api, Client};
use serde_json::json;
use slipway_api::RebootPolicy;
use slipway_api::policy::NotificationStatus;
use slipway_client::call::{CallError, bounded};

use crate::apply::patch;
use crate::observe::read;

/// Tries where somebody else writes the status meanwhile: reports do, often at the same moment.
const TRIES: usize = 5;

/// What became of a record.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Wrote {
    /// It stands there.
    Done,
    /// The policy is gone, so nothing is left to say.
    Gone,
}

/// Writes what `record` makes of what stands there.
pub(super) async fn write(
    client: &Client,
    (name, uid): (&str, &str),
    record: impl Fn(&[NotificationStatus]) -> Vec<NotificationStatus>,
) -> Result<Wrote, CallError> {
    let api: Api<RebootPolicy> = Api::all(client.clone());
    let mut tries = 0;
    loop {
        tries += 1;
        let read = read::get(&api, name, "read the policy to note what was told").await?;
        let Some(policy) = read.filter(|policy| policy.metadata.uid.as_deref() == Some(uid)) else {
            return Ok(Wrote::Gone);
        };
        let present = policy
            .status
            .as_ref()
            .map_or(&[][..], |status| &status.notifications);
        let record = record(present);
        if record == present {
            return Ok(Wrote::Done);
        }
        let body = json!({
            "metadata": {"resourceVersion": patch::version(&policy.metadata)},
            "status": {"notifications": record},
        });
        let (params, body) = (patch::params(), Patch::Merge(&body));
        let write = api.patch_status(name, &params, &body);
        match bounded("note what was told", write).await {
            Ok(_) => return Ok(Wrote::Done),
            Err(error) if error.is_conflict() && tries < TRIES => {}
            Err(error) => return Err(error),
        }
    }
}
