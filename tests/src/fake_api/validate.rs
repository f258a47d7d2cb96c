//! The part of `OpenAPI` that our CRDs use, in the words of the real server.

use serde_json::Value;

use super::answer::Fault;

/// Everything that is wrong with a value by its schema.
pub(super) fn schema(value: &Value, schema: &Value, path: &str, faults: &mut Vec<Fault>) {
    if value.is_null() && schema.get("nullable") == Some(&Value::Bool(true)) {
        return;
    }
    if path == "metadata" || !is_of_type(value, schema, path, faults) {
        return;
    }
    match value {
        Value::Object(map) => object(map, schema, path, faults),
        Value::Array(items) => array(items, schema, path, faults),
        Value::String(text) => string(text, schema, path, faults),
        Value::Number(number) => bounds(number.as_i64().unwrap_or_default(), schema, path, faults),
        _ => {}
    }
}

fn word(schema: &Value, key: &str) -> String {
    let value = schema.get(key).and_then(Value::as_str);
    value.unwrap_or_default().to_owned()
}

fn limit(schema: &Value, key: &str) -> Option<i64> {
    let value = schema.get(key)?;
    value.as_i64().or_else(|| {
        value
            .as_f64()
            .and_then(|number| format!("{number:.0}").parse().ok())
    })
}

fn is_of_type(value: &Value, schema: &Value, path: &str, faults: &mut Vec<Fault>) -> bool {
    let wanted = word(schema, "type");
    let int_or_string = schema.get("x-kubernetes-int-or-string").is_some();
    let fits = match wanted.as_str() {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        _ if int_or_string => value.is_i64() || value.is_u64() || value.is_string(),
        _ => true,
    };
    let wanted = if int_or_string {
        "integer,string".to_owned()
    } else {
        wanted
    };
    if !fits {
        let present = match value {
            Value::Null => "null",
            Value::Bool(_) => "boolean",
            Value::Number(number) if number.is_f64() => "number",
            Value::Number(_) => "integer",
            Value::String(_) => "string",
            Value::Array(_) => "array",
            Value::Object(_) => "object",
        };
        faults.push(Fault {
            reason: "FieldValueTypeInvalid",
            field: path.to_owned(),
            message: format!(
                "Invalid value: \"{present}\": {path} in body must be of type {wanted}: \"{present}\""
            ),
        });
    }
    fits
}

fn object(
    map: &serde_json::Map<String, Value>,
    schema_: &Value,
    path: &str,
    faults: &mut Vec<Fault>,
) {
    let below = |key: &str| {
        if path.is_empty() {
            key.to_owned()
        } else {
            format!("{path}.{key}")
        }
    };
    let required = schema_.get("required").and_then(Value::as_array);
    for key in required.into_iter().flatten().filter_map(Value::as_str) {
        if !map.contains_key(key) {
            faults.push(Fault::required(&below(key), ""));
        }
    }
    if let Some(most) = limit(schema_, "maxProperties") {
        let count = i64::try_from(map.len()).unwrap_or(i64::MAX);
        if count > most {
            faults.push(too_many(path, count, most));
        }
    }
    let properties = schema_.get("properties");
    let any = schema_.get("additionalProperties");
    for (key, member) in map {
        let known = properties.and_then(|properties| properties.get(key));
        if let Some(of_member) = known {
            schema(member, of_member, &below(key), faults);
        } else if let Some(of_member) = any {
            schema(member, of_member, &below(key), faults);
        }
    }
}

fn array(items: &[Value], schema_: &Value, path: &str, faults: &mut Vec<Fault>) {
    if let Some(most) = limit(schema_, "maxItems") {
        let count = i64::try_from(items.len()).unwrap_or(i64::MAX);
        if count > most {
            faults.push(too_many(path, count, most));
        }
    }
    if let Some(of_item) = schema_.get("items") {
        for (index, item) in items.iter().enumerate() {
            schema(item, of_item, &format!("{path}[{index}]"), faults);
        }
    }
    let keys = schema_.get("x-kubernetes-list-map-keys");
    let keys: Vec<&str> = keys
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    if keys.is_empty() {
        return;
    }
    let id = |item: &Value| -> Vec<Value> {
        keys.iter()
            .map(|key| item.get(key).cloned().unwrap_or_default())
            .collect()
    };
    for (index, item) in items.iter().enumerate() {
        if items.iter().take(index).any(|other| id(other) == id(item)) {
            let shown: serde_json::Map<String, Value> = keys
                .iter()
                .map(|key| {
                    (
                        (*key).to_owned(),
                        item.get(key).cloned().unwrap_or_default(),
                    )
                })
                .collect();
            faults.push(Fault {
                reason: "FieldValueDuplicate",
                field: format!("{path}[{index}]"),
                message: format!("Duplicate value: {}", Value::Object(shown)),
            });
        }
    }
}

fn too_many(path: &str, count: i64, most: i64) -> Fault {
    Fault {
        reason: "FieldValueTooMany",
        field: path.to_owned(),
        message: format!("Too many: {count}: must have at most {most} items"),
    }
}

fn string(text: &str, schema: &Value, path: &str, faults: &mut Vec<Fault>) {
    let length = i64::try_from(text.chars().count()).unwrap_or(i64::MAX);
    if let Some(least) = limit(schema, "minLength").filter(|least| length < *least) {
        let why = format!("{path} in body should be at least {least} chars long");
        faults.push(Fault::invalid(path, &format!("\"{text}\""), &why));
    }
    if let Some(most) = limit(schema, "maxLength").filter(|most| length > *most) {
        faults.push(Fault {
            reason: "FieldValueTooLong",
            field: path.to_owned(),
            message: format!("Too long: may not be more than {most} bytes"),
        });
    }
    let format = word(schema, "format");
    if format == "date-time" && text.parse::<jiff::Timestamp>().is_err() {
        faults.push(Fault {
            reason: "FieldValueTypeInvalid",
            field: path.to_owned(),
            message: format!(
                "Invalid value: \"{text}\": {path} in body must be of type date-time: \"{text}\""
            ),
        });
    }
    let allowed = schema.get("enum").and_then(Value::as_array);
    if let Some(allowed) = allowed
        && !allowed.iter().any(|value| value.as_str() == Some(text))
    {
        let list: Vec<String> = allowed.iter().map(Value::to_string).collect();
        faults.push(Fault {
            reason: "FieldValueNotSupported",
            field: path.to_owned(),
            message: format!(
                "Unsupported value: \"{text}\": supported values: {}",
                list.join(", ")
            ),
        });
    }
}

fn bounds(number: i64, schema: &Value, path: &str, faults: &mut Vec<Fault>) {
    if let Some(least) = limit(schema, "minimum").filter(|least| number < *least) {
        let why = format!("{path} in body should be greater than or equal to {least}");
        faults.push(Fault::invalid(path, &number.to_string(), &why));
    }
    if let Some(most) = limit(schema, "maximum").filter(|most| number > *most) {
        let why = format!("{path} in body should be less than or equal to {most}");
        faults.push(Fault::invalid(path, &number.to_string(), &why));
    }
}
