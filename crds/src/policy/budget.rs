//! How many nodes at once, and which of them never together.

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::duration::Duration;
use crate::schema;

/// How many nodes at once, and which of them never together.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Budget {
    /// Nodes of this policy that may be unavailable at once: a number, or a percentage of the nodes
    /// matched, rounded down but at least 1 unless `0%` is written. `0` stops. Nodes that are NotReady
    /// or cordoned by somebody else use it too. Default 1.
    #[serde(default = "Budget::one")]
    #[schemars(schema_with = "schema::max_unavailable")]
    pub max_unavailable: IntOrString,
    /// Limits within and between failure domains, such as zones. A node without the label belongs
    /// to a domain of its own kind, that of all nodes without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per_domain: Option<DomainBudget>,
    /// Time between two grants of this policy. Default 0s.
    #[serde(default)]
    pub min_interval: Duration,
    /// The first nodes of a rollout go alone, and then a pause shows whether they are well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canary: Option<Canary>,
    /// Nodes with the same value of this label form a group, such as the members of a database, of
    /// which never two are unavailable at once. The group reaches over every policy and every node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::label_name")]
    pub quorum_label: Option<String>,
    /// True lets control-plane nodes be rebooted while workers are, and workers while one of the
    /// control plane is. Control-plane nodes always go one at a time. Default false.
    #[serde(default)]
    pub control_plane_with_workers: bool,
}

impl Budget {
    fn one() -> IntOrString {
        IntOrString::Int(1)
    }
}

impl Default for Budget {
    fn default() -> Self {
        Self {
            max_unavailable: Self::one(),
            per_domain: None,
            min_interval: Duration::default(),
            canary: None,
            quorum_label: None,
            control_plane_with_workers: false,
        }
    }
}

/// Limits within and between failure domains.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct DomainBudget {
    /// The node label whose values are the domains, such as `topology.kubernetes.io/zone`.
    #[schemars(schema_with = "schema::label_name")]
    pub topology_key: String,
    /// Nodes of this policy that may be unavailable at once in each domain; a percentage is of the
    /// nodes in the domain. Default 1.
    #[serde(default = "Budget::one")]
    #[schemars(schema_with = "schema::max_unavailable")]
    pub max_unavailable: IntOrString,
    /// Domains with unavailable nodes at once; the next one begins when no node of a begun one waits
    /// any more. Default 1.
    #[serde(default = "DomainBudget::one")]
    #[schemars(range(min = 1, max = 100))]
    pub domains_at_once: i32,
}

impl DomainBudget {
    const fn one() -> i32 {
        1
    }
}

/// The first nodes of a rollout, and the pause after them.
/// A rollout begins with the first grant after a time in which no node of the policy waited.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
pub struct Canary {
    /// How many nodes go first; one that fails is replaced by another. Default 1.
    #[serde(default = "Canary::one")]
    #[schemars(range(min = 1, max = 100))]
    pub nodes: i32,
    /// Pause after the last of them is back and verified. Default 1h.
    #[serde(default = "Canary::an_hour")]
    pub soak: Duration,
}

impl Canary {
    const fn one() -> i32 {
        1
    }

    fn an_hour() -> Duration {
        Duration::from_secs(3600)
    }
}

/// Who goes first. Earlier entries weigh more.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
pub enum Order {
    /// Control-plane nodes after all others.
    ControlPlaneLast,
    /// The node whose host has asked for the longest time.
    LongestWaiting,
    /// Domain by domain (`budget.perDomain`): one that was begun first, then the one whose first
    /// node waits longest.
    DomainByDomain,
}

impl Order {
    /// What a policy that says nothing gets.
    pub(super) fn safe() -> Vec<Self> {
        vec![Self::ControlPlaneLast, Self::LongestWaiting]
    }
}
