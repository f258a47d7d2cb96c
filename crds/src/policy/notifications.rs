//! Who is told about reboots, and what has been told.

use std::fmt;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::KubeSchema;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::blockers::secret_name;

/// Most notifications of a policy.
pub const NOTIFICATIONS_MAX: usize = 8;
/// Most reboots of which `status.notifications[].told` remembers what was told.
pub const TOLD_MAX: usize = 256;
/// Most characters of `status.notifications[].lastError`.
pub const LAST_ERROR_MAX: usize = 512;

/// Somebody who is told about the reboots of this policy. Nothing waits for a notification: a target
/// that is slow or away delays no reboot and no other target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Notification {
    /// The Secret that holds the URL to tell. A Secret is named by one notification of a policy only.
    pub secret_ref: SecretKeyRef,
    /// What is told. Default all of them.
    #[serde(default = "NotificationEvent::all")]
    #[schemars(schema_with = "events")]
    pub events: Vec<NotificationEvent>,
    /// Texts instead of the default ones.
    #[serde(default)]
    pub templates: Templates,
}

/// A key of a Secret.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, KubeSchema)]
pub struct SecretKeyRef {
    /// Name of a Secret in Slipway's own namespace. Beside the URL it may hold `ca.crt`: the
    /// authorities to trust for the target, instead of the system's.
    #[schemars(schema_with = "secret_name")]
    pub name: String,
    /// Key of the URL in it: `slack://`, `teams://`, `rocketchat://`, `smtp://` or `generic://` as
    /// kured takes them, or a plain `https://` address. Default `url`.
    #[serde(default = "SecretKeyRef::url")]
    #[schemars(schema_with = "secret_key")]
    pub key: String,
}

impl SecretKeyRef {
    fn url() -> String {
        "url".to_owned()
    }
}

/// What can be told.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
pub enum NotificationEvent {
    /// A node is being drained.
    Draining,
    /// A node is being rebooted.
    Rebooting,
    /// A node is back, verified and uncordoned.
    Completed,
    /// The reboot of a node failed.
    Failed,
    /// A blocker has kept nodes waiting for a minute; told once an hour at most.
    Blocked,
    /// Too many reboots have failed, and the policy grants no more.
    BreakerOpen,
}

impl NotificationEvent {
    /// Every event, in the order of a reboot.
    pub const ALL: [Self; 6] = [
        Self::Draining,
        Self::Rebooting,
        Self::Completed,
        Self::Failed,
        Self::Blocked,
        Self::BreakerOpen,
    ];

    fn all() -> Vec<Self> {
        Self::ALL.to_vec()
    }

    /// The name as written in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Draining => "Draining",
            Self::Rebooting => "Rebooting",
            Self::Completed => "Completed",
            Self::Failed => "Failed",
            Self::Blocked => "Blocked",
            Self::BreakerOpen => "BreakerOpen",
        }
    }
}

impl fmt::Display for NotificationEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Texts by event. `{node}`, `{policy}`, `{event}`, `{fence}`, `{reason}`, `{message}` and
/// `{duration}` stand for what happened; `{{` and `}}` for a brace. For Draining and Rebooting,
/// reason and message say why the node has to be rebooted, for the others how it ended or what is
/// wrong. `{duration}` is the time since the drain began, known at Completed and Failed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Templates {
    /// Default `Draining node {node}`, as kured's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "node_template")]
    pub draining: Option<String>,
    /// Default `Rebooting node {node}`, as kured's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "node_template")]
    pub rebooting: Option<String>,
    /// Default `Node {node} rebooted & uncordoned successfully!`, as kured's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "node_template")]
    pub completed: Option<String>,
    /// Default `Reboot of node {node} failed: {reason}: {message}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "node_template")]
    pub failed: Option<String>,
    /// Default `Policy {policy} is blocked: {message}`. Of a policy, not of a node: `{policy}`,
    /// `{event}`, `{reason}` and `{message}` are known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "policy_template")]
    pub blocked: Option<String>,
    /// Default `Policy {policy} grants no more reboots: {message}`. Of a policy, as `blocked`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "policy_template")]
    pub breaker_open: Option<String>,
}

impl Templates {
    /// The text for an event.
    pub fn text(&self, event: NotificationEvent) -> &str {
        let (written, default) = match event {
            NotificationEvent::Draining => (&self.draining, "Draining node {node}"),
            NotificationEvent::Rebooting => (&self.rebooting, "Rebooting node {node}"),
            NotificationEvent::Completed => (
                &self.completed,
                "Node {node} rebooted & uncordoned successfully!",
            ),
            NotificationEvent::Failed => (
                &self.failed,
                "Reboot of node {node} failed: {reason}: {message}",
            ),
            NotificationEvent::Blocked => (&self.blocked, "Policy {policy} is blocked: {message}"),
            NotificationEvent::BreakerOpen => (
                &self.breaker_open,
                "Policy {policy} grants no more reboots: {message}",
            ),
        };
        written.as_deref().unwrap_or(default)
    }
}

/// How the deliveries of a notification stand. Says nothing of the URL.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct NotificationStatus {
    /// `secretRef.name`.
    #[schemars(length(max = 253))]
    pub secret: String,
    /// `secretRef.key`.
    #[schemars(length(max = 253))]
    pub key: String,
    /// What the URL speaks to; absent while it could not be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub form: Option<String>,
    /// When it was first seen: nothing older is told.
    pub since: Time,
    /// When something was last delivered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_delivered: Option<Time>,
    /// Why the last attempt failed; absent after one that did not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    pub last_error: Option<String>,
    /// Messages that wait to be tried again.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub pending: i32,
    /// What was told of reboots of the last hour, so that another leader does not tell it again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    pub told: Vec<Told>,
    /// Beginning of the blockage that was told last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub told_blocked: Option<Time>,
    /// Opening of the breaker that was told last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub told_breaker_open: Option<Time>,
}

/// What was told of one reboot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
pub struct Told {
    /// Its fence.
    #[schemars(range(min = 1))]
    pub fence: i64,
    /// What was told, or given up after the last try.
    #[schemars(length(max = 6))]
    pub events: Vec<NotificationEvent>,
}

fn secret_key(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "string", "minLength": 1, "maxLength": 253,
        "x-kubernetes-validations": [{
            "rule": "self.matches('^[-._a-zA-Z0-9]+$')",
            "message": "write the key of the Secret under which the URL is, such as url; never the URL itself",
        }],
    })
}

fn events(_: &mut SchemaGenerator) -> Schema {
    let names = NotificationEvent::ALL.map(NotificationEvent::as_str);
    json_schema!({
        "type": "array", "maxItems": 6,
        "items": {"type": "string", "enum": names},
        "x-kubernetes-validations": [{
            "rule": "self.size() > 0",
            "message": "write at least one event, or leave events out to be told of all",
        }],
    })
}

fn node_template(_: &mut SchemaGenerator) -> Schema {
    template(
        "^([^{}]|[{][{]|[}][}]|[{](node|policy|event|fence|reason|message|duration)[}])*$",
        "the text may hold {node}, {policy}, {event}, {fence}, {reason}, {message} and {duration}; write {{ or }} for a brace",
    )
}

fn policy_template(_: &mut SchemaGenerator) -> Schema {
    template(
        "^([^{}]|[{][{]|[}][}]|[{](policy|event|reason|message)[}])*$",
        "this event is about the policy and not about a node: the text may hold {policy}, {event}, {reason} and {message}; write {{ or }} for a brace",
    )
}

fn template(pattern: &str, fix: &str) -> Schema {
    json_schema!({
        "type": "string", "minLength": 1, "maxLength": 512,
        "x-kubernetes-validations": [
            {"rule": format!("self.matches('{pattern}')"), "message": fix},
            {
                "rule": "!self.contains('%s')",
                "message": "names stand for what happened: write {node} where kured had %s",
            },
        ],
    })
}
