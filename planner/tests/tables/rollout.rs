//! A rollout over several nodes, as the tables of limits, order and schedule step through it.

use slipway_api::Phase;

use crate::look::grants;
use crate::world::World;

pub(crate) const ZONE: &str = "topology.kubernetes.io/zone";

pub(crate) fn policy(rest: &str) -> String {
    format!("{{nodeSelector: {{}}, verify: {{nodeReadyFor: 0s}}, {rest}}}")
}

/// A world in which these nodes need a reboot, one second apart and in this order, and have leases.
pub(crate) fn waiting(spec: &str, nodes: &[&str]) -> World {
    let mut world = World::new().policy("p", spec).nodes(nodes);
    for node in nodes {
        world.require(node);
        world.wait(1);
    }
    world.pass();
    world
}

/// Passes and agents until nobody does anything more; the order in which nodes were granted.
pub(crate) fn run(world: &mut World, nodes: &[&str]) -> Vec<String> {
    let mut order = Vec::new();
    for _ in 0..200 {
        let plan = world.pass();
        order.extend(grants(&plan).into_iter().map(str::to_owned));
        for node in nodes {
            world.agent(node);
        }
        world.wait(1);
    }
    order
}

/// One node to its end.
pub(crate) fn finish(world: &mut World, node: &str) {
    for _ in 0..20 {
        world.agent(node);
        world.wait(1);
        world.pass();
        let free = world.slots().iter().all(|slot| slot.node != node);
        if world.phase(node) == Some(Phase::Completed) && free {
            return;
        }
    }
    panic!("{node} never ends: {:#?}", world.plan().verdicts[node]);
}

pub(crate) fn zones(world: World, zones: &[(&str, &str)]) -> World {
    zones
        .iter()
        .fold(world, |world, (node, zone)| world.label(node, ZONE, zone))
}

pub(crate) fn with_control_plane(spec: &str) -> World {
    let role = slipway_api::names::LABEL_CONTROL_PLANE;
    World::new()
        .policy("p", spec)
        .nodes(&["cp", "w1", "w2"])
        .label("cp", role, "")
}
