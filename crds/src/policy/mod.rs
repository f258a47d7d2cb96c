//! RebootPolicy: what people write.

mod blockers;
mod budget;
mod cooperate;
mod drain;
mod failure;
mod marks;
mod notifications;
mod reboot;
mod schedule;
mod status;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::duration::Duration;
use crate::{checks, schema};

pub use blockers::{
    AlertmanagerBlocker, AllowWhen, BLOCKERS_MAX, Blocker, CredentialsRef, Endpoint, HttpBlocker,
    IGNORED_ALERTS, NodesBlocker, OnError, PATTERN_MAX, PodScope, PodsBlocker, PrometheusBlocker,
    PromqlBlocker,
};
pub use budget::{Budget, Canary, DomainBudget, Order};
pub use cooperate::Cooperate;
pub use drain::{DrainSettings, EmptyDirData, OnDrainTimeout, UnmanagedPods};
pub use failure::{BreakerReset, FailureSettings, REBOOTS_PER_NODE_MAX};
pub use marks::{CordonSettings, NodeMetadata};
pub use notifications::{
    LAST_ERROR_MAX, NOTIFICATIONS_MAX, Notification, NotificationEvent, NotificationStatus,
    SecretKeyRef, TOLD_MAX, Templates, Told,
};
pub use reboot::{RebootMethod, RebootSettings, VerifySettings};
pub use schedule::{CUTOFF_AUTO, FREEZES_MAX, Freeze, Schedule, WINDOWS_MAX, Weekday, Window};
pub use status::{BlockedBy, NodeCounts, RebootPolicyStatus, WindowSpan, WindowState};
pub use status::{Forecast, RebootDurations};

/// Which nodes are rebooted, when, and how many at once.
/// The smallest useful policy is `spec: {nodeSelector: {}}`; every default is the safe choice.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "slipway.dev",
    version = "v1alpha1",
    kind = "RebootPolicy",
    plural = "rebootpolicies",
    shortname = "rbp",
    status = "RebootPolicyStatus",
    derive = "PartialEq",
    doc = "Which nodes are rebooted when they need it, when, and how many at once.",
    validation = Rule::new("!has(self.spec.order) || !self.spec.order.exists(entry, entry == 'DomainByDomain') || (has(self.spec.budget) && has(self.spec.budget.perDomain))").message("order DomainByDomain needs budget.perDomain, which says what a domain is"),
    validation = Rule::new("!has(self.spec.nodeMetadata) || ((!has(self.spec.nodeSelector.matchLabels) || !self.spec.nodeSelector.matchLabels.exists(label, ((has(self.spec.nodeMetadata.labelsWhileRebooting) && label in self.spec.nodeMetadata.labelsWhileRebooting) || (has(self.spec.nodeMetadata.labelsAfter) && label in self.spec.nodeMetadata.labelsAfter)))) && (!has(self.spec.nodeSelector.matchExpressions) || !self.spec.nodeSelector.matchExpressions.exists(one, ((has(self.spec.nodeMetadata.labelsWhileRebooting) && one.key in self.spec.nodeMetadata.labelsWhileRebooting) || (has(self.spec.nodeMetadata.labelsAfter) && one.key in self.spec.nodeMetadata.labelsAfter)))))").message("nodeMetadata writes a label that nodeSelector selects by; the nodes would leave the policy while they are rebooted"),
    printcolumn(name = "Mode", type_ = "string", json_path = ".spec.mode"),
    printcolumn(
        name = "Matched",
        type_ = "integer",
        json_path = ".status.nodes.matched"
    ),
    printcolumn(
        name = "Required",
        type_ = "integer",
        json_path = ".status.nodes.required"
    ),
    printcolumn(
        name = "In-Progress",
        type_ = "integer",
        json_path = ".status.nodes.inProgress"
    ),
    printcolumn(name = "Allowed", type_ = "integer", json_path = ".status.allowed"),
    printcolumn(name = "Window", type_ = "string", json_path = ".status.window"),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].status"
    ),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].reason"
    ),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp"
    )
)]
#[serde(rename_all = "camelCase")]
pub struct RebootPolicySpec {
    /// The nodes that obey this policy, by label. Required: write `{}` to mean every node.
    #[schemars(schema_with = "schema::node_selector")]
    pub node_selector: LabelSelector,
    /// A node matched by several policies obeys the highest. A tie is a Conflict: the node is left
    /// alone and both policies say so. Default 0.
    #[serde(default)]
    #[schemars(range(min = -1_000_000, max = 1_000_000))]
    pub priority: i32,
    /// `Automatic` grants reboots; `Approve` grants those that a human approved or asked for;
    /// `Observe` decides and reports, and never grants. Default Automatic.
    #[serde(default)]
    pub mode: Mode,
    /// True stops this policy: nothing new is granted and nodes that are draining are uncordoned
    /// again; a reboot already called finishes. Default false.
    #[serde(default)]
    pub paused: bool,
    /// What counts as a need.
    #[serde(default)]
    pub triggers: Triggers,
    /// When reboots may start.
    #[serde(default)]
    pub schedule: Schedule,
    /// How many nodes at once.
    #[serde(default)]
    pub budget: Budget,
    /// What else must agree before a node may go. None means that nothing else is asked.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub blockers: Vec<Blocker>,
    /// Who goes first, by the first entry, then the second; last of all by name. Whatever the order,
    /// a node is passed by at most 10 that came later before they wait for it, and the node that the
    /// operator itself runs on goes last. Default `[ControlPlaneLast, LongestWaiting]`.
    #[serde(default = "Order::safe")]
    #[schemars(length(max = 3))]
    pub order: Vec<Order>,
    /// How pods are moved away first.
    #[serde(default)]
    pub drain: DrainSettings,
    /// How nodes that go are kept free of new pods.
    #[serde(default)]
    pub cordon: CordonSettings,
    /// How the reboot is called.
    #[serde(default)]
    pub reboot: RebootSettings,
    /// What must hold before the next node may go.
    #[serde(default)]
    pub verify: VerifySettings,
    /// What follows from reboots that fail.
    #[serde(default)]
    pub failure: FailureSettings,
    /// Who is told about reboots. Default nobody.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    #[x_kube(validation = Rule::new("self.all(one, self.exists_one(other, other.secretRef.name == one.secretRef.name && other.secretRef.key == one.secretRef.key))").message("two notifications name the same key of the same Secret; write one with the events of both"))]
    pub notifications: Vec<Notification>,
    /// What is told on the Node itself.
    #[serde(default)]
    pub node_metadata: NodeMetadata,
    /// How Slipway gets along with others that remove, replace or repair nodes.
    #[serde(default)]
    pub cooperate: Cooperate,
}

/// What a policy does about nodes that need a reboot.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
pub enum Mode {
    /// Grants reboots when everything allows it.
    #[default]
    Automatic,
    /// Grants a reboot once a human approved or asked for it, when everything allows it.
    Approve,
    /// Decides and reports, never grants.
    Observe,
}

/// What counts as a need.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Triggers {
    /// Names of the agents' checks that count: `sentinel-file`, `kernel`, `node-condition`, `packages`,
    /// `command/NAME` for a command of the chart's `agent.checks.commands`, or `*` for all. A check that
    /// a host does not have asks for nothing there; one that its agent was not given is told as Unknown
    /// once a reboot is granted. An empty list means that none counts. Default `["*"]`.
    #[serde(default = "Triggers::every_check")]
    #[schemars(schema_with = "schema::check_names")]
    pub checks: Vec<String>,
    /// A node that has been up for so long needs a reboot, whatever its checks say: from `1h` to
    /// `8760h`, a year. Counted from the boot that its agent reports; while none is reported, nothing
    /// follows. Default: a node may stay up for ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::max_uptime")]
    pub max_uptime: Option<Duration>,
}

impl Triggers {
    fn every_check() -> Vec<String> {
        vec![checks::EVERY.to_owned()]
    }

    /// True when what this check says counts.
    pub fn counts(&self, check: &str) -> bool {
        let mut all = self.checks.iter();
        all.any(|name| name == checks::EVERY || name == check)
    }

    /// True when one of the checks that the reason of a need names counts.
    pub fn counts_reason(&self, reason: &str) -> bool {
        let every = self.checks.iter().any(|name| name == checks::EVERY);
        every || checks::named(reason).any(|check| self.counts(&check))
    }
}

impl Default for Triggers {
    fn default() -> Self {
        Self {
            checks: Self::every_check(),
            max_uptime: None,
        }
    }
}
