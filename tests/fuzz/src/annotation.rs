//! Our annotations on the Node, as anybody may have changed them: what is not surely ours stays.

use arbitrary::Unstructured;
use k8s_openapi::api::core::v1::Node;
use serde_json::{Value, json};
use slipway_api::names::{ANNOTATION_CORDONED, ANNOTATION_UNDONE, MANAGER_AGENT};
use slipway_node_agent::facts::Mark;
use slipway_node_agent::node_write;

use crate::input::{byte, one_of, text};

const FENCE: i64 = 7;

pub(crate) fn run(input: &[u8]) {
    let mut u = Unstructured::new(input);
    let flags = byte(&mut u);
    let set = |bit: u8| flags & (1 << bit) != 0;
    let managers = [MANAGER_AGENT, "kubectl-cordon", "", "slipway-operator"];
    let (manager, second) = (one_of(&mut u, &managers), one_of(&mut u, &managers));
    let (record, undone) = (text(&mut u, 200), text(&mut u, 40));
    let owner = |manager: &str, owns: bool| {
        let fields = if owns {
            json!({"f:spec": {"f:unschedulable": {}}})
        } else {
            json!({"f:metadata": {}})
        };
        json!({"manager": manager, "operation": "Update", "fieldsType": "FieldsV1", "fieldsV1": fields})
    };
    let mut annotations = serde_json::Map::new();
    if set(0) {
        annotations.insert(ANNOTATION_CORDONED.to_owned(), json!(record));
    }
    if set(1) {
        annotations.insert(ANNOTATION_UNDONE.to_owned(), json!(undone));
    }
    let node: Node = serde_json::from_value(json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": {"name": "n1", "uid": "u", "resourceVersion": "9", "annotations": annotations,
            "managedFields": [owner(manager, set(2)), owner(second, set(3))]},
        "spec": {"unschedulable": set(4)},
    }))
    .unwrap();

    let facts = node_write::facts(&node, true);
    assert_eq!(facts.mark == Mark::Absent, !set(0), "a record is there");
    let cordon = node_write::cordon(&node, FENCE);
    assert_eq!(cordon.is_some(), !set(0), "a record is never overwritten");
    if let Some(patch) = &cordon {
        rests_on_what_was_read(patch);
    }
    let ours = said(&record).filter(|_| set(0));
    let foreign = [(manager, set(2)), (second, set(3))]
        .iter()
        .any(|(manager, owns)| *owns && *manager != MANAGER_AGENT);
    match node_write::undo(&node, FENCE) {
        None => assert!(!set(0) && set(1) && undone == FENCE.to_string()),
        Some(patch) => {
            rests_on_what_was_read(&patch);
            let lifts = patch.pointer("/spec/unschedulable").is_some();
            let may = ours == Some(false) && set(4) && !foreign;
            assert_eq!(lifts, may, "a cordon that is not surely ours stays");
            assert_eq!(
                patch.pointer("/metadata/annotations/slipway.dev~1undone"),
                Some(&json!(FENCE.to_string())),
                "every undo changes something"
            );
        }
    }
}

/// What the record says of the Node before, if it is one.
fn said(record: &str) -> Option<bool> {
    let value: Value = serde_json::from_str(record).ok()?;
    let (fence, before) = match &value {
        Value::Array(parts) if parts.len() == 2 => (&parts[0], &parts[1]),
        value => (value.get("fence")?, value.get("unschedulableBefore")?),
    };
    fence.as_i64()?;
    before.as_bool()
}

fn rests_on_what_was_read(patch: &Value) {
    let version = patch.pointer("/metadata/resourceVersion");
    assert_eq!(version, Some(&json!("9")), "the write may land late");
}
