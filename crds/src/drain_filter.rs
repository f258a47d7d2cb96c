//! Which pods of a node a drain must move: the rules of `kubectl drain`, and a policy's own.
//!
//! Pure and shared: the agent drains by it, and the operator asks it again, with its own list of the
//! node's pods, before it turns the second key (faults.md F83: an agent's word is not proof).

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, OwnerReference};

use crate::lease::Grant;
use crate::names;
use crate::policy::{DrainSettings, EmptyDirData, OnDrainTimeout, UnmanagedPods};
use crate::validate::selector_matches;

/// Annotation of the API object that mirrors a static pod; it cannot be evicted.
const ANNOTATION_MIRROR: &str = "kubernetes.io/config.mirror";

/// What a drain does with a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PodVerdict {
    /// It is evicted, and the drain waits until it has gone.
    Evict,
    /// It is on its way already; the drain waits until it has gone.
    Leaving,
    /// It is not evicted, and the drain waits until somebody has removed it.
    Blocks(BlocksBecause),
    /// It stays and goes down with the node.
    Stays(StaysBecause),
}

/// Why a pod that must go is not evicted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum BlocksBecause {
    /// No controller would make it anew (`drain.unmanagedPods: Block`).
    Unmanaged,
    /// It would lose its data (`drain.emptyDirData: Block`).
    EmptyDir,
}

impl BlocksBecause {
    /// For people.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unmanaged => "no controller would make it anew (drain.unmanagedPods: Block)",
            Self::EmptyDir => "the data of its emptyDir would be lost (drain.emptyDirData: Block)",
        }
    }
}

/// Why a pod is not evicted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum StaysBecause {
    /// A static pod: its kubelet runs it whatever the API says.
    Mirror,
    /// Its DaemonSet would put it back at once.
    DaemonSet,
    /// One of the operator's own pods: evicting it could leave nobody to turn the second key
    /// (faults.md Q7).
    Operator,
    /// `drain.podSelector` does not select it.
    NotSelected,
    /// Its time to end was up longer ago than `drain.skipWaitForDeleteTimeout`.
    Stuck,
}

/// The rules of one drain.
#[derive(Clone, Debug)]
pub struct DrainRules<'a> {
    own_namespace: &'a str,
    settings: DrainSettings,
    granted_at: Option<Timestamp>,
    now: Timestamp,
}

impl<'a> DrainRules<'a> {
    /// The rules of a grant; without one, those of a policy that says nothing of drains.
    /// `own_namespace` is the namespace that Slipway runs in, `now` the API server's time.
    pub fn of(grant: Option<&Grant>, own_namespace: &'a str, now: Timestamp) -> Self {
        Self {
            own_namespace,
            settings: grant.map(|grant| grant.drain.clone()).unwrap_or_default(),
            granted_at: grant.map(|grant| grant.granted_at.0),
            now,
        }
    }

    /// The rules of a drain that is about to be granted.
    pub fn before_grant(settings: &DrainSettings, own_namespace: &'a str, now: Timestamp) -> Self {
        Self {
            own_namespace,
            settings: settings.clone(),
            granted_at: None,
            now,
        }
    }

    /// What the drain does with one pod.
    ///
    /// Differences from `kubectl drain`: pods without a controller and pods with `emptyDir` volumes
    /// are evicted without a flag, as kured does, unless the policy blocks them; a pod whose
    /// DaemonSet is gone is left alone, because that cannot be told without reading DaemonSets; the
    /// operator's own pods stay.
    pub fn judge(&self, pod: &Pod) -> PodVerdict {
        let annotations = pod.metadata.annotations.as_ref();
        if annotations.is_some_and(|all| all.contains_key(ANNOTATION_MIRROR)) {
            return PodVerdict::Stays(StaysBecause::Mirror);
        }
        if is_operator(pod, self.own_namespace) {
            return PodVerdict::Stays(StaysBecause::Operator);
        }
        let selected = self.settings.pod_selector.as_ref();
        if selected.is_some_and(|selector| !selects(selector, pod)) {
            return PodVerdict::Stays(StaysBecause::NotSelected);
        }
        let finished = is_finished(pod);
        if !finished && of_daemon_set(pod) && !self.takes_daemon_set_pod(pod) {
            return PodVerdict::Stays(StaysBecause::DaemonSet);
        }
        if let Some(ends) = pod.metadata.deletion_timestamp.as_ref() {
            return if self.is_stuck(ends.0) {
                PodVerdict::Stays(StaysBecause::Stuck)
            } else {
                PodVerdict::Leaving
            };
        }
        match self.blocks(pod) {
            Some(because) if !finished => PodVerdict::Blocks(because),
            Some(_) | None => PodVerdict::Evict,
        }
    }

    /// True when the pod must be gone before the node may be rebooted.
    pub fn must_go(&self, pod: &Pod) -> bool {
        match self.judge(pod) {
            PodVerdict::Evict | PodVerdict::Leaving | PodVerdict::Blocks(_) => true,
            PodVerdict::Stays(_) => false,
        }
    }

    fn blocks(&self, pod: &Pod) -> Option<BlocksBecause> {
        if self.settings.empty_dir_data == EmptyDirData::Block && has_empty_dir(pod) {
            return Some(BlocksBecause::EmptyDir);
        }
        let unmanaged =
            self.settings.unmanaged_pods == UnmanagedPods::Block && controller(pod).is_none();
        unmanaged.then_some(BlocksBecause::Unmanaged)
    }

    /// Only a pod that was there before the grant: the one that its DaemonSet makes in its place
    /// would be evicted for ever.
    fn takes_daemon_set_pod(&self, pod: &Pod) -> bool {
        let chosen = self.settings.daemon_set_pods.as_ref();
        let created = pod.metadata.creation_timestamp.as_ref().map(|time| time.0);
        chosen.is_some_and(|selector| selects(selector, pod))
            && created.is_some_and(|created| self.granted_at.is_none_or(|at| created < at))
    }

    fn is_stuck(&self, ends: Timestamp) -> bool {
        let patience = self.settings.skip_wait_for_delete_timeout;
        !patience.is_zero() && self.now.duration_since(ends) > patience.signed()
    }
}

/// True when the grant lets its node reboot with pods on it, because the drain has had its time.
///
/// `passed` is the time since the acceptance, or since the grant: the operator, which does not take
/// the agent's word, counts from its own write.
pub fn goes_anyway(grant: &Grant, passed: SignedDuration) -> bool {
    let limit = grant.drain.limit();
    grant.drain.on_timeout == OnDrainTimeout::RebootAnyway
        && limit.is_some_and(|limit| {
            passed >= SignedDuration::try_from(limit).unwrap_or(SignedDuration::MAX)
        })
}

/// The service account is asked as well as the label: anybody may set a label, but only what may
/// use our service account speaks for us.
fn is_operator(pod: &Pod, own_namespace: &str) -> bool {
    let component = pod
        .metadata
        .labels
        .as_ref()
        .and_then(|all| all.get(names::LABEL_COMPONENT));
    let account = pod
        .spec
        .as_ref()
        .and_then(|spec| spec.service_account_name.as_deref());
    pod.metadata.namespace.as_deref() == Some(own_namespace)
        && component.is_some_and(|component| component == names::COMPONENT_OPERATOR)
        && account == Some(names::SERVICE_ACCOUNT_OPERATOR)
}

fn selects(selector: &LabelSelector, pod: &Pod) -> bool {
    let labels = pod.metadata.labels.as_ref();
    selector_matches(selector, |key| labels?.get(key).map(String::as_str))
}

fn is_finished(pod: &Pod) -> bool {
    let phase = pod
        .status
        .as_ref()
        .and_then(|status| status.phase.as_deref());
    matches!(phase, Some("Succeeded" | "Failed"))
}

fn of_daemon_set(pod: &Pod) -> bool {
    controller(pod).is_some_and(|owner| owner.kind == "DaemonSet")
}

fn has_empty_dir(pod: &Pod) -> bool {
    let volumes = pod
        .spec
        .iter()
        .flat_map(|spec| spec.volumes.iter().flatten());
    volumes.into_iter().any(|volume| volume.empty_dir.is_some())
}

fn controller(pod: &Pod) -> Option<&OwnerReference> {
    let owners = pod.metadata.owner_references.iter().flatten();
    owners
        .into_iter()
        .find(|owner| owner.controller == Some(true))
}

#[cfg(test)]
#[path = "drain_filter_tests.rs"]
mod tests;
