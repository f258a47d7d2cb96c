//! People and mishaps: cordons, edits, deletions, pauses, crashes, at any step.

use std::time::Duration;

use serde_json::{Value, json};

use super::machine::{JOURNAL, Manner, Power};
use super::run::Simulation;

/// What may happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Deed {
    Cordon,
    Uncordon,
    UncordonAndCordon,
    Annotate,
    Taint,
    DeleteLease,
    Budget,
    Pause,
    Resume,
    DeletePod,
    KillAgent,
    KillOperator,
    FreezeAgent,
    PowerLoss,
    NeedArises,
    NeedVanishes,
    BadMachine,
    Compaction,
    WatchesEnd,
    SkewAgent,
    AgentNotReady,
    DeleteNode,
    DeleteLedger,
    DeletePolicy,
    MakePolicies,
    DeleteElection,
    Hold,
    Unhold,
    BudgetBlocks,
    BudgetAllows,
    PodsCling,
    PodsLetGo,
    LoseJournal,
    Budgets,
    AgentReady,
    GoodMachine,
    FreezeOperator,
    DelayClient,
    WindowsCome,
    WindowsGo,
    BlockerComes,
    BlockerGoes,
    Release,
}

const DEEDS: &[Deed] = &[
    Deed::Cordon,
    Deed::Uncordon,
    Deed::UncordonAndCordon,
    Deed::Annotate,
    Deed::Taint,
    Deed::DeleteLease,
    Deed::Budget,
    Deed::Pause,
    Deed::DeletePod,
    Deed::KillAgent,
    Deed::KillAgent,
    Deed::KillOperator,
    Deed::FreezeAgent,
    Deed::PowerLoss,
    Deed::NeedArises,
    Deed::NeedArises,
    Deed::NeedArises,
    Deed::NeedArises,
    Deed::NeedVanishes,
    Deed::BadMachine,
    Deed::Compaction,
    Deed::WatchesEnd,
    Deed::SkewAgent,
    Deed::AgentNotReady,
    Deed::DeleteNode,
    Deed::DeleteLedger,
    Deed::DeletePolicy,
    Deed::DeleteElection,
    Deed::Hold,
    Deed::BudgetBlocks,
    Deed::PodsCling,
    Deed::LoseJournal,
    Deed::FreezeOperator,
    Deed::DelayClient,
    Deed::WindowsCome,
    Deed::BlockerComes,
    Deed::Release,
];

/// The names of everything that people and accidents do.
pub fn deed_names() -> Vec<String> {
    let mut names: Vec<String> = DEEDS.iter().map(|deed| format!("{deed:?}")).collect();
    names.sort();
    names.dedup();
    names
}

impl Simulation {
    /// One random deed.
    pub(super) fn mishap(&mut self, number: u64) {
        let Some(deed) = self.rng.pick(DEEDS).copied() else {
            return;
        };
        let names = self.names();
        let Some(name) = self.rng.pick(&names).cloned() else {
            return;
        };
        self.note(&format!("deed {number}: {deed:?} {name}"));
        self.deeds.push((number, format!("{deed:?} {name}")));
        self.act(deed, &name);
        // What keeps everything from going on is taken back by whoever did it.
        let back = match deed {
            Deed::Pause => Deed::Resume,
            Deed::DeletePolicy => Deed::MakePolicies,
            Deed::Hold => Deed::Unhold,
            Deed::BudgetBlocks => Deed::BudgetAllows,
            Deed::PodsCling => Deed::PodsLetGo,
            Deed::Cordon | Deed::UncordonAndCordon => Deed::Uncordon,
            Deed::Budget => Deed::Budgets,
            Deed::AgentNotReady => Deed::AgentReady,
            Deed::BadMachine => Deed::GoodMachine,
            Deed::WindowsCome => Deed::WindowsGo,
            Deed::BlockerComes => Deed::BlockerGoes,
            _ => return,
        };
        // Windows must have the time to open and to close.
        let most = if deed == Deed::WindowsCome { 900 } else { 240 };
        let at = self.clock.elapsed() + Duration::from_secs(self.rng.range(5, most));
        self.taken_back.push((at, back, name));
    }

    /// Takes back what is due.
    pub(super) fn take_back(&mut self) {
        let now = self.clock.elapsed();
        let all = std::mem::take(&mut self.taken_back);
        for (at, deed, name) in all {
            if at <= now {
                self.act(deed, &name);
            } else {
                self.taken_back.push((at, deed, name));
            }
        }
    }

    fn act(&mut self, deed: Deed, name: &str) {
        let by_people = self.by_people(deed, name) || self.on_gates(deed, name);
        if !by_people && !self.on_objects(deed, name) {
            self.by_accident(deed, name);
        }
    }

    /// What people do; false when it is not theirs.
    fn by_people(&mut self, deed: Deed, name: &str) -> bool {
        match deed {
            Deed::Cordon => self.cordon(name),
            Deed::Uncordon => self.uncordon(name),
            Deed::UncordonAndCordon => {
                self.uncordon(name);
                self.cordon(name);
            }
            Deed::Annotate => {
                let value = self.rng.range(1, 9).to_string();
                let patch = json!({"metadata": {"annotations": {"example.com/note": value}}});
                self.kubectl(&format!("/api/v1/nodes/{name}"), &patch);
            }
            Deed::Taint => {
                let taint = json!([{"key": "example.com/t", "effect": "PreferNoSchedule"}]);
                let taints = if self.rng.chance(500) {
                    taint
                } else {
                    Value::Null
                };
                self.kubectl(
                    &format!("/api/v1/nodes/{name}"),
                    &json!({"spec": {"taints": taints}}),
                );
            }
            Deed::Budget => {
                let most = self.rng.range(0, 2);
                let policy = self.a_policy();
                self.set_budget(policy, most);
            }
            Deed::Pause => self.set_paused(true),
            Deed::Resume => self.set_paused(false),
            Deed::DeletePod => self.delete_a_pod(),
            _ => return false,
        }
        true
    }

    fn by_accident(&mut self, deed: Deed, name: &str) {
        match deed {
            Deed::KillAgent => self.kill_agent(name),
            Deed::KillOperator => self.kill_an_operator(),
            Deed::FreezeOperator => self.freeze_an_operator(),
            Deed::DelayClient => self.delay_a_client(),
            Deed::FreezeAgent => {
                let until = self.clock.elapsed() + Duration::from_secs(self.rng.range(1, 120));
                if let Some(agent) = self.agents.get(name) {
                    agent.process.pause(until);
                }
            }
            Deed::LoseJournal => {
                // A disk that is replaced takes the programs on it along.
                self.kill_agent(name);
                let now = self.clock.elapsed();
                let lost = (name.to_owned(), now);
                self.record.history().memory.journal_lost.extend([lost]);
                let directory = self.machines.all().get(name).map(|it| it.directory.clone());
                if let Some(directory) = directory {
                    drop(std::fs::remove_file(directory.join(JOURNAL)));
                }
            }
            Deed::PowerLoss => self.power_loss(name),
            Deed::NeedArises => self.set_need(name, true),
            Deed::NeedVanishes => self.set_need(name, false),
            Deed::BadMachine => {
                let manner = self.rng.pick(&Manner::ALL).copied().unwrap_or_default();
                if let Some(machine) = self.machines.all().get_mut(name) {
                    machine.manner = manner;
                }
            }
            Deed::Compaction => {
                self.api.store().compact();
                self.api.store().close_watches();
            }
            Deed::WatchesEnd => self.api.store().close_watches(),
            Deed::SkewAgent => {
                let skew = i64::try_from(self.rng.range(0, 600)).unwrap_or_default() - 300;
                if let Some(agent) = self.agents.get(name) {
                    let skews = &agent.process.skew;
                    skews.store(skew, std::sync::atomic::Ordering::Relaxed);
                }
            }
            Deed::AgentNotReady => self.cluster.agent_ready(name, false),
            Deed::AgentReady => self.cluster.agent_ready(name, true),
            Deed::GoodMachine => {
                if let Some(machine) = self.machines.all().get_mut(name) {
                    machine.manner = Manner::Good;
                }
            }
            _ => {}
        }
    }

    fn kubectl(&self, uri: &str, patch: &Value) {
        self.cluster
            .ask("PATCH", &format!("{uri}?fieldManager=kubectl"), patch);
    }

    /// A person cordons. On a node that carries our cordon this writes nothing, and cannot be told.
    pub(super) fn cordon(&mut self, name: &str) {
        let changes = {
            let history = self.record.history();
            let node = history.view.nodes.get(name);
            node.is_some_and(|node| !node.unschedulable)
        };
        if changes {
            self.record
                .history()
                .memory
                .human_cordons
                .insert(name.to_owned());
        }
        self.kubectl(
            &format!("/api/v1/nodes/{name}"),
            &json!({"spec": {"unschedulable": true}}),
        );
    }

    pub(super) fn uncordon(&mut self, name: &str) {
        self.record.history().memory.human_cordons.remove(name);
        self.kubectl(
            &format!("/api/v1/nodes/{name}"),
            &json!({"spec": {"unschedulable": null}}),
        );
    }

    pub(super) fn set_budget(&self, policy: &str, most: u64) {
        let patch = json!({"spec": {"budget": {"maxUnavailable": most}}});
        let uri = format!("/apis/slipway.dev/v1alpha1/rebootpolicies/{policy}");
        self.cluster.ask("PATCH", &uri, &patch);
    }

    pub(super) fn set_paused(&self, paused: bool) {
        let patch = json!({"spec": {"paused": paused}});
        self.cluster.ask(
            "PATCH",
            "/apis/slipway.dev/v1alpha1/rebootledgers/cluster",
            &patch,
        );
    }

    fn delete_a_pod(&mut self) {
        let pods: Vec<String> = {
            let history = self.record.history();
            let all = history.view.pods.keys();
            all.filter(|name| name.starts_with("web-"))
                .cloned()
                .collect()
        };
        if let Some(pod) = self.rng.pick(&pods) {
            let uri = format!("/api/v1/namespaces/default/pods/{pod}");
            self.cluster.ask("DELETE", &uri, &Value::Null);
        }
    }

    fn power_loss(&mut self, name: &str) {
        let now = self.clock.elapsed();
        if let Some(machine) = self.machines.all().get_mut(name)
            && machine.power == Power::Up
        {
            machine.power = Power::Ending(now);
        }
    }

    pub(super) fn set_need(&self, name: &str, needed: bool) {
        let sentinel = self
            .machines
            .all()
            .get(name)
            .map(super::machine::Machine::sentinel);
        let Some(sentinel) = sentinel else {
            return;
        };
        self.record.need(name, needed, self.clock.elapsed());
        // A file in a directory of ours: nothing to do about a failure but to go on without it.
        if needed {
            drop(std::fs::write(sentinel, ""));
        } else {
            drop(std::fs::remove_file(sentinel));
        }
        self.machines.files.send_modify(|changes| *changes += 1);
    }
}
