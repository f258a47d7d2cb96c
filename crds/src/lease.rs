//! RebootLease: one per node, named like it; the conversation between operator and agent.

mod begin;

use std::fmt;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, Time};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::checks::CheckStatus;
use crate::people::{Approval, Hold, Release, Request};
use crate::phase::Phase;
use crate::policy::{DrainSettings, RebootSettings, Triggers, VerifySettings};
use crate::workload::Workload;

/// Most transitions kept of the present reboot.
pub const TRANSITIONS_MAX: usize = 16;
/// Most outcomes kept of past reboots.
pub const HISTORY_MAX: usize = 5;
/// Most pods named in `status.drain.waiting`.
pub const WAITING_PODS_MAX: usize = 10;
/// Most entries of `status.waitingFor`.
pub const WAITING_FOR_MAX: usize = 8;
/// Most characters of a message.
pub const MESSAGE_MAX: usize = 1024;

/// The operator's half, but for `approved`, `request`, `hold` and `release`, which are for people.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "slipway.dev",
    version = "v1alpha1",
    kind = "RebootLease",
    plural = "rebootleases",
    shortname = "rbl",
    status = "RebootLeaseStatus",
    derive = "PartialEq",
    doc = "The reboot of one node: what it waits for, how far it is, and the record of the last one. Made by Slipway and named like the node.",
    validation = Rule::new("!has(oldSelf.spec.grant) || (has(self.spec.grant) && (self.spec.grant == oldSelf.spec.grant || self.spec.grant.fence > oldSelf.spec.grant.fence))").message("spec.grant changes only to a higher fence"),
    validation = Rule::new("!has(self.spec.grant) || !has(oldSelf.spec.revoke) || (has(oldSelf.spec.grant) && self.spec.grant.fence == oldSelf.spec.grant.fence) || self.spec.grant.fence > oldSelf.spec.revoke.fence").message("a fence that was revoked is never granted"),
    validation = Rule::new("!has(oldSelf.spec.clear) || (has(self.spec.clear) && (self.spec.clear.fence > oldSelf.spec.clear.fence || (self.spec.clear.fence == oldSelf.spec.clear.fence && self.spec.clear.at >= oldSelf.spec.clear.at)))").message("spec.clear never goes back"),
    validation = Rule::new("!has(oldSelf.spec.revoke) || (has(self.spec.revoke) && self.spec.revoke.fence >= oldSelf.spec.revoke.fence)").message("spec.revoke never goes back"),
    validation = Rule::new("!has(self.spec.revoke) || (has(oldSelf.spec.revoke) && self.spec.revoke.fence == oldSelf.spec.revoke.fence) || !has(oldSelf.status) || !(oldSelf.status.phase in ['Rebooting', 'Rebooted']) || self.spec.revoke.fence < oldSelf.status.fence").message("a committed reboot cannot be revoked"),
    validation = Rule::new("!has(oldSelf.status) || (has(self.status) && self.status.fence >= oldSelf.status.fence)").message("status.fence never goes back"),
    validation = Rule::new("!has(oldSelf.status) || !has(self.status) || self.status.fence == oldSelf.status.fence || (self.status.phase == 'Draining' && oldSelf.status.phase != 'Draining')").message("status.fence changes only when a grant is accepted (phase Draining)"),
    validation = Rule::new("!has(oldSelf.status) || !has(self.status) || self.status.phase != 'Draining' || oldSelf.status.phase == 'Draining' || self.status.fence > oldSelf.status.fence").message("a fence is accepted once: phase Draining needs a higher status.fence"),
    validation = Rule::new("!has(oldSelf.status) || (has(self.status) && (self.status.phase == oldSelf.status.phase || self.status.phase in {'Pending': ['Granted', 'Aborted', 'Draining'], 'Granted': ['Pending', 'Draining'], 'Draining': ['Drained', 'Aborted', 'Failed'], 'Drained': ['Rebooting', 'Aborted', 'Failed'], 'Rebooting': ['Rebooted', 'Failed'], 'Rebooted': ['Completed', 'Failed'], 'Completed': ['Pending'], 'Aborted': ['Pending'], 'Failed': ['Pending']}[oldSelf.status.phase]))").message("status.phase may only move along the table of phases in the documentation"),
    printcolumn(name = "Policy", type_ = "string", json_path = ".spec.policy.name"),
    printcolumn(name = "Phase", type_ = "string", json_path = ".status.phase"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.reason"),
    printcolumn(name = "Pods", type_ = "string", json_path = ".status.drain.pods"),
    printcolumn(name = "Expected", type_ = "string", json_path = ".status.expected.from"),
    printcolumn(name = "Last-Reboot", type_ = "date", json_path = ".status.lastRebootAt"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Fence", type_ = "integer", json_path = ".status.fence", priority = 1),
    printcolumn(name = "Boot-ID", type_ = "string", json_path = ".status.bootIDAfter", priority = 1),
    printcolumn(name = "Message", type_ = "string", json_path = ".status.message", priority = 1)
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.nodeUID == oldSelf.nodeUID").message("spec.nodeUID never changes: a node made anew gets a lease of its own"))]
pub struct RebootLeaseSpec {
    /// UID of the Node that this lease speaks of.
    #[serde(rename = "nodeUID")]
    #[schemars(length(min = 1, max = 64))]
    pub node_uid: String,
    /// The policy that the node obeys at present; absent while none, or a conflict, governs it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<PolicyReference>,
    /// When the present need was first seen.
    pub requested_at: Time,
    /// The first key: permission to accept, cordon and drain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grant: Option<Grant>,
    /// The second key: permission to reboot, valid for 60 s from `at`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clear: Option<Clear>,
    /// Every grant with this fence or a lower one is called off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoke: Option<Revoke>,
    /// A human lets the present need be served (mode Approve). Needs the verb `approve` on
    /// rebootleases.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approved: Option<Approval>,
    /// A human asks for a reboot. Needs the verb `request` on rebootleases.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<Request>,
    /// A human keeps the node from being rebooted. Needs the verb `hold` on rebootleases.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold: Option<Hold>,
    /// A human gives a reboot up. Needs the verb `release` on rebootleases.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release: Option<Release>,
}

/// A policy by name and UID: one made anew under the same name is another policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
pub struct PolicyReference {
    /// Name of the RebootPolicy.
    #[schemars(length(max = 253))]
    pub name: String,
    /// UID of the RebootPolicy.
    #[schemars(length(max = 64))]
    pub uid: String,
}

/// The first key, with the settings of the policy as they were: an agent reads nothing else, and
/// a policy that is deleted meanwhile strands no node.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Grant {
    /// The ledger's counter; names this one reboot.
    #[schemars(range(min = 1))]
    pub fence: i64,
    /// When it was granted.
    pub granted_at: Time,
    /// Past this time an agent that has not committed undoes everything by itself, with no
    /// operator needed.
    pub not_after: Time,
    /// How to drain.
    pub drain: DrainSettings,
    /// How to reboot.
    pub reboot: RebootSettings,
    /// What must hold afterwards.
    pub verify: VerifySettings,
    /// What counts as a need: once none of it asks any more, the reboot is called off.
    #[serde(default)]
    pub triggers: Triggers,
    /// The owners of the pods that ran on the node, for `verify.podsReadyWithin`. At most 64.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub workloads: Vec<Workload>,
    /// The human's request that this grant serves, as it was: then nothing on the host has to ask.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<Request>,
}

/// The second key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
pub struct Clear {
    /// The grant that it belongs to.
    #[schemars(range(min = 1))]
    pub fence: i64,
    /// The API server's time before the first of the reads that it rests on.
    pub at: Time,
}

/// Calls grants off.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
pub struct Revoke {
    /// Every grant up to and with this fence is over once its agent has undone it.
    #[schemars(range(min = 1))]
    pub fence: i64,
    /// Why, as one of the documented reasons.
    #[schemars(length(max = 64))]
    pub reason: String,
    /// The same as a sentence.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 1024))]
    pub message: String,
}

/// How far it is. The agent writes the phases from Draining to Rebooted, the operator the others.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct RebootLeaseStatus {
    /// Where the reboot stands.
    #[serde(default)]
    pub phase: Phase,
    /// The grant that the phase speaks of; 0 before the first one was accepted.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub fence: i64,
    /// One word: why it is where it is.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 64))]
    pub reason: String,
    /// The same as a sentence.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 1024))]
    pub message: String,
    /// Everything that a waiting node waits for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub waiting_for: Vec<WaitingFor>,
    /// When the reboot of a waiting node is expected to start; absent where nobody can tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected: Option<ExpectedSpan>,
    /// What each check of the host says: every check that applies there, by name. Written by the
    /// agent when it changes while the node waits or rests, and with each reboot.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub checks: Vec<CheckStatus>,
    /// Progress of the drain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drain: Option<DrainProgress>,
    /// How the host is rebooted: the way that `reboot.method: Auto` found, or the one that the policy
    /// names. Absent until the host has said that it can.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub reboot_method: Option<String>,
    /// Boot ID when the grant was accepted: only another one proves a reboot.
    #[serde(
        rename = "bootIDBefore",
        default,
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(length(max = 64))]
    pub boot_id_before: Option<String>,
    /// Boot ID that proved the reboot.
    #[serde(
        rename = "bootIDAfter",
        default,
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(length(max = 64))]
    pub boot_id_after: Option<String>,
    /// When a reboot of ours was last proved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_reboot_at: Option<Time>,
    /// Highest fence that the journal on the host has committed; 0 for none.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub journal_fence: i64,
    /// The steps of the present reboot.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub transitions: Vec<Transition>,
    /// Outcomes of the reboots before it, newest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 5))]
    pub history: Vec<Outcome>,
}

/// A range of time that a forecast tells, in steps of five minutes: nine of ten reboots start
/// within it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
pub struct ExpectedSpan {
    /// Hardly before this.
    pub from: Time,
    /// Hardly after this.
    pub to: Time,
}

/// One thing that a node waits for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct WaitingFor {
    /// The documented reason.
    #[schemars(length(max = 64))]
    pub kind: String,
    /// What it is about: a policy, a node, a pod.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 253))]
    pub object: String,
    /// A sentence that says what it waits for and what clears it.
    #[schemars(length(max = 1024))]
    pub message: String,
}

/// Progress of a drain.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct DrainProgress {
    /// Pods that had to leave when the drain began, and those that came later.
    #[schemars(range(min = 0))]
    pub total: i32,
    /// Pods whose eviction was accepted.
    #[schemars(range(min = 0))]
    pub evicted: i32,
    /// `waiting/total`, for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 32))]
    pub pods: String,
    /// Pods that have not left, at most ten.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 10))]
    pub waiting: Vec<WaitingPod>,
}

/// A pod that has not left yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct WaitingPod {
    /// `namespace/name`.
    #[schemars(length(max = 320))]
    pub pod: String,
    /// Why: the PodDisruptionBudget by name, or that it is terminating.
    #[schemars(length(max = 512))]
    pub reason: String,
}

/// One step of a reboot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
pub struct Transition {
    /// The phase entered.
    pub phase: Phase,
    /// When, by the clock of the program that wrote it.
    pub at: MicroTime,
}

/// How a reboot ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
pub struct Outcome {
    /// Its fence; 0 when it ended before it was granted.
    #[schemars(range(min = 0))]
    pub fence: i64,
    /// Completed, Aborted or Failed.
    pub phase: Phase,
    /// Why.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 64))]
    pub reason: String,
    /// When.
    pub at: Time,
}

/// Value of the annotation [`crate::names::ANNOTATION_CORDONED`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CordonRecord {
    /// The grant under which we cordoned.
    pub fence: i64,
    /// `spec.unschedulable` as we found it: true is a human's cordon, which stays.
    pub unschedulable_before: bool,
}

impl RebootLeaseStatus {
    /// Appends a transition and enters the phase; the list keeps its newest entries.
    pub fn enter(&mut self, phase: Phase, at: jiff::Timestamp) {
        self.phase = phase;
        self.transitions.push(Transition {
            phase,
            at: MicroTime(at),
        });
        let surplus = self.transitions.len().saturating_sub(TRANSITIONS_MAX);
        self.transitions.drain(..surplus);
    }
}

/// The fencing predicates of the protocol, in one place for both programs.
impl RebootLease {
    /// Phase, `Pending` while there is no status yet.
    pub fn phase(&self) -> Phase {
        self.status
            .as_ref()
            .map_or(Phase::Pending, |status| status.phase)
    }

    /// The fence that the phase speaks of; 0 for none.
    pub fn accepted_fence(&self) -> i64 {
        self.status.as_ref().map_or(0, |status| status.fence)
    }

    /// The newest fence granted; 0 for none.
    pub fn granted_fence(&self) -> i64 {
        self.spec.grant.as_ref().map_or(0, |grant| grant.fence)
    }

    /// True when grants with this fence are called off.
    pub fn is_revoked(&self, fence: i64) -> bool {
        self.spec
            .revoke
            .as_ref()
            .is_some_and(|revoke| revoke.fence >= fence)
    }

    /// True when `fence` was accepted, is not revoked and has not ended.
    pub fn is_live(&self, fence: i64) -> bool {
        self.accepted_fence() == fence && self.phase().is_accepted() && !self.is_revoked(fence)
    }

    /// True when nothing more can happen under `fence`: accepted and ended, passed by a later
    /// one, or revoked before it was accepted.
    ///
    /// Judged by the fence, never by the phase alone: else a slot would be freed by the ending of
    /// an earlier reboot (faults.md §3.2).
    pub fn is_over(&self, fence: i64) -> bool {
        let accepted = self.accepted_fence();
        match accepted.cmp(&fence) {
            std::cmp::Ordering::Equal => !self.phase().is_accepted(),
            std::cmp::Ordering::Greater => true,
            std::cmp::Ordering::Less => self.is_revoked(fence),
        }
    }

    /// A grant that waits to be accepted: newer than what was accepted, and not revoked.
    pub fn open_grant(&self) -> Option<&Grant> {
        let grant = self.spec.grant.as_ref()?;
        let open = grant.fence > self.accepted_fence() && !self.is_revoked(grant.fence);
        (open && !self.phase().is_accepted()).then_some(grant)
    }
}

impl fmt::Display for CordonRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&serde_json::to_string(self).map_err(|_| fmt::Error)?)
    }
}
