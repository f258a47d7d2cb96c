//! What else must agree before a node may go: other systems, other pods, other nodes.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::KubeSchema;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use crate::duration::Duration;
use crate::schema;

/// Most blockers of a policy.
pub const BLOCKERS_MAX: usize = 16;
/// Longest regular expression, in bytes: what a hostile one costs to compile is bounded by this and
/// by the size of its program (faults.md F71).
pub const PATTERN_MAX: usize = 256;
/// Alerts that do not count by default. `RebootRequired` and `Slipway...` are the alerts that
/// Slipway itself ships: a node that waits for its own alert to end would wait for ever.
pub const IGNORED_ALERTS: &str = "^(RebootRequired|Watchdog|Slipway.*)$";

/// One thing that can keep nodes from being rebooted. Exactly one kind is written beside its name.
/// Blockers are asked while a node could be granted a reboot otherwise, and again once it is
/// drained: a blocker that blocks then has the node uncordoned undisturbed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[x_kube(
    validation = Rule::new("[has(self.prometheus), has(self.promql), has(self.alertmanager), has(self.pods), has(self.nodes), has(self.http)].filter(kind, kind).size() == 1").message("write exactly one of prometheus, promql, alertmanager, pods, nodes and http beside the name; another one is another blocker")
)]
pub struct Blocker {
    /// Its name, by which status, events and metrics call it.
    #[schemars(schema_with = "name")]
    pub name: String,
    /// Blocks while alerts of a Prometheus are firing or pending.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prometheus: Option<PrometheusBlocker>,
    /// Blocks while a query has a non-empty answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub promql: Option<PromqlBlocker>,
    /// Blocks while an Alertmanager has alerts that are neither silenced nor inhibited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alertmanager: Option<AlertmanagerBlocker>,
    /// Blocks while pods run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pods: Option<PodsBlocker>,
    /// Blocks while other nodes are not Ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nodes: Option<NodesBlocker>,
    /// Blocks unless a URL agrees.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<HttpBlocker>,
}

/// Where to ask, as whom, and what an answer that does not come means.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Endpoint {
    /// Address, beginning with `http://` or `https://`. The operator may be told to allow only some
    /// addresses. Redirects are not followed, and what is answered never appears in a status.
    #[schemars(schema_with = "url")]
    pub url: String,
    /// Secret in Slipway's own namespace with `token` (bearer), `username` and `password` (basic),
    /// `tls.crt` and `tls.key` (client certificate), or `ca.crt` (the authorities to trust for this
    /// address, instead of the system's). Default none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials_ref: Option<CredentialsRef>,
    /// What no answer, or one that cannot be understood, means: `Block` keeps nodes waiting, `Allow`
    /// lets them go and says so in status. Default Block.
    #[serde(default)]
    pub on_error: OnError,
    /// How long an answer may take, from 1s to 10s. Default 5s.
    #[serde(default = "Endpoint::five_seconds")]
    #[schemars(schema_with = "timeout")]
    pub timeout: Duration,
}

impl Endpoint {
    fn five_seconds() -> Duration {
        Duration::from_secs(5)
    }
}

/// A Secret with credentials.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
pub struct CredentialsRef {
    /// Its name, in Slipway's own namespace.
    #[schemars(schema_with = "secret_name")]
    pub secret: String,
}

/// What no answer means.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
pub enum OnError {
    /// Nodes wait.
    #[default]
    Block,
    /// Nodes go, and status says that nobody was asked.
    Allow,
}

/// Alerts of a Prometheus, or of anything that answers its query API.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct PrometheusBlocker {
    /// Where to ask.
    #[serde(flatten)]
    pub endpoint: Endpoint,
    /// Regular expression of names of alerts that do not count, anywhere in the name; `""` ignores
    /// none. Default `^(RebootRequired|Watchdog|Slipway.*)$`: without it, nodes would wait for the
    /// alert that says that they wait.
    #[serde(default = "ignored_alerts")]
    #[schemars(length(max = 256))]
    pub ignore: String,
    /// Regular expression of names of alerts; only these count, unless `ignore` names them too.
    /// Default all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub only: Option<String>,
    /// True counts alerts that are firing, and not those that are pending. Default false.
    #[serde(default)]
    pub firing_only: bool,
}

/// A query to a Prometheus, or to anything that answers its query API.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct PromqlBlocker {
    /// Where to ask.
    #[serde(flatten)]
    pub endpoint: Endpoint,
    /// Query in `PromQL`. Any series in its answer blocks, whatever its value; an empty answer does
    /// not: write a comparison, such as `slo_budget < 0.1`.
    #[schemars(length(min = 1, max = 1024))]
    pub query: String,
}

/// Active alerts of an Alertmanager.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct AlertmanagerBlocker {
    /// Where to ask.
    #[serde(flatten)]
    pub endpoint: Endpoint,
    /// Alerts count where all of these hold, such as `severity=critical` or `team=~"web|db"`.
    /// Default all alerts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "matchers")]
    pub matchers: Vec<String>,
    /// Regular expression of names of alerts that do not count, anywhere in the name; `""` ignores
    /// none. Default `^(RebootRequired|Watchdog|Slipway.*)$`.
    #[serde(default = "ignored_alerts")]
    #[schemars(length(max = 256))]
    pub ignore: String,
}

/// Pods that must not be disturbed. Pods that have finished do not count.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
pub struct PodsBlocker {
    /// The pods, by label, in every namespace. Required: write `{}` to mean every pod.
    #[schemars(schema_with = "schema::pod_selector")]
    pub selector: LabelSelector,
    /// `Node`: the node that they run on waits. `Cluster`: every node waits. Default Node.
    #[serde(default)]
    pub scope: PodScope,
}

/// Whom a pod keeps waiting.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
pub enum PodScope {
    /// The node that it runs on.
    #[default]
    Node,
    /// Every node of the policy.
    Cluster,
}

/// Health of the other nodes of the cluster, whichever policy they obey.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct NodesBlocker {
    /// Other nodes that may be not Ready. Nodes that are being rebooted by Slipway count only once
    /// they are overdue. Default 0.
    #[serde(default)]
    #[schemars(range(min = 0, max = 10_000))]
    pub max_not_ready: i32,
}

/// A URL that says whether nodes may be rebooted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct HttpBlocker {
    /// Where to ask, with GET.
    #[serde(flatten)]
    pub endpoint: Endpoint,
    /// The answer that lets nodes go: any status from 200 to 299. Other statuses below 500 block,
    /// but 401, 407, 408 and 429; these, 300 to 399, and 500 and above are no answer (`onError`).
    /// Default 2xx.
    #[serde(default)]
    pub allow_when: AllowWhen,
}

/// The answer that lets nodes go.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
pub enum AllowWhen {
    /// Any status from 200 to 299.
    #[default]
    #[serde(rename = "2xx")]
    Success,
}

fn ignored_alerts() -> String {
    IGNORED_ALERTS.to_owned()
}

fn name(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "string", "minLength": 1, "maxLength": 63,
        "x-kubernetes-validations": [{
            "rule": "self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')",
            "message": "write a name of lower-case letters, digits and - between them",
        }],
    })
}

fn url(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "string", "maxLength": 512,
        "x-kubernetes-validations": [{
            "rule": "self.matches('^https?://[^/?#@[:space:]]+(/[^#@[:space:]]*)?$')",
            "message": "write an address such as https://prometheus.monitoring.svc:9090, without user, password or #; credentials belong into a Secret (credentialsRef)",
        }],
    })
}

fn timeout(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "string", "maxLength": 32,
        "x-kubernetes-validations": [{
            "rule": "self.matches('^([0-9]+(ms|s|m|h))+$') && duration(self) >= duration('1s') && duration(self) <= duration('10s')",
            "message": "write a duration from 1s to 10s",
        }],
    })
}

pub(super) fn secret_name(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "string", "minLength": 1, "maxLength": 253,
        "x-kubernetes-validations": [{
            "rule": "self.matches('^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$')",
            "message": "write the name of a Secret in Slipway's own namespace, without a namespace",
        }],
    })
}

fn matchers(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array", "maxItems": 16,
        "items": {
            "type": "string", "maxLength": 256,
            "x-kubernetes-validations": [{
                "rule": "self.matches('^[a-zA-Z_][a-zA-Z0-9_]*(=~|!~|!=|=)')",
                "message": "write a matcher such as severity=critical, team!=web or name=~\"a|b\"",
            }],
        },
    })
}
