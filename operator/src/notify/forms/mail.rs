//! Mail: `smtp://user:password@host:port/?fromAddress=...&toAddresses=...`.

use lettre::Address;
use lettre::message::{Mailbox, Message, header};
use lettre::transport::smtp::authentication::{Credentials, Mechanism};
use reqwest::Url;

use super::Letter;
use super::query::{decode, settings, yes};

/// Port of a server that is named without one.
const PORT: u16 = 25;
/// Port on which TLS comes first.
const PORT_TLS: u16 = 465;

/// How the connection is secured. Nothing falls back: else whoever sits between could have it open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::notify) enum Security {
    /// Not at all: it is written so.
    Open,
    /// By STARTTLS, or nothing is sent.
    StartTls,
    /// From the first byte.
    Tls,
}

/// A server and its letters' envelope.
pub(in crate::notify) struct MailTarget {
    pub(in crate::notify) host: String,
    pub(in crate::notify) port: u16,
    pub(in crate::notify) security: Security,
    pub(in crate::notify) hello: String,
    pub(in crate::notify) login: Option<(Credentials, Vec<Mechanism>)>,
    from: Mailbox,
    to: Vec<Mailbox>,
    subject: Option<String>,
    html: bool,
}

impl MailTarget {
    /// The letter as a mail.
    pub(in crate::notify) fn message(&self, letter: &Letter) -> Result<Message, String> {
        let subject = self.subject.clone().unwrap_or_else(|| letter.title());
        let mut builder = Message::builder()
            .from(self.from.clone())
            .subject(subject)
            .message_id(None);
        for to in &self.to {
            builder = builder.to(to.clone());
        }
        let kind = if self.html {
            header::ContentType::TEXT_HTML
        } else {
            header::ContentType::TEXT_PLAIN
        };
        builder
            .header(kind)
            .body(letter.text.clone())
            .map_err(|_| "no mail can be made of the text".to_owned())
    }
}

/// Reads what is after `smtp://`.
pub(super) fn parse(rest: &str) -> Result<MailTarget, String> {
    let url = Url::parse(&format!("smtp://{rest}"))
        .map_err(|_| "is not smtp://user:password@host:port/?fromAddress=...&toAddresses=...; signs of a password such as / or @ are written as %2F and %40".to_owned())?;
    let host = url.host_str().filter(|host| !host.is_empty());
    let host = host.ok_or("names no host after smtp://")?;
    let host = host.trim_matches(['[', ']']).to_owned();
    let mut settings = settings(url.query().unwrap_or_default());
    let mut take = |keys: &[&str]| {
        let found: Vec<String> = keys
            .iter()
            .filter_map(|key| settings.remove(*key))
            .collect();
        found.into_iter().find(|value| !value.is_empty())
    };
    let from: Address = take(&["fromaddress", "from"])
        .ok_or("fromAddress is missing; write ?fromAddress=slipway@example.com")?
        .parse()
        .map_err(|_| "fromAddress is no mail address")?;
    let name = take(&["fromname"]);
    let to = recipients(&take(&["toaddresses", "to"]).unwrap_or_default())?;
    let starttls = match take(&["starttls", "usestarttls"]) {
        Some(text) => yes(&text, "starttls")?,
        None => true,
    };
    let port = url.port().unwrap_or(PORT);
    let encryption = take(&["encryption"]).unwrap_or_default();
    let security = security(&encryption, starttls, port)?;
    let html = match take(&["usehtml"]) {
        Some(text) => yes(&text, "useHTML")?,
        None => false,
    };
    let login = login(&url, &take(&["auth"]).unwrap_or_default())?;
    Ok(MailTarget {
        host,
        port,
        security,
        hello: take(&["clienthost"]).unwrap_or_else(|| "localhost".to_owned()),
        login,
        from: Mailbox::new(name, from),
        to,
        subject: take(&["subject", "title"]),
        html,
    })
}

fn recipients(text: &str) -> Result<Vec<Mailbox>, String> {
    let all: Result<Vec<Mailbox>, String> = text
        .split(',')
        .map(str::trim)
        .filter(|address| !address.is_empty())
        .map(|address| {
            let address: Result<Address, _> = address.parse();
            address
                .map(|address| Mailbox::new(None, address))
                .map_err(|_| "toAddresses holds something that is no mail address".to_owned())
        })
        .collect();
    all.and_then(|all| {
        if all.is_empty() {
            return Err("toAddresses is missing; write &toAddresses=ops@example.com".to_owned());
        }
        Ok(all)
    })
}

fn security(encryption: &str, starttls: bool, port: u16) -> Result<Security, String> {
    match encryption.to_ascii_lowercase().as_str() {
        "" | "auto" if port == PORT_TLS => Ok(Security::Tls),
        "" | "auto" if starttls => Ok(Security::StartTls),
        "" | "auto" | "none" => Ok(Security::Open),
        "explicittls" => Ok(Security::StartTls),
        "implicittls" => Ok(Security::Tls),
        _ => Err("encryption is none of Auto, ExplicitTLS, ImplicitTLS and None".to_owned()),
    }
}

fn login(url: &Url, auth: &str) -> Result<Option<(Credentials, Vec<Mechanism>)>, String> {
    let (user, password) = (
        decode(url.username()),
        decode(url.password().unwrap_or_default()),
    );
    let mechanisms = match auth.to_ascii_lowercase().as_str() {
        "none" => return Ok(None),
        "" | "unknown" => vec![Mechanism::Plain, Mechanism::Login],
        "plain" => vec![Mechanism::Plain],
        "oauth2" => vec![Mechanism::Xoauth2],
        _ => return Err("auth is none of Plain, OAuth2, None and Unknown".to_owned()),
    };
    if user.is_empty() {
        return Ok(None);
    }
    Ok(Some((Credentials::new(user, password), mechanisms)))
}
