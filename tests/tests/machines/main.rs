//! The machines of the lab, and Slipway on them: real kubelets, real reboots.
//!
//! Each scenario is one function in a file of its own, and is listed here. They run one after
//! another, in one network namespace; arguments choose those whose name contains one of them.
#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "this is a test runner: it prints and takes times, and a panic fails the scenario"
)]

mod kubelets;
mod leftovers;
mod methods;
mod plain;
mod pods;
mod reboots;
mod slipway;

use std::process::ExitCode;

use slipway_lab::machines::suite::{Scenario, run, scenario};

fn main() -> ExitCode {
    if let Some(code) = leftovers::child() {
        return code;
    }
    let scenarios: Vec<Scenario> = vec![
        scenario(
            "four_machines_boot_at_once",
            reboots::four_machines_boot_at_once,
        ),
        scenario(
            "a_reboot_gives_a_new_boot_id_and_keeps_the_disk",
            reboots::a_reboot_gives_a_new_boot_id_and_keeps_the_disk,
        ),
        scenario(
            "a_killed_test_leaves_nothing_behind",
            leftovers::a_killed_test_leaves_nothing_behind,
        ),
        scenario(
            "an_agent_on_a_machine_has_its_pods_identity_and_survives_reboots",
            plain::an_agent_on_a_machine_has_its_pods_identity_and_survives_reboots,
        ),
        scenario(
            "an_agent_as_a_service_reports_its_machine",
            plain::an_agent_as_a_service_reports_its_machine,
        ),
        scenario(
            "kubelets_run_a_workload_and_come_back_from_a_reboot",
            kubelets::kubelets_run_a_workload_and_come_back_from_a_reboot,
        ),
        scenario(
            "a_pod_without_capabilities_reads_and_reboots_its_machine",
            pods::a_pod_without_capabilities_reads_and_reboots_its_machine,
        ),
        scenario(
            "a_machine_that_asks_is_drained_rebooted_and_given_back",
            slipway::a_machine_that_asks_is_drained_rebooted_and_given_back,
        ),
        scenario(
            "every_method_reboots_its_host_and_one_that_lies_is_found_out",
            methods::every_method_reboots_its_host_and_one_that_lies_is_found_out,
        ),
    ];
    run("machines", scenarios)
}
