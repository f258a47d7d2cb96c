//! What is written on Nodes: the soft taint, labels and annotations, and that each is taken away.

use std::collections::BTreeMap;

use crate::world::World;
use slipway_api::Phase;
use slipway_planner::marks::{MARKS_MAX, Marks};
use slipway_planner::snapshot::Gap;
use slipway_planner::{Action, check};

const TAINTED: &str = "{nodeSelector: {}, verify: {nodeReadyFor: 10s}, cordon: {softTaint: true}}";
const LABELLED: &str = "{nodeSelector: {}, verify: {nodeReadyFor: 10s}, nodeMetadata: {labelsWhileRebooting: {state: rebooting}, labelsAfter: {state: done}, annotate: true}}";

/// What may happen to a policy, or to everything.
type Edit = fn(&mut World);

fn world(spec: &str, nodes: &[&str]) -> World {
    let mut world = World::new().policy("p", spec).nodes(nodes).need(nodes);
    world.settle();
    world
}

fn tainted(world: &World) -> Vec<&str> {
    let nodes = world.snapshot.nodes.values();
    nodes
        .filter(|node| node.marks.soft_taint)
        .map(|node| node.name.as_str())
        .collect()
}

fn state(world: &World, node: &str) -> Option<String> {
    world.node(node).labels.get("state").cloned()
}

fn annotated(world: &World, node: &str) -> Vec<String> {
    world.node(node).marks.annotations.keys().cloned().collect()
}

#[test]
fn nodes_that_wait_are_tainted_until_they_have_rebooted() {
    let mut world = world(TAINTED, &["a", "b"]);
    assert_eq!(tainted(&world), ["a", "b"]);
    let before = world.settle();
    assert!(before.actions.is_empty(), "{:#?}", before.actions);
    world.reboot("a", true);
    world.settle();
    assert_eq!(world.phase("a"), Some(Phase::Completed));
    assert_eq!(tainted(&world), ["b"]);
}

#[test]
fn the_taint_goes_when_the_node_waits_no_more_and_whatever_became_of_its_policy() {
    let base = world(TAINTED, &["a", "b"]);
    let edits: [(&str, Edit); 9] = [
        ("paused", |world| {
            world.edit_policy(
                "p",
                "{nodeSelector: {}, paused: true, cordon: {softTaint: true}}",
            );
        }),
        ("observed", |world| {
            world.edit_policy(
                "p",
                "{nodeSelector: {}, mode: Observe, cordon: {softTaint: true}}",
            );
        }),
        ("broken", |world| {
            world.edit_policy(
                "p",
                "{nodeSelector: {}, schedule: {timeZone: Mars}, cordon: {softTaint: true}}",
            );
        }),
        ("field removed", |world| {
            world.edit_policy("p", "{nodeSelector: {}}");
        }),
        ("deselected", |world| {
            world.edit_policy(
                "p",
                "{nodeSelector: {matchLabels: {x: y}}, cordon: {softTaint: true}}",
            );
        }),
        ("deleted", |world| world.snapshot.policies.clear()),
        ("contested", |world| world.add_policy("q", TAINTED)),
        ("everything paused", |world| {
            world.ledger_mut().spec.paused = true;
        }),
        ("no need", |world| {
            for node in ["a", "b"] {
                world.node_mut(node).need = slipway_planner::Need::NotRequired;
            }
        }),
    ];
    for (name, edit) in edits {
        let mut world = base.clone();
        edit(&mut world);
        world.settle();
        // The agent undoes what was called off.
        for node in ["a", "b"] {
            world.agent(node);
        }
        world.settle();
        assert!(tainted(&world).is_empty(), "{name}: {:?}", tainted(&world));
    }
}

#[test]
fn a_lease_that_was_deleted_leaves_no_mark_behind() {
    let mut world = world(TAINTED, &["a", "b"]);
    world.snapshot.leases.remove("b");
    world.node_mut("b").need = slipway_planner::Need::NotRequired;
    world.settle();
    assert_eq!(tainted(&world), ["a"]);
}

#[test]
fn labels_and_annotations_follow_a_reboot_to_its_end() {
    let mut world = world(LABELLED, &["a", "b"]);
    // Granted already.
    assert_eq!(state(&world, "a").as_deref(), Some("rebooting"));
    assert_eq!(state(&world, "b"), None);
    assert_eq!(
        annotated(&world, "b"),
        ["slipway.dev/reboot-required-since"]
    );
    world.agent("a");
    world.settle();
    let both = [
        "slipway.dev/reboot-in-progress",
        "slipway.dev/reboot-required-since",
    ];
    assert_eq!(annotated(&world, "a"), both);
    world.reboot("a", true);
    world.settle();
    assert_eq!(state(&world, "a").as_deref(), Some("done"));
    assert!(annotated(&world, "a").is_empty());
    // The next need: what was done stays done until it is granted.
    world.require("a");
    world.settle();
    assert_eq!(world.phase("a"), Some(Phase::Pending));
    assert_eq!(state(&world, "a").as_deref(), Some("done"));
    world.edit_policy("p", "{nodeSelector: {}}");
    world.settle();
    assert_eq!(state(&world, "a"), None);
    assert!(world.node("a").marks.labels.is_empty());
}

#[test]
fn k19_a_reboot_that_failed_or_was_called_off_is_never_labelled_as_done() {
    let mut failed = world(LABELLED, &["a"]);
    failed.reboot("a", false);
    failed.settle();
    assert_eq!(failed.phase("a"), Some(Phase::Failed));
    assert_eq!(state(&failed, "a"), None);
    let mut aborted = world(LABELLED, &["a"]);
    aborted.agent("a");
    aborted.settle();
    aborted.edit_policy(
        "p",
        &LABELLED.replace("nodeSelector: {}", "nodeSelector: {}, paused: true"),
    );
    for _ in 0..5 {
        aborted.settle();
        aborted.agent("a");
    }
    aborted.settle();
    assert_eq!(aborted.phase("a"), Some(Phase::Aborted));
    assert_eq!(state(&aborted, "a"), None);
}

#[test]
fn labels_last_until_a_committed_reboot_ends_although_its_policy_is_gone() {
    let mut world = world(LABELLED, &["a"]);
    for _ in 0..20 {
        if world.phase("a") == Some(Phase::Rebooting) {
            break;
        }
        world.agent("a");
        world.pass();
    }
    assert_eq!(world.phase("a"), Some(Phase::Rebooting));
    world.snapshot.policies.clear();
    world.settle();
    assert_eq!(state(&world, "a").as_deref(), Some("rebooting"));
    world.reboot("a", true);
    world.settle();
    assert_eq!(state(&world, "a"), None);
}

#[test]
fn a_label_of_somebody_else_is_left_alone() {
    let mut world = World::new()
        .policy("p", LABELLED)
        .nodes(&["a"])
        .label("a", "state", "mine")
        .need(&["a"]);
    world.settle();
    world.reboot("a", true);
    world.settle();
    assert_eq!(state(&world, "a").as_deref(), Some("mine"));
    assert!(world.node("a").marks.labels.is_empty());
    // One that was ours and that somebody has changed is theirs from then on.
    let mut world = self::world(LABELLED, &["a"]);
    world
        .node_mut("a")
        .labels
        .insert("state".into(), "mine".into());
    world.reboot("a", true);
    world.settle();
    assert_eq!(state(&world, "a").as_deref(), Some("mine"));
    assert!(world.node("a").marks.labels.is_empty(), "still recorded");
}

#[test]
fn nothing_is_marked_or_taken_away_on_half_a_view() {
    let mut world = world(TAINTED, &["a"]);
    world.snapshot.policies.clear();
    world.snapshot.gaps.push(Gap::Unsynced {
        kind: "RebootPolicies".into(),
    });
    let plan = world.plan();
    let marks = |action: &Action| matches!(action, Action::MarkNode { .. });
    assert!(!plan.actions.iter().any(marks));
}

#[test]
fn a_fleet_is_marked_a_part_at_a_time() {
    let names: Vec<String> = (0..70).map(|number| format!("n{number:02}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut world = World::new().policy("p", TAINTED).nodes(&names).need(&names);
    world.pass();
    let plan = world.plan();
    let marks = plan
        .actions
        .iter()
        .filter(|action| action.code() == "mark_node");
    assert_eq!(marks.count(), MARKS_MAX);
    assert!(plan.wake_at.unwrap() <= world.now + jiff::SignedDuration::from_secs(1));
    world.settle();
    assert_eq!(tainted(&world).len(), 70);
}

#[test]
fn the_independent_judge_refuses_marks_that_nothing_asks_for() {
    let base = world(TAINTED, &["a", "b"]);
    let refused = |world: &World, marks: Marks| {
        let mut plan = world.plan();
        let node_uid = world.node("b").uid.clone();
        plan.actions = vec![Action::MarkNode {
            node: "b".into(),
            node_uid,
            marks,
        }];
        let found = check::check(&world.snapshot, &plan, world.now);
        found.iter().any(|violation| violation.rule == "P3")
    };
    let taint = || Marks {
        soft_taint: true,
        ..Marks::default()
    };
    let label = |value: &str| Marks {
        labels: BTreeMap::from([("state".to_owned(), value.to_owned())]),
        ..Marks::default()
    };
    assert!(!refused(&base, taint()));
    assert!(!refused(&base, Marks::default()));
    assert!(refused(&base, label("rebooting")), "no policy asks for it");
    let mut paused = base.clone();
    paused.edit_policy(
        "p",
        "{nodeSelector: {}, paused: true, cordon: {softTaint: true}}",
    );
    assert!(refused(&paused, taint()));
    let mut ended = base.clone();
    ended.enter("b", Phase::Completed, "");
    assert!(refused(&ended, taint()));
    let labelled = world(LABELLED, &["a", "b"]);
    assert!(!refused(&labelled, label("rebooting")));
    assert!(refused(&labelled, label("done")), "nothing has been proved");
    let mut theirs = labelled.clone();
    theirs
        .node_mut("b")
        .labels
        .insert("state".into(), "mine".into());
    assert!(refused(&theirs, label("rebooting")));
    let mut half = base.clone();
    half.snapshot.gaps.push(Gap::Unsynced {
        kind: "Nodes".into(),
    });
    assert!(refused(&half, Marks::default()));
    let mut other = base;
    other.node_mut("b").uid = "another".into();
    let mut plan = other.plan();
    plan.actions = vec![Action::MarkNode {
        node: "b".into(),
        node_uid: "node-3".into(),
        marks: Marks::default(),
    }];
    let found = check::check(&other.snapshot, &plan, other.now);
    assert!(found.iter().any(|violation| violation.rule == "P3"));
}
