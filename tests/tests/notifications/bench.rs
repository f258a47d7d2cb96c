//! The notifier by itself, with the Secrets and the policy of an in-memory API server.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::Api;
use kube::api::{Patch, PatchParams, PostParams};
use serde_json::{Value, json};
use slipway_api::policy::NotificationStatus;
use slipway_api::{RebootLease, RebootPolicy, RebootPolicyStatus, names};
use slipway_client::clock;
use slipway_lab::fake_api::FakeApi;
use slipway_lab::secrets::make_secret;
use slipway_lab::wait::wait_until;
use slipway_operator::metrics::Metrics;
use slipway_operator::notify::{Dispatcher, Notifier, Services};
use slipway_planner::{Snapshot, objects};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

/// Within this something that nobody holds up has happened.
pub(crate) const BOUND: Duration = Duration::from_mins(1);

/// An in-memory API server with one policy, and what has happened.
pub(crate) struct Bench {
    pub(crate) api: FakeApi,
    leases: BTreeMap<String, RebootLease>,
}

/// An operator's notifier; several may be at work on one bench.
pub(crate) struct Operator {
    pub(crate) notifier: Notifier,
    pub(crate) metrics: Metrics,
    leads: Arc<AtomicBool>,
    task: JoinHandle<()>,
}

impl Drop for Operator {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Operator {
    /// Stops at once, as `kill -9` does.
    pub(crate) fn kill(self) {
        self.leads.store(false, Ordering::Relaxed);
    }
}

impl Bench {
    /// A policy with these notifications, written as YAML.
    pub(crate) async fn start(notifications: &str) -> Result<Self> {
        slipway_client::install_crypto_provider();
        let api = FakeApi::new(Arc::new(clock::wall), 1);
        let policy: RebootPolicy = serde_yaml::from_str(&format!(
            "{{apiVersion: slipway.dev/v1alpha1, kind: RebootPolicy, metadata: {{name: workers}}, \
             spec: {{nodeSelector: {{}}, notifications: {notifications}}}}}"
        ))?;
        let policies: Api<RebootPolicy> = Api::all(api.client("admin"));
        policies.create(&PostParams::default(), &policy).await?;
        Ok(Self {
            api,
            leases: BTreeMap::new(),
        })
    }

    /// An operator that leads.
    pub(crate) fn operator(&self, services: Services) -> Operator {
        let metrics = Metrics::new(false).unwrap();
        let notifier = Notifier::new(metrics.clone());
        let leads = Arc::new(AtomicBool::new(true));
        let client = (self.api.client("slipway-operator"), names::NAMESPACE);
        let asked = Arc::clone(&leads);
        let dispatcher = Dispatcher::new(notifier.clone(), client, services, move || {
            asked.load(Ordering::Relaxed)
        });
        let task = tokio::spawn(dispatcher.run(Arc::new(Notify::new())));
        Operator {
            notifier,
            metrics,
            leads,
            task,
        }
    }

    /// Makes a Secret in the operator's namespace.
    pub(crate) async fn secret(&self, name: &str, entries: &[(&str, &str)]) -> Result<()> {
        make_secret(self.api.client("admin"), name, entries).await
    }

    /// Replaces the policy's notifications.
    pub(crate) async fn edit(&self, notifications: &Value) -> Result<()> {
        let policies: Api<RebootPolicy> = Api::all(self.api.client("admin"));
        let patch = Patch::Merge(json!({"spec": {"notifications": notifications}}));
        let params = PatchParams::default();
        policies.patch("workers", &params, &patch).await?;
        Ok(())
    }

    /// The reboot of a node has come through these phases, just now.
    pub(crate) async fn happens(&mut self, node: &str, fence: i64, phases: &[&str]) -> Result<()> {
        let policy = self.policy().await?;
        let now = clock::wall();
        let steps: Vec<Value> = phases
            .iter()
            .map(|phase| json!({"phase": phase, "at": format!("{now:.6}")}))
            .collect();
        let lease = serde_json::from_value(json!({
            "apiVersion": "slipway.dev/v1alpha1", "kind": "RebootLease",
            "metadata": {"name": node, "uid": "l"},
            "spec": {"nodeUID": "u", "requestedAt": "2026-11-24T11:00:00Z",
                "policy": {"name": "workers", "uid": policy.metadata.uid}},
            "status": {"phase": phases.last(), "fence": fence, "reason": "Because",
                "message": "of that", "transitions": steps},
        }))?;
        self.leases.insert(node.to_owned(), lease);
        Ok(())
    }

    /// A pass of the operator hands over what it sees.
    pub(crate) async fn pass(&self, operator: &Operator) -> Result<()> {
        let snapshot = Snapshot {
            policies: vec![objects::policy_view(&self.policy().await?)],
            leases: self.leases.clone(),
            ..Snapshot::default()
        };
        operator.notifier.offer(&snapshot, clock::wall());
        Ok(())
    }

    pub(crate) async fn policy(&self) -> Result<RebootPolicy> {
        let policies: Api<RebootPolicy> = Api::all(self.api.client("admin"));
        Ok(policies.get("workers").await?)
    }

    /// How the deliveries stand, as people see it.
    pub(crate) async fn stand(&self) -> Result<Vec<NotificationStatus>> {
        let status = self.policy().await?.status.unwrap_or_default();
        Ok(status.notifications)
    }

    /// Waits until the status of the notification of a Secret is as wanted.
    pub(crate) async fn wait_stand(
        &self,
        secret: &str,
        what: &str,
        is_it: impl Fn(&NotificationStatus) -> bool,
    ) -> Result<NotificationStatus> {
        wait_until(&format!("{secret}: {what}"), BOUND, || async {
            let all = self.stand().await?;
            let found = all.into_iter().find(|one| one.secret == secret);
            let found = found.context("it has no status")?;
            ensure!(is_it(&found), "it is {found:?}");
            Ok(Some(found))
        })
        .await
    }

    /// Waits for the condition that an operator would report.
    pub(crate) async fn wait_condition(
        &self,
        operator: &Operator,
        reason: &str,
    ) -> Result<Condition> {
        wait_until(
            &format!("the condition Notified={reason}"),
            BOUND,
            || async {
                let view = objects::policy_view(&self.policy().await?);
                let mut status = RebootPolicyStatus::default();
                operator.notifier.add(&view, &mut status, clock::wall());
                let condition = status.conditions.pop().context("there is none")?;
                ensure!(condition.reason == reason, "it is {condition:?}");
                Ok(Some(condition))
            },
        )
        .await
    }

    /// Waits until everything that was to be told so far is noted.
    pub(crate) async fn wait_told(&self, secret: &str, count: usize) -> Result<NotificationStatus> {
        self.wait_stand(secret, &format!("{count} told"), |one| {
            one.told.iter().map(|told| told.events.len()).sum::<usize>() == count
        })
        .await
    }
}

/// A moment of today, for what must be later than something else.
pub(crate) fn now() -> Timestamp {
    clock::wall()
}
