//! A small HTTP server for probes and metrics.
//!
//! Never more than a few connections, never longer than some seconds each: a port that anybody in
//! the cluster may reach must not be able to exhaust a program that runs on every node.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode, header};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

/// Most connections at once (faults.md F93).
const CONNECTIONS_MAX: usize = 16;
/// How long a request's headers may take.
const HEADER_LIMIT: Duration = Duration::from_secs(5);
/// How long a connection may live.
const CONNECTION_LIMIT: Duration = Duration::from_secs(30);
/// Pause after a failed accept: out of file descriptors, most likely.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// An answer to a GET.
#[derive(Clone, Debug)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// Media type.
    pub content_type: &'static str,
    /// The text.
    pub body: String,
}

impl Answer {
    /// A plain text.
    pub fn text(status: u16, body: impl Into<String>) -> Self {
        Self {
            status,
            content_type: "text/plain; charset=utf-8",
            body: body.into(),
        }
    }

    /// 404.
    pub fn not_found() -> Self {
        Self::text(404, "not found\n")
    }
}

/// Answers a path.
pub type Routes = Arc<dyn Fn(&str) -> Answer + Send + Sync>;

/// Starts the server and returns the address it listens on (port 0 means any free one).
///
/// # Errors
/// The address cannot be listened on.
pub async fn serve(
    address: SocketAddr,
    routes: Routes,
) -> io::Result<(SocketAddr, JoinHandle<()>)> {
    let listener = TcpListener::bind(address).await?;
    let bound = listener.local_addr()?;
    Ok((bound, tokio::spawn(accept(listener, routes))))
}

async fn accept(listener: TcpListener, routes: Routes) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else {
            return;
        };
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let routes = Arc::clone(&routes);
        tokio::spawn(async move {
            // A client that is too slow, or gone, is nobody's concern.
            drop(tokio::time::timeout(CONNECTION_LIMIT, connection(stream, routes)).await);
            drop(place);
        });
    }
}

async fn connection(stream: TcpStream, routes: Routes) -> Result<(), hyper::Error> {
    let service = service_fn(move |request: Request<Incoming>| {
        let answer = answer(&request, &routes);
        async move { Ok::<_, Infallible>(answer) }
    });
    hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_LIMIT)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service)
        .await
}

fn answer(request: &Request<Incoming>, routes: &Routes) -> Response<Full<Bytes>> {
    let answer = if request.method() == Method::GET {
        routes(request.uri().path())
    } else {
        Answer::text(405, "only GET\n")
    };
    let mut response = Response::new(Full::new(Bytes::from(answer.body)));
    *response.status_mut() =
        StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let media = header::HeaderValue::from_static(answer.content_type);
    response.headers_mut().insert(header::CONTENT_TYPE, media);
    response
}
