//! `status`: every reboot under way or on record, and every policy, as the operator reports them.

use std::io::IsTerminal;

use anyhow::Result;
use jiff::Timestamp;
use kube::Client;
use serde::Serialize;
use slipway_api::{Phase, RebootLease, RebootPolicy, RebootPolicyStatus};
use slipway_client::clock;

use crate::arguments::{Connection, StatusVerb, TableOutput};
use crate::cluster::Seen;
use crate::live::Live;
use crate::selector::Requirement;
use crate::table::{Table, or_none};
use crate::view::last_reboot;
use crate::{cluster, output, selector, times};

/// Puts the cursor into the corner of a terminal and wipes it.
const CLEAR: &str = "\x1b[H\x1b[2J\x1b[3J";

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
    let selector = selector::selector(verb.selector.as_deref().unwrap_or_default())?;
    let client = cluster::connect(connection).await?;
    if verb.watch {
        return watch(&client, verb, &selector).await;
    }
    let seen = cluster::seen(&client, !selector.is_empty()).await?;
    output::text(&print(&gather(&seen, &selector), verb.output)?)
}

/// Stays, and prints it again whenever it changes: in place on a terminal, one below the other
/// elsewhere.
async fn watch(client: &Client, verb: &StatusVerb, selector: &[Requirement]) -> Result<()> {
    let mut live = Live::start(client, !selector.is_empty());
    let in_place = std::io::stdout().is_terminal()
        && matches!(verb.output, TableOutput::Table | TableOutput::Wide);
    let mut last = String::new();
    loop {
        live.next().await?;
        let status = gather(&live.seen(), selector);
        // Ages alone are no news.
        let news = format!("{status:?}");
        if news == last {
            continue;
        }
        let text = print(&status, verb.output)?;
        let between = match verb.output {
            _ if in_place => CLEAR,
            _ if last.is_empty() => "",
            TableOutput::Yaml => "---\n",
            _ => "\n",
        };
        output::text(&format!("{between}{text}"))?;
        last = news;
    }
}

fn print(status: &Status, how: TableOutput) -> Result<String> {
    let now = clock::wall();
    match how {
        TableOutput::Table => Ok(tables(status, false, now)),
        TableOutput::Wide => Ok(tables(status, true, now)),
        TableOutput::Json => output::json(status),
        TableOutput::Yaml => output::yaml(status),
    }
}

fn gather(seen: &Seen, selector: &[Requirement]) -> Status {
    let ledger = seen.ledger.as_ref();
    let slots = ledger.map_or(&[][..], slipway_planner::budget::slots);
    let leases = seen.leases.iter().filter(|lease| {
        let name = lease.metadata.name.as_deref().unwrap_or_default();
        selector.is_empty()
            || seen
                .labels
                .get(name)
                .is_some_and(|labels| selector::matches(selector, labels))
    });
    Status {
        paused: ledger.is_some_and(|ledger| ledger.spec.paused),
        in_progress: slots.iter().map(|slot| slot.node.clone()).collect(),
        policies: seen.policies.iter().map(policy).collect(),
        leases: leases
            .map(|lease| {
                let mut lease = lease.clone();
                lease.metadata.managed_fields = None;
                lease
            })
            .collect(),
    }
}

fn policy(policy: &RebootPolicy) -> PolicyStatus {
    PolicyStatus {
        name: policy.metadata.name.clone().unwrap_or_default(),
        paused: policy.spec.paused,
        status: policy.status.clone(),
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
