//! One connection, one request after the other.

use std::os::fd::AsFd;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use futures::stream;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Bytes, Frame, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response, header};
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::rule::{Fault, Rules};
use super::tls::Tls;
use super::way::Way;

/// An answer, either streamed from the API server or made here.
type Body = BoxBody<Bytes, Box<dyn std::error::Error + Send + Sync>>;

/// Longer than any client of ours waits.
const FOR_EVER: Duration = Duration::from_hours(1);

/// Accepts until the task is dropped, and its connections with it.
pub(super) async fn accept(
    listener: TcpListener,
    tls: Tls,
    (rules, way): (Arc<Mutex<Rules>>, Arc<Way>),
) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let Ok(socket) = second_handle(&stream) else {
            continue;
        };
        let passage = Passage {
            tls: tls.clone(),
            rules: Arc::clone(&rules),
            way: Arc::clone(&way),
            socket: Arc::new(socket),
        };
        let cut = way.until_cut();
        connections.spawn(async move {
            tokio::select! {
                // How a connection ends is what is tested: its client notices.
                served = passage.serve(stream) => drop(served),
                () = cut => {}
            }
        });
        while connections.try_join_next().is_some() {}
    }
}

/// The client's socket once more, to reset it from inside the HTTP server that owns it.
fn second_handle(stream: &TcpStream) -> Result<TcpStream> {
    let descriptor = stream.as_fd().try_clone_to_owned()?;
    Ok(TcpStream::from_std(descriptor.into())?)
}

#[derive(Clone)]
struct Passage {
    tls: Tls,
    rules: Arc<Mutex<Rules>>,
    way: Arc<Way>,
    socket: Arc<TcpStream>,
}

impl Passage {
    async fn serve(self, stream: TcpStream) -> Result<()> {
        let stream = self.tls.accept(stream).await?;
        let service = service_fn(move |request| {
            let passage = self.clone();
            async move { passage.answer(request).await }
        });
        // An error of the service, which is how a fault says "no answer", ends the connection
        // without a word.
        hyper::server::conn::http1::Builder::new()
            .serve_connection(TokioIo::new(stream), service)
            .await?;
        Ok(())
    }

    async fn answer(&self, request: Request<Incoming>) -> Result<Response<Body>> {
        let (head, body) = request.into_parts();
        let body = body.collect().await?.to_bytes();
        let path = head.uri.path_and_query().map_or("/", |path| path.as_str());
        let fault = match self.rules.lock() {
            Ok(mut rules) => rules.meet(&head.method, path, &body),
            Err(_) => bail!("the rules are lost"),
        };
        let request = Request::from_parts(head, body);
        match fault {
            None => self.pass_on(request).await,
            Some(Fault::Delay(time)) => {
                tokio::time::sleep(time).await;
                self.pass_on(request).await
            }
            Some(Fault::DropBefore) => bail!("dropped before it was passed on"),
            Some(Fault::DropAfter) => {
                self.take_effect(request).await?;
                bail!("dropped after it took effect")
            }
            Some(Fault::Reset) => {
                self.socket.set_zero_linger()?;
                bail!("reset before it was passed on")
            }
            Some(Fault::Blackhole) => {
                tokio::time::sleep(FOR_EVER).await;
                bail!("never answered")
            }
            Some(Fault::Late(time)) => {
                let passage = self.clone();
                // The client closes its connection long before; the request must outlive it.
                tokio::spawn(async move {
                    tokio::time::sleep(time).await;
                    drop(passage.take_effect(request).await);
                });
                tokio::time::sleep(FOR_EVER).await;
                bail!("never answered")
            }
            Some(Fault::Truncate) => Ok(truncated(self.take_effect(request).await?)),
            Some(Fault::Refuse(code, seconds)) => refusal(code, seconds),
            Some(Fault::Twice) => {
                self.take_effect(request.clone()).await?;
                self.pass_on(request).await
            }
            Some(Fault::Expired) => expired(),
        }
    }

    /// Passes a request on, and its answer back as it comes.
    async fn pass_on(&self, mut request: Request<Bytes>) -> Result<Response<Body>> {
        let path = request.uri().path_and_query();
        let path = path.map_or_else(String::new, ToString::to_string);
        let stream = self.tls.connect(self.way.port_of(&path)).await?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(async move { drop(connection.await) });
        request.headers_mut().remove(header::CONNECTION);
        let response = sender.send_request(request.map(Full::new)).await?;
        let way = Arc::clone(&self.way);
        let seen = move |frame| {
            way.passes(&path, &frame);
            frame
        };
        Ok(response.map(|body| body.map_frame(seen).map_err(Into::into).boxed()))
    }

    /// Passes a request on and waits for the whole answer.
    async fn take_effect(&self, request: Request<Bytes>) -> Result<Response<Bytes>> {
        let (head, body) = self.pass_on(request).await?.into_parts();
        let body = body
            .collect()
            .await
            .map_err(|error| anyhow::anyhow!(error))?;
        Ok(Response::from_parts(head, body.to_bytes()))
    }
}

/// The whole answer's headers, with half of its body before the connection ends.
fn truncated(answer: Response<Bytes>) -> Response<Body> {
    let (mut head, body) = answer.into_parts();
    head.headers.remove(header::TRANSFER_ENCODING);
    head.headers
        .insert(header::CONTENT_LENGTH, body.len().into());
    let half = Frame::data(body.slice(..body.len() / 2));
    let pieces = [Ok(half), Err("the rest is lost".into())];
    let body = StreamBody::new(stream::iter(pieces));
    Response::from_parts(head, BodyExt::boxed(body))
}

fn refusal(code: u16, seconds: Option<u32>) -> Result<Response<Body>> {
    let reason = match code {
        429 => "TooManyRequests",
        503 => "ServiceUnavailable",
        _ => "InternalError",
    };
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "reason": reason, "message": "the fault proxy says so", "code": code,
    });
    let mut response = Response::builder()
        .status(code)
        .header(header::CONTENT_TYPE, "application/json")
        .header(header::CONNECTION, "close");
    if let Some(seconds) = seconds {
        response = response.header(header::RETRY_AFTER, seconds);
    }
    response
        .body(made(status.to_string().into()))
        .context("failed to make a refusal")
}

/// What an API server sends into a watch whose resourceVersion it no longer has.
fn expired() -> Result<Response<Body>> {
    let event = json!({"type": "ERROR", "object": {
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "reason": "Expired", "message": "too old resource version", "code": 410,
    }});
    Response::builder()
        .header(header::CONTENT_TYPE, "application/json")
        .body(made(format!("{event}\n").into()))
        .context("failed to make an event")
}

fn made(bytes: Bytes) -> Body {
    Full::new(bytes).map_err(|never| match never {}).boxed()
}
