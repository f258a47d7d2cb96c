//! Why an address outside of the cluster's API was not reached, in words of ours: those of libraries
//! may repeat what a certificate or an address says.

use std::error::Error;
use std::io::ErrorKind;

/// Why nobody was reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unreached {
    /// The connection is refused.
    Refused,
    /// The certificate is of an authority that is not trusted.
    Untrusted,
    /// The certificate is for another name.
    WrongName,
    /// A client certificate is asked for.
    WantsCertificate,
    /// The certificate is not valid now.
    NotValidNow,
    /// TLS fails otherwise.
    Tls,
    /// The name cannot be resolved.
    Unresolved,
    /// Anything else.
    Failed,
}

impl Unreached {
    /// Reads an error and what caused it.
    pub(crate) fn of(error: &(dyn Error + 'static)) -> Self {
        let mut cause = Some(error);
        let mut words = String::new();
        while let Some(error) = cause {
            if let Some(io) = error.downcast_ref::<std::io::Error>()
                && io.kind() == ErrorKind::ConnectionRefused
            {
                return Self::Refused;
            }
            words = format!("{words} {error} {error:?}");
            cause = error.source();
        }
        let has = |word: &str| words.contains(word);
        if has("UnknownIssuer") || has("BadSignature") {
            Self::Untrusted
        } else if has("NotValidForName") {
            Self::WrongName
        } else if has("CertificateRequired") || has("certificate required") {
            Self::WantsCertificate
        } else if has("Expired") || has("NotValidYet") {
            Self::NotValidNow
        } else if has("certificate") || has("InvalidMessage") || has("AlertReceived") {
            Self::Tls
        } else if has("dns error") || has("failed to lookup address") {
            Self::Unresolved
        } else {
            Self::Failed
        }
    }
}
