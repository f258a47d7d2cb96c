//! What a request asks for.
//!
//! Owns the reading of paths and queries.

use std::collections::BTreeMap;

use http::Method;

use super::answer::Answer;
use super::kinds::{self, Kind};
use super::store::{Author, Key};

/// A request that leads to a kind.
#[derive(Clone, Debug)]
pub struct Call {
    /// HTTP method.
    pub method: Method,
    /// The kind.
    pub kind: &'static Kind,
    /// Empty for all namespaces, and for cluster-wide kinds.
    pub namespace: String,
    /// Empty for a collection.
    pub name: String,
    /// `status`, `eviction` or empty.
    pub subresource: String,
    /// The query.
    pub query: BTreeMap<String, String>,
    /// Media type of the body.
    pub content_type: String,
    /// User that the request comes from.
    pub user: String,
}

impl Call {
    /// True for a watch.
    pub fn is_watch(&self) -> bool {
        self.method == Method::GET
            && matches!(self.param("watch"), "1" | "true")
            && self.subresource.is_empty()
    }

    /// A parameter of the query; empty when it is not there.
    pub fn param(&self, name: &str) -> &str {
        self.query.get(name).map_or("", String::as_str)
    }

    /// Where the object lies.
    pub fn key(&self) -> Key {
        Key::of(self.kind, &self.namespace, &self.name)
    }

    /// Who writes.
    pub fn author(&self) -> Author {
        let part = if self.subresource.is_empty() {
            String::new()
        } else {
            format!("/{}", self.subresource)
        };
        Author {
            user: self.user.clone(),
            manager: self.param("fieldManager").to_owned(),
            verb: format!("{} {}{part}", self.method, self.kind.plural),
        }
    }
}

/// Reads path and query; `user` is whom the client speaks for.
///
/// # Errors
/// 404 when the path leads to no kind.
pub fn read(parts: &http::request::Parts, user: &str) -> Result<Call, Answer> {
    let text = |name: http::header::HeaderName| {
        let value = parts.headers.get(name);
        value
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
            .to_owned()
    };
    let segments: Vec<String> = parts
        .uri
        .path()
        .split('/')
        .filter(|segment| !segment.is_empty())
        .map(decode)
        .collect();
    let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
    let (group, version, rest) = match segments.as_slice() {
        ["api", version, rest @ ..] => ("", *version, rest),
        ["apis", group, version, rest @ ..] => (*group, *version, rest),
        _ => return Err(Answer::no_such_kind()),
    };
    let (namespace, rest) = match rest {
        ["namespaces", namespace, rest @ ..] if !rest.is_empty() && *rest != ["status"] => {
            (*namespace, rest)
        }
        _ => ("", rest),
    };
    let (plural, name, subresource) = match rest {
        [plural] => (*plural, "", ""),
        [plural, name] => (*plural, *name, ""),
        [plural, name, subresource] => (*plural, *name, *subresource),
        _ => return Err(Answer::no_such_kind()),
    };
    let nothing = || {
        if kinds::KINDS
            .iter()
            .any(|kind| kind.group == group && !kind.custom)
        {
            Answer::no_such_kind()
        } else {
            Answer::no_such_page()
        }
    };
    let kind = kinds::find(group, version, plural).ok_or_else(nothing)?;
    let known = match subresource {
        "" => true,
        "status" => kind.status,
        "eviction" => kind.plural == "pods",
        _ => false,
    };
    // A named object of a namespaced kind without a namespace leads nowhere.
    let placed = kind.namespaced != namespace.is_empty() || (kind.namespaced && name.is_empty());
    if !known || !placed {
        return Err(nothing());
    }
    Ok(Call {
        method: parts.method.clone(),
        kind,
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        subresource: subresource.to_owned(),
        query: query(parts.uri.query().unwrap_or_default()),
        content_type: text(http::header::CONTENT_TYPE),
        user: user.to_owned(),
    })
}

fn query(text: &str) -> BTreeMap<String, String> {
    text.split('&')
        .filter_map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (!name.is_empty()).then(|| (decode(name), decode(value)))
        })
        .collect()
}

fn decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        match byte {
            b'+' => bytes.push(b' '),
            b'%' => {
                let hex: Vec<u8> = rest.by_ref().take(2).collect();
                let hex = String::from_utf8_lossy(&hex).into_owned();
                bytes.push(u8::from_str_radix(&hex, 16).unwrap_or(b'?'));
            }
            other => bytes.push(other),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[expect(clippy::unwrap_in_result, reason = "a panic fails the test")]
    fn call(uri: &str) -> Result<Call, Answer> {
        let request = http::Request::get(uri).body(()).unwrap();
        read(&request.into_parts().0, "")
    }

    #[test]
    fn paths_lead_to_kinds() {
        let pod = call("/api/v1/namespaces/a/pods/p/status?fieldSelector=x%3Dy").unwrap();
        assert_eq!((pod.kind.kind, pod.namespace.as_str()), ("Pod", "a"));
        assert_eq!(pod.subresource, "status");
        assert_eq!(pod.param("fieldSelector"), "x=y");
        let lease = call("/apis/slipway.dev/v1alpha1/rebootleases/n1").unwrap();
        assert_eq!(
            (lease.kind.kind, lease.name.as_str()),
            ("RebootLease", "n1")
        );
        assert_eq!(call("/api/v1/namespaces/a").unwrap().kind.kind, "Namespace");
        assert!(call("/api/v1/pods/p").is_err());
        assert!(call("/apis/slipway.dev/v1alpha1/unknown").is_err());
    }
}
