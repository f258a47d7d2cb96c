//! What the server answers, in the words of the real one.

use serde_json::{Value, json};

use super::kinds::Kind;

/// An answer: a code and an object.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// HTTP status.
    pub code: u16,
    /// The object, or a plain text.
    pub body: Value,
}

impl Answer {
    /// An object.
    pub fn ok(body: Value) -> Self {
        Self { code: 200, body }
    }

    /// A new object.
    pub fn created(body: Value) -> Self {
        Self { code: 201, body }
    }

    /// A failure whose details are given.
    pub fn failure(code: u16, reason: &str, message: &str, details: &Value) -> Self {
        let mut body = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": message, "code": code,
        });
        if !reason.is_empty() {
            super::json::set(&mut body, "", "reason", json!(reason));
        }
        if !details.is_null() {
            super::json::set(&mut body, "", "details", details.clone());
        }
        Self { code, body }
    }

    /// 400.
    pub fn bad_request(message: &str) -> Self {
        Self::failure(400, "BadRequest", message, &Value::Null)
    }

    /// 404 for a path that leads to no kind.
    pub fn no_such_kind() -> Self {
        let message = "the server could not find the requested resource";
        Self::failure(404, "NotFound", message, &json!({}))
    }

    /// 404 for a path below which nothing is served.
    pub fn no_such_page() -> Self {
        Self {
            code: 404,
            body: json!("404 page not found\n"),
        }
    }

    /// 404 for an object.
    pub fn not_found(kind: &Kind, name: &str) -> Self {
        let message = format!("{} \"{name}\" not found", kind.resource());
        Self::failure(404, "NotFound", &message, &details(kind, name))
    }

    /// 405.
    pub fn not_allowed() -> Self {
        let message = "the server does not allow this method on the requested resource";
        Self::failure(405, "MethodNotAllowed", message, &json!({}))
    }

    /// 409 because the name is taken.
    pub fn exists(kind: &Kind, name: &str) -> Self {
        let message = format!("{} \"{name}\" already exists", kind.resource());
        Self::failure(409, "AlreadyExists", &message, &details(kind, name))
    }

    /// 409 because the object has changed.
    pub fn modified(kind: &Kind, name: &str) -> Self {
        let why = "the object has been modified; please apply your changes to the latest version \
                   and try again";
        Self::conflict(kind, name, why)
    }

    /// 409 for another cause.
    pub fn conflict(kind: &Kind, name: &str, why: &str) -> Self {
        let resource = kind.resource();
        let message = format!("Operation cannot be fulfilled on {resource} \"{name}\": {why}");
        Self::failure(409, "Conflict", &message, &details(kind, name))
    }

    /// 410 because history has been compacted.
    pub fn expired(message: &str) -> Self {
        Self::failure(410, "Expired", message, &Value::Null)
    }

    /// 422.
    pub fn invalid(kind: &Kind, name: &str, faults: &[Fault]) -> Self {
        Self::invalid_as((kind.kind, &kind.qualified()), kind.group, name, faults)
    }

    /// 422 where the object calls itself otherwise than the server does.
    pub fn invalid_as(
        (word, qualified): (&str, &str),
        group: &str,
        name: &str,
        faults: &[Fault],
    ) -> Self {
        let mut texts: Vec<String> = faults.iter().map(Fault::text).collect();
        // The real server says the same thing once, but gives every cause.
        texts.dedup();
        let list = match texts.as_slice() {
            [one] => one.clone(),
            many => format!("[{}]", many.join(", ")),
        };
        let message = format!("{qualified} \"{name}\" is invalid: {list}");
        let causes: Vec<Value> = faults
            .iter()
            .map(
                |fault| json!({"reason": fault.reason, "message": fault.message, "field": fault.field}),
            )
            .collect();
        let mut told = json!({"kind": word, "causes": causes});
        if !name.is_empty() {
            super::json::set(&mut told, "", "name", json!(name));
        }
        if !group.is_empty() {
            super::json::set(&mut told, "", "group", json!(group));
        }
        Self::failure(422, "Invalid", &message, &told)
    }

    /// `Status` of a deletion that is done.
    pub fn deleted(kind: &Kind, name: &str, uid: &str) -> Self {
        let mut told = details(kind, name);
        super::json::set(&mut told, "", "uid", json!(uid));
        Self::ok(json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success",
            "details": told,
        }))
    }
}

/// What is wrong with one field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Such as `FieldValueInvalid`.
    pub reason: &'static str,
    /// The field's path.
    pub field: String,
    /// What is wrong.
    pub message: String,
}

impl Fault {
    /// A value that is not allowed, shown as the server shows it.
    pub fn invalid(field: &str, value: &str, why: &str) -> Self {
        Self {
            reason: "FieldValueInvalid",
            field: field.to_owned(),
            message: format!("Invalid value: {value}: {why}"),
        }
    }

    /// A rule that does not hold; only plain values are shown.
    pub fn broken(field: &str, value: &Value, why: &str) -> Self {
        if !value.is_object() && !value.is_array() {
            return Self::invalid(field, &value.to_string(), why);
        }
        Self {
            reason: "FieldValueInvalid",
            field: field.to_owned(),
            message: format!("Invalid value: {why}"),
        }
    }

    /// A value that has to be there.
    pub fn required(field: &str, why: &str) -> Self {
        let message = if why.is_empty() {
            "Required value".to_owned()
        } else {
            format!("Required value: {why}")
        };
        Self {
            reason: "FieldValueRequired",
            field: field.to_owned(),
            message,
        }
    }

    fn text(&self) -> String {
        format!("{}: {}", self.field, self.message)
    }
}

fn details(kind: &Kind, name: &str) -> Value {
    let mut details = json!({"name": name, "kind": kind.plural});
    if !kind.group.is_empty() {
        super::json::set(&mut details, "", "group", json!(kind.group));
    }
    details
}
