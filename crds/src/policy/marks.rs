//! What is written on Nodes for others to see: the soft taint, labels and annotations.

use std::collections::BTreeMap;

use kube::KubeSchema;
use schemars::{Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use crate::schema;

/// Most labels in each of the two lists.
pub const LABELS_MAX: usize = 8;

/// How nodes that go are kept free of new pods.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct CordonSettings {
    /// True puts the taint `slipway.dev/reboot-required:PreferNoSchedule` on nodes that wait for their
    /// reboot, so that pods of a node that is drained rather go to one that does not follow. It is
    /// taken away once the node has rebooted, or its reboot has ended or is not allowed any more
    /// (pause, mode Observe). Default false.
    #[serde(default)]
    pub soft_taint: bool,
}

/// What Slipway tells on the Node itself about its reboot.
///
/// A label that is there already is never changed: only what Slipway has written is taken away again.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct NodeMetadata {
    /// Labels that a node has from the grant of its reboot until that has ended, however it ends. At
    /// most 8. Default none.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "labels")]
    pub labels_while_rebooting: BTreeMap<String, String>,
    /// Labels that a node has after a reboot that was proved and verified, until the next one is
    /// granted. At most 8. Default none.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "labels")]
    pub labels_after: BTreeMap<String, String>,
    /// True annotates nodes with `slipway.dev/reboot-required-since` while they need a reboot, and
    /// with `slipway.dev/reboot-in-progress` (since when) while it is under way. Default false: the
    /// lease tells the same.
    #[serde(default)]
    pub annotate: bool,
}

impl NodeMetadata {
    /// True when the label is one that it writes.
    pub fn writes(&self, label: &str) -> bool {
        self.labels_while_rebooting.contains_key(label) || self.labels_after.contains_key(label)
    }
}

fn labels(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "maxProperties": LABELS_MAX,
        "additionalProperties": schema::label_value(),
        "x-kubernetes-validations": [
            {
                "rule": schema::every_label_name(),
                "message": schema::LABEL_NAME_FIX,
            },
            {
                "rule": "self.all(name, !name.matches('^([^/]*[.])?(kubernetes|k8s)[.]io/') || name == 'node.kubernetes.io/exclude-from-external-load-balancers')",
                "message": "labels of kubernetes.io and k8s.io are Kubernetes' own; of these, only node.kubernetes.io/exclude-from-external-load-balancers may be written",
            },
        ],
    })
}
