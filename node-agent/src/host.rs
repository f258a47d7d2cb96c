//! What the agent asks of the machine it runs on: which boot this is, and to reboot.
//!
//! Owns the trait and its errors. [`machine`] is the real machine; the demo and the tests have
//! simulated ones behind the same trait. Sentinel files are not here: [`crate::checks`] reads
//! them from the paths of the configuration, simulated or not.
//! Called by the agent's loop only.

pub mod command;
pub mod init;
pub mod logind;
pub mod machine;
mod offer;

use futures::future::{BoxFuture, FutureExt};
use slipway_api::policy::RebootMethod;

pub use offer::Offer;

/// The machine. Every method answers within [`CALL_TIMEOUT`], or says that it got no answer; a call
/// to reboot may take [`command::CALL_LIMIT`].
pub trait Host: Send + Sync + 'static {
    /// The ID of the present boot. Another one than at accept is the only proof of a reboot.
    fn boot_id(&self) -> BoxFuture<'_, Result<String, HostError>>;

    /// Whether the machine could be rebooted now, and how. Changes nothing.
    fn offer<'a>(&'a self, method: &'a RebootMethod) -> BoxFuture<'a, Offer>;

    /// Asks for a reboot, in the way that an [`Offer`] has named. `Ok` means that it was accepted and
    /// that the machine will go down.
    ///
    /// # Failure
    /// [`RebootError::Refused`] only when it is certain that nothing will happen: the agent then
    /// uncordons the node. Whatever is not certain is [`RebootError::Unclear`].
    fn reboot<'a>(&'a self, method: &'a RebootMethod) -> BoxFuture<'a, Result<(), RebootError>>;

    /// True while the machine is on its way down, whoever asked for it; an error where it does not
    /// say.
    fn shutdown_pending(&self) -> BoxFuture<'_, Result<bool, HostError>>;

    /// Whether there is any way to reboot the machine at all.
    fn ready(&self) -> BoxFuture<'_, Result<(), HostError>> {
        async {
            let offer = self.offer(&RebootMethod::Auto).await;
            let what = "find a way to reboot the host";
            match offer.problem() {
                Some(reason) => Err(HostError { what, reason }),
                None => Ok(()),
            }
        }
        .boxed()
    }
}

/// Longest that one question to the machine may take. Longer, and a hung bus would hide a revoke.
pub const CALL_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(10);

/// The machine did not answer a question.
#[derive(Debug, thiserror::Error)]
#[error("failed to {what}: {reason}")]
pub struct HostError {
    /// The question, as a verb: `read the boot ID`.
    pub what: &'static str,
    /// Why there is no answer.
    pub reason: String,
}

/// Why a reboot call is not known to have been accepted.
#[derive(Debug, thiserror::Error)]
pub enum RebootError {
    /// It was refused: nothing will happen.
    #[error("the reboot was refused: {reason}{}", named(.blockers))]
    Refused {
        /// What the machine said.
        reason: String,
        /// Who holds an inhibitor, one entry each.
        blockers: Vec<String>,
    },
    /// An answer that does not rule the reboot out.
    #[error("the reboot call failed, and may still have an effect: {reason}")]
    Failed {
        /// What is known.
        reason: String,
    },
    /// No answer.
    #[error("failed to learn whether the reboot was accepted: {reason}")]
    Unclear {
        /// What is known.
        reason: String,
    },
}

impl RebootError {
    /// A refusal that no lock is behind.
    pub(crate) fn refused(reason: String) -> Self {
        Self::Refused {
            reason,
            blockers: Vec::new(),
        }
    }
}

/// The words of somebody on the host, for people: cut, and unable to draw on a terminal.
pub(crate) fn plain(text: &str, most: usize) -> String {
    let shown = |c: char| if c.is_control() { ' ' } else { c };
    text.chars().take(most).map(shown).collect()
}

fn named(blockers: &[String]) -> String {
    if blockers.is_empty() {
        String::new()
    } else {
        format!(" (inhibited by {})", blockers.join(", "))
    }
}
