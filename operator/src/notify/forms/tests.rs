//! Every form of URL: what is sent where, and what is said about one that is wrong.

use serde_json::{Value, json};

use super::*;

fn letter() -> Letter {
    Letter {
        policy: "workers".to_owned(),
        node: "n1".to_owned(),
        event: NotificationEvent::Draining,
        fence: 7,
        reason: "SentinelFile".to_owned(),
        message: "why".to_owned(),
        text: "Draining node <n1> & \"more\"".to_owned(),
        at: "2026-11-24T12:00:00Z".parse().unwrap(),
    }
}

fn http(url: &str) -> HttpTarget {
    match parse(url, &Services::default()) {
        Ok(Target::Http(target)) => *target,
        Ok(Target::Mail(_)) => panic!("{url} is mail"),
        Err(why) => panic!("{url} {why}"),
    }
}

fn mail(url: &str) -> MailTarget {
    match parse(url, &Services::default()) {
        Ok(Target::Mail(target)) => *target,
        Ok(Target::Http(_)) => panic!("{url} is http"),
        Err(why) => panic!("{url} {why}"),
    }
}

fn body(url: &str) -> Value {
    serde_json::from_str(&http(url).encode(&letter())).unwrap()
}

const HOOK: &str =
    "https://hooks.slack.com/services/T0123456789/B0123456789/abcdefghijklmnopqrstuvwx";
const SLACK_TEXT: &str = "Draining node &lt;n1&gt; &amp; \"more\"";

/// URL, form, and the address that is spoken to.
const ADDRESSES: &[(&str, &str, &str)] = &[
    (
        "slack://T0123456789/B0123456789/abcdefghijklmnopqrstuvwx",
        "slack",
        HOOK,
    ),
    (
        "slack://bot@T0123456789/B0123456789/abcdefghijklmnopqrstuvwx",
        "slack",
        HOOK,
    ),
    (
        "slack://hook:T0123456789-B0123456789-abcdefghijklmnopqrstuvwx@webhook",
        "slack",
        HOOK,
    ),
    (
        "slack://hook:T0123456789-B0123456789-abcdefghijklmnopqrstuvwx@webhook/?botname=x",
        "slack",
        HOOK,
    ),
    (HOOK, "slack", HOOK),
    (
        "slack://xoxb:123456789012-1234567890123-4mt0t4l1YL3g1T5L4cK70k3N@C0123?botname=x",
        "slack",
        "https://slack.com/api/chat.postMessage",
    ),
    (
        "teams://g-1@t-2/a3/o-4?host=organization.webhook.office.com",
        "teams",
        "https://organization.webhook.office.com/webhookb2/g-1@t-2/IncomingWebhook/a3/o-4",
    ),
    (
        "teams://g-1@t-2/a3/o-4",
        "teams",
        "https://outlook.office.com/webhook/g-1@t-2/IncomingWebhook/a3/o-4",
    ),
    (
        "teams://?host=https%3A%2F%2Fx.logic.azure.com%2Fworkflows%2F1%3Fsig%3Da",
        "teams",
        "https://x.logic.azure.com/workflows/1?sig=a",
    ),
    (
        "teams://?host=https://x.logic.azure.com:443/workflows/1?api-version=1&sig=a%2Fb",
        "teams",
        "https://x.logic.azure.com/workflows/1?api-version=1&sig=a%2Fb",
    ),
    (
        "https://x.logic.azure.com/workflows/1?sig=a",
        "teams",
        "https://x.logic.azure.com/workflows/1?sig=a",
    ),
    (
        "https://x.environment.api.powerplatform.com:443/powerautomate/1?sig=a",
        "teams",
        "https://x.environment.api.powerplatform.com/powerautomate/1?sig=a",
    ),
    (
        "teams+https://flows.example.com/1?sig=a",
        "teams",
        "https://flows.example.com/1?sig=a",
    ),
    (
        "rocketchat://chat.example.com/a/b",
        "rocketchat",
        "https://chat.example.com/hooks/a/b",
    ),
    (
        "rocketchat://me@chat.example.com:8443/a/b/ops",
        "rocketchat",
        "https://chat.example.com:8443/hooks/a/b",
    ),
    (
        "generic://hooks.example.com/a?title=x&keep=1",
        "generic",
        "https://hooks.example.com/a?keep=1",
    ),
    (
        "generic://hooks.example.com:8080/a?disabletls=yes&__title=y",
        "generic",
        "http://hooks.example.com:8080/a?title=y",
    ),
    (
        "generic+https://hooks.example.com/a",
        "generic",
        "https://hooks.example.com/a",
    ),
    (
        "generic+http://hooks.example.com/a",
        "generic",
        "http://hooks.example.com/a",
    ),
    (
        " https://hooks.example.com/a?b=c\n",
        "generic",
        "https://hooks.example.com/a?b=c",
    ),
];

#[test]
fn each_form_speaks_to_its_address() {
    for (url, form, address) in ADDRESSES {
        let target = http(url);
        assert_eq!(target.url.as_str(), *address, "{url}");
        assert_eq!(Target::Http(Box::new(target)).form(), *form, "{url}");
    }
}

#[test]
fn slack_is_told_who_speaks_and_where() {
    let hook = "slack://hook:T1-B2-c3@webhook";
    assert_eq!(body(hook), json!({"text": SLACK_TEXT}));
    assert_eq!(
        body("slack://kured@T1/B2/c3"),
        json!({"text": SLACK_TEXT, "username": "kured"})
    );
    assert_eq!(
        body("slack://xoxb:1-2-c3@C0123?botname=k%20r&icon=man&thread_ts=1.2"),
        json!({"text": SLACK_TEXT, "username": "k r", "channel": "C0123",
            "icon_emoji": "man", "thread_ts": "1.2"})
    );
    let target = http("slack://xoxb-1-2-c3@C0123");
    let bearer = target.headers.get("authorization").unwrap();
    assert_eq!(bearer.to_str().unwrap(), "Bearer xoxb-1-2-c3");
    assert!(!format!("{bearer:?}").contains("xoxb"));
}

#[test]
fn slacks_api_says_in_its_answer_what_is_wrong() {
    let judge = |url: &str, answer: &str| http(url).judge(StatusCode::OK, answer.as_bytes());
    let (api, hook) = ("slack://xoxb:1-2-c3@C0123", "slack://T1/B2/c3");
    assert_eq!(judge(api, r#"{"ok":true}"#), Ok(()));
    assert_eq!(judge(hook, "ok"), Ok(()));
    let why = judge(api, r#"{"ok":false,"error":"channel_not_found"}"#).unwrap_err();
    assert_eq!(why, "Slack refuses it: channel_not_found");
    let why = judge(api, r#"{"ok":false,"error":"hush"}"#).unwrap_err();
    assert_eq!(why, "Slack refuses it");
    assert!(
        judge(api, "hush")
            .unwrap_err()
            .contains("not that of Slack")
    );
}

#[test]
fn teams_gets_a_card_and_a_retired_connector_is_explained() {
    let card = body("teams+https://flows.example.com/1");
    assert_eq!(
        card["attachments"][0]["content"]["body"][0]["text"],
        letter().text
    );
    let old = "teams://g@t/a/o?host=organization.webhook.office.com";
    assert_eq!(body(old)["text"], letter().text);
    let why = http(old).judge(StatusCode::GONE, b"hush").unwrap_err();
    assert!(why.contains("410") && why.contains("workflow"), "{why}");
}

#[test]
fn rocketchat_is_told_the_channel_or_the_recipient() {
    let channel = |url: &str| body(url).get("channel").cloned();
    let host = "rocketchat://chat.example.com/a/b";
    assert_eq!(channel(host), None);
    for (after, expected) in [("/ops", "#ops"), ("/#ops", "#ops"), ("/@ada", "@ada")] {
        assert_eq!(
            channel(&format!("{host}{after}")),
            Some(json!(expected)),
            "{after}"
        );
    }
    let named = body("rocketchat://k%20r@chat.example.com/a/b");
    assert_eq!(named, json!({"text": letter().text, "username": "k r"}));
}

#[test]
fn a_webhook_gets_text_json_or_everything() {
    let url = "generic://hooks.example.com/a";
    let target = http(url);
    assert_eq!(target.encode(&letter()), letter().text);
    assert_eq!(target.method, Method::POST);
    let url = format!(
        "{url}?template=json&$team=ops&@acceptLanguage=de&@X-Key=hush&method=put&contenttype=text/plain&messagekey=m"
    );
    let target = http(&url);
    let sent: Value = serde_json::from_str(&target.encode(&letter())).unwrap();
    assert_eq!(
        sent,
        json!({"m": letter().text, "title": "Slipway: Draining (node n1)", "team": "ops"})
    );
    assert_eq!(target.method, Method::PUT);
    let header = |name: &str| target.headers.get(name).unwrap().to_str().unwrap();
    assert_eq!(
        ["accept-language", "x-key", "content-type"].map(header),
        ["de", "hush", "text/plain"]
    );
    assert!(!format!("{:?}", target.headers).contains("hush"));
    let all = body("https://hooks.example.com/a");
    assert_eq!(
        all,
        json!({"event": "Draining", "policy": "workers", "node": "n1", "fence": 7,
            "reason": "SentinelFile", "message": "why", "text": letter().text,
            "at": "2026-11-24T12:00:00Z"})
    );
}

#[test]
fn mail_is_secured_unless_it_is_written_otherwise() {
    let base = "smtp://u%40x:p%2Fw@mail.example.com";
    let ends = "fromAddress=a@example.com&toAddresses=b@example.com,c@example.com";
    for (port, more, expected) in [
        ("", "", (25, Security::StartTls)),
        (":587", "", (587, Security::StartTls)),
        (":465", "", (465, Security::Tls)),
        (":587", "&encryption=ImplicitTLS", (587, Security::Tls)),
        (":465", "&Encryption=ExplicitTLS", (465, Security::StartTls)),
        (":25", "&starttls=no", (25, Security::Open)),
        (":25", "&useStartTLS=No", (25, Security::Open)),
        (":25", "&encryption=None", (25, Security::Open)),
    ] {
        let target = mail(&format!("{base}{port}/?{ends}{more}"));
        assert_eq!((target.port, target.security), expected, "{port}{more}");
        assert_eq!(target.host, "mail.example.com");
        assert!(target.login.is_some());
    }
    // Keys in any case, and by their other names.
    let target = mail("smtp://mail.example.com/?FROM=a@example.com&to=b@example.com&title=x");
    assert!(target.login.is_none());
    let sent = target.message(&letter()).unwrap().formatted();
    let sent = String::from_utf8(sent).unwrap();
    assert!(
        sent.contains("Subject: x") && sent.contains("To: b@example.com"),
        "{sent}"
    );
}

#[test]
fn a_url_that_is_wrong_is_explained_without_a_word_of_it() {
    let smtp = "smtp://hush:hush@mail.example.com/?";
    let long = format!("https://hush/{}", "x".repeat(URL_MAX));
    for (url, word) in [
        ("", "no URL"),
        ("hush", "no URL"),
        ("hush://hush", "scheme that is not understood"),
        ("discord://hush@hush", "discord:// is not understood"),
        ("smtps://hush:hush@hush", "encryption=ImplicitTLS"),
        ("slack://hush", "slack://[bot@]A/B/C"),
        ("slack://hush/hush", "slack://[bot@]A/B/C"),
        ("slack://hush/hush/hush/hush", "slack://[bot@]A/B/C"),
        ("slack://hu$h/hush/hush", "slack://[bot@]A/B/C"),
        ("slack://hook:hush-hush@webhook", "slack://[bot@]A/B/C"),
        ("slack://xoxb:@hush", "slack://[bot@]A/B/C"),
        ("slack://xoxb:hush@", "slack://[bot@]A/B/C"),
        ("teams://", "address of a workflow"),
        ("teams://hush", "address of a workflow"),
        ("teams://hush@hush/hush", "address of a workflow"),
        ("teams://hush@hush/hush/hu!sh", "address of a workflow"),
        (
            "teams://hush@hush/hush/hush?host=evil@hush",
            "name of a host",
        ),
        (
            "teams://hush@hush/hush/hush?host=hush/hush",
            "name of a host",
        ),
        ("teams+https://hush", "address of a workflow"),
        ("rocketchat://hush", "tokenA/tokenB"),
        ("rocketchat://hush/hush", "tokenA/tokenB"),
        ("rocketchat://hush/hush/hush/hush/hush", "tokenA/tokenB"),
        ("generic://", "no address"),
        ("generic://hush?template=hush", "template=json"),
        ("generic://hush?disabletls=hush", "neither yes nor no"),
        ("generic://hush?method=hush", "POST, PUT"),
        ("generic://hush?@host=hush", "cannot be sent"),
        ("generic://hush?@ä=hush", "cannot be sent"),
        ("https://", "no address"),
        ("smtp://", "no host"),
        (smtp, "fromAddress is missing"),
        (&format!("{smtp}from=hush"), "no mail address"),
        (
            &format!("{smtp}from=a@example.com"),
            "toAddresses is missing",
        ),
        (
            &format!("{smtp}from=a@example.com&to=hush"),
            "no mail address",
        ),
        (
            &format!("{smtp}from=a@example.com&to=b@example.com&auth=hush"),
            "auth is none of",
        ),
        (
            &format!("{smtp}from=a@example.com&to=b@example.com&encryption=hush"),
            "encryption is none",
        ),
        (&long, "longer than"),
    ] {
        let why = parse(url, &Services::default()).err();
        let why = why.unwrap_or_else(|| panic!("{url} is understood"));
        assert!(why.contains(word), "{url}: {why}");
        assert!(!why.contains("hush"), "{url}: {why}");
    }
}

#[test]
fn a_refusal_is_told_by_its_status_alone() {
    let target = http("https://hooks.example.com/a");
    let judge = |code: u16| target.judge(StatusCode::from_u16(code).unwrap(), b"hush");
    assert_eq!(judge(204), Ok(()));
    assert_eq!(judge(404).unwrap_err(), "it answers 404");
    assert!(
        judge(302)
            .unwrap_err()
            .contains("redirects are not followed")
    );
}
