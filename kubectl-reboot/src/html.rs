//! A plan as one page that needs nothing else: what changes, the policies, a timeline of every node,
//! and what holds up those that have no date.
//!
//! No script and no resource from elsewhere: it may be mailed, and opened where there is no network.

#![allow(
    clippy::format_push_string,
    clippy::format_collect,
    reason = "a page is built once, and its parts read best where they are put in"
)]

mod axis;
mod text;
mod timeline;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use slipway_api::Phase;

use crate::times;
use crate::verbs::plan::name;
use crate::view::{NodeRow, PlanView, PolicyRow};
use text::{escape, nodes};

const STYLE: &str = include_str!("html/plan.css");
/// Nothing may be loaded or run, whatever stands in a name or a message.
const ONLY_STYLE: &str = "default-src 'none'; style-src 'unsafe-inline'";

/// The page.
pub(crate) fn page(plan: &PlanView, zone: &TimeZone) -> String {
    let mut page = format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head><meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"{ONLY_STYLE}\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>Reboot plan of {at}</title>\n<style>\n{STYLE}</style></head>\n<body>\n\
         <header><h1>Reboot plan</h1>\n<p>Made by kubectl reboot on {at} ({zone}).</p>\n",
        at = times::minute(plan.at, zone),
        zone = escape(name(zone)),
    );
    if plan.paused {
        page.push_str("<p class=\"state\">Everything is paused: no reboot is granted.</p>\n");
    }
    page.push_str(&format!("<p class=\"counts\">{}</p>\n", counts(plan)));
    if let Some(change) = plan.change {
        page.push_str(&format!(
            "<p class=\"counts\" id=\"difference\">Difference to the present: {}.</p>\n",
            escape(&change.sentence())
        ));
    }
    page.push_str("</header>\n<main>\n<h2>Policies</h2>\n");
    page.push_str(&policies(plan, zone));
    page.push_str("<h2>Timeline</h2>\n");
    if plan.nodes.is_empty() {
        page.push_str("<p>No node asks for a reboot.</p>\n");
    } else {
        page.push_str(&timeline::timeline(plan, zone));
    }
    page.push_str(&blocked(plan));
    page.push_str(
        "</main>\n<footer>Nine of ten reboots start within their range. \
         A node without a date waits for something that neither time nor other nodes bring about.\
         </footer>\n</body>\n</html>\n",
    );
    page
}

fn counts(plan: &PlanView) -> String {
    let dated = plan
        .nodes
        .iter()
        .filter(|row| row.expected.is_some())
        .count();
    let away = plan.nodes.iter().filter(|row| is_away(row)).count();
    let blocked = plan.nodes.iter().filter(|row| is_blocked(row)).count();
    format!(
        "{} asking for a reboot: {dated} with a date, {away} under way, {blocked} blocked.",
        nodes(plan.nodes.len())
    )
}

fn is_away(row: &NodeRow) -> bool {
    row.expected.is_none() && row.phase.is_some_and(Phase::is_accepted)
}

fn is_blocked(row: &NodeRow) -> bool {
    row.expected.is_none() && !is_away(row)
}

fn policies(plan: &PlanView, zone: &TimeZone) -> String {
    if plan.policies.is_empty() {
        return "<p>There is no RebootPolicy, so no node is ever rebooted.</p>\n".to_owned();
    }
    let is_change = plan.change.is_some();
    let mut text = format!(
        "<div class=\"scroll\"><table class=\"plain\" id=\"policies\"><thead><tr>\
         <th scope=\"col\">Policy</th><th scope=\"col\">Mode</th><th scope=\"col\">Nodes</th>\
         <th scope=\"col\">Waiting</th><th scope=\"col\">Blocked</th><th scope=\"col\">Budget in use</th>\
         <th scope=\"col\">Window</th><th scope=\"col\">All done by</th>{}</tr></thead>\n<tbody>\n",
        if is_change {
            "<th scope=\"col\">Without the change</th>"
        } else {
            ""
        }
    );
    for row in &plan.policies {
        let name = escape(&row.name);
        text.push_str(&format!(
            "<tr><th scope=\"row\">{name}</th><td>{:?}</td><td>{}</td><td>{}</td><td>{}</td>\
             <td>{} of {}</td><td class=\"date\">{}</td><td class=\"date\">{}</td>",
            row.mode,
            row.matched,
            row.waiting,
            row.blocked + row.never,
            row.in_use,
            row.allowed,
            escape(&crate::verbs::plan::window(row, zone)),
            done(row.all_done_by, row.never > 0, zone),
        ));
        if is_change {
            text.push_str(&format!("<td class=\"date\">{}</td>", before(row, zone)));
        }
        text.push_str("</tr>\n");
        if let Some(problem) = &row.problem {
            text.push_str(&format!(
                "<tr><td></td><td colspan=\"7\" class=\"reason\">{}</td></tr>\n",
                escape(problem)
            ));
        }
    }
    text.push_str("</tbody></table></div>\n");
    text
}

fn before(row: &PolicyRow, zone: &TimeZone) -> String {
    match row.before {
        None => "new".to_owned(),
        Some(before) => format!(
            "{}, all done by {}",
            nodes(usize::try_from(before.matched).unwrap_or_default()),
            done(before.all_done_by, false, zone)
        ),
    }
}

fn done(time: Option<Timestamp>, is_never: bool, zone: &TimeZone) -> String {
    match time {
        Some(time) => times::minute(time, zone),
        None if is_never => "never".to_owned(),
        None => "-".to_owned(),
    }
}

/// Each node without a date, with its reason and what clears it.
fn blocked(plan: &PlanView) -> String {
    let rows: String = plan
        .nodes
        .iter()
        .filter(|row| is_blocked(row))
        .map(|row| {
            format!(
                "<tr><th scope=\"row\">{}</th><td class=\"reason\">{}</td><td>{}</td><td>{}</td></tr>\n",
                escape(&row.name),
                escape(&row.reason),
                escape(&row.message),
                escape(&row.clears.replace('`', ""))
            )
        })
        .collect();
    if rows.is_empty() {
        return String::new();
    }
    format!(
        "<h2>Blocked</h2>\n<div class=\"scroll\"><table class=\"plain\" id=\"blocked\"><thead><tr>\
         <th scope=\"col\">Node</th><th scope=\"col\">Reason</th><th scope=\"col\">What it says</th>\
         <th scope=\"col\">What clears it</th></tr></thead>\n<tbody>\n{rows}</tbody></table></div>\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::ExpectedRow;

    fn at(minute: i64) -> Timestamp {
        Timestamp::from_second(1_795_521_600 + minute * 60).unwrap()
    }

    fn row(name: &str, expected: Option<ExpectedRow>) -> NodeRow {
        NodeRow {
            name: name.into(),
            phase: Some(Phase::Pending),
            reason: "AgentNotReady".into(),
            message: "<script>alert(1)</script>".into(),
            expected,
            ..NodeRow::default()
        }
    }

    fn plan() -> PlanView {
        let expected = ExpectedRow {
            from: at(60),
            to: at(90),
            done_by: at(120),
        };
        PlanView {
            at: at(0),
            paused: false,
            policies: Vec::new(),
            nodes: vec![row("a", Some(expected)), row("b", None)],
            change: None,
        }
    }

    #[test]
    fn the_page_needs_nothing_from_elsewhere_and_runs_nothing() {
        let page = page(&plan(), &TimeZone::UTC);
        for banned in ["http://", "https://", "<script", "src=", "@import", "url("] {
            assert!(!page.contains(banned), "{banned}");
        }
        assert!(page.contains("&lt;script&gt;"));
        assert!(page.ends_with("</html>\n"));
    }

    #[test]
    fn a_node_without_a_date_is_named_with_its_reason() {
        let page = page(&plan(), &TimeZone::UTC);
        let blocked = page.split("id=\"blocked\"").nth(1).unwrap();
        assert!(blocked.contains(">b<") && blocked.contains("AgentNotReady"));
        assert!(
            !blocked.contains(">a<"),
            "a node with a date is called blocked"
        );
        assert!(
            page.contains("2 nodes asking for a reboot: 1 with a date, 0 under way, 1 blocked.")
        );
    }
}
