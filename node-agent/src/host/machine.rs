//! The real machine: boot ID from a file, and every way that there is to reboot it.
//!
//! Owns which way is taken: `Auto` is logind, and another one only where there is no logind at all.
//! A logind that says no has a reason, and one that is silent may be back in a moment: neither is
//! passed over unless the policy names another way. Locks that block a shutdown are obeyed whatever
//! the way, as far as logind tells of them.

use std::collections::BTreeMap;
use std::path::PathBuf;

use futures::future::{BoxFuture, FutureExt};
use slipway_api::policy::RebootMethod;
use tokio::time::timeout;

use super::command::{self, CALL_LIMIT, CommandError, For};
use super::init::Init;
use super::logind::{Logind, Says};
use super::{CALL_TIMEOUT, Host, HostError, Offer, RebootError};
use crate::installed::Method;

/// How long `systemctl --version` may take.
const PROBE_LIMIT: std::time::Duration = std::time::Duration::from_secs(5);

/// The machine that the agent runs on.
#[derive(Clone, Debug)]
pub struct Machine {
    boot_id_file: PathBuf,
    logind: Logind,
    init: Init,
    methods: BTreeMap<String, Method>,
}

impl Machine {
    /// `boot_id_file` is the host's `/proc/sys/kernel/random/boot_id`, `bus` the address of its system
    /// bus; `methods` are those of the installed configuration.
    pub fn new(boot_id_file: PathBuf, bus: String, methods: BTreeMap<String, Method>) -> Self {
        Self {
            boot_id_file,
            logind: Logind::new(bus),
            init: Init::default(),
            methods,
        }
    }

    /// The same beside another PID 1: whatever tries commands must never reach its own.
    #[must_use]
    pub fn with_init(self, init: Init) -> Self {
        Self { init, ..self }
    }

    async fn read_boot_id(&self) -> Result<String, HostError> {
        let failed = |reason: String| HostError {
            what: "read the boot ID",
            reason: format!("{}: {reason}", self.boot_id_file.display()),
        };
        let read = tokio::fs::read_to_string(&self.boot_id_file);
        let text = match timeout(CALL_TIMEOUT, read).await {
            Ok(read) => read.map_err(|error| failed(error.to_string()))?,
            Err(_) => return Err(failed(format!("no answer within {CALL_TIMEOUT:?}"))),
        };
        let id = text.trim();
        // A boot ID that is not one would look like a reboot, and end a lease as Rebooted.
        let valid =
            (32..=64).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-');
        if valid {
            Ok(id.to_owned())
        } else {
            Err(failed(format!("not a boot ID: {id:?}")))
        }
    }

    async fn choose(&self, method: &RebootMethod) -> Offer {
        let says = self.logind.ask().await;
        match (method, says) {
            (RebootMethod::Auto, Says::Absent { reason }) => self.without_logind(reason).await,
            (RebootMethod::Auto | RebootMethod::Logind, says) => by_logind(says),
            (method, says) => match self.possible(method).await {
                Ok(()) => taken(method.clone(), says),
                Err(reason) => Offer::Impossible {
                    reason: format!("{method}: {reason}"),
                },
            },
        }
    }

    /// The least privileged way that is left.
    async fn without_logind(&self, absent: String) -> Offer {
        let mut reasons = vec![absent];
        for method in [RebootMethod::Signal, RebootMethod::Systemctl] {
            match self.possible(&method).await {
                Ok(()) => return Offer::by(method),
                Err(reason) => reasons.push(format!("{method}: {reason}")),
            }
        }
        reasons.dedup();
        Offer::Impossible {
            reason: reasons.join("; "),
        }
    }

    /// Whether a way other than logind is open to this agent.
    async fn possible(&self, method: &RebootMethod) -> Result<(), String> {
        match method {
            RebootMethod::Auto | RebootMethod::Logind => Err("asks logind".to_owned()),
            RebootMethod::Signal => self.init.may_signal(),
            RebootMethod::Systemctl => {
                let words = ["systemctl", "--version"].map(str::to_owned);
                let ended =
                    command::run(&words, self.init.mounts()?, PROBE_LIMIT, For::Answer).await;
                let ended = ended.map_err(|error| error.to_string())?;
                ended
                    .status
                    .success()
                    .then_some(())
                    .ok_or_else(|| ended.told())
            }
            RebootMethod::Named(name) => {
                let command = self.command(name)?;
                let program = command.first().map_or("", String::as_str);
                let found = command::probe(program, self.init.mounts()?);
                found.map_err(|error| format!("{program}: {error}"))
            }
        }
    }

    fn command(&self, name: &str) -> Result<&[String], String> {
        let method = self.methods.get(name);
        method
            .map(|method| method.command.as_slice())
            .ok_or_else(|| {
                let known: Vec<&str> = self.methods.keys().map(String::as_str).collect();
                format!(
                    "the agent's configuration has no such method; it has [{}]",
                    known.join(", ")
                )
            })
    }

    async fn call(&self, method: &RebootMethod) -> Result<(), RebootError> {
        match method {
            // An offer never names it.
            RebootMethod::Auto => Err(RebootError::refused(
                "no way to reboot was chosen".to_owned(),
            )),
            RebootMethod::Logind => self.logind.reboot().await,
            RebootMethod::Signal => self.init.signal_reboot().map_err(RebootError::refused),
            RebootMethod::Systemctl => self.run(&["systemctl", "reboot"].map(str::to_owned)).await,
            RebootMethod::Named(name) => {
                let command = self.command(name).map_err(RebootError::refused)?;
                self.run(command).await
            }
        }
    }

    async fn run(&self, words: &[String]) -> Result<(), RebootError> {
        let mounts = self.init.mounts().map_err(RebootError::refused)?;
        match command::run(words, mounts, CALL_LIMIT, For::Action).await {
            Ok(ended) if ended.status.success() => Ok(()),
            // It may have done its work before it failed.
            Ok(ended) => Err(RebootError::Failed {
                reason: ended.told(),
            }),
            Err(error @ CommandError::Start { .. }) => Err(RebootError::refused(error.to_string())),
            Err(error) => Err(RebootError::Unclear {
                reason: error.to_string(),
            }),
        }
    }
}

impl Host for Machine {
    fn boot_id(&self) -> BoxFuture<'_, Result<String, HostError>> {
        self.read_boot_id().boxed()
    }

    fn offer<'a>(&'a self, method: &'a RebootMethod) -> BoxFuture<'a, Offer> {
        self.choose(method).boxed()
    }

    fn reboot<'a>(&'a self, method: &'a RebootMethod) -> BoxFuture<'a, Result<(), RebootError>> {
        self.call(method).boxed()
    }

    fn shutdown_pending(&self) -> BoxFuture<'_, Result<bool, HostError>> {
        self.logind.shutdown_pending().boxed()
    }

    /// A host may be rebootable by one method of its configuration only.
    fn ready(&self) -> BoxFuture<'_, Result<(), HostError>> {
        async {
            let mut problems = Vec::new();
            let named = self.methods.keys().cloned().map(RebootMethod::Named);
            for method in std::iter::once(RebootMethod::Auto).chain(named) {
                match self.choose(&method).await.problem() {
                    Some(reason) => problems.push(reason),
                    None => return Ok(()),
                }
            }
            Err(HostError {
                what: "find a way to reboot the host",
                reason: problems.join("; "),
            })
        }
        .boxed()
    }
}

fn by_logind(says: Says) -> Offer {
    match says {
        Says::Absent { reason } | Says::Silent { reason } => Offer::Unanswered { reason },
        Says::No { reason } => Offer::Impossible { reason },
        says @ Says::Yes(_) => taken(RebootMethod::Logind, says),
    }
}

/// The offer of a way that is open, with the locks that logind tells of.
fn taken(method: RebootMethod, says: Says) -> Offer {
    match says {
        Says::Yes(locks) if !locks.block.is_empty() => Offer::Inhibited {
            method,
            by: locks.block,
        },
        Says::Yes(locks) => Offer::Ready {
            // A signal waits for nobody.
            delayed_by: match method {
                RebootMethod::Signal => Vec::new(),
                _ => locks.delay,
            },
            method,
        },
        Says::Absent { .. } | Says::Silent { .. } | Says::No { .. } => Offer::by(method),
    }
}

#[cfg(test)]
mod tests {
    use super::super::logind::Locks;
    use super::*;

    fn machine(boot_id_file: PathBuf) -> Machine {
        Machine {
            // No test may ever reach the PID 1 of the machine that it runs on.
            init: Init::of("/nonexistent".into()),
            ..Machine::new(
                boot_id_file,
                "unix:path=/nonexistent".into(),
                BTreeMap::new(),
            )
        }
    }

    #[tokio::test]
    async fn a_file_that_holds_no_boot_id_is_not_taken_for_a_reboot() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let host = machine(file.path().to_owned());
        std::fs::write(file.path(), "\n").unwrap();
        assert!(host.boot_id().await.is_err());
        std::fs::write(file.path(), "0d4c47c4-8a7c-4b5e-9d5f-0123456789ab\n").unwrap();
        let id = host.boot_id().await.unwrap();
        assert_eq!(id, "0d4c47c4-8a7c-4b5e-9d5f-0123456789ab");
    }

    #[tokio::test]
    async fn a_host_with_no_way_at_all_says_why_of_each_and_refuses_the_call() {
        let host = machine(PathBuf::new());
        let Offer::Impossible { reason } = host.offer(&RebootMethod::Auto).await else {
            panic!("there is a way");
        };
        assert!(
            reason.contains("no system bus") && reason.contains("/nonexistent"),
            "{reason}"
        );
        let logind = host.offer(&RebootMethod::Logind).await;
        assert!(matches!(logind, Offer::Unanswered { .. }), "{logind:?}");
        for method in [RebootMethod::Signal, RebootMethod::Systemctl] {
            let offer = host.offer(&method).await;
            assert!(matches!(offer, Offer::Impossible { .. }), "{offer:?}");
        }
        for method in ["Auto", "Logind", "Signal", "Systemctl", "power-cycle"] {
            let answer = host.reboot(&RebootMethod::from(method.to_owned())).await;
            assert!(
                matches!(answer, Err(RebootError::Refused { .. })),
                "{method}"
            );
        }
        assert!(host.ready().await.is_err() && host.shutdown_pending().await.is_err());
    }

    #[tokio::test]
    async fn f87_a_method_that_is_not_installed_is_named_with_those_that_are() {
        let method = Method {
            command: vec!["/bin/true".to_owned()],
        };
        let host = Machine {
            methods: BTreeMap::from([("power-cycle".to_owned(), method)]),
            ..machine(PathBuf::new())
        };
        let offer = host
            .offer(&RebootMethod::Named("/bin/true".to_owned()))
            .await;
        let Offer::Impossible { reason } = offer else {
            panic!("{offer:?}");
        };
        assert!(reason.contains("it has [power-cycle]"), "{reason}");
    }

    #[test]
    fn f08_a_logind_that_says_no_is_not_passed_over_and_locks_bind_every_method() {
        let no = || Says::No {
            reason: "challenge".into(),
        };
        assert!(matches!(by_logind(no()), Offer::Impossible { .. }));
        let silent = Says::Silent { reason: "x".into() };
        assert!(matches!(by_logind(silent), Offer::Unanswered { .. }));
        let locked = || {
            Says::Yes(Locks {
                block: vec!["dpkg".into()],
                delay: vec!["kubelet".into()],
            })
        };
        for method in ["Logind", "Signal", "Systemctl", "power-cycle"] {
            let method = RebootMethod::from(method.to_owned());
            let by = vec!["dpkg".to_owned()];
            assert_eq!(
                taken(method.clone(), locked()),
                Offer::Inhibited { method, by }
            );
        }
        let delays = |method| {
            let delay = vec!["kubelet".to_owned()];
            match taken(
                method,
                Says::Yes(Locks {
                    block: vec![],
                    delay,
                }),
            ) {
                Offer::Ready { delayed_by, .. } => delayed_by.len(),
                offer => panic!("{offer:?}"),
            }
        };
        assert_eq!(
            (delays(RebootMethod::Logind), delays(RebootMethod::Signal)),
            (1, 0)
        );
        // Who names a way on a host whose logind does not answer gets it.
        assert_eq!(
            taken(RebootMethod::Signal, no()),
            Offer::by(RebootMethod::Signal)
        );
    }
}
