//! Who of those that could go is granted a reboot in this pass, and what the others wait for.
//!
//! Everything is asked of a copy of the ledger into which the pass' own grants are appended, by the
//! very code that the executor asks again of the ledger that it replaces.

use std::collections::{BTreeMap, BTreeSet};

use slipway_api::{RebootLedger, RebootLedgerStatus};

use crate::action::GrantRequest;
use crate::blockers;
use crate::breaker::record;
use crate::budget::{self, PolicyLimits};
use crate::index::Index;
use crate::order;
use crate::reason::Reason;
use crate::resting::Candidate;
use crate::tally::{Book, Tally};
use crate::turn::{self, Passer};

/// What a pass decides about those that could go.
#[derive(Default)]
pub(crate) struct Decided {
    /// Every candidate in order, with what it waits for; `Granted` alone where it goes.
    pub(crate) candidates: Vec<(GrantRequest, Vec<Reason>)>,
    /// UIDs of policies whose blockers decide.
    pub(crate) ask: BTreeSet<String>,
}

/// Decides. At most one node per policy goes: what its drain does to others shows before the next
/// (F67).
pub(crate) fn decide(
    index: &Index<'_>,
    ledger: &RebootLedger,
    status: &RebootLedgerStatus,
    candidates: Vec<Candidate>,
) -> Decided {
    let mut round = Round::new(index, ledger, status);
    let candidates = order::sort(index, candidates);
    round.fill(&candidates);
    for candidate in &candidates {
        let request = &candidate.request;
        let refused = round.refusal(request);
        let mut reasons: Vec<Reason> = refused.into_iter().collect();
        if reasons.is_empty() {
            // Blockers come last: they are asked only where their answer decides.
            round.decided.ask.insert(request.policy.uid.clone());
            reasons = round.blockers(request);
        }
        let mut request = request.clone();
        if reasons.is_empty() {
            request.place.passes = round.passes(&candidates, candidate);
            request.place.waiting_domains = round.waiting_domains(&request);
            reasons.push(round.append(&request));
        }
        round.decided.candidates.push((request, reasons));
    }
    round.decided
}

struct Round<'i, 'a> {
    index: &'i Index<'a>,
    ledger: RebootLedger,
    book: Book,
    /// What is used of each policy's limits, by position.
    tallies: Vec<Tally>,
    /// Candidates that nothing keeps but their turn: what keeps them ends by itself.
    waits: BTreeSet<String>,
    /// Domains, by policy, in which somebody waits that could go.
    domains: BTreeMap<usize, BTreeSet<String>>,
    /// Whom each policy has granted in this pass.
    granted: BTreeMap<usize, String>,
    decided: Decided,
}

impl<'i, 'a> Round<'i, 'a> {
    fn new(index: &'i Index<'a>, ledger: &RebootLedger, status: &RebootLedgerStatus) -> Self {
        let limits = index.limits();
        let book = limits
            .first()
            .map_or_else(Book::default, |any| Book::of(&status.slots, &any.cluster));
        let tally = |(place, limits)| {
            let counted = index.counted(place).iter().copied();
            Tally::of((status, counted), limits, index.now)
        };
        Self {
            index,
            ledger: ledger.clone(),
            book,
            tallies: limits.iter().enumerate().map(tally).collect(),
            waits: BTreeSet::new(),
            domains: BTreeMap::new(),
            granted: BTreeMap::new(),
            decided: Decided::default(),
        }
    }

    /// Learns who waits for nothing but the others, before anybody is granted.
    fn fill(&mut self, candidates: &[Candidate]) {
        for candidate in candidates {
            let request = &candidate.request;
            let refused = self.limit(request);
            if refused.as_ref().is_some_and(keeps_for_long) || !self.blockers(request).is_empty() {
                continue;
            }
            if refused.as_ref().is_none_or(is_a_matter_of_turn) {
                self.waits.insert(request.node.clone());
            }
            if let Some((place, domain)) = self.domain(request) {
                let of_policy = self.domains.entry(place).or_default();
                if !of_policy.contains(domain) {
                    of_policy.insert(domain.to_owned());
                }
            }
        }
    }

    fn limits(&self, request: &GrantRequest) -> Option<(usize, &'i PolicyLimits<'a>)> {
        let place = self.index.place(&request.policy.uid)?;
        Some((place, self.index.limits().get(place)?))
    }

    fn domain(&self, request: &GrantRequest) -> Option<(usize, &'a str)> {
        let (place, limits) = self.limits(request)?;
        let domains = limits.domains.as_ref()?;
        Some((place, *domains.of.get(request.node.as_str())?))
    }

    fn limit(&self, request: &GrantRequest) -> Option<Reason> {
        let Some((place, limits)) = self.limits(request) else {
            return Some(Reason::NoPolicy);
        };
        let tally = self.tallies.get(place)?;
        let counted = (&self.book, tally);
        budget::refuse_by(&self.ledger, counted, request, limits, self.index.now)
    }

    /// Why the candidate is not granted in this pass, but for blockers.
    fn refusal(&self, request: &GrantRequest) -> Option<Reason> {
        let turn = || {
            let (status, now) = (self.ledger.status.as_ref()?, self.index.now);
            turn::refuse(status, request, |node| self.waits.contains(node), now)
                .or_else(|| self.unfinished(request))
        };
        let next = || {
            let after = self.granted.get(&self.index.place(&request.policy.uid)?)?;
            Some(Reason::NextInLine {
                after: after.clone(),
            })
        };
        self.limit(request).or_else(turn).or_else(next)
    }

    /// Another domain that has to be finished first: one that is used, or that was begun, and in
    /// which somebody waits that could go.
    fn unfinished(&self, request: &GrantRequest) -> Option<Reason> {
        let (place, limits) = self.limits(request)?;
        let domains = limits.domains.as_ref()?;
        let own = *domains.of.get(request.node.as_str())?;
        let status = self.ledger.status.as_ref()?;
        if turn::is_held_for(status, &request.node, self.index.now) {
            return None;
        }
        let waiting = self.domains.get(&place)?;
        let begun = &record(status, &request.policy.uid)?.domains;
        let used = self.tallies.get(place)?.domains();
        // Of those that were begun only the ones before its own: where more are begun than may be
        // (a limit was lowered), all of them would wait for each other for ever.
        let unfinished: BTreeSet<&str> = begun
            .iter()
            .map(String::as_str)
            .take_while(|begun| *begun != own)
            .filter(|begun| waiting.contains(*begun))
            .chain(used.map(|(domain, _)| domain))
            .filter(|other| *other != own)
            .collect();
        if unfinished.len() < domains.at_once {
            return None;
        }
        unfinished
            .into_iter()
            .next()
            .map(|other| Reason::DomainBusy {
                policy: limits.policy.to_owned(),
                domain: other.to_owned(),
            })
    }

    /// Domains of the request's policy in which somebody waits that could go.
    fn waiting_domains(&self, request: &GrantRequest) -> BTreeSet<String> {
        let place = self.index.place(&request.policy.uid);
        let waiting = place.and_then(|place| self.domains.get(&place));
        waiting.cloned().unwrap_or_default()
    }

    fn blockers(&self, request: &GrantRequest) -> Vec<Reason> {
        let row = self.index.row(&request.node);
        row.map_or_else(
            || vec![Reason::NoPolicy],
            |row| blockers::against(self.index, row),
        )
    }

    /// Whom this grant passes: those that came earlier, wait for nothing but their turn, and may
    /// have been kept by this very grant.
    fn passes(&self, candidates: &[Candidate], granted: &Candidate) -> Vec<Passer> {
        let gone: BTreeSet<&str> = self.granted.values().map(String::as_str).collect();
        let mut passed: Vec<&Candidate> = candidates
            .iter()
            .filter(|other| {
                let request = &other.request;
                let related = request.policy.uid == granted.request.policy.uid
                    || request.control_plane
                    || granted.request.control_plane;
                other.requested_at < granted.requested_at
                    && related
                    && self.waits.contains(&request.node)
                    && !gone.contains(request.node.as_str())
            })
            .collect();
        passed.sort_by(|a, b| {
            (a.requested_at, &a.request.node).cmp(&(b.requested_at, &b.request.node))
        });
        passed
            .into_iter()
            .take(slipway_api::ledger::PASSED_MAX)
            .map(|other| Passer {
                node: other.request.node.clone(),
                policy_uid: other.request.policy.uid.clone(),
                control_plane: other.request.control_plane,
            })
            .collect()
    }

    fn append(&mut self, request: &GrantRequest) -> Reason {
        let Some((place, limits)) = self.limits(request) else {
            return Reason::NoPolicy;
        };
        let now = self.index.now;
        let status = match budget::append(&self.ledger, request, limits, now) {
            Ok((status, _)) => status,
            Err(reason) => return reason,
        };
        if let Some(slot) = status.slots.last() {
            self.book.add(slot, &limits.cluster);
            for (tally, limits) in self.tallies.iter_mut().zip(self.index.limits()) {
                tally.add(slot, &status, limits, now);
            }
        }
        self.ledger.status = Some(status);
        self.granted.insert(place, request.node.clone());
        Reason::Granted
    }
}

/// What keeps a node and does not end when others have had their turn: nobody waits for it.
fn keeps_for_long(reason: &Reason) -> bool {
    matches!(
        reason,
        Reason::QuorumDown { .. }
            | Reason::DomainDown { .. }
            | Reason::BudgetUsed { allowed: 0, .. }
            | Reason::DomainBudgetUsed { allowed: 0, .. }
            | Reason::SlotHeld
            | Reason::NoPolicy
    )
}

/// What keeps a node only because others are under way, or others go first.
fn is_a_matter_of_turn(reason: &Reason) -> bool {
    matches!(
        reason,
        Reason::ControlPlaneBusy { .. }
            | Reason::NotMixed { .. }
            | Reason::QuorumBusy { .. }
            | Reason::DomainBusy { .. }
    )
}
