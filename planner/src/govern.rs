//! Which policy a node obeys: the highest priority wins, a tie leaves the node alone.

use std::collections::BTreeSet;

use slipway_api::lease::PolicyReference;

use crate::reason::Reason;
use crate::snapshot::{NodeView, PolicyView, Snapshot};

/// Which policy a node obeys.
#[derive(Clone, Copy, Debug)]
pub enum Governance<'a> {
    /// None selects it.
    None,
    /// This one.
    Policy(&'a PolicyView),
    /// Several of the same, highest priority.
    Conflict,
}

impl<'a> Governance<'a> {
    /// The policy, if there is exactly one.
    pub fn policy(self) -> Option<&'a PolicyView> {
        match self {
            Self::Policy(policy) => Some(policy),
            Self::None | Self::Conflict => None,
        }
    }

    /// The same as a reference.
    pub fn reference(self) -> Option<PolicyReference> {
        self.policy().map(PolicyView::reference)
    }
}

impl PolicyView {
    /// By name and UID.
    pub fn reference(&self) -> PolicyReference {
        PolicyReference {
            name: self.name.clone(),
            uid: self.uid.clone(),
        }
    }

    /// True when the policy selects the node. One that cannot be parsed still selects by its
    /// selector, so that a broken policy never hands its nodes to another one.
    pub fn selects(&self, node: &NodeView) -> bool {
        slipway_api::validate::selector_matches(&self.spec.node_selector, |key| node.label(key))
    }
}

/// Policies that select the node with the highest priority among those that do, by name.
pub fn candidates<'a>(snapshot: &'a Snapshot, node: &NodeView) -> Vec<&'a PolicyView> {
    let selecting: Vec<&PolicyView> = snapshot
        .policies
        .iter()
        .filter(|policy| !policy.deleting && policy.selects(node))
        .collect();
    let highest = selecting.iter().map(|policy| policy.spec.priority).max();
    let mut top: Vec<&PolicyView> = selecting
        .into_iter()
        .filter(|policy| Some(policy.spec.priority) == highest)
        .collect();
    top.sort_by(|a, b| a.name.cmp(&b.name));
    top
}

/// Which policy the node obeys.
pub fn governance<'a>(snapshot: &'a Snapshot, node: &NodeView) -> Governance<'a> {
    // Asked of every node in every pass: nothing is allocated.
    let mut found = Governance::None;
    let mut highest = None;
    for policy in snapshot.policies.iter().filter(|policy| !policy.deleting) {
        let priority = policy.spec.priority;
        if highest.is_some_and(|highest| priority < highest) || !policy.selects(node) {
            continue;
        }
        found = if highest == Some(priority) {
            Governance::Conflict
        } else {
            Governance::Policy(policy)
        };
        highest = Some(priority);
    }
    found
}

/// [`governance`] over many nodes: labels that no selector asks for make no difference, so nodes
/// that agree in the others are judged once.
pub(crate) struct Selectors<'a> {
    snapshot: &'a Snapshot,
    /// Labels that some selector asks for.
    keys: BTreeSet<&'a str>,
    /// What was found, sorted by the values of the labels.
    known: Vec<(Values<'a>, Governance<'a>)>,
    /// Where the last node was found: the next one by name is mostly of its kind.
    last: usize,
    values: Values<'a>,
}

/// The values of [`Selectors::keys`].
type Values<'a> = Vec<Option<&'a str>>;

/// Most kinds of nodes that are remembered: where a selector asks for what differs from node to
/// node, remembering is of no use.
const KNOWN_MAX: usize = 1_000;

impl<'a> Selectors<'a> {
    pub(crate) fn new(snapshot: &'a Snapshot) -> Self {
        let mut keys = BTreeSet::new();
        for policy in &snapshot.policies {
            let selector = &policy.spec.node_selector;
            keys.extend(
                selector
                    .match_labels
                    .iter()
                    .flatten()
                    .map(|(key, _)| key.as_str()),
            );
            let expressions = selector.match_expressions.iter().flatten();
            keys.extend(expressions.map(|requirement| requirement.key.as_str()));
        }
        Self {
            snapshot,
            keys,
            known: Vec::new(),
            last: 0,
            values: Vec::new(),
        }
    }

    /// Which policy the node obeys.
    pub(crate) fn governance(&mut self, node: &'a NodeView) -> Governance<'a> {
        self.values.clear();
        let keys = self.keys.iter();
        let values = keys.map(|key| node.label(key));
        self.values.extend(values);
        if let Some((known, found)) = self.known.get(self.last)
            && *known == self.values
        {
            return *found;
        }
        let place = self
            .known
            .binary_search_by(|(known, _)| known.cmp(&self.values));
        match place {
            Ok(place) => {
                self.last = place;
                self.known.get(place).map_or(Governance::None, |one| one.1)
            }
            Err(place) => {
                let found = governance(self.snapshot, node);
                if self.known.len() < KNOWN_MAX {
                    self.known.insert(place, (self.values.clone(), found));
                }
                found
            }
        }
    }
}

/// Why no single policy governs the node, if none does.
pub fn refusal(snapshot: &Snapshot, node: &NodeView) -> Option<Reason> {
    let top = candidates(snapshot, node);
    match top.as_slice() {
        [] => Some(Reason::NoPolicy),
        [_] => None,
        [_, _, ..] => Some(Reason::PolicyConflict {
            policies: top.iter().map(|policy| policy.name.clone()).collect(),
        }),
    }
}
