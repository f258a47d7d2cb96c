//! The timeline: a table with a row per node, in which bars lie where their times are.
//!
//! A table and no drawing, so that names can be copied, long sentences wrap, and whoever cannot see
//! bars reads or hears the same in words.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use jiff::tz::TimeZone;
use slipway_api::Phase;

use super::axis::Scale;
use super::text::{escape, nodes};
use crate::times;
use crate::verbs::plan::name;
use crate::view::{Before, ExpectedRow, NodeRow, PlanView};

/// Most nodes that are drawn; the page says how many more there are.
const NODES_MAX: usize = 2_000;

/// What the bars mean.
const LEGEND: &str = "<ul class=\"legend\">\
<li><span class=\"bar start\"></span>its reboot starts within this</li>\
<li><span class=\"bar done\"></span>done by the end of this</li>\
<li><span class=\"bar away\"></span>under way</li>\
<li><span class=\"bar none\"></span>blocked: no date</li>\
<li><span class=\"window\"></span>its policy\u{2019}s window is open</li>";
const LEGEND_BEFORE: &str = "<li><span class=\"bar before\"></span>without the change</li>";

/// The table with its legend.
pub(super) fn timeline(plan: &PlanView, zone: &TimeZone) -> String {
    let scale = Scale::new(plan);
    let mut text = String::from(LEGEND);
    if plan.change.is_some() {
        text.push_str(LEGEND_BEFORE);
    }
    text.push_str("</ul>\n<div class=\"scroll\"><table class=\"timeline\">\n");
    text.push_str("<colgroup><col class=\"node\"><col><col class=\"note\"></colgroup>\n");
    text.push_str(&head(&scale, zone));
    let ticks = ticks(&scale, zone);
    let drawn = plan.nodes.iter().take(NODES_MAX);
    let mut groups: BTreeMap<Option<&str>, Vec<&NodeRow>> = BTreeMap::new();
    for row in drawn {
        groups.entry(row.domain.as_deref()).or_default().push(row);
    }
    let named = groups.keys().any(Option::is_some);
    for (domain, rows) in &groups {
        text.push_str("<tbody>\n");
        if named {
            let domain = domain.map_or_else(|| "no failure domain".to_owned(), escape);
            text.push_str(&format!(
                "<tr><th class=\"domain\" colspan=\"3\" scope=\"rowgroup\">{domain} ({})</th></tr>\n",
                nodes(rows.len())
            ));
        }
        for row in rows {
            text.push_str(&line(plan, row, &scale, zone, &ticks));
        }
        text.push_str("</tbody>\n");
    }
    text.push_str("</table></div>\n");
    let more = plan.nodes.len().saturating_sub(NODES_MAX);
    if more > 0 {
        text.push_str(&format!("<p>And {more} more nodes.</p>\n"));
    }
    text
}

fn head(scale: &Scale, zone: &TimeZone) -> String {
    let marks: String = scale
        .marks(zone)
        .into_iter()
        .map(|mark| {
            let day = if mark.day.is_empty() {
                String::new()
            } else {
                format!("<b>{}</b>", mark.day)
            };
            let left = scale.left(mark.at);
            format!(
                "<span class=\"mark\" style=\"left:{left}\">{day}{}</span>",
                mark.time
            )
        })
        .collect();
    format!(
        "<thead><tr><th scope=\"col\">Node and policy</th><th scope=\"col\" class=\"axis\" \
         aria-label=\"Timeline\"><div class=\"lane\">{marks}</div></th>\
         <th scope=\"col\" class=\"note\" style=\"padding-left:16px\">When ({}) and why</th></tr></thead>\n",
        escape(name(zone))
    )
}

fn ticks(scale: &Scale, zone: &TimeZone) -> String {
    scale
        .marks(zone)
        .into_iter()
        .map(|mark| {
            let left = scale.left(mark.at);
            format!("<div class=\"tick\" style=\"left:{left}\"></div>")
        })
        .collect()
}

fn line(plan: &PlanView, row: &NodeRow, scale: &Scale, zone: &TimeZone, ticks: &str) -> String {
    let policy = row.policy.as_ref().map_or_else(
        || "<small>no policy</small>".to_owned(),
        |policy| format!("<small>{}</small>", escape(policy)),
    );
    let (bars, note) = match row.expected {
        Some(expected) => dated(plan, row, expected, scale, zone),
        None => dateless(plan, row, scale),
    };
    let mut lane = windows(plan, row, scale);
    lane.push_str(ticks);
    lane.push_str(&bars);
    let mut change = String::new();
    if let Some(before) = &row.before {
        if let Some(old) = before.expected {
            lane.push_str(&bar(
                "before",
                scale,
                (old.from, old.done_by),
                "without the change",
            ));
        }
        change = changed(plan, row, before, zone);
    }
    format!(
        "<tr data-node=\"{node}\"><th scope=\"row\">{node}{policy}</th>\
         <td class=\"track\"><div class=\"lane\" aria-hidden=\"true\">{lane}</div></td>\
         <td class=\"note\">{note}{change}</td></tr>\n",
        node = escape(&row.name)
    )
}

/// Stretches in which the node's policy lets reboots start.
fn windows(plan: &PlanView, row: &NodeRow, scale: &Scale) -> String {
    let policy = plan
        .policies
        .iter()
        .find(|policy| Some(&policy.name) == row.policy.as_ref());
    let spans = policy.map_or(&[][..], |policy| &policy.windows);
    spans
        .iter()
        .map(|(from, to)| {
            let style = scale.span(*from, *to);
            format!("<div class=\"window\" style=\"{style}\"></div>")
        })
        .collect()
}

fn dated(
    plan: &PlanView,
    row: &NodeRow,
    expected: ExpectedRow,
    scale: &Scale,
    zone: &TimeZone,
) -> (String, String) {
    let range = times::range(&expected.as_expected(), plan.at, zone);
    let done = times::minute(expected.done_by, zone);
    let title = format!("{}: starts {range}, done by {done}", row.name);
    let mut bars = bar("done", scale, (expected.from, expected.done_by), &title);
    bars.push_str(&bar("start", scale, (expected.from, expected.to), &title));
    let condition = if row.if_automatic {
        " once the mode is Automatic"
    } else {
        ""
    };
    let note = format!(
        "{}{condition}<small>done by {done}; {}</small>",
        escape(&range),
        escape(&row.reason)
    );
    (bars, note)
}

fn dateless(plan: &PlanView, row: &NodeRow, scale: &Scale) -> (String, String) {
    let (class, end) = if row.phase.is_some_and(Phase::is_accepted) {
        ("away", scale.soon())
    } else {
        ("none", scale.end())
    };
    let bars = bar(class, scale, (plan.at, end), &row.message);
    let note = format!(
        "<span class=\"reason\">{}</span><small>{}</small>",
        escape(&row.reason),
        escape(&row.message)
    );
    (bars, note)
}

fn changed(plan: &PlanView, row: &NodeRow, before: &Before, zone: &TimeZone) -> String {
    let mut parts = Vec::new();
    if before.policy != row.policy {
        let old = before.policy.as_deref().unwrap_or("no policy");
        parts.push(format!("was under {}", escape(old)));
    }
    match (before.expected, row.expected) {
        (Some(old), Some(new)) if old != new => {
            let (class, word) = match new.from.cmp(&old.from) {
                Ordering::Less => ("sooner", "sooner"),
                Ordering::Greater => ("later", "later"),
                Ordering::Equal => ("change", "changed"),
            };
            let range = times::range(&old.as_expected(), plan.at, zone);
            parts.push(format!(
                "<span class=\"{class}\">{word}</span>, was {}",
                escape(&range)
            ));
        }
        (Some(old), None) => {
            let range = times::range(&old.as_expected(), plan.at, zone);
            parts.push(format!(
                "<span class=\"later\">no date any more</span>, was {}",
                escape(&range)
            ));
        }
        (None, Some(_)) => parts.push(format!(
            "<span class=\"sooner\">has a date</span>, was {}",
            escape(&before.reason)
        )),
        _ => {}
    }
    if parts.is_empty() {
        return String::new();
    }
    format!("<small class=\"change\">{}</small>", parts.join("; "))
}

fn bar(
    class: &str,
    scale: &Scale,
    (from, to): (jiff::Timestamp, jiff::Timestamp),
    title: &str,
) -> String {
    format!(
        "<div class=\"bar {class}\" style=\"{}\" title=\"{}\"></div>",
        scale.span(from, to),
        escape(title)
    )
}
