//! Reads that also tell the API server's own time.
//!
//! The second key is valid for 60 s by the API server's clock (faults.md G8): the clocks of two
//! nodes may differ, that of the API server is the one both sides can ask.

use http::{Request, header};
use jiff::Timestamp;
use jiff::fmt::rfc2822;
use kube::core::Status;
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;

use crate::call::{CALL_LIMIT, CallError};

/// Reads an object at quorum, and the time at which the API server answered.
///
/// The time has whole seconds, cut off: it is never later than the read, so evidence is taken to
/// be older than it is, never younger. `None` when there is no such object.
///
/// # Errors
/// See [`CallError`]; an answer without a readable `Date` header counts as one.
pub async fn get_opt<K>(
    client: &Client,
    api: &Api<K>,
    name: &str,
    what: &str,
) -> Result<(Option<K>, Timestamp), CallError>
where
    K: Resource + DeserializeOwned,
{
    let request = Request::get(format!("{}/{name}", api.resource_url()))
        .header(header::ACCEPT, "application/json")
        .body(Vec::new())
        .map_err(|source| CallError::api(what, kube::Error::HttpError(source)))?;
    let exchange = async {
        let response = client.send(request.map(kube::client::Body::from)).await?;
        let (parts, body) = response.into_parts();
        let body = body.collect_bytes().await?;
        Ok((parts, body))
    };
    let (parts, body) = match tokio::time::timeout(CALL_LIMIT, exchange).await {
        Ok(answer) => answer.map_err(|source| CallError::api(what, source))?,
        Err(_) => {
            return Err(CallError::NoAnswer {
                what: what.to_owned(),
            });
        }
    };
    let unreadable = |source| CallError::api(what, kube::Error::SerdeError(source));
    let time = parts
        .headers
        .get(header::DATE)
        .and_then(|value| value.to_str().ok())
        .and_then(date)
        .ok_or_else(|| unreadable(serde::de::Error::custom("the answer has no Date")))?;
    if parts.status.is_success() {
        let object = serde_json::from_slice(&body).map_err(unreadable)?;
        return Ok((Some(object), time));
    }
    let status: Status = serde_json::from_slice(&body).unwrap_or_else(|_| Status {
        code: parts.status.as_u16(),
        message: String::from_utf8_lossy(&body).chars().take(256).collect(),
        ..Status::default()
    });
    // "No such object" is an answer; "no such kind" is not: nothing may be concluded from it.
    if status.code == 404
        && status
            .details
            .as_ref()
            .is_some_and(|details| details.name == name)
    {
        return Ok((None, time));
    }
    Err(CallError::api(what, kube::Error::Api(Box::new(status))))
}

/// Reads the API server's time alone, by the cheapest read that needs no permission of ours.
///
/// # Errors
/// See [`CallError`].
pub async fn now(client: &Client) -> Result<Timestamp, CallError> {
    let what = "read the API server's time";
    let request = Request::get("/version")
        .body(kube::client::Body::empty())
        .map_err(|source| CallError::api(what, kube::Error::HttpError(source)))?;
    let response = match tokio::time::timeout(CALL_LIMIT, client.send(request)).await {
        Ok(answer) => answer.map_err(|source| CallError::api(what, source))?,
        Err(_) => {
            return Err(CallError::NoAnswer {
                what: what.to_owned(),
            });
        }
    };
    response
        .headers()
        .get(header::DATE)
        .and_then(|value| value.to_str().ok())
        .and_then(date)
        .ok_or_else(|| {
            let source = serde::de::Error::custom("the answer has no Date");
            CallError::api(what, kube::Error::SerdeError(source))
        })
}

/// HTTP's date format (RFC 9110 §5.6.7), which is RFC 2822's with the zone written `GMT`.
fn date(text: &str) -> Option<Timestamp> {
    let parser = rfc2822::DateTimeParser::new().relaxed_weekday(true);
    parser.parse_timestamp(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_date_of_an_answer_is_read() {
        let time = date("Tue, 24 Nov 2026 18:30:24 GMT").unwrap();
        assert_eq!(time.to_string(), "2026-11-24T18:30:24Z");
        assert!(date("yesterday").is_none());
    }
}
