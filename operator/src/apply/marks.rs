//! Marks on Nodes: labels, the soft taint and annotations, in one write that rests on the version
//! that was read. The taint list is one value to the API server, whoever's taints are in it: without
//! the version, a taint that the node lifecycle adds meanwhile would be lost (faults.md F65).

use k8s_openapi::api::core::v1::{Node, Taint};
use kube::Api;
use kube::api::Patch;
use serde_json::{Map, Value, json};
use slipway_api::names;
use slipway_client::call::{CallError, bounded};
use slipway_planner::NodeView;
use slipway_planner::marks::{Marks, is_ours, protects_for_us};

use super::{Context, Done, patch, skip};
use crate::observe::{node_view, read};

/// Makes a Node carry exactly these marks of ours.
pub(super) async fn mark(
    ctx: &Context,
    (name, uid): (&str, &str),
    marks: &Marks,
) -> Result<Done, CallError> {
    let Some(node) = read::node(&ctx.client, name).await? else {
        return skip("there is no node");
    };
    if node.metadata.uid.as_deref() != Some(uid) || node.metadata.deletion_timestamp.is_some() {
        return skip("the node is another one, or is being deleted");
    }
    let Some(body) = body(&node, marks) else {
        return skip("marked already");
    };
    let api: Api<Node> = Api::all(ctx.client.clone());
    let (params, body) = (patch::params(), Patch::Merge(&body));
    bounded("mark the node", api.patch(name, &params, &body)).await?;
    Ok(Done::Applied)
}

/// The patch that makes the Node, as just read, carry these marks; `None` where it does.
fn body(node: &Node, marks: &Marks) -> Option<Value> {
    let view = node_view(node.clone());
    let marks = marks.clone().fitting(&view);
    if marks.are_on(&view) {
        return None;
    }
    let mut labels = Map::new();
    for (key, value) in &view.labels {
        if is_ours(&view, key, value) && !marks.labels.contains_key(key) {
            labels.insert(key.clone(), Value::Null);
        }
    }
    for (key, value) in &marks.labels {
        if view.labels.get(key) != Some(value) {
            labels.insert(key.clone(), json!(value));
        }
    }
    let mut annotations = protections(node, &view, &marks);
    let mut annotate = |key: &str, before: Option<&String>, now: Option<&String>| {
        if before != now {
            annotations.insert(key.to_owned(), json!(now));
        }
    };
    let present = |key| {
        node.metadata
            .annotations
            .as_ref()
            .and_then(|all| all.get(key))
    };
    for (key, record) in [
        (names::ANNOTATION_LABELS, marks.record()),
        (names::ANNOTATION_PROTECTIONS, marks.record_of_protections()),
    ] {
        annotate(key, present(key), record.as_ref());
    }
    for key in names::ANNOTATIONS_OF_MARKS {
        annotate(
            key,
            view.marks.annotations.get(key),
            marks.annotations.get(key),
        );
    }
    let metadata = json!({
        "resourceVersion": patch::version(&node.metadata),
        "labels": labels, "annotations": annotations,
    });
    if marks.soft_taint == view.marks.soft_taint {
        return Some(json!({ "metadata": metadata }));
    }
    let spec = json!({ "taints": taints(node, marks.soft_taint) });
    Some(json!({ "metadata": metadata, "spec": spec }))
}

/// What protects the node from others: written where nothing is, taken away where we wrote it and
/// nobody has said the same since.
fn protections(node: &Node, view: &NodeView, marks: &Marks) -> Map<String, Value> {
    let mut annotations = Map::new();
    for key in names::PROTECTIONS {
        let (wanted, ours) = (marks.protections.contains(key), protects_for_us(view, key));
        if wanted && !ours {
            annotations.insert(key.to_owned(), json!(names::PROTECTED));
        } else if !wanted && ours && !somebody_else_wants(node, key) {
            annotations.insert(key.to_owned(), Value::Null);
        }
    }
    annotations
}

/// Somebody else has applied the same annotation, which leaves its value as it was.
fn somebody_else_wants(node: &Node, key: &str) -> bool {
    let managers = node.metadata.managed_fields.iter().flatten();
    { managers }.any(|entry| {
        let owned = entry.fields_v1.as_ref().and_then(|fields| {
            let annotations = fields.0.get("f:metadata")?.get("f:annotations")?;
            annotations.get(format!("f:{key}"))
        });
        owned.is_some() && entry.manager.as_deref() != Some(names::MANAGER_OPERATOR)
    })
}

/// Every taint but ours, as they are, and ours where it has to be.
fn taints(node: &Node, soft_taint: bool) -> Option<Vec<Taint>> {
    let present = node
        .spec
        .iter()
        .flat_map(|spec| spec.taints.iter().flatten());
    let mut taints: Vec<Taint> = present
        .filter(|taint| !slipway_planner::objects::is_soft_taint(taint))
        .cloned()
        .collect();
    if soft_taint {
        taints.push(Taint {
            key: names::TAINT_REBOOT_REQUIRED.to_owned(),
            effect: names::TAINT_EFFECT.to_owned(),
            ..Taint::default()
        });
    }
    (!taints.is_empty()).then_some(taints)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(labels: &Value, annotations: &Value, taints: &Value) -> Node {
        serde_json::from_value(json!({
            "metadata": {"name": "n", "uid": "u", "resourceVersion": "7", "labels": labels,
                "annotations": annotations},
            "spec": {"taints": taints},
        }))
        .unwrap()
    }

    fn marks(labels: &[(&str, &str)], soft_taint: bool) -> Marks {
        let labels = labels
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        Marks {
            labels: labels.collect(),
            soft_taint,
            ..Marks::default()
        }
    }

    #[test]
    fn labels_are_written_with_the_record_that_they_are_ours_and_tied_to_the_version_read() {
        let bare = node(&json!({"pool": "a"}), &Value::Null, &Value::Null);
        let body = body(&bare, &marks(&[("state", "rebooting")], false)).unwrap();
        assert_eq!(body["metadata"]["resourceVersion"], "7");
        assert_eq!(body["metadata"]["labels"], json!({"state": "rebooting"}));
        let record = json!({"slipway.dev/labels": "state=rebooting"});
        assert_eq!(body["metadata"]["annotations"], record);
        assert!(body.get("spec").is_none());
    }

    #[test]
    fn only_labels_that_are_recorded_as_they_are_get_taken_away() {
        let record = json!({"slipway.dev/labels": "pool=b,state=rebooting"});
        let labels = json!({"pool": "a", "state": "rebooting"});
        let body = body(&node(&labels, &record, &Value::Null), &Marks::default()).unwrap();
        assert_eq!(body["metadata"]["labels"], json!({"state": null}));
        assert_eq!(
            body["metadata"]["annotations"],
            json!({"slipway.dev/labels": null})
        );
    }

    #[test]
    fn a_label_of_somebody_else_is_neither_written_over_nor_recorded() {
        let node = node(&json!({"state": "mine"}), &Value::Null, &Value::Null);
        assert_eq!(body(&node, &marks(&[("state", "rebooting")], false)), None);
    }

    fn protected(keys: &[&str]) -> Marks {
        Marks {
            protections: keys.iter().map(|key| (*key).to_owned()).collect(),
            ..Marks::default()
        }
    }

    fn annotated(annotations: &Value) -> Node {
        node(&Value::Null, annotations, &Value::Null)
    }

    const CA: &str = names::ANNOTATION_SCALE_DOWN_DISABLED;
    const KARPENTER: &str = names::ANNOTATION_DO_NOT_DISRUPT;
    const RECORD: &str = names::ANNOTATION_PROTECTIONS;

    #[test]
    fn f53_a_node_is_protected_with_a_record_that_it_was_us() {
        let written = body(&annotated(&Value::Null), &protected(&[CA, KARPENTER])).unwrap();
        let both = format!("{CA}=true,{KARPENTER}=true");
        assert_eq!(
            written["metadata"]["annotations"],
            json!({CA: "true", KARPENTER: "true", RECORD: both})
        );
    }

    #[test]
    fn f112_what_protects_a_node_is_taken_away_with_its_record() {
        let ours = annotated(&json!({CA: "true", RECORD: format!("{CA}=true")}));
        let written = body(&ours, &Marks::default()).unwrap();
        assert_eq!(
            written["metadata"]["annotations"],
            json!({CA: null, RECORD: null})
        );
    }

    #[test]
    fn f53_a_humans_protection_is_neither_recorded_nor_taken_away() {
        for value in ["true", "false"] {
            let theirs = annotated(&json!({CA: value}));
            assert_eq!(body(&theirs, &protected(&[CA])), None, "{value}");
            assert_eq!(body(&theirs, &Marks::default()), None, "{value}");
        }
        // Changed since: it is theirs now, and only our record goes.
        let changed = annotated(&json!({CA: "false", RECORD: format!("{CA}=true")}));
        let written = body(&changed, &Marks::default()).unwrap();
        assert_eq!(written["metadata"]["annotations"], json!({RECORD: null}));
    }

    #[test]
    fn f53_a_protection_that_somebody_else_applies_as_well_stays() {
        let mut ours = annotated(&json!({CA: "true", RECORD: format!("{CA}=true")}));
        let owner = |manager: &str| {
            json!({"manager": manager, "operation": "Apply", "apiVersion": "v1",
                "fieldsType": "FieldsV1",
                "fieldsV1": {"f:metadata": {"f:annotations": {format!("f:{CA}"): {}}}}})
        };
        let owners = json!([owner("slipway-operator"), owner("kubectl")]);
        ours.metadata.managed_fields = serde_json::from_value(owners).unwrap();
        let written = body(&ours, &Marks::default()).unwrap();
        assert_eq!(written["metadata"]["annotations"], json!({RECORD: null}));
        let owners = json!([owner("slipway-operator")]);
        ours.metadata.managed_fields = serde_json::from_value(owners).unwrap();
        let written = body(&ours, &Marks::default()).unwrap();
        assert_eq!(
            written["metadata"]["annotations"],
            json!({CA: null, RECORD: null})
        );
    }

    #[test]
    fn f65_every_other_taint_stays_as_it_is() {
        let theirs = json!({"key": "a", "effect": "NoExecute", "value": "b",
            "timeAdded": "2026-11-24T12:00:00Z"});
        let ours = json!({"key": "slipway.dev/reboot-required", "effect": "PreferNoSchedule"});
        let hard = json!({"key": "slipway.dev/reboot-required", "effect": "NoSchedule"});
        let plain = node(&Value::Null, &Value::Null, &json!([theirs, hard]));
        let written = body(&plain, &marks(&[], true)).unwrap();
        assert_eq!(written["spec"]["taints"], json!([theirs, hard, ours]));
        let tainted = node(&Value::Null, &Value::Null, &json!([ours, theirs]));
        assert_eq!(body(&tainted, &marks(&[], true)), None);
        let written = body(&tainted, &marks(&[], false)).unwrap();
        assert_eq!(written["spec"]["taints"], json!([theirs]));
        let alone = node(&Value::Null, &Value::Null, &json!([ours]));
        let written = body(&alone, &marks(&[], false)).unwrap();
        assert_eq!(written["spec"]["taints"], Value::Null);
    }
}
