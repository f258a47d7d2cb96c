//! What people write into a lease: approval, request, hold and release.
//!
//! Each names the reboot that it speaks of, so that one written for an earlier reboot never counts
//! for a later one (faults.md Q6). Rights are by verbs of their own on `rebootleases`; the admission
//! policy compares `by` with the user who writes.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::lease::RebootLease;
use crate::phase::Phase;

/// Lets the present need be served where the policy's mode is Approve.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Approval {
    /// `spec.requestedAt` of the need that is approved: another need is not.
    pub requested_at: Time,
    /// Who approves: the user who writes this.
    #[schemars(length(min = 1, max = 253))]
    pub by: String,
}

/// Asks for a reboot of the node that nothing on the host asks for, or asks for it now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Request {
    /// `status.fence` at the time of writing, 0 for none: asks for the one reboot after that.
    #[schemars(range(min = 0))]
    pub after_fence: i64,
    /// Who asks: the user who writes this.
    #[schemars(length(min = 1, max = 253))]
    pub by: String,
    /// Why, for whoever reads the history.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 512))]
    pub reason: String,
    /// What does not apply to this reboot. Budget and breaker apply unless they are named.
    /// Default `[Window, Order]`.
    #[serde(default = "Request::window_and_order")]
    #[schemars(length(max = 5))]
    pub overrides: Vec<Override>,
}

impl Request {
    fn window_and_order() -> Vec<Override> {
        vec![Override::Window, Override::Order]
    }

    /// True when the request sets this aside.
    pub fn overrides(&self, what: Override) -> bool {
        self.overrides.contains(&what)
    }
}

/// What a request may set aside. Pauses, holds, control-plane rules, `maxRebootsPerNode` and the
/// policy's mode Observe always apply.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
pub enum Override {
    /// The schedule.
    Window,
    /// The order: the node goes first.
    Order,
    /// The node's pause after failures.
    Backoff,
    /// The policy's open breaker.
    Breaker,
    /// `budget.maxUnavailable`.
    Budget,
}

/// Keeps the node from being rebooted until it is taken away. A drain under way is undone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
pub struct Hold {
    /// Who holds: the user who writes this.
    #[schemars(length(min = 1, max = 253))]
    pub by: String,
    /// Why.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 512))]
    pub reason: String,
}

/// Gives a reboot up that does not end by itself, such as that of a node which never came back: its
/// lease becomes Failed with reason Released, and its slot is given back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
pub struct Release {
    /// The fence of the reboot that is given up.
    #[schemars(range(min = 1))]
    pub fence: i64,
    /// Who gives it up: the user who writes this.
    #[schemars(length(min = 1, max = 253))]
    pub by: String,
    /// Why.
    #[schemars(length(min = 1, max = 512))]
    pub reason: String,
    /// Without it, a reboot that was committed is given up only ten minutes after that: a call
    /// which the machine has accepted may still take effect. Default false.
    #[serde(default)]
    pub force: bool,
}

impl RebootLease {
    /// The request that asks for a reboot which has not been accepted yet.
    pub fn open_request(&self) -> Option<&Request> {
        let request = self.spec.request.as_ref()?;
        (!self.phase().is_accepted() && request.after_fence == self.accepted_fence())
            .then_some(request)
    }

    /// The request behind the present reboot, accepted or not: once granted, as it was then.
    pub fn manual(&self) -> Option<&Request> {
        match (self.open_grant(), self.phase()) {
            (Some(grant), _) => grant.request.as_ref(),
            (None, Phase::Draining | Phase::Drained | Phase::Rebooting | Phase::Rebooted) => self
                .spec
                .grant
                .as_ref()
                .filter(|grant| grant.fence == self.accepted_fence())
                .and_then(|grant| grant.request.as_ref()),
            (None, _) => self.open_request(),
        }
    }

    /// True when the present need was approved by a human.
    pub fn is_approved(&self) -> bool {
        self.spec.approved.as_ref().is_some_and(|approved| {
            approved.requested_at.0.as_second() == self.spec.requested_at.0.as_second()
        })
    }

    /// The release of the reboot with this fence.
    pub fn release_of(&self, fence: i64) -> Option<&Release> {
        self.spec
            .release
            .as_ref()
            .filter(|release| release.fence == fence)
    }
}
