//! Each form of URL against a receiver that records its bytes.

use anyhow::{Result, ensure};
use serde_json::Value;
use slipway_lab::control_plane::certificates::Authority;
use slipway_lab::wait::wait_until;
use slipway_operator::notify::Services;

use crate::bench::{BOUND, Bench};
use crate::mail::{LOGIN, MailServer};
use crate::receiver::{Receiver, Reply};

const ONE: &str = "[{secretRef: {name: target}, events: [Draining]}]";
const DRAINS: &[&str] = &["Granted", "Draining"];

/// Tells one receiver of a drain; `PORT` in the URL is the receiver's.
async fn told(url: &str, answer: &'static str) -> Result<(String, Value)> {
    let authority = Authority::new()?;
    let receiver = Receiver::secured(&authority).await?;
    receiver.answers([Reply::Says(200, answer)]);
    let port = receiver.address.port();
    let base = format!("https://localhost:{port}");
    let services = Services {
        slack_hooks: format!("{base}/services/"),
        slack_api: format!("{base}/api/"),
    };
    let mut bench = Bench::start(ONE).await?;
    let url = url.replace("PORT", &port.to_string());
    let trusted = authority.certificate();
    let entries = [("url", url.as_str()), ("ca.crt", trusted.as_str())];
    bench.secret("target", &entries).await?;
    let operator = bench.operator(services);
    bench.pass(&operator).await?;
    bench.happens("n1", 7, DRAINS).await?;
    bench.pass(&operator).await?;
    let stand = bench.wait_told("target", 1).await?;
    ensure!(stand.last_error.is_none(), "{url}: {stand:?}");
    bench.wait_condition(&operator, "InOrder").await?;
    let seen = receiver.seen();
    ensure!(seen.len() == 1, "{url}: {seen:?}");
    let body =
        serde_json::from_str(&seen[0].body).unwrap_or_else(|_| Value::String(seen[0].body.clone()));
    Ok((seen[0].head.clone(), body))
}

#[tokio::test]
async fn slack_is_told_by_each_of_its_three_forms() -> Result<()> {
    for (url, answer, line, header) in [
        (
            "slack://kured@T1/B2/c3",
            "ok",
            "POST /services/T1/B2/c3 HTTP/1.1",
            "",
        ),
        (
            "slack://hook:T1-B2-c3@webhook?botname=kured",
            "ok",
            "POST /services/T1/B2/c3 HTTP/1.1",
            "",
        ),
        (
            "slack://xoxb:1-2-c3@C0123?botname=kured",
            r#"{"ok":true}"#,
            "POST /api/chat.postMessage HTTP/1.1",
            "authorization: Bearer xoxb-1-2-c3",
        ),
    ] {
        let (head, body) = told(url, answer).await?;
        ensure!(
            head.starts_with(line) && head.contains(header),
            "{url}: {head}"
        );
        ensure!(body["text"] == "Draining node n1", "{url}: {body}");
        ensure!(body["username"] == "kured", "{url}: {body}");
    }
    Ok(())
}

#[tokio::test]
async fn teams_and_rocketchat_are_told() -> Result<()> {
    let card = "/attachments/0/content/body/0/text";
    for (url, line, text) in [
        (
            "teams://g@t/a/o?host=localhost:PORT",
            "POST /webhookb2/g@t/IncomingWebhook/a/o ",
            "/text",
        ),
        (
            "teams+https://localhost:PORT/flow?sig=a",
            "POST /flow?sig=a ",
            card,
        ),
        (
            "teams://?host=https://localhost:PORT/flow?v=1&sig=a",
            "POST /flow?v=1&sig=a ",
            card,
        ),
        (
            "rocketchat://kured@localhost:PORT/a/b/ops",
            "POST /hooks/a/b ",
            "/text",
        ),
    ] {
        let (head, body) = told(url, "").await?;
        ensure!(head.starts_with(line), "{url}: {head}");
        let said = body.pointer(text).and_then(Value::as_str);
        ensure!(said == Some("Draining node n1"), "{url}: {body}");
    }
    Ok(())
}

#[tokio::test]
async fn webhooks_are_told() -> Result<()> {
    let (head, body) = told("generic://localhost:PORT/a?@X-Key=1&keep=2", "").await?;
    ensure!(
        head.starts_with("POST /a?keep=2 ") && head.contains("x-key: 1"),
        "{head}"
    );
    ensure!(body == "Draining node n1", "{body}");
    let (_, body) = told("generic+https://localhost:PORT/a?template=json", "").await?;
    ensure!(body["message"] == "Draining node n1", "{body}");
    let (head, body) = told("https://user:pass@localhost:PORT/a", "").await?;
    ensure!(head.contains("authorization: Basic dXNlcjpwYXNz"), "{head}");
    ensure!(
        (&body["event"], &body["node"], &body["policy"])
            == (&"Draining".into(), &"n1".into(), &"workers".into()),
        "{body}"
    );
    Ok(())
}

async fn mail(server: &MailServer, authority: &Authority, url: &str) -> Result<Bench> {
    let mut bench = Bench::start(ONE).await?;
    let url = url.replace("PORT", &server.address.port().to_string());
    let trusted = authority.certificate();
    let entries = [("url", url.as_str()), ("ca.crt", trusted.as_str())];
    bench.secret("target", &entries).await?;
    let operator = bench.operator(Services::default());
    bench.pass(&operator).await?;
    bench.happens("n1", 7, DRAINS).await?;
    bench.pass(&operator).await?;
    wait_until("a conversation", BOUND, || async {
        Ok((!server.mails().is_empty()).then_some(()))
    })
    .await?;
    bench
        .wait_stand("target", "tried", |one| {
            one.last_error.is_some() || one.last_delivered.is_some()
        })
        .await?;
    Ok(bench)
}

const MAIL: &str = "smtp://user:pass%2F%401@localhost:PORT/?fromAddress=slipway@example.com&toAddresses=a@example.com,b@example.com";

#[tokio::test]
async fn mail_is_sent_under_tls_and_after_logging_in() -> Result<()> {
    let authority = Authority::new()?;
    let server = MailServer::start(Some(&authority)).await?;
    let bench = mail(&server, &authority, MAIL).await?;
    bench.wait_told("target", 1).await?;
    let mail = server.mails().remove(0);
    ensure!(
        mail.open.last().is_some_and(|it| it == "STARTTLS"),
        "{mail:?}"
    );
    ensure!(
        mail.open.len() == 2,
        "something was said in the open: {mail:?}"
    );
    let said = mail.secured.join("|");
    for part in [
        LOGIN,
        "MAIL FROM:<slipway@example.com>",
        "<a@example.com>",
        "<b@example.com>",
    ] {
        ensure!(said.contains(part), "{part}: {mail:?}");
    }
    ensure!(mail.text.contains("\nDraining node n1"), "{mail:?}");
    ensure!(
        mail.text.contains("Subject: Slipway: Draining (node n1)"),
        "{mail:?}"
    );
    Ok(())
}

#[tokio::test]
async fn nothing_is_said_to_a_mail_server_in_the_open_or_of_another_authority() -> Result<()> {
    let authority = Authority::new()?;
    let server = MailServer::start(None).await?;
    let bench = mail(&server, &authority, MAIL).await?;
    let stand = bench
        .wait_stand("target", "refused", |one| one.last_error.is_some())
        .await?;
    let why = stand.last_error.unwrap();
    ensure!(why.contains("starttls=no"), "{why}");
    let said = server.mails().remove(0);
    ensure!(!said.open.join("|").contains("AUTH"), "{said:?}");
    ensure!(said.text.is_empty(), "{said:?}");

    let other = Authority::new()?;
    let server = MailServer::start(Some(&other)).await?;
    let bench = mail(&server, &authority, MAIL).await?;
    let stand = bench
        .wait_stand("target", "refused", |one| one.last_error.is_some())
        .await?;
    let why = stand.last_error.unwrap();
    ensure!(why.contains("authority that is not trusted"), "{why}");
    ensure!(server.mails().remove(0).secured.is_empty());
    Ok(())
}

#[tokio::test]
async fn a_wrong_password_is_told_without_the_password() -> Result<()> {
    let authority = Authority::new()?;
    let server = MailServer::start(Some(&authority)).await?;
    let wrong = MAIL.replace("pass%2F%401", "hush");
    let bench = mail(&server, &authority, &wrong).await?;
    let stand = bench
        .wait_stand("target", "refused", |one| one.last_error.is_some())
        .await?;
    let why = stand.last_error.unwrap();
    ensure!(
        why == "smtp: it answers 535: user or password are wrong",
        "{why}"
    );
    Ok(())
}
