//! One call to the API server: bounded, and with an error whose class decides what follows.

use std::time::Duration;

use kube::core::Status;

/// How long any single call may take (faults.md F31). The library has no bound of its own: a
/// request that is never answered would hang for ever.
pub const CALL_LIMIT: Duration = Duration::from_secs(10);

/// What kind of failure it is: decides the retry, and is the label of the metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ErrorClass {
    /// Unreachable, overloaded or restarting: again, later.
    Transient,
    /// The object has changed since it was read: again, from a fresh read.
    Conflict,
    /// Told to slow down (429).
    Throttled,
    /// Not allowed (401, 403): a permission or an admission policy; again, slowly, and visible.
    Denied,
    /// The request can never work (400, 422).
    Invalid,
    /// There is no such object, or no such kind.
    NotFound,
    /// An answer that should not exist.
    Bug,
}

impl ErrorClass {
    /// Every class, for metrics that are born at 0.
    pub const ALL: [Self; 7] = [
        Self::Transient,
        Self::Conflict,
        Self::Throttled,
        Self::Denied,
        Self::Invalid,
        Self::NotFound,
        Self::Bug,
    ];

    /// The label.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Transient => "transient",
            Self::Conflict => "conflict",
            Self::Throttled => "throttled",
            Self::Denied => "denied",
            Self::Invalid => "invalid",
            Self::NotFound => "not_found",
            Self::Bug => "bug",
        }
    }
}

/// Why a call gave no answer that can be used.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The API server, or the way to it, said no.
    #[error("failed to {what}")]
    Api {
        /// What was tried, as "read the lease".
        what: String,
        /// The cause.
        #[source]
        source: Box<kube::Error>,
    },
    /// Nothing came back in time. A write may have landed: read back, never guess.
    #[error("failed to {what}: no answer within {CALL_LIMIT:?}")]
    NoAnswer {
        /// What was tried.
        what: String,
    },
}

impl CallError {
    /// An error for a failed request.
    pub fn api(what: &str, source: kube::Error) -> Self {
        Self::Api {
            what: what.to_owned(),
            source: Box::new(source),
        }
    }

    /// The API server's own answer, if it gave one.
    pub fn status(&self) -> Option<&Status> {
        match self {
            Self::Api { source, .. } => match source.as_ref() {
                kube::Error::Api(status) => Some(status),
                _ => None,
            },
            Self::NoAnswer { .. } => None,
        }
    }

    /// The class of the error.
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::NoAnswer { .. } => ErrorClass::Transient,
            Self::Api { source, .. } => classify(source),
        }
    }

    /// There is no such object or kind.
    pub fn is_not_found(&self) -> bool {
        self.class() == ErrorClass::NotFound
    }

    /// The object has changed since it was read.
    pub fn is_conflict(&self) -> bool {
        self.class() == ErrorClass::Conflict
    }

    /// True when a write may have landed although this error came back.
    ///
    /// Only an answer of the API server that refuses the request proves that it did not.
    pub fn may_have_landed(&self) -> bool {
        match self.status() {
            Some(status) => status.code >= 500,
            None => true,
        }
    }
}

/// The class of a failed request.
pub fn classify(error: &kube::Error) -> ErrorClass {
    match error {
        kube::Error::Api(status) => match status.code {
            409 => ErrorClass::Conflict,
            429 => ErrorClass::Throttled,
            401 | 403 => ErrorClass::Denied,
            404 | 410 => ErrorClass::NotFound,
            400 | 405 | 406 | 413 | 415 | 422 => ErrorClass::Invalid,
            500.. => ErrorClass::Transient,
            _ => ErrorClass::Bug,
        },
        kube::Error::BuildRequest(_) | kube::Error::SerdeError(_) => ErrorClass::Bug,
        // Connections, TLS, truncated bodies: what is wrong outside may be mended.
        _ => ErrorClass::Transient,
    }
}

/// Runs one call with a bound. `what` completes the sentence "failed to ...".
///
/// # Errors
/// See [`CallError`].
pub async fn bounded<T>(
    what: &str,
    call: impl Future<Output = Result<T, kube::Error>>,
) -> Result<T, CallError> {
    within(CALL_LIMIT, what, call).await
}

async fn within<T>(
    limit: Duration,
    what: &str,
    call: impl Future<Output = Result<T, kube::Error>>,
) -> Result<T, CallError> {
    match tokio::time::timeout(limit, call).await {
        Ok(answer) => answer.map_err(|source| CallError::api(what, source)),
        Err(_) => Err(CallError::NoAnswer {
            what: what.to_owned(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(code: u16) -> CallError {
        let status = Status {
            code,
            ..Status::default()
        };
        CallError::api("try", kube::Error::Api(Box::new(status)))
    }

    #[test]
    fn the_class_follows_from_the_code() {
        for (code, class) in [
            (400, ErrorClass::Invalid),
            (401, ErrorClass::Denied),
            (403, ErrorClass::Denied),
            (404, ErrorClass::NotFound),
            (409, ErrorClass::Conflict),
            (422, ErrorClass::Invalid),
            (429, ErrorClass::Throttled),
            (500, ErrorClass::Transient),
            (503, ErrorClass::Transient),
        ] {
            assert_eq!(answered(code).class(), class, "{code}");
        }
    }

    #[test]
    fn only_a_refusal_proves_that_a_write_did_not_land() {
        assert!(!answered(409).may_have_landed());
        assert!(!answered(403).may_have_landed());
        assert!(answered(504).may_have_landed());
        assert!(
            CallError::NoAnswer {
                what: "write".into()
            }
            .may_have_landed()
        );
    }

    #[tokio::test]
    async fn a_call_that_hangs_is_cut_off() {
        let hangs = std::future::pending::<Result<(), kube::Error>>();
        let error = within(Duration::from_millis(1), "wait", hangs)
            .await
            .unwrap_err();
        assert!(matches!(error, CallError::NoAnswer { .. }));
    }
}
