//! Who of those that could go is granted a reboot in this pass, and what the others wait for.
//!
//! Everything is asked of a copy of the ledger into which the pass' own grants are appended, by the
//! very code that the executor asks again of the ledger that it replaces.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use slipway_api::RebootLedger;

use crate::action::GrantRequest;
use crate::blockers;
use crate::breaker::record;
use crate::budget::{self, PolicyLimits};
use crate::order;
use crate::reason::Reason;
use crate::resting::Candidate;
use crate::snapshot::{PolicyView, Snapshot};
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
    snapshot: &Snapshot,
    ledger: &RebootLedger,
    candidates: Vec<Candidate>,
    now: Timestamp,
) -> Decided {
    let mut round = Round::new(snapshot, ledger.clone(), now);
    let candidates = round.arrange(candidates);
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
            reasons.push(round.append(&request));
        }
        round.decided.candidates.push((request, reasons));
    }
    round.decided
}

struct Round<'a> {
    snapshot: &'a Snapshot,
    ledger: RebootLedger,
    now: Timestamp,
    policies: BTreeMap<&'a str, &'a PolicyView>,
    limits: BTreeMap<String, PolicyLimits>,
    /// Candidates that nothing keeps but their turn: what keeps them ends by itself.
    waits: BTreeSet<String>,
    /// Domains, by policy, in which somebody waits that could go.
    domains: BTreeMap<String, BTreeSet<String>>,
    granted: BTreeMap<String, String>,
    decided: Decided,
}

impl<'a> Round<'a> {
    fn new(snapshot: &'a Snapshot, ledger: RebootLedger, now: Timestamp) -> Self {
        Self {
            snapshot,
            ledger,
            now,
            policies: snapshot
                .policies
                .iter()
                .map(|policy| (policy.uid.as_str(), policy))
                .collect(),
            limits: BTreeMap::new(),
            waits: BTreeSet::new(),
            domains: BTreeMap::new(),
            granted: BTreeMap::new(),
            decided: Decided::default(),
        }
    }

    /// The candidates in order, and the limits of their policies.
    fn arrange(&mut self, candidates: Vec<Candidate>) -> Vec<Candidate> {
        let uids: BTreeSet<&str> = candidates
            .iter()
            .map(|candidate| candidate.request.policy.uid.as_str())
            .collect();
        self.limits = budget::limits_of(self.snapshot, &uids);
        order::sort(self.snapshot, &self.limits, candidates)
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
            if let Some(domain) = self.domain(request) {
                let of_policy = self.domains.entry(request.policy.uid.clone()).or_default();
                of_policy.insert(domain);
            }
        }
    }

    fn limits(&self, request: &GrantRequest) -> Option<&PolicyLimits> {
        self.limits.get(&request.policy.uid)
    }

    fn domain(&self, request: &GrantRequest) -> Option<String> {
        let domains = self.limits(request)?.domains.as_ref()?;
        domains.of.get(&request.node).cloned()
    }

    fn limit(&self, request: &GrantRequest) -> Option<Reason> {
        let Some(limits) = self.limits(request) else {
            return Some(Reason::NoPolicy);
        };
        budget::refuse(&self.ledger, request, limits, self.now)
    }

    /// Why the candidate is not granted in this pass, but for blockers.
    fn refusal(&self, request: &GrantRequest) -> Option<Reason> {
        let turn = || {
            let status = self.ledger.status.as_ref()?;
            turn::refuse(status, request, |node| self.waits.contains(node), self.now)
                .or_else(|| self.unfinished(request))
        };
        let next = || {
            let after = self.granted.get(&request.policy.uid)?;
            Some(Reason::NextInLine {
                after: after.clone(),
            })
        };
        self.limit(request).or_else(turn).or_else(next)
    }

    /// Another domain that was begun, and in which somebody waits that could go.
    fn unfinished(&self, request: &GrantRequest) -> Option<Reason> {
        let limits = self.limits(request)?;
        let domains = limits.domains.as_ref()?;
        let own = domains.of.get(&request.node)?;
        let status = self.ledger.status.as_ref()?;
        if turn::is_held_for(status, &request.node, self.now) {
            return None;
        }
        let waiting = self.domains.get(&request.policy.uid)?;
        let begun = &record(status, &request.policy.uid)?.domains;
        let used = domains.used(limits, &status.slots);
        let unfinished: BTreeSet<&str> = begun
            .iter()
            .filter(|begun| waiting.contains(*begun))
            .map(String::as_str)
            .chain(used)
            .filter(|other| other != own)
            .collect();
        if unfinished.len() < domains.at_once {
            return None;
        }
        unfinished
            .into_iter()
            .next()
            .map(|other| Reason::DomainBusy {
                policy: limits.policy.clone(),
                domain: other.to_owned(),
            })
    }

    fn blockers(&self, request: &GrantRequest) -> Vec<Reason> {
        let policy = self.policies.get(request.policy.uid.as_str());
        let node = self.snapshot.nodes.get(&request.node);
        match (policy, node) {
            (Some(policy), Some(node)) => blockers::against(self.snapshot, policy, node, self.now),
            (None, _) | (_, None) => vec![Reason::NoPolicy],
        }
    }

    /// Whom this grant passes: those that came earlier, wait for nothing but their turn, and may
    /// have been kept by this very grant.
    fn passes(&self, candidates: &[Candidate], granted: &Candidate) -> Vec<Passer> {
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
                    && !self.granted.values().any(|node| *node == request.node)
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
        let Some(limits) = self.limits.get(&request.policy.uid) else {
            return Reason::NoPolicy;
        };
        let appended = budget::append(&self.ledger, request, limits, self.now);
        match appended {
            Ok((status, _)) => self.ledger.status = Some(status),
            Err(reason) => return reason,
        }
        let (policy, node) = (request.policy.uid.clone(), request.node.clone());
        self.granted.insert(policy, node);
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
