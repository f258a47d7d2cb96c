//! The story of the demo, from an empty cluster to the verdict.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use jiff::Timestamp;
use kube::ResourceExt;
use slipway_api::names;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{Instant, sleep_until};

use super::chaos::Chaos;
use super::keep;
use super::options::DemoOptions;
use super::promises::{Terms, is_finished, judge, unfinished};
use super::screen::Screen;
use super::timeline::timeline;
use super::watch::Monitor;
use super::workload;
use super::world::World;
use crate::wait::wait_until;

/// How long the whole run may take.
const RUN_BOUND: Duration = Duration::from_mins(5);
/// How long the workload may take to be ready.
const WORKLOAD_BOUND: Duration = Duration::from_mins(1);
/// How often the table is drawn anew while nothing changes: ages grow.
const REDRAW: Duration = Duration::from_millis(500);

/// Runs the demo; the exit code.
pub async fn run(options: DemoOptions) -> Result<u8> {
    let mut interrupted = signal(SignalKind::interrupt())?;
    let mut terminated = signal(SignalKind::terminate())?;
    let (world, code) = tokio::select! {
        told = tell(&options) => told?,
        _ = interrupted.recv() => bail!("interrupted"),
        _ = terminated.recv() => bail!("terminated"),
    };
    if let Some(report) = &options.report_to {
        keep::hold(report, code).await?;
    }
    world.stop().await?;
    Ok(code)
}

/// The whole story; the cluster as it is then, and the exit code.
async fn tell(options: &DemoOptions) -> Result<(World, u8)> {
    let deadline = Instant::now() + RUN_BOUND;
    let mut screen = Screen::new(Timestamp::now());
    screen.say(&format!(
        "starting a control plane and {} nodes ({})",
        options.nodes(),
        options.machines.as_str()
    ));
    let mut world = World::start(options).await?;
    let story = Story {
        world: &world,
        deadline,
        screen: &mut screen,
    };
    let code = match story.go_on(options).await {
        Ok(kept_all) => u8::from(!kept_all),
        // Not the end of it all: whoever keeps the cluster wants to look into exactly this.
        Err(error) => {
            screen.say(&format!("{error:#}"));
            1
        }
    };
    if code != 0 {
        let logs = world.keep_logs();
        screen.print(&format!("The logs stay in {}\n", logs.display()));
    }
    if options.report_to.is_some() {
        screen.print(&format!(
            "\nThe cluster keeps running. Look at it with\n\n    {} get rebootleases\n\nand end it with \
             `cargo xtask demo --down`.\n",
            world.kubectl()?
        ));
    }
    Ok((world, code))
}

struct Story<'a> {
    world: &'a World,
    deadline: Instant,
    screen: &'a mut Screen,
}

impl Story<'_> {
    /// Everything after the start of the cluster; whether every promise was kept.
    async fn go_on(mut self, options: &DemoOptions) -> Result<bool> {
        let client = self.world.client()?;
        let nodes = self.world.node_names();
        let human = nodes.last().context("no nodes")?.clone();
        let monitor = Monitor::start(&client);
        self.screen.say(&format!(
            "deploying a workload of {} replicas of which one may be missing",
            nodes.len()
        ));
        workload::deploy(&client, nodes.len()).await?;
        wait_until("the workload to be ready", WORKLOAD_BOUND, || async {
            Ok((monitor.record().ready_pods() == nodes.len()).then_some(()))
        })
        .await?;
        self.screen
            .say(&format!("somebody cordons {human}, with its pods on it"));
        workload::cordon(&client, &human).await?;
        self.screen
            .say("installing Slipway (examples/install.yaml)");
        self.world.install().await?;
        self.screen.say(&format!(
            "policy: every node, at most {} unavailable at once, {human} included",
            workload::BUDGET
        ));
        monitor.record().begin(Timestamp::now());
        workload::apply_policy(&client).await?;
        let started = Timestamp::now();
        self.screen.say("every host asks for a reboot");
        for node in &nodes {
            self.world.set_sentinel(node).await?;
        }
        let terms = Terms {
            replicas: nodes.len() - 1,
            nodes,
            budget: workload::BUDGET,
            cordoned: [human].into(),
        };
        let chaos = options.chaos.map(|seed| Chaos::new(seed, Instant::now()));
        let in_time = self.watch(&monitor, &terms, chaos).await;
        Ok(self.conclude(&monitor, &terms, started) && in_time)
    }

    /// Shows the rollout until it is over; whether it was in time.
    async fn watch(&mut self, monitor: &Monitor, terms: &Terms, chaos: Option<Chaos>) -> bool {
        let mut chaos = chaos;
        loop {
            let finished = {
                let record = monitor.record();
                self.screen.show(&record);
                is_finished(&record, terms)
            };
            if finished {
                if let Some(chaos) = &chaos {
                    self.screen
                        .say(&format!("chaos killed {} programs", chaos.done()));
                }
                return true;
            }
            let now = Instant::now();
            if now >= self.deadline {
                let left = unfinished(&monitor.record(), terms);
                self.screen.say(&format!(
                    "not finished after {RUN_BOUND:?}; still to come: {}",
                    left.join("; ")
                ));
                return false;
            }
            let kill_at = chaos.as_ref().and_then(Chaos::next);
            let next = (now + REDRAW).min(self.deadline);
            tokio::select! {
                () = monitor.changed() => {}
                () = sleep_until(next.min(kill_at.unwrap_or(next))) => {}
            }
            if let Some(chaos) = &mut chaos
                && chaos.next().is_some_and(|at| at <= Instant::now())
                && let Err(error) = self.kill_one(chaos).await
            {
                self.screen.say(&format!("chaos failed: {error:#}"));
            }
        }
    }

    async fn kill_one(&mut self, chaos: &mut Chaos) -> Result<()> {
        let mut pods = self.world.pods(names::COMPONENT_AGENT).await?;
        pods.extend(self.world.pods(names::COMPONENT_OPERATOR).await?);
        // By node and kind, not by name: names are random, and one seed is to give one run.
        let kind = |pod: &k8s_openapi::api::core::v1::Pod| {
            pod.labels().get(names::LABEL_COMPONENT).cloned()
        };
        pods.sort_by_key(|pod| {
            (
                kind(pod),
                pod.spec.as_ref().and_then(|spec| spec.node_name.clone()),
            )
        });
        let Some(pod) = chaos
            .choose(pods.len(), Instant::now())
            .and_then(|index| pods.get(index))
        else {
            return Ok(());
        };
        let node = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref());
        // One that is dead already, or whose node is down, is spared.
        if !self.world.kill(pod)? {
            return Ok(());
        }
        chaos.killed();
        self.screen.say(&format!(
            "chaos {}: kill -9 {} on {}",
            chaos.done(),
            pod.name_any(),
            node.unwrap_or("no node")
        ));
        Ok(())
    }

    /// Tells what happened and judges it; whether every promise was kept.
    fn conclude(&mut self, monitor: &Monitor, terms: &Terms, started: Timestamp) -> bool {
        let record = monitor.record();
        self.screen.print(&format!(
            "\nTimeline, in seconds since every host asked for a reboot:\n\n{}\n",
            timeline(&record, started)
        ));
        let verdicts = judge(&record, terms);
        let lines = verdicts.iter().map(|verdict| {
            let word = if verdict.kept { "kept  " } else { "BROKEN" };
            format!("{word}  {}: {}\n", verdict.promise, verdict.seen)
        });
        let mut text: String = lines.collect();
        let kept = verdicts.iter().all(|verdict| verdict.kept);
        text.push_str(if kept {
            "\nEvery promise was kept.\n"
        } else {
            "\nA promise was broken.\n"
        });
        self.screen.print(&text);
        kept
    }
}
