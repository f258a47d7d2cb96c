//! One look at a snapshot, joined once and asked by everything in a pass.
//!
//! Owns what many nodes ask alike: which policy governs whom, who holds a slot, what each schedule
//! says now, and the limits of each policy. Whatever is asked per node costs a search here, never a
//! walk over all nodes. Decides nothing. [`crate::check`] does not use it, on purpose.

use std::cell::OnceCell;
use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use slipway_api::lease::PolicyReference;
use slipway_api::{Phase, RebootLease, Slot};

use crate::blockers::{self, Asked};
use crate::budget::{self, PolicyLimits, slots};
use crate::excess::Excess;
use crate::gates::{self, Stage};
use crate::govern::{Governance, Selectors};
use crate::need;
use crate::reason::Reason;
use crate::snapshot::{Need, NodeView, PolicyView, Snapshot};
use crate::verify;
use crate::window::Opening;

/// A node with what belongs to it.
#[derive(Clone, Copy, Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a fact of its own, and they come in every mixture"
)]
pub(crate) struct Row<'a> {
    pub(crate) node: &'a NodeView,
    /// The lease of its name, which may be that of a former node.
    pub(crate) lease: Option<&'a RebootLease>,
    pub(crate) governance: Governance<'a>,
    /// Position of the policy that governs it.
    pub(crate) policy: Option<usize>,
    // What of the node is asked of everybody again and again, kept where it is at hand: in a large
    // fleet a pass takes as long as it waits for memory, and a node with its labels is scattered.
    pub(crate) unavailable: bool,
    pub(crate) required: bool,
    /// Nothing asks for a reboot, and nothing is known of an earlier one.
    pub(crate) at_rest: bool,
    /// It carries marks of ours.
    pub(crate) marked: bool,
    /// Its failure domain, by the policy that governs it; empty without the label.
    pub(crate) domain: &'a str,
}

/// A member of a quorum group: the label, its value and the node.
pub(crate) type Member<'a> = (&'a str, &'a str, &'a NodeView);

impl<'a> Row<'a> {
    /// The lease of this very node.
    pub(crate) fn own_lease(&self) -> Option<&'a RebootLease> {
        self.lease
            .filter(|lease| lease.spec.node_uid == self.node.uid)
    }
}

/// What one policy's schedule says now.
#[derive(Clone, Debug)]
pub(crate) struct Schedule {
    /// `None` while it cannot be read.
    pub(crate) opening: Option<Opening>,
    start: Option<Reason>,
    finish: Option<Reason>,
}

impl Schedule {
    /// Why nothing at this stage may go on, if it may not.
    pub(crate) fn refusal(&self, stage: Stage) -> Option<&Reason> {
        match stage {
            Stage::Start => self.start.as_ref(),
            Stage::Finish => self.finish.as_ref(),
        }
    }
}

/// A snapshot, joined.
pub(crate) struct Index<'a> {
    pub(crate) snapshot: &'a Snapshot,
    pub(crate) now: Timestamp,
    rows: Vec<Row<'a>>,
    members: Vec<Member<'a>>,
    places: BTreeMap<&'a str, usize>,
    references: Vec<Arc<PolicyReference>>,
    slots: BTreeMap<&'a str, Vec<&'a Slot>>,
    counted: OnceCell<Vec<Vec<&'a Slot>>>,
    schedules: Vec<OnceCell<Schedule>>,
    answers: Vec<OnceCell<Vec<Asked<'a>>>>,
    limits: OnceCell<Vec<PolicyLimits<'a>>>,
    excess: OnceCell<Excess<'a>>,
    down: OnceCell<Vec<&'a str>>,
    control_plane_down: OnceCell<Vec<&'a str>>,
}

impl<'a> Index<'a> {
    pub(crate) fn new(snapshot: &'a Snapshot, now: Timestamp) -> Self {
        let places = (0..)
            .zip(&snapshot.policies)
            .map(|(place, policy)| (policy.uid.as_str(), place))
            .collect();
        let mut by_node: BTreeMap<&str, Vec<&Slot>> = BTreeMap::new();
        for slot in snapshot.ledger.present().map_or(&[][..], slots) {
            by_node.entry(&slot.node).or_default().push(slot);
        }
        let cells = snapshot.policies.len();
        let (rows, members) = rows(snapshot, &places, now);
        Self {
            rows,
            members,
            snapshot,
            now,
            places,
            references: { snapshot.policies.iter() }
                .map(|policy| Arc::new(policy.reference()))
                .collect(),
            slots: by_node,
            counted: OnceCell::new(),
            schedules: (0..cells).map(|_| OnceCell::new()).collect(),
            answers: (0..cells).map(|_| OnceCell::new()).collect(),
            limits: OnceCell::new(),
            excess: OnceCell::new(),
            down: OnceCell::new(),
            control_plane_down: OnceCell::new(),
        }
    }

    /// Every node, by name.
    pub(crate) fn rows(&self) -> &[Row<'a>] {
        &self.rows
    }

    /// The members of quorum groups, by the name of the node. A group that any policy names binds
    /// every policy: else two policies could take two members of it.
    pub(crate) fn members(&self) -> &[Member<'a>] {
        &self.members
    }

    /// The node of this name.
    pub(crate) fn row(&self, name: &str) -> Option<&Row<'a>> {
        let found = self
            .rows
            .binary_search_by(|row| row.node.name.as_str().cmp(name));
        self.rows.get(found.ok()?)
    }

    /// Position of a policy.
    pub(crate) fn place(&self, policy_uid: &str) -> Option<usize> {
        self.places.get(policy_uid).copied()
    }

    /// The policy with this UID.
    pub(crate) fn policy(&self, uid: &str) -> Option<&'a PolicyView> {
        self.snapshot.policies.get(self.place(uid)?)
    }

    /// The policy that governs a node, as a reference that many verdicts share.
    pub(crate) fn reference(&self, row: &Row<'_>) -> Option<Arc<PolicyReference>> {
        self.references.get(row.policy?).cloned()
    }

    /// The slots that use a policy's limits: see [`PolicyLimits::counts`].
    pub(crate) fn counted(&self, place: usize) -> &[&'a Slot] {
        let all = self.counted.get_or_init(|| {
            let mut all = vec![Vec::new(); self.snapshot.policies.len()];
            for slot in self.snapshot.ledger.present().map_or(&[][..], slots) {
                let granted = self.place(&slot.policy_uid);
                let governs = self.row(&slot.node).and_then(|row| row.policy);
                for place in granted
                    .into_iter()
                    .chain(governs.filter(|_| governs != granted))
                {
                    if let Some(counted) = all.get_mut(place) {
                        counted.push(slot);
                    }
                }
            }
            all
        });
        all.get(place).map_or(&[], Vec::as_slice)
    }

    /// The slot of this very node.
    pub(crate) fn slot(&self, node: &NodeView) -> Option<&'a Slot> {
        let mut of_name = self.slots.get(node.name.as_str())?.iter().copied();
        of_name.find(|slot| slot.node_uid == node.uid)
    }

    /// What a policy's schedule says now.
    pub(crate) fn schedule(&self, place: usize) -> Option<&Schedule> {
        let policy = self.snapshot.policies.get(place)?;
        let read = || {
            let opening = gates::schedule(policy, self.now);
            let refusal = |stage| {
                let when = (opening?, stage);
                gates::schedule_refusal(self.snapshot, policy, when, self.now)
            };
            Schedule {
                opening,
                start: refusal(Stage::Start),
                finish: refusal(Stage::Finish),
            }
        };
        Some(self.schedules.get(place)?.get_or_init(read))
    }

    /// A policy's blockers with the answers that count.
    pub(crate) fn answers(&self, place: usize) -> &[Asked<'a>] {
        let (Some(policy), Some(cell)) =
            (self.snapshot.policies.get(place), self.answers.get(place))
        else {
            return &[];
        };
        cell.get_or_init(|| blockers::answers(self.snapshot, policy, self.now))
    }

    /// The limits of every policy, by position.
    pub(crate) fn limits(&self) -> &[PolicyLimits<'a>] {
        self.limits.get_or_init(|| budget::limits_of(self))
    }

    /// How many nodes use a policy's budget.
    pub(crate) fn in_use(&self, place: usize) -> usize {
        let Some(limits) = self.limits().get(place) else {
            return 0;
        };
        let held: BTreeSet<&str> = { self.counted(place).iter() }
            .map(|slot| slot.node.as_str())
            .filter(|node| !limits.unavailable.contains(node))
            .collect();
        held.len() + limits.unavailable.len()
    }

    /// Reboots that were granted and do not fit any more.
    pub(crate) fn excess(&self) -> &Excess<'a> {
        self.excess.get_or_init(|| Excess::of(self))
    }

    /// True when the reboot of a slot cannot be called off any more.
    pub(crate) fn is_committed(&self, slot: &Slot) -> bool {
        let lease = self.snapshot.leases.get(&slot.node);
        lease.is_some_and(|lease| {
            lease.phase().is_committed() && lease.accepted_fence() == slot.fence
        })
    }

    /// Names of the nodes that are not Ready and that Slipway is not rebooting just now.
    pub(crate) fn down(&self) -> &[&'a str] {
        self.down.get_or_init(|| {
            let away = |row: &&Row<'a>| !row.node.ready && !self.is_away(row);
            let down = self.rows.iter().filter(away);
            down.map(|row| row.node.name.as_str()).collect()
        })
    }

    /// Names of control-plane nodes that are not Ready: the first two, so that one is left for
    /// whoever asks for another one than itself.
    pub(crate) fn control_plane_down(&self) -> &[&'a str] {
        self.control_plane_down.get_or_init(|| {
            let down = |row: &&Row<'a>| !row.node.ready && row.node.is_control_plane();
            let down = self.rows.iter().filter(down);
            down.take(2).map(|row| row.node.name.as_str()).collect()
        })
    }

    /// True for a node that Slipway has rebooted and that is not overdue: the budget counts it.
    fn is_away(&self, row: &Row<'a>) -> bool {
        self.slot(row.node).is_some()
            && row.lease.is_some_and(|lease| {
                matches!(lease.phase(), Phase::Rebooting | Phase::Rebooted)
                    && verify::stuck_since(lease, self.now).is_none()
            })
    }
}

/// Nodes and leases are sorted alike: joined in one walk over both, which also reads of each node
/// what its labels say to anybody.
fn rows<'a>(
    snapshot: &'a Snapshot,
    places: &BTreeMap<&'a str, usize>,
    now: Timestamp,
) -> (Vec<Row<'a>>, Vec<Member<'a>>) {
    let mut selectors = Selectors::new(snapshot);
    let policies = snapshot.policies.iter();
    let quorum: BTreeSet<&str> = policies
        .filter_map(|policy| policy.spec.budget.quorum_label.as_deref())
        .collect();
    let mut leases = snapshot.leases.iter().peekable();
    let mut rows = Vec::with_capacity(snapshot.nodes.len());
    let mut members = Vec::new();
    for (name, node) in &snapshot.nodes {
        let lease = loop {
            match leases.peek().map(|(other, _)| (*other).cmp(name)) {
                // The lease of a node that is gone.
                Some(Ordering::Less) => drop(leases.next()),
                Some(Ordering::Equal) => break leases.next(),
                Some(Ordering::Greater) | None => break None,
            }
        };
        let governance = selectors.governance(node);
        let policy = governance.policy();
        let need = need::of(policy, node, now);
        let per_domain = policy.and_then(|policy| policy.spec.budget.per_domain.as_ref());
        let domain = per_domain.and_then(|written| node.label(&written.topology_key));
        let groups = quorum.iter();
        members.extend(groups.filter_map(|key| Some((*key, node.label(key)?, node))));
        rows.push(Row {
            node,
            lease: lease.map(|(_, lease)| lease),
            governance,
            unavailable: node.is_unavailable(),
            required: need.is_required(),
            at_rest: lease.is_none() && *need == Need::NotRequired,
            marked: !node.marks.is_bare(),
            domain: domain.unwrap_or_default(),
            policy: policy.and_then(|policy| places.get(policy.uid.as_str()).copied()),
        });
    }
    (rows, members)
}
