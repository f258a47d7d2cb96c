//! A conversation: requests in order, each of which may quote earlier answers.
//!
//! `$X` stands for a name of the conversation's own, `${2/metadata/uid}` for a part of the answer
//! to step 2.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result};
use futures::StreamExt;
use futures::stream;
use http::Request;
use http_body_util::BodyExt;
use kube::Client;
use kube::client::Body;
use serde_json::{Value, json};

use slipway_lab::fake_api::FakeApi;

use crate::normal::{Symbols, normalise};

/// A little more than twice the interval that the real server is told.
const COMPACTED: Duration = Duration::from_millis(2500);
/// How many conversations are held at once.
const AT_ONCE: usize = 12;

pub(crate) const NODES: &str = "/api/v1/nodes";
pub(crate) const PODS: &str = "/api/v1/namespaces/default/pods";
pub(crate) const BUDGETS: &str = "/apis/policy/v1/namespaces/default/poddisruptionbudgets";
pub(crate) const ELECTIONS: &str = "/apis/coordination.k8s.io/v1/namespaces/default/leases";
pub(crate) const LEASES: &str = "/apis/slipway.dev/v1alpha1/rebootleases";
pub(crate) const LEDGERS: &str = "/apis/slipway.dev/v1alpha1/rebootledgers";
pub(crate) const POLICIES: &str = "/apis/slipway.dev/v1alpha1/rebootpolicies";
pub(crate) const MAPS: &str = "/api/v1/namespaces/default/configmaps";

/// One request.
#[derive(Clone)]
pub(crate) struct Step {
    method: &'static str,
    path: String,
    media: &'static str,
    body: Value,
}

/// Requests in order.
pub(crate) struct Conversation {
    pub(crate) name: String,
    steps: Vec<Step>,
    /// Speaks of an object that there is only one of.
    alone: bool,
}

/// A normalised answer.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Heard {
    code: u16,
    body: Value,
}

pub(crate) fn talk(name: impl Into<String>, steps: Vec<Step>) -> Conversation {
    Conversation {
        name: name.into(),
        steps,
        alone: false,
    }
}

fn step(method: &'static str, path: impl Into<String>, media: &'static str, body: Value) -> Step {
    Step {
        method,
        path: path.into(),
        media,
        body,
    }
}

/// Until every change so far is forgotten.
pub(crate) fn compaction() -> Step {
    step("COMPACTION", "", "", Value::Null)
}

pub(crate) fn get(path: impl Into<String>) -> Step {
    step("GET", path, "application/json", Value::Null)
}

pub(crate) fn post(path: impl Into<String>, body: Value) -> Step {
    step("POST", path, "application/json", body)
}

pub(crate) fn put(path: impl Into<String>, body: Value) -> Step {
    step("PUT", path, "application/json", body)
}

pub(crate) fn merge(path: impl Into<String>, body: Value) -> Step {
    step("PATCH", path, "application/merge-patch+json", body)
}

pub(crate) fn strategic(path: impl Into<String>, body: Value) -> Step {
    step(
        "PATCH",
        path,
        "application/strategic-merge-patch+json",
        body,
    )
}

pub(crate) fn delete(path: impl Into<String>) -> Step {
    delete_with(path, json!({}))
}

pub(crate) fn delete_with(path: impl Into<String>, options: Value) -> Step {
    let mut body = json!({"apiVersion": "v1", "kind": "DeleteOptions"});
    for (key, value) in options.as_object().unwrap() {
        body[key] = value.clone();
    }
    step("DELETE", path, "application/json", body)
}

impl Conversation {
    /// Nobody else speaks meanwhile.
    pub(crate) fn alone(mut self) -> Self {
        self.alone = true;
        self
    }

    /// Both answers to the first step at which they differ.
    pub(crate) fn difference(&self, real: &[Heard], fake: &[Heard]) -> Option<String> {
        let at = real
            .iter()
            .zip(fake)
            .position(|(real, fake)| real != fake)?;
        let step = &self.steps[at];
        Some(format!(
            "--- {} ---\nstep {at}: {} {} {}\nreal: {} {}\nfake: {} {}\n",
            self.name,
            step.method,
            step.path,
            step.body,
            real[at].code,
            real[at].body,
            fake[at].code,
            fake[at].body
        ))
    }
}

/// A server to talk to.
pub(crate) struct Server {
    pub(crate) client: Client,
    /// `None` for the real one.
    pub(crate) fake: Option<FakeApi>,
}

impl Server {
    async fn compact(&self) {
        match &self.fake {
            Some(fake) => fake.store().compact(),
            // Its second compaction from now covers everything so far.
            None => tokio::time::sleep(COMPACTED).await,
        }
    }
}

/// Holds every conversation with a server; answers come in the order of the conversations.
pub(crate) async fn hold_all(
    server: &Server,
    conversations: &[Conversation],
) -> Result<Vec<Vec<Heard>>> {
    let mut heard: BTreeMap<usize, Vec<Heard>> = BTreeMap::new();
    let numbered = || conversations.iter().enumerate();
    let together = numbered().filter(|(_, one)| !one.alone);
    let mut answers = stream::iter(together)
        .map(|(index, one)| async move { (index, hold(server, one, index).await) })
        .buffer_unordered(AT_ONCE);
    while let Some((index, answers)) = answers.next().await {
        heard.insert(index, answers?);
    }
    for (index, one) in numbered().filter(|(_, one)| one.alone) {
        heard.insert(index, hold(server, one, index).await?);
    }
    Ok(heard.into_values().collect())
}

async fn hold(server: &Server, conversation: &Conversation, index: usize) -> Result<Vec<Heard>> {
    let client = &server.client;
    // No hexadecimal digit: a name must not be found inside a uid.
    let own = format!("zq{index:03}");
    let mut raw: Vec<Value> = Vec::new();
    let mut symbols = Symbols::default();
    let mut heard = Vec::new();
    let mut made = Vec::new();
    for step in &conversation.steps {
        if step.method == "COMPACTION" {
            server.compact().await;
            raw.push(Value::Null);
            heard.push(Heard {
                code: 0,
                body: Value::Null,
            });
            continue;
        }
        let path = quote(&step.path, &own, &raw);
        let body = quote_all(&step.body, &own, &raw);
        let (code, answer) = send(client, step, &path, &body)
            .await
            .with_context(|| format!("{}: {} {path}", conversation.name, step.method))?;
        if step.method == "POST" && code == 201 && !path.ends_with("/eviction") {
            let name = answer["metadata"]["name"].as_str().unwrap_or_default();
            let plain = path.split('?').next().unwrap_or_default();
            made.push(format!("{plain}/{name}"));
        }
        heard.push(Heard {
            code,
            body: normalise(&answer, &own, &mut symbols),
        });
        raw.push(answer);
    }
    for path in made.iter().rev() {
        let bare = merge(path.clone(), json!({"metadata": {"finalizers": null}}));
        send(client, &bare, path, &bare.body).await?;
        let gone = delete_with(path.clone(), json!({"gracePeriodSeconds": 0}));
        send(client, &gone, path, &gone.body).await?;
    }
    Ok(heard)
}

async fn send(client: &Client, step: &Step, path: &str, body: &Value) -> Result<(u16, Value)> {
    let bytes = if body.is_null() {
        Vec::new()
    } else {
        serde_json::to_vec(body)?
    };
    let request = Request::builder()
        .method(step.method)
        .uri(path)
        .header(http::header::CONTENT_TYPE, step.media)
        .header(http::header::ACCEPT, "application/json")
        .body(Body::from(bytes))?;
    let response = client.send(request).await?;
    let code = response.status().as_u16();
    let is_watch = path.contains("watch=");
    let bytes = response.into_body().collect().await?.to_bytes();
    if is_watch && code == 200 {
        let lines: Result<Vec<Value>, _> = String::from_utf8_lossy(&bytes)
            .lines()
            .map(serde_json::from_str)
            .collect();
        return Ok((code, Value::Array(lines?)));
    }
    let text = String::from_utf8_lossy(&bytes).into_owned();
    Ok((
        code,
        serde_json::from_str(&text).unwrap_or(Value::String(text)),
    ))
}

fn quote_all(body: &Value, own: &str, raw: &[Value]) -> Value {
    match body {
        Value::String(text) => Value::String(quote(text, own, raw)),
        Value::Array(items) => items.iter().map(|item| quote_all(item, own, raw)).collect(),
        Value::Object(map) if map.contains_key("$answer") => {
            let mut object =
                raw[usize::try_from(map["$answer"].as_u64().unwrap()).unwrap()].clone();
            over(&mut object, &quote_all(&map["with"], own, raw));
            object
        }
        Value::Object(map) => map
            .iter()
            .map(|(key, value)| (quote(key, own, raw), quote_all(value, own, raw)))
            .collect(),
        other => other.clone(),
    }
}

/// Lays one object over another; a null removes.
fn over(object: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *object = patch.clone();
        return;
    };
    for (key, value) in patch {
        if value.is_null() {
            object.as_object_mut().unwrap().remove(key);
        } else {
            over(&mut object[key], value);
        }
    }
}

/// An earlier answer with a patch laid over it.
pub(crate) fn answer(step: usize, with: &Value) -> Value {
    json!({"$answer": step, "with": with})
}

fn quote(text: &str, own: &str, raw: &[Value]) -> String {
    let mut rest = text;
    let mut quoted = String::new();
    while let Some((before, after)) = rest.split_once("${") {
        quoted.push_str(before);
        let (reference, behind) = after.split_once('}').expect("a closing brace");
        let (index, pointer) = reference.split_once('/').expect("an answer and a pointer");
        let answer = &raw[index.parse::<usize>().expect("the number of an answer")];
        let value = answer.pointer(&format!("/{pointer}"));
        quoted.push_str(value.and_then(Value::as_str).unwrap_or("missing"));
        rest = behind;
    }
    quoted.push_str(rest);
    quoted.replace("$X", own)
}
