//! Microsoft Teams: the address of a workflow, which takes cards, or of a connector, which Microsoft
//! has retired (`teams://group@tenant/altId/groupOwner?host=...`).

use reqwest::Url;
use serde_json::json;

use super::query::{settings, split};
use super::{Body, HttpTarget, Letter, address};

const FORMS: &str = "holds no address of a workflow; write teams+https:// and what follows https:// in the address that Teams shows under \"Post to a channel when a webhook request is received\"";
/// Where connectors were before each organisation had a host.
const FIRST_HOST: &str = "outlook.office.com";

/// What takes the message.
#[derive(Clone, Copy)]
pub(super) enum Way {
    Workflow,
    Connector,
}

impl Way {
    pub(super) fn encode(self, letter: &Letter) -> String {
        match self {
            Self::Workflow => json!({
                "type": "message",
                "attachments": [{
                    "contentType": "application/vnd.microsoft.card.adaptive",
                    "contentUrl": null,
                    "content": {
                        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
                        "type": "AdaptiveCard",
                        "version": "1.2",
                        "body": [{"type": "TextBlock", "text": letter.text, "wrap": true}],
                    },
                }],
            }),
            Self::Connector => json!({
                "@type": "MessageCard",
                "@context": "https://schema.org/extensions",
                "summary": letter.title(),
                "text": letter.text,
            }),
        }
        .to_string()
    }

    pub(super) fn refused(self, code: u16) -> String {
        match self {
            Self::Workflow => format!("it answers {code}"),
            Self::Connector => format!(
                "it answers {code}; Microsoft has retired the connectors that this URL speaks to: make a workflow \"Post to a channel when a webhook request is received\" and write its https:// address"
            ),
        }
    }
}

/// Reads what is after `teams://`.
pub(super) fn parse(rest: &str) -> Result<HttpTarget, String> {
    let (main, query) = split(rest);
    let main = main.trim_end_matches('/');
    // The address of a workflow has a query of its own, and is often pasted as it is.
    if let Some(pasted) = query.strip_prefix("host=https://") {
        return workflow(&format!("https://{pasted}"));
    }
    let host = settings(query).remove("host");
    if main.is_empty() {
        return workflow(&host.ok_or_else(|| FORMS.to_owned())?);
    }
    let host = host.unwrap_or_else(|| FIRST_HOST.to_owned());
    let path = if host == FIRST_HOST {
        "webhook"
    } else {
        "webhookb2"
    };
    let parts: Vec<&str> = main.split(['@', '/']).collect();
    let good = |part: &&str| {
        !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    let [group, tenant, alt, owner] = parts.as_slice() else {
        return Err(FORMS.to_owned());
    };
    if !parts.iter().all(good) {
        return Err(FORMS.to_owned());
    }
    let mut url = Url::parse(&format!("https://{host}/"))
        .ok()
        .filter(|url| url.path() == "/" && url.username().is_empty())
        .ok_or("host is no name of a host, such as organization.webhook.office.com")?;
    url.set_path(&format!(
        "/{path}/{group}@{tenant}/IncomingWebhook/{alt}/{owner}"
    ));
    Ok(connector(url))
}

/// A workflow by its address.
pub(super) fn workflow(text: &str) -> Result<HttpTarget, String> {
    let url = address(text).map_err(|_| FORMS.to_owned())?;
    if url.path() == "/" || url.scheme() != "https" {
        return Err(FORMS.to_owned());
    }
    Ok(HttpTarget::post(url, Body::Teams(Way::Workflow)))
}

/// A connector by its address.
pub(super) fn connector(url: Url) -> HttpTarget {
    HttpTarget::post(url, Body::Teams(Way::Connector))
}
