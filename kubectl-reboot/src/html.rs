//! A plan as one page that needs nothing else: a timeline of every node, drawn as SVG.
//!
//! No script and no resource from elsewhere: it may be mailed, and opened where there is no network.

#![allow(
    clippy::format_push_string,
    reason = "a page is built once, and its parts read best where they are put in"
)]

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use slipway_api::Phase;

use crate::times;
use crate::verbs::plan::name;
use crate::view::{NodeRow, PlanView};

/// Most nodes that are drawn; the page says how many more there are.
const NODES_MAX: usize = 2_000;
/// Pixels: names, the timeline, what stands behind it, a row.
const NAMES: i64 = 220;
const WIDTH: i64 = 900;
const NOTES: i64 = 460;
const ROW: i64 = 26;
const HEAD: i64 = 44;
/// Most marks of the time axis.
const MARKS_MAX: i64 = 9;
/// Possible distances of two marks, in minutes.
const MARKS: [i64; 12] = [
    5, 10, 15, 30, 60, 120, 360, 720, 1_440, 2_880, 10_080, 40_320,
];

const STYLE: &str = "
:root { color-scheme: light dark; --fg: #1d2433; --muted: #5b6577; --line: #d9dee7; --bg: #ffffff;
  --open: #e8f3ec; --start: #2f6fde; --done: #a9c5f5; --away: #d98324; --none: #c3cad6; }
@media (prefers-color-scheme: dark) { :root { --fg: #e6e9ef; --muted: #9aa4b5; --line: #343b49;
  --bg: #171b23; --open: #1f3328; --start: #6ea0f5; --done: #2f4a7a; --away: #e39a45; --none: #4a5364; } }
body { font: 14px/1.45 system-ui, sans-serif; color: var(--fg); background: var(--bg); margin: 24px; }
h1 { font-size: 20px; margin: 0 0 4px; } p { color: var(--muted); margin: 0 0 16px; }
table { border-collapse: collapse; margin: 0 0 20px; } th, td { text-align: left; padding: 4px 16px 4px 0;
  border-bottom: 1px solid var(--line); } th { color: var(--muted); font-weight: 600; }
svg text { font: 13px system-ui, sans-serif; fill: var(--fg); } svg .muted { fill: var(--muted); font-size: 12px; }
svg .mark { stroke: var(--line); } svg .open { fill: var(--open); } svg .start { fill: var(--start); }
svg .done { fill: var(--done); } svg .away { fill: var(--away); } svg .none { fill: var(--none); }
.wrap { overflow-x: auto; } .key { display: inline-block; width: 12px; height: 12px; border-radius: 3px;
  margin: 0 6px 0 16px; vertical-align: -1px; } .key:first-child { margin-left: 0; }
";

/// The page.
pub(crate) fn page(plan: &PlanView, zone: &TimeZone) -> String {
    let mut page =
        String::from("<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n");
    page.push_str("<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n");
    page.push_str(
        "<meta name=\"viewport\" content=\"width=device-width\"><title>Reboot plan</title>\n",
    );
    page.push_str(&format!(
        "<style>{STYLE}</style></head>\n<body>\n<h1>Reboot plan</h1>\n"
    ));
    page.push_str(&format!(
        "<p>As of {} ({}). {}</p>\n",
        times::minute(plan.at, zone),
        escape(name(zone)),
        if plan.paused {
            "Everything is paused."
        } else {
            ""
        }
    ));
    page.push_str(&policies(plan, zone));
    if plan.nodes.is_empty() {
        page.push_str("<p>No node asks for a reboot.</p>\n");
    } else {
        page.push_str(LEGEND);
        page.push_str(&timeline(plan, zone));
    }
    page.push_str("</body></html>\n");
    page
}

const LEGEND: &str = "<p><span class=\"key\" style=\"background:var(--start)\"></span>starts within\
<span class=\"key\" style=\"background:var(--done)\"></span>done by the end of\
<span class=\"key\" style=\"background:var(--away)\"></span>under way\
<span class=\"key\" style=\"background:var(--none)\"></span>no date\
<span class=\"key\" style=\"background:var(--open)\"></span>window open</p>\n";

fn policies(plan: &PlanView, zone: &TimeZone) -> String {
    let mut text = String::from(
        "<table><tr><th>Policy</th><th>Mode</th><th>Nodes</th><th>Waiting</th><th>Blocked</th>\
         <th>Budget</th><th>All done by</th></tr>\n",
    );
    for row in &plan.policies {
        let done = row.all_done_by.map_or_else(
            || if row.never > 0 { "never" } else { "-" }.to_owned(),
            |time| times::minute(time, zone),
        );
        text.push_str(&format!(
            "<tr><td>{}</td><td>{:?}</td><td>{}</td><td>{}</td><td>{}</td><td>{} of {}</td><td>{done}</td></tr>\n",
            escape(&row.name),
            row.mode,
            row.matched,
            row.waiting,
            row.blocked + row.never,
            row.in_use,
            row.allowed,
        ));
    }
    text.push_str("</table>\n");
    text
}

/// Where a moment lies on the timeline.
struct Scale {
    from: i64,
    length: i64,
}

impl Scale {
    fn new(plan: &PlanView) -> Self {
        let ends = plan.nodes.iter().filter_map(|row| row.expected);
        let last = ends
            .map(|expected| expected.done_by)
            .max()
            .unwrap_or(plan.at);
        let from = plan.at.as_second();
        Self {
            from,
            length: last.as_second().saturating_sub(from).max(1_800),
        }
    }

    fn at(&self, time: Timestamp) -> i64 {
        let passed = time
            .as_second()
            .saturating_sub(self.from)
            .clamp(0, self.length);
        NAMES + passed.saturating_mul(WIDTH) / self.length
    }
}

fn timeline(plan: &PlanView, zone: &TimeZone) -> String {
    let scale = Scale::new(plan);
    let drawn: Vec<&NodeRow> = plan.nodes.iter().take(NODES_MAX).collect();
    let rows = i64::try_from(drawn.len()).unwrap_or(i64::MAX);
    let height = HEAD + rows * ROW + 8;
    let width = NAMES + WIDTH + NOTES;
    let mut svg = format!(
        "<div class=\"wrap\"><svg width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\" role=\"img\" aria-label=\"Timeline of reboots\">\n"
    );
    let mut top = HEAD;
    for row in &drawn {
        svg.push_str(&windows(plan, row, &scale, top));
        top += ROW;
    }
    svg.push_str(&marks(&scale, zone, height));
    let mut top = HEAD;
    for row in &drawn {
        svg.push_str(&line(plan, row, &scale, zone, top));
        top += ROW;
    }
    svg.push_str("</svg></div>\n");
    let more = plan.nodes.len().saturating_sub(drawn.len());
    if more > 0 {
        svg.push_str(&format!("<p>And {more} more nodes.</p>\n"));
    }
    svg
}

fn windows(plan: &PlanView, row: &NodeRow, scale: &Scale, top: i64) -> String {
    let policy = plan
        .policies
        .iter()
        .find(|policy| Some(&policy.name) == row.policy.as_ref());
    let spans = policy.map_or(&[][..], |policy| &policy.windows);
    spans
        .iter()
        .map(|(from, to)| bar("open", scale.at(*from), scale.at(*to), (top, ROW), ""))
        .collect()
}

fn line(plan: &PlanView, row: &NodeRow, scale: &Scale, zone: &TimeZone, top: i64) -> String {
    let text = top + 17;
    let mut line = format!(
        "<text x=\"0\" y=\"{text}\">{}</text>",
        escape(&cut(&row.name, 30))
    );
    let inner = (top + 5, ROW - 10);
    let note = if let Some(expected) = row.expected {
        let range = times::range(&expected.as_expected(), plan.at, zone);
        let done = times::minute(expected.done_by, zone);
        let title = format!("{}: {range}, done by {done}", row.name);
        let from = scale.at(expected.from);
        let to = scale.at(expected.to).max(from + 3);
        let done = scale.at(expected.done_by).max(to);
        line.push_str(&bar("done", from, done, inner, &title));
        line.push_str(&bar("start", from, to, inner, &title));
        format!("{range} {}", row.reason)
    } else {
        let class = if row.phase.is_some_and(Phase::is_accepted) {
            "away"
        } else {
            "none"
        };
        let at = scale.at(plan.at);
        line.push_str(&bar(class, at, at + 14, inner, &row.message));
        format!("{}: {}", row.reason, row.message)
    };
    line.push_str(&format!(
        "<text class=\"muted\" x=\"{}\" y=\"{text}\">{}</text>\n",
        NAMES + WIDTH + 14,
        escape(&cut(&note, 66)),
    ));
    line
}

fn bar(class: &str, from: i64, to: i64, (top, height): (i64, i64), title: &str) -> String {
    let width = to.saturating_sub(from).max(1);
    let radius = if class == "open" { 0 } else { 3 };
    let title = if title.is_empty() {
        String::new()
    } else {
        format!("<title>{}</title>", escape(title))
    };
    format!(
        "<rect class=\"{class}\" x=\"{from}\" y=\"{top}\" width=\"{width}\" height=\"{height}\" rx=\"{radius}\">{title}</rect>"
    )
}

/// The time axis: marks at round times of the zone.
fn marks(scale: &Scale, zone: &TimeZone, height: i64) -> String {
    let step = MARKS
        .iter()
        .copied()
        .find(|step| scale.length / (step * 60) < MARKS_MAX)
        .unwrap_or(40_320)
        .saturating_mul(60);
    let mut text = String::new();
    let Ok(start) = Timestamp::from_second(scale.from) else {
        return text;
    };
    let offset = i64::from(zone.to_offset(start).seconds());
    let first = (scale.from + offset).div_euclid(step) * step + step - offset;
    for number in 0..=MARKS_MAX {
        let Ok(time) = Timestamp::from_second(first + number * step) else {
            break;
        };
        if time.duration_since(start) > SignedDuration::from_secs(scale.length) {
            break;
        }
        let (x, label) = (scale.at(time), times::minute(time, zone));
        let (day, hour) = label.split_once(' ').unwrap_or((&label, ""));
        text.push_str(&format!(
            "<line class=\"mark\" x1=\"{x}\" x2=\"{x}\" y1=\"{HEAD}\" y2=\"{height}\"/>\
             <text class=\"muted\" text-anchor=\"middle\" x=\"{x}\" y=\"16\">{day}</text>\
             <text class=\"muted\" text-anchor=\"middle\" x=\"{x}\" y=\"33\">{hour}</text>\n"
        ));
    }
    text
}

fn cut(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(most.saturating_sub(1)).collect();
    short.push('\u{2026}');
    short
}

/// Names and messages are others' words.
fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            c if c.is_control() => safe.push(' '),
            c => safe.push(c),
        }
    }
    safe
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
            policy: None,
            phase: Some(Phase::Pending),
            reason: "AgentNotReady".into(),
            message: "<script>alert(1)</script>".into(),
            waiting_for: Vec::new(),
            expected,
            if_automatic: false,
            before: None,
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
    fn a_bar_lies_where_its_time_is() {
        let scale = Scale::new(&plan());
        assert_eq!(scale.at(at(0)), NAMES);
        assert_eq!(scale.at(at(60)), NAMES + WIDTH / 2);
        assert_eq!(scale.at(at(120)), NAMES + WIDTH);
        assert_eq!(scale.at(at(900)), NAMES + WIDTH);
    }
}
