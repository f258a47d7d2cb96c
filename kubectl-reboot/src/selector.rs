//! Labels that a `-l` asks for, in the API server's own notation.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result};

/// Reads a selector: parts between commas, all of which have to hold.
pub(crate) fn selector(text: &str) -> Result<Vec<Requirement>> {
    parts(text)
        .into_iter()
        .map(str::trim)
        .filter(|part| !part.is_empty())
        .map(|part| {
            requirement(part).with_context(|| format!("failed to read the selector {part:?}"))
        })
        .collect()
}

/// One part of a selector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Requirement {
    In(String, BTreeSet<String>),
    NotIn(String, BTreeSet<String>),
    Exists(String),
    Absent(String),
}

/// Commas between brackets separate values and no parts.
fn parts(text: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let (mut rest, mut depth, mut end) = (text, 0_usize, 0);
    for c in text.chars() {
        match c {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                let (part, after) = rest.split_at(end);
                found.push(part);
                rest = after.strip_prefix(',').unwrap_or(after);
                end = 0;
                continue;
            }
            _ => {}
        }
        end += c.len_utf8();
    }
    found.push(rest);
    found
}

fn requirement(part: &str) -> Option<Requirement> {
    let found = set(part).or_else(|| {
        let pair = |separator: &str| {
            part.split_once(separator).map(|(key, value)| {
                let value = value.trim().to_owned();
                (key.trim().to_owned(), BTreeSet::from([value]))
            })
        };
        pair("!=")
            .map(|(key, values)| Requirement::NotIn(key, values))
            .or_else(|| pair("==").map(|(key, values)| Requirement::In(key, values)))
            .or_else(|| pair("=").map(|(key, values)| Requirement::In(key, values)))
            .or_else(|| {
                part.strip_prefix('!')
                    .map(|key| Requirement::Absent(key.trim().to_owned()))
            })
            .or_else(|| Some(Requirement::Exists(part.to_owned())))
    })?;
    let no_values = BTreeSet::new();
    let (key, values) = match &found {
        Requirement::In(key, values) | Requirement::NotIn(key, values) => (key, values),
        Requirement::Exists(key) | Requirement::Absent(key) => (key, &no_values),
    };
    let plain = |text: &str| !text.contains([' ', '(', ')', '=', '!', ',']);
    let readable = !key.is_empty() && plain(key) && values.iter().all(|value| plain(value));
    readable.then_some(found)
}

/// `key in (a, b)` and `key notin (a, b)`.
fn set(part: &str) -> Option<Requirement> {
    let (head, values) = part.strip_suffix(')')?.split_once('(')?;
    let mut words = head.split_whitespace();
    let (key, word) = (words.next()?.to_owned(), words.next()?);
    let values = values.split(',').map(|value| value.trim().to_owned());
    match (word, words.next()) {
        ("in", None) => Some(Requirement::In(key, values.collect())),
        ("notin", None) => Some(Requirement::NotIn(key, values.collect())),
        _ => None,
    }
}

/// True when the labels are what every part asks for.
pub(crate) fn matches(parts: &[Requirement], labels: &BTreeMap<String, String>) -> bool {
    parts.iter().all(|part| match part {
        Requirement::In(key, values) => labels.get(key).is_some_and(|value| values.contains(value)),
        Requirement::NotIn(key, values) => {
            labels.get(key).is_none_or(|value| !values.contains(value))
        }
        Requirement::Exists(key) => labels.contains_key(key),
        Requirement::Absent(key) => !labels.contains_key(key),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selectors_are_read_as_kubectl_reads_them() {
        let labels = BTreeMap::from([("a", "b"), ("x/y", "")].map(|(k, v)| (k.into(), v.into())));
        for (text, expected) in [
            ("", true),
            ("a=b", true),
            ("a==b", true),
            ("a=b,x/y", true),
            ("a!=b", false),
            ("!a", false),
            ("!c", true),
            ("c!=d", true),
            ("a=c", false),
            ("a in (b, c)", true),
            ("a in (c,d),x/y", false),
            ("a notin (c, d),x/y", true),
            ("a notin (b)", false),
            ("c notin (b)", true),
            ("x/y=", true),
        ] {
            assert_eq!(
                matches(&selector(text).unwrap(), &labels),
                expected,
                "{text}"
            );
        }
        for text in [
            "=b",
            "a within (b)",
            "!",
            "a in b",
            "a in (b",
            "in (b)",
            "a=b c",
        ] {
            assert!(selector(text).is_err(), "{text}");
        }
    }
}
