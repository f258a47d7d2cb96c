//! The documentation of reasons is whole and current.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use slipway_planner::catalogue::{markdown, reasons};

/// Words of the enum, read from its own table: a new reason cannot be forgotten here.
fn codes() -> BTreeSet<String> {
    let path = Path::new("src/reason/code.rs");
    let source = fs::read_to_string(path).unwrap();
    let table = source.split("fn code(").nth(1).unwrap();
    let table = table.split("\n    }\n").next().unwrap();
    table
        .split('"')
        .skip(1)
        .step_by(2)
        .map(str::to_owned)
        .collect()
}

#[test]
fn every_reason_is_in_the_catalogue_once() {
    let listed: Vec<String> = reasons()
        .iter()
        .map(|reason| reason.code().to_owned())
        .collect();
    let set: BTreeSet<String> = listed.iter().cloned().collect();
    assert_eq!(set.len(), listed.len(), "one is listed twice");
    assert_eq!(set, codes());
}

#[test]
fn every_reason_says_what_clears_it() {
    for reason in reasons() {
        assert!(!reason.to_string().is_empty(), "{reason:?}");
        let clears = reason.clears();
        assert!(
            clears.ends_with('.') && !clears.starts_with("See the message"),
            "{reason:?}: {clears:?}"
        );
    }
}

#[test]
fn the_page_is_current() {
    let path = Path::new("../docs/reasons.md");
    let page = fs::read_to_string(path).unwrap();
    assert!(
        page == markdown(),
        "docs/reasons.md is not current: run cargo xtask reasons"
    );
}
