//! What the tables look at in a plan, and the world that most of them begin with.

use slipway_api::Phase;
use slipway_planner::{Action, GrantRequest, Plan, Reason};

use crate::world::World;

/// Every node, one at a time.
pub(crate) const EVERYTHING: &str = "{nodeSelector: {}, verify: {nodeReadyFor: 10s}}";

/// Why a node is where it is.
pub(crate) fn reason<'a>(plan: &'a Plan, node: &str) -> &'a Reason {
    &plan.verdicts[node].reason
}

/// The same, as its word.
pub(crate) fn code(plan: &Plan, node: &str) -> &'static str {
    reason(plan, node).code()
}

/// Nodes that are granted a reboot.
pub(crate) fn grants(plan: &Plan) -> Vec<&str> {
    requests(plan)
        .map(|request| request.node.as_str())
        .collect()
}

fn requests(plan: &Plan) -> impl Iterator<Item = &GrantRequest> {
    plan.actions.iter().filter_map(|action| match action {
        Action::Grant(request) => Some(request),
        _ => None,
    })
}

/// What the first of the grants asks for; there has to be one.
pub(crate) fn grant_asked(plan: &Plan) -> GrantRequest {
    let first = requests(plan).next();
    first.unwrap_or_else(|| panic!("{plan:#?}")).clone()
}

/// Policies under which nothing goes at noon on a Tuesday, and the word for why.
pub(crate) const SHUT: [(&str, &str); 4] = [
    ("{nodeSelector: {}, paused: true}", "PolicyPaused"),
    ("{nodeSelector: {}, mode: Observe}", "ObserveMode"),
    (
        "{nodeSelector: {}, budget: {maxUnavailable: 0}}",
        "BudgetUsed",
    ),
    (
        "{nodeSelector: {}, schedule: {windows: [{start: '22:00', end: '05:00'}]}}",
        "WindowClosed",
    ),
];

/// Why a node's grant is called off, if it is.
pub(crate) fn revoked<'a>(plan: &'a Plan, node: &str) -> Option<&'a Reason> {
    plan.actions.iter().find_map(|action| match action {
        Action::Revoke {
            node: name, reason, ..
        } if name == node => Some(reason),
        _ => None,
    })
}

/// A world whose node `a` is in the given phase, granted by policy `p`.
pub(crate) fn in_phase(phase: Phase) -> World {
    let mut world = World::new()
        .policy("p", EVERYTHING)
        .nodes(&["a", "b", "c"])
        .need(&["a"]);
    world.settle();
    for _ in 0..20 {
        if world.phase("a") == Some(phase) {
            return world;
        }
        world.agent("a");
        if world.phase("a") == Some(phase) {
            return world;
        }
        world.pass();
    }
    panic!("{phase} is never reached, but {:?}", world.phase("a"));
}
