//! Reboots that were granted and do not fit any more, and policies and ledgers that cannot be read.

use crate::world::World;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use slipway_api::Phase;
use slipway_planner::blockers::{Answer, Answered};
use slipway_planner::clear::{ClearVerdict, judge};
use slipway_planner::snapshot::{Gap, LedgerState};
use slipway_planner::{Action, Plan, Reason};

const NODES: [&str; 4] = ["a1", "a2", "b1", "b2"];

/// Every node holds a slot and is being drained.
fn draining(spec: &str) -> World {
    let mut world = World::new().policy("p", spec).nodes(&NODES).need(&NODES);
    for node in NODES {
        world = world.label(node, "zone", &node[..1]);
    }
    world.settle();
    assert_eq!(world.slots().len(), NODES.len());
    for node in NODES {
        // Accepted and cordoned.
        assert!(world.agent(node) && world.agent(node));
        assert_eq!(world.phase(node), Some(Phase::Draining));
    }
    world
}

/// The nodes that are called off, with the word why.
fn called_off(plan: &Plan) -> Vec<(&str, &'static str)> {
    let revoked = plan.actions.iter().filter_map(|action| match action {
        Action::Revoke { node, reason, .. } => Some((node.as_str(), reason.code())),
        _ => None,
    });
    let mut all: Vec<_> = revoked.collect();
    all.sort_unstable();
    all
}

fn newest(world: &World, count: usize) -> Vec<String> {
    let mut slots = world.slots();
    slots.sort_by_key(|slot| std::cmp::Reverse(slot.fence));
    let newest = slots.into_iter().take(count);
    let mut names: Vec<String> = newest.map(|slot| slot.node).collect();
    names.sort_unstable();
    names
}

fn names(called_off: &[(&str, &'static str)]) -> Vec<String> {
    called_off
        .iter()
        .map(|(node, _)| (*node).to_owned())
        .collect()
}

const FOUR: &str = "{nodeSelector: {}, budget: {maxUnavailable: 4}}";
const DOMAINS: &str = "{nodeSelector: {}, budget: {maxUnavailable: 4, perDomain: {topologyKey: zone, maxUnavailable: 2, domainsAtOnce: 2}}}";

#[test]
fn a_ceiling_that_is_lowered_calls_off_the_newest_first() {
    let mut world = draining(FOUR);
    world.ledger_mut().spec.max_unavailable = Some(IntOrString::Int(1));
    let plan = world.pass();
    let off = called_off(&plan);
    assert_eq!(names(&off), newest(&world, 3));
    assert!(off.iter().all(|(_, reason)| *reason == "CeilingUsed"));
}

#[test]
fn a_domain_budget_that_is_lowered_calls_off_the_newest_of_each_domain() {
    let mut world = draining(DOMAINS);
    world.edit_policy(
        "p",
        &DOMAINS.replace("maxUnavailable: 2", "maxUnavailable: 1"),
    );
    let plan = world.pass();
    assert_eq!(
        called_off(&plan),
        [("a2", "DomainBudgetUsed"), ("b2", "DomainBudgetUsed")]
    );
}

#[test]
fn fewer_domains_at_once_call_off_those_that_came_last() {
    let one_domain = |world: &mut World| {
        let spec = DOMAINS.replace("domainsAtOnce: 2", "domainsAtOnce: 1");
        world.edit_policy("p", &spec);
        world.pass()
    };
    let mut world = draining(DOMAINS);
    assert_eq!(
        called_off(&one_domain(&mut world)),
        [("b1", "DomainBusy"), ("b2", "DomainBusy")]
    );
    // A committed reboot keeps its domain, whichever came first.
    let mut world = draining(DOMAINS);
    world.enter("b1", Phase::Rebooting, "Committed");
    assert_eq!(
        called_off(&one_domain(&mut world)),
        [("a1", "DomainBusy"), ("a2", "DomainBusy")]
    );
}

#[test]
fn s6_what_is_committed_is_never_called_off_and_counts() {
    let mut world = draining(FOUR);
    for node in newest(&world, 2) {
        world.enter(&node, Phase::Rebooting, "Committed");
    }
    world.ledger_mut().spec.max_unavailable = Some(IntOrString::Int(2));
    let off = called_off(&world.plan()).len();
    assert_eq!(off, 2);
    world.ledger_mut().spec.max_unavailable = Some(IntOrString::Int(0));
    assert_eq!(called_off(&world.plan()).len(), 2);
}

#[test]
fn a_node_that_goes_down_by_itself_calls_nothing_off_but_the_newest_wait_for_their_key() {
    for (spec, reason) in [(FOUR, "BudgetUsed"), (DOMAINS, "BudgetUsed")] {
        let mut world = draining(spec).nodes(&["a3"]).label("a3", "zone", "a");
        for node in NODES {
            while world.phase(node) == Some(Phase::Draining) {
                world.agent(node);
            }
        }
        // It flaps.
        for ready in [false, true, false] {
            world.node_mut("a3").ready = ready;
            let plan = world.plan();
            assert_eq!(called_off(&plan), [], "{spec}");
            let waits = |node: &str| {
                let fence = world.lease(node).accepted_fence();
                judge(&world.snapshot, node, fence, &[], world.now)
            };
            let newest = newest(&world, 1).remove(0);
            for node in NODES {
                let verdict = &plan.verdicts[node].reason;
                if ready || node != newest && node.starts_with('b') {
                    assert_eq!(waits(node), ClearVerdict::Clear, "{node}");
                    assert_eq!(verdict, &Reason::Drained);
                }
            }
            if !ready {
                let ClearVerdict::Wait(waits) = waits(&newest) else {
                    panic!("{newest} goes although {spec}");
                };
                assert_eq!(waits.code(), reason);
                assert_eq!(plan.verdicts[&newest].reason.code(), reason);
            }
        }
    }
}

#[test]
fn a_node_down_in_another_domain_keeps_the_key_and_calls_nothing_off() {
    let spec = "{nodeSelector: {}, budget: {maxUnavailable: 2, perDomain: {topologyKey: zone, maxUnavailable: 2}}}";
    let mut world = World::new().policy("p", spec).nodes(&NODES).need(&["a1"]);
    for node in NODES {
        world = world.label(node, "zone", &node[..1]);
    }
    world.settle();
    while world.phase("a1") != Some(Phase::Drained) {
        world.agent("a1");
    }
    world.node_mut("b1").ready = false;
    assert_eq!(called_off(&world.plan()), []);
    let fence = world.lease("a1").accepted_fence();
    let judged = judge(&world.snapshot, "a1", fence, &[], world.now);
    assert!(
        matches!(&judged, ClearVerdict::Wait(Reason::DomainBusy { domain, .. }) if domain == "b"),
        "{judged:?}"
    );
    world.node_mut("b1").ready = true;
    let judged = judge(&world.snapshot, "a1", fence, &[], world.now);
    assert_eq!(judged, ClearVerdict::Clear);
}

/// The policy is there and cannot be decoded, as the operator shows it.
fn undecodable(world: &mut World) {
    world.snapshot.policies.retain(|policy| policy.name != "p");
    let object = "RebootPolicy p".to_owned();
    world.snapshot.gaps = vec![Gap::Undecodable { object }];
}

#[test]
fn a_policy_that_cannot_be_read_calls_no_drain_off_and_turns_no_key() {
    for more in [None, Some("{nodeSelector: {}, priority: -1, paused: true}")] {
        let mut world = draining(FOUR);
        if let Some(other) = more {
            world.add_policy("other", other);
        }
        undecodable(&mut world);
        assert_eq!(called_off(&world.plan()), []);
        for node in NODES {
            world.agent(node);
            let plan = world.plan();
            assert_eq!(plan.verdicts[node].reason.code(), "NotObserved");
            let fence = world.lease(node).accepted_fence();
            let judged = judge(&world.snapshot, node, fence, &[], world.now);
            assert!(
                matches!(judged, ClearVerdict::Wait(Reason::NotObserved { .. })),
                "{judged:?}"
            );
        }
        // A brake is nobody's policy.
        world.ledger_mut().spec.paused = true;
        assert_eq!(called_off(&world.plan()).len(), NODES.len());
    }
}

#[test]
fn an_object_of_another_kind_that_cannot_be_read_hides_no_policy() {
    let mut world = draining(FOUR);
    undecodable(&mut world);
    let object = "RebootLease x".to_owned();
    world.snapshot.gaps = vec![Gap::Undecodable { object }];
    let plan = world.plan();
    assert_eq!(called_off(&plan).len(), NODES.len());
    assert!(
        called_off(&plan)
            .iter()
            .all(|(_, reason)| *reason == "PolicyDeleted")
    );
}

#[test]
fn q8_a_blocker_that_calls_three_drains_in_a_row_off_earns_the_node_a_pause() {
    let spec = "{nodeSelector: {}, failure: {backoff: 1h}, blockers: [{name: alerts, http: {url: 'http://example.com/'}}]}";
    let mut world = World::new().policy("p", spec).nodes(&["a1"]).need(&["a1"]);
    let answer = |world: &mut World, answer: Answer| {
        let policy = &world.snapshot.policies[0];
        let rule = policy.parsed.as_ref().unwrap().blockers[0].clone();
        let key = (policy.uid.clone(), rule.name.clone());
        let at = world.now;
        let answered = Answered { rule, answer, at };
        world.snapshot.blockers.insert(key, answered);
    };
    let blocks = || Answer::Blocks {
        message: "too few replicas".to_owned(),
    };
    for drain in 1..=3 {
        answer(&mut world, Answer::Clear);
        world.settle();
        assert!(!world.slots().is_empty(), "drain {drain} is not granted");
        world.agent("a1");
        world.agent("a1");
        answer(&mut world, blocks());
        let plan = world.pass();
        assert_eq!(called_off(&plan), [("a1", "Blocked")]);
        world.agent("a1");
        assert_eq!(world.phase("a1"), Some(Phase::Aborted));
        answer(&mut world, Answer::Clear);
        world.pass();
        world.wait(1);
    }
    answer(&mut world, Answer::Clear);
    let plan = world.settle();
    assert!(world.slots().is_empty(), "a fourth drain begins at once");
    let waits = &plan.verdicts["a1"].waiting_for;
    assert!(
        waits
            .iter()
            .any(|reason| matches!(reason, Reason::DrainCausesBlock { drains: 3, .. })),
        "{waits:?}"
    );
    // The plan wakes for the end of the pause, and then it is tried again.
    let wake = plan.wake_at.unwrap();
    assert!(wake.duration_since(world.now).as_secs() <= 3600);
    world.now = wake;
    answer(&mut world, Answer::Clear);
    world.settle();
    assert_eq!(world.slots().len(), 1);
}

#[test]
fn without_a_ledger_a_reboot_that_has_ended_still_says_how() {
    for ledger in [LedgerState::Missing, LedgerState::Unknown] {
        let mut world = World::new()
            .policy("p", FOUR)
            .nodes(&NODES)
            .need(&["a1", "a2"]);
        world.settle();
        world.reboot("a1", true);
        world.wait(60);
        world.settle();
        assert_eq!(world.phase("a1"), Some(Phase::Completed));
        world.require("a1");
        world.snapshot.ledger = ledger;
        let plan = world.plan();
        assert_eq!(plan.verdicts["a1"].reason.code(), "Ended");
        // Nothing else is concluded: it is not opened again, and a live one waits for the ledger.
        let is_about = |action: &&Action| action.node() == Some("a1");
        assert_eq!(plan.actions.iter().find(is_about), None);
        assert_eq!(plan.verdicts["a2"].reason, Reason::LedgerMissing);
    }
}

#[test]
fn a_ledger_that_was_made_and_never_filled_is_filled_like_a_lost_one() {
    let mut world = draining(FOUR);
    let fences: Vec<i64> = world.slots().iter().map(|slot| slot.fence).collect();
    world.ledger_mut().status = None;
    let plan = world.plan();
    let Some(Action::CreateLedger { status }) = plan.actions.first() else {
        panic!("{:?}", plan.actions);
    };
    let rebuilt: Vec<i64> = status.slots.iter().map(|slot| slot.fence).collect();
    assert_eq!(
        {
            let mut all = rebuilt;
            all.sort_unstable();
            all
        },
        {
            let mut all = fences;
            all.sort_unstable();
            all
        }
    );
    assert!(status.next_fence > 4 && status.grants_not_before.is_some());
    // Nothing is rebuilt from half a view.
    world.snapshot.gaps = vec![Gap::Unsynced {
        kind: "Nodes".to_owned(),
    }];
    let filled = |action: &Action| matches!(action, Action::CreateLedger { .. });
    assert!(!world.plan().actions.iter().any(filled));
}
