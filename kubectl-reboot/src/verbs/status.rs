//! `status`: every reboot under way or on record, and every policy, as the operator reports them.

use std::time::Duration;

use anyhow::Result;
use jiff::Timestamp;
use serde::Serialize;
use slipway_api::{Phase, RebootLease, RebootPolicyStatus};
use slipway_client::clock;
use slipway_planner::{PolicyView, Snapshot};

use crate::arguments::{Connection, StatusVerb, TableOutput};
use crate::cluster::Requirement;
use crate::table::{Table, or_none};
use crate::view::last_reboot;
use crate::{cluster, output, times};

/// How often a watched cluster is read.
const EVERY: Duration = Duration::from_secs(2);

/// What machines read.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    paused: bool,
    /// Nodes that hold a slot.
    in_progress: Vec<String>,
    policies: Vec<PolicyStatus>,
    leases: Vec<RebootLease>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct PolicyStatus {
    name: String,
    paused: bool,
    status: Option<RebootPolicyStatus>,
}

pub(crate) async fn run(connection: &Connection, verb: &StatusVerb) -> Result<()> {
    let selector = cluster::selector(verb.selector.as_deref().unwrap_or_default())?;
    let client = cluster::connect(connection).await?;
    let mut last = String::new();
    loop {
        let snapshot = cluster::snapshot(&client, connection).await?;
        let now = clock::wall();
        let status = gather(&snapshot, &selector);
        let text = match verb.output {
            TableOutput::Table => tables(&status, false, now),
            TableOutput::Wide => tables(&status, true, now),
            TableOutput::Json => output::json(&status)?,
            TableOutput::Yaml => output::yaml(&status)?,
        };
        // Ages alone are no news.
        let news = format!("{status:?}");
        if news != last {
            if !last.is_empty() {
                output::text(if verb.output == TableOutput::Yaml {
                    "---\n"
                } else {
                    "\n"
                })?;
            }
            output::text(&text)?;
            last = news;
        }
        if !verb.watch {
            return Ok(());
        }
        tokio::time::sleep(EVERY).await;
    }
}

fn gather(snapshot: &Snapshot, selector: &[Requirement]) -> Status {
    let ledger = snapshot.ledger.present();
    let slots = ledger.map_or(&[][..], slipway_planner::budget::slots);
    let leases = snapshot.leases.iter().filter(|(name, _)| {
        selector.is_empty()
            || snapshot
                .nodes
                .get(*name)
                .is_some_and(|node| cluster::matches(selector, &node.labels))
    });
    Status {
        paused: ledger.is_some_and(|ledger| ledger.spec.paused),
        in_progress: slots.iter().map(|slot| slot.node.clone()).collect(),
        policies: snapshot.policies.iter().map(policy).collect(),
        leases: leases
            .map(|(_, lease)| {
                let mut lease = lease.clone();
                lease.metadata.managed_fields = None;
                lease
            })
            .collect(),
    }
}

fn policy(view: &PolicyView) -> PolicyStatus {
    PolicyStatus {
        name: view.name.clone(),
        paused: view.spec.paused,
        status: view.status.clone(),
    }
}

fn tables(status: &Status, wide: bool, now: Timestamp) -> String {
    let mut text = String::new();
    if status.paused {
        text.push_str("Everything is paused: kubectl reboot resume --all\n\n");
    }
    if status.policies.is_empty() {
        text.push_str("There is no RebootPolicy, so no node is ever rebooted.\n");
    } else {
        text.push_str(&policies(status).print());
    }
    text.push('\n');
    if status.leases.is_empty() {
        text.push_str("No node has needed a reboot yet.\n");
    } else {
        text.push_str(&leases(status, wide, now).print());
    }
    text
}

fn policies(status: &Status) -> Table {
    let mut table = Table::new(&[
        "POLICY",
        "MATCHED",
        "REQUIRED",
        "IN-PROGRESS",
        "FAILED",
        "WINDOW",
        "STATE",
    ]);
    for policy in &status.policies {
        let present = policy.status.clone().unwrap_or_default();
        let window = present.window.map(|window| format!("{window:?}"));
        table.row(vec![
            policy.name.clone(),
            present.nodes.matched.to_string(),
            present.nodes.required.to_string(),
            present.nodes.in_progress.to_string(),
            present.nodes.failed.to_string(),
            window.unwrap_or_else(|| "-".to_owned()),
            state(policy, &present),
        ]);
    }
    table
}

/// The one thing that a person should know of a policy.
fn state(policy: &PolicyStatus, status: &RebootPolicyStatus) -> String {
    let reason = |kind: &str, wanted: &str| {
        status
            .conditions
            .iter()
            .find(|condition| condition.type_ == kind && condition.status == wanted)
            .map(|condition| condition.reason.clone())
    };
    if policy.paused {
        return "Paused".to_owned();
    }
    reason("Ready", "False")
        .or_else(|| reason("Degraded", "True"))
        .or_else(|| reason("Feasible", "False"))
        .or_else(|| reason("Progressing", "True"))
        .or_else(|| reason("Ready", "True"))
        .unwrap_or_else(|| "NotReported".to_owned())
}

fn leases(status: &Status, wide: bool, now: Timestamp) -> Table {
    let mut heads = vec![
        "NODE",
        "POLICY",
        "PHASE",
        "REASON",
        "PODS",
        "LAST-REBOOT",
        "SINCE",
    ];
    if wide {
        heads.extend(["FENCE", "MESSAGE"]);
    }
    let mut table = Table::new(&heads);
    let mut rows: Vec<&RebootLease> = status.leases.iter().collect();
    // What is under way comes first.
    rows.sort_by_key(|lease| {
        let phase = lease.phase();
        (
            !(phase.is_accepted() || phase == Phase::Granted),
            phase.is_terminal(),
        )
    });
    for lease in rows {
        let present = lease.status.clone().unwrap_or_default();
        let since = present.transitions.last().map(|step| step.at.0);
        let pods = present
            .drain
            .as_ref()
            .filter(|_| lease.phase().is_accepted());
        let ago = |time: Option<Timestamp>| {
            time.map_or_else(|| "-".to_owned(), |time| times::age(time, now))
        };
        let mut cells = vec![
            lease.metadata.name.clone().unwrap_or_default(),
            or_none(lease.spec.policy.as_ref().map(|policy| policy.name.clone())),
            lease.phase().to_string(),
            or_none(Some(present.reason.clone())),
            pods.map_or_else(|| "-".to_owned(), |drain| drain.pods.clone()),
            ago(last_reboot(lease)),
            ago(since),
        ];
        if wide {
            cells.extend([present.fence.to_string(), present.message.clone()]);
        }
        table.row(cells);
    }
    table
}
