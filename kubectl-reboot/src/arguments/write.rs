//! Arguments of the verbs that write.

use clap::{Args, ValueEnum};
use slipway_api::people::Override;

/// Which nodes.
#[derive(Args, Clone, Debug)]
#[group(required = true, multiple = false)]
pub(crate) struct Nodes {
    /// The nodes.
    #[arg(value_name = "NODE")]
    pub(crate) nodes: Vec<String>,
    /// Every node with these labels.
    #[arg(short = 'l', long, value_name = "SELECTOR")]
    pub(crate) selector: Option<String>,
}

/// Which of the nodes that wait for approval.
#[derive(Args, Clone, Debug)]
#[group(required = true, multiple = false)]
pub(crate) struct WaitingNodes {
    /// The nodes.
    #[arg(value_name = "NODE")]
    pub(crate) nodes: Vec<String>,
    /// Every node with these labels that waits for approval.
    #[arg(short = 'l', long, value_name = "SELECTOR")]
    pub(crate) selector: Option<String>,
    /// Every node that waits for approval.
    #[arg(long)]
    pub(crate) all: bool,
}

/// How it is written and told.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct Write {
    /// `client`: only say what would be written. `server`: ask the API server, which checks
    /// everything and stores nothing.
    #[arg(
        long,
        value_enum,
        num_args = 0..=1,
        require_equals = true,
        default_value = "none",
        default_missing_value = "client",
        value_name = "none|client|server",
        hide_possible_values = true,
        hide_default_value = true
    )]
    pub(crate) dry_run: DryRun,
    /// How to print what was written.
    #[arg(short, long, value_enum)]
    pub(crate) output: Option<WriteOutput>,
    /// Write only if this is still the version of the one object, else fail.
    #[arg(long, value_name = "VERSION")]
    pub(crate) resource_version: Option<String>,
}

/// What is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum DryRun {
    #[default]
    None,
    Client,
    Server,
}

/// How what was written is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum WriteOutput {
    Name,
    Json,
    Yaml,
}

#[derive(Args, Debug)]
pub(crate) struct PauseVerb {
    #[command(flatten)]
    pub(crate) brakes: Brakes,
    #[command(flatten)]
    pub(crate) write: Write,
}

/// Which brakes.
#[derive(Args, Debug)]
#[group(required = true, multiple = false)]
pub(crate) struct Brakes {
    /// The policies.
    #[arg(value_name = "POLICY")]
    pub(crate) policies: Vec<String>,
    /// Every policy with these labels.
    #[arg(short = 'l', long, value_name = "SELECTOR")]
    pub(crate) selector: Option<String>,
    /// Everything: no policy grants anything, and nodes that are draining are uncordoned again.
    #[arg(long)]
    pub(crate) all: bool,
}

#[derive(Args, Debug)]
pub(crate) struct ApproveVerb {
    #[command(flatten)]
    pub(crate) nodes: WaitingNodes,
    /// Take an approval back; a drain under way is called off.
    #[arg(long)]
    pub(crate) withdraw: bool,
    #[command(flatten)]
    pub(crate) write: Write,
}

#[derive(Args, Debug)]
pub(crate) struct HoldVerb {
    #[command(flatten)]
    pub(crate) nodes: Nodes,
    /// Why, for whoever finds the node held.
    #[arg(long, value_name = "TEXT", value_parser = reason)]
    pub(crate) reason: String,
    #[command(flatten)]
    pub(crate) write: Write,
}

#[derive(Args, Debug)]
pub(crate) struct UnholdVerb {
    #[command(flatten)]
    pub(crate) nodes: Nodes,
    #[command(flatten)]
    pub(crate) write: Write,
}

#[derive(Args, Debug)]
pub(crate) struct NowVerb {
    #[command(flatten)]
    pub(crate) nodes: Nodes,
    /// Why, for the history.
    #[arg(long, value_name = "TEXT", value_parser = reason, required_unless_present = "withdraw")]
    pub(crate) reason: Option<String>,
    /// What does not apply to this reboot: any of window, order, backoff, breaker and budget,
    /// separated by commas, or none.
    #[arg(
        long = "override",
        value_name = "WHAT",
        default_value = "window,order",
        value_parser = overrides
    )]
    pub(crate) overrides: Overrides,
    /// Take a request back that was not granted yet.
    #[arg(long, conflicts_with_all = ["reason", "overrides"])]
    pub(crate) withdraw: bool,
    #[command(flatten)]
    pub(crate) write: Write,
}

/// What a request sets aside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Overrides(pub(crate) Vec<Override>);

#[derive(Args, Debug)]
pub(crate) struct ReleaseVerb {
    /// The node.
    pub(crate) node: String,
    /// The fence of the reboot that is given up, as `kubectl get rebootleases -o wide` shows it.
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(i64).range(1..))]
    pub(crate) fence: i64,
    /// Why, for the history.
    #[arg(long, value_name = "TEXT", value_parser = reason)]
    pub(crate) reason: String,
    /// Within ten minutes after the agent's commit, too, when the machine may still be about to
    /// go down.
    #[arg(long)]
    pub(crate) force: bool,
    /// Do not ask.
    #[arg(short, long)]
    pub(crate) yes: bool,
    #[command(flatten)]
    pub(crate) write: Write,
}

fn reason(text: &str) -> Result<String, String> {
    let text = text.trim();
    match text.chars().count() {
        0 => Err("say why in a few words".to_owned()),
        1..=512 => Ok(text.to_owned()),
        _ => Err("say it in 512 characters".to_owned()),
    }
}

fn overrides(text: &str) -> Result<Overrides, String> {
    if text.trim().eq_ignore_ascii_case("none") {
        return Ok(Overrides(Vec::new()));
    }
    let mut found = Vec::new();
    for word in text.split(',').map(str::trim) {
        let one = match word.to_ascii_lowercase().as_str() {
            "window" => Override::Window,
            "order" => Override::Order,
            "backoff" => Override::Backoff,
            "breaker" => Override::Breaker,
            "budget" => Override::Budget,
            _ => {
                return Err(format!(
                    "{word:?} is none of window, order, backoff, breaker, budget; or write none alone"
                ));
            }
        };
        if !found.contains(&one) {
            found.push(one);
        }
    }
    Ok(Overrides(found))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_request_sets_aside_is_named_word_by_word() {
        let read = |text| overrides(text).map(|found| found.0);
        assert_eq!(
            read("window,order"),
            Ok(vec![Override::Window, Override::Order])
        );
        assert_eq!(read("Budget, budget"), Ok(vec![Override::Budget]));
        assert_eq!(read("none"), Ok(Vec::new()));
        for wrong in ["", "none,budget", "everything", "window,"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_reason_has_words_and_not_too_many() {
        assert_eq!(reason("  new firmware "), Ok("new firmware".to_owned()));
        assert!(reason("   ").is_err());
        assert!(reason(&"x".repeat(513)).is_err());
    }
}
