//! The real machine: boot ID from a file, everything else from systemd-logind over the system bus.
//!
//! Owns the connection, which it makes anew for every question: questions are rare, and a socket
//! that outlives a restart of the bus would answer nothing for ever. Never skips an inhibitor.

use std::path::PathBuf;

use futures::future::{BoxFuture, FutureExt};
use slipway_api::policy::RebootMethod;
use tokio::time::timeout;
use zbus::zvariant::DynamicType;
use zbus::{Connection, Message, OwnedVariant, connection};

use super::{CALL_TIMEOUT, Host, HostError, RebootError};

const SERVICE: &str = "org.freedesktop.login1";
const PATH: &str = "/org/freedesktop/login1";
const MANAGER: &str = "org.freedesktop.login1.Manager";
const PROPERTIES: &str = "org.freedesktop.DBus.Properties";
/// `SD_LOGIND_ROOT_CHECK_INHIBITORS`: root, too, obeys block locks on a systemd before 257.
const CHECK_INHIBITORS: u64 = 1;
/// Most inhibitors named in a refusal.
const BLOCKERS_MAX: usize = 5;

/// The machine that the agent runs on.
#[derive(Clone, Debug)]
pub struct LogindHost {
    boot_id_file: PathBuf,
    bus: String,
}

impl LogindHost {
    /// `boot_id_file` is the host's `/proc/sys/kernel/random/boot_id`, `bus` a D-Bus address.
    pub fn new(boot_id_file: PathBuf, bus: String) -> Self {
        Self { boot_id_file, bus }
    }

    async fn connect(&self) -> Result<Connection, zbus::Error> {
        connection::Builder::address(self.bus.as_str())
            .method_timeout(CALL_TIMEOUT)
            .build()
            .await
    }

    async fn read_boot_id(&self) -> Result<String, HostError> {
        let failed = |reason: String| HostError {
            what: "read the boot ID",
            reason: format!("{}: {reason}", self.boot_id_file.display()),
        };
        let text = tokio::fs::read_to_string(&self.boot_id_file)
            .await
            .map_err(|error| failed(error.to_string()))?;
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

    async fn read_shutdown_pending(&self) -> Result<bool, zbus::Error> {
        let bus = self.connect().await?;
        let reply = call(&bus, PROPERTIES, "Get", &(MANAGER, "PreparingForShutdown")).await?;
        let value: OwnedVariant = reply.body().deserialize()?;
        bool::try_from(value)
    }

    async fn call_reboot(&self) -> Result<(), RebootError> {
        // Until the call is sent nothing can happen: an error here is a plain refusal.
        let bus = match timeout(CALL_TIMEOUT / 2, self.connect()).await {
            Ok(Ok(bus)) => bus,
            Ok(Err(error)) => return Err(refused(format!("no system bus: {error}"))),
            Err(_) => return Err(refused("the system bus does not answer".to_owned())),
        };
        let question = call(&bus, MANAGER, "CanReboot", &());
        match timeout(CALL_TIMEOUT / 4, question).await {
            Ok(Ok(reply)) => {
                let answer: String = reply.body().deserialize().unwrap_or_default();
                if matches!(answer.as_str(), "no" | "na" | "challenge") {
                    let reason = format!("logind's CanReboot says {answer:?}");
                    return Err(self.refusal(&bus, reason).await);
                }
            }
            Ok(Err(error)) => return Err(refused(format!("logind's CanReboot failed: {error}"))),
            Err(_) => return Err(refused("logind does not answer".to_owned())),
        }
        let sent = async {
            match call(&bus, MANAGER, "RebootWithFlags", &CHECK_INHIBITORS).await {
                Err(error) if is_unknown_method(&error) => {
                    call(&bus, MANAGER, "Reboot", &false).await
                }
                answer => answer,
            }
        };
        match timeout(CALL_TIMEOUT, sent).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) if is_definite(&error) => {
                Err(self.refusal(&bus, error.to_string()).await)
            }
            Ok(Err(error)) => Err(RebootError::Unclear {
                reason: error.to_string(),
            }),
            Err(_) => Err(RebootError::Unclear {
                reason: format!("no answer within {CALL_TIMEOUT:?}"),
            }),
        }
    }

    async fn refusal(&self, bus: &Connection, reason: String) -> RebootError {
        // Who blocks is for people; not knowing it changes nothing.
        let blockers = timeout(CALL_TIMEOUT / 4, blockers(bus))
            .await
            .ok()
            .and_then(Result::ok)
            .unwrap_or_default();
        RebootError::Refused { reason, blockers }
    }
}

impl Host for LogindHost {
    fn boot_id(&self) -> BoxFuture<'_, Result<String, HostError>> {
        let read = async {
            match timeout(CALL_TIMEOUT, self.read_boot_id()).await {
                Ok(answer) => answer,
                Err(_) => Err(unanswered("read the boot ID")),
            }
        };
        read.boxed()
    }

    fn reboot(&self, method: RebootMethod) -> BoxFuture<'_, Result<(), RebootError>> {
        match method {
            // logind is the only, hence the least privileged, way of this agent.
            RebootMethod::Auto | RebootMethod::Logind => self.call_reboot().boxed(),
        }
    }

    fn shutdown_pending(&self) -> BoxFuture<'_, Result<bool, HostError>> {
        let what = "ask logind whether a shutdown is pending";
        let read = async move {
            match timeout(CALL_TIMEOUT, self.read_shutdown_pending()).await {
                Ok(answer) => answer.map_err(|error| HostError {
                    what,
                    reason: error.to_string(),
                }),
                Err(_) => Err(unanswered(what)),
            }
        };
        read.boxed()
    }
}

async fn call<B>(
    bus: &Connection,
    interface: &str,
    method: &str,
    body: &B,
) -> Result<Message, zbus::Error>
where
    B: serde::Serialize + DynamicType,
{
    bus.call_method(Some(SERVICE), PATH, Some(interface), method, body)
        .await
}

/// what, who, why, mode, uid, pid: a row of `ListInhibitors`.
type Inhibitor = (String, String, String, String, u32, u32);

async fn blockers(bus: &Connection) -> Result<Vec<String>, zbus::Error> {
    let reply = call(bus, MANAGER, "ListInhibitors", &()).await?;
    let all: Vec<Inhibitor> = reply.body().deserialize()?;
    Ok(all
        .into_iter()
        .filter_map(name_of_blocker)
        .take(BLOCKERS_MAX)
        .collect())
}

/// Delay locks only postpone; a block lock on shutdown is what refuses.
fn name_of_blocker((what, who, why, mode, _, pid): Inhibitor) -> Option<String> {
    let blocks = mode.starts_with("block") && what.split(':').any(|lock| lock == "shutdown");
    blocks.then(|| format!("{who} (pid {pid}): {why}"))
}

/// True when the answer proves that logind did nothing.
///
/// A shutdown already in progress is none of these: the machine may go down any moment.
fn is_definite(error: &zbus::Error) -> bool {
    match error {
        zbus::Error::MethodError(name, _, _) => !name.as_str().ends_with("OperationInProgress"),
        zbus::Error::FDO(cause) => !matches!(
            cause.as_ref(),
            zbus::fdo::Error::NoReply(_)
                | zbus::fdo::Error::Timeout(_)
                | zbus::fdo::Error::TimedOut(_)
                | zbus::fdo::Error::Disconnected(_)
                | zbus::fdo::Error::IOError(_)
                | zbus::fdo::Error::ZBus(_)
        ),
        _ => false,
    }
}

fn is_unknown_method(error: &zbus::Error) -> bool {
    matches!(error, zbus::Error::FDO(cause) if matches!(cause.as_ref(), zbus::fdo::Error::UnknownMethod(_)))
}

fn refused(reason: String) -> RebootError {
    RebootError::Refused {
        reason,
        blockers: Vec::new(),
    }
}

fn unanswered(what: &'static str) -> HostError {
    HostError {
        what,
        reason: format!("no answer within {CALL_TIMEOUT:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inhibitor(what: &str, mode: &str) -> Inhibitor {
        let text = |t: &str| t.to_owned();
        (text(what), text("dpkg"), text("upgrade"), text(mode), 0, 7)
    }

    #[test]
    fn only_block_locks_on_shutdown_are_named() {
        let named = name_of_blocker(inhibitor("shutdown:sleep", "block"));
        assert_eq!(named.as_deref(), Some("dpkg (pid 7): upgrade"));
        assert_eq!(name_of_blocker(inhibitor("shutdown", "delay")), None);
        assert_eq!(name_of_blocker(inhibitor("sleep", "block")), None);
    }

    #[test]
    fn a_lost_answer_is_not_a_refusal() {
        let lost = zbus::Error::FDO(Box::new(zbus::fdo::Error::NoReply("gone".into())));
        let denied = zbus::Error::FDO(Box::new(zbus::fdo::Error::AccessDenied("no".into())));
        assert!(!is_definite(&lost) && is_definite(&denied));
        assert!(!is_definite(&zbus::Error::InterfaceNotFound));
    }

    #[tokio::test]
    async fn a_file_that_holds_no_boot_id_is_not_taken_for_a_reboot() {
        let file = tempfile::NamedTempFile::new()
            .unwrap()
            .into_temp_path()
            .to_path_buf();
        let host = LogindHost::new(file.clone(), "unix:path=/nonexistent".into());
        std::fs::write(&file, "\n").unwrap();
        assert!(host.boot_id().await.is_err());
        std::fs::write(&file, "0d4c47c4-8a7c-4b5e-9d5f-0123456789ab\n").unwrap();
        let id = host.boot_id().await.unwrap();
        std::fs::remove_file(&file).unwrap();
        assert_eq!(id, "0d4c47c4-8a7c-4b5e-9d5f-0123456789ab");
    }

    #[tokio::test]
    async fn without_a_bus_the_reboot_is_refused_and_the_question_unanswered() {
        let host = LogindHost::new(PathBuf::new(), "unix:path=/nonexistent".into());
        let answer = host.reboot(RebootMethod::Auto).await;
        assert!(matches!(answer, Err(RebootError::Refused { .. })));
        assert!(host.shutdown_pending().await.is_err());
    }
}
