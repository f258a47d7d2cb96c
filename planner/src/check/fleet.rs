//! Who obeys whom and who is down, counted by other means than the planner's.

use std::collections::{BTreeMap, BTreeSet};

use super::ledger_slots;
use crate::snapshot::{NodeView, PolicyView, Snapshot};

/// Positions of the policies that ask for a value of a label, sorted by the value.
type Values<'a> = Vec<(&'a str, Vec<usize>)>;

/// The nodes of a snapshot, sorted out.
pub(super) struct Fleet<'a> {
    pub(super) snapshot: &'a Snapshot,
    /// How many nodes each policy selects, by position.
    pub(super) selected: Vec<usize>,
    /// Nodes that each policy governs, by position.
    pub(super) governed: Vec<Vec<&'a NodeView>>,
    /// Names of the nodes that are unavailable.
    pub(super) broken: BTreeSet<&'a str>,
    /// Names of the nodes that hold a slot.
    pub(super) held: BTreeSet<&'a str>,
}

impl<'a> Fleet<'a> {
    pub(super) fn of(snapshot: &'a Snapshot) -> Self {
        let policies = &snapshot.policies;
        // A policy that asks for a label is only tried on nodes that have it.
        let mut by_label: BTreeMap<&str, Values<'a>> = BTreeMap::new();
        let mut always = Vec::new();
        for (place, policy) in policies.iter().enumerate() {
            let labels = policy.spec.node_selector.match_labels.as_ref();
            match labels.and_then(|labels| labels.first_key_value()) {
                Some((key, value)) => {
                    let values = by_label.entry(key).or_default();
                    match values.binary_search_by(|(known, _)| (*known).cmp(value)) {
                        Ok(known) => values
                            .get_mut(known)
                            .into_iter()
                            .for_each(|one| one.1.push(place)),
                        Err(new) => values.insert(new, (value, vec![place])),
                    }
                }
                None => always.push(place),
            }
        }
        let mut fleet = Self {
            snapshot,
            selected: vec![0; policies.len()],
            governed: vec![Vec::new(); policies.len()],
            broken: BTreeSet::new(),
            held: ledger_slots(snapshot)
                .iter()
                .map(|slot| slot.node.as_str())
                .collect(),
        };
        for node in snapshot.nodes.values() {
            if !node.ready || node.unschedulable {
                fleet.broken.insert(&node.name);
            }
            let asked = by_label.iter().filter_map(|(key, values)| {
                let value = node.label(key)?;
                let place = values.binary_search_by(|(known, _)| (*known).cmp(value));
                Some(&values.get(place.ok()?)?.1)
            });
            let tried = asked.flatten().chain(&always);
            fleet.sort(node, tried.copied());
        }
        fleet
    }

    /// Gives the node to the policy of the highest priority; to none where two have it.
    fn sort(&mut self, node: &'a NodeView, tried: impl Iterator<Item = usize>) {
        let mut top: Option<(i32, Option<usize>)> = None;
        for place in tried {
            let Some(policy) = self.snapshot.policies.get(place) else {
                continue;
            };
            if !policy.selects(node) {
                continue;
            }
            if let Some(selected) = self.selected.get_mut(place) {
                *selected += 1;
            }
            let priority = policy.spec.priority;
            if policy.deleting || top.is_some_and(|(highest, _)| highest > priority) {
                continue;
            }
            let tie = top.is_some_and(|(highest, _)| highest == priority);
            top = Some((priority, (!tie).then_some(place)));
        }
        let top = top.and_then(|(_, place)| place);
        if let Some(nodes) = top.and_then(|place| self.governed.get_mut(place)) {
            nodes.push(node);
        }
    }

    /// The policy with this UID, and its nodes.
    pub(super) fn policy(&self, uid: &str) -> Option<(&'a PolicyView, &[&'a NodeView])> {
        let mut policies = self.snapshot.policies.iter().zip(&self.governed);
        let (policy, nodes) = policies.find(|(policy, _)| policy.uid == uid)?;
        Some((policy, nodes))
    }
}
