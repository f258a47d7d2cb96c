//! Schemas that attributes cannot express, and the generated CRD documents.
//!
//! Each rule carries a sentence that names the fix: the API server prints it to whoever made the
//! mistake. Every list, map and string is bounded, else the CEL cost of a rule has no bound and the
//! API server refuses the CRD.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;
use schemars::{Schema, SchemaGenerator, json_schema};

use crate::{RebootLease, RebootLedger, RebootPolicy, checks};

const LABEL_NAME_MAX: u32 = 317;
const LABEL_VALUE_MAX: u32 = 63;

/// Kubernetes' own rule for label names; a selector with another one matches no node, silently.
const LABEL_NAME: &str =
    "matches('^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$')";
pub(crate) const LABEL_NAME_FIX: &str =
    "no node has such a label: write a label name such as pool or example.com/pool";

/// What to write as `triggers.maxUptime`.
pub const MAX_UPTIME_FIX: &str = "write a duration from 1h to 8760h, such as 720h";

/// Value of a label.
pub(crate) fn label_value() -> Schema {
    json_schema!({
        "type": "string",
        "maxLength": LABEL_VALUE_MAX,
        "x-kubernetes-validations": [{
            "rule": "self.matches('^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$')",
            "message": "no label has such a value: write letters, digits, and - _ . between them",
        }],
    })
}

/// The rule that every key of a map is the name of a label.
pub(crate) fn every_label_name() -> String {
    format!("self.all(name, size(name) <= {LABEL_NAME_MAX} && name.{LABEL_NAME})")
}

pub(crate) fn node_selector(_: &mut SchemaGenerator) -> Schema {
    let label_value = label_value();
    json_schema!({
        "type": "object",
        "properties": {
            "matchLabels": {
                "type": "object",
                "description": "Labels that a node must have, with these values.",
                "maxProperties": 16,
                "additionalProperties": label_value,
                "x-kubernetes-validations": [{
                    "rule": every_label_name(),
                    "message": LABEL_NAME_FIX,
                }],
            },
            "matchExpressions": {
                "type": "array",
                "description": "Conditions on labels, all of which must hold.",
                "maxItems": 16,
                "items": {
                    "type": "object",
                    "required": ["key", "operator"],
                    "properties": {
                        "key": {
                            "type": "string", "description": "The label.", "minLength": 1, "maxLength": LABEL_NAME_MAX,
                            "x-kubernetes-validations": [{
                                "rule": format!("self.{LABEL_NAME}"), "message": LABEL_NAME_FIX,
                            }],
                        },
                        "operator": {"type": "string", "description": "How the label is compared.", "enum": ["In", "NotIn", "Exists", "DoesNotExist"]},
                        "values": {
                            "type": "array", "description": "For In and NotIn: the values.", "maxItems": 32,
                            "items": label_value,
                        },
                    },
                    "x-kubernetes-validations": [{
                        "rule": "self.operator in ['In', 'NotIn'] ? has(self.values) && size(self.values) > 0 : !has(self.values) || size(self.values) == 0",
                        "message": "In and NotIn need values; Exists and DoesNotExist take none",
                    }],
                },
            },
        },
    })
}

/// As of nodes, but its messages speak of pods.
pub(crate) fn pod_selector(generator: &mut SchemaGenerator) -> Schema {
    let text = node_selector(generator).to_value().to_string();
    let text = text
        .replace("no node has", "no pod has")
        .replace("a node must", "a pod must");
    serde_json::from_str(&text).unwrap_or_default()
}

/// Name of a label.
pub(crate) fn label_name(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "string",
        "minLength": 1,
        "maxLength": LABEL_NAME_MAX,
        "x-kubernetes-validations": [{
            "rule": format!("self.{LABEL_NAME}"), "message": LABEL_NAME_FIX,
        }],
    })
}

pub(crate) fn check_names(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "maxItems": 16,
        "items": {
            "type": "string",
            "maxLength": 64,
            "x-kubernetes-validations": [{
                "rule": "self in ['*', 'sentinel-file', 'kernel', 'node-condition', 'packages'] || self.matches('^command/[a-z][a-z0-9]*(-[a-z][a-z0-9]*)*$')",
                "message": checks::UNKNOWN_FIX,
            }],
        },
    })
}

pub(crate) fn reboot_method(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "string",
        "maxLength": 63,
        "x-kubernetes-validations": [{
            "rule": "self in ['Auto', 'Logind', 'Systemctl', 'Signal'] || self.matches('^[a-z][-a-z0-9]*$')",
            "message": "write Auto, Logind, Systemctl or Signal, or the name that a method has in the chart's agent.methods, such as power-cycle",
        }],
    })
}

pub(crate) fn max_uptime(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "string",
        "maxLength": 32,
        "x-kubernetes-validations": [{
            "rule": "self.matches('^([0-9]+(ms|s|m|h))+$') && duration(self) >= duration('1h') && duration(self) <= duration('8760h')",
            "message": MAX_UPTIME_FIX,
        }],
    })
}

pub(crate) fn time_zone(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "string",
        "maxLength": 64,
        "x-kubernetes-validations": [{
            "rule": "self.matches('^[A-Za-z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+)*$')",
            "message": "write an IANA time zone name such as Europe/Berlin or UTC",
        }],
    })
}

pub(crate) fn start_of_window(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "string",
        "maxLength": 8,
        "x-kubernetes-validations": [{
            "rule": "self.matches('^([01][0-9]|2[0-3]):[0-5][0-9]$')",
            "message": "write a time from 00:00 to 23:59 as HH:MM, in quotes",
        }],
    })
}

pub(crate) fn end_of_window(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "string",
        "maxLength": 8,
        "x-kubernetes-validations": [{
            "rule": "self.matches('^(([01][0-9]|2[0-3]):[0-5][0-9]|24:00)$')",
            "message": "write a time from 00:00 to 24:00 as HH:MM, in quotes",
        }],
    })
}

/// The five fields of a cron expression. The minute is written as numbers: a window that starts in
/// every minute is one that never closes.
const CRON: &str = "matches('^([0-5]?[0-9])(,[0-5]?[0-9])* \
(([*]|(1?[0-9]|2[0-3])(-(1?[0-9]|2[0-3]))?)(/[0-9]{1,2})?)(,(1?[0-9]|2[0-3])(-(1?[0-9]|2[0-3]))?)* \
([*]|L|([12]?[0-9]|3[01])(-([12]?[0-9]|3[01]))?)(/[0-9]{1,2})?(,([12]?[0-9]|3[01])(-([12]?[0-9]|3[01]))?)* \
([*]|(1[0-2]|[1-9]|[A-Z]{3})(-(1[0-2]|[1-9]|[A-Z]{3}))?)(/[0-9]{1,2})?(,(1[0-2]|[1-9]|[A-Z]{3})(-(1[0-2]|[1-9]|[A-Z]{3}))?)* \
([*]|([0-7]|[A-Z]{3})(-([0-7]|[A-Z]{3})|#[1-5L])?)(/[0-7])?(,([0-7]|[A-Z]{3})(-([0-7]|[A-Z]{3})|#[1-5L])?)*$')";

pub(crate) fn cron(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "string",
        "maxLength": 64,
        "x-kubernetes-validations": [{
            "rule": format!("self.{CRON}"),
            "message": "write five fields, minute hour day-of-month month day-of-week, the minute as a number: 0 2 20 * * is 02:00 on the 20th of each month",
        }],
    })
}

pub(crate) fn moment(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "string",
        "maxLength": 32,
        "x-kubernetes-validations": [{
            "rule": "self.matches('^[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])(T([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9])?(Z|[+-][0-9]{2}:[0-9]{2}))?$')",
            "message": "write a day such as 2026-12-20, or an instant with its offset such as 2026-12-20T18:00:00Z, in quotes",
        }],
    })
}

pub(crate) fn cutoff(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "string",
        "maxLength": 32,
        "x-kubernetes-validations": [{
            "rule": "self == 'Auto' || (self.matches('^([0-9]+(ms|s|m|h))+$') && duration(self) <= duration('168h'))",
            "message": "write Auto, or a duration such as 45m or 1h30m, at most 168h",
        }],
    })
}

pub(crate) fn max_unavailable(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "x-kubernetes-int-or-string": true,
        "anyOf": [{"type": "integer"}, {"type": "string"}],
        "maxLength": 4,
        "x-kubernetes-validations": [{
            "rule": "type(self) == int ? self >= 0 && self <= 1000 : self.matches('^([0-9]|[1-9][0-9]|100)%$')",
            "message": "write a number of nodes from 0 to 1000, or a percentage from 0% to 100% in quotes",
        }],
    })
}

/// The three CRDs, as `cargo xtask crds` writes them to `crds/yaml`.
pub fn definitions() -> Vec<CustomResourceDefinition> {
    [RebootPolicy::crd(), RebootLease::crd(), RebootLedger::crd()]
        .into_iter()
        .map(|mut crd| {
            crd.metadata.labels = Some(
                [("app.kubernetes.io/name".to_owned(), "slipway".to_owned())]
                    .into_iter()
                    .collect(),
            );
            crd
        })
        .collect()
}

/// File name and text of each generated document.
pub fn documents() -> Vec<(String, String)> {
    definitions()
        .into_iter()
        .map(|crd| {
            let name = format!("{}.yaml", crd.metadata.name.clone().unwrap_or_default());
            let text = serde_yaml::to_string(&crd).unwrap_or_default();
            (
                name,
                format!("# Generated by `cargo xtask crds` from crds/src; do not edit.\n{text}"),
            )
        })
        .collect()
}
