//! A policy's failure domains as numbers: which are used, which were begun, and who waits in each.
//!
//! The same rules as [`crate::spread::Domains`] and the grants' own for domains that were begun.

use std::collections::{BTreeMap, BTreeSet};

use crate::budget::PolicyLimits;
use crate::index::Index;

/// What a policy's failure domains start from.
#[derive(Clone, Debug)]
pub(super) struct DomainRules {
    at_once: usize,
    allowed: Vec<usize>,
    used: Vec<usize>,
    /// In the order in which they were begun.
    begun: Vec<usize>,
}

impl DomainRules {
    /// The rules of a policy that has domains, and the number of each by its name.
    pub(super) fn of(
        index: &Index<'_>,
        (place, limits): (usize, &PolicyLimits<'_>),
        begun: Option<&Vec<String>>,
    ) -> (Option<Self>, BTreeMap<String, usize>) {
        let Some(domains) = &limits.domains else {
            return (None, BTreeMap::new());
        };
        let mut users: BTreeMap<&str, &str> = BTreeMap::new();
        for slot in index.counted(place) {
            if let Some(domain) = domains.domain_of_used(&slot.node, Some(slot)) {
                users.insert(&slot.node, domain);
            }
        }
        for name in &limits.unavailable {
            if let Some(domain) = domains.of.get(name) {
                users.insert(name, domain);
            }
        }
        let names: BTreeSet<&str> = { domains.sizes.keys() }
            .chain(users.values())
            .copied()
            .collect();
        let places: BTreeMap<String, usize> = names
            .iter()
            .map(|name| (*name).to_owned())
            .zip(0..)
            .collect();
        let mut used = vec![0; names.len()];
        for domain in users.values() {
            if let Some(count) = places.get(*domain).and_then(|place| used.get_mut(*place)) {
                *count += 1;
            }
        }
        let begun = begun.into_iter().flatten();
        let rules = Self {
            at_once: domains.at_once,
            allowed: names.iter().map(|name| domains.allowed(name)).collect(),
            used,
            begun: begun.filter_map(|name| places.get(name).copied()).collect(),
        };
        (Some(rules), places)
    }
}

/// A policy's failure domains at one moment.
#[derive(Clone, Debug, Default)]
pub(super) struct Domains {
    /// Nodes that use each.
    used: Vec<usize>,
    /// Those that are used.
    busy: BTreeSet<usize>,
    begun: Vec<usize>,
    /// Nodes that wait in each: for a window, and for none.
    waiting: Vec<(usize, usize)>,
}

impl Domains {
    pub(super) fn new(rules: Option<&DomainRules>) -> Self {
        let Some(rules) = rules else {
            return Self::default();
        };
        let used = rules.used.iter().enumerate();
        Self {
            busy: used
                .filter(|(_, count)| **count > 0)
                .map(|(domain, _)| domain)
                .collect(),
            begun: rules.begun.clone(),
            waiting: vec![(0, 0); rules.used.len()],
            used: rules.used.clone(),
        }
    }

    /// A node waits in a domain from now on, or no longer.
    pub(super) fn wait(&mut self, domain: usize, any_time: bool, begins: bool) {
        let Some((in_window, at_any_time)) = self.waiting.get_mut(domain) else {
            return;
        };
        let count = if any_time { at_any_time } else { in_window };
        *count = if begins {
            count.saturating_add(1)
        } else {
            count.saturating_sub(1)
        };
    }

    /// True where the domain has room for a node; `own` is 1 for one that uses it already.
    pub(super) fn has_room(&self, rules: &DomainRules, domain: usize, own: usize) -> bool {
        let here = self.used.get(domain).copied().unwrap_or_default();
        let allowed = rules.allowed.get(domain).copied().unwrap_or_default();
        here.saturating_sub(own) < allowed
    }

    /// True where so many other domains have to be finished first that this one has to wait.
    /// `open` tells whether nodes that need a window could go, `held` that the others wait for this
    /// node: then only domains that are used keep it.
    pub(super) fn others_first(
        &self,
        rules: &DomainRules,
        domain: usize,
        (open, held): (bool, bool),
    ) -> bool {
        let before = self.begun.iter().take_while(|begun| **begun != domain);
        let unfinished = before
            .filter(|begun| !held && self.is_waited_in(**begun, open))
            .filter(|begun| !self.busy.contains(begun));
        let busy = self.busy.iter().filter(|busy| **busy != domain);
        busy.count() + unfinished.count() >= rules.at_once
    }

    fn is_waited_in(&self, domain: usize, open: bool) -> bool {
        let waiting = self.waiting.get(domain);
        waiting.is_some_and(|(in_window, at_any_time)| *at_any_time > 0 || (open && *in_window > 0))
    }

    /// A node of the domain starts: domains in which nobody waits any more are finished.
    pub(super) fn begin(&mut self, domain: usize, open: bool) {
        let mut begun = std::mem::take(&mut self.begun);
        begun.retain(|other| *other == domain || self.is_waited_in(*other, open));
        if !begun.contains(&domain) {
            begun.push(domain);
        }
        self.begun = begun;
    }

    pub(super) fn take(&mut self, domain: usize) {
        if let Some(used) = self.used.get_mut(domain) {
            *used += 1;
            self.busy.insert(domain);
        }
    }

    pub(super) fn free(&mut self, domain: usize) {
        if let Some(used) = self.used.get_mut(domain) {
            *used = used.saturating_sub(1);
            if *used == 0 {
                self.busy.remove(&domain);
            }
        }
    }
}
