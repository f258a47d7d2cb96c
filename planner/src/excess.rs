//! Reboots that were granted and do not fit any more: which of them are called off, and which wait
//! at the second key.
//!
//! A human who lowers a limit wants fewer nodes down now: the newest reboots that can still be
//! called off are, until the slots alone fit. A node that goes down by itself is nobody's will: the
//! newest reboots wait for it before the second key, because a node that flaps must not abort one
//! drain after the other. Nothing committed is ever called off (faults.md S6).

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use slipway_api::Slot;

use crate::budget::{PolicyLimits, slots};
use crate::index::Index;
use crate::reason::Reason;

/// What does not fit, by name of the node.
#[derive(Clone, Debug, Default)]
pub(crate) struct Excess<'a> {
    called_off: BTreeMap<&'a str, Reason>,
    waits: BTreeMap<&'a str, Reason>,
}

/// Slots under one limit.
struct Share<'a> {
    /// Newest first, those that can be called off.
    uncommitted: Vec<&'a str>,
    /// Every node with a slot.
    held: BTreeSet<&'a str>,
}

impl<'a> Excess<'a> {
    /// Of every limit by number. Reboots that a human asked for beyond the budget are left alone,
    /// and take nothing from the others.
    pub(crate) fn of(index: &Index<'a>) -> Self {
        let mut excess = Self::default();
        let Some(ledger) = index.snapshot.ledger.present() else {
            return excess;
        };
        let slots = slots(ledger);
        for (place, limits) in index.limits().iter().enumerate() {
            let counted = index.counted(place).iter().copied();
            let counted: Vec<&'a Slot> = counted
                .filter(|slot| !limits.beyond.contains(slot.node.as_str()))
                .collect();
            if counted.is_empty() {
                continue;
            }
            let share = Share::of(index, &counted);
            let down = limits.unavailable.difference(&limits.beyond).copied();
            excess.note(&share, down, limits.allowed, || Reason::BudgetUsed {
                policy: limits.policy.to_owned(),
                in_use: index.in_use(place),
                allowed: limits.allowed,
            });
            excess.of_domains(index, limits, &counted);
        }
        let Some(cluster) = index.limits().first().map(|limits| &limits.cluster) else {
            return excess;
        };
        let beyond: BTreeSet<&str> = index
            .limits()
            .iter()
            .flat_map(|limits| limits.beyond.iter().copied())
            .collect();
        if let Some(allowed) = cluster.ceiling(ledger) {
            let counted: Vec<&'a Slot> = slots
                .iter()
                .filter(|slot| !beyond.contains(slot.node.as_str()))
                .collect();
            let share = Share::of(index, &counted);
            let down = cluster.unavailable.difference(&beyond).copied();
            excess.note(&share, down, allowed, || Reason::CeilingUsed {
                in_use: cluster.in_use(slots),
                allowed,
            });
        }
        excess
    }

    /// Why the node's reboot is called off, if it is.
    pub(crate) fn calls_off(&self, node: &str) -> Option<&Reason> {
        self.called_off.get(node)
    }

    /// Why the node waits for its second key, if it does.
    pub(crate) fn keeps(&self, node: &str) -> Option<&Reason> {
        self.waits.get(node)
    }

    fn note(
        &mut self,
        share: &Share<'a>,
        down: impl Iterator<Item = &'a str>,
        allowed: usize,
        reason: impl Fn() -> Reason,
    ) {
        let used = down.filter(|name| !share.held.contains(name)).count() + share.held.len();
        let too_many = |count: usize| {
            let surplus = count.saturating_sub(allowed);
            share.uncommitted.iter().take(surplus)
        };
        for node in too_many(share.held.len()) {
            self.called_off.entry(node).or_insert_with(&reason);
        }
        for node in too_many(used) {
            self.waits.entry(node).or_insert_with(&reason);
        }
    }

    /// The limits of a policy's failure domains.
    fn of_domains(&mut self, index: &Index<'a>, limits: &PolicyLimits<'a>, counted: &[&'a Slot]) {
        let Some(domains) = &limits.domains else {
            return;
        };
        let mut held: BTreeMap<&str, Vec<&'a Slot>> = BTreeMap::new();
        for slot in counted {
            if let Some(domain) = domains.domain_of_used(&slot.node, Some(slot)) {
                held.entry(domain).or_default().push(slot);
            }
        }
        let mut down: BTreeMap<&str, BTreeSet<&'a str>> = BTreeMap::new();
        for name in limits.unavailable.difference(&limits.beyond) {
            if let Some(domain) = domains.of.get(name) {
                down.entry(domain).or_default().insert(name);
            }
        }
        for (domain, slots) in &held {
            let share = Share::of(index, slots);
            let others = down.get(domain).into_iter().flatten().copied();
            let allowed = domains.allowed(domain);
            let in_use = slots.len() + others.clone().filter(|n| !share.held.contains(n)).count();
            self.note(&share, others, allowed, || Reason::DomainBudgetUsed {
                policy: limits.policy.to_owned(),
                domain: (*domain).to_owned(),
                in_use,
                allowed,
            });
        }
        self.of_domains_at_once(index, limits, &held, &down);
    }

    /// More domains at once than may be: those that came last give way.
    fn of_domains_at_once(
        &mut self,
        index: &Index<'a>,
        limits: &PolicyLimits<'a>,
        held: &BTreeMap<&str, Vec<&'a Slot>>,
        down: &BTreeMap<&str, BTreeSet<&'a str>>,
    ) {
        let at_once = limits.domains.as_ref().map_or(0, |domains| domains.at_once);
        let mut ranked: Vec<_> = held
            .iter()
            .map(|(domain, slots)| {
                // One with a committed reboot stays, whatever is called off.
                let stays = slots.iter().any(|slot| index.is_committed(slot));
                let oldest = slots.iter().map(|slot| slot.fence).min();
                (!stays, oldest, *domain, slots)
            })
            .collect();
        ranked.sort_by_key(|(gives_way, oldest, domain, _)| (*gives_way, *oldest, *domain));
        let without_slot = down.keys().filter(|domain| !held.contains_key(*domain));
        let broken = without_slot.clone().count();
        let first = ranked.first().map(|(_, _, domain, _)| *domain);
        for (rank, (gives_way, _, domain, slots)) in ranked.iter().enumerate() {
            if !gives_way {
                continue;
            }
            let reason = |other: Option<&str>| Reason::DomainBusy {
                policy: limits.policy.to_owned(),
                domain: other.unwrap_or(domain).to_owned(),
            };
            let share = Share::of(index, slots);
            if rank >= at_once {
                for node in &share.uncommitted {
                    let busy = || reason(first);
                    self.called_off.entry(node).or_insert_with(busy);
                }
            }
            if rank + broken >= at_once {
                let other = first.filter(|first| first != domain);
                let other = other.or_else(|| without_slot.clone().next().copied());
                for node in &share.uncommitted {
                    self.waits.entry(node).or_insert_with(|| reason(other));
                }
            }
        }
    }
}

impl<'a> Share<'a> {
    fn of(index: &Index<'a>, slots: &[&'a Slot]) -> Self {
        let mut newest: Vec<&&'a Slot> = slots
            .iter()
            .filter(|slot| !index.is_committed(slot))
            .collect();
        newest.sort_by_key(|slot| Reverse(slot.fence));
        Self {
            uncommitted: newest.into_iter().map(|slot| slot.node.as_str()).collect(),
            held: slots.iter().map(|slot| slot.node.as_str()).collect(),
        }
    }
}
