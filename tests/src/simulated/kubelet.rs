//! A simulated kubelet's work on pods: it watches those bound to its node, starts our programs for
//! the pods that are ours, pretends to run all others, and removes pods that are to go.
//!
//! While its machine is off it says nothing. [`super::node_status`] reports the node itself.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use futures::TryStreamExt;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{DeleteParams, Patch, PatchParams, Preconditions};
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Client, ResourceExt};
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::launch::Programs;
use super::machine::{Machine, Power};
use super::pods::{self, Kind, PodReport};
use super::{launch, probe, retry::Steady};
use crate::control_plane::PodCredentials;

/// How often pods are looked at when nothing happens.
const TICK: Duration = Duration::from_millis(50);
/// How long one call may take.
pub(super) const CALL_BOUND: Duration = Duration::from_secs(5);
/// How long a pretended container takes to start.
const START: Duration = Duration::from_millis(300);
/// How long a pretended container takes to end, if its grace period is not shorter.
const STOP: Duration = Duration::from_millis(300);
/// Tokens are valid for an hour.
const TOKEN_REFRESH: Duration = Duration::from_mins(20);
/// A pod's own grace period where it names none.
const GRACE: i64 = 30;

/// A pod bound to the node.
struct Bound {
    pod: Pod,
    /// When it was first seen, or its machine last booted.
    since: Instant,
    /// Which boot of the machine that was.
    boot: usize,
    /// Boots of the machine that this pod has lived through.
    restarts: u32,
    terminating: Option<Instant>,
    token_at: Option<Instant>,
}

/// The kubelet of one machine.
pub(super) struct Kubelet {
    pub(super) machine: Arc<Machine>,
    pub(super) client: Client,
    pub(super) credentials: PodCredentials,
    pub(super) programs: Programs,
    /// The node's address.
    pub(super) address: String,
    /// What the addresses of its pods begin with.
    pub(super) pod_network: String,
    pods: BTreeMap<String, Bound>,
    listing: Option<BTreeMap<String, Pod>>,
    next_address: u32,
}

impl Kubelet {
    pub(super) fn new(
        machine: Arc<Machine>,
        client: Client,
        credentials: PodCredentials,
        programs: Programs,
        number: usize,
    ) -> Self {
        Self {
            machine,
            client,
            credentials,
            programs,
            address: super::node_status::address(number),
            pod_network: format!("10.244.{number}"),
            pods: BTreeMap::new(),
            listing: None,
            next_address: 1,
        }
    }

    /// Works until the task is aborted.
    pub(super) async fn run(mut self) {
        let api: Api<Pod> = Api::all(self.client.clone());
        let config = watcher::Config::default()
            .fields(&format!("spec.nodeName={}", self.machine.name()))
            .timeout(60);
        let mut events = pin!(kube::runtime::WatchStreamExt::backoff(
            watcher(api, config),
            Steady
        ));
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                event = events.try_next() => match event {
                    Ok(Some(event)) => self.take(event),
                    Ok(None) => return,
                    Err(error) => tracing::debug!("{}: pods: {error}", self.machine.name()),
                },
                _ = ticks.tick() => {}
            }
            self.look_after_all().await;
        }
    }

    fn take(&mut self, event: Event<Pod>) {
        match event {
            Event::Init => self.listing = Some(BTreeMap::new()),
            Event::InitApply(pod) => {
                if let (Some(listing), Some(uid)) = (&mut self.listing, pod.uid()) {
                    listing.insert(uid, pod);
                }
            }
            Event::InitDone => {
                let listing = self.listing.take().unwrap_or_default();
                self.pods.retain(|uid, _| listing.contains_key(uid));
                for pod in listing.into_values() {
                    self.bind(pod);
                }
            }
            Event::Apply(pod) => self.bind(pod),
            Event::Delete(pod) => {
                self.pods.remove(&pod.uid().unwrap_or_default());
            }
        }
    }

    fn bind(&mut self, pod: Pod) {
        let now = Instant::now();
        let boot = self.machine.boot_count();
        let terminating = pod.metadata.deletion_timestamp.is_some().then_some(now);
        let uid = pod.uid().unwrap_or_default();
        if let Some(bound) = self.pods.get_mut(&uid) {
            bound.pod = pod;
            bound.terminating = bound.terminating.or(terminating);
            return;
        }
        let bound = Bound {
            pod,
            since: now,
            boot,
            restarts: 0,
            terminating,
            token_at: None,
        };
        self.pods.insert(uid, bound);
    }

    async fn look_after_all(&mut self) {
        if self.machine.power() != Power::On {
            return;
        }
        // Deleted without grace, or by somebody who did not wait for us.
        if self.listing.is_none() {
            for uid in self.machine.program_uids() {
                if !self.pods.contains_key(&uid) {
                    self.machine.remove_program(&uid);
                }
            }
        }
        let uids: Vec<String> = self.pods.keys().cloned().collect();
        for uid in uids {
            if let Err(error) = self.look_after(&uid).await {
                tracing::debug!("{}: {error:#}", self.machine.name());
            }
        }
    }

    async fn look_after(&mut self, uid: &str) -> Result<()> {
        let boots = self.machine.boot_count();
        let Some(bound) = self.pods.get_mut(uid) else {
            return Ok(());
        };
        if bound.boot != boots {
            bound.boot = boots;
            bound.since = Instant::now();
            bound.restarts += 1;
        }
        if pods::is_over(&bound.pod) && bound.terminating.is_none() {
            return Ok(());
        }
        if let Some(since) = bound.terminating {
            return self.remove(uid, since).await;
        }
        let kind = pods::kind_of(&bound.pod);
        let (ready, restarts) = if kind == Kind::Pretended {
            let started = bound.since.elapsed() >= START;
            if !started && bound.restarts == 0 {
                return Ok(());
            }
            // After a boot the pod's old status still says that it is ready.
            (started, bound.restarts)
        } else {
            self.keep_token(uid).await?;
            self.keep_program(uid, kind)?;
            self.probe(uid).await
        };
        self.report(uid, ready, restarts).await
    }

    /// Requests the pod's token, and again before it expires.
    async fn keep_token(&mut self, uid: &str) -> Result<()> {
        let Some(bound) = self.pods.get_mut(uid) else {
            return Ok(());
        };
        if bound
            .token_at
            .is_some_and(|at| at.elapsed() < TOKEN_REFRESH)
        {
            return Ok(());
        }
        let directory = self.machine.pod_directory(uid);
        std::fs::create_dir_all(&directory)?;
        let spec = bound.pod.spec.as_ref().context("a pod without a spec")?;
        let account = spec.service_account_name.as_deref().unwrap_or("default");
        let (namespace, name) = (
            bound.pod.namespace().unwrap_or_default(),
            bound.pod.name_any(),
        );
        let token = directory.join("token");
        self.credentials
            .write_token(&namespace, account, (&name, uid), &token)
            .await?;
        self.credentials
            .write_kubeconfig(&token, &directory.join("kubeconfig"))?;
        bound.token_at = Some(Instant::now());
        Ok(())
    }

    fn keep_program(&mut self, uid: &str, kind: Kind) -> Result<()> {
        if self.machine.with_program(uid, |_| ()).is_some() {
            return Ok(());
        }
        let Some(bound) = self.pods.get(uid) else {
            return Ok(());
        };
        let launch = launch::of(
            &bound.pod,
            kind,
            &self.machine,
            &self.programs,
            &self.address,
        )?;
        self.machine.add_program(uid, launch);
        Ok(())
    }

    /// Asks a program whether it is ready, and says so with its restarts.
    async fn probe(&self, uid: &str) -> (bool, u32) {
        let target = self.machine.with_program(uid, |program| {
            let due = program.pid().is_some() && program.is_probe_due(self.programs.probe_every);
            (due, program.starts(), program.launch().port)
        });
        if let Some((true, starts, port)) = target {
            let ready = probe::is_ready(port).await;
            self.machine
                .with_program(uid, |program| program.probed(starts, ready));
        }
        self.machine
            .with_program(uid, |program| (program.is_ready(), program.restarts()))
            .unwrap_or_default()
    }

    async fn report(&mut self, uid: &str, ready: bool, restarts: u32) -> Result<()> {
        let Some(bound) = self.pods.get_mut(uid) else {
            return Ok(());
        };
        let spec = bound.pod.spec.as_ref().context("a pod without a spec")?;
        let given = bound
            .pod
            .status
            .as_ref()
            .and_then(|status| status.pod_ip.clone());
        let pod_ip = if spec.host_network == Some(true) {
            self.address.clone()
        } else if let Some(address) = given {
            address
        } else {
            self.next_address = self.next_address % 250 + 1;
            format!("{}.{}", self.pod_network, self.next_address)
        };
        let report = PodReport {
            ready,
            restarts,
            pod_ip,
            host_ip: self.address.clone(),
        };
        if pods::says(&bound.pod, &report) {
            return Ok(());
        }
        let now = jiff::Timestamp::now()
            .round(jiff::Unit::Second)?
            .to_string();
        let patch = pods::status_patch(&bound.pod, &report, &now);
        let api = namespaced(&self.client, &bound.pod);
        let name = bound.pod.name_any();
        let params = PatchParams {
            field_manager: Some("kubelet".into()),
            ..PatchParams::default()
        };
        let patch = Patch::Strategic(&patch);
        bound.pod = timeout(CALL_BOUND, api.patch_status(&name, &params, &patch))
            .await
            .with_context(|| format!("no answer about {name}"))?
            .with_context(|| format!("failed to report {name}"))?;
        Ok(())
    }

    /// Ends a pod: its program first, then the object.
    async fn remove(&mut self, uid: &str, since: Instant) -> Result<()> {
        let Some(bound) = self.pods.get(uid) else {
            return Ok(());
        };
        let grace = bound
            .pod
            .metadata
            .deletion_grace_period_seconds
            .unwrap_or(GRACE);
        let grace = Duration::from_secs(u64::try_from(grace).unwrap_or(0));
        let gone = self.machine.with_program(uid, |program| {
            program.stop(grace, Instant::now());
            program.is_gone()
        });
        if !gone.unwrap_or_else(|| since.elapsed() >= STOP.min(grace)) {
            return Ok(());
        }
        let params = DeleteParams {
            grace_period_seconds: Some(0),
            preconditions: Some(Preconditions {
                uid: Some(uid.to_owned()),
                resource_version: None,
            }),
            ..DeleteParams::default()
        };
        let name = bound.pod.name_any();
        let api = namespaced(&self.client, &bound.pod);
        match timeout(CALL_BOUND, api.delete(&name, &params)).await {
            Ok(Ok(_)) => {}
            Ok(Err(kube::Error::Api(status))) if status.is_not_found() || status.is_conflict() => {}
            Ok(Err(error)) => return Err(error).context("failed to remove a pod"),
            Err(_) => anyhow::bail!("no answer about the removal of {name}"),
        }
        self.machine.remove_program(uid);
        self.pods.remove(uid);
        Ok(())
    }
}

fn namespaced(client: &Client, pod: &Pod) -> Api<Pod> {
    Api::namespaced(client.clone(), &pod.namespace().unwrap_or_default())
}
