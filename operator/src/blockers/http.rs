//! A URL that says by its status whether nodes may go.

use reqwest::StatusCode;
use slipway_api::policy::Endpoint;
use slipway_planner::blockers::Answer;

use super::Trouble;
use super::fetch::{Fetcher, status_trouble};

/// Asks the URL.
pub(super) async fn ask(fetcher: &Fetcher, endpoint: &Endpoint) -> Result<Answer, Trouble> {
    let answer = fetcher.get(endpoint, &[], &[]).await?;
    judge(answer.status)
}

fn judge(status: StatusCode) -> Result<Answer, Trouble> {
    match status.as_u16() {
        200..=299 => Ok(Answer::Clear),
        // Not an answer to the question.
        401 | 407 | 408 | 429 => Err(status_trouble(status)),
        code @ 400..=499 => Ok(Answer::Blocks {
            message: format!("it answers {code}"),
        }),
        _ => Err(status_trouble(status)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_status_that_answers_the_question_is_a_definite_no() {
        let of = |code: u16| judge(StatusCode::from_u16(code).unwrap());
        for code in [200, 204, 299] {
            assert_eq!(of(code), Ok(Answer::Clear), "{code}");
        }
        for code in [403, 404, 409, 423] {
            assert!(matches!(of(code), Ok(Answer::Blocks { .. })), "{code}");
        }
        for code in [100, 301, 302, 401, 407, 408, 429, 500, 503] {
            assert!(of(code).is_err(), "{code}");
        }
    }
}
