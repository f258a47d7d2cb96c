//! One attempt: bounded in time and in what is read, without redirects or proxies.
//!
//! What goes wrong is told in sentences of ours, which know neither address nor answer.

use std::time::Duration;

use lettre::transport::smtp::client::{CertificateStore, Tls, TlsParameters};
use lettre::transport::smtp::extension::ClientId;
use lettre::{AsyncSmtpTransport, AsyncTransport, Tokio1Executor};
use reqwest::{Certificate, redirect};

use super::forms::{HttpTarget, Letter, MailTarget, Security, Target};
use super::{Trouble, TroubleKind};
use crate::reach::Unreached;

/// How long an attempt may take, with reading the Secret.
pub(super) const ATTEMPT_LIMIT: Duration = Duration::from_secs(10);
/// So much of an answer is read: none says more.
const ANSWER_MAX: usize = 64 * 1024;
/// Where the authorities to trust are written.
const AUTHORITIES: &str = "ca.crt of the Secret";

/// Sends a letter.
pub(super) async fn send(
    target: &Target,
    authorities: Option<&[u8]>,
    letter: &Letter,
) -> Result<(), Trouble> {
    let sent = match target {
        Target::Http(target) => post(target, authorities, letter).await,
        Target::Mail(target) => Box::pin(mail(target, authorities, letter)).await,
    };
    sent.map_err(|why| Trouble::new(TroubleKind::Delivery, format!("{}: {why}", target.form())))
}

fn no_authorities() -> String {
    format!("there are no authorities to trust here; write {AUTHORITIES}")
}

fn bad_authorities() -> String {
    format!("{AUTHORITIES} holds no certificates")
}

async fn post(
    target: &HttpTarget,
    authorities: Option<&[u8]>,
    letter: &Letter,
) -> Result<(), String> {
    let mut builder = reqwest::Client::builder()
        .redirect(redirect::Policy::none())
        .retry(reqwest::retry::never())
        .referer(false)
        .no_proxy()
        .user_agent("slipway")
        .timeout(ATTEMPT_LIMIT)
        .pool_max_idle_per_host(0);
    let given = match authorities {
        Some(pem) => Certificate::from_pem_bundle(pem)
            .ok()
            .filter(|all| !all.is_empty())
            .ok_or_else(bad_authorities)?,
        None => Vec::new(),
    };
    // Without TLS, the system's authorities are not looked for: an image may have none.
    if !given.is_empty() || target.url.scheme() == "http" {
        builder = builder.tls_certs_only(given);
    }
    let client = builder.build().map_err(|_| no_authorities())?;
    let request = client
        .request(target.method.clone(), target.url.clone())
        .headers(target.headers.clone())
        .body(target.encode(letter));
    let failed = |error: reqwest::Error| {
        if error.is_timeout() {
            return no_answer();
        }
        words(Unreached::of(&error))
    };
    let mut response = request.send().await.map_err(failed)?;
    let status = response.status();
    let mut answer = Vec::new();
    while answer.len() < ANSWER_MAX
        && let Some(chunk) = response.chunk().await.map_err(failed)?
    {
        answer.extend_from_slice(&chunk);
    }
    target.judge(status, &answer)
}

async fn mail(
    target: &MailTarget,
    authorities: Option<&[u8]>,
    letter: &Letter,
) -> Result<(), String> {
    let message = target.message(letter)?;
    let tls = match target.security {
        Security::Open => Tls::None,
        Security::StartTls => Tls::Required(tls(&target.host, authorities)?),
        Security::Tls => Tls::Wrapper(tls(&target.host, authorities)?),
    };
    let mut builder = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(target.host.as_str())
        .port(target.port)
        .tls(tls)
        .hello_name(ClientId::Domain(target.hello.clone()))
        .timeout(Some(ATTEMPT_LIMIT));
    if let Some((credentials, mechanisms)) = &target.login {
        builder = builder
            .credentials(credentials.clone())
            .authentication(mechanisms.clone());
    }
    match builder.build().send(message).await {
        Ok(_) => Ok(()),
        Err(error) => Err(refusal(&error, target)),
    }
}

fn tls(host: &str, authorities: Option<&[u8]>) -> Result<TlsParameters, String> {
    let mut builder = TlsParameters::builder(host.to_owned());
    if let Some(pem) = authorities {
        let given = lettre::transport::smtp::client::Certificate::from_pem(pem)
            .map_err(|_| bad_authorities())?;
        builder = builder
            .certificate_store(CertificateStore::None)
            .add_root_certificate(given);
    }
    builder.build().map_err(|_| no_authorities())
}

fn refusal(error: &lettre::transport::smtp::Error, target: &MailTarget) -> String {
    if let Some(code) = error.status() {
        let code = code.to_string();
        return match code.as_str() {
            "530" => "it answers 530: it asks for user and password".to_owned(),
            "535" => "it answers 535: user or password are wrong".to_owned(),
            code => format!("it answers {code}"),
        };
    }
    if error.is_timeout() {
        return no_answer();
    }
    match Unreached::of(error) {
        Unreached::Failed if error.is_client() && target.security == Security::StartTls => {
            "it offers no STARTTLS, or no way to log in that is known here; nothing is sent in the open unless starttls=no is written".to_owned()
        }
        unreached => words(unreached),
    }
}

/// What is said when time is up.
pub(super) fn no_answer() -> String {
    format!("no answer within {}s", ATTEMPT_LIMIT.as_secs())
}

fn words(unreached: Unreached) -> String {
    match unreached {
        Unreached::Refused => "the connection is refused".to_owned(),
        Unreached::Untrusted => {
            format!("its certificate is of an authority that is not trusted here ({AUTHORITIES})")
        }
        Unreached::WrongName => "its certificate is for another name".to_owned(),
        Unreached::WantsCertificate => "it asks for a client certificate".to_owned(),
        Unreached::NotValidNow => "its certificate is not valid now".to_owned(),
        Unreached::Tls => "no trusted connection can be made to it".to_owned(),
        Unreached::Unresolved => "its name cannot be resolved".to_owned(),
        Unreached::Failed => "the connection failed".to_owned(),
    }
}
