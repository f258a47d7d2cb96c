//! Blockers: what they stop, what they only delay, and when they are asked.

use std::collections::BTreeMap;

use crate::look::grants;
use crate::world::World;
use jiff::SignedDuration;
use slipway_api::Phase;
use slipway_planner::blockers::{Answer, Answered};
use slipway_planner::clear::{ClearVerdict, judge};
use slipway_planner::{Action, Plan, Reason, check, plan, report};

const GATE: &str = "{nodeSelector: {}, blockers: [{name: gate, http: {url: 'http://gate'}}]}";
const LENIENT: &str =
    "{nodeSelector: {}, blockers: [{name: gate, http: {url: 'http://gate', onError: Allow}}]}";
const FLEET: &str =
    "{nodeSelector: {}, budget: {maxUnavailable: 9}, blockers: [{name: fleet, nodes: {}}]}";

fn blocks() -> Answer {
    Answer::Blocks {
        message: "it answers 423".into(),
    }
}

fn failed() -> Answer {
    Answer::Failed {
        message: "no answer within 5s".into(),
    }
}

/// Every blocker of every policy has said this, so many seconds ago.
fn say(world: &mut World, answer: &Answer, seconds: i64) {
    let at = world.now - SignedDuration::from_secs(seconds);
    for policy in &world.snapshot.policies {
        for rule in &policy.parsed.as_ref().unwrap().blockers {
            let key = (policy.uid.clone(), rule.name.clone());
            let answered = Answered {
                rule: rule.clone(),
                answer: answer.clone(),
                at,
            };
            world.snapshot.blockers.insert(key, answered);
        }
    }
}

fn decide(world: &World) -> Plan {
    let plan = plan(&world.snapshot, world.now);
    assert_eq!(check::check(&world.snapshot, &plan, world.now), []);
    plan
}

/// Two nodes with leases that wait for a grant.
fn waiting(policy: &str) -> World {
    let mut world = World::new()
        .policy("p", policy)
        .nodes(&["a", "b"])
        .need(&["a", "b"]);
    world.settle();
    world
}

#[test]
fn without_an_answer_nobody_is_granted_and_the_policy_is_asked() {
    let world = waiting(GATE);
    let plan = decide(&world);
    assert!(grants(&plan).is_empty());
    assert!(plan.ask.contains(&world.snapshot.policies[0].uid));
    assert_eq!(plan.verdicts["a"].reason.code(), "BlockerFailed");
}

#[test]
fn only_a_young_yes_to_this_very_question_grants() {
    let mut world = waiting(GATE);
    for (answer, seconds, granted) in [
        (Answer::Clear, 0, true),
        (Answer::Clear, 30, true),
        (Answer::Clear, 31, false),
        (Answer::Clear, -6, false),
        (blocks(), 0, false),
        (failed(), 0, false),
        (
            Answer::BlocksNodes {
                nodes: BTreeMap::from([("b".to_owned(), "pod runs".to_owned())]),
            },
            0,
            true,
        ),
    ] {
        say(&mut world, &answer, seconds);
        assert_eq!(
            !grants(&decide(&world)).is_empty(),
            granted,
            "{answer:?} {seconds}"
        );
    }
    say(&mut world, &Answer::Clear, 0);
    world.edit_policy("p", &GATE.replace("http://gate", "http://other"));
    assert!(grants(&decide(&world)).is_empty());
}

#[test]
fn a_blocked_node_lets_the_next_one_go() {
    let mut world = waiting(GATE);
    let nodes = BTreeMap::from([("a".to_owned(), "pod batch/job runs".to_owned())]);
    say(&mut world, &Answer::BlocksNodes { nodes }, 0);
    let plan = decide(&world);
    assert_eq!(grants(&plan), ["b"]);
    let lines = plan.policies["p"].blocked_by.clone().unwrap();
    assert_eq!((lines[0].reason, lines[0].nodes), ("Blocked", 1));
    assert_eq!(lines[0].message, "pod batch/job runs");
}

#[test]
fn on_error_allow_lets_nodes_go_and_says_so() {
    let mut world = waiting(LENIENT);
    // Not asked yet is no failure.
    assert!(grants(&decide(&world)).is_empty());
    say(&mut world, &failed(), 0);
    let plan = decide(&world);
    assert_eq!(grants(&plan).len(), 1);
    let status = report::policy_status(&plan.policies["p"], None, world.now);
    assert_eq!(status.blocked_by[0].reason, "FailedAllowed");
    assert!(status.blocked_by[0].message.contains("onError: Allow"));
    say(&mut world, &blocks(), 0);
    assert!(grants(&decide(&world)).is_empty());
}

#[test]
fn nobody_is_asked_where_nobody_could_be_granted() {
    let asks = |world: &World| !decide(world).ask.is_empty();
    assert!(asks(&waiting(GATE)));
    let mut world = waiting(GATE);
    world.edit_policy("p", &GATE.replace("blockers", "paused: true, blockers"));
    assert!(!asks(&world));
    let mut world = waiting(GATE);
    world.edit_policy(
        "p",
        &GATE.replace("blockers", "budget: {maxUnavailable: 0}, blockers"),
    );
    assert!(!asks(&world));
    let idle = World::new().policy("p", GATE).nodes(&["a"]);
    assert!(!asks(&idle));
}

#[test]
fn the_check_refuses_a_grant_against_a_blocker() {
    let mut world = waiting(GATE);
    say(&mut world, &Answer::Clear, 0);
    let plan = decide(&world);
    assert_eq!(grants(&plan).len(), 1);
    for (answer, seconds) in [(blocks(), 0), (failed(), 0), (Answer::Clear, 31)] {
        say(&mut world, &answer, seconds);
        assert_eq!(
            check::check(&world.snapshot, &plan, world.now)[0].rule,
            "S4"
        );
    }
    world.snapshot.blockers.clear();
    assert_eq!(
        check::check(&world.snapshot, &plan, world.now)[0].rule,
        "S4"
    );
}

#[test]
fn f69_between_the_keys_a_no_revokes_and_an_error_waits() {
    let mut world = waiting(GATE);
    say(&mut world, &Answer::Clear, 0);
    world.pass();
    while world.phase("a") != Some(Phase::Drained) {
        assert!(world.agent("a"));
    }
    let fence = world.snapshot.leases["a"].accepted_fence();
    let verdict = |world: &World| judge(&world.snapshot, "a", fence, &[], world.now);
    say(&mut world, &Answer::Clear, 0);
    assert_eq!(verdict(&world), ClearVerdict::Clear);
    say(&mut world, &failed(), 0);
    assert!(matches!(
        verdict(&world),
        ClearVerdict::Wait(Reason::BlockerFailed { .. })
    ));
    assert!(!decide(&world).ask.is_empty());
    say(&mut world, &blocks(), 31);
    assert!(matches!(verdict(&world), ClearVerdict::Wait(_)));
    say(&mut world, &blocks(), 0);
    assert!(matches!(
        verdict(&world),
        ClearVerdict::Revoke(Reason::Blocked { .. })
    ));
    let revokes = decide(&world).actions.into_iter().any(|action| {
        matches!(action, Action::Revoke { node, reason: Reason::Blocked { .. }, .. } if node == "a")
    });
    assert!(revokes);
}

#[test]
fn other_nodes_that_are_not_ready_block() {
    let mut world = World::new()
        .policy("p", FLEET)
        .nodes(&["a", "b", "c"])
        .need(&["a", "b"]);
    world.node_mut("c").ready = false;
    world.settle();
    let plan = decide(&world);
    assert!(grants(&plan).is_empty());
    let text = plan.verdicts["a"].reason.to_string();
    assert!(
        text.contains("1 other node is not Ready, c among them; 0 may be"),
        "{text}"
    );
    world.edit_policy("p", &FLEET.replace("nodes: {}", "nodes: {maxNotReady: 1}"));
    assert_eq!(grants(&decide(&world)), ["a"]);
}

#[test]
fn a_node_that_slipway_reboots_blocks_others_only_once_it_is_overdue() {
    let mut world = World::new()
        .policy("p", FLEET)
        .nodes(&["a", "b"])
        .need(&["a"]);
    for _ in 0..20 {
        world.pass();
        if world.phase("a") == Some(Phase::Rebooting) {
            break;
        }
        world.agent("a");
    }
    assert_eq!(world.phase("a"), Some(Phase::Rebooting));
    world.node_mut("a").ready = false;
    world.require("b");
    world.settle();
    assert_eq!(world.slots().len(), 2);
    let revoked = |world: &World| {
        decide(world).actions.into_iter().any(|action| {
            matches!(action, Action::Revoke { node, reason: Reason::Blocked { .. }, .. } if node == "b")
        })
    };
    world.agent("b");
    assert!(!revoked(&world));
    world.wait(16 * 60);
    assert!(revoked(&world));
}

#[test]
fn slipways_own_alert_in_a_blocker_is_warned_about_in_status() {
    let policy =
        "{nodeSelector: {}, blockers: [{name: a, prometheus: {url: 'http://p', ignore: ''}}]}";
    let world = waiting(policy);
    let status = report::policy_status(&decide(&world).policies["p"], None, world.now);
    let warning = status
        .conditions
        .iter()
        .find(|one| one.type_ == "Warning")
        .unwrap();
    assert!(
        warning
            .message
            .starts_with("spec.blockers[0].prometheus.ignore")
    );
    let world = waiting(GATE);
    let status = report::policy_status(&decide(&world).policies["p"], None, world.now);
    assert!(status.conditions.iter().all(|one| one.type_ != "Warning"));
    assert!(
        status
            .conditions
            .iter()
            .any(|one| one.type_ == "Blocked" && one.status == "True")
    );
}
