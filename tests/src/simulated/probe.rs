//! The kubelet's readiness probe: `GET /readyz` on loopback.

use std::net::Ipv4Addr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

const BOUND: Duration = Duration::from_secs(1);
const REQUEST: &[u8] = b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";

/// Whether a program says that it is ready; no answer is a no.
pub(super) async fn is_ready(port: u16) -> bool {
    is_ready_at((Ipv4Addr::LOCALHOST, port)).await
}

/// The same for a program at another address.
pub(crate) async fn is_ready_at(address: (Ipv4Addr, u16)) -> bool {
    timeout(BOUND, ask(address))
        .await
        .is_ok_and(|answer| answer.unwrap_or(false))
}

async fn ask(address: (Ipv4Addr, u16)) -> std::io::Result<bool> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(REQUEST).await?;
    // "HTTP/1.1 200": nothing after it matters.
    let mut head = [0; 12];
    stream.read_exact(&mut head).await?;
    Ok(head.ends_with(b" 200"))
}
