//! Limits over nodes that must not go together, whoever's they are: the cluster's ceiling, the
//! control plane, quorum groups, and the failure domains of a policy.
//!
//! Each is decided on the ledger that is being replaced; which nodes are down comes from the
//! snapshot (faults.md S1, S8).

use std::collections::{BTreeMap, BTreeSet};

use slipway_api::validate::BudgetLimit;
use slipway_api::{RebootLedger, Slot};

use crate::action::GrantRequest;
use crate::index::{Index, Row};
use crate::reason::Reason;
use crate::snapshot::{NodeView, PolicyView};
use crate::tally::{Book, Tally};

/// What limits over all policies are made of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cluster<'a> {
    /// Nodes of the cluster.
    pub nodes: usize,
    /// Names of those that are unavailable, whoever made them so.
    pub unavailable: BTreeSet<&'a str>,
    /// Quorum groups, in the order of their names.
    pub groups: Vec<Group<'a>>,
    /// Positions of the groups that a node belongs to.
    pub of: BTreeMap<&'a str, Vec<usize>>,
}

/// A quorum group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Group<'a> {
    /// Label and value.
    pub name: String,
    /// Names of its members that are unavailable.
    pub down: BTreeSet<&'a str>,
}

impl<'a> Cluster<'a> {
    /// Of a snapshot.
    pub(crate) fn of(index: &Index<'a>) -> Self {
        let mut members: BTreeMap<(&str, &str), Vec<&'a NodeView>> = BTreeMap::new();
        for (key, value, node) in index.members() {
            members.entry((key, value)).or_default().push(node);
        }
        let mut cluster = Self {
            nodes: index.rows().len(),
            unavailable: { index.rows().iter() }
                .filter(|row| row.unavailable)
                .map(|row| row.node.name.as_str())
                .collect(),
            ..Self::default()
        };
        for ((key, value), nodes) in members {
            for node in &nodes {
                let of_node = cluster.of.entry(&node.name).or_default();
                of_node.push(cluster.groups.len());
            }
            cluster.groups.push(Group {
                name: format!("{key}={value}"),
                down: names(nodes.into_iter()),
            });
        }
        cluster
    }

    /// The groups that a node belongs to, with their positions.
    pub fn groups_of(&self, node: &str) -> impl Iterator<Item = (usize, &Group<'a>)> {
        let positions = self.of.get(node).map_or(&[][..], Vec::as_slice);
        positions
            .iter()
            .filter_map(|position| Some((*position, self.groups.get(*position)?)))
    }

    /// Why a node may not go while others of its quorum group are down, or are being rebooted.
    pub(crate) fn quorum(&self, book: &Book, node: &str) -> Option<Reason> {
        self.groups_of(node).find_map(|(position, group)| {
            let busy = book.in_group(position).map(|other| Reason::QuorumBusy {
                group: group.name.clone(),
                node: other.to_owned(),
            });
            busy.or_else(|| group.lost(node))
        })
    }

    /// Why a node that is being drained must not go: another of its group is unavailable.
    pub fn quorum_lost(&self, node: &str) -> Option<Reason> {
        self.groups_of(node).find_map(|(_, group)| group.lost(node))
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
            .filter(|slot| !self.unavailable.contains(slot.node.as_str()));
        held.count() + self.unavailable.len()
    }

    /// Why the ceiling has no room for the node, where so many are in use.
    pub(crate) fn above_ceiling(
        &self,
        ledger: &RebootLedger,
        in_use: usize,
        node: &str,
    ) -> Option<Reason> {
        let allowed = self.ceiling(ledger)?;
        // A node that is down already takes nothing more.
        let others = in_use - usize::from(self.unavailable.contains(node));
        (others >= allowed).then_some(Reason::CeilingUsed { in_use, allowed })
    }
}

impl Group<'_> {
    /// Why a member must not go: another one is unavailable.
    fn lost(&self, node: &str) -> Option<Reason> {
        let other = self.down.iter().find(|other| **other != node)?;
        Some(Reason::QuorumDown {
            group: self.name.clone(),
            node: (*other).to_owned(),
        })
    }
}

/// Names of those that are unavailable.
fn names<'a>(nodes: impl Iterator<Item = &'a NodeView>) -> BTreeSet<&'a str> {
    nodes
        .filter(|node| node.is_unavailable())
        .map(|node| node.name.as_str())
        .collect()
}

/// Control-plane nodes go one at a time, and not together with workers unless the policy says so.
pub(crate) fn control_plane(book: &Book, request: &GrantRequest, mixes: bool) -> Option<Reason> {
    let node = |name: &str| name.to_owned();
    match (request.control_plane, book.control_plane()) {
        (true, Some(other)) => Some(Reason::ControlPlaneBusy { node: node(other) }),
        (false, Some(other)) if !mixes => Some(Reason::NotMixed { node: node(other) }),
        (true, None) if !mixes => {
            let first = book.first()?;
            Some(Reason::NotMixed { node: node(first) })
        }
        (_, Some(_) | None) => None,
    }
}

/// A policy's failure domains.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Domains<'a> {
    /// Domains with unavailable nodes at once.
    pub at_once: usize,
    /// Unavailable nodes in each.
    pub limit: BudgetLimit,
    /// The domain of each node that the policy governs; empty without the label: these share one.
    pub of: BTreeMap<&'a str, &'a str>,
    /// Nodes of each domain.
    pub sizes: BTreeMap<&'a str, usize>,
}

impl<'a> Domains<'a> {
    /// Of the nodes that a policy governs.
    pub(crate) fn of(policy: &'a PolicyView, governed: &[&Row<'a>]) -> Option<Self> {
        let written = policy.spec.budget.per_domain.as_ref()?;
        let mut domains = Self {
            at_once: usize::try_from(written.domains_at_once).unwrap_or(1),
            limit: BudgetLimit::parse(&written.max_unavailable).unwrap_or(BudgetLimit::Count(0)),
            of: governed
                .iter()
                .map(|row| (row.node.name.as_str(), row.domain))
                .collect(),
            sizes: BTreeMap::new(),
        };
        for domain in domains.of.values() {
            *domains.sizes.entry(domain).or_default() += 1;
        }
        Some(domains)
    }

    /// Unavailable nodes that the domain allows, as a number.
    pub fn allowed(&self, domain: &str) -> usize {
        self.limit
            .resolve(self.sizes.get(domain).copied().unwrap_or_default())
    }

    /// Why `node` may not go down as well.
    pub(crate) fn refuse(
        &self,
        policy: &str,
        (book, tally): (&Book, &Tally),
        node: &str,
    ) -> Option<Reason> {
        let domain = *self.of.get(node)?;
        let here = tally.in_domain(domain).filter(|name| *name != node).count();
        let allowed = self.allowed(domain);
        if here >= allowed {
            return Some(Reason::DomainBudgetUsed {
                policy: policy.to_owned(),
                domain: domain.to_owned(),
                in_use: here,
                allowed,
            });
        }
        // The node itself is in no other domain than its own.
        let others = || tally.domains().filter(|(other, _)| *other != domain);
        if others().count() < self.at_once {
            return None;
        }
        let busy = others().find(|(_, names)| names.iter().any(|name| book.holds(name)));
        let policy = policy.to_owned();
        match (busy, others().next()) {
            (Some((other, _)), _) => Some(Reason::DomainBusy {
                policy,
                domain: other.to_owned(),
            }),
            (None, Some((other, names))) => Some(Reason::DomainDown {
                policy,
                domain: other.to_owned(),
                node: names.iter().next().cloned().unwrap_or_default(),
            }),
            // No domain at once would be no rollout at all; the schema refuses it.
            (None, None) => None,
        }
    }

    /// The domain of a node that uses the budget: by its label now, or as the ledger has it.
    pub(crate) fn domain_of_used<'b>(
        &'b self,
        name: &str,
        slot: Option<&'b Slot>,
    ) -> Option<&'b str> {
        let now = self.of.get(name).copied();
        now.or_else(|| slot?.domain.as_deref())
    }
}
