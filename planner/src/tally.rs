//! What the slots of a ledger use of the limits, counted once and kept as slots are appended.
//!
//! A pass asks for every node that waits; the executor asks once, of the ledger that it replaces.
//! Both are answered from here, so that they cannot disagree.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use slipway_api::{RebootLedgerStatus, Slot};

use crate::breaker;
use crate::budget::PolicyLimits;
use crate::reason::Reason;
use crate::spread::Cluster;

/// The slots of a ledger, for limits that every policy shares.
#[derive(Clone, Debug, Default)]
pub(crate) struct Book {
    slots: usize,
    nodes: BTreeSet<String>,
    uids: BTreeSet<String>,
    first: Option<String>,
    control_plane: Option<String>,
    /// The first slot of each quorum group.
    groups: BTreeMap<usize, String>,
    in_use: usize,
}

impl Book {
    pub(crate) fn of(slots: &[Slot], cluster: &Cluster<'_>) -> Self {
        let mut book = Self {
            in_use: cluster.unavailable.len(),
            ..Self::default()
        };
        for slot in slots {
            book.add(slot, cluster);
        }
        book
    }

    pub(crate) fn add(&mut self, slot: &Slot, cluster: &Cluster<'_>) {
        self.slots += 1;
        self.in_use += usize::from(!cluster.unavailable.contains(slot.node.as_str()));
        self.first.get_or_insert_with(|| slot.node.clone());
        if slot.control_plane {
            self.control_plane.get_or_insert_with(|| slot.node.clone());
        }
        for (group, _) in cluster.groups_of(&slot.node) {
            let first = self.groups.entry(group);
            first.or_insert_with(|| slot.node.clone());
        }
        self.nodes.insert(slot.node.clone());
        self.uids.insert(slot.node_uid.clone());
    }

    /// How many slots there are.
    pub(crate) fn slots(&self) -> usize {
        self.slots
    }

    /// How many nodes of the cluster are unavailable or hold a slot.
    pub(crate) fn in_use(&self) -> usize {
        self.in_use
    }

    /// True when the node of this name holds a slot.
    pub(crate) fn holds(&self, node: &str) -> bool {
        self.nodes.contains(node)
    }

    /// The same by name or UID.
    pub(crate) fn knows(&self, node: &str, uid: &str) -> bool {
        self.holds(node) || self.uids.contains(uid)
    }

    /// The node of the oldest slot.
    pub(crate) fn first(&self) -> Option<&str> {
        self.first.as_deref()
    }

    /// The control-plane node that holds a slot.
    pub(crate) fn control_plane(&self) -> Option<&str> {
        self.control_plane.as_deref()
    }

    /// The node of a quorum group that holds a slot.
    pub(crate) fn in_group(&self, position: usize) -> Option<&str> {
        self.groups.get(&position).map(String::as_str)
    }
}

/// What is used of one policy's limits.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    in_use: BTreeSet<String>,
    domains: BTreeMap<String, BTreeSet<String>>,
    /// Why nothing of the policy may go, whatever the node.
    breaker: Option<Reason>,
    pace: Option<Reason>,
}

impl Tally {
    /// Of a ledger, with those of its slots that count.
    pub(crate) fn of<'s>(
        (status, counted): (&RebootLedgerStatus, impl Iterator<Item = &'s Slot>),
        limits: &PolicyLimits<'_>,
        now: Timestamp,
    ) -> Self {
        let mut tally = Self::default();
        for slot in counted {
            tally.note(&slot.node, Some(slot), limits);
        }
        for name in &limits.unavailable {
            tally.note(name, None, limits);
        }
        tally.look(status, limits, now);
        tally
    }

    /// A slot was appended, and with it this is the status.
    pub(crate) fn add(
        &mut self,
        slot: &Slot,
        status: &RebootLedgerStatus,
        limits: &PolicyLimits<'_>,
        now: Timestamp,
    ) {
        if limits.counts(slot) {
            self.note(&slot.node, Some(slot), limits);
        }
        if slot.policy_uid == limits.policy_uid {
            self.look(status, limits, now);
        }
    }

    fn note(&mut self, name: &str, slot: Option<&Slot>, limits: &PolicyLimits<'_>) {
        self.in_use.insert(name.to_owned());
        let domains = limits.domains.as_ref();
        if let Some(domain) = domains.and_then(|domains| domains.domain_of_used(name, slot)) {
            let of_domain = self.domains.entry(domain.to_owned()).or_default();
            of_domain.insert(name.to_owned());
        }
    }

    fn look(&mut self, status: &RebootLedgerStatus, limits: &PolicyLimits<'_>, now: Timestamp) {
        let policy = (limits.policy, limits.policy_uid);
        self.breaker = breaker::refuse(status, policy, limits.failure, now);
        self.pace = limits.pace.refuse(status, policy, now);
    }

    /// How many nodes use the budget.
    pub(crate) fn in_use(&self) -> usize {
        self.in_use.len()
    }

    /// The same but for this node.
    pub(crate) fn others(&self, node: &str) -> usize {
        self.in_use.len() - usize::from(self.in_use.contains(node))
    }

    /// Names of the nodes that use a domain.
    pub(crate) fn in_domain(&self, domain: &str) -> impl Iterator<Item = &str> {
        let names = self.domains.get(domain).into_iter().flatten();
        names.map(String::as_str)
    }

    /// Domains that are used, with the names of the nodes.
    pub(crate) fn domains(&self) -> impl Iterator<Item = (&str, &BTreeSet<String>)> {
        let used = self.domains.iter();
        used.map(|(domain, names)| (domain.as_str(), names))
    }

    /// Why the breaker lets nothing go.
    pub(crate) fn breaker(&self) -> Option<&Reason> {
        self.breaker.as_ref()
    }

    /// Why the policy's pace lets nothing go.
    pub(crate) fn pace(&self) -> Option<&Reason> {
        self.pace.as_ref()
    }
}
