//! What people do to a single reboot: approve, request, hold; releases are in [`crate::release`].

use crate::look::code;
use crate::world::World;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use slipway_api::Phase;
use slipway_api::people::{Approval, Hold, Override, Request};
use slipway_planner::Plan;
use slipway_planner::clear::{self, ClearVerdict};
use slipway_planner::snapshot::Need;

pub(crate) const ALL: &str = "{nodeSelector: {}, verify: {nodeReadyFor: 10s}}";
const APPROVE: &str = "{nodeSelector: {}, mode: Approve, verify: {nodeReadyFor: 10s}}";
const NIGHT: &str = "{nodeSelector: {}, verify: {nodeReadyFor: 10s}, schedule: {windows: [{start: '22:00', end: '05:00'}]}}";

pub(crate) fn world(spec: &str) -> World {
    World::new().policy("p", spec).nodes(&["a", "b", "c"])
}

fn approve(world: &mut World, node: &str) {
    let requested_at = world.lease(node).spec.requested_at.clone();
    let by = "ada".to_owned();
    world.lease_mut(node).spec.approved = Some(Approval { requested_at, by });
}

fn request(world: &mut World, node: &str, overrides: &[Override]) {
    let after_fence = world.lease(node).accepted_fence();
    world.lease_mut(node).spec.request = Some(Request {
        after_fence,
        by: "ada".into(),
        reason: "new firmware".into(),
        overrides: overrides.to_vec(),
    });
}

fn hold(world: &mut World, node: &str, held: bool) {
    world.lease_mut(node).spec.hold = held.then(|| Hold {
        by: "ada".into(),
        reason: "debugging".into(),
    });
}

/// The node's reboot has come to this phase.
pub(crate) fn bring(world: &mut World, node: &str, phase: Phase) {
    for _ in 0..20 {
        if phase == Phase::Granted {
            world.pass();
        }
        if world.phase(node) == Some(phase) {
            return;
        }
        if phase == Phase::Granted {
            continue;
        }
        world.agent(node);
        if world.phase(node) == Some(phase) {
            return;
        }
        world.pass();
    }
    panic!("{phase} is never reached, but {:?}", world.phase(node));
}

#[test]
fn f106_in_mode_approve_each_reboot_takes_an_approval_of_its_own() {
    let mut world = world(APPROVE).need(&["a"]);
    assert_eq!(code(&world.settle(), "a"), "NotApproved");
    approve(&mut world, "a");
    world.settle();
    assert_eq!(world.slots().len(), 1);
    world.reboot("a", true);
    world.settle();
    assert_eq!(world.phase("a"), Some(Phase::Completed));
    // The next need is not approved by what stands there, and asks for a new approval.
    world.wait(60);
    world.require("a");
    assert_eq!(code(&world.settle(), "a"), "NotApproved");
    assert_eq!(world.phase("a"), Some(Phase::Pending));
    approve(&mut world, "a");
    world.settle();
    assert_eq!(world.slots().len(), 1);
}

#[test]
fn f106_an_approval_does_not_count_again_after_the_reboot_it_was_for_has_failed() {
    let mut world = world(APPROVE).need(&["a"]);
    world.settle();
    approve(&mut world, "a");
    world.settle();
    // The need is the same as before, by its time too.
    world.reboot("a", false);
    assert_eq!(world.phase("a"), Some(Phase::Failed));
    world.settle();
    world.wait(3601);
    assert_eq!(code(&world.settle(), "a"), "NotApproved");
    assert!(world.slots().is_empty());
}

#[test]
fn an_approval_that_is_withdrawn_calls_the_drain_off() {
    let mut world = world(APPROVE).need(&["a"]);
    world.settle();
    approve(&mut world, "a");
    bring(&mut world, "a", Phase::Drained);
    world.lease_mut("a").spec.approved = None;
    world.pass();
    let revoke = world.lease("a").spec.revoke.clone().unwrap();
    assert_eq!(revoke.reason, "NotApproved");
}

#[test]
fn a_request_reboots_a_node_that_nothing_asks_for_once() {
    let mut world = world(ALL).need(&["a"]);
    world.settle();
    world.reboot("a", true);
    world.settle();
    assert_eq!(world.phase("a"), Some(Phase::Completed));
    world.wait(60);
    assert_eq!(world.node("a").need, Need::NotRequired);
    request(&mut world, "a", &[]);
    world.settle();
    assert_eq!(world.slots().len(), 1);
    let grant = world.lease("a").spec.grant.clone().unwrap();
    assert_eq!(grant.request.unwrap().by, "ada");
    world.reboot("a", true);
    world.settle();
    assert_eq!(world.phase("a"), Some(Phase::Completed));
    // It still stands there, and counts no more (Q6).
    assert!(world.lease("a").spec.request.is_some());
    world.wait(3600);
    world.settle();
    assert!(world.slots().is_empty());
    assert_eq!(world.boots["a"], 2);
}

#[test]
fn a_request_that_is_withdrawn_before_its_grant_closes_the_lease() {
    let mut world = world("{nodeSelector: {}, paused: true}").need(&["a"]);
    world.settle();
    world.node_mut("a").need = Need::NotRequired;
    request(&mut world, "a", &[]);
    assert_eq!(code(&world.settle(), "a"), "PolicyPaused");
    world.lease_mut("a").spec.request = None;
    world.settle();
    assert_eq!(world.phase("a"), Some(Phase::Aborted));
}

#[test]
fn a_request_sets_the_window_aside_only_where_it_says_so_until_the_second_key() {
    let mut world = world(NIGHT).need(&["a"]);
    world.settle();
    request(&mut world, "a", &[Override::Order]);
    assert_eq!(code(&world.settle(), "a"), "WindowClosed");
    request(&mut world, "a", &[Override::Window]);
    bring(&mut world, "a", Phase::Drained);
    let fence = world.lease("a").granted_fence();
    let judged = clear::judge(&world.snapshot, "a", fence, &[], world.now);
    assert_eq!(judged, ClearVerdict::Clear);
}

#[test]
fn a_request_with_the_order_goes_first() {
    let mut world = world(ALL).need(&["a", "b", "c"]);
    world.pass();
    request(&mut world, "c", &[Override::Order]);
    world.pass();
    assert_eq!(world.slots()[0].node, "c");
}

#[test]
fn budget_and_breaker_apply_to_a_request_unless_they_are_named() {
    let mut world = world(ALL).need(&["a", "b"]);
    world.settle();
    assert_eq!(world.slots()[0].node, "a");
    request(&mut world, "b", &[Override::Window, Override::Order]);
    assert_eq!(code(&world.settle(), "b"), "BudgetUsed");
    request(&mut world, "b", &[Override::Budget]);
    world.settle();
    assert_eq!(world.slots().len(), 2);
    // Neither is called off for the other, and nobody else starts.
    let mut world = world.need(&["c"]);
    assert_eq!(code(&world.settle(), "c"), "BudgetUsed");
    assert_eq!(world.slots().len(), 2);
    assert!(world.lease("a").spec.revoke.is_none() && world.lease("b").spec.revoke.is_none());
}

#[test]
fn an_open_breaker_applies_to_a_request_unless_it_is_named() {
    let spec =
        "{nodeSelector: {}, verify: {nodeReadyFor: 10s}, failure: {maxFailures: 1, reset: Manual}}";
    let mut world = world(spec).need(&["a"]);
    world.settle();
    world.reboot("a", false);
    world.settle();
    let mut world = world.need(&["b"]);
    world.settle();
    request(
        &mut world,
        "b",
        &[Override::Window, Override::Order, Override::Budget],
    );
    assert_eq!(code(&world.settle(), "b"), "BreakerOpen");
    request(&mut world, "b", &[Override::Breaker]);
    world.settle();
    assert_eq!(world.slots().len(), 1);
    world.reboot("b", true);
    world.settle();
    assert_eq!(world.phase("b"), Some(Phase::Completed));
    assert_ne!(world.plan().policies["p"].breaker.code(), "Closed");
}

#[test]
fn a_request_sets_the_pause_aside_only_where_it_says_so() {
    let mut world = world(ALL).need(&["a"]);
    world.settle();
    world.reboot("a", false);
    world.settle();
    request(&mut world, "a", &[Override::Window]);
    world.settle();
    assert_eq!(world.phase("a"), Some(Phase::Failed));
    request(&mut world, "a", &[Override::Backoff]);
    world.settle();
    assert_eq!(world.slots().len(), 1);
}

#[test]
fn a_policy_that_only_observes_grants_no_request_either() {
    let mut world = world("{nodeSelector: {}, mode: Observe}").need(&["a"]);
    world.settle();
    request(
        &mut world,
        "a",
        &[Override::Window, Override::Order, Override::Budget],
    );
    assert_eq!(code(&world.settle(), "a"), "ObserveMode");
}

#[test]
fn a_hold_keeps_a_node_back_and_undoes_a_drain_and_nothing_else() {
    for phase in [
        Phase::Pending,
        Phase::Granted,
        Phase::Draining,
        Phase::Drained,
    ] {
        let mut world = world(ALL).need(&["a"]);
        world.pass();
        bring(&mut world, "a", phase);
        hold(&mut world, "a", true);
        // Not even a request passes a hold.
        request(
            &mut world,
            "a",
            &[Override::Window, Override::Order, Override::Budget],
        );
        world.pass();
        for _ in 0..5 {
            world.agent("a");
        }
        let plan = world.settle();
        assert!(world.slots().is_empty(), "{phase}");
        assert!(!world.node("a").unschedulable, "{phase}");
        let held = plan.verdicts["a"]
            .waiting_for
            .iter()
            .find(|one| one.code() == "Held");
        assert!(
            held.unwrap().to_string().contains("ada: debugging"),
            "{phase}"
        );
        hold(&mut world, "a", false);
        world.lease_mut("a").spec.request = None;
        world.settle();
        assert_eq!(world.slots().len(), 1, "{phase}");
    }
    let mut world = world(ALL).need(&["a"]);
    bring(&mut world, "a", Phase::Rebooting);
    hold(&mut world, "a", true);
    world.settle();
    assert!(
        world.lease("a").spec.revoke.is_none(),
        "a committed reboot goes on"
    );
}

#[test]
fn the_check_refuses_grants_that_people_have_not_allowed() {
    let mut base = world(ALL).need(&["a"]);
    base.pass();
    let plan = base.plan();
    let violated = |world: &World, plan: &Plan| {
        !slipway_planner::check::check(&world.snapshot, plan, world.now).is_empty()
    };
    assert!(!violated(&base, &plan));
    let mut held = base.clone();
    hold(&mut held, "a", true);
    assert!(violated(&held, &plan), "held");
    let mut approving = base.clone();
    approving.edit_policy("p", APPROVE);
    assert!(violated(&approving, &plan), "not approved");
    approve(&mut approving, "a");
    assert!(!violated(&approving, &plan), "approved");
    approving
        .lease_mut("a")
        .spec
        .approved
        .as_mut()
        .unwrap()
        .requested_at = Time("2026-11-01T00:00:00Z".parse().unwrap());
    assert!(violated(&approving, &plan), "approved for another need");
    let mut idle = base.clone();
    idle.node_mut("a").need = Need::NotRequired;
    assert!(violated(&idle, &plan), "without need");
    request(&mut idle, "a", &[]);
    assert!(!violated(&idle, &plan), "asked for");
    let mut open = base.clone();
    let failure = slipway_api::Failure {
        node: "z".into(),
        fence: 1,
        at: Time(open.now),
        reason: "Stuck".into(),
    };
    let uid = open.snapshot.policies[0].uid.clone();
    let mut other = failure.clone();
    other.node = "y".into();
    open.ledger_mut().status.as_mut().unwrap().policies = vec![slipway_api::PolicyRecord {
        uid,
        failures: vec![failure, other],
        ..Default::default()
    }];
    assert!(violated(&open, &plan), "an open breaker");
}
