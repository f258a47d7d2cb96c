//! The way from a second API server to etcd: it can stand still, and it can be cut.
//!
//! Passes bytes and understands none. While it stands still, connections stay open and new ones are
//! taken, and nothing arrives: what its server shows from then on is the past.

use std::net::Ipv4Addr;

use anyhow::{Context, Result};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinHandle, JoinSet};

/// How much is read at once.
const CHUNK: usize = 64 * 1024;

/// What the link does at present.
#[derive(Clone, Copy, Debug, Default)]
struct State {
    frozen: bool,
    /// How often every connection was cut.
    cuts: u64,
}

/// A running link; dropping it ends it with its connections.
#[derive(Debug)]
pub(super) struct Link {
    port: u16,
    state: watch::Sender<State>,
    task: JoinHandle<()>,
}

impl Link {
    /// Listens on any free port of loopback and passes everything on to `upstream`.
    pub(super) async fn start(upstream: u16) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .context("failed to listen for the link to etcd")?;
        let port = listener.local_addr()?.port();
        let (state, _) = watch::channel(State::default());
        let task = tokio::spawn(accept(listener, upstream, state.clone()));
        Ok(Self { port, state, task })
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    pub(super) fn freeze(&self, frozen: bool) {
        self.state.send_modify(|state| state.frozen = frozen);
    }

    /// Ends every connection; new ones are taken.
    pub(super) fn cut(&self) {
        self.state.send_modify(|state| state.cuts += 1);
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, upstream: u16, state: watch::Sender<State>) {
    let mut connections = JoinSet::new();
    while let Ok((near, _)) = listener.accept().await {
        let (pumped, mut watched) = (state.subscribe(), state.subscribe());
        connections.spawn(async move {
            let cuts = watched.borrow().cuts;
            tokio::select! {
                // How a connection ends is its client's matter.
                passed = pass(near, upstream, pumped) => drop(passed),
                _ = watched.wait_for(|state| state.cuts != cuts) => {}
            }
        });
        while connections.try_join_next().is_some() {}
    }
}

async fn pass(near: TcpStream, upstream: u16, mut state: watch::Receiver<State>) -> Result<()> {
    state.wait_for(|state| !state.frozen).await?;
    let far = TcpStream::connect((Ipv4Addr::LOCALHOST, upstream)).await?;
    let (near_read, near_write) = near.into_split();
    let (far_read, far_write) = far.into_split();
    tokio::try_join!(
        pump(near_read, far_write, state.clone()),
        pump(far_read, near_write, state),
    )?;
    Ok(())
}

/// Passes one direction on, in order.
async fn pump(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut state: watch::Receiver<State>,
) -> Result<()> {
    let (sender, mut pieces) = mpsc::unbounded_channel();
    let reads = async {
        let mut piece = vec![0; CHUNK];
        loop {
            let length = from.read(&mut piece).await?;
            let sent = piece.get(..length).unwrap_or_default().to_vec();
            if length == 0 || sender.send(sent).is_err() {
                drop(sender);
                return anyhow::Ok(());
            }
        }
    };
    let writes = async {
        while let Some(piece) = pieces.recv().await {
            state.wait_for(|state| !state.frozen).await?;
            to.write_all(&piece).await?;
        }
        to.shutdown().await?;
        anyhow::Ok(())
    };
    tokio::try_join!(reads, writes)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// A link to a server that sends back what it is sent.
    async fn link_to_echo() -> Result<(Link, TcpStream)> {
        let echo = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let upstream = echo.local_addr()?.port();
        tokio::spawn(async move {
            while let Ok((stream, _)) = echo.accept().await {
                let (mut read, mut write) = stream.into_split();
                tokio::spawn(async move { tokio::io::copy(&mut read, &mut write).await });
            }
        });
        let link = Link::start(upstream).await?;
        let client = TcpStream::connect((Ipv4Addr::LOCALHOST, link.port())).await?;
        Ok((link, client))
    }

    #[tokio::test]
    async fn a_frozen_link_is_silent_and_loses_nothing() -> Result<()> {
        let (link, mut client) = link_to_echo().await?;
        let mut answer = [0; 3];
        client.write_all(b"one").await?;
        client.read_exact(&mut answer).await?;
        link.freeze(true);
        client.write_all(b"two").await?;
        let silent = tokio::time::timeout(Duration::from_millis(100), client.read(&mut answer));
        assert!(silent.await.is_err(), "something came through");
        link.freeze(false);
        client.read_exact(&mut answer).await?;
        assert_eq!(&answer, b"two");
        Ok(())
    }

    #[tokio::test]
    async fn a_link_that_is_cut_ends_its_connections_and_takes_new_ones() -> Result<()> {
        let (link, mut client) = link_to_echo().await?;
        let mut answer = [0; 3];
        client.write_all(b"one").await?;
        client.read_exact(&mut answer).await?;
        link.cut();
        assert_eq!(client.read(&mut answer).await.unwrap_or(0), 0);
        let mut other = TcpStream::connect((Ipv4Addr::LOCALHOST, link.port())).await?;
        other.write_all(b"two").await?;
        other.read_exact(&mut answer).await?;
        assert_eq!(&answer, b"two");
        Ok(())
    }
}
