//! What counts as a need: the checks that a policy names, and how long a node may be up.

use crate::world::World;
use jiff::SignedDuration;
use slipway_api::Phase;
use slipway_planner::snapshot::Need;
use slipway_planner::{Action, Plan};

fn code<'a>(plan: &'a Plan, node: &str) -> &'a str {
    plan.verdicts[node].reason.code()
}

/// A node whose checks of these names ask.
fn asked_by(checks: &str, reason: &str) -> World {
    let mut world = World::new()
        .policy(
            "p",
            &format!("{{nodeSelector: {{}}, triggers: {{checks: {checks}}}}}"),
        )
        .nodes(&["a", "b"]);
    world.node_mut("a").need = Need::Required {
        reason: reason.into(),
        message: String::new(),
        since: world.now,
    };
    world
}

#[test]
fn one_check_that_counts_is_enough_among_several_that_ask() {
    for (checks, reason, granted) in [
        ("[kernel]", "Kernel", true),
        ("[kernel]", "Kernel,SentinelFile", true),
        ("[sentinel-file]", "Kernel,SentinelFile", true),
        ("[kernel]", "SentinelFile", false),
        ("['*']", "SomethingOfALaterAgent", true),
        ("[]", "Kernel", false),
        // What only the operator may say.
        ("[kernel]", "MaxUptime", false),
    ] {
        let mut world = asked_by(checks, reason);
        let plan = world.settle();
        assert_eq!(
            world.slots().len(),
            usize::from(granted),
            "{checks} {reason}"
        );
        if !granted {
            assert_eq!(code(&plan, "a"), "CheckNotCounted", "{checks} {reason}");
        }
    }
}

#[test]
fn the_grant_says_which_checks_count() {
    let mut world = asked_by("[kernel]", "Kernel");
    world.settle();
    let grant = world.lease("a").spec.grant.clone().unwrap();
    assert_eq!(grant.triggers.checks, ["kernel"]);
}

#[test]
fn f10_what_did_not_count_when_it_was_granted_is_not_this_reboots_failure() {
    for (left, phase) in [
        ("SentinelFile", Phase::Completed),
        ("Kernel,SentinelFile", Phase::Failed),
    ] {
        let mut world = asked_by("[kernel]", "Kernel,SentinelFile");
        let long_ago = world.now;
        world.settle();
        world.reboot("a", true);
        world.node_mut("a").need = Need::Required {
            reason: left.into(),
            message: String::new(),
            since: long_ago,
        };
        world.wait(61);
        world.settle();
        assert_eq!(world.phase("a"), Some(phase), "{left}");
    }
}

const OLD: &str = "{nodeSelector: {}, triggers: {checks: [], maxUptime: 720h}}";

fn up_for(hours: i64) -> World {
    let mut world = World::new().policy("p", OLD).nodes(&["a", "b"]);
    let booted = world.now - SignedDuration::from_hours(hours);
    world.node_mut("a").booted = Some(booted);
    world
}

#[test]
fn a_node_that_is_up_for_too_long_is_rebooted_whatever_its_checks_say() {
    for need in [
        Need::NotRequired,
        Need::Unreported,
        Need::Unknown {
            message: "broken".into(),
        },
        Need::Required {
            reason: "Kernel".into(),
            message: String::new(),
            since: up_for(0).now,
        },
    ] {
        let mut world = up_for(720);
        world.node_mut("a").need = need.clone();
        world.settle();
        assert_eq!(world.slots().len(), 1, "{need:?}");
        let grant = world.lease("a").spec.grant.clone().unwrap();
        assert_eq!(grant.triggers.max_uptime.unwrap().to_string(), "720h");
    }
}

#[test]
fn before_that_nothing_is_written_and_the_moment_is_not_missed() {
    let mut world = up_for(719);
    let plan = world.settle();
    assert!(world.slots().is_empty());
    assert!(
        !plan
            .actions
            .iter()
            .any(|action| matches!(action, Action::CreateLease { .. }))
    );
    assert_eq!(
        plan.wake_at,
        Some(world.now + SignedDuration::from_hours(1))
    );
    world.wait(3600);
    world.settle();
    assert_eq!(world.slots().len(), 1);
}

#[test]
fn a_node_whose_boot_nobody_reports_is_not_old() {
    let mut world = up_for(9999);
    world.node_mut("a").booted = None;
    world.settle();
    assert!(world.slots().is_empty());
}

#[test]
fn a_reboot_makes_a_node_young_again() {
    let mut world = up_for(720);
    world.settle();
    world.reboot("a", true);
    // The agent has not reported the new boot yet: nothing is known, so nothing follows.
    world.node_mut("a").booted = None;
    world.wait(61);
    world.settle();
    assert_eq!(world.phase("a"), Some(Phase::Completed));
    world.node_mut("a").booted = Some(world.now);
    world.wait(3600);
    world.settle();
    assert!(world.slots().is_empty());
}
