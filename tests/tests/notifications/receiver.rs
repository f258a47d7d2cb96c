//! An HTTP receiver that records what it gets and answers as it is told.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use anyhow::{Context, Result};
use slipway_lab::control_plane::certificates::Authority;
use slipway_lab::wait::wait_until;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::bench::BOUND;

/// How a request is answered.
#[derive(Clone, Debug)]
pub(crate) enum Reply {
    /// With a status and a body.
    Says(u16, &'static str),
    /// Never.
    Hangs,
}

/// What was received.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    /// The request line and the headers.
    pub(crate) head: String,
    pub(crate) body: String,
}

#[derive(Default)]
struct Shared {
    seen: Vec<Request>,
    next: VecDeque<Reply>,
}

/// A receiver on this machine.
pub(crate) struct Receiver {
    pub(crate) address: SocketAddr,
    shared: Arc<Mutex<Shared>>,
    task: JoinHandle<()>,
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What a server needs to speak TLS as `localhost`.
pub(crate) fn acceptor(authority: &Authority) -> Result<TlsAcceptor> {
    let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
    let server = authority.issue_server("localhost", names)?;
    let certificate = CertificateDer::from_pem_slice(server.certificate.as_bytes())?;
    let key = PrivateKeyDer::from_pem_slice(server.key.as_bytes())?;
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

impl Receiver {
    /// Without TLS.
    pub(crate) async fn open() -> Result<Self> {
        Self::start(None).await
    }

    /// With a certificate of the authority.
    pub(crate) async fn secured(authority: &Authority) -> Result<Self> {
        Self::start(Some(acceptor(authority)?)).await
    }

    async fn start(tls: Option<TlsAcceptor>) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let shared: Arc<Mutex<Shared>> = Arc::default();
        let of_task = Arc::clone(&shared);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (shared, tls) = (Arc::clone(&of_task), tls.clone());
                tokio::spawn(async move {
                    let served = match tls {
                        None => serve(stream, &shared).await,
                        Some(tls) => match tls.accept(stream).await {
                            Ok(stream) => serve(stream, &shared).await,
                            Err(_) => Ok(()),
                        },
                    };
                    drop(served);
                });
            }
        });
        Ok(Self {
            address,
            shared,
            task,
        })
    }

    /// How the next requests are answered; then all with 200.
    pub(crate) fn answers(&self, replies: impl IntoIterator<Item = Reply>) {
        self.shared.lock().unwrap().next.extend(replies);
    }

    /// Everything received so far.
    pub(crate) fn seen(&self) -> Vec<Request> {
        self.shared.lock().unwrap().seen.clone()
    }

    /// Waits for so many requests, and gives them.
    pub(crate) async fn wait(&self, count: usize) -> Result<Vec<Request>> {
        wait_until(&format!("{count} requests"), BOUND, || async {
            let seen = self.seen();
            anyhow::ensure!(seen.len() >= count, "there are {}: {seen:?}", seen.len());
            Ok(Some(seen))
        })
        .await
    }
}

async fn serve(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    shared: &Mutex<Shared>,
) -> Result<()> {
    let mut bytes = Vec::new();
    let (head, length) = loop {
        let mut piece = [0; 4096];
        let count = stream.read(&mut piece).await?;
        anyhow::ensure!(count > 0, "ended");
        bytes.extend_from_slice(&piece[..count]);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let Some((head, _)) = text.split_once("\r\n\r\n") else {
            continue;
        };
        let length = head.to_ascii_lowercase();
        let length = length
            .lines()
            .find_map(|line| line.strip_prefix("content-length:"))
            .map_or(Ok(0), |length| length.trim().parse::<usize>())
            .context("no length")?;
        break (head.to_owned(), length);
    };
    let from = head.len() + 4;
    while bytes.len() < from + length {
        let mut piece = [0; 4096];
        let count = stream.read(&mut piece).await?;
        anyhow::ensure!(count > 0, "ended");
        bytes.extend_from_slice(&piece[..count]);
    }
    let body = String::from_utf8_lossy(&bytes[from..]).into_owned();
    let reply = {
        let mut shared = shared.lock().unwrap();
        shared.seen.push(Request { head, body });
        shared.next.pop_front().unwrap_or(Reply::Says(200, "ok"))
    };
    match reply {
        Reply::Hangs => std::future::pending().await,
        Reply::Says(status, body) => {
            let answer = format!(
                "HTTP/1.1 {status} x\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
                body.len()
            );
            stream.write_all(answer.as_bytes()).await?;
            stream.shutdown().await?;
            Ok(())
        }
    }
}
