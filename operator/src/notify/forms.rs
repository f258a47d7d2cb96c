//! What the URL of a Secret speaks to: the forms that kured's users have, and plain addresses.
//!
//! Pure. A URL is a secret: what is wrong with one is told without a word of it.

mod generic;
mod mail;
mod query;
mod rocketchat;
mod slack;
mod teams;

use jiff::Timestamp;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use reqwest::{Method, StatusCode, Url};
use slipway_api::policy::NotificationEvent;

pub(super) use mail::{MailTarget, Security};

/// Longest URL.
const URL_MAX: usize = 4096;
/// Services of shoutrrr that are not spoken to. A scheme is named in an error only if it is one of
/// these: anything else could be a piece of a password.
const OTHERS: &[&str] = &[
    "bark",
    "discord",
    "googlechat",
    "gotify",
    "hangouts",
    "ifttt",
    "join",
    "lark",
    "logger",
    "matrix",
    "mattermost",
    "mqtt",
    "mqtts",
    "notifiarr",
    "ntfy",
    "opsgenie",
    "pagerduty",
    "pushbullet",
    "pushover",
    "script",
    "signal",
    "telegram",
    "twilio",
    "wecom",
    "xmpp",
    "zulip",
];
const WRITE: &str = "write slack://, teams://, rocketchat://, smtp:// or generic:// as kured takes them, or an https:// address";

/// Addresses of services that a URL does not name. Tests put their own here.
#[derive(Clone, Debug)]
pub struct Services {
    /// Where Slack's webhooks are, up to `services/`.
    pub slack_hooks: String,
    /// Where Slack's API is, up to the method.
    pub slack_api: String,
}

impl Default for Services {
    fn default() -> Self {
        Self {
            slack_hooks: "https://hooks.slack.com/services/".to_owned(),
            slack_api: "https://slack.com/api/".to_owned(),
        }
    }
}

/// One message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Letter {
    pub(super) policy: String,
    /// Empty for what is about the policy.
    pub(super) node: String,
    pub(super) event: NotificationEvent,
    pub(super) fence: i64,
    pub(super) reason: String,
    pub(super) message: String,
    /// The template, filled in.
    pub(super) text: String,
    pub(super) at: Timestamp,
}

impl Letter {
    /// A line for forms that have one.
    fn title(&self) -> String {
        let about = if self.node.is_empty() {
            format!("policy {}", self.policy)
        } else {
            format!("node {}", self.node)
        };
        format!("Slipway: {} ({about})", self.event)
    }
}

/// Who is spoken to, and how. Shows nothing of it.
pub(super) enum Target {
    Http(Box<HttpTarget>),
    Mail(Box<MailTarget>),
}

impl Target {
    /// The name of the form.
    pub(super) fn form(&self) -> &'static str {
        match self {
            Self::Http(target) => target.body.form(),
            Self::Mail(_) => "smtp",
        }
    }
}

/// A request.
pub(super) struct HttpTarget {
    pub(super) url: Url,
    pub(super) method: Method,
    pub(super) headers: HeaderMap,
    body: Body,
}

impl HttpTarget {
    fn post(url: Url, body: Body) -> Self {
        let headers =
            HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static("application/json"))]);
        Self {
            url,
            method: Method::POST,
            headers,
            body,
        }
    }

    /// What is sent.
    pub(super) fn encode(&self, letter: &Letter) -> String {
        match &self.body {
            Body::Slack(post) => post.encode(letter),
            Body::Teams(way) => way.encode(letter),
            Body::Rocketchat(post) => post.encode(letter),
            Body::Generic(post) => post.encode(letter),
        }
    }

    /// What is wrong with an answer, if anything is.
    pub(super) fn judge(&self, status: StatusCode, answer: &[u8]) -> Result<(), String> {
        if !status.is_success() {
            return Err(match (&self.body, status.as_u16()) {
                (Body::Teams(way), code) => way.refused(code),
                (_, code @ 300..=399) => {
                    format!("it answers {code}, and redirects are not followed")
                }
                (_, code) => format!("it answers {code}"),
            });
        }
        match &self.body {
            Body::Slack(post) => post.judge(answer),
            Body::Teams(_) | Body::Rocketchat(_) | Body::Generic(_) => Ok(()),
        }
    }
}

/// How a message is written for a service.
enum Body {
    Slack(slack::Post),
    Teams(teams::Way),
    Rocketchat(rocketchat::Post),
    Generic(generic::Post),
}

impl Body {
    fn form(&self) -> &'static str {
        match self {
            Self::Slack(_) => "slack",
            Self::Teams(_) => "teams",
            Self::Rocketchat(_) => "rocketchat",
            Self::Generic(_) => "generic",
        }
    }
}

/// Reads a URL.
///
/// # Errors
/// What to write, without a word of what is written.
pub(super) fn parse(text: &str, services: &Services) -> Result<Target, String> {
    let text = text.trim();
    if text.len() > URL_MAX {
        return Err(format!("is longer than {URL_MAX} bytes"));
    }
    let Some((scheme, rest)) = text.split_once("://") else {
        return Err(format!("is no URL; {WRITE}"));
    };
    let scheme = scheme.to_ascii_lowercase();
    let http = |target: HttpTarget| Target::Http(Box::new(target));
    match scheme.as_str() {
        "slack" => slack::parse(rest, services).map(http),
        "teams" => teams::parse(rest).map(http),
        "teams+https" => teams::workflow(&format!("https://{rest}")).map(http),
        "rocketchat" => rocketchat::parse(rest).map(http),
        "generic" | "generic+https" => generic::parse(rest, true).map(http),
        "generic+http" => generic::parse(rest, false).map(http),
        "http" | "https" => plain(text, services).map(http),
        "smtp" => mail::parse(rest).map(|target| Target::Mail(Box::new(target))),
        "smtps" => {
            Err("smtps:// is not understood; write smtp:// and encryption=ImplicitTLS".into())
        }
        known if OTHERS.contains(&known) => Err(format!("{known}:// is not understood; {WRITE}")),
        _ => Err(format!("has a scheme that is not understood; {WRITE}")),
    }
}

/// A plain address: that of a service which is known by it, or a webhook that takes our JSON.
fn plain(text: &str, services: &Services) -> Result<HttpTarget, String> {
    let url = address(text)?;
    let host = url.host_str().unwrap_or_default();
    let teams = [".logic.azure.com", ".api.powerplatform.com"];
    if host == "hooks.slack.com" && url.path().starts_with("/services/") {
        let tokens = url.path().trim_start_matches("/services/");
        return slack::parse(tokens, services);
    }
    if teams.iter().any(|suffix| host.ends_with(suffix)) {
        return teams::workflow(text);
    }
    if host == "outlook.office.com" || host.ends_with(".webhook.office.com") {
        return Ok(teams::connector(url));
    }
    Ok(generic::ours(url))
}

/// An http or https address with a host.
fn address(text: &str) -> Result<Url, String> {
    Url::parse(text)
        .ok()
        .filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
        .ok_or_else(|| "holds no address after its scheme; write host, port and path".to_owned())
}

#[cfg(test)]
#[path = "forms/tests.rs"]
mod tests;
