//! Small reads and writes of untyped objects.

use serde_json::{Map, Value};

/// A text at a JSON pointer; empty when it is not there.
pub fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object
        .pointer(pointer)
        .and_then(Value::as_str)
        .unwrap_or_default()
}

/// A whole number at a JSON pointer; 0 when it is not there.
pub fn number(object: &Value, pointer: &str) -> i64 {
    object
        .pointer(pointer)
        .and_then(Value::as_i64)
        .unwrap_or_default()
}

/// Sets a member of the object below `parent` ("" for the object itself), making the parent where
/// there is none. A parent that is no object is left as it is.
pub fn set(object: &mut Value, parent: &str, key: &str, value: Value) {
    if let Some(map) = map(object, parent) {
        map.insert(key.to_owned(), value);
    }
}

/// Removes a member.
pub fn remove(object: &mut Value, parent: &str, key: &str) -> Option<Value> {
    object.pointer_mut(parent)?.as_object_mut()?.remove(key)
}

/// Makes one member equal to that of another object, absent where it is absent there.
pub fn take_over(object: &mut Value, from: &Value, parent: &str, key: &str) {
    match from.pointer(parent).and_then(|parent| parent.get(key)) {
        Some(value) => set(object, parent, key, value.clone()),
        None => {
            remove(object, parent, key);
        }
    }
}

/// The object below `parent`, one level deep, made where it is missing.
pub fn map<'a>(object: &'a mut Value, parent: &str) -> Option<&'a mut Map<String, Value>> {
    let key = parent.trim_start_matches('/');
    if key.is_empty() {
        return object.as_object_mut();
    }
    object
        .as_object_mut()?
        .entry(key)
        .or_insert_with(|| Value::Object(Map::new()))
        .as_object_mut()
}
