//! Carries out one decision.
//!
//! Every write carries the resourceVersion of what the decision was made from, so each of them
//! fails when that is no longer true. A failed write is never repeated as it is: the next pass
//! reads and decides anew.

use std::time::Duration;

use jiff::SignedDuration;
use k8s_openapi::api::core::v1::Node;
use kube::Api;
use kube::api::Patch;
use serde_json::Value;
use slipway_api::boot::Boot;
use slipway_api::checks::CheckStatus;
use slipway_api::{Phase, RebootLease};
use slipway_client::{bounded, chain, clock};

use crate::admission;
use crate::decide::{Action, Why};
use crate::error::PassError;
use crate::evict;
use crate::facts::{JournalView, LeaseView, Outcome};
use crate::host::Offer;
use crate::pass::{Agent, Observed, triggers, writer};
use crate::rest::{self, Rest};
use crate::{lease_write, node_write, reason};

/// At once: the next decision follows from what was just written.
pub(crate) const AGAIN: Duration = Duration::ZERO;

impl Agent {
    pub(crate) async fn act(
        &mut self,
        action: Action,
        observed: &Observed,
    ) -> Result<Duration, PassError> {
        if let Action::Undo { fence } = action {
            self.undo(observed, fence).await?;
            return Ok(AGAIN);
        }
        if let Action::Wait { why, within } = action {
            self.show_waiting(why, observed).await?;
            return Ok(self.tell_aside(within, observed).await);
        }
        // Every other action is decided from a lease that is there.
        let Some(lease) = observed.lease() else {
            return Ok(evict::ROUND);
        };
        let now = clock::wall();
        match action {
            Action::Accept { .. } => self.accept(lease, observed).await?,
            Action::ReportJournal { committed } => {
                self.write_lease(lease_write::journal(lease, committed))
                    .await?;
            }
            Action::Cordon { fence } => {
                if let Some(patch) = node_write::cordon(&observed.node, fence) {
                    self.write_node("cordon the Node", patch).await?;
                    self.memory.cordoned = Some(fence);
                }
            }
            Action::Preflight { fence } => return self.preflight(lease, fence, observed).await,
            Action::Evict { fence } => return self.evict(lease, fence, observed).await,
            Action::MarkDrained { fence } => {
                let before = lease
                    .status
                    .as_ref()
                    .and_then(|status| status.drain.as_ref());
                let told = self.memory.drain(fence).told(&observed.pods, before);
                let patch = lease_write::drained(lease, &told.progress, now);
                self.write_lease(patch).await?;
            }
            Action::Commit { fence } => return self.commit(lease, fence, observed).await,
            Action::MarkCalled { .. } => {
                self.write_lease(lease_write::called(lease)).await?;
            }
            Action::Retire { fence, outcome } => {
                self.retire(lease, fence, outcome, observed).await?;
            }
            Action::MarkRebooted { .. } => {
                let boot_id = &observed.facts.host.boot_id;
                let patch = lease_write::rebooted(lease, boot_id, now);
                self.write_lease(lease_write::with_checks(patch, self.news_of_checks(lease)))
                    .await?;
            }
            Action::Undo { .. } | Action::Wait { .. } => {}
        }
        Ok(AGAIN)
    }

    async fn accept(&self, lease: &RebootLease, observed: &Observed) -> Result<(), PassError> {
        let JournalView::Readable(journal) = &observed.facts.journal else {
            return Ok(());
        };
        if self.reader.proves_admission {
            let found = admission::problem(&self.reader, &observed.node, Some(lease)).await;
            if let Some(problem) = found.map_err(PassError::api)? {
                return Err(PassError::Admission { problem });
            }
        }
        // A disk that takes no commit is found out before the node is drained, not after.
        self.note_in_journal(journal)?;
        let (boot_id, offer) = (&observed.facts.host.boot_id, &observed.facts.host.offer);
        let patch = lease_write::accept(lease, boot_id, offer, journal.committed, clock::wall());
        let patch = lease_write::with_checks(patch, self.news_of_checks(lease));
        self.write_lease(patch).await
    }

    async fn retire(
        &mut self,
        lease: &RebootLease,
        fence: i64,
        outcome: Outcome,
        observed: &Observed,
    ) -> Result<(), PassError> {
        // Remembered before the undo: the lease may refuse the ending that follows it.
        self.memory.outcome = Some((fence, outcome.clone()));
        self.undo(observed, fence).await?;
        let patch = lease_write::retired(lease, &outcome, clock::wall());
        self.write_lease(patch).await
    }

    async fn undo(&self, observed: &Observed, fence: i64) -> Result<(), PassError> {
        match node_write::undo(&observed.node, fence) {
            Some(patch) => self.write_node("undo our cordon of the Node", patch).await,
            None => Ok(()),
        }
    }

    /// Says in the lease what only the agent knows to be in the way.
    async fn show_waiting(&self, why: Why, observed: &Observed) -> Result<(), PassError> {
        let Some(lease) = observed.lease() else {
            return Ok(());
        };
        let uncommitted = matches!(lease.phase(), Phase::Draining | Phase::Drained);
        let (why, message) = match (why, &observed.pods_problem) {
            (Why::Unread, Some(problem)) if uncommitted => (
                reason::PODS_BLOCKED,
                format!("the pods of the node cannot be listed: {problem}"),
            ),
            (Why::ClockSkew, _) if uncommitted => (
                reason::CLOCK_SKEW,
                "the clocks of the node and of the API server differ by more than 60s".to_owned(),
            ),
            (Why::Inhibited, _) if uncommitted => match &observed.facts.host.offer {
                Offer::Inhibited { by, .. } => (
                    reason::INHIBITED,
                    format!(
                        "the host's locks block a shutdown: {}; the reboot waits for them, as long as reboot.timeout",
                        by.join(", ")
                    ),
                ),
                _ => return Ok(()),
            },
            (Why::HostNotReady, _) if uncommitted => match observed.facts.host.offer.problem() {
                Some(problem) => (
                    reason::METHOD_UNAVAILABLE,
                    format!("the host does not say whether it can be rebooted: {problem}"),
                ),
                None => return Ok(()),
            },
            _ => return Ok(()),
        };
        self.say_waiting(lease, why, &message).await
    }

    /// Tells what is worth knowing while nothing is under way. Returns how long to rest. A failure
    /// stops nothing: it is tried again before long.
    async fn tell_aside(&self, within: Duration, observed: &Observed) -> Duration {
        let soon = within.min(rest::REST);
        if let Err(error) = self.tell_boot(observed).await {
            tracing::debug!(error = %chain(&error), "the boot is reported later");
            return soon;
        }
        match self.tell_checks(within, observed).await {
            Ok(rest) => rest,
            Err(error) => {
                tracing::debug!(error = %chain(&error), "the checks are told later");
                soon
            }
        }
    }

    /// Reports the boot on the Node, in no reboot's way.
    async fn tell_boot(&self, observed: &Observed) -> Result<(), PassError> {
        let facts = &observed.facts;
        // Once the machine is back, at once: a watch that is late would put it off until all is at rest.
        let under_way = observed.lease().is_some_and(|lease| {
            matches!(
                lease.phase(),
                Phase::Draining | Phase::Drained | Phase::Rebooting
            )
        });
        // Without a lease's answer there is no clock of the API server, and nobody to read it.
        if under_way || matches!(facts.lease, LeaseView::KindMissing { .. }) {
            return Ok(());
        }
        let up = SignedDuration::try_from(facts.clocks.boottime).unwrap_or_default();
        let Ok(at) = facts.clocks.api.checked_sub(up) else {
            return Ok(());
        };
        let boot = Boot::new(&facts.host.boot_id, at);
        match node_write::boot(&observed.node, &boot) {
            Some(patch) => self.write_node("report the boot on the Node", patch).await,
            None => Ok(()),
        }
    }

    /// What the checks say, if the lease says something else.
    fn news_of_checks(&self, lease: &RebootLease) -> Option<Vec<CheckStatus>> {
        let told = lease.status.as_ref().map(|status| status.checks.as_slice());
        let board = self.board.borrow().with_missing(&triggers(Some(lease)));
        board.statuses(told.unwrap_or_default(), clock::wall())
    }

    /// Says in a lease at rest what the checks say. Returns how long to rest.
    async fn tell_checks(
        &self,
        within: Duration,
        observed: &Observed,
    ) -> Result<Duration, PassError> {
        let news = observed.lease().and_then(|lease| {
            let news = self.news_of_checks(lease)?;
            Some((lease, news))
        });
        let Some((lease, news)) = news else {
            return Ok(within);
        };
        match rest::at_rest(lease, observed.facts.clocks.api) {
            Some(Rest::Long) => {
                self.write_lease(lease_write::checks(lease, &news)).await?;
                Ok(within)
            }
            Some(Rest::Short) => Ok(within.min(rest::REST)),
            None => Ok(within),
        }
    }

    /// Writes why it waits, unless the lease says so already.
    pub(crate) async fn say_waiting(
        &self,
        lease: &RebootLease,
        why: &str,
        message: &str,
    ) -> Result<(), PassError> {
        let said = lease.status.as_ref().is_some_and(|status| {
            let cut: String = message
                .chars()
                .take(status.message.chars().count())
                .collect();
            status.reason == why && !cut.is_empty() && status.message == cut
        });
        if said {
            return Ok(());
        }
        self.write_lease(lease_write::waits(lease, why, message))
            .await
    }

    pub(crate) async fn write_lease(&self, patch: Value) -> Result<(), PassError> {
        let api: Api<RebootLease> = Api::all(self.reader.client.clone());
        let (parameters, patch) = (writer(), Patch::Merge(patch));
        let call = api.patch_status(&self.reader.node_name, &parameters, &patch);
        let answer = bounded("write the status of the RebootLease", call).await;
        answer.map(drop).map_err(PassError::api)
    }

    async fn write_node(&self, what: &str, patch: Value) -> Result<(), PassError> {
        let api: Api<Node> = Api::all(self.reader.client.clone());
        let (parameters, patch) = (writer(), Patch::Merge(patch));
        let call = api.patch(&self.reader.node_name, &parameters, &patch);
        let answer = bounded(what, call).await;
        answer.map(drop).map_err(PassError::api)
    }

    pub(crate) fn note_in_journal(
        &self,
        journal: &crate::journal::Journal,
    ) -> Result<(), PassError> {
        let failed = |source| PassError::Journal { source };
        self.store.write(journal).map_err(failed)
    }
}
