//! Label and field selectors, as far as our programs and the conversations use them.

use serde_json::Value;

use super::answer::Answer;
use super::json::text;
use super::kinds::Kind;

/// What a list or a watch is narrowed to.
#[derive(Clone, Debug, Default)]
pub(super) struct Selector {
    labels: Vec<Requirement>,
    fields: Vec<(String, String, bool)>,
}

#[derive(Clone, Debug)]
enum Requirement {
    Is(String, Vec<String>),
    IsNot(String, Vec<String>),
    Exists(String),
    Lacks(String),
}

impl Selector {
    /// Reads both selectors.
    ///
    /// # Errors
    /// 400 for a field that the kind has no index of.
    pub(super) fn read(kind: &Kind, labels: &str, fields: &str) -> Result<Self, Answer> {
        let mut selector = Self {
            labels: split(labels).iter().map(|part| requirement(part)).collect(),
            fields: Vec::new(),
        };
        for part in fields.split(',').filter(|part| !part.is_empty()) {
            let (name, value, equal) = if let Some((name, value)) = part.split_once("!=") {
                (name, value, false)
            } else if let Some((name, value)) = part.split_once("==") {
                (name, value, true)
            } else if let Some((name, value)) = part.split_once('=') {
                (name, value, true)
            } else {
                let message = format!("invalid selector: '{fields}'; can't understand '{part}'");
                return Err(Answer::bad_request(&message));
            };
            if !supported(kind, name) {
                let message = format!("field label not supported: {name}");
                return Err(Answer::bad_request(&message));
            }
            selector
                .fields
                .push((name.to_owned(), value.to_owned(), equal));
        }
        Ok(selector)
    }

    /// True when everything is selected.
    pub(super) fn is_everything(&self) -> bool {
        self.labels.is_empty() && self.fields.is_empty()
    }

    /// True when the object is selected.
    pub(super) fn selects(&self, object: &Value) -> bool {
        let label = |name: &str| {
            let labels = object.pointer("/metadata/labels");
            labels
                .and_then(|labels| labels.get(name))
                .and_then(Value::as_str)
        };
        let labels = self.labels.iter().all(|requirement| match requirement {
            Requirement::Is(name, values) => {
                label(name).is_some_and(|present| values.iter().any(|value| value == present))
            }
            Requirement::IsNot(name, values) => {
                label(name).is_none_or(|present| values.iter().all(|value| value != present))
            }
            Requirement::Exists(name) => label(name).is_some(),
            Requirement::Lacks(name) => label(name).is_none(),
        });
        labels
            && self.fields.iter().all(|(name, value, equal)| {
                let pointer = format!("/{}", name.replace('.', "/"));
                (field(object, &pointer) == *value) == *equal
            })
    }
}

fn field(object: &Value, pointer: &str) -> String {
    match object.pointer(pointer) {
        Some(Value::Bool(value)) => value.to_string(),
        Some(_) => text(object, pointer).to_owned(),
        // The server's own object has every field.
        None if pointer == "/spec/unschedulable" => "false".to_owned(),
        None => String::new(),
    }
}

fn supported(kind: &Kind, field: &str) -> bool {
    let more: &[&str] = match kind.plural {
        "nodes" => &["spec.unschedulable"],
        "pods" => &["spec.nodeName", "status.phase", "spec.serviceAccountName"],
        "events" => &[
            "reason",
            "type",
            "involvedObject.name",
            "involvedObject.uid",
        ],
        _ => &[],
    };
    let namespace = field == "metadata.namespace" && (kind.namespaced || !kind.custom);
    field == "metadata.name" || namespace || more.contains(&field)
}

/// Splits at commas that are not inside brackets.
fn split(labels: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut depth = 0_u32;
    for letter in labels.chars() {
        match letter {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if letter == ',' && depth == 0 {
            parts.push(String::new());
        } else if let Some(last) = parts.last_mut() {
            last.push(letter);
        }
    }
    parts.retain(|part| !part.trim().is_empty());
    parts
}

fn requirement(part: &str) -> Requirement {
    let part = part.trim();
    let listed = |separator: &str| {
        let (name, list) = part.split_once(separator)?;
        let list = list.trim().strip_prefix('(')?.strip_suffix(')')?;
        let values = list.split(',').map(|value| value.trim().to_owned());
        Some((name.trim().to_owned(), values.collect::<Vec<_>>()))
    };
    if let Some((name, values)) = listed(" notin ") {
        return Requirement::IsNot(name, values);
    }
    if let Some((name, values)) = listed(" in ") {
        return Requirement::Is(name, values);
    }
    if let Some((name, value)) = part.split_once("!=") {
        return Requirement::IsNot(name.trim().to_owned(), vec![value.trim().to_owned()]);
    }
    if let Some((name, value)) = part.split_once("==").or_else(|| part.split_once('=')) {
        return Requirement::Is(name.trim().to_owned(), vec![value.trim().to_owned()]);
    }
    match part.strip_prefix('!') {
        Some(name) => Requirement::Lacks(name.trim().to_owned()),
        None => Requirement::Exists(part.to_owned()),
    }
}

/// True when a `LabelSelector` as objects carry it selects these labels; an empty one selects all.
pub fn label_selector(selector: &Value, labels: &Value) -> bool {
    let label = |name: &str| labels.get(name).and_then(Value::as_str);
    let equal = selector.get("matchLabels").and_then(Value::as_object);
    let equal = equal.is_none_or(|all| {
        all.iter()
            .all(|(name, value)| label(name) == value.as_str())
    });
    let expressions = selector.get("matchExpressions").and_then(Value::as_array);
    equal
        && expressions.is_none_or(|all| {
            all.iter().all(|expression| {
                let name = text(expression, "/key");
                let values = expression.get("values").and_then(Value::as_array);
                let among = values.is_some_and(|values| {
                    values
                        .iter()
                        .any(|value| value.as_str().is_some() && value.as_str() == label(name))
                });
                match text(expression, "/operator") {
                    "In" => among,
                    "NotIn" => !among,
                    "Exists" => label(name).is_some(),
                    _ => label(name).is_none(),
                }
            })
        })
}
