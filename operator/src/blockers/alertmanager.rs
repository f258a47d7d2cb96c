//! Active alerts of an Alertmanager: silenced and inhibited ones do not count.

use std::collections::BTreeMap;

use serde::Deserialize;
use slipway_api::blockers::AlertNames;
use slipway_api::policy::Endpoint;
use slipway_planner::blockers::Answer;

use super::Trouble;
use super::fetch::Fetcher;
use super::prometheus::judge;

#[derive(Deserialize)]
struct Alert {
    labels: BTreeMap<String, String>,
    status: Status,
}

#[derive(Deserialize)]
struct Status {
    state: String,
}

/// Asks which alerts are active.
pub(super) async fn ask(
    fetcher: &Fetcher,
    endpoint: &Endpoint,
    matchers: &[String],
    alerts: &AlertNames,
) -> Result<Answer, Trouble> {
    let mut query = vec![
        ("active", "true"),
        ("silenced", "false"),
        ("inhibited", "false"),
    ];
    query.extend(matchers.iter().map(|matcher| ("filter", matcher.as_str())));
    let path = ["api", "v2", "alerts"];
    let answer = fetcher.get(endpoint, &path, &query).await?;
    if answer.status.as_u16() == 400 {
        return Err(Trouble::new("it does not understand the matchers"));
    }
    let answered: Vec<Alert> = answer.successful()?.json("Alertmanager")?;
    // It was asked for no others; a proxy that drops the question must not block by it.
    let active = answered
        .iter()
        .filter(|alert| alert.status.state != "suppressed");
    let names = active.map(|alert| alert.labels.get("alertname").map_or("", String::as_str));
    Ok(judge(names, alerts))
}
