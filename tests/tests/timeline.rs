//! The timeline of `kubectl reboot plan -o html`, opened in a real browser and measured there.
#![allow(
    clippy::print_stdout,
    reason = "where the pictures are is shown beside the result, for whoever wants to look"
)]

#[path = "protocol/world.rs"]
#[allow(dead_code, reason = "the suite of the protocol uses the rest")]
mod world;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use slipway_api::Phase;
use slipway_lab::browser::{Page, Scheme};
use slipway_lab::plugin::Plugin;

use world::{BOUND, POLICY, World};

const MEASURE: &str = include_str!("timeline/measure.js");
/// Of a laptop and of a large screen.
const WIDTHS: [u32; 2] = [1180, 1700];

/// What the script found.
#[derive(Debug, Deserialize)]
struct Found {
    trouble: Vec<String>,
    rows: Vec<Row>,
    marks: usize,
    resources: Vec<String>,
    legend: Vec<String>,
    blocked: String,
    difference: String,
    heading: String,
    ground: String,
}

/// One node.
#[derive(Debug, Deserialize)]
struct Row {
    node: String,
    bars: Vec<String>,
    windows: usize,
    left: Option<f64>,
    note: String,
    group: Option<String>,
}

#[tokio::test]
async fn the_timeline_is_whole_and_readable_in_a_browser() -> Result<()> {
    let world = World::start(6).await?;
    let plugin = Plugin::of_admin(&world.cluster)?;
    let page = plan(&world, &plugin).await?;

    // As a person gets it: nothing is refused by its own rules, and nothing is said.
    let as_is = Page::new(&page)?;
    let (document, console) = as_is.document(Scheme::Light, WIDTHS[0]).await?;
    ensure!(console.is_empty(), "the browser says: {console}");
    ensure!(document.contains("data-node=\"n6\""), "{document}");

    let mut grounds = BTreeSet::new();
    for scheme in [Scheme::Light, Scheme::Dark] {
        for width in WIDTHS {
            let found = measured(&page, scheme, width).await?;
            whole(&found).with_context(|| format!("{scheme:?}, {width} wide: {found:#?}"))?;
            grounds.insert(found.ground);
        }
        let picture = pictures()?.join(format!("timeline-{scheme:?}.png").to_lowercase());
        as_is.picture(scheme, (1440, 1000), &picture).await?;
        println!("a picture of it: {}", picture.display());
    }
    ensure!(grounds.len() == 2, "dark is as light: {grounds:?}");
    world.stop().await
}

/// A round over six nodes under another policy than the present one, while one is under way and
/// another is held.
async fn plan(world: &World, plugin: &Plugin) -> Result<String> {
    let empty = plugin.says(&["plan", "-o", "html"]).await?;
    let (document, console) = Page::new(&empty)?
        .document(Scheme::Light, WIDTHS[0])
        .await?;
    ensure!(
        console.is_empty() && document.contains("No node asks for a reboot."),
        "{console}{document}"
    );
    world.apply(POLICY).await?;
    world.hold_in("n1", Phase::Draining).await?;
    plugin
        .says(&["hold", "n3", "--reason", "<b>disk & fan</b>"])
        .await?;
    plugin.says(&["now", "n1", "--reason", "x"]).await?;
    world
        .cluster
        .wait_phase("n1", Phase::Draining, BOUND)
        .await?;
    let file = tempfile::NamedTempFile::new()?;
    std::fs::write(file.path(), later()?)?;
    let file = file.path().to_str().context("not UTF-8")?;
    plugin
        .says(&["plan", "--all", "-f", file, "-o", "html"])
        .await
}

/// Every node again, in hours of Berlin that begin in two to three hours.
fn later() -> Result<String> {
    let zone = jiff::tz::TimeZone::get("Europe/Berlin")?;
    let hour = slipway_client::clock::wall().to_zoned(zone).hour();
    let at = |later: i8| format!("{:02}:00", (hour + later) % 24);
    Ok(format!(
        "
apiVersion: slipway.dev/v1alpha1
kind: RebootPolicy
metadata: {{name: berlin}}
spec:
  nodeSelector: {{}}
  priority: 10
  schedule: {{timeZone: Europe/Berlin, windows: [{{start: '{}', end: '{}'}}]}}
",
        at(3),
        at(9)
    ))
}

/// A copy of the page with the script in it.
async fn measured(page: &str, scheme: Scheme, width: u32) -> Result<Found> {
    let rule = page
        .lines()
        .find(|line| line.contains("Content-Security-Policy"))
        .context("the page does not forbid scripts")?;
    let script = format!("<script>{MEASURE}</script></body>");
    let copy = page.replace(rule, "").replace("</body>", &script);
    let (document, console) = Page::new(&copy)?.document(scheme, width).await?;
    ensure!(console.is_empty(), "the browser says: {console}");
    let (_, rest) = document
        .split_once("id=\"found\">")
        .context("the script left nothing")?;
    let (json, _) = rest
        .split_once("</script>")
        .context("the script left half")?;
    Ok(serde_json::from_str(json)?)
}

fn whole(found: &Found) -> Result<()> {
    ensure!(found.trouble.is_empty(), "{:?}", found.trouble);
    ensure!(found.resources.is_empty(), "it loads {:?}", found.resources);
    ensure!(found.heading == "Reboot plan" && found.marks >= 2);
    ensure!(found.legend.len() == 6, "{:?}", found.legend);
    ensure!(
        found
            .difference
            .contains("4 later, 2 at the same time; 6 under another policy"),
        "{}",
        found.difference
    );
    let names: BTreeSet<&str> = found.rows.iter().map(|row| row.node.as_str()).collect();
    ensure!(
        names == BTreeSet::from(["n1", "n2", "n3", "n4", "n5", "n6"]),
        "{names:?}"
    );
    ensure!(found.rows.len() == names.len(), "a node stands twice");
    let mut dated = Vec::new();
    for row in &found.rows {
        let has = |class: &str| row.bars.iter().any(|bar| bar == &format!("bar {class}"));
        let number: usize = row.node.trim_start_matches('n').parse()?;
        let zone = format!("zone-{}", (number - 1) % 3 + 1);
        let group = row.group.as_deref().unwrap_or_default();
        ensure!(group.contains(&zone), "{} stands under {group}", row.node);
        match row.node.as_str() {
            "n1" => ensure!(has("away") && !has("start"), "{row:?}"),
            "n3" => ensure!(has("none") && row.note.contains("Held"), "{row:?}"),
            _ => {
                ensure!(has("start") && has("done") && has("before"), "{row:?}");
                ensure!(row.windows >= 1, "{} has no window", row.node);
                ensure!(row.note.contains("was "), "{row:?}");
                dated.push((date(&row.note)?, row.left.context("no bar")?));
            }
        }
    }
    // Who goes later stands further to the right.
    dated.sort_by(|a, b| a.0.cmp(&b.0));
    ensure!(dated.is_sorted_by(|a, b| a.1 <= b.1), "{dated:?}");
    let blocked = &found.blocked;
    ensure!(
        blocked.contains("n3") && blocked.contains("<b>disk & fan</b>") && !blocked.contains("n2"),
        "{blocked}"
    );
    Ok(())
}

fn date(note: &str) -> Result<String> {
    let words: Vec<&str> = note.split_whitespace().take(2).collect();
    let date = words.join(" ");
    jiff::civil::DateTime::strptime("%Y-%m-%d %H:%M", &date).with_context(|| note.to_owned())?;
    Ok(date)
}

fn pictures() -> Result<PathBuf> {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("timeline");
    std::fs::create_dir_all(&directory)?;
    Ok(directory)
}
