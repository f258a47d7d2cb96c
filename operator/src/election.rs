//! Leadership: one replica at a time decides and writes.
//!
//! For efficiency only: two leaders at once are harmless, because every write is a compare-and-swap
//! on what it rests on. Owns the Lease `slipway-operator`; decides nothing about reboots. The core
//! ([`state`]) is pure; here is the talking. It has a client of its own, so that a busy operator
//! does not starve its renewals, and it shares the operator's thread, so that a stuck operator
//! loses the election.

pub mod state;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, Client};
use slipway_api::names;
use slipway_client::call::{CallError, bounded};
use slipway_client::{chain, clock};
use tokio::sync::watch;

use crate::observe::trouble::Trouble;
use crate::runtime::told;
use state::{Elector, LEASE_DURATION, RETRY_PERIOD, Record, Step};

/// Name of the Lease.
pub const LEASE_NAME: &str = "slipway-operator";
/// How long one look, read and write together, may take: two fit the deadline.
const ATTEMPT_LIMIT: Duration = Duration::from_secs(4);
/// How long the release at the end may take.
const RELEASE_LIMIT: Duration = Duration::from_secs(3);

/// The present standing, for everybody who writes.
#[derive(Clone, Debug)]
pub struct Leadership {
    valid_until_ms: Arc<AtomicU64>,
    trouble: Arc<Mutex<Option<Trouble>>>,
    acquired: watch::Receiver<bool>,
}

impl Leadership {
    /// True while this replica may act, by the clock that counts suspension too: a machine that
    /// slept wakes up as no leader (faults.md F18).
    pub fn holds(&self) -> bool {
        let until = Duration::from_millis(self.valid_until_ms.load(Ordering::Acquire));
        clock::boottime() < until
    }

    /// Waits until this replica is elected; false when the election has ended.
    pub async fn acquired(&mut self) -> bool {
        self.acquired.wait_for(|acquired| *acquired).await.is_ok()
    }

    /// Why the election cannot be held, if it cannot.
    pub fn trouble(&self) -> Option<Trouble> {
        self.trouble
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

/// Takes part in the election.
pub struct Candidate {
    api: Api<Lease>,
    elector: Elector,
    valid_until_ms: Arc<AtomicU64>,
    trouble: Arc<Mutex<Option<Trouble>>>,
    acquired: watch::Sender<bool>,
    version: Option<String>,
}

/// A candidate, and what others see of it.
pub fn candidate(client: Client, namespace: &str, identity: String) -> (Candidate, Leadership) {
    let (acquired, receiver) = watch::channel(false);
    let valid_until_ms = Arc::new(AtomicU64::new(0));
    let trouble = Arc::new(Mutex::new(None));
    let leadership = Leadership {
        valid_until_ms: Arc::clone(&valid_until_ms),
        trouble: Arc::clone(&trouble),
        acquired: receiver,
    };
    let candidate = Candidate {
        api: Api::namespaced(client, namespace),
        elector: Elector::new(identity),
        valid_until_ms,
        trouble,
        acquired,
        version: None,
    };
    (candidate, leadership)
}

impl Candidate {
    /// Takes part until leadership, once gained, is lost, or until `stop`; then gives it back.
    /// True when it ended because it was asked to.
    pub async fn run(mut self, mut stop: watch::Receiver<bool>) -> bool {
        let asked = loop {
            if !self.attempt().await {
                break false;
            }
            let pause = tokio::time::sleep(self.within_deadline(jittered(RETRY_PERIOD)));
            tokio::select! {
                biased;
                () = told(&mut stop) => break true,
                () = pause => {}
            }
        };
        self.release().await;
        asked
    }

    /// One look. False when leadership is lost.
    async fn attempt(&mut self) -> bool {
        let limit = self.within_deadline(ATTEMPT_LIMIT);
        let lost = match tokio::time::timeout(limit, self.look()).await {
            Ok(Ok(step)) => {
                self.note(None);
                step == Step::Lost
            }
            Ok(Err(error)) => {
                // A conflict is somebody else's success.
                self.note((!error.is_conflict()).then(|| Trouble::of_call(&error)));
                false
            }
            Err(_) => {
                self.note(Some(Trouble::silent("take part in the election")));
                false
            }
        };
        let until = self.elector.valid_until().unwrap_or_default();
        let until_ms = u64::try_from(until.as_millis()).unwrap_or(u64::MAX);
        self.valid_until_ms.store(until_ms, Ordering::Release);
        if lost || self.elector.has_expired(clock::boottime()) {
            tracing::warn!(identity = self.elector.identity(), "leadership is lost");
            self.valid_until_ms.store(0, Ordering::Release);
            return false;
        }
        if until > Duration::ZERO && !self.acquired.send_replace(true) {
            tracing::info!(identity = self.elector.identity(), "this replica leads");
        }
        true
    }

    /// At most until our leadership runs out, so that its end is noticed when it comes.
    fn within_deadline(&self, time: Duration) -> Duration {
        let left = |until: Duration| until.saturating_sub(clock::boottime());
        self.elector
            .valid_until()
            .map_or(time, |until| time.min(left(until)))
    }

    async fn look(&mut self) -> Result<Step, CallError> {
        let read = bounded("read the election's Lease", self.api.get_opt(LEASE_NAME)).await?;
        self.version = read
            .as_ref()
            .and_then(|lease| lease.metadata.resource_version.clone());
        let step = self
            .elector
            .step(read.as_ref().map(record).as_ref(), clock::boottime());
        match step {
            Step::Wait | Step::Lost => {}
            Step::Create | Step::Take | Step::Renew => self.write(read.as_ref(), step).await?,
        }
        Ok(step)
    }

    async fn write(&mut self, read: Option<&Lease>, step: Step) -> Result<(), CallError> {
        let now = clock::wall();
        let lease = claim(read, self.elector.identity(), step, now);
        self.elector.sending(mark(&lease), clock::boottime());
        let what = "write the election's Lease";
        let params = PostParams::default();
        let answer = if read.is_none() {
            bounded(what, self.api.create(&params, &lease)).await
        } else {
            bounded(what, self.api.replace(LEASE_NAME, &params, &lease)).await
        };
        match answer {
            Ok(written) => {
                self.version = written.metadata.resource_version;
                self.elector.landed();
                Ok(())
            }
            Err(error) => {
                if !error.may_have_landed() {
                    self.elector.refused();
                }
                Err(error)
            }
        }
    }

    /// Gives leadership back, so that another replica takes over at once.
    async fn release(&mut self) {
        self.valid_until_ms.store(0, Ordering::Release);
        if self.elector.valid_until().is_none() {
            return;
        }
        let release = async {
            let read = self.api.get_opt(LEASE_NAME).await?;
            let Some(mut lease) = read else { return Ok(()) };
            if lease.metadata.resource_version != self.version {
                // Somebody else has written it since: nothing of ours to give back.
                return Ok(());
            }
            if let Some(spec) = lease.spec.as_mut() {
                spec.holder_identity = Some(String::new());
                spec.lease_duration_seconds = Some(1);
            }
            self.api
                .replace(LEASE_NAME, &PostParams::default(), &lease)
                .await
                .map(drop)
        };
        let what = "give leadership back";
        match tokio::time::timeout(RELEASE_LIMIT, bounded(what, release)).await {
            Ok(Ok(())) => tracing::info!("leadership is given back"),
            Ok(Err(error)) => tracing::warn!(error = %chain(&error), "leadership runs out instead"),
            Err(_) => tracing::warn!("leadership runs out instead: no answer to its release"),
        }
    }

    fn note(&self, trouble: Option<Trouble>) {
        let mut noted = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        if noted.as_ref().map(|trouble| trouble.kind) != trouble.as_ref().map(|new| new.kind) {
            if let Some(trouble) = &trouble {
                tracing::warn!(%trouble, "the election cannot be held");
            } else {
                tracing::info!("the election can be held again");
            }
        }
        *noted = trouble;
    }
}

fn record(lease: &Lease) -> Record {
    let spec = lease.spec.clone().unwrap_or_default();
    let seconds = spec
        .lease_duration_seconds
        .and_then(|seconds| u64::try_from(seconds).ok());
    Record {
        holder: spec.holder_identity.unwrap_or_default(),
        renewed: mark(lease),
        version: lease.metadata.resource_version.clone().unwrap_or_default(),
        duration: Duration::from_secs(seconds.unwrap_or_default()),
    }
}

/// The renewTime in the one spelling that the API server keeps.
fn mark(lease: &Lease) -> String {
    let renewed = lease
        .spec
        .as_ref()
        .and_then(|spec| spec.renew_time.as_ref());
    renewed
        .map(|time| time.0.as_microsecond().to_string())
        .unwrap_or_default()
}

/// The Lease with us as its holder. It keeps the resourceVersion that was read: a replacement that
/// lost the race is refused.
fn claim(read: Option<&Lease>, identity: &str, step: Step, now: Timestamp) -> Lease {
    let mut lease = read.cloned().unwrap_or_else(|| Lease {
        metadata: ObjectMeta {
            name: Some(LEASE_NAME.to_owned()),
            ..ObjectMeta::default()
        },
        spec: None,
    });
    lease.metadata.managed_fields = None;
    let labels = lease.metadata.labels.get_or_insert_default();
    labels.insert(names::LABEL_NAME.to_owned(), names::APP_NAME.to_owned());
    let before = lease.spec.take().unwrap_or_default();
    let taken = step != Step::Renew;
    let count = before.lease_transitions.unwrap_or_default();
    lease.spec = Some(LeaseSpec {
        holder_identity: Some(identity.to_owned()),
        lease_duration_seconds: i32::try_from(LEASE_DURATION.as_secs()).ok(),
        acquire_time: if taken {
            Some(MicroTime(now))
        } else {
            before.acquire_time
        },
        renew_time: Some(MicroTime(now)),
        lease_transitions: Some(if taken {
            count.saturating_add(1)
        } else {
            count
        }),
        ..before
    });
    lease
}

/// Up to a fifth longer, so that replicas that started together do not ask together.
fn jittered(period: Duration) -> Duration {
    period + period * (clock::boottime().subsec_nanos() % 1000) / 5000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claim_keeps_the_version_that_was_read_and_counts_a_new_holder() {
        let now: Timestamp = "2026-11-24T12:00:00.123456Z".parse().unwrap();
        let read: Lease = serde_json::from_value(serde_json::json!({
            "metadata": {"name": LEASE_NAME, "resourceVersion": "7"},
            "spec": {"holderIdentity": "other", "leaseTransitions": 3},
        }))
        .unwrap();
        let taken = claim(Some(&read), "me", Step::Take, now);
        assert_eq!(taken.metadata.resource_version.as_deref(), Some("7"));
        let spec = taken.spec.clone().unwrap();
        assert_eq!(
            (spec.holder_identity.as_deref(), spec.lease_transitions),
            (Some("me"), Some(4))
        );
        let renewed = claim(Some(&taken), "me", Step::Renew, now).spec.unwrap();
        assert_eq!(renewed.lease_transitions, Some(4));
    }

    #[test]
    fn a_mark_survives_the_api_servers_spelling() {
        let now: Timestamp = "2026-11-24T12:00:00.123456789Z".parse().unwrap();
        let claimed = claim(None, "me", Step::Create, now);
        let text = serde_json::to_string(&claimed).unwrap();
        let read: Lease = serde_json::from_str(&text).unwrap();
        assert_eq!(record(&read).renewed, mark(&claimed));
    }
}
