//! A mail server that records its conversations, and begins TLS when it is asked to.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use anyhow::{Result, bail};
use slipway_lab::control_plane::certificates::Authority;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

use crate::receiver::acceptor;

/// What the server takes as user and password: `\0user\0pass` in base64.
pub(crate) const LOGIN: &str = "AHVzZXIAcGFzcy9AMQ==";

/// A mail as it was received.
#[derive(Clone, Debug, Default)]
pub(crate) struct Mail {
    /// Commands before TLS began.
    pub(crate) open: Vec<String>,
    /// Commands after.
    pub(crate) secured: Vec<String>,
    /// Headers and text.
    pub(crate) text: String,
}

/// A mail server on this machine.
pub(crate) struct MailServer {
    pub(crate) address: SocketAddr,
    mails: Arc<Mutex<Vec<Mail>>>,
    task: JoinHandle<()>,
}

impl Drop for MailServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl MailServer {
    /// Offers STARTTLS with a certificate of the authority, or none at all.
    pub(crate) async fn start(authority: Option<&Authority>) -> Result<Self> {
        let tls = authority.map(acceptor).transpose()?;
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let mails: Arc<Mutex<Vec<Mail>>> = Arc::default();
        let of_task = Arc::clone(&mails);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (mails, tls) = (Arc::clone(&of_task), tls.clone());
                tokio::spawn(async move {
                    let mut mail = Mail::default();
                    drop(converse(stream, tls, &mut mail).await);
                    mails.lock().unwrap().push(mail);
                });
            }
        });
        Ok(Self {
            address,
            mails,
            task,
        })
    }

    /// Every conversation that has ended.
    pub(crate) fn mails(&self) -> Vec<Mail> {
        self.mails.lock().unwrap().clone()
    }
}

async fn converse(
    stream: tokio::net::TcpStream,
    tls: Option<TlsAcceptor>,
    mail: &mut Mail,
) -> Result<()> {
    let mut stream = BufReader::new(stream);
    stream.write_all(b"220 localhost\r\n").await?;
    let offers = if tls.is_some() {
        "250 STARTTLS"
    } else {
        "250 AUTH PLAIN"
    };
    let wants_tls = talk(&mut stream, offers, &mut mail.open, &mut mail.text).await?;
    if let Some(tls) = tls.filter(|_| wants_tls) {
        let stream = tls.accept(stream.into_inner()).await?;
        let mut stream = BufReader::new(stream);
        let (secured, text) = (&mut mail.secured, &mut mail.text);
        talk(&mut stream, "250 AUTH PLAIN LOGIN", secured, text).await?;
    }
    Ok(())
}

/// Answers commands; true when TLS is to begin.
async fn talk(
    stream: &mut (impl AsyncRead + AsyncWrite + AsyncBufReadExt + Unpin),
    offers: &str,
    commands: &mut Vec<String>,
    text: &mut String,
) -> Result<bool> {
    loop {
        let command = line(stream).await?;
        let answer = match command.split([' ', ':']).next().unwrap_or_default() {
            "EHLO" => format!("250-localhost\r\n{offers}"),
            "STARTTLS" => "220 go".to_owned(),
            "AUTH" if command.ends_with(LOGIN) => "235 well".to_owned(),
            "AUTH" => "535 hush".to_owned(),
            "MAIL" | "RCPT" => "250 well".to_owned(),
            "DATA" => "354 go".to_owned(),
            "QUIT" => return Ok(false),
            _ => "502 what".to_owned(),
        };
        let word = command.clone();
        commands.push(command);
        stream.write_all(format!("{answer}\r\n").as_bytes()).await?;
        if word == "STARTTLS" {
            return Ok(true);
        }
        if word == "DATA" {
            loop {
                let written = line(stream).await?;
                if written == "." {
                    break;
                }
                text.push_str(&written);
                text.push('\n');
            }
            stream.write_all(b"250 well\r\n").await?;
        }
    }
}

async fn line(stream: &mut (impl AsyncBufReadExt + Unpin)) -> Result<String> {
    let mut line = String::new();
    if stream.read_line(&mut line).await? == 0 {
        bail!("ended");
    }
    Ok(line.trim_end().to_owned())
}
