//! Servers that answer with anything but what was asked for.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Result, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use crate::bench::Bench;

/// More than anybody reads of an answer, buffers of sockets included.
const READ_MAX: usize = 8 * 1024 * 1024;

/// How a server answers each request.
#[derive(Clone)]
enum Answer {
    /// These bytes, then the end.
    Bytes(Vec<u8>),
    /// These bytes, then this piece again and again.
    Endless(Vec<u8>, Vec<u8>),
    /// These bytes, then nothing for ever.
    Hangs(Vec<u8>),
}

struct Hostile {
    address: SocketAddr,
    written: Arc<AtomicUsize>,
    requests: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Drop for Hostile {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Hostile {
    async fn start(answer: Answer) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let (written, requests) = (Arc::default(), Arc::default());
        let (count, seen): (Arc<AtomicUsize>, Arc<AtomicUsize>) =
            (Arc::clone(&written), Arc::clone(&requests));
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                seen.fetch_add(1, Ordering::Relaxed);
                tokio::spawn(serve(stream, answer.clone(), Arc::clone(&count)));
            }
        });
        Ok(Self {
            address,
            written,
            requests,
            task,
        })
    }

    fn kind(&self) -> String {
        format!(
            "prometheus: {{url: 'http://{}', timeout: 1s}}",
            self.address
        )
    }
}

async fn serve(mut stream: TcpStream, answer: Answer, written: Arc<AtomicUsize>) {
    let mut head = [0; 4096];
    if stream.read(&mut head).await.is_err() {
        return;
    }
    let (first, then) = match answer {
        Answer::Bytes(bytes) => (bytes, None),
        Answer::Endless(bytes, piece) => (bytes, Some(piece)),
        Answer::Hangs(bytes) => {
            drop(stream.write_all(&bytes).await);
            std::future::pending().await
        }
    };
    drop(stream.write_all(&first).await);
    while let Some(piece) = &then {
        if stream.write_all(piece).await.is_err() {
            return;
        }
        written.fetch_add(piece.len(), Ordering::Relaxed);
    }
}

fn response(head: &str, body: &str) -> Answer {
    Answer::Bytes(format!("HTTP/1.1 {head}\r\nconnection: close\r\n\r\n{body}").into_bytes())
}

#[tokio::test]
async fn f68_nonsense_is_no_answer_and_is_told_without_a_word_of_it() -> Result<()> {
    let bench = Bench::start();
    let ok = "200 OK\r\ncontent-type: text/html";
    for (answer, word) in [
        (response(ok, "<html>hush</html>"), "not that of Prometheus"),
        (response("200 OK", ""), "not that of Prometheus"),
        (
            response("200 OK", "{\"status\":\"success\",\"data\":{}}"),
            "not that",
        ),
        (
            response("200 OK", &"[".repeat(100_000)),
            "not that of Prometheus",
        ),
        (
            response("302 Found\r\nlocation: http://127.0.0.1:1/hush", ""),
            "redirects are not followed",
        ),
        (response("500 hush", "hush"), "it answers 500"),
        (response("503 hush", "hush"), "it answers 503"),
        (Answer::Bytes(b"SSH-2.0-hush\r\n".to_vec()), "failed"),
        (Answer::Bytes(Vec::new()), "failed"),
        (
            Answer::Bytes(b"HTTP/1.1 200 OK\r\ncontent-length: 99999999\r\n\r\n".to_vec()),
            "larger than 1 MiB",
        ),
    ] {
        let server = Hostile::start(answer).await?;
        let (told, _) = bench.ask(&server.kind()).await?;
        ensure!(!format!("{told:?}").contains("hush"), "{told:?}");
        bench
            .fails_within(&server.kind(), word, Duration::from_secs(2))
            .await?;
    }
    Ok(())
}

#[tokio::test]
async fn f68_a_server_that_says_nothing_or_never_ends_is_cut_off_in_time() -> Result<()> {
    let bench = Bench::start();
    let head = b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{";
    for answer in [Answer::Hangs(Vec::new()), Answer::Hangs(head.to_vec())] {
        let server = Hostile::start(answer).await?;
        bench
            .fails_within(
                &server.kind(),
                "no answer within 1s",
                Duration::from_secs(2),
            )
            .await?;
    }
    Ok(())
}

#[tokio::test]
async fn f68_ten_megabytes_and_a_million_series_are_not_read() -> Result<()> {
    let bench = Bench::start();
    let head = "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n";
    let begin =
        format!("{head}{{\"status\":\"success\",\"data\":{{\"resultType\":\"vector\",\"result\":[");
    let series = "{\"metric\":{\"alertname\":\"A\"},\"value\":[1,\"NaN\"]},".repeat(100);
    for (first, piece) in [(head.to_owned(), " ".repeat(64 * 1024)), (begin, series)] {
        let server = Hostile::start(Answer::Endless(first.into(), piece.into())).await?;
        bench
            .fails_within(&server.kind(), "larger than 1 MiB", Duration::from_secs(2))
            .await?;
        let written = server.written.load(Ordering::Relaxed);
        ensure!(written < READ_MAX, "{written} bytes were taken");
    }
    Ok(())
}

#[tokio::test]
async fn a_url_answers_by_its_status_and_bearer_tokens_are_sent() -> Result<()> {
    let bench = Bench::start();
    bench.secret("token", &[("token", "hush\n")]).await?;
    let ok = Hostile::start(response("204 No Content", "")).await?;
    let locked = Hostile::start(response("423 Locked", "hush")).await?;
    let of = |server: &Hostile| format!("http: {{url: 'http://{}/gate'}}", server.address);
    bench.clear(&of(&ok)).await?;
    bench.blocks(&of(&locked), "it answers 423").await?;
    let gate = bearer_gate("authorization: Bearer hush").await?;
    let with = |secret: &str| format!("http: {{url: 'http://{gate}', {secret}}}");
    bench
        .clear(&with("credentialsRef: {secret: token}"))
        .await?;
    bench.fails(&with("onError: Allow"), "401").await
}

/// Answers 200 to requests with this header, and 401 to others.
async fn bearer_gate(header: &'static str) -> Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut head = vec![0; 4096];
            let read = stream.read(&mut head).await.unwrap_or_default();
            head.truncate(read);
            let known = String::from_utf8_lossy(&head).contains(header);
            let status = if known { "200 OK" } else { "401 Unauthorized" };
            let answer = format!("HTTP/1.1 {status}\r\nconnection: close\r\n\r\n");
            drop(stream.write_all(answer.as_bytes()).await);
        }
    });
    Ok(address)
}

#[tokio::test]
async fn f89_an_address_that_is_not_allowed_is_never_connected_to() -> Result<()> {
    let server = Hostile::start(response("200 OK", "")).await?;
    let bench = Bench::allowing(vec!["http://127.0.0.1:1/only".parse().unwrap()]);
    let kind = format!(
        "http: {{url: 'http://{}/', onError: Allow}}",
        server.address
    );
    bench.fails(&kind, "not allowed").await?;
    ensure!(server.requests.load(Ordering::Relaxed) == 0, "it was asked");
    let bench = Bench::allowing(vec![format!("http://{}", server.address).parse().unwrap()]);
    bench.clear(&kind).await
}
