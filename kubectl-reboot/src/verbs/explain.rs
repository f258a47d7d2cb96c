//! `explain NODE`: where it stands, why, and what clears it.

use std::collections::BTreeMap;

use anyhow::{Result, bail};
use jiff::tz::TimeZone;
use serde::Serialize;
use slipway_api::RebootLease;
use slipway_api::checks::CheckStatus;
use slipway_api::lease::{Outcome, Transition};
use slipway_client::clock;
use slipway_planner::snapshot::{Need, NodeView};
use slipway_planner::{Snapshot, govern, need, plan};

use crate::arguments::{Connection, ExplainVerb, TextOutput};
use crate::view::{NodeRow, last_reboot};
use crate::{cluster, output, times, view};

/// Everything about one node.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Explanation {
    #[serde(flatten)]
    row: NodeRow,
    ready: bool,
    unschedulable: bool,
    /// What the host asks for.
    need: String,
    /// What each check of the host says, as the lease has it.
    checks: Vec<CheckStatus>,
    /// What clears each reason, in the order of `waitingFor`.
    clears: Vec<String>,
    /// What people have written in the lease.
    people: Vec<String>,
    /// How the last reboot ended, until the next one begins.
    #[serde(skip_serializing_if = "Option::is_none")]
    outcome: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_reboot_at: Option<jiff::Timestamp>,
    /// Steps of the present reboot.
    transitions: Vec<Transition>,
    history: Vec<Outcome>,
    drain: Vec<String>,
}

pub(crate) async fn run(connection: &Connection, verb: &ExplainVerb) -> Result<()> {
    let client = cluster::connect(connection).await?;
    let snapshot = cluster::snapshot(&client, connection).await?;
    let now = clock::wall();
    let Some(node) = snapshot.nodes.get(&verb.node) else {
        bail!("there is no node {:?}", verb.node);
    };
    let explanation = explain(&snapshot, node, now);
    let text = match verb.output {
        TextOutput::Text => {
            let zone = verb.time_zone.clone();
            describe(
                &explanation,
                now,
                &zone.unwrap_or_else(|| view::zone(&snapshot)),
            )
        }
        TextOutput::Json => output::json(&explanation)?,
        TextOutput::Yaml => output::yaml(&explanation)?,
    };
    output::text(&text)
}

fn explain(snapshot: &Snapshot, node: &NodeView, now: jiff::Timestamp) -> Explanation {
    let verdict = plan(snapshot, now).verdicts.remove(&node.name);
    let clears: BTreeMap<&str, &str> = verdict
        .iter()
        .flat_map(|verdict| verdict.waiting_for.iter().chain([&verdict.reason]))
        .map(|reason| (reason.code(), reason.clears()))
        .collect();
    let row = view::row(snapshot, node, now);
    let kinds: Vec<String> = if row.waiting_for.is_empty() {
        vec![row.reason.clone()]
    } else {
        row.waiting_for.iter().map(|one| one.kind.clone()).collect()
    };
    let lease = snapshot.leases.get(&node.name);
    let policy = govern::governance(snapshot, node).policy();
    let status = lease.and_then(|lease| lease.status.as_ref());
    Explanation {
        clears: kinds
            .iter()
            .map(|kind| {
                clears
                    .get(kind.as_str())
                    .copied()
                    .unwrap_or_default()
                    .to_owned()
            })
            .collect(),
        row,
        ready: node.ready,
        unschedulable: node.unschedulable,
        need: asked(&need::of(policy, node, now)),
        checks: status.map_or_else(Vec::new, |status| status.checks.clone()),
        people: lease.map_or_else(Vec::new, people),
        outcome: status
            .filter(|status| status.phase.is_terminal())
            .map(|status| format!("{} ({}): {}", status.phase, status.reason, status.message)),
        last_reboot_at: lease.and_then(last_reboot),
        transitions: status.map_or_else(Vec::new, |status| status.transitions.clone()),
        history: status.map_or_else(Vec::new, |status| status.history.clone()),
        drain: lease.map_or_else(Vec::new, pods),
    }
}

fn asked(need: &Need) -> String {
    match need {
        Need::Unreported => "not reported yet".to_owned(),
        Need::NotRequired => "no reboot".to_owned(),
        Need::Unknown { message } => format!("unknown: {message}"),
        Need::Required {
            reason,
            message,
            since,
        } => {
            format!("a reboot, since {since} ({reason}: {message})")
        }
    }
}

/// Each as a sentence; those that speak of an earlier reboot are left out.
fn people(lease: &RebootLease) -> Vec<String> {
    let mut said = Vec::new();
    if let Some(hold) = &lease.spec.hold {
        said.push(format!("held by {}: {}", hold.by, hold.reason));
    }
    if let Some(request) = lease.manual() {
        let overrides: Vec<String> = request
            .overrides
            .iter()
            .map(|one| format!("{one:?}"))
            .collect();
        let aside = if overrides.is_empty() {
            String::new()
        } else {
            format!(" (sets aside {})", overrides.join(", "))
        };
        said.push(format!(
            "requested by {}: {}{aside}",
            request.by, request.reason
        ));
    }
    if let Some(approved) = lease.spec.approved.as_ref().filter(|_| lease.is_approved()) {
        said.push(format!("approved by {}", approved.by));
    }
    let release = lease.spec.release.as_ref();
    if let Some(release) = release.filter(|one| one.fence >= lease.accepted_fence()) {
        said.push(format!(
            "fence {} released by {}: {}",
            release.fence, release.by, release.reason
        ));
    }
    said
}

fn pods(lease: &RebootLease) -> Vec<String> {
    let drain = lease
        .status
        .as_ref()
        .and_then(|status| status.drain.as_ref());
    drain
        .iter()
        .filter(|_| lease.phase().is_accepted())
        .flat_map(|drain| &drain.waiting)
        .map(|pod| format!("{}: {}", pod.pod, pod.reason))
        .collect()
}

fn describe(about: &Explanation, now: jiff::Timestamp, zone: &TimeZone) -> String {
    let row = &about.row;
    let mut lines = vec![
        ("Name", row.name.clone()),
        (
            "Policy",
            row.policy.clone().unwrap_or_else(|| "<none>".to_owned()),
        ),
        ("Asks for", about.need.clone()),
        ("Node", state(about)),
        (
            "Phase",
            row.phase
                .map_or_else(|| "<none>".to_owned(), |phase| phase.to_string()),
        ),
        ("Reason", row.reason.clone()),
        ("Message", row.message.clone()),
    ];
    if let Some(expected) = row.expected {
        let range = times::range(&expected.as_expected(), now, zone);
        let done = times::minute(expected.done_by, zone);
        let note = if row.if_automatic {
            ", once the policy's mode is Automatic"
        } else {
            ""
        };
        lines.push(("Expected", format!("{range}, done by {done}{note}")));
    }
    if let Some(outcome) = &about.outcome {
        lines.push(("Outcome", outcome.clone()));
    }
    if let Some(at) = about.last_reboot_at {
        let ago = times::age(at, now);
        lines.push((
            "Last reboot",
            format!("{} ({ago} ago)", times::minute(at, zone)),
        ));
    }
    let lines: Vec<String> = lines
        .into_iter()
        .map(|(head, value)| format!("{:14}{}\n", format!("{head}:"), one_line(&value)))
        .collect();
    let mut text = lines.concat();
    sections(&mut text, about, zone);
    text
}

fn sections(text: &mut String, about: &Explanation, zone: &TimeZone) {
    let row = &about.row;
    if row.waiting_for.is_empty() {
        section(
            text,
            "Cleared by",
            about.clears.iter().filter(|line| !line.is_empty()).cloned(),
        );
    } else {
        let waits = row.waiting_for.iter().zip(&about.clears);
        let waits = waits.flat_map(|(wait, clears)| {
            let mut lines = vec![format!("{}: {}", wait.kind, wait.message)];
            if !clears.is_empty() {
                lines.push(format!("  cleared by: {clears}"));
            }
            lines
        });
        section(text, "Waiting for", waits);
    }
    let checks = about.checks.iter().map(|check| {
        let since = times::minute(check.since.0, zone);
        let state = format!("{:?}", check.state);
        format!("{:14}{state:13}{since}  {}", check.name, check.detail)
    });
    section(text, "Checks", checks);
    section(text, "People", about.people.iter().cloned());
    section(text, "Pods that have not left", about.drain.iter().cloned());
    let steps = about
        .transitions
        .iter()
        .map(|step| format!("{}  {}", times::minute(step.at.0, zone), step.phase));
    section(text, "Steps", steps);
    let history = about.history.iter().map(|past| {
        format!(
            "{}  {}  {}",
            times::minute(past.at.0, zone),
            past.phase,
            past.reason
        )
    });
    section(text, "History", history);
}

fn state(about: &Explanation) -> String {
    let ready = if about.ready { "Ready" } else { "NotReady" };
    if about.unschedulable {
        format!("{ready}, cordoned")
    } else {
        ready.to_owned()
    }
}

fn section(text: &mut String, head: &str, lines: impl Iterator<Item = String>) {
    let lines: Vec<String> = lines.collect();
    if lines.is_empty() {
        return;
    }
    text.push_str(head);
    text.push_str(":\n");
    for line in lines {
        text.push_str("  ");
        text.push_str(&one_line(&line));
        text.push('\n');
    }
}

/// What others wrote must not draw on the terminal.
fn one_line(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}
