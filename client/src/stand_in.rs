//! A client whose requests a function answers, in the place of an API server.
//!
//! For tests of a single executor of either program, where it matters which requests it makes and
//! how often. The server's clock goes on by a second with every request, so that a time tells with
//! which request it was read. Owns no rule of an API server: the simulation's has those. No program
//! calls it.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::task::{Context, Poll};

use http::{Request, Response, header};
use http_body_util::Full;
use hyper::body::Bytes;
use jiff::{SignedDuration, Timestamp};
use kube::Client;
use kube::client::Body;
use serde_json::Value;
use tower_service::Service;

/// Answers a method and a path with a status code and an object.
type Answers = dyn Fn(&str, &str) -> (u16, Value) + Send + Sync;

/// A client that is answered by `answers`; the first answer is from `begun`.
pub fn client(
    begun: Timestamp,
    answers: impl Fn(&str, &str) -> (u16, Value) + Send + Sync + 'static,
) -> Client {
    let service = StandIn {
        answers: Arc::new(answers),
        begun,
        asked: Arc::default(),
    };
    Client::new(service, "default")
}

#[derive(Clone)]
struct StandIn {
    answers: Arc<Answers>,
    begun: Timestamp,
    asked: Arc<AtomicI64>,
}

impl Service<Request<Body>> for StandIn {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let passed = SignedDuration::from_secs(self.asked.fetch_add(1, Ordering::Relaxed));
        let now = self.begun.saturating_add(passed).unwrap_or(self.begun);
        let (code, object) = (self.answers)(request.method().as_str(), request.uri().path());
        let date = now.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
        let answer = Response::builder()
            .status(code)
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::DATE, date)
            .body(Full::new(Bytes::from(object.to_string())));
        // Without a valid code there is an empty answer, which no test expects.
        ready(Ok(answer.unwrap_or_default()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server_time;
    use serde_json::json;

    #[tokio::test]
    async fn each_answer_is_a_second_later_than_the_one_before() {
        let begun: Timestamp = "2026-11-24T12:00:00Z".parse().unwrap();
        let client = client(begun, |_, _| (200, json!({})));
        assert_eq!(server_time::now(&client).await.unwrap(), begun);
        let second = SignedDuration::from_secs(1);
        assert_eq!(server_time::now(&client).await.unwrap(), begun + second);
    }
}
