//! RebootPolicy: what people write.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, LabelSelector, Time};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::duration::Duration;
use crate::schema;

/// Most windows of a schedule.
pub const WINDOWS_MAX: usize = 32;

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
    /// `Automatic` grants reboots; `Observe` decides and reports, and never grants.
    /// Default Automatic.
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
    /// How pods are moved away first.
    #[serde(default)]
    pub drain: DrainSettings,
    /// How the reboot is called.
    #[serde(default)]
    pub reboot: RebootSettings,
    /// What must hold before the next node may go.
    #[serde(default)]
    pub verify: VerifySettings,
}

/// What a policy does about nodes that need a reboot.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
pub enum Mode {
    /// Grants reboots when everything allows it.
    #[default]
    Automatic,
    /// Decides and reports, never grants.
    Observe,
}

/// What counts as a need.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
pub struct Triggers {
    /// Names of the agent's checks that count: `sentinel-file`, or `*` for all. An empty list means
    /// that none counts. Default `["*"]`.
    #[serde(default = "Triggers::every_check")]
    #[schemars(schema_with = "schema::checks")]
    pub checks: Vec<String>,
}

impl Triggers {
    fn every_check() -> Vec<String> {
        vec![crate::names::EVERY_CHECK.to_owned()]
    }
}

impl Default for Triggers {
    fn default() -> Self {
        Self {
            checks: Self::every_check(),
        }
    }
}

/// When reboots may start: inside any window. With no windows, always.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Schedule {
    /// IANA time zone of the windows, such as `Europe/Berlin`. An unknown name makes the policy not
    /// Ready and nothing is granted. Default `UTC`.
    #[serde(default = "Schedule::utc")]
    #[schemars(schema_with = "schema::time_zone")]
    pub time_zone: String,
    /// The union of these is when reboots may start; a node that is drained when the window closes
    /// is uncordoned again. None means always.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub windows: Vec<Window>,
}

impl Schedule {
    fn utc() -> String {
        "UTC".to_owned()
    }
}

impl Default for Schedule {
    fn default() -> Self {
        Self {
            time_zone: Self::utc(),
            windows: Vec::new(),
        }
    }
}

/// A weekly window. It belongs to the day on which it starts, and may cross midnight.
/// A start in the hour that a clock change skips is the first instant after it, an end there is the
/// moment of the change; in an hour that comes twice both mean the first. Half-open: [start, end).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[x_kube(
    validation = Rule::new("has(self.start) == has(self.end)").message("write both start and end, or neither for the whole day"),
    validation = Rule::new("!has(self.start) || !has(self.end) || self.start != self.end").message("start and end are the same, so the window has no length; leave both out for the whole day")
)]
pub struct Window {
    /// Days on which the window starts. Default every day.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 7))]
    pub days: Vec<Weekday>,
    /// Wall-clock time `HH:MM` at which it starts. Default 00:00.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::start_of_window")]
    pub start: Option<String>,
    /// Wall-clock time `HH:MM` at which it ends; `24:00` is the end of the day; earlier than `start`
    /// means the next day. Default 24:00.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::end_of_window")]
    pub end: Option<String>,
}

/// A day of the week.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
pub enum Weekday {
    /// Monday.
    Mon,
    /// Tuesday.
    Tue,
    /// Wednesday.
    Wed,
    /// Thursday.
    Thu,
    /// Friday.
    Fri,
    /// Saturday.
    Sat,
    /// Sunday.
    Sun,
}

/// How many nodes at once.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Budget {
    /// Nodes of this policy that may be unavailable at once: a number, or a percentage of the nodes
    /// matched, rounded down but at least 1 unless `0%` is written. `0` stops. Nodes that are NotReady
    /// or cordoned by somebody else use it too. Default 1.
    #[serde(default = "Budget::one")]
    #[schemars(schema_with = "schema::max_unavailable")]
    pub max_unavailable: IntOrString,
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
        }
    }
}

/// How pods are moved away before the reboot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct DrainSettings {
    /// Time that a drain may take; then `onTimeout` says what happens. `0s` means no limit and must be
    /// written. Default 30m.
    #[serde(default = "DrainSettings::half_an_hour")]
    pub timeout: Duration,
    /// `Abort` uncordons the node and lets others go first. Default Abort.
    #[serde(default)]
    pub on_timeout: OnDrainTimeout,
    /// Grace period for each pod in seconds; absent means each pod's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 86_400))]
    pub grace_period_seconds: Option<i64>,
}

impl DrainSettings {
    fn half_an_hour() -> Duration {
        Duration::from_secs(30 * 60)
    }
}

impl Default for DrainSettings {
    fn default() -> Self {
        Self {
            timeout: Self::half_an_hour(),
            on_timeout: OnDrainTimeout::Abort,
            grace_period_seconds: None,
        }
    }
}

/// What happens to a drain that takes too long.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
pub enum OnDrainTimeout {
    /// The node is uncordoned and its lease fails; other nodes go on.
    #[default]
    Abort,
}

/// How the reboot is called.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
pub struct RebootSettings {
    /// `Logind` asks systemd-logind over D-Bus, so inhibitors and the kubelet's graceful shutdown are
    /// respected; `Auto` takes the least privileged way that the agent has. Default Auto.
    #[serde(default)]
    pub method: RebootMethod,
    /// Time from the reboot call until the node should be back; then its lease says Stuck. The slot
    /// stays held: time never lets another node go down. Default 15m.
    #[serde(default = "RebootSettings::quarter_of_an_hour")]
    pub timeout: Duration,
}

impl RebootSettings {
    fn quarter_of_an_hour() -> Duration {
        Duration::from_secs(15 * 60)
    }
}

impl Default for RebootSettings {
    fn default() -> Self {
        Self {
            method: RebootMethod::Auto,
            timeout: Self::quarter_of_an_hour(),
        }
    }
}

/// A way to call the reboot.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
pub enum RebootMethod {
    /// The least privileged way that the agent has.
    #[default]
    Auto,
    /// systemd-logind over D-Bus.
    Logind,
}

/// What must hold after the reboot before the slot is given back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct VerifySettings {
    /// The node must have been Ready, under its new boot ID, for this long. A node that does not get
    /// there keeps its slot. Default 60s.
    #[serde(default = "VerifySettings::one_minute")]
    pub node_ready_for: Duration,
}

impl VerifySettings {
    fn one_minute() -> Duration {
        Duration::from_secs(60)
    }
}

impl Default for VerifySettings {
    fn default() -> Self {
        Self {
            node_ready_for: Self::one_minute(),
        }
    }
}

/// What the policy is doing: counts and conditions, never one entry per node.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct RebootPolicyStatus {
    /// The `metadata.generation` that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// `Ready`: the policy is valid and in force. `Progressing`: reboots are under way or due.
    /// `Degraded`: a reboot failed or is stuck. `Conflict`: shares nodes with a policy of the same
    /// priority.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
    /// Nodes by state.
    #[serde(default)]
    pub nodes: NodeCounts,
    /// `budget.maxUnavailable` as a number of nodes.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub allowed: i32,
    /// Nodes of this policy that are unavailable or being rebooted now.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub in_use: i32,
    /// Whether reboots may start now; absent while the schedule cannot be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window: Option<WindowState>,
    /// The present or next window; absent when there is none or it is always open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_window: Option<WindowSpan>,
}

/// Nodes of a policy by state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct NodeCounts {
    /// Obey this policy.
    #[serde(default)]
    pub matched: i32,
    /// Need a reboot.
    #[serde(default)]
    pub required: i32,
    /// Need one and wait.
    #[serde(default)]
    pub waiting: i32,
    /// Are being drained, rebooted or verified.
    #[serde(default)]
    pub in_progress: i32,
    /// Were rebooted, and need none now.
    #[serde(default)]
    pub completed: i32,
    /// Ended their last reboot in failure.
    #[serde(default)]
    pub failed: i32,
}

/// Whether the schedule lets reboots start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum WindowState {
    /// Reboots may start.
    Open,
    /// They may not.
    Closed,
}

/// A window in time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
pub struct WindowSpan {
    /// Its first instant.
    pub start: Time,
    /// The first instant after it.
    pub end: Time,
}
