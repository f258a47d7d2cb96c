//! Others that take nodes away (F53): whose nodes are left alone, and how a node is kept from them
//! while it is rebooted, to the end of it, whatever that is (F112).

use slipway_api::people::Release;
use slipway_api::{Phase, names};
use slipway_planner::disruption::{SIGNS, signs};
use slipway_planner::marks::Marks;
use slipway_planner::{Action, Reason, check};

use crate::world::World;

const EVERYTHING: &str = "{nodeSelector: {}, verify: {nodeReadyFor: 10s}}";
const BOTH: [&str; 2] = names::PROTECTIONS;

fn world(spec: &str) -> World {
    World::new().policy("p", spec).nodes(&["a"]).need(&["a"])
}

fn taint(world: &mut World, key: &str) {
    world.node_mut("a").signs = signs(std::iter::once(key));
}

fn reason(world: &World) -> Reason {
    world.plan().verdicts["a"].reason.clone()
}

fn protections(world: &World) -> Vec<&str> {
    let all = world.node("a").protections.iter();
    all.map(|(key, _)| key.as_str()).collect()
}

/// A world whose node is in this phase of its reboot.
fn at(phase: Phase) -> World {
    let mut world = world(EVERYTHING);
    for _ in 0..30 {
        world.settle();
        if world.phase("a") == Some(phase) {
            return world;
        }
        world.agent("a");
    }
    panic!("{phase:?} was not reached");
}

#[test]
fn f53_a_node_that_somebody_takes_away_is_not_granted_unless_the_policy_says_so() {
    let field = |taint: &str| match taint {
        "ToBeDeletedByClusterAutoscaler" => "clusterAutoscaler",
        "karpenter.sh/disrupted" | "karpenter.sh/disruption" => "karpenter",
        "node.kubernetes.io/out-of-service" => "",
        _ => "medik8s",
    };
    for sign in SIGNS {
        let mut world = world(EVERYTHING);
        taint(&mut world, sign.taint);
        world.settle();
        let found = reason(&world);
        assert_eq!(found.code(), "NodeDisrupted", "{}", sign.taint);
        assert!(found.to_string().contains(sign.taint), "{found}");
        assert_eq!(world.slots(), []);
        // Gone again: it goes on.
        world.node_mut("a").signs.clear();
        world.settle();
        assert_eq!(world.slots().len(), 1, "{}", sign.taint);
        for other in ["clusterAutoscaler", "karpenter", "medik8s"] {
            let spec = format!("{{nodeSelector: {{}}, cooperate: {{{other}: false}}}}");
            let mut world = self::world(&spec);
            taint(&mut world, sign.taint);
            world.settle();
            let goes = world.slots().len() == 1;
            assert_eq!(goes, field(sign.taint) == other, "{} {other}", sign.taint);
        }
    }
}

#[test]
fn f53_a_mere_candidate_for_removal_is_rebooted() {
    let mut world = world(EVERYTHING);
    taint(&mut world, "DeletionCandidateOfClusterAutoscaler");
    world.settle();
    assert_eq!(world.slots().len(), 1);
}

#[test]
fn f53_a_drain_ends_when_somebody_takes_the_node_away_and_a_committed_reboot_does_not() {
    for phase in [Phase::Granted, Phase::Draining, Phase::Drained] {
        let mut world = at(phase);
        taint(&mut world, "karpenter.sh/disrupted");
        world.settle();
        world.agent("a");
        world.settle();
        assert_eq!(world.slots(), [], "{phase:?}");
        let revoke = world.lease("a").spec.revoke.as_ref();
        assert_eq!(revoke.unwrap().reason, "NodeDisrupted", "{phase:?}");
    }
    let mut world = at(Phase::Rebooting);
    taint(&mut world, "karpenter.sh/disrupted");
    world.settle();
    assert_eq!(world.lease("a").spec.revoke, None);
    world.reboot("a", true);
    world.settle();
    assert_eq!(world.phase("a"), Some(Phase::Completed));
}

#[test]
fn f53_a_node_is_kept_from_others_from_the_grant_to_the_end() {
    let mut waits = world("{nodeSelector: {}, paused: true}");
    waits.settle();
    assert!(protections(&waits).is_empty());
    for phase in [
        Phase::Granted,
        Phase::Draining,
        Phase::Drained,
        Phase::Rebooting,
        Phase::Rebooted,
    ] {
        assert_eq!(protections(&at(phase)), BOTH, "{phase:?}");
    }
    let spec = "{nodeSelector: {}, cooperate: {karpenter: false}}";
    let mut one = world(spec);
    one.settle();
    assert_eq!(protections(&one), [names::ANNOTATION_SCALE_DOWN_DISABLED]);
    let mut none =
        world("{nodeSelector: {}, cooperate: {clusterAutoscaler: false, karpenter: false}}");
    none.settle();
    assert_eq!(none.slots().len(), 1);
    assert!(protections(&none).is_empty());
}

/// How a reboot may end.
type Ending = fn(&mut World);

#[test]
fn f112_nothing_of_it_is_left_behind_however_the_reboot_ends() {
    let revoked: Ending = |world| world.edit_policy("p", "{nodeSelector: {}, paused: true}");
    let endings: [(&str, Phase, Ending); 9] = [
        ("completed", Phase::Rebooting, |world| {
            world.reboot("a", true);
        }),
        ("failed", Phase::Rebooting, |world| world.reboot("a", false)),
        ("never accepted", Phase::Granted, revoked),
        ("aborted", Phase::Draining, revoked),
        ("failed by its agent", Phase::Draining, |world| {
            world.agent("a");
            world.enter("a", Phase::Failed, "DrainTimeout");
        }),
        ("released", Phase::Rebooting, |world| {
            let fence = world.lease("a").accepted_fence();
            world.lease_mut("a").spec.release = Some(Release {
                fence,
                by: "ada".into(),
                reason: "dead".into(),
                force: true,
            });
        }),
        ("policy deleted", Phase::Draining, |world| {
            world.snapshot.policies.clear();
        }),
        (
            "policy deleted after the commit",
            Phase::Rebooting,
            |world| {
                world.snapshot.policies.clear();
                world.settle();
                assert_eq!(protections(world), BOTH, "not before the end");
                world.reboot("a", true);
            },
        ),
        ("lease deleted", Phase::Draining, |world| {
            world.snapshot.leases.remove("a");
            world.node_mut("a").need = slipway_planner::Need::NotRequired;
        }),
    ];
    for (name, phase, ending) in endings {
        let mut world = at(phase);
        ending(&mut world);
        for _ in 0..4 {
            world.settle();
            if world
                .phase("a")
                .is_none_or(|phase| phase != Phase::Rebooting)
            {
                world.agent("a");
            }
        }
        // Whoever leads now knows from the Node alone what was written.
        world.settle();
        assert!(protections(&world).is_empty(), "{name}");
        assert_eq!(world.node("a").marks, Marks::default(), "{name}");
    }
}

#[test]
fn f53_what_somebody_else_wrote_is_neither_changed_nor_taken_away() {
    for value in ["true", "false"] {
        let mut world = world(EVERYTHING);
        let key = names::ANNOTATION_DO_NOT_DISRUPT;
        let theirs = (key.to_owned(), value.to_owned());
        world.node_mut("a").protections.extend([theirs]);
        world.settle();
        assert_eq!(protections(&world), BOTH);
        let ours = &world.node("a").marks.protections;
        assert!(!ours.contains(key), "{value}");
        world.reboot("a", true);
        world.settle();
        let left = &world.node("a").protections;
        assert_eq!(left.get(key).map(String::as_str), Some(value));
        assert_eq!(left.len(), 1, "{value}");
    }
}

#[test]
fn the_independent_judge_refuses_to_keep_others_from_a_node_that_is_not_rebooted() {
    let refused = |world: &World| {
        let mut plan = world.plan();
        plan.actions = vec![Action::MarkNode {
            node: "a".into(),
            node_uid: world.node("a").uid.clone(),
            marks: Marks {
                protections: BOTH.map(str::to_owned).into(),
                ..Marks::default()
            },
        }];
        let found = check::check(&world.snapshot, &plan, world.now);
        found.iter().any(|violation| violation.rule == "P3")
    };
    let mut granted = at(Phase::Granted);
    granted.node_mut("a").marks = Marks::default();
    granted.node_mut("a").protections.clear();
    assert!(!refused(&granted));
    let theirs = (BOTH[0].to_owned(), "true".to_owned());
    granted.node_mut("a").protections.extend([theirs]);
    assert!(refused(&granted), "somebody else's");
    let mut waits = world("{nodeSelector: {}, paused: true}");
    waits.settle();
    assert!(refused(&waits), "it only waits");
}

#[test]
fn the_independent_judge_refuses_a_grant_of_a_node_that_somebody_takes_away() {
    let mut world = world(EVERYTHING);
    world.pass();
    let plan = world.plan();
    let grants = |action: &Action| matches!(action, Action::Grant(_));
    assert!(plan.actions.iter().any(grants));
    for sign in SIGNS {
        taint(&mut world, sign.taint);
        let found = check::check(&world.snapshot, &plan, world.now);
        assert!(found.iter().any(|one| one.rule == "F53"), "{}", sign.taint);
    }
}
