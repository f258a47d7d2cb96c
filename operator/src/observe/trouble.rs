//! What keeps the operator from seeing the cluster, in words that name the cure.

use std::fmt;

use kube::core::Status;
use kube::runtime::watcher;
use slipway_client::call::{CallError, ErrorClass, classify};
use slipway_client::chain;

/// What kind of obstacle it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TroubleKind {
    /// The API server does not know the kind: its CRD is not installed.
    KindMissing,
    /// Our service account may not.
    PermissionMissing,
    /// The API server's certificate is not trusted.
    Untrusted,
    /// No connection, or no answer.
    Unreachable,
    /// The API server answers, but with an error of its own.
    Refused,
}

/// An obstacle, with the library's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// Its kind.
    pub kind: TroubleKind,
    /// Its class as an error, for the metric.
    pub class: ErrorClass,
    /// The whole chain of causes.
    pub detail: String,
}

impl Trouble {
    /// From a failed call.
    pub fn of_call(error: &CallError) -> Self {
        let detail = match error.status() {
            Some(status) => format!("{error}: {}", answer(status)),
            None => chain(error),
        };
        Self::new(error.class(), error.status().is_some(), detail)
    }

    /// From a failed watch; `None` for an end that is part of every watch's life.
    pub fn of_watch(error: &watcher::Error) -> Option<Self> {
        let of = |what: &str, source: &kube::Error| match source {
            kube::Error::Api(status) => Self::new(
                classify(source),
                true,
                format!("failed to {what}: {}", answer(status)),
            ),
            _ => Self::new(
                classify(source),
                false,
                format!("failed to {what}: {}", chain(source)),
            ),
        };
        match error {
            watcher::Error::InitialListFailed(source) => Some(of("list", source)),
            watcher::Error::WatchStartFailed(source) => Some(of("start the watch", source)),
            watcher::Error::WatchFailed(source) => Some(of("go on watching", source)),
            // 410: the history we asked for is compacted; the library lists anew.
            watcher::Error::WatchError(status) if status.code == 410 => None,
            watcher::Error::WatchError(status) => {
                Some(of("go on watching", &kube::Error::Api(status.clone())))
            }
            watcher::Error::NoResourceVersion => {
                Some(Self::new(ErrorClass::Bug, true, error.to_string()))
            }
        }
    }

    /// Nothing came back in time.
    pub fn silent(what: &str) -> Self {
        let detail = format!("failed to {what}: no answer in time");
        Self {
            kind: TroubleKind::Unreachable,
            class: ErrorClass::Transient,
            detail,
        }
    }

    fn new(class: ErrorClass, answered: bool, detail: String) -> Self {
        let kind = match class {
            ErrorClass::NotFound => TroubleKind::KindMissing,
            ErrorClass::Denied => TroubleKind::PermissionMissing,
            _ if !answered && detail.contains("certificate") => TroubleKind::Untrusted,
            _ if !answered => TroubleKind::Unreachable,
            _ => TroubleKind::Refused,
        };
        Self {
            kind,
            class,
            detail,
        }
    }
}

/// The API server's own words.
fn answer(status: &Status) -> String {
    format!("{} ({})", status.message.trim_end(), status.code)
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.kind {
            TroubleKind::KindMissing => {
                "the API server does not know this kind; install the CRDs of Slipway"
            }
            TroubleKind::PermissionMissing => {
                "not permitted; the operator's service account lacks a role of the chart"
            }
            TroubleKind::Untrusted => "the API server's certificate is not trusted",
            TroubleKind::Unreachable => "the API server cannot be reached",
            TroubleKind::Refused => "the API server refuses",
        };
        write!(f, "{what} ({})", self.detail)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(code: u16) -> kube::Error {
        kube::Error::Api(Box::new(Status {
            code,
            ..Status::default()
        }))
    }

    #[test]
    fn a_failed_watch_says_what_is_missing() {
        for (code, kind) in [
            (404, TroubleKind::KindMissing),
            (403, TroubleKind::PermissionMissing),
            (401, TroubleKind::PermissionMissing),
            (503, TroubleKind::Refused),
        ] {
            let error = watcher::Error::InitialListFailed(answered(code));
            assert_eq!(Trouble::of_watch(&error).unwrap().kind, kind, "{code}");
        }
    }

    #[test]
    fn connections_that_fail_are_told_from_answers() {
        let service = |text: &str| {
            let cause: Box<dyn std::error::Error + Send + Sync> = text.to_owned().into();
            Trouble::of_watch(&watcher::Error::WatchStartFailed(kube::Error::Service(
                cause,
            )))
            .unwrap()
            .kind
        };
        assert_eq!(
            service("invalid peer certificate: UnknownIssuer"),
            TroubleKind::Untrusted
        );
        assert_eq!(service("connection refused"), TroubleKind::Unreachable);
    }

    #[test]
    fn f30_a_compacted_history_is_no_trouble() {
        let status = Status {
            code: 410,
            ..Status::default()
        };
        assert_eq!(
            Trouble::of_watch(&watcher::Error::WatchError(Box::new(status))),
            None
        );
    }
}
