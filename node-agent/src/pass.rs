//! One pass: read everything, decide, act.
//!
//! Owns the building of [`Facts`] from the reads, and the report of the Node condition, which is
//! made whatever the lease says. The writes that follow from a decision are in `act`.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::Api;
use kube::api::{Patch, PatchParams};
use slipway_api::drain_filter::DrainRules;
use slipway_api::names::MANAGER_AGENT;
use slipway_api::policy::{RebootMethod, Triggers};
use slipway_api::{Phase, RebootLease};
use slipway_client::{CallError, ErrorClass, bounded, chain, clock};
use tokio::sync::watch;

use crate::checks::{Board, Checks};
use crate::decide::{Action, decide};
use crate::error::PassError;
use crate::facts::{
    Clocks, Facts, HostFacts, JournalView, LeaseView, LedgerView, Mark, PodsView, Seen,
};
use crate::health::{self, Health};
use crate::host::{Host, Offer};
use crate::journal::Store;
use crate::memory::Memory;
use crate::observe::{LeaseRead, Reader};
use crate::{node_write, report};

/// The agent.
pub(crate) struct Agent {
    pub(crate) reader: Reader,
    pub(crate) host: Arc<dyn Host>,
    pub(crate) store: Store,
    pub(crate) health: Arc<Health>,
    pub(crate) checks: Checks,
    pub(crate) board: watch::Receiver<Board>,
    pub(crate) memory: Memory,
    /// Time since boot when this process started.
    pub(crate) started: Duration,
    /// The last decision, to log each once.
    pub(crate) last: Option<Action>,
}

/// What one pass has read.
pub(crate) struct Observed {
    pub(crate) facts: Facts,
    pub(crate) node: Node,
    pub(crate) pods: Vec<Pod>,
    /// Time since boot before the first read.
    pub(crate) begun: Duration,
    /// Time since boot before the pods were listed.
    pub(crate) pods_read: Duration,
    /// Why the pods are not known, although they are needed.
    pub(crate) pods_problem: Option<String>,
}

impl Observed {
    /// The lease, when there is one that can be read.
    pub(crate) fn lease(&self) -> Option<&RebootLease> {
        match &self.facts.lease {
            LeaseView::Present(lease) => Some(lease),
            LeaseView::Missing | LeaseView::KindMissing { .. } | LeaseView::Unreadable { .. } => {
                None
            }
        }
    }
}

impl Agent {
    /// One pass; returns how long to rest unless something happens.
    pub(crate) async fn pass(&mut self) -> Result<Duration, PassError> {
        let mut observed = match self.observe().await {
            Ok(observed) => observed,
            Err(error) => {
                self.report_alone().await;
                return Err(error);
            }
        };
        if !observed.facts.node.condition_current {
            let reported = self.report(&observed.node).await;
            observed.facts.node.condition_current = reported;
        }
        let action = decide(&observed.facts);
        self.log(&action);
        self.act(action, &observed).await
    }

    async fn observe(&mut self) -> Result<Observed, PassError> {
        let board = self.board.borrow_and_update().clone();
        let read = self.reader.lease().await;
        let (lease, begun, mut clocks) = self.lease_view(read)?;
        let source = |source| PassError::Host { source };
        let boot_id = self.host.boot_id().await.map_err(source)?;
        let journal = self.store.read();
        self.note(&lease, &journal);
        let present = match &lease {
            LeaseView::Present(lease) => Some(lease.as_ref()),
            LeaseView::Missing | LeaseView::KindMissing { .. } | LeaseView::Unreadable { .. } => {
                None
            }
        };
        let shutdown_pending = if asks_host(present, &journal, &boot_id) {
            self.host.shutdown_pending().await.ok()
        } else {
            None
        };
        let ledger = self.ledger(present).await;
        let node = self.node().await?;
        let offer = match wanted(present, &node, &journal) {
            Some(method) => self.host.offer(&method).await,
            None => Offer::NotAsked,
        };
        let current = report::change(&node, &board, clocks.wall).is_none();
        let node_facts = node_write::facts(&node, current);
        let pods_read = clock::boottime();
        let (pods, pods_problem) = self.pods(present, &node_facts.mark, clocks.api).await;
        clocks.boottime = clock::boottime();
        let left = pods.as_ref().map(Vec::len);
        let seen = Seen {
            kept: self.memory.kept(present, &offer, clocks.boottime),
            ..self.memory.seen(present, left, &clocks)
        };
        let counted = triggers(present);
        let need = board.with_missing(&counted).need(&counted, clocks.boottime);
        let facts = Facts {
            lease,
            ledger,
            node: node_facts,
            pods: left.map_or(PodsView::NotRead, PodsView::Left),
            host: HostFacts {
                boot_id,
                need,
                shutdown_pending,
                offer,
            },
            journal,
            clocks,
            seen,
        };
        self.remember_cordon(&facts);
        Ok(Observed {
            facts,
            node,
            pods: pods.unwrap_or_default(),
            begun,
            pods_read,
            pods_problem,
        })
    }

    fn lease_view(
        &mut self,
        read: Result<LeaseRead, CallError>,
    ) -> Result<(LeaseView, Duration, Clocks), PassError> {
        let boottime = clock::boottime();
        let clocks = |api, wall| Clocks {
            api,
            wall,
            boottime,
            started: self.started,
        };
        let read = match read {
            Ok(read) => read,
            Err(error) if error.class() == ErrorClass::NotFound => {
                let wall = clock::wall();
                let clocks = clocks(wall, wall);
                let lasted = self.memory.kind_missing(boottime);
                return Ok((LeaseView::KindMissing { lasted }, boottime, clocks));
            }
            Err(error) => return Err(PassError::api(error)),
        };
        let clocks = clocks(read.api_time, read.wall);
        self.memory.kind_present();
        let view = match read.lease {
            None => LeaseView::Missing,
            Some(Ok(lease)) => LeaseView::Present(Box::new(lease)),
            Some(Err(reason)) => LeaseView::Unreadable { reason },
        };
        Ok((view, read.begun, clocks))
    }

    /// A ledger that cannot be read is as good as none: no accept, no commit, but every undo.
    async fn ledger(&self, lease: Option<&RebootLease>) -> LedgerView {
        if !lease.is_some_and(wants_ledger) {
            return LedgerView::NotRead;
        }
        match self.reader.ledger().await {
            Ok(ledger) => {
                self.health.good(health::LEDGER);
                ledger
            }
            Err(error) => {
                self.health.bad(health::LEDGER, chain(&error));
                LedgerView::Missing
            }
        }
    }

    async fn node(&self) -> Result<Node, PassError> {
        match self.reader.node().await {
            Ok(node) => Ok(node),
            Err(error) if error.class() == ErrorClass::NotFound => Err(PassError::NodeMissing {
                name: self.reader.node_name.clone(),
            }),
            Err(error) => Err(PassError::api(error)),
        }
    }

    /// Pods that cannot be listed stop the drain, not its undo.
    async fn pods(
        &self,
        lease: Option<&RebootLease>,
        mark: &Mark,
        now: Timestamp,
    ) -> (Option<Vec<Pod>>, Option<String>) {
        let drains = match lease.map_or(Phase::Pending, RebootLease::phase) {
            Phase::Draining | Phase::Drained | Phase::Rebooting => *mark != Mark::Absent,
            Phase::Pending
            | Phase::Granted
            | Phase::Rebooted
            | Phase::Completed
            | Phase::Aborted
            | Phase::Failed => false,
        };
        if !drains {
            self.health.good(health::PODS);
            return (None, None);
        }
        let rules = self.rules(lease, now);
        match self.reader.pods(&rules).await {
            Ok(pods) => {
                self.health.good(health::PODS);
                (Some(pods), None)
            }
            Err(error) => {
                self.health.bad(health::PODS, chain(&error));
                (None, Some(chain(&error)))
            }
        }
    }

    /// The drain rules of the grant that was accepted.
    pub(crate) fn rules(&self, lease: Option<&RebootLease>, now: Timestamp) -> DrainRules<'_> {
        let accepted = lease.map_or(0, RebootLease::accepted_fence);
        let grant = lease.and_then(|lease| lease.spec.grant.as_ref());
        let grant = grant.filter(|grant| grant.fence == accepted);
        DrainRules::of(grant, &self.reader.namespace, now)
    }

    fn note(&self, lease: &LeaseView, journal: &JournalView) {
        let lease = match lease {
            LeaseView::KindMissing { .. } => Some(
                "the API server does not know RebootLeases: the CRD rebootleases.slipway.dev is missing"
                    .to_owned(),
            ),
            LeaseView::Unreadable { reason } => {
                Some(format!("the RebootLease says what this version cannot read: {reason}"))
            }
            LeaseView::Missing | LeaseView::Present(_) => None,
        };
        self.health.note(health::LEASE, lease);
        let journal = match journal {
            JournalView::Readable(_) => None,
            JournalView::Unreadable { reason } => {
                Some(format!("the journal cannot be read: {reason}"))
            }
        };
        self.health.note(health::JOURNAL, journal);
    }

    fn remember_cordon(&mut self, facts: &Facts) {
        if let Mark::Ours(record) = &facts.node.mark
            && facts.node.unschedulable
        {
            self.memory.cordoned = Some(record.fence);
        }
    }

    /// Writes the condition; true when the Node has it afterwards. A failure stops nothing else.
    async fn report(&self, node: &Node) -> bool {
        let board = self.board.borrow().clone();
        let Some(condition) = report::change(node, &board, clock::wall()) else {
            return true;
        };
        let api: Api<Node> = Api::all(self.reader.client.clone());
        let patch = Patch::Strategic(report::patch(&condition));
        let parameters = writer();
        let call = api.patch_status(&self.reader.node_name, &parameters, &patch);
        match bounded("write the Node condition RebootRequired", call).await {
            Ok(_) => {
                tracing::info!(
                    status = condition.status,
                    said = condition.message,
                    "reported"
                );
                self.health.good(health::CONDITION);
                true
            }
            Err(error) => {
                self.health.bad(health::CONDITION, chain(&error));
                false
            }
        }
    }

    /// The report when the lease cannot be read: what the host asks for is worth knowing anyway.
    async fn report_alone(&self) {
        if let Ok(node) = self.reader.node().await {
            self.report(&node).await;
        }
    }

    fn log(&mut self, action: &Action) {
        if self.last.as_ref() != Some(action) {
            tracing::info!(?action, "decided");
            self.last = Some(action.clone());
        }
    }
}

/// What counts as a need of this host: what the policy said when it granted, else everything.
pub(crate) fn triggers(lease: Option<&RebootLease>) -> Triggers {
    let grant = lease.and_then(|lease| lease.spec.grant.as_ref());
    grant.map_or_else(Triggers::default, |grant| grant.triggers.clone())
}

/// Our writes carry our name: `managedFields` tells whose a cordon is.
pub(crate) fn writer() -> PatchParams {
    PatchParams {
        field_manager: Some(MANAGER_AGENT.to_owned()),
        ..PatchParams::default()
    }
}

/// Whether it matters that the machine may be going down.
fn asks_host(lease: Option<&RebootLease>, journal: &JournalView, boot_id: &str) -> bool {
    let called = match journal {
        JournalView::Readable(journal) => journal
            .call
            .as_ref()
            .is_some_and(|call| call.boot_id == boot_id),
        JournalView::Unreadable { .. } => false,
    };
    called || lease.is_some_and(|lease| wants_ledger(lease) || lease.phase() == Phase::Rebooting)
}

/// The way to reboot that the host has to be asked for: before the node is touched, and before the
/// call. In between, nothing depends on it.
fn wanted(lease: Option<&RebootLease>, node: &Node, journal: &JournalView) -> Option<RebootMethod> {
    let lease = lease?;
    let called = match journal {
        JournalView::Readable(journal) => journal.call.is_some(),
        JournalView::Unreadable { .. } => false,
    };
    let matters = match lease.phase() {
        Phase::Pending | Phase::Granted => lease.open_grant().is_some(),
        Phase::Draining => node_write::mark(node) == Mark::Absent,
        Phase::Drained => true,
        Phase::Rebooting => !called,
        Phase::Rebooted | Phase::Completed | Phase::Aborted | Phase::Failed => false,
    };
    let grant = lease.spec.grant.as_ref().filter(|_| matters)?;
    Some(grant.reboot.method.clone())
}

/// Accept and commit need the ledger, nothing else does.
fn wants_ledger(lease: &RebootLease) -> bool {
    let cleared = lease.spec.clear.as_ref().map_or(0, |clear| clear.fence);
    match lease.phase() {
        Phase::Pending | Phase::Granted => lease.open_grant().is_some(),
        Phase::Drained | Phase::Rebooting => cleared == lease.accepted_fence(),
        Phase::Draining | Phase::Rebooted | Phase::Completed | Phase::Aborted | Phase::Failed => {
            false
        }
    }
}
