//! Alerts of a Prometheus: those that its rules have made series of, as kured asks for them.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde_json::Value;
use slipway_api::blockers::AlertNames;
use slipway_api::policy::Endpoint;
use slipway_planner::blockers::Answer;

use super::Trouble;
use super::fetch::Fetcher;

/// Alerts by name: the answer stays small, however many alerts fire.
const FIRING: &str = "count by (alertname) (ALERTS{alertstate=\"firing\"})";
const FIRING_OR_PENDING: &str = "count by (alertname) (ALERTS{alertstate=~\"firing|pending\"})";
/// Most names that a message lists.
const NAMES_MAX: usize = 5;
/// Longest name of an alert in a message.
const NAME_MAX: usize = 64;

/// Asks which alerts count now.
pub(super) async fn ask(
    fetcher: &Fetcher,
    endpoint: &Endpoint,
    alerts: &AlertNames,
    firing_only: bool,
) -> Result<Answer, Trouble> {
    let query = if firing_only {
        FIRING
    } else {
        FIRING_OR_PENDING
    };
    let series = series(fetcher, endpoint, query).await?;
    let names = series.iter().map(Series::alert);
    Ok(judge(names, alerts))
}

/// Blocks on every alert that counts.
pub(super) fn judge<'a>(names: impl Iterator<Item = &'a str>, alerts: &AlertNames) -> Answer {
    let counted: BTreeSet<&str> = names.filter(|name| alerts.count(name)).collect();
    if counted.is_empty() {
        return Answer::Clear;
    }
    let shown: Vec<String> = counted
        .iter()
        .take(NAMES_MAX)
        .map(|name| clean(name))
        .collect();
    let more = counted.len().saturating_sub(shown.len());
    let word = if counted.len() == 1 {
        "alert"
    } else {
        "alerts"
    };
    let more = if more == 0 {
        String::new()
    } else {
        format!(" and {more} more")
    };
    Answer::Blocks {
        message: format!("{word} {}{more}", shown.join(", ")),
    }
}

/// A name without anything that could be mistaken for more than one.
fn clean(name: &str) -> String {
    let kept = name
        .chars()
        .filter(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | ':' | '-' | '.'));
    kept.take(NAME_MAX).collect()
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Body {
    status: String,
    data: Option<Data>,
    #[serde(default)]
    warnings: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Data {
    result_type: String,
    result: Value,
}

/// One series of an answer.
#[derive(Deserialize)]
pub(super) struct Series {
    metric: BTreeMap<String, String>,
}

impl Series {
    fn alert(&self) -> &str {
        self.metric.get("alertname").map_or("", String::as_str)
    }
}

/// The series of a query's answer.
pub(super) async fn series(
    fetcher: &Fetcher,
    endpoint: &Endpoint,
    query: &str,
) -> Result<Vec<Series>, Trouble> {
    let path = ["api", "v1", "query"];
    let answer = fetcher.get(endpoint, &path, &[("query", query)]).await?;
    if matches!(answer.status.as_u16(), 400 | 422) {
        // Only now is it known to be Prometheus' own answer.
        let _: Body = answer.json("Prometheus")?;
        return Err(Trouble::new("it does not understand the query"));
    }
    let answer = answer.successful()?;
    parse(answer.json("Prometheus")?)
}

fn parse(body: Body) -> Result<Vec<Series>, Trouble> {
    let Body {
        status,
        data,
        warnings,
    } = body;
    let bad = || Trouble::new("its answer is not that of Prometheus");
    let data = data.filter(|_| status == "success").ok_or_else(bad)?;
    let series: Vec<Series> = match data.result_type.as_str() {
        "vector" | "matrix" => serde_json::from_value(data.result).map_err(|_| bad())?,
        "scalar" | "string" => {
            return Err(Trouble::new(
                "the query gives a number, which is never empty; write a comparison of series",
            ));
        }
        _ => return Err(bad()),
    };
    // Thanos and others answer with what they have: nothing may be concluded from what is missing.
    if series.is_empty() && !warnings.is_empty() {
        return Err(Trouble::new("its answer is not complete"));
    }
    Ok(series)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn parsed(body: &Value) -> Result<usize, Trouble> {
        let body: Body =
            serde_json::from_str(&body.to_string()).map_err(|_| Trouble::new("bad"))?;
        parse(body).map(|series| series.len())
    }

    #[test]
    fn f68_only_a_complete_answer_of_series_says_that_nothing_fires() {
        let vector = |result: Value| json!({"resultType": "vector", "result": result});
        let nan = json!([{"metric": {}, "value": [1, "NaN"]}]);
        assert_eq!(
            parsed(&json!({"status": "success", "data": vector(json!([]))})),
            Ok(0)
        );
        assert_eq!(
            parsed(&json!({"status": "success", "data": vector(nan)})),
            Ok(1)
        );
        for refused in [
            json!({"status": "error", "data": vector(json!([]))}),
            json!({"status": "success"}),
            json!({"status": "success", "data": vector(json!({}))}),
            json!({"status": "success", "data": vector(json!([]))["result"]}),
            json!({"status": "success", "data": {"resultType": "scalar", "result": [1, "0"]}}),
            json!({"status": "success", "data": {"resultType": "new", "result": []}}),
            json!({"status": "success", "data": vector(json!([])), "warnings": ["partial"]}),
            json!({}),
            json!([]),
        ] {
            assert!(parsed(&refused).is_err(), "{refused}");
        }
    }

    #[test]
    fn a_message_names_some_alerts_in_order_and_nothing_else() {
        let all = AlertNames {
            ignore: None,
            only: None,
        };
        let names = ["C", "A", "A", "B\n<script>", "D", "E", "F"];
        assert_eq!(
            judge(names.into_iter(), &all),
            Answer::Blocks {
                message: "alerts A, Bscript, C, D, E and 1 more".into()
            }
        );
        assert_eq!(judge(std::iter::empty(), &all), Answer::Clear);
    }
}
