//! Real servers: firing, pending, silenced, down, hung, wrong authority, passwords, certificates.

use std::time::Duration;

use anyhow::Result;
use serde_json::json;
use slipway_lab::control_plane::certificates::Authority;
use slipway_lab::prometheus::{Access, BASIC, Server, rules};

use crate::bench::Bench;

#[tokio::test]
async fn alerts_of_prometheus_fire_are_pending_end_and_are_chosen_by_name() -> Result<()> {
    let bench = Bench::start();
    let own = ["RebootRequired", "Watchdog", "SlipwayNodeStuck"];
    let mut server = Server::prometheus(&rules(&own, &[]), Access::default()).await?;
    let url = server.url().to_owned();
    let all = format!("prometheus: {{url: '{url}'}}");
    let firing = format!("prometheus: {{url: '{url}', firingOnly: true}}");
    let nothing_ignored = format!("prometheus: {{url: '{url}', ignore: ''}}");
    bench.blocks(&nothing_ignored, "RebootRequired").await?;
    bench.clear(&all).await?;
    server.set_rules(&rules(&own, &["DiskFull"]))?;
    bench.blocks(&all, "alert DiskFull").await?;
    bench.clear(&firing).await?;
    server.set_rules(&rules(&["DiskFull", "NodeDown"], &[]))?;
    bench.blocks(&firing, "alerts DiskFull, NodeDown").await?;
    let of = |choice: &str| format!("prometheus: {{url: '{url}', {choice}}}");
    bench.blocks(&of("only: '^Node'"), "alert NodeDown").await?;
    bench.clear(&of("ignore: 'DiskFull|NodeDown'")).await?;
    server.set_rules(&rules(&[], &[]))?;
    bench.clear(&all).await
}

#[tokio::test]
async fn a_query_blocks_by_any_series_in_its_answer() -> Result<()> {
    let bench = Bench::start();
    let server = Server::prometheus(&rules(&[], &[]), Access::default()).await?;
    let of = |query: &str| format!("promql: {{url: '{}', query: '{query}'}}", server.url());
    bench.blocks(&of("vector(1) > 0"), "non-empty").await?;
    bench.blocks(&of("vector(0) / 0"), "non-empty").await?;
    bench.clear(&of("vector(1) < 0")).await?;
    bench.clear(&of("nothing_of_that_name < 0.1")).await?;
    bench.fails(&of("1 + 1"), "write a comparison").await?;
    bench.fails(&of("sum by ("), "does not understand").await
}

#[tokio::test]
async fn a_server_that_is_down_or_hangs_fails_within_the_timeout() -> Result<()> {
    let bench = Bench::start();
    let mut server = Server::prometheus(&rules(&[], &[]), Access::default()).await?;
    let url = server.url().to_owned();
    let kind = format!("prometheus: {{url: '{url}', timeout: 1s}}");
    bench.clear(&kind).await?;
    server.suspend().await?;
    bench
        .fails_within(&kind, "no answer within 1s", Duration::from_secs(2))
        .await?;
    server.resume()?;
    bench.clear(&kind).await?;
    server.stop().await?;
    bench.fails(&kind, "refused").await
}

#[tokio::test]
async fn certificates_and_passwords_come_from_the_secret() -> Result<()> {
    let bench = Bench::start();
    let (authority, other) = (Authority::new()?, Authority::new()?);
    let access = Access {
        tls: Some(&authority),
        client_certificate: false,
        password: true,
    };
    let server = Server::prometheus(&rules(&["Down"], &[]), access).await?;
    let (user, password) = BASIC;
    let ours = authority.certificate();
    let theirs = other.certificate();
    let login = [("username", user), ("password", password)];
    let entries = |ca: &str, password: &str| {
        vec![
            ("ca.crt".to_owned(), ca.to_owned()),
            ("username".to_owned(), user.to_owned()),
            ("password".to_owned(), password.to_owned()),
        ]
    };
    for (name, entries) in [
        ("right", entries(&ours, password)),
        ("wrong-ca", entries(&theirs, password)),
        ("wrong-password", entries(&ours, "other")),
    ] {
        let entries: Vec<(&str, &str)> = entries
            .iter()
            .map(|(key, value)| (key.as_str(), value.as_str()))
            .collect();
        bench.secret(name, &entries).await?;
    }
    bench.secret("no-login", &[("ca.crt", &ours)]).await?;
    bench.secret("no-ca", &login).await?;
    let of = |secret: &str| {
        let url = server.url();
        format!("prometheus: {{url: '{url}', credentialsRef: {{secret: {secret}}}}}")
    };
    bench.blocks(&of("right"), "alert Down").await?;
    bench.fails(&of("wrong-ca"), "not trusted").await?;
    bench.fails(&of("wrong-password"), "401").await?;
    bench.fails(&of("no-login"), "401").await?;
    bench.fails(&of("no-ca"), "trust").await?;
    bench
        .fails(
            &of("missing"),
            "credentialsRef: Secret missing does not exist",
        )
        .await
}

#[tokio::test]
async fn a_client_certificate_comes_from_the_secret() -> Result<()> {
    let bench = Bench::start();
    let authority = Authority::new()?;
    let access = Access {
        tls: Some(&authority),
        client_certificate: true,
        password: false,
    };
    let server = Server::prometheus(&rules(&[], &[]), access).await?;
    let ca = authority.certificate();
    let client = authority.issue_client("slipway", &[])?;
    let all = [
        ("ca.crt", ca.as_str()),
        ("tls.crt", client.certificate.as_str()),
        ("tls.key", client.key.as_str()),
    ];
    bench.secret("all", &all).await?;
    bench.secret("ca", &[("ca.crt", &ca)]).await?;
    let of = |secret: &str| {
        let url = server.url();
        format!("prometheus: {{url: '{url}', credentialsRef: {{secret: {secret}}}}}")
    };
    bench.clear(&of("all")).await?;
    bench.fails(&of("ca"), "").await
}

#[tokio::test]
async fn alertmanager_counts_active_alerts_and_honours_silences() -> Result<()> {
    let bench = Bench::start();
    let server = Server::alertmanager().await?;
    let url = server.url().to_owned();
    let critical = format!("alertmanager: {{url: '{url}', matchers: [severity=critical]}}");
    let any = format!("alertmanager: {{url: '{url}'}}");
    let web = format!("alertmanager: {{url: '{url}', matchers: ['team=~\"web|db\"']}}");
    bench.clear(&any).await?;
    let alert = |name: &str, severity: &str| json!({"labels": {"alertname": name, "severity": severity, "team": "infra"}});
    let alerts = json!([alert("RebootRequired", "warning"), alert("Disk", "warning")]);
    post(&format!("{url}/api/v2/alerts"), &alerts).await?;
    bench.blocks(&any, "alert Disk").await?;
    bench.clear(&critical).await?;
    bench.clear(&web).await?;
    let alerts = json!([alert("Down", "critical")]);
    post(&format!("{url}/api/v2/alerts"), &alerts).await?;
    bench.blocks(&critical, "alert Down").await?;
    let silence = json!({
        "matchers": [{"name": "alertname", "value": "Down", "isRegex": false}],
        "startsAt": "2020-01-01T00:00:00Z", "endsAt": "2100-01-01T00:00:00Z",
        "createdBy": "lab", "comment": "known",
    });
    post(&format!("{url}/api/v2/silences"), &silence).await?;
    bench.clear(&critical).await?;
    let unreadable = format!("alertmanager: {{url: '{url}', matchers: ['a=~\"(\"']}}");
    bench.fails(&unreadable, "does not understand").await
}

async fn post(url: &str, body: &serde_json::Value) -> Result<()> {
    let request = reqwest::Client::builder()
        .tls_certs_only([])
        .build()?
        .post(url)
        .header("content-type", "application/json")
        .body(body.to_string());
    request.send().await?.error_for_status()?;
    Ok(())
}
