//! Settings in a URL's query, as shoutrrr reads them: keys in any case, the last one counts.

use std::collections::BTreeMap;

use percent_encoding::percent_decode_str;

/// Settings by key in lower case.
pub(super) fn settings(query: &str) -> BTreeMap<String, String> {
    pairs(query)
        .into_iter()
        .map(|(key, value)| (key.to_ascii_lowercase(), value))
        .collect()
}

/// Keys and values, decoded, in the order in which they are written.
pub(super) fn pairs(query: &str) -> Vec<(String, String)> {
    let decoded = |text: &str| decode(&text.replace('+', " "));
    query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decoded(key), decoded(value))
        })
        .collect()
}

/// Percent-decodes a part of a URL.
pub(super) fn decode(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

/// What is before the query, and the query.
pub(super) fn split(rest: &str) -> (&str, &str) {
    rest.split_once('?').unwrap_or((rest, ""))
}

/// A setting that is yes or no.
pub(super) fn yes(text: &str, key: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "yes" | "true" | "1" | "on" => Ok(true),
        "no" | "false" | "0" | "off" => Ok(false),
        _ => Err(format!("{key} is neither yes nor no")),
    }
}
