//! The agent's machine, simulated: a directory instead of logind.
//!
//! Runs in the process of the agent (`simulated-agent`); the machine's side, which really goes
//! down, is [`super::machine`] in the harness.

use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use slipway_api::policy::RebootMethod;
use slipway_node_agent::Host;
use slipway_node_agent::host::{HostError, Offer, RebootError};

use super::directory::{HostDirectory, RebootBehaviour};

/// A host that is a directory.
#[derive(Debug, Clone)]
pub struct SimulatedHost {
    directory: HostDirectory,
}

impl SimulatedHost {
    /// The host of a directory that a machine of the lab has made.
    pub fn new(directory: HostDirectory) -> Self {
        Self { directory }
    }

    fn call(&self) -> anyhow::Result<RebootBehaviour> {
        self.directory.record_call()?;
        let behaviour = self.directory.behaviour()?;
        let delay = match behaviour {
            RebootBehaviour::Obeys | RebootBehaviour::LosesItsAnswer => Some(0),
            RebootBehaviour::Delays(milliseconds) => Some(milliseconds),
            RebootBehaviour::Refuses
            | RebootBehaviour::Lies
            | RebootBehaviour::IsLocked
            | RebootBehaviour::Cannot => None,
        };
        if let Some(delay) = delay {
            self.directory
                .request_reboot(Duration::from_millis(delay))?;
        }
        Ok(behaviour)
    }
}

impl Host for SimulatedHost {
    fn boot_id(&self) -> BoxFuture<'_, Result<String, HostError>> {
        async {
            self.directory.boot_id().map_err(|error| HostError {
                what: "read the boot ID",
                reason: format!("{error:#}"),
            })
        }
        .boxed()
    }

    fn offer<'a>(&'a self, _: &'a RebootMethod) -> BoxFuture<'a, Offer> {
        let offer = match self.directory.behaviour() {
            Ok(RebootBehaviour::IsLocked) => Offer::Inhibited {
                method: RebootMethod::Logind,
                by: vec!["the test".into()],
            },
            Ok(RebootBehaviour::Cannot) => Offer::Impossible {
                reason: "the simulated host was told that it cannot".into(),
            },
            Ok(_) => Offer::by(RebootMethod::Logind),
            Err(error) => Offer::Unanswered {
                reason: format!("{error:#}"),
            },
        };
        futures::future::ready(offer).boxed()
    }

    fn reboot<'a>(&'a self, _: &'a RebootMethod) -> BoxFuture<'a, Result<(), RebootError>> {
        async {
            match self.call() {
                Ok(RebootBehaviour::Obeys | RebootBehaviour::Lies | RebootBehaviour::Delays(_)) => {
                    Ok(())
                }
                Ok(
                    RebootBehaviour::Refuses | RebootBehaviour::IsLocked | RebootBehaviour::Cannot,
                ) => Err(RebootError::Refused {
                    reason: "the simulated host was told to refuse".into(),
                    blockers: vec!["the test".into()],
                }),
                Ok(RebootBehaviour::LosesItsAnswer) => Err(RebootError::Unclear {
                    reason: "the simulated host was told to lose its answer".into(),
                }),
                Err(error) => Err(RebootError::Unclear {
                    reason: format!("{error:#}"),
                }),
            }
        }
        .boxed()
    }

    fn shutdown_pending(&self) -> BoxFuture<'_, Result<bool, HostError>> {
        async { Ok(self.directory.is_going_down()) }.boxed()
    }
}

#[cfg(test)]
mod tests {
    use anyhow::Result;

    use super::*;

    async fn reboot(behaviour: RebootBehaviour) -> Result<(Result<(), RebootError>, bool)> {
        let directory = tempfile::tempdir()?;
        let files = HostDirectory::new(directory.path());
        files.begin_boot()?;
        files.set_behaviour(behaviour)?;
        let host = SimulatedHost::new(files.clone());
        let answer = host.reboot(&RebootMethod::Logind).await;
        assert_eq!(files.calls()?, 1);
        Ok((answer, host.shutdown_pending().await?))
    }

    #[tokio::test]
    async fn a_host_does_what_its_behaviour_says_and_answers_accordingly() -> Result<()> {
        use RebootBehaviour::{Delays, Lies, LosesItsAnswer, Obeys, Refuses};
        assert!(matches!(reboot(Obeys).await?, (Ok(()), true)));
        assert!(matches!(reboot(Delays(5)).await?, (Ok(()), true)));
        assert!(matches!(reboot(Lies).await?, (Ok(()), false)));
        assert!(matches!(
            reboot(Refuses).await?,
            (Err(RebootError::Refused { .. }), false)
        ));
        assert!(matches!(
            reboot(LosesItsAnswer).await?,
            (Err(RebootError::Unclear { .. }), true)
        ));
        Ok(())
    }
}
