//! A query: any series in its answer blocks.

use slipway_api::policy::Endpoint;
use slipway_planner::blockers::Answer;

use super::Trouble;
use super::fetch::Fetcher;
use super::prometheus::series;

/// Asks the query.
pub(super) async fn ask(
    fetcher: &Fetcher,
    endpoint: &Endpoint,
    query: &str,
) -> Result<Answer, Trouble> {
    let series = series(fetcher, endpoint, query).await?;
    if series.is_empty() {
        return Ok(Answer::Clear);
    }
    // Without their number, which may change with every answer and would be written each time.
    Ok(Answer::Blocks {
        message: "the query has a non-empty answer".to_owned(),
    })
}
