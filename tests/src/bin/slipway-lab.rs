//! The lab's set-up as a program, for `cargo xtask`, which is built before the lab can be.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command for people and for xtask: its answer is what it prints"
)]

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::{Parser, Subcommand};
use slipway_lab::footprint::table::rows;
use slipway_lab::images::Image;
use slipway_lab::{browser, chart, footprint, machines, prometheus};

/// Sets up what the lab's suites and the demo need.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Machines: whether they can run here, and their set-up.
    Machines {
        #[command(subcommand)]
        verb: Machines,
    },
    /// Prometheus and Alertmanager: whether they can be had here, and their set-up.
    Prometheus {
        #[command(subcommand)]
        verb: Machines,
    },
    /// A browser: whether it can be had here, and its set-up.
    Browser {
        #[command(subcommand)]
        verb: Machines,
    },
    /// Writes the images of the operator and the agent, and prints the archives' paths.
    Images {
        /// Where the static programs lie.
        programs: PathBuf,
        /// Where the archives go.
        archives: PathBuf,
    },
    /// Measures what an agent costs its node and the API server; fails where a ceiling is passed.
    Footprint {
        /// The agent's program, linked statically or for this machine.
        #[arg(long)]
        agent: PathBuf,
        /// How long each of the situations at rest is watched, in seconds.
        #[arg(long, default_value_t = 120)]
        seconds: u64,
    },
    /// Prints the chart rendered with its default values, as examples/install.yaml has it.
    Chart,
}

#[derive(Subcommand)]
enum Machines {
    /// Prints why they cannot run here; nothing where they can.
    Possible,
    /// Gets packages, and builds what is made of them.
    SetUp,
}

fn main() -> Result<()> {
    match Arguments::parse().verb {
        Verb::Machines {
            verb: Machines::Possible,
        } => {
            if let Err(not_run) = machines::setup::can_set_up() {
                println!("{}", not_run.reason);
            }
        }
        Verb::Machines {
            verb: Machines::SetUp,
        } => {
            for step in machines::setup::setup()? {
                let how = if step.changed {
                    "done"
                } else {
                    "there already"
                };
                println!("    {}: {how}, {:.1} s", step.name, step.took.as_secs_f64());
            }
        }
        Verb::Prometheus {
            verb: Machines::Possible,
        } => {
            if let Some(reason) = prometheus::impossible() {
                println!("{reason}");
            }
        }
        Verb::Prometheus {
            verb: Machines::SetUp,
        } => {
            if prometheus::set_up()? {
                println!("    Prometheus and Alertmanager: unpacked from Debian's packages");
            }
        }
        Verb::Browser {
            verb: Machines::Possible,
        } => {
            if let Some(reason) = browser::impossible() {
                println!("{reason}");
            }
        }
        Verb::Browser {
            verb: Machines::SetUp,
        } => {
            if browser::set_up()? {
                println!("    Chromium: installed from Debian's packages");
            }
        }
        Verb::Images { programs, archives } => {
            let operator = Image::operator(&programs.join("slipway-operator"));
            let agent = Image::agent(&programs.join("slipway-node-agent"));
            for (name, image) in [("slipway-operator", operator), ("slipway-agent", agent)] {
                let archive = archives.join(format!("{name}.tar"));
                image.write(&archive)?;
                println!("{}", archive.display());
            }
        }
        Verb::Footprint { agent, seconds } => measure(agent, seconds)?,
        Verb::Chart => print!(
            "{}",
            chart::install_yaml().context("failed to render the chart")?
        ),
    }
    Ok(())
}

fn measure(agent: PathBuf, seconds: u64) -> Result<()> {
    slipway_client::install_crypto_provider();
    let size = std::fs::metadata(&agent)
        .with_context(|| format!("failed to find {}", agent.display()))?
        .len();
    let options = footprint::Options {
        agent,
        window: Duration::from_secs(seconds),
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let measured = runtime.block_on(footprint::measure(&options))?;
    let rows = rows(size, &measured);
    for row in &rows {
        println!("{row}");
    }
    match rows.iter().filter(|row| row.is_over()).count() {
        0 => Ok(()),
        passed => bail!("{passed} ceilings are passed"),
    }
}
