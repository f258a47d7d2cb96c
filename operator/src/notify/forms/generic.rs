//! Any webhook: `generic://host/path` with shoutrrr's settings, or a plain address, which gets
//! everything that is known as JSON.

use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, Url};
use serde_json::{Map, Value, json};

use super::query::{pairs, yes};
use super::{Body, HttpTarget, Letter, address};

/// Headers that are ours to write.
const OURS: &[&str] = &["host", "content-length", "transfer-encoding", "connection"];

/// A message to a webhook.
pub(super) enum Post {
    /// The text and nothing else.
    Text,
    /// A JSON object.
    Json {
        message_key: String,
        title_key: String,
        title: String,
        extra: Vec<(String, String)>,
    },
    /// Everything that is known.
    All,
}

impl Post {
    pub(super) fn encode(&self, letter: &Letter) -> String {
        match self {
            Self::Text => letter.text.clone(),
            Self::Json {
                message_key,
                title_key,
                title,
                extra,
            } => {
                let title = if title.is_empty() {
                    letter.title()
                } else {
                    title.clone()
                };
                let extra = extra.iter().map(|(key, value)| (key.clone(), json!(value)));
                let mut fields: Map<String, Value> = extra.collect();
                fields.insert(title_key.clone(), json!(title));
                fields.insert(message_key.clone(), json!(letter.text));
                Value::Object(fields).to_string()
            }
            Self::All => json!({
                "event": letter.event,
                "policy": letter.policy,
                "node": letter.node,
                "fence": letter.fence,
                "reason": letter.reason,
                "message": letter.message,
                "text": letter.text,
                "at": letter.at,
            })
            .to_string(),
        }
    }
}

/// A plain address.
pub(super) fn ours(url: Url) -> HttpTarget {
    HttpTarget::post(url, Body::Generic(Post::All))
}

/// Settings of a generic URL.
struct Settings {
    tls: bool,
    template: String,
    method: Method,
    message_key: String,
    title_key: String,
    title: String,
    headers: HeaderMap,
    extra: Vec<(String, String)>,
    /// What belongs to the target's own query.
    query: Vec<(String, String)>,
}

/// Reads what is after `generic://`.
pub(super) fn parse(rest: &str, tls: bool) -> Result<HttpTarget, String> {
    let given = address(&format!("https://{rest}"))?;
    let settings = Settings::read(given.query().unwrap_or_default(), tls)?;
    let mut url = given;
    url.set_query(None);
    if !settings.query.is_empty() {
        url.query_pairs_mut().extend_pairs(&settings.query);
    }
    if !settings.tls {
        // A port that is the default of one scheme is none of the other.
        url = address(&url.as_str().replacen("https://", "http://", 1))?;
    }
    let post = match settings.template.to_ascii_lowercase().as_str() {
        "" => Post::Text,
        "json" => Post::Json {
            message_key: settings.message_key,
            title_key: settings.title_key,
            title: settings.title,
            extra: settings.extra,
        },
        _ => {
            return Err(
                "template is not json; write template=json, or nothing for the text alone".into(),
            );
        }
    };
    let mut target = HttpTarget::post(url, Body::Generic(post));
    target.method = settings.method;
    target.headers.extend(settings.headers);
    Ok(target)
}

impl Settings {
    fn read(query: &str, tls: bool) -> Result<Self, String> {
        let mut settings = Self {
            tls,
            template: String::new(),
            method: Method::POST,
            message_key: "message".to_owned(),
            title_key: "title".to_owned(),
            title: String::new(),
            headers: HeaderMap::new(),
            extra: Vec::new(),
            query: Vec::new(),
        };
        for (key, value) in pairs(query) {
            if let Some(name) = key.strip_prefix('@') {
                settings.add_header(&header_name(name), &value)?;
            } else if let Some(name) = key.strip_prefix('$') {
                settings.extra.push((name.to_owned(), value));
            } else {
                settings.set(key, value)?;
            }
        }
        Ok(settings)
    }

    fn set(&mut self, key: String, value: String) -> Result<(), String> {
        match key.to_ascii_lowercase().as_str() {
            "contenttype" => self.add_header(CONTENT_TYPE.as_str(), &value)?,
            "disabletls" => self.tls = !yes(&value, "disabletls")?,
            "template" => self.template = value,
            "messagekey" => self.message_key = value,
            "titlekey" => self.title_key = value,
            "title" => self.title = value,
            "method" | "requestmethod" => {
                let known = [Method::POST, Method::PUT, Method::PATCH, Method::GET];
                self.method = known
                    .into_iter()
                    .find(|method| method.as_str().eq_ignore_ascii_case(&value))
                    .ok_or("method is none of POST, PUT, PATCH and GET")?;
            }
            // Shoutrrr's way to write a key of the target's own that is one of its settings.
            _ => {
                let key = key.strip_prefix("__").map(str::to_owned).unwrap_or(key);
                self.query.push((key, value));
            }
        }
        Ok(())
    }

    fn add_header(&mut self, name: &str, value: &str) -> Result<(), String> {
        let bad = || "holds a header (@...) that cannot be sent".to_owned();
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| bad())?;
        let mut value = HeaderValue::from_str(value).map_err(|_| bad())?;
        if OURS.contains(&name.as_str()) {
            return Err(bad());
        }
        value.set_sensitive(name != CONTENT_TYPE);
        self.headers.insert(name, value);
        Ok(())
    }
}

/// `acceptLanguage` means `accept-language`.
fn header_name(key: &str) -> String {
    let mut name = String::new();
    for letter in key.chars() {
        if letter.is_ascii_uppercase() && !name.is_empty() && !name.ends_with('-') {
            name.push('-');
        }
        name.push(letter.to_ascii_lowercase());
    }
    name
}
