//! Which API servers our programs speak to.
//!
//! Older ones are refused by name: what they do not know they drop from objects without a word, and
//! what follows looks like a fault of ours.

use kube::Client;

use crate::call::{CallError, ErrorClass, bounded};
use crate::telemetry::chain;

/// The oldest Kubernetes whose API our client knows.
pub const OLDEST: (u32, u32) = (1, 33);

/// Why an API server is not spoken to.
#[derive(Debug, thiserror::Error)]
pub enum VersionError {
    /// It is too old.
    #[error("refused to run: the API server is Kubernetes {found}, and Slipway needs {}.{} or later", OLDEST.0, OLDEST.1)]
    TooOld {
        /// What it says it is.
        found: String,
    },
    /// It says what no Kubernetes says.
    #[error("refused to run: the API server says that it is Kubernetes {found:?}, and Slipway needs {}.{} or later", OLDEST.0, OLDEST.1)]
    Unreadable {
        /// What it says it is.
        found: String,
    },
    /// It could not be asked.
    #[error("failed to ask for the API server's version")]
    Ask {
        /// The cause.
        #[source]
        source: CallError,
    },
}

impl VersionError {
    /// True when asking again may help.
    pub fn may_pass(&self) -> bool {
        match self {
            Self::TooOld { .. } | Self::Unreadable { .. } => false,
            Self::Ask { .. } => true,
        }
    }
}

/// Asks the API server for its version.
///
/// One that answers nobody this question is taken for new enough: the version is public by default,
/// and hiding it says nothing about its age.
///
/// # Errors
/// See [`VersionError`].
pub async fn require(client: &Client) -> Result<(), VersionError> {
    match bounded("ask for the version", client.apiserver_version()).await {
        Ok(info) => judge(&info.major, &info.minor),
        Err(error) if matches!(error.class(), ErrorClass::Denied | ErrorClass::NotFound) => {
            tracing::warn!(error = %chain(&error), "the API server's version is not known");
            Ok(())
        }
        Err(source) => Err(VersionError::Ask { source }),
    }
}

fn judge(major: &str, minor: &str) -> Result<(), VersionError> {
    let found = format!("{major}.{minor}");
    let Some(version) = number(major).zip(number(minor)) else {
        return Err(VersionError::Unreadable { found });
    };
    if version < OLDEST {
        return Err(VersionError::TooOld { found });
    }
    Ok(())
}

/// The leading digits: vendors add to the minor version, as in `33+`.
fn number(text: &str) -> Option<u32> {
    let end = text.find(|one: char| !one.is_ascii_digit());
    text.get(..end.unwrap_or(text.len()))?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kubernetes_before_1_33_is_refused_by_name() {
        for (major, minor) in [
            ("1", "33"),
            ("1", "33+"),
            ("1", "36"),
            ("1", "36-gke.1"),
            ("1", "100"),
            ("2", "0"),
        ] {
            assert!(judge(major, minor).is_ok(), "{major}.{minor}");
        }
        for (major, minor) in [
            ("1", "32"),
            ("1", "32+"),
            ("1", "9"),
            ("0", "99"),
            ("1", "3"),
        ] {
            let error = judge(major, minor).unwrap_err();
            let expected = format!(
                "refused to run: the API server is Kubernetes {major}.{minor}, and Slipway needs 1.33 \
                 or later"
            );
            assert_eq!(error.to_string(), expected);
            assert!(!error.may_pass());
        }
        for (major, minor) in [
            ("", ""),
            ("1", ""),
            ("one", "33"),
            ("1", "+33"),
            ("1", "-1"),
        ] {
            let error = judge(major, minor).unwrap_err();
            assert!(matches!(error, VersionError::Unreadable { .. }), "{error}");
            assert!(error.to_string().contains("needs 1.33 or later"), "{error}");
        }
    }
}
