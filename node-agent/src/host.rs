//! What the agent asks of the machine it runs on: which boot this is, and to reboot.
//!
//! Owns the trait and its errors. [`logind`] is the real machine; the demo and the tests have
//! simulated ones behind the same trait. Sentinel files are not here: [`crate::checks`] reads
//! them from the paths of the configuration, simulated or not.
//! Called by the agent's loop only.

pub mod logind;

use futures::future::BoxFuture;
use slipway_api::policy::RebootMethod;

/// The machine. Every method answers within [`CALL_TIMEOUT`], or says that it got no answer.
pub trait Host: Send + Sync + 'static {
    /// The ID of the present boot. Another one than at accept is the only proof of a reboot.
    fn boot_id(&self) -> BoxFuture<'_, Result<String, HostError>>;

    /// Asks for a reboot. `Ok` means that it was accepted and that the machine will go down.
    ///
    /// # Failure
    /// [`RebootError::Refused`] only when it is certain that nothing will happen: the agent then
    /// uncordons the node. Whatever is not certain is [`RebootError::Unclear`].
    fn reboot(&self, method: RebootMethod) -> BoxFuture<'_, Result<(), RebootError>>;

    /// True while the machine is on its way down, whoever asked for it.
    fn shutdown_pending(&self) -> BoxFuture<'_, Result<bool, HostError>>;
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
    /// No answer, or one that does not rule the reboot out.
    #[error("failed to learn whether the reboot was accepted: {reason}")]
    Unclear {
        /// What is known.
        reason: String,
    },
}

fn named(blockers: &[String]) -> String {
    if blockers.is_empty() {
        String::new()
    } else {
        format!(" (inhibited by {})", blockers.join(", "))
    }
}
