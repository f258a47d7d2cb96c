//! Limits over nodes that must not go together, whoever's they are: the cluster's ceiling, the
//! control plane, quorum groups, and the failure domains of a policy.
//!
//! Each is decided on the ledger that is being replaced; which nodes are down comes from the
//! snapshot (faults.md S1, S8).

use std::collections::{BTreeMap, BTreeSet};

use slipway_api::validate::BudgetLimit;
use slipway_api::{RebootLedger, Slot};

use crate::action::GrantRequest;
use crate::budget::PolicyLimits;
use crate::reason::Reason;
use crate::snapshot::{NodeView, PolicyView, Snapshot};

/// What limits over all policies are made of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cluster {
    /// Nodes of the cluster.
    pub nodes: usize,
    /// Names of those that are unavailable, whoever made them so.
    pub unavailable: BTreeSet<String>,
    /// Quorum groups, as label and value, with the names of their members.
    pub groups: BTreeMap<String, BTreeSet<String>>,
}

impl Cluster {
    /// Of a snapshot. A group that any policy names binds every policy: else two policies could
    /// take two members of it.
    pub fn of(snapshot: &Snapshot) -> Self {
        let keys: BTreeSet<&str> = snapshot
            .policies
            .iter()
            .filter_map(|policy| policy.spec.budget.quorum_label.as_deref())
            .collect();
        let mut groups: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for key in keys {
            for node in snapshot.nodes.values() {
                if let Some(value) = node.labels.get(key) {
                    let group = groups.entry(format!("{key}={value}")).or_default();
                    group.insert(node.name.clone());
                }
            }
        }
        let unavailable = snapshot.nodes.values().filter(|node| node.is_unavailable());
        Self {
            nodes: snapshot.nodes.len(),
            unavailable: unavailable.map(|node| node.name.clone()).collect(),
            groups,
        }
    }

    /// Why a node may not go while others of its quorum group are down, or are being rebooted.
    pub fn quorum(&self, slots: &[Slot], node: &str) -> Option<Reason> {
        let groups = self.groups.iter();
        let of_node = groups.filter(|(_, members)| members.contains(node));
        for (group, members) in of_node {
            let held = slots
                .iter()
                .find(|slot| slot.node != node && members.contains(&slot.node));
            if let Some(slot) = held {
                return Some(Reason::QuorumBusy {
                    group: group.clone(),
                    node: slot.node.clone(),
                });
            }
            if let Some(other) = self.down_with(members, node) {
                return Some(Reason::QuorumDown {
                    group: group.clone(),
                    node: other,
                });
            }
        }
        None
    }

    /// Why a node that is being drained must not go: another of its group is unavailable.
    pub fn quorum_lost(&self, node: &str) -> Option<Reason> {
        let groups = self.groups.iter();
        groups
            .filter(|(_, members)| members.contains(node))
            .find_map(|(group, members)| {
                self.down_with(members, node)
                    .map(|other| Reason::QuorumDown {
                        group: group.clone(),
                        node: other,
                    })
            })
    }

    fn down_with(&self, members: &BTreeSet<String>, node: &str) -> Option<String> {
        members
            .iter()
            .find(|other| other.as_str() != node && self.unavailable.contains(*other))
            .cloned()
    }

    /// The ceiling as a number, if the ledger has one. One that cannot be read allows nothing.
    pub fn ceiling(&self, ledger: &RebootLedger) -> Option<usize> {
        let written = ledger.spec.max_unavailable.as_ref()?;
        let limit = BudgetLimit::parse(written).unwrap_or(BudgetLimit::Count(0));
        Some(limit.resolve(self.nodes))
    }

    /// How many nodes are unavailable or hold a slot.
    pub fn in_use(&self, slots: &[Slot]) -> usize {
        let held = slots
            .iter()
            .filter(|slot| !self.unavailable.contains(&slot.node));
        held.count() + self.unavailable.len()
    }

    /// Why the ceiling has no room for the node.
    pub fn above_ceiling(
        &self,
        ledger: &RebootLedger,
        slots: &[Slot],
        node: &str,
    ) -> Option<Reason> {
        let allowed = self.ceiling(ledger)?;
        let in_use = self.in_use(slots);
        // A node that is down already takes nothing more.
        let others = in_use - usize::from(self.unavailable.contains(node));
        (others >= allowed).then_some(Reason::CeilingUsed { in_use, allowed })
    }
}

/// Control-plane nodes go one at a time, and not together with workers unless the policy says so.
pub fn control_plane(slots: &[Slot], request: &GrantRequest, mixes: bool) -> Option<Reason> {
    let other = slots.iter().find(|slot| slot.control_plane);
    match (request.control_plane, other) {
        (true, Some(slot)) => Some(Reason::ControlPlaneBusy {
            node: slot.node.clone(),
        }),
        (false, Some(slot)) if !mixes => Some(Reason::NotMixed {
            node: slot.node.clone(),
        }),
        (true, None) if !mixes => slots.first().map(|slot| Reason::NotMixed {
            node: slot.node.clone(),
        }),
        (_, Some(_) | None) => None,
    }
}

/// A policy's failure domains.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Domains {
    /// Domains with unavailable nodes at once.
    pub at_once: usize,
    /// Unavailable nodes in each.
    pub limit: BudgetLimit,
    /// The domain of each node that the policy governs; empty without the label.
    pub of: BTreeMap<String, String>,
}

impl Domains {
    /// Of the nodes that a policy governs.
    pub fn of(policy: &PolicyView, governed: &[&NodeView]) -> Option<Self> {
        let written = policy.spec.budget.per_domain.as_ref()?;
        Some(Self {
            at_once: usize::try_from(written.domains_at_once).unwrap_or(1),
            limit: BudgetLimit::parse(&written.max_unavailable).unwrap_or(BudgetLimit::Count(0)),
            of: governed
                .iter()
                .map(|node| (node.name.clone(), domain_of(&written.topology_key, node)))
                .collect(),
        })
    }

    /// Unavailable nodes that the domain allows, as a number.
    pub fn allowed(&self, domain: &str) -> usize {
        let size = self.of.values().filter(|other| *other == domain).count();
        self.limit.resolve(size)
    }

    /// Why `node` may not go down as well.
    pub fn refuse(&self, limits: &PolicyLimits, slots: &[Slot], node: &str) -> Option<Reason> {
        let domain = self.of.get(node)?;
        let mut used: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        let in_use = limits.in_use(slots);
        for name in in_use.iter().filter(|name| name.as_str() != node) {
            if let Some(other) = self.domain_of_used(slots, name) {
                used.entry(other).or_default().insert(name);
            }
        }
        let here = used.remove(domain.as_str()).unwrap_or_default().len();
        let allowed = self.allowed(domain);
        if here >= allowed {
            return Some(Reason::DomainBudgetUsed {
                policy: limits.policy.clone(),
                domain: domain.clone(),
                in_use: here,
                allowed,
            });
        }
        if used.len() < self.at_once {
            return None;
        }
        let held =
            |names: &BTreeSet<&str>| slots.iter().any(|slot| names.contains(slot.node.as_str()));
        let busy = used.iter().find(|(_, names)| held(names));
        let policy = limits.policy.clone();
        match (busy, used.iter().next()) {
            (Some((other, _)), _) => Some(Reason::DomainBusy {
                policy,
                domain: (*other).to_owned(),
            }),
            (None, Some((other, names))) => Some(Reason::DomainDown {
                policy,
                domain: (*other).to_owned(),
                node: names
                    .iter()
                    .next()
                    .map(|name| (*name).to_owned())
                    .unwrap_or_default(),
            }),
            // No domain at once would be no rollout at all; the schema refuses it.
            (None, None) => None,
        }
    }

    /// Domains in which nodes are unavailable or hold a slot.
    pub fn used<'a>(&'a self, limits: &PolicyLimits, slots: &'a [Slot]) -> BTreeSet<&'a str> {
        let in_use = limits.in_use(slots);
        let used = in_use.iter();
        used.filter_map(|name| self.domain_of_used(slots, name))
            .collect()
    }

    /// The domain of a node that uses the budget: by its label now, or as the ledger has it.
    fn domain_of_used<'a>(&'a self, slots: &'a [Slot], name: &str) -> Option<&'a str> {
        let now = self.of.get(name).map(String::as_str);
        now.or_else(|| {
            let slot = slots.iter().find(|slot| slot.node == name)?;
            slot.domain.as_deref()
        })
    }
}

/// The value of the topology label; nodes without it share a domain.
pub fn domain_of(key: &str, node: &NodeView) -> String {
    node.labels.get(key).cloned().unwrap_or_default()
}
