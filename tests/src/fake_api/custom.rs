//! Custom resources: pruning, defaults and validation by the schemas of our own CRDs.
//!
//! The schemas are read from the code that generates the CRDs, so this server never lags behind.
//! Their CEL rules are evaluated by [`super::rules`].

use std::sync::OnceLock;

use serde_json::{Map, Value, json};
use slipway_api::schema;

use super::answer::{Answer, Fault};
use super::json::text;
use super::kinds::Kind;
use super::{rules, validate};

/// The schema of a kind of ours.
pub(super) fn schema_of(kind: &Kind) -> Option<&'static Value> {
    static SCHEMAS: OnceLock<Vec<(String, Value)>> = OnceLock::new();
    let schemas = SCHEMAS.get_or_init(|| {
        let documents = schema::documents();
        let parsed = documents.into_iter().filter_map(|(_, document)| {
            let crd: Value = serde_yaml::from_str(&document).ok()?;
            let plural = text(&crd, "/spec/names/plural").to_owned();
            let schema = crd.pointer("/spec/versions/0/schema/openAPIV3Schema")?;
            Some((plural, schema.clone()))
        });
        parsed.collect()
    });
    schemas
        .iter()
        .find(|(plural, _)| plural == kind.plural)
        .map(|(_, schema)| schema)
}

/// A new object has no status, whatever the body says.
pub(super) fn prepare_new(kind: &Kind, object: &mut Value) {
    super::json::remove(object, "", "status");
    prepare(kind, object);
}

/// Removes what the schema does not know, and fills in defaults.
pub(super) fn prepare(kind: &Kind, object: &mut Value) {
    let Some(schema) = schema_of(kind) else {
        return;
    };
    let envelope: Vec<(String, Value)> = ["apiVersion", "kind", "metadata"]
        .into_iter()
        .filter_map(|key| Some((key.to_owned(), object.get(key)?.clone())))
        .collect();
    prune(object, schema);
    default(object, schema);
    if let Some(map) = object.as_object_mut() {
        map.extend(envelope);
    }
}

fn prune(value: &mut Value, schema: &Value) {
    match value {
        Value::Object(map) => {
            let properties = schema.get("properties").and_then(Value::as_object);
            if let Some(properties) = properties {
                map.retain(|key, member| {
                    properties
                        .get(key)
                        .is_some_and(|schema| !is_plain_null(member, schema))
                });
                for (key, member) in map.iter_mut() {
                    if let Some(schema) = properties.get(key) {
                        prune(member, schema);
                    }
                }
            } else if let Some(schema) = schema.get("additionalProperties") {
                for member in map.values_mut() {
                    prune(member, schema);
                }
            } else {
                map.clear();
            }
        }
        Value::Array(items) => {
            if let Some(schema) = schema.get("items") {
                for item in items {
                    prune(item, schema);
                }
            }
        }
        _ => {}
    }
}

/// A null where none is allowed counts as absent.
fn is_plain_null(member: &Value, schema: &Value) -> bool {
    member.is_null() && schema.get("nullable") != Some(&json!(true))
}

fn default(value: &mut Value, schema: &Value) {
    match value {
        Value::Object(map) => {
            if let Some(properties) = schema.get("properties").and_then(Value::as_object) {
                default_members(map, properties);
            } else if let Some(schema) = schema.get("additionalProperties") {
                for member in map.values_mut() {
                    default(member, schema);
                }
            }
        }
        Value::Array(items) => {
            if let Some(schema) = schema.get("items") {
                for item in items {
                    default(item, schema);
                }
            }
        }
        _ => {}
    }
}

fn default_members(map: &mut Map<String, Value>, properties: &Map<String, Value>) {
    for (key, schema) in properties {
        if !map.contains_key(key)
            && let Some(value) = schema.get("default")
        {
            map.insert(key.clone(), value.clone());
        }
        if let Some(member) = map.get_mut(key) {
            default(member, schema);
        }
    }
}

/// The schema first; the rules only where no fault could mislead them.
pub(super) fn validate(
    kind: &Kind,
    object: &Value,
    old: Option<&Value>,
    of_status: bool,
) -> Result<(), Answer> {
    let Some(schema) = schema_of(kind) else {
        return Ok(());
    };
    let name = text(object, "/metadata/name");
    let mut faults: Vec<Fault> = super::builtin::name_fault(name).into_iter().collect();
    validate::schema(object, schema, "", &mut faults);
    if of_status {
        // Here the real server's schema begins at the status.
        for fault in &mut faults {
            fault.message = fault.message.replace(": status.", ": ");
        }
    }
    let blocks = |fault: &Fault| {
        matches!(
            fault.reason,
            "FieldValueRequired"
                | "FieldValueTypeInvalid"
                | "FieldValueTooLong"
                | "FieldValueTooMany"
                | "FieldValueNotSupported"
        )
    };
    if faults.iter().any(blocks) {
        let why = "some validation rules were not checked because the object was invalid; correct \
                   the existing errors to complete validation";
        faults.push(Fault::invalid("<nil>", "null", why));
    } else {
        rules::check(object, old, schema, "", &mut faults);
    }
    if faults.is_empty() {
        Ok(())
    } else {
        Err(Answer::invalid(kind, name, &faults))
    }
}
