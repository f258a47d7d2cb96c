//! The tower service that a client talks to: requests in, bytes out, faults on the way.

use std::convert::Infallible;
use std::io;
use std::task::{Context, Poll};

use futures::future::BoxFuture;
use futures::stream;
use http::{Request, Response, StatusCode, header};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Bytes, Frame};
use kube::client::Body;
use serde_json::Value;

use super::answer::Answer;
use super::path::{self, Call};
use super::watch::{self, Watch};
use super::{Act, FakeApi, reviews};

type Reply = Response<UnsyncBoxBody<Bytes, io::Error>>;

/// One client's way to the server.
#[derive(Clone)]
pub(super) struct Service {
    api: FakeApi,
    user: String,
}

impl Service {
    pub(super) fn new(api: FakeApi, user: &str) -> Self {
        Self {
            api,
            user: user.to_owned(),
        }
    }

    async fn exchange(self, request: Request<Body>) -> io::Result<Reply> {
        let (parts, body) = request.into_parts();
        let bytes = body.collect_bytes().await.map_err(io::Error::other)?;
        let user = parts.headers.get("impersonate-user");
        let user = user
            .and_then(|user| user.to_str().ok())
            .unwrap_or(&self.user);
        if reviews::is_one(parts.uri.path()) {
            let body = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
            if let Some(answer) = reviews::answer(parts.uri.path(), user, body) {
                return Ok(self.reply(&answer, false));
            }
        }
        let call = match path::read(&parts, user) {
            Ok(call) => call,
            Err(answer) => return Ok(self.reply(&answer, false)),
        };
        let fate = self
            .api
            .network()
            .map(|network| network.fate(&call))
            .unwrap_or_default();
        pause(fate.before).await;
        match fate.act {
            Act::Serve => {}
            Act::Refuse(answer) => return Ok(self.reply(&answer, false)),
            Act::Lost => return Err(reset()),
            Act::BlackHole => return silence().await,
            Act::AnswerLost => {
                self.serve(&call, &bytes);
                return Err(reset());
            }
            Act::Late => {
                // It lands whether or not the sender still waits.
                let late = self.clone();
                tokio::spawn(async move {
                    tokio::time::sleep(fate.after).await;
                    late.serve(&call, &bytes);
                });
                return silence().await;
            }
            Act::Truncated => {
                let answer = self.serve(&call, &bytes);
                return Ok(self.reply(&answer, true));
            }
            Act::Masked(answer) => {
                self.serve(&call, &bytes);
                return Ok(self.reply(&answer, false));
            }
            Act::SenderDies => end_sender(),
            Act::SenderDiesAfter => {
                self.serve(&call, &bytes);
                end_sender();
            }
        }
        if call.is_watch() {
            let network = self.api.network();
            let opened = watch::open(&mut self.api.store(), &call, network);
            pause(fate.after).await;
            return Ok(match opened {
                Ok(watch) => self.follow(watch),
                Err(answer) => self.reply(&answer, false),
            });
        }
        let answer = self.serve(&call, &bytes);
        pause(fate.after).await;
        Ok(self.reply(&answer, false))
    }

    fn serve(&self, call: &Call, bytes: &Bytes) -> Answer {
        let body = if bytes.is_empty() {
            Ok(Value::Null)
        } else {
            serde_json::from_slice(bytes)
        };
        let answer = match body {
            Ok(body) => self.api.serve(call, &body),
            Err(error) => Answer::bad_request(&format!("the body cannot be read: {error}")),
        };
        if let Some(network) = self.api.network() {
            network.answered(call, &answer);
        }
        answer
    }

    fn reply(&self, answer: &Answer, truncated: bool) -> Reply {
        // A plain text is not quoted.
        let text = answer
            .body
            .as_str()
            .map_or_else(|| answer.body.to_string(), str::to_owned);
        let shown = if truncated {
            text.get(..text.len() / 2).unwrap_or_default().to_owned()
        } else {
            text
        };
        let body = Full::new(Bytes::from(shown)).map_err(|never: Infallible| match never {});
        self.response(answer.code, body.boxed_unsync())
    }

    fn follow(&self, watch: Watch) -> Reply {
        let lines = stream::unfold(watch, |mut watch| async move {
            let line = watch.next().await?;
            Some((Ok(Frame::data(line)), watch))
        });
        self.response(200, StreamBody::new(lines).boxed_unsync())
    }

    fn response(&self, code: u16, body: UnsyncBoxBody<Bytes, io::Error>) -> Reply {
        let offset = self
            .api
            .network()
            .map_or(0, |network| network.date_offset());
        let now = self.api.store().now();
        let now = now
            .checked_add(jiff::SignedDuration::from_secs(offset))
            .unwrap_or(now);
        let date = now.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
        let mut response = Response::new(body);
        *response.status_mut() =
            StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let json = header::HeaderValue::from_static("application/json");
        response.headers_mut().insert(header::CONTENT_TYPE, json);
        if let Ok(date) = header::HeaderValue::from_str(&date) {
            response.headers_mut().insert(header::DATE, date);
        }
        response
    }
}

/// What a client meets that nothing ever answers: its read timeout, as the real one has it.
async fn silence() -> io::Result<Reply> {
    tokio::time::sleep(slipway_client::connect::READ_TIMEOUT).await;
    Err(reset())
}

/// Ends the task that sends, as a kill does: unwound, without a word of a panic.
pub(crate) fn end_sender() -> ! {
    std::panic::resume_unwind(Box::new("the program was killed"))
}

async fn pause(time: std::time::Duration) {
    if !time.is_zero() {
        tokio::time::sleep(time).await;
    }
}

fn reset() -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionReset, "connection reset by peer")
}

impl tower_service::Service<Request<Body>> for Service {
    type Response = Reply;
    type Error = io::Error;
    type Future = BoxFuture<'static, io::Result<Reply>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        Box::pin(self.clone().exchange(request))
    }
}
