//! Slack: a webhook's three tokens (`slack://[bot@]A/B/C`, `slack://hook:A-B-C@webhook`, the address
//! that Slack shows), or a bot's token (`slack://xoxb:...@channel`).

use std::collections::BTreeMap;

use reqwest::Url;
use reqwest::header::{AUTHORIZATION, HeaderValue};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::query::{decode, settings, split};
use super::{Body, HttpTarget, Letter, Services};

const FORMS: &str = "is none of slack://[bot@]A/B/C, slack://hook:A-B-C@webhook and slack://xoxb:TOKEN@CHANNEL; A, B and C are the last three parts of the address that Slack shows";
/// Slack's words for what is wrong that are repeated; any other could be anything.
const KNOWN: &[&str] = &[
    "account_inactive",
    "channel_not_found",
    "invalid_auth",
    "is_archived",
    "missing_scope",
    "msg_too_long",
    "no_text",
    "not_authed",
    "not_in_channel",
    "ratelimited",
    "restricted_action",
    "token_expired",
    "token_revoked",
];

/// A message to Slack.
pub(super) struct Post {
    username: Option<String>,
    channel: Option<String>,
    icon: Option<String>,
    thread: Option<String>,
    by_api: bool,
}

#[derive(Deserialize)]
struct Answer {
    ok: bool,
    #[serde(default)]
    error: String,
}

impl Post {
    pub(super) fn encode(&self, letter: &Letter) -> String {
        let mut fields = Map::new();
        let mut add = |key: &str, value: &Option<String>| {
            if let Some(value) = value {
                fields.insert(key.to_owned(), json!(value));
            }
        };
        add("text", &Some(escaped(&letter.text)));
        add("username", &self.username);
        add("channel", &self.channel);
        add("thread_ts", &self.thread);
        let icon = self.icon.as_deref().unwrap_or_default();
        let key = if icon.starts_with("http") {
            "icon_url"
        } else {
            "icon_emoji"
        };
        add(key, &self.icon);
        Value::Object(fields).to_string()
    }

    /// The API says in its answer, under status 200, what is wrong.
    pub(super) fn judge(&self, answer: &[u8]) -> Result<(), String> {
        if !self.by_api {
            return Ok(());
        }
        match serde_json::from_slice::<Answer>(answer) {
            Ok(Answer { ok: true, .. }) => Ok(()),
            Ok(Answer { error, .. }) if KNOWN.contains(&error.as_str()) => {
                Err(format!("Slack refuses it: {error}"))
            }
            Ok(_) => Err("Slack refuses it".to_owned()),
            Err(_) => Err("its answer is not that of Slack".to_owned()),
        }
    }
}

/// What Slack asks for: else a message could mention everybody.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

/// Reads what is after `slack://`.
pub(super) fn parse(rest: &str, services: &Services) -> Result<HttpTarget, String> {
    let (main, query) = split(rest);
    let main = main.trim_end_matches('/');
    let settings = settings(query);
    let (before, after) = match main.rsplit_once('@') {
        Some((before, after)) => (Some(before), after),
        None => (None, main),
    };
    if after.contains('/') {
        let name = before.map(|user| decode(user.split(':').next().unwrap_or_default()));
        let post = post(&settings, name, None, false);
        return hook(&after.split('/').collect::<Vec<_>>(), post, services);
    }
    let (Some(token), channel) = (before, decode(after)) else {
        return Err(FORMS.to_owned());
    };
    let token = decode(token);
    let Some((kind, token)) = token.split_once([':', '-']) else {
        return Err(FORMS.to_owned());
    };
    let is_bot = kind.len() == 4 && kind.starts_with("xox");
    if kind == "hook" {
        let channel = Some(channel).filter(|channel| channel != "webhook");
        let parts: Vec<&str> = token.split('-').collect();
        hook(&parts, post(&settings, None, channel, false), services)
    } else if is_bot && !channel.is_empty() && token.bytes().all(is_token) && !token.is_empty() {
        let url = format!("{}chat.postMessage", services.slack_api);
        let url = Url::parse(&url).map_err(|_| FORMS.to_owned())?;
        let post = post(&settings, None, Some(channel), true);
        let mut target = HttpTarget::post(url, Body::Slack(post));
        let mut bearer = HeaderValue::from_str(&format!("Bearer {kind}-{token}"))
            .map_err(|_| FORMS.to_owned())?;
        bearer.set_sensitive(true);
        target.headers.insert(AUTHORIZATION, bearer);
        Ok(target)
    } else {
        Err(FORMS.to_owned())
    }
}

fn post(
    settings: &BTreeMap<String, String>,
    name: Option<String>,
    channel: Option<String>,
    by_api: bool,
) -> Post {
    let setting = |key: &str| settings.get(key).cloned().filter(|value| !value.is_empty());
    Post {
        username: setting("botname")
            .or_else(|| setting("username"))
            .or(name)
            .filter(|name| !name.is_empty()),
        channel,
        icon: setting("icon"),
        thread: setting("thread_ts"),
        by_api,
    }
}

fn hook(tokens: &[&str], post: Post, services: &Services) -> Result<HttpTarget, String> {
    let good =
        |token: &&&str| !token.is_empty() && token.bytes().all(|b| b.is_ascii_alphanumeric());
    if tokens.len() != 3 || tokens.iter().filter(good).count() != 3 {
        return Err(FORMS.to_owned());
    }
    let url = format!("{}{}", services.slack_hooks, tokens.join("/"));
    let url = Url::parse(&url).map_err(|_| FORMS.to_owned())?;
    Ok(HttpTarget::post(url, Body::Slack(post)))
}

fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'-'
}
