//! What has to hold after a reboot: the node Ready, its pods ready again, a query that agrees.

use crate::world::World;
use slipway_api::{Phase, Workload};
use slipway_planner::blockers::{Answer, Answered};
use slipway_planner::{Plan, Reason};

const QUERY: &str = "promql: {url: 'http://prometheus', query: 'errors > 1'}";

fn spec(verify: &str) -> String {
    format!("{{nodeSelector: {{}}, verify: {{nodeReadyFor: 10s, {verify}}}}}")
}

fn cart() -> Workload {
    Workload {
        api_version: "apps/v1".into(),
        kind: "ReplicaSet".into(),
        namespace: "shop".into(),
        name: "cart".into(),
        uid: "cart-uid".into(),
        ready: 2,
    }
}

/// A node that is back and Ready for long enough, and whose host asks for nothing more.
fn back(verify: &str, workloads: &[Workload]) -> World {
    let mut world = World::new()
        .policy("p", &spec(verify))
        .nodes(&["a", "b"])
        .need(&["a"]);
    world.workloads = workloads.to_vec();
    world.settle();
    world.reboot("a", true);
    world
}

/// Answers every question that is asked now.
fn answer(world: &mut World, answer: &Answer) {
    let questions = world.plan().questions;
    assert!(!questions.is_empty(), "nothing is asked");
    for (question, rule) in questions {
        let answered = Answered {
            rule,
            answer: answer.clone(),
            at: world.now,
        };
        world.snapshot.blockers.insert(question, answered);
    }
}

/// The pods of [`cart`] are not ready.
fn short(message: &str) -> Answer {
    Answer::PodsNotReady {
        owner: cart().to_string(),
        message: message.into(),
    }
}

fn blocks(message: &str) -> Answer {
    Answer::Blocks {
        message: message.into(),
    }
}

fn failed() -> Answer {
    Answer::Failed {
        message: "no answer within 5s".into(),
    }
}

fn waits(plan: &Plan) -> Vec<&'static str> {
    let waits = &plan.verdicts["a"].waiting_for;
    waits.iter().map(Reason::code).collect()
}

#[test]
fn a_node_is_verified_once_the_pods_that_ran_on_it_are_ready_again() {
    let mut world = back("podsReadyWithin: 10m", &[cart()]);
    assert_eq!(world.phase("a"), Some(Phase::Rebooted));
    // Not asked yet: that is no yes.
    world.settle();
    assert_eq!(world.phase("a"), Some(Phase::Rebooted));
    answer(
        &mut world,
        &short("ReplicaSet shop/cart has 1 of 2 ready pods"),
    );
    let plan = world.settle();
    assert_eq!(world.phase("a"), Some(Phase::Rebooted));
    assert_eq!(waits(&plan), ["PodsNotReady"]);
    let reason = &plan.verdicts["a"].waiting_for[0];
    assert_eq!(reason.object(), "ReplicaSet shop/cart");
    assert!(reason.to_string().contains("1 of 2"), "{reason}");
    assert_eq!(world.slots().len(), 1, "the next node could go");
    answer(&mut world, &Answer::Clear);
    world.settle();
    assert_eq!(world.phase("a"), Some(Phase::Completed));
}

#[test]
fn pods_that_are_not_ready_in_time_are_a_failure_that_the_breaker_counts() {
    let mut world = back("podsReadyWithin: 10m", &[cart()]);
    let no = short("ReplicaSet shop/cart has 1 of 2 ready pods");
    answer(&mut world, &no);
    let wake = world.settle().wake_at.expect("nobody would look again");
    // 11 s of it have passed.
    world.wait(10 * 60 - 12);
    assert!(wake <= world.now + jiff::SignedDuration::from_secs(1));
    answer(&mut world, &no);
    world.settle();
    assert_eq!(world.phase("a"), Some(Phase::Rebooted));
    world.wait(1);
    answer(&mut world, &no);
    world.settle();
    assert_eq!(world.phase("a"), Some(Phase::Failed));
    let status = world.lease("a").status.clone().unwrap();
    assert_eq!(status.reason, "PodsNotReady");
    let ledger = world.ledger_mut().status.clone().unwrap();
    assert_eq!(ledger.policies[0].failures[0].reason, "PodsNotReady");
    assert!(world.slots().is_empty());
}

#[test]
fn pods_are_waited_for_past_the_time_of_the_reboot_without_being_stuck() {
    let mut world = back("podsReadyWithin: 1h", &[cart()]);
    world.wait(30 * 60);
    answer(
        &mut world,
        &short("ReplicaSet shop/cart has 0 of 2 ready pods"),
    );
    let plan = world.settle();
    assert_eq!(plan.verdicts["a"].reason, Reason::Verifying);
    let ledger = world.ledger_mut().status.clone().unwrap();
    assert!(ledger.policies[0].failures.is_empty(), "counted as stuck");
}

#[test]
fn without_owners_or_without_time_for_them_no_pods_are_asked_for() {
    assert_eq!(back("settle: 0s", &[]).phase("a"), Some(Phase::Completed));
    let world = back("podsReadyWithin: 0s", &[cart()]);
    assert_eq!(world.phase("a"), Some(Phase::Completed));
}

#[test]
fn an_old_answer_or_one_about_another_reboot_verifies_nothing() {
    let mut world = back("podsReadyWithin: 10m", &[cart()]);
    answer(&mut world, &Answer::Clear);
    world.wait(31);
    world.settle();
    assert_eq!(world.phase("a"), Some(Phase::Rebooted), "an old answer");
    answer(&mut world, &Answer::Clear);
    let answers = std::mem::take(&mut world.snapshot.blockers);
    for ((reboot, name), answered) in answers {
        let other = reboot.replace('1', "2");
        world.snapshot.blockers.insert((other, name), answered);
    }
    world.settle();
    assert_eq!(world.phase("a"), Some(Phase::Rebooted), "another reboot");
}

#[test]
fn a_query_is_asked_once_the_node_has_settled_and_any_series_is_a_failure() {
    let mut world = back(&format!("settle: 5m, {QUERY}"), &[]);
    assert!(world.plan().questions.is_empty(), "asked too early");
    world.wait(5 * 60);
    world.settle();
    assert_eq!(world.phase("a"), Some(Phase::Rebooted));
    answer(&mut world, &Answer::Clear);
    let mut agreed = world.clone();
    agreed.settle();
    assert_eq!(agreed.phase("a"), Some(Phase::Completed));
    answer(&mut world, &blocks("the query has a non-empty answer"));
    world.settle();
    assert_eq!(world.phase("a"), Some(Phase::Failed));
    let status = world.lease("a").status.clone().unwrap();
    assert_eq!(status.reason, "VerifyQuery");
    let ledger = world.ledger_mut().status.clone().unwrap();
    assert_eq!(ledger.policies[0].failures[0].reason, "VerifyQuery");
}

#[test]
fn an_answer_from_before_the_node_had_settled_is_none() {
    let mut world = back(&format!("settle: 20s, {QUERY}"), &[]);
    world.wait(20);
    answer(&mut world, &Answer::Clear);
    for answered in world.snapshot.blockers.values_mut() {
        answered.at -= jiff::SignedDuration::from_secs(5);
    }
    world.settle();
    assert_eq!(world.phase("a"), Some(Phase::Rebooted));
}

#[test]
fn a_query_without_an_answer_waits_ten_minutes_and_then_fails_unless_that_is_allowed() {
    let mut world = back(&format!("settle: 0s, {QUERY}"), &[]);
    answer(&mut world, &failed());
    let plan = world.settle();
    assert_eq!(waits(&plan), ["VerifyQuery"]);
    assert_eq!(world.phase("a"), Some(Phase::Rebooted));
    world.wait(10 * 60);
    answer(&mut world, &failed());
    world.settle();
    assert_eq!(world.phase("a"), Some(Phase::Failed));
    let allowed = QUERY.replace("query:", "onError: Allow, query:");
    let mut world = back(&format!("settle: 0s, {allowed}"), &[]);
    answer(&mut world, &failed());
    world.settle();
    assert_eq!(world.phase("a"), Some(Phase::Completed));
}

#[test]
fn nothing_is_asked_about_a_node_that_is_not_back() {
    let mut world = back("podsReadyWithin: 10m", &[cart()]);
    answer(&mut world, &Answer::Clear);
    world.node_mut("a").ready = false;
    assert!(world.plan().questions.is_empty());
    world.settle();
    assert_eq!(world.phase("a"), Some(Phase::Rebooted));
}
