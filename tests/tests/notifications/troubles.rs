//! Targets that fail, hang or are not there, leaders that die, and what is said of them.

use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::json;
use slipway_client::clock;
use slipway_operator::notify::Services;

use crate::bench::{Bench, now};
use crate::receiver::{Receiver, Reply};

const ONE: &str = "[{secretRef: {name: target}}]";
const DRAINS: &[&str] = &["Granted", "Draining"];
const REBOOTS: &[&str] = &["Granted", "Draining", "Drained", "Rebooting"];

fn url(receiver: &Receiver) -> String {
    format!("generic+http://{}/canary-hush", receiver.address)
}

fn bodies(receiver: &Receiver) -> Vec<String> {
    let seen = receiver.seen();
    seen.into_iter().map(|request| request.body).collect()
}

#[tokio::test]
async fn what_fails_is_tried_again_and_what_follows_keeps_its_place() -> Result<()> {
    let receiver = Receiver::open().await?;
    receiver.answers([Reply::Says(503, "hush")]);
    let mut bench = Bench::start(ONE).await?;
    bench.secret("target", &[("url", &url(&receiver))]).await?;
    let operator = bench.operator(Services::default());
    bench.pass(&operator).await?;
    bench.happens("n1", 7, REBOOTS).await?;
    bench.pass(&operator).await?;
    let stand = bench
        .wait_stand("target", "waits", |one| one.pending == 2)
        .await?;
    ensure!(
        stand.last_error.as_deref() == Some("generic: it answers 503"),
        "{stand:?}"
    );
    let condition = bench.wait_condition(&operator, "DeliveryFailed").await?;
    ensure!(
        condition.message == "spec.notifications[0]: generic: it answers 503",
        "{condition:?}"
    );
    let stand = bench.wait_told("target", 2).await?;
    ensure!(
        stand.pending == 0 && stand.last_error.is_none(),
        "{stand:?}"
    );
    bench.wait_condition(&operator, "InOrder").await?;
    let (drains, reboots) = ("Draining node n1", "Rebooting node n1");
    ensure!(
        bodies(&receiver) == [drains, drains, reboots],
        "{:?}",
        receiver.seen()
    );
    let metrics = operator.metrics.render();
    for (result, count) in [("delivered", 2), ("failed", 1), ("given_up", 0)] {
        let line = format!(
            "slipway_notifications_total{{form=\"generic\",policy=\"workers\",result=\"{result}\"}} {count}"
        );
        ensure!(metrics.contains(&line), "{line} is missing in\n{metrics}");
    }
    Ok(())
}

#[tokio::test]
async fn f70_a_target_that_hangs_delays_no_pass_and_no_other_target() -> Result<()> {
    let (hanging, well) = (Receiver::open().await?, Receiver::open().await?);
    hanging.answers([Reply::Hangs]);
    let two = "[{secretRef: {name: hanging}}, {secretRef: {name: well}}]";
    let mut bench = Bench::start(two).await?;
    bench.secret("hanging", &[("url", &url(&hanging))]).await?;
    bench.secret("well", &[("url", &url(&well))]).await?;
    let operator = bench.operator(Services::default());
    bench.pass(&operator).await?;
    bench.happens("n1", 7, DRAINS).await?;
    bench.pass(&operator).await?;
    hanging.wait(1).await?;
    // From here on somebody hangs.
    bench.happens("n1", 7, REBOOTS).await?;
    let begun = clock::boottime();
    bench.pass(&operator).await?;
    bench.wait_told("well", 2).await?;
    let took = clock::boottime().saturating_sub(begun);
    ensure!(took < Duration::from_secs(5), "it took {took:?}");
    ensure!(hanging.seen().len() == 1, "the first attempt has ended");
    // The attempt ends by itself, and everything arrives.
    let stand = bench
        .wait_stand("hanging", "waited", |one| one.last_error.is_some())
        .await?;
    let why = stand.last_error.unwrap();
    ensure!(why == "generic: no answer within 10s", "{why}");
    bench.wait_told("hanging", 2).await?;
    Ok(())
}

#[tokio::test]
async fn the_next_leader_tells_what_is_left_and_nothing_again() -> Result<()> {
    let receiver = Receiver::open().await?;
    let mut bench = Bench::start(ONE).await?;
    bench.secret("target", &[("url", &url(&receiver))]).await?;
    let first = bench.operator(Services::default());
    bench.pass(&first).await?;
    bench.happens("n1", 7, DRAINS).await?;
    bench.pass(&first).await?;
    bench.wait_told("target", 1).await?;
    // Killed while a message is under way: nobody can know whether it arrived.
    receiver.answers([Reply::Hangs]);
    bench.happens("n1", 7, REBOOTS).await?;
    bench.pass(&first).await?;
    receiver.wait(2).await?;
    first.kill();
    let second = bench.operator(Services::default());
    bench.pass(&second).await?;
    bench.wait_told("target", 2).await?;
    let (drains, reboots) = ("Draining node n1", "Rebooting node n1");
    ensure!(
        bodies(&receiver) == [drains, reboots, reboots],
        "{:?}",
        receiver.seen()
    );
    // A third one finds everything told.
    second.kill();
    let third = bench.operator(Services::default());
    bench.pass(&third).await?;
    bench
        .happens("n1", 7, &[REBOOTS, &["Rebooted", "Completed"]].concat())
        .await?;
    bench.pass(&third).await?;
    bench.wait_told("target", 3).await?;
    let last = "Node n1 rebooted & uncordoned successfully!";
    ensure!(
        bodies(&receiver) == [drains, reboots, reboots, last],
        "{:?}",
        receiver.seen()
    );
    Ok(())
}

#[tokio::test]
async fn two_leaders_at_once_never_undo_each_others_record() -> Result<()> {
    let receiver = Receiver::open().await?;
    let mut bench = Bench::start(ONE).await?;
    bench.secret("target", &[("url", &url(&receiver))]).await?;
    let (first, second) = (
        bench.operator(Services::default()),
        bench.operator(Services::default()),
    );
    bench.pass(&first).await?;
    bench.pass(&second).await?;
    for fence in 1..=5 {
        bench.happens(&format!("n{fence}"), fence, REBOOTS).await?;
        bench.pass(&first).await?;
        bench.pass(&second).await?;
    }
    let stand = bench.wait_told("target", 10).await?;
    ensure!(stand.told.len() == 5, "{stand:?}");
    // A third one has nothing to tell of these.
    first.kill();
    second.kill();
    let third = bench.operator(Services::default());
    bench.pass(&third).await?;
    let before = receiver.seen().len();
    bench.happens("n9", 9, DRAINS).await?;
    bench.pass(&third).await?;
    bench.wait_told("target", 11).await?;
    ensure!(
        bodies(&receiver)[before..] == ["Draining node n9"],
        "{:?}",
        receiver.seen()
    );
    Ok(())
}

#[tokio::test]
async fn what_only_time_shows_is_a_condition_that_names_the_field() -> Result<()> {
    let two = "[{secretRef: {name: well}}, {secretRef: {name: target, key: address}}]";
    let bench = Bench::start(two).await?;
    bench
        .secret("well", &[("url", "https://localhost:1/")])
        .await?;
    let operator = bench.operator(Services::default());
    bench.pass(&operator).await?;
    let condition = bench.wait_condition(&operator, "SecretUnusable").await?;
    ensure!(
        condition.message
            == "spec.notifications[1].secretRef: Secret target does not exist in slipway-system",
        "{condition:?}"
    );
    let stand = bench
        .wait_stand("target", "says so", |one| one.last_error.is_some())
        .await?;
    ensure!(stand.key == "address", "{stand:?}");
    // The other one is none the worse.
    let well = bench
        .wait_stand("well", "is known", |one| one.form.is_some())
        .await?;
    ensure!(well.last_error.is_none(), "{well:?}");

    let bench = Bench::start(ONE).await?;
    bench
        .secret("target", &[("url", "hush://hush:hush@hush/hush")])
        .await?;
    let operator = bench.operator(Services::default());
    bench.pass(&operator).await?;
    let condition = bench.wait_condition(&operator, "UrlNotUnderstood").await?;
    let begin = "spec.notifications[0].secretRef: the URL under url of Secret target has a scheme";
    ensure!(condition.message.starts_with(begin), "{condition:?}");
    ensure!(!condition.message.contains("hush"), "{condition:?}");
    Ok(())
}

#[tokio::test]
async fn a_dead_url_is_told_and_s11_nothing_of_it_appears_anywhere() -> Result<()> {
    let receiver = Receiver::open().await?;
    let address = receiver.address;
    drop(receiver);
    let bench_url =
        format!("generic+http://canary-user:canary-hush@{address}/canary?@X-Key=canary");
    let mut bench = Bench::start(ONE).await?;
    bench.secret("target", &[("url", &bench_url)]).await?;
    let operator = bench.operator(Services::default());
    bench.pass(&operator).await?;
    bench.happens("n1", 7, DRAINS).await?;
    bench.pass(&operator).await?;
    let condition = bench.wait_condition(&operator, "DeliveryFailed").await?;
    let begin = "spec.notifications[0]: generic: ";
    ensure!(condition.message.starts_with(begin), "{condition:?}");
    bench
        .wait_stand("target", "says so", |one| one.last_error.is_some())
        .await?;
    for shown in [
        format!("{condition:?}"),
        serde_json::to_string(&bench.policy().await?)?,
        operator.metrics.render(),
        format!("{:?}", operator.notifier),
    ] {
        ensure!(!shown.contains("canary"), "{shown}");
        ensure!(!shown.contains(&address.to_string()), "{shown}");
    }
    Ok(())
}

#[tokio::test]
async fn a_notification_that_is_taken_away_leaves_nothing_and_one_made_anew_begins_anew()
-> Result<()> {
    let receiver = Receiver::open().await?;
    let mut bench = Bench::start(ONE).await?;
    bench.secret("target", &[("url", &url(&receiver))]).await?;
    let operator = bench.operator(Services::default());
    bench.pass(&operator).await?;
    bench
        .wait_stand("target", "is known", |one| one.form.is_some())
        .await?;
    bench.edit(&json!([])).await?;
    bench.pass(&operator).await?;
    slipway_lab::wait::wait_until("nothing left", crate::bench::BOUND, || async {
        Ok(bench.stand().await?.is_empty().then_some(()))
    })
    .await?;
    bench.happens("n1", 7, DRAINS).await?;
    // Whole seconds: what happens in the second of its making is told.
    let second = now().as_second();
    slipway_lab::wait::wait_until("the next second", crate::bench::BOUND, || async {
        Ok((now().as_second() > second).then_some(()))
    })
    .await?;
    bench
        .edit(&json!([{"secretRef": {"name": "target"}}]))
        .await?;
    bench.pass(&operator).await?;
    bench.happens("n2", 8, DRAINS).await?;
    bench.pass(&operator).await?;
    bench.wait_told("target", 1).await?;
    ensure!(
        bodies(&receiver) == ["Draining node n2"],
        "{:?}",
        receiver.seen()
    );
    Ok(())
}
