//! Policies that can be obeyed and would never get anything done.

use crate::world::World;
use slipway_planner::forecast::Durations;
use slipway_planner::lint::findings;

fn codes(spec: &str, nodes: usize) -> Vec<&'static str> {
    let names: Vec<String> = (0..nodes).map(|number| format!("n{number}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let world = World::new().policy("p", spec).nodes(&names);
    let policy = &world.snapshot.policies[0];
    let durations = Durations::assumed(&policy.spec);
    let found = findings(&world.snapshot, policy, durations, world.now);
    for finding in &found {
        assert!(finding.to_string().starts_with("spec."), "{finding}");
    }
    found
        .iter()
        .map(slipway_planner::lint::Finding::code)
        .collect()
}

#[test]
fn what_can_be_done_is_not_complained_about() {
    for spec in [
        "{nodeSelector: {}}",
        "{nodeSelector: {}, paused: true}",
        "{nodeSelector: {}, schedule: {windows: [{start: '22:00', end: '05:00'}]}}",
        "{nodeSelector: {}, schedule: {timeZone: Mars/Olympus}}",
    ] {
        assert_eq!(codes(spec, 3), [""; 0], "{spec}");
    }
}

#[test]
fn a_selector_that_matches_nothing_is_named() {
    let spec = "{nodeSelector: {matchLabels: {role: none}}}";
    assert_eq!(codes(spec, 3), ["NothingSelected"]);
}

#[test]
fn a_budget_of_nothing_is_named() {
    assert_eq!(
        codes("{nodeSelector: {}, budget: {maxUnavailable: 0}}", 3),
        ["NoBudget"]
    );
}

#[test]
fn a_window_shorter_than_one_reboot_is_named() {
    let spec = "{nodeSelector: {}, schedule: {windows: [{start: '22:00', end: '22:04'}]}}";
    assert_eq!(codes(spec, 3), ["WindowTooShort"]);
    let longer = "{nodeSelector: {}, schedule: {windows: [{start: '22:00', end: '22:06'}]}}";
    assert_eq!(codes(longer, 3), [""; 0]);
}

#[test]
fn a_freeze_that_covers_every_window_is_named() {
    let windows = "windows: [{start: '22:00', end: '05:00'}]";
    let freeze = |to: &str| format!("freezes: [{{from: '2026-11-20', to: '{to}', reason: move}}]");
    let spec =
        |parts: &[&str]| format!("{{nodeSelector: {{}}, schedule: {{{}}}}}", parts.join(", "));
    for parts in [
        vec![windows, &freeze("2027-06-01")],
        // Without windows it is open but for the freeze.
        vec![&freeze("2027-06-01")],
    ] {
        assert_eq!(codes(&spec(&parts), 3), ["EveryWindowFrozen"], "{parts:?}");
    }
    // One that ends within nine weeks leaves windows.
    assert_eq!(codes(&spec(&[windows, &freeze("2027-01-04")]), 3), [""; 0]);
    // Where none would come anyway, the freeze is not what is wrong.
    let yearly = "windows: [{cron: '0 2 1 8 *', duration: 2h}]";
    assert_eq!(codes(&spec(&[yearly]), 3), ["NeverOpen"]);
    assert_eq!(
        codes(&spec(&[yearly, &freeze("2027-06-01")]), 3),
        ["NeverOpen"]
    );
}

#[test]
fn a_fleet_that_no_year_is_long_enough_for_is_named() {
    let weekly =
        "{nodeSelector: {}, schedule: {windows: [{days: [Sun], start: '22:00', end: '22:30'}]}}";
    // Six a week.
    assert_eq!(codes(weekly, 300), [""; 0]);
    assert_eq!(codes(weekly, 400), ["NeverFinishes"]);
}
