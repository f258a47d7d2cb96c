//! The command line, in the words that users of kubectl know.

pub(crate) mod write;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use jiff::tz::TimeZone;
use slipway_api::names;

use write::{ApproveVerb, HoldVerb, NowVerb, PauseVerb, ReleaseVerb, UnholdVerb};

/// See when nodes will be rebooted and why they are not; approve, ask for, hold and pause reboots.
#[derive(Parser, Debug)]
#[command(
    name = "kubectl reboot",
    bin_name = "kubectl reboot",
    version,
    about,
    after_help = "Exit codes: 0 for an answer, 1 for an error, 2 for wrong usage."
)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) connection: Connection,
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

/// Which cluster, as whom.
#[derive(Args, Clone, Debug)]
pub(crate) struct Connection {
    /// The kubeconfig file; default $KUBECONFIG or ~/.kube/config.
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) kubeconfig: Option<PathBuf>,
    /// The context of the kubeconfig to use.
    #[arg(long, global = true, value_name = "NAME")]
    pub(crate) context: Option<String>,
    /// The user to impersonate.
    #[arg(long = "as", global = true, value_name = "USER")]
    pub(crate) impersonate: Option<String>,
    /// The namespace in which Slipway runs.
    #[arg(short, long, global = true, value_name = "NAME", default_value = names::NAMESPACE)]
    pub(crate) namespace: String,
}

#[derive(Subcommand, Debug)]
pub(crate) enum Verb {
    /// Show which nodes will be rebooted when, and what the others wait for.
    #[command(after_help = "Examples:
  kubectl reboot plan
  kubectl reboot plan -f policy.yaml          what this policy would change
  kubectl reboot plan --all -o html > plan.html   how long a round over every node takes")]
    Plan(PlanVerb),
    /// Say where one node stands, why, and what clears it.
    Explain(ExplainVerb),
    /// Show every reboot under way or recorded, and every policy.
    Status(StatusVerb),
    /// Approve the reboot that a node waits for, where its policy has `mode: Approve`.
    #[command(after_help = "Examples:
  kubectl reboot approve worker-1
  kubectl reboot approve -l topology.kubernetes.io/zone=a --dry-run=server
  kubectl reboot approve --all

An approval counts for one attempt at the present need, never for the next one.")]
    Approve(ApproveVerb),
    /// Pause policies, or everything.
    Pause(PauseVerb),
    /// Undo a pause.
    Resume(PauseVerb),
    /// Keep nodes from being rebooted until `unhold`; a drain under way is undone.
    #[command(after_help = "Example:
  kubectl reboot hold worker-1 --reason 'debugging the disk'

It stays whatever asks for a reboot. It does not call back a reboot that has been committed.")]
    Hold(HoldVerb),
    /// Undo a hold.
    Unhold(UnholdVerb),
    /// Ask for a reboot of nodes now, also when nothing on the host asks.
    #[command(after_help = "Examples:
  kubectl reboot now worker-1 --reason 'new firmware'
  kubectl reboot now worker-1 --reason 'new firmware' --override window,order,budget

The node is drained first, as always. Budget and breaker apply unless they are named. Pauses,
holds, control-plane rules, blockers, maxRebootsPerNode and mode Observe always apply.")]
    Now(NowVerb),
    /// Give up a reboot that does not end by itself, and give its slot back. Dangerous.
    #[command(after_help = "Example:
  kubectl reboot release worker-1 --fence 17 --reason 'the machine is scrapped'

The reboot counts as failed. Where the machine is still going down, another node may go down
beside it, beyond the budget: be sure that it is up and stays up, or that it is gone for good.")]
    Release(ReleaseVerb),
}

#[derive(Args, Debug)]
pub(crate) struct PlanVerb {
    /// Plan as if the policies in this file were applied (`-` for standard input), and show the
    /// difference to the present.
    #[arg(short, long, value_name = "FILE")]
    pub(crate) filename: Option<PathBuf>,
    /// Plan as if every node needed a reboot now.
    #[arg(long)]
    pub(crate) all: bool,
    /// Only nodes with these labels.
    #[arg(short = 'l', long, value_name = "SELECTOR")]
    pub(crate) selector: Option<String>,
    /// How to print it.
    #[arg(short, long, value_enum, default_value_t = PlanOutput::Table)]
    pub(crate) output: PlanOutput,
    /// The time zone of what is printed; default that of the policies' schedules, or UTC where
    /// they differ.
    #[arg(long, value_name = "ZONE", value_parser = zone)]
    pub(crate) time_zone: Option<TimeZone>,
}

#[derive(Args, Debug)]
pub(crate) struct ExplainVerb {
    /// The node.
    pub(crate) node: String,
    /// How to print it.
    #[arg(short, long, value_enum, default_value_t = TextOutput::Text)]
    pub(crate) output: TextOutput,
    /// The time zone of what is printed; default that of the policies' schedules, or UTC where
    /// they differ.
    #[arg(long, value_name = "ZONE", value_parser = zone)]
    pub(crate) time_zone: Option<TimeZone>,
}

#[derive(Args, Debug)]
pub(crate) struct StatusVerb {
    /// Only nodes with these labels.
    #[arg(short = 'l', long, value_name = "SELECTOR")]
    pub(crate) selector: Option<String>,
    /// Stay, and print it again whenever it changes.
    #[arg(short, long)]
    pub(crate) watch: bool,
    /// How to print it.
    #[arg(short, long, value_enum, default_value_t = TableOutput::Table)]
    pub(crate) output: TableOutput,
}

/// How a plan is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum PlanOutput {
    Table,
    Wide,
    Json,
    Yaml,
    Html,
}

/// How rows are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum TableOutput {
    Table,
    Wide,
    Json,
    Yaml,
}

/// How an explanation is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum TextOutput {
    Text,
    Json,
    Yaml,
}

fn zone(name: &str) -> Result<TimeZone, String> {
    TimeZone::get(name).map_err(|_| format!("there is no time zone {name:?}; write an IANA name"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(line: &str) -> i32 {
        match Arguments::try_parse_from(line.split_whitespace()) {
            Ok(_) => 0,
            Err(error) => error.exit_code(),
        }
    }

    #[test]
    fn wrong_usage_is_2_and_help_is_0() {
        for (line, expected) in [
            ("kubectl-reboot plan", 0),
            (
                "kubectl-reboot plan -o yaml -l a=b --context c --kubeconfig k",
                0,
            ),
            ("kubectl-reboot explain n1", 0),
            ("kubectl-reboot status -w -o wide", 0),
            ("kubectl-reboot pause --all", 0),
            ("kubectl-reboot resume a b", 0),
            ("kubectl-reboot pause -l team=a -o name", 0),
            ("kubectl-reboot approve n1 n2 --dry-run=server", 0),
            ("kubectl-reboot approve --all --dry-run -o yaml", 0),
            ("kubectl-reboot approve -l a=b --withdraw", 0),
            ("kubectl-reboot hold n1 --reason x --resource-version 7", 0),
            ("kubectl-reboot unhold n1 -o json", 0),
            ("kubectl-reboot now n1 --reason x --override budget", 0),
            ("kubectl-reboot now n1 --withdraw", 0),
            ("kubectl-reboot release n1 --fence 3 --reason x -y", 0),
            ("kubectl-reboot --help", 0),
            ("kubectl-reboot", 2),
            ("kubectl-reboot pause", 2),
            ("kubectl-reboot pause --all a", 2),
            ("kubectl-reboot explain", 2),
            ("kubectl-reboot plan -o csv", 2),
            ("kubectl-reboot plan --time-zone Mars/Olympus", 2),
            ("kubectl-reboot destroy", 2),
            ("kubectl-reboot approve", 2),
            ("kubectl-reboot approve n1 --all", 2),
            ("kubectl-reboot approve n1 --dry-run=maybe", 2),
            ("kubectl-reboot hold n1", 2),
            ("kubectl-reboot hold --reason x", 2),
            ("kubectl-reboot now n1", 2),
            ("kubectl-reboot now n1 --reason x --override all", 2),
            ("kubectl-reboot now n1 --withdraw --reason x", 2),
            ("kubectl-reboot release n1 --reason x", 2),
            ("kubectl-reboot release n1 --fence 3", 2),
            ("kubectl-reboot release n1 --fence 0 --reason x", 2),
            ("kubectl-reboot release n1 n2 --fence 3 --reason x", 2),
        ] {
            assert_eq!(code(line), expected, "{line}");
        }
    }
}
