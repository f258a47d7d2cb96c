//! Logs: set up once in main, and one way to print an error with its causes.

use std::error::Error;
use std::fmt::Write;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// What is not worth a line: the client library logs every failed request at ERROR, and we log
/// each once, at the driver.
const QUIET: &str = "kube_client=off,kube_runtime=off,hyper=warn,tower=warn,zbus=warn";

/// Starts logging to standard error.
///
/// `filter` is a level or a list as `tracing` reads it; one that cannot be read means `info`.
/// A second call changes nothing.
pub fn init(json: bool, filter: &str) {
    let filter = EnvFilter::try_new(format!("{QUIET},{filter}"))
        .unwrap_or_else(|_| EnvFilter::new(format!("{QUIET},info")));
    let registry = tracing_subscriber::registry().with(filter);
    let format = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let started = if json {
        registry.with(format.json().flatten_event(true)).try_init()
    } else {
        registry.with(format.with_ansi(false)).try_init()
    };
    // An error says that logging has been started already.
    drop(started);
}

/// An error with all its causes, each once: `failed to read the lease: ... : connection refused`.
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(source) = cause {
        let answer = answer_text(source);
        let part = answer.clone().unwrap_or_else(|| source.to_string());
        // Some libraries print their source too: it would stand there twice.
        if !text.contains(&part) && write!(text, ": {part}").is_err() {
            break;
        }
        // What lies below an answer of the API server is the same answer again.
        cause = if answer.is_none() {
            source.source()
        } else {
            None
        };
    }
    text
}

/// An answer of the API server. The library prints it with the structure of its status: the
/// message and the code are what helps.
fn answer_text(error: &(dyn Error + 'static)) -> Option<String> {
    let boxed = error.downcast_ref::<Box<kube::Error>>().map(AsRef::as_ref);
    match boxed.or_else(|| error.downcast_ref::<kube::Error>()) {
        Some(kube::Error::Api(status)) => {
            Some(format!("{} (HTTP {})", status.message.trim(), status.code))
        }
        Some(_) | None => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_of_the_api_server_is_told_by_its_message_and_code() {
        let status = kube::core::Status {
            code: 403,
            message: "nodes \"n1\" is forbidden".into(),
            ..kube::core::Status::default()
        };
        let error = crate::CallError::api("read the Node", kube::Error::Api(Box::new(status)));
        let told = chain(&error);
        assert_eq!(
            told,
            "failed to read the Node: nodes \"n1\" is forbidden (HTTP 403)"
        );
    }
}
