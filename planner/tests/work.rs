//! How work grows with the fleet: counted, not timed, so that a busy machine changes nothing.
//!
//! What is counted is memory asked for: whatever looks at every node for every node, slot or policy
//! builds something as it does so. Comparisons alone are for the bench (`planner/benches`).

mod fleet;

use slipway_planner::forecast::forecast;
use slipway_planner::{check, plan};

/// Four times as many nodes cost at most so many times as much, in percent: n log n is 468 between
/// these sizes, n squared 1600.
const GROWTH_MAX: u64 = 520;

/// Allocations and bytes of some work.
fn cost(work: impl FnOnce()) -> [u64; 2] {
    let info = allocation_counter::measure(work);
    [info.count_total, info.bytes_total]
}

fn assert_grows_like_n_log_n(what: &str, work: impl Fn(&fleet::Fleet)) {
    let [small, large] = [1_000, 4_000].map(|nodes| {
        let fleet = fleet::fleet(nodes);
        cost(|| work(&fleet))
    });
    for (unit, (small, large)) in ["allocations", "bytes"]
        .into_iter()
        .zip(small.into_iter().zip(large))
    {
        let growth = large * 100 / small;
        assert!(
            growth <= GROWTH_MAX,
            "{what}: {small} {unit} become {large}: {growth} %"
        );
    }
}

#[test]
fn a_pass_over_four_times_as_many_nodes_costs_four_times_as_much() {
    assert_grows_like_n_log_n("a pass", |fleet| {
        plan(&fleet.snapshot, fleet.now);
    });
}

#[test]
fn a_pass_in_which_everybody_waits_costs_four_times_as_much() {
    assert_grows_like_n_log_n("a pass in which all wait", |fleet| {
        plan(&fleet.waiting, fleet.now);
    });
}

#[test]
fn the_check_of_a_plan_costs_four_times_as_much() {
    assert_grows_like_n_log_n("the check", |fleet| {
        check::check(&fleet.waiting, &fleet.waits, fleet.now);
        check::check(&fleet.snapshot, &fleet.plan, fleet.now);
    });
}

#[test]
fn a_forecast_of_four_times_as_many_nodes_costs_four_times_as_much() {
    assert_grows_like_n_log_n("a forecast", |fleet| {
        forecast(
            &fleet.waiting,
            &fleet.waits,
            &std::collections::BTreeMap::new(),
            fleet.now,
        );
    });
}
