//! `plan`: who goes when, and what the others wait for.

use anyhow::Result;
use jiff::tz::TimeZone;
use slipway_client::clock;

use crate::arguments::{Connection, PlanOutput, PlanVerb};
use crate::table::{Table, or_none};
use crate::view::{Before, Change, NodeRow, PlanView, PolicyRow};
use crate::{cluster, file, html, output, selector, times, view};

pub(crate) async fn run(connection: &Connection, verb: &PlanVerb) -> Result<()> {
    let selector = selector::selector(verb.selector.as_deref().unwrap_or_default())?;
    // A file that cannot be read is said before the cluster is asked.
    let policies = verb.filename.as_deref().map(file::read).transpose()?;
    let client = cluster::connect(connection).await?;
    let mut present = cluster::snapshot(&client, connection).await?;
    let now = clock::wall();
    if verb.all {
        present = view::all_needed(&present, now);
    }
    let is_change = policies.is_some();
    let shown = match policies {
        None => present.clone(),
        Some(policies) => file::apply(&present, policies),
    };
    let mut plan = view::view(&shown, now);
    if is_change {
        view::compare(&mut plan, &view::view(&present, now));
    }
    plan.nodes.retain(|row| {
        let labels = present.nodes.get(&row.name).map(|node| &node.labels);
        labels.is_some_and(|labels| selector::matches(&selector, labels))
    });
    let zone = verb.time_zone.clone();
    let zone = zone.unwrap_or_else(|| view::zone(&shown));
    plan.change = is_change.then(|| Change::of(&plan.nodes));
    let text = match verb.output {
        PlanOutput::Table => tables(&plan, is_change, false, &zone),
        PlanOutput::Wide => tables(&plan, is_change, true, &zone),
        PlanOutput::Json => output::json(&plan)?,
        PlanOutput::Yaml => output::yaml(&plan)?,
        PlanOutput::Html => html::page(&plan, &zone),
    };
    output::text(&text)
}

fn tables(plan: &PlanView, is_change: bool, wide: bool, zone: &TimeZone) -> String {
    let mut text = String::new();
    if plan.paused {
        text.push_str("Everything is paused: kubectl reboot resume --all\n\n");
    }
    if plan.policies.is_empty() {
        text.push_str("There is no RebootPolicy, so no node is ever rebooted.\n");
    } else {
        text.push_str(&policies(plan, zone).print());
    }
    for row in &plan.policies {
        if let Some(problem) = &row.problem {
            text.push_str(problem);
            text.push('\n');
        }
    }
    if let Some(change) = plan.change {
        text.push_str("\nDifference to the present: ");
        text.push_str(&change.sentence());
        text.push_str(".\n");
    }
    text.push('\n');
    if plan.nodes.is_empty() {
        text.push_str("No node asks for a reboot.\n");
    } else {
        text.push_str(&nodes(plan, is_change, wide, zone).print());
    }
    text
}

fn policies(plan: &PlanView, zone: &TimeZone) -> Table {
    let done = format!("ALL-DONE-BY ({})", name(zone));
    let mut table = Table::new(&[
        "POLICY", "MODE", "MATCHED", "WAITING", "BLOCKED", "IN-USE", "WINDOW", &done,
    ]);
    for row in &plan.policies {
        table.row(vec![
            row.name.clone(),
            format!("{:?}", row.mode),
            row.matched.to_string(),
            row.waiting.to_string(),
            (row.blocked + row.never).to_string(),
            format!("{}/{}", row.in_use, row.allowed),
            window(row, zone),
            all_done(row, zone),
        ]);
    }
    table
}

pub(crate) fn window(row: &PolicyRow, zone: &TimeZone) -> String {
    match row.window {
        None => "Unknown".to_owned(),
        Some(window) => match (window.open, window.until) {
            (true, None) => "Always".to_owned(),
            (true, Some(until)) => format!("Open until {}", times::minute(until, zone)),
            (false, Some(until)) => format!("Opens {}", times::minute(until, zone)),
            (false, None) => "Never".to_owned(),
        },
    }
}

fn all_done(row: &PolicyRow, zone: &TimeZone) -> String {
    match row.all_done_by {
        Some(time) => times::minute(time, zone),
        None if row.never > 0 => "Never".to_owned(),
        None => "-".to_owned(),
    }
}

fn nodes(plan: &PlanView, is_change: bool, wide: bool, zone: &TimeZone) -> Table {
    let expected = format!("EXPECTED ({})", name(zone));
    let mut heads = vec!["NODE", "POLICY", "PHASE", expected.as_str(), "REASON"];
    if is_change {
        heads.push("CHANGE");
    }
    if wide {
        heads.extend(["DONE-BY", "MESSAGE"]);
    }
    let mut table = Table::new(&heads);
    for row in &plan.nodes {
        let mut cells = vec![
            row.name.clone(),
            or_none(row.policy.clone()),
            row.phase
                .map_or_else(|| "-".to_owned(), |phase| phase.to_string()),
            date(row, plan, zone),
            row.reason.clone(),
        ];
        if is_change {
            cells.push(
                row.before
                    .as_ref()
                    .map_or_else(String::new, |before| change(row, before, plan, zone)),
            );
        }
        if wide {
            let done = row
                .expected
                .map(|expected| times::minute(expected.done_by, zone));
            cells.push(done.unwrap_or_else(|| "-".to_owned()));
            cells.push(row.message.clone());
        }
        table.row(cells);
    }
    table
}

fn date(row: &NodeRow, plan: &PlanView, zone: &TimeZone) -> String {
    match row.expected {
        Some(expected) => {
            let range = times::range(&expected.as_expected(), plan.at, zone);
            if row.if_automatic {
                format!("({range}) if Automatic")
            } else {
                range
            }
        }
        None if row.phase.is_some_and(slipway_api::Phase::is_accepted) => "under way".to_owned(),
        None => "-".to_owned(),
    }
}

fn change(row: &NodeRow, before: &Before, plan: &PlanView, zone: &TimeZone) -> String {
    let mut parts = Vec::new();
    if before.policy != row.policy {
        parts.push(format!("was under {}", or_none(before.policy.clone())));
    }
    match before.expected {
        Some(old) if Some(old) != row.expected => {
            let range = times::range(&old.as_expected(), plan.at, zone);
            parts.push(format!("was {range}"));
        }
        None if row.expected.is_some() => parts.push(format!("was {}", before.reason)),
        _ => {}
    }
    parts.join(", ")
}

/// The zone as people wrote it.
pub(crate) fn name(zone: &TimeZone) -> &str {
    zone.iana_name().unwrap_or("UTC")
}
