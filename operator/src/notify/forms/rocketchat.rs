//! Rocket.Chat: `rocketchat://[user@]host[:port]/tokenA/tokenB[/channel|/@recipient]`.

use reqwest::Url;
use serde_json::{Map, Value, json};

use super::query::decode;
use super::{Body, HttpTarget, Letter};

const FORMS: &str =
    "is not rocketchat://[user@]host[:port]/tokenA/tokenB with /channel or /@recipient after it";

/// A message to Rocket.Chat.
pub(super) struct Post {
    username: Option<String>,
    channel: Option<String>,
}

impl Post {
    pub(super) fn encode(&self, letter: &Letter) -> String {
        let mut fields = Map::from_iter([("text".to_owned(), json!(letter.text))]);
        for (key, value) in [("username", &self.username), ("channel", &self.channel)] {
            if let Some(value) = value {
                fields.insert(key.to_owned(), json!(value));
            }
        }
        Value::Object(fields).to_string()
    }
}

/// Reads what is after `rocketchat://`.
pub(super) fn parse(rest: &str) -> Result<HttpTarget, String> {
    let bad = || FORMS.to_owned();
    let given = Url::parse(&format!("https://{rest}")).map_err(|_| bad())?;
    let host = given.host_str().filter(|host| !host.is_empty());
    let segments: Vec<String> = given
        .path_segments()
        .into_iter()
        .flatten()
        .filter(|segment| !segment.is_empty())
        .map(decode)
        .collect();
    let (Some(host), [a, b, others @ ..]) = (host, segments.as_slice()) else {
        return Err(bad());
    };
    // A channel is written as it is, as `/#channel`, or as `/@recipient`.
    let channel = match (others, given.fragment()) {
        ([], None | Some("")) => None,
        ([], Some(channel)) => Some(format!("#{}", decode(channel))),
        ([channel], None) if channel.starts_with('@') => Some(channel.clone()),
        ([channel], None) => Some(format!("#{channel}")),
        _ => return Err(bad()),
    };
    let port = given.port().map(|port| format!(":{port}"));
    let base = format!("https://{host}{}/", port.unwrap_or_default());
    let mut url = Url::parse(&base).map_err(|_| bad())?;
    url.path_segments_mut()
        .map_err(|()| bad())?
        .pop_if_empty()
        .extend(["hooks", a, b]);
    let username = Some(decode(given.username())).filter(|name| !name.is_empty());
    let body = Body::Rocketchat(Post { username, channel });
    Ok(HttpTarget::post(url, body))
}
