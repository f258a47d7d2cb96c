//! The commit point: from here on the reboot happens, or is proved not to have.
//!
//! Owns the order journal -> lease -> call, each on the disk or acknowledged before the next. The
//! facts were read in this very pass, at quorum, and [`crate::decide`] has found all of G5 in them.

use std::time::Duration;

use jiff::Timestamp;
use slipway_api::RebootLease;
use slipway_api::policy::RebootMethod;
use slipway_client::{CallError, chain, clock};

use crate::act::AGAIN;
use crate::error::PassError;
use crate::facts::JournalView;
use crate::host::{Offer, RebootError};
use crate::journal::Journal;
use crate::lease_write;
use crate::pass::{Agent, Observed, triggers};

/// How old the list of pods may be at the commit (S2).
const PODS_FRESH: Duration = Duration::from_secs(5);
/// How long after the first read of the pass the call may still begin. It must be *made* within
/// 60 s; finding the bus may take some of them.
const CALL_WITHIN: Duration = Duration::from_secs(45);
/// Longest that the machine may take to answer the call.
const CALL_LIMIT: Duration = Duration::from_secs(30);
/// Rest when a fact changed in the last moment.
const RECONSIDER: Duration = Duration::from_secs(1);

impl Agent {
    pub(crate) async fn commit(
        &mut self,
        lease: &RebootLease,
        fence: i64,
        observed: &Observed,
    ) -> Result<Duration, PassError> {
        let JournalView::Readable(journal) = &observed.facts.journal else {
            return Ok(RECONSIDER);
        };
        if !self.still_required(lease).await {
            return Ok(RECONSIDER);
        }
        let (boot_id, uid) = (&observed.facts.host.boot_id, &observed.facts.node.uid);
        let noted = journal.with_commit(fence, boot_id, uid);
        self.note_in_journal(&noted)?;
        if since(observed.pods_read) > PODS_FRESH {
            return Ok(AGAIN);
        }
        let offer = &observed.facts.host.offer;
        let Some(method) = offer.method() else {
            return Ok(RECONSIDER);
        };
        if !self.write_commit(lease, fence, offer).await? {
            return Ok(AGAIN);
        }
        tracing::info!(fence, %method, "committed");
        self.call(method, observed.begun, &noted).await?;
        Ok(AGAIN)
    }

    /// What is settled may be a minute old: the host itself is asked once more.
    async fn still_required(&self, lease: &RebootLease) -> bool {
        let triggers = triggers(Some(lease));
        let old = triggers.max_uptime;
        if lease.manual().is_some() || old.is_some_and(|most| clock::boottime() >= most.0) {
            return true;
        }
        let board = self.board.borrow().clone();
        self.checks.still_required(&board, &triggers).await
    }

    /// True when the lease is known to say Rebooting by this very write.
    async fn write_commit(
        &self,
        lease: &RebootLease,
        fence: i64,
        offer: &Offer,
    ) -> Result<bool, PassError> {
        let now = clock::wall();
        // As precise as the API server keeps it, so that the write can be recognised.
        let at = Timestamp::from_microsecond(now.as_microsecond()).unwrap_or(now);
        let written = self
            .write_lease(lease_write::committed(lease, offer, at))
            .await;
        let error = match written {
            Ok(()) => return Ok(true),
            Err(PassError::Api { source }) if source.may_have_landed() => source,
            Err(error) => return Err(error),
        };
        self.read_back(fence, at, &error).await
    }

    async fn read_back(
        &self,
        fence: i64,
        at: Timestamp,
        error: &CallError,
    ) -> Result<bool, PassError> {
        tracing::warn!(fence, error = %chain(error), "the answer to the commit was lost; reading back");
        let read = self.reader.lease().await.map_err(PassError::api)?;
        Ok(match read.lease {
            Some(Ok(lease)) => lease_write::landed(&lease, fence, at),
            Some(Err(_)) | None => false,
        })
    }

    async fn call(
        &self,
        method: &RebootMethod,
        begun: Duration,
        noted: &Journal,
    ) -> Result<(), PassError> {
        let fence = noted.committed;
        // Noted before it is made: a crash in between must not hide a reboot that is coming.
        let called = noted.with_call(clock::boottime());
        self.note_in_journal(&called)?;
        // Asked last: the disk, or a machine that was suspended, may have taken its time.
        if since(begun) > CALL_WITHIN {
            tracing::warn!(fence, "no reboot call: too long since the facts were read");
            return self.note_in_journal(noted);
        }
        tracing::info!(fence, %method, "calling the reboot");
        match tokio::time::timeout(CALL_LIMIT, self.host.reboot(method)).await {
            Ok(Ok(())) => {
                tracing::info!(fence, "the machine has accepted the reboot");
                self.note_in_journal(&called.with_answer(&format!("{method}: accepted")))?;
            }
            Ok(Err(error @ RebootError::Failed { .. })) => {
                tracing::warn!(fence, %error, "the reboot may still happen");
                self.note_in_journal(&called.with_answer(&format!("{method}: {error}")))?;
            }
            Ok(Err(error @ RebootError::Refused { .. })) => {
                tracing::warn!(fence, %error, "no reboot");
                let refused = called.with_refusal(&error.to_string(), clock::boottime());
                self.note_in_journal(&refused)?;
            }
            Ok(Err(error @ RebootError::Unclear { .. })) => {
                tracing::warn!(fence, %error, "the reboot may still happen");
            }
            Err(_) => tracing::warn!(fence, "no answer to the reboot call; it may still happen"),
        }
        Ok(())
    }
}

fn since(boottime: Duration) -> Duration {
    clock::boottime().saturating_sub(boottime)
}

#[cfg(test)]
mod tests;
