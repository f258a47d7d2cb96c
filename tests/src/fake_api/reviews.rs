//! Requests that lead to no stored kind: the version, and the reviews, which allow everything.

use serde_json::{Value, json};

use super::answer::Answer;
use super::json::set;

/// Whether the path is one of these.
pub(super) fn is_one(path: &str) -> bool {
    path == "/version" || path.ends_with("reviews")
}

/// The answer, where the path is one of these.
pub(super) fn answer(path: &str, user: &str, mut body: Value) -> Option<Answer> {
    match path {
        "/version" => Some(Answer::ok(json!({
            "major": "1", "minor": "36", "gitVersion": "v1.36.3",
        }))),
        "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews" => {
            set(&mut body, "", "status", json!({"allowed": true}));
            Some(Answer::created(body))
        }
        "/apis/authentication.k8s.io/v1/selfsubjectreviews" => {
            // What follows the mark says which run of the program it is.
            let own = user.split('#').next().unwrap_or_default();
            let extra = own.strip_prefix("agent:").map_or_else(
                || json!({}),
                |node| json!({"authentication.kubernetes.io/node-name": [node]}),
            );
            let info = json!({"username": user, "extra": extra});
            set(&mut body, "", "status", json!({"userInfo": info}));
            Some(Answer::created(body))
        }
        _ => None,
    }
}
