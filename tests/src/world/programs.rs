//! Our programs and the machines under them: started, killed, taken down, booted.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use slipway_node_agent::config::Cli;

use super::machine::{Manner, Power};
use super::run::{Running, Simulation, boot_id};
use super::time::{Gate, Process};

/// How long a program takes to be started again.
const RESTARTS_IN: Duration = Duration::from_secs(5);

impl Simulation {
    /// Starts what is due, and notices what has ended.
    pub(super) fn programs(&mut self) {
        let now = self.clock.elapsed();
        let ended = |running: &BTreeMap<String, Running>| -> Vec<String> {
            let ended = running.iter().filter(|(_, it)| it.task.is_finished());
            ended.map(|(name, _)| name.clone()).collect()
        };
        for name in ended(&self.agents) {
            self.note(&format!("the agent of {name} has ended"));
            self.kill_agent(&name);
        }
        for name in ended(&self.operators) {
            self.note(&format!("{name} has ended"));
            self.kill_operator(&name);
        }
        let due: Vec<String> = self
            .starts
            .iter()
            .filter(|(_, at)| **at <= now)
            .map(|(name, _)| name.clone())
            .collect();
        for name in due {
            self.starts.remove(&name);
            if let Some(node) = name.strip_prefix("agent:") {
                if self
                    .machines
                    .all()
                    .get(node)
                    .is_some_and(|it| !matches!(it.power, Power::Down(_)))
                {
                    self.start_agent(node);
                }
            } else {
                self.start_operator(&name);
            }
        }
    }

    fn process(&mut self, name: &str) -> Arc<Process> {
        self.incarnations += 1;
        let process = Process::new(name.to_owned(), self.incarnations, self.clock);
        self.network.register(&process);
        process
    }

    fn start_agent(&mut self, node: &str) {
        let process = self.process(&format!("agent:{node}"));
        let user = process.user();
        let Some((directory, sentinel)) = self.machines.all().get(node).map(|machine| {
            let text = |path: PathBuf| path.to_string_lossy().into_owned();
            (
                text(machine.directory.join("state")),
                text(machine.sentinel()),
            )
        }) else {
            return;
        };
        let arguments = [
            "agent",
            "--node-name",
            node,
            "--kubeconfig",
            &user,
            "--listen",
            "127.0.0.1:0",
            "--state-dir",
            &directory,
            "--sentinel",
            &sentinel,
            "--require-admission-policies=false",
        ];
        let Ok(cli) = Cli::try_parse_from(arguments) else {
            return self.break_off("the agent's flags are not accepted");
        };
        let host = self.machines.host(node, &user);
        let (record, clock, who) = (self.record.clone(), self.clock, user.clone());
        let program = async move {
            if let Err(error) = slipway_node_agent::run(cli.agent, host).await {
                let why = slipway_client::chain(&error);
                record
                    .history()
                    .note(clock.elapsed(), &format!("{who} ends: {why}"));
            }
        };
        let task = tokio::spawn(Gate::new(Arc::clone(&process), program));
        self.note(&format!("{user} starts"));
        self.agents
            .insert(node.to_owned(), Running { process, task });
    }

    fn start_operator(&mut self, name: &str) {
        let process = self.process(name);
        let user = process.user();
        let arguments = [
            "operator",
            "--kubeconfig",
            &user,
            "--identity",
            &user,
            "--listen",
            "127.0.0.1:0",
            "--require-admission-policies=false",
        ];
        let Ok(config) = slipway_operator::Config::try_parse_from(arguments) else {
            return self.break_off("the operator's flags are not accepted");
        };
        let (record, clock, who) = (self.record.clone(), self.clock, user.clone());
        let program = async move {
            if let Err(error) = slipway_operator::run(config).await {
                let why = slipway_client::chain(&error);
                record
                    .history()
                    .note(clock.elapsed(), &format!("{who} ends: {why}"));
            }
        };
        let task = tokio::spawn(Gate::new(Arc::clone(&process), program));
        self.note(&format!("{user} starts"));
        self.operators
            .insert(name.to_owned(), Running { process, task });
    }

    pub(super) fn kill_agent(&mut self, node: &str) {
        if let Some(running) = self.agents.remove(node) {
            self.bury(&running);
            running.task.abort();
        }
        let at = self.clock.elapsed() + RESTARTS_IN;
        self.starts.insert(format!("agent:{node}"), at);
    }

    fn kill_operator(&mut self, name: &str) {
        if let Some(running) = self.operators.remove(name) {
            self.bury(&running);
            running.task.abort();
        }
        self.starts
            .insert(name.to_owned(), self.clock.elapsed() + RESTARTS_IN);
    }

    pub(super) fn kill_an_operator(&mut self) {
        let names: Vec<String> = self.operators.keys().cloned().collect();
        if let Some(name) = self.rng.pick(&names).cloned() {
            self.kill_operator(&name);
        }
    }

    /// Stops an operator, leader or not, for longer than its leadership lasts or not.
    pub(super) fn freeze_an_operator(&mut self) {
        let names: Vec<String> = self.operators.keys().cloned().collect();
        let until = self.clock.elapsed() + Duration::from_secs(self.rng.range(5, 120));
        if let Some(running) = self
            .rng
            .pick(&names)
            .and_then(|name| self.operators.get(name))
        {
            running.process.pause(until);
        }
    }

    /// What one program is told by its watches comes minutes late.
    pub(super) fn delay_a_client(&mut self) {
        let agents = self.agents.values().map(|it| it.process.name.clone());
        let all: Vec<String> = self.operators.keys().cloned().chain(agents).collect();
        let until = self.clock.elapsed() + Duration::from_secs(self.rng.range(60, 300));
        if let Some(name) = self.rng.pick(&all) {
            self.network.delay(name, until);
        }
    }

    fn bury(&self, running: &Running) {
        let user = running.process.user();
        self.note(&format!("{user} is gone"));
        self.crashes.kill(&user);
    }

    /// Machines go down and come back.
    pub(super) fn power(&mut self) {
        let now = self.clock.elapsed();
        let mut down = Vec::new();
        let mut back = Vec::new();
        for (name, machine) in self.machines.all().iter_mut() {
            match machine.power {
                Power::Ending(at) if at <= now => {
                    machine.power = Power::Down(now + machine.boots_in);
                    down.push((name.clone(), machine.by_us));
                }
                Power::Down(at) if at <= now => {
                    machine.power = Power::Up;
                    machine.boots += 1;
                    machine.boot_id = boot_id(name, machine.boots);
                    // The agent may be there before the kubelet, and the other way round.
                    machine.kubelet_from = now + Duration::from_secs(machine.boots * 7 % 40);
                    let effective = machine.by_us && machine.manner != Manner::Ineffective;
                    let booted = machine.boot_id.clone();
                    back.push((name.clone(), machine.by_us, effective, booted));
                    machine.by_us = false;
                }
                Power::Up | Power::Ending(_) | Power::Down(_) => {}
            }
        }
        for (name, by_us) in down {
            self.note(&format!("{name} goes down, by us: {by_us}"));
            if by_us {
                self.reboots += 1;
                self.record.went_down(&name, now);
            }
            self.kill_agent(&name);
            self.starts.remove(&format!("agent:{name}"));
        }
        for (name, by_us, effective, booted) in back {
            self.note(&format!("{name} is back"));
            self.record.came_back(&name, booted);
            // Any boot, whoever caused it, puts the new kernel in force.
            if effective || !by_us {
                self.set_need(&name, false);
            }
            self.starts
                .insert(format!("agent:{name}"), now + RESTARTS_IN);
        }
    }
}
