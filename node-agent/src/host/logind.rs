//! systemd-logind, and systemd itself, over the host's system bus.
//!
//! Owns the connection, which it makes anew for every question: questions are rare, and a socket
//! that outlives a restart of the bus would answer nothing for ever. Never skips an inhibitor.

use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::time::Duration;

use futures::FutureExt;
use tokio::time::timeout;
use zbus::zvariant::DynamicType;
use zbus::{Connection, Message, OwnedVariant, connection};

use super::{CALL_TIMEOUT, HostError, RebootError, plain};

const SERVICE: &str = "org.freedesktop.login1";
const PATH: &str = "/org/freedesktop/login1";
const MANAGER: &str = "org.freedesktop.login1.Manager";
const SYSTEMD: (&str, &str, &str) = (
    "org.freedesktop.systemd1",
    "/org/freedesktop/systemd1",
    "org.freedesktop.systemd1.Manager",
);
const PROPERTIES: &str = "org.freedesktop.DBus.Properties";
/// `SD_LOGIND_ROOT_CHECK_INHIBITORS`: root, too, obeys block locks on a systemd before 257.
const CHECK_INHIBITORS: u64 = 1;
/// Most inhibitors named at once.
const NAMED_MAX: usize = 5;
/// Most of the text of an error, or of another word, that people are told.
const SAID_MAX: usize = 256;
/// Most of each of the two words of a lock: any user of the host may hold one and name it at will.
const LOCK_WORD_MAX: usize = 64;
/// How long the two questions before a reboot may take.
const ASK_LIMIT: Duration = Duration::from_secs(5);

/// logind of a host.
#[derive(Clone, Debug)]
pub struct Logind {
    bus: String,
}

/// What logind says before anything is asked of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Says {
    /// The host has none.
    Absent {
        /// How that is known.
        reason: String,
    },
    /// It does not answer.
    Silent {
        /// What happened.
        reason: String,
    },
    /// It does not let us reboot the host.
    No {
        /// Its word.
        reason: String,
    },
    /// It would, but for the locks.
    Yes(Locks),
}

/// The inhibitors of a shutdown, one sentence each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Locks {
    /// Those that block it.
    pub block: Vec<String>,
    /// Those that only put it off.
    pub delay: Vec<String>,
}

impl Logind {
    /// `bus` is a D-Bus address.
    pub fn new(bus: String) -> Self {
        Self { bus }
    }

    /// Whether it would reboot the host, and who would hold that up.
    pub async fn ask(&self) -> Says {
        if let Some(socket) = self.bus.strip_prefix("unix:path=")
            && !Path::new(socket).exists()
        {
            return Says::Absent {
                reason: "the host has no system bus".to_owned(),
            };
        }
        let silent = |reason| Says::Silent { reason };
        match timeout(ASK_LIMIT, self.questions()).await {
            Ok(Ok(says)) => says,
            Ok(Err(error)) if is_absent(&error) => Says::Absent {
                reason: format!("the host has no logind: {}", said(&error)),
            },
            Ok(Err(error)) => silent(format!("logind's CanReboot failed: {}", said(&error))),
            Err(_) => silent(format!("logind does not answer within {ASK_LIMIT:?}")),
        }
    }

    async fn questions(&self) -> Result<Says, zbus::Error> {
        let bus = self.connect().await?;
        let reply = call(&bus, MANAGER, "CanReboot", &()).await?;
        let word: String = reply.body().deserialize()?;
        // Newer ones say `inhibited` or the like: the locks tell who it is.
        if word != "yes" && !word.contains("inhibit") {
            let reason = format!("logind's CanReboot says {:?}", plain(&word, SAID_MAX));
            return Ok(Says::No { reason });
        }
        locks(&bus).await.map(Says::Yes)
    }

    /// Whether the host is on its way down: as logind sees it, or as systemd does, which also knows of
    /// what passed over logind. One that is not there is not asked; no answer of both is an error.
    pub async fn shutdown_pending(&self) -> Result<bool, HostError> {
        let failed = |reason: String| HostError {
            what: "ask the host whether a shutdown is pending",
            reason,
        };
        match timeout(CALL_TIMEOUT, self.read_pending()).await {
            Ok(Ok(pending)) => Ok(pending),
            Ok(Err(error)) => Err(failed(said(&error))),
            Err(_) => Err(failed(format!("no answer within {CALL_TIMEOUT:?}"))),
        }
    }

    async fn read_pending(&self) -> Result<bool, zbus::Error> {
        let bus = self.connect().await?;
        let logind = (SERVICE, PATH, MANAGER);
        let preparing = match property(&bus, logind, "PreparingForShutdown").await {
            Ok(value) => bool::try_from(value).map(Some),
            Err(error) if is_absent(&error) => Ok(None),
            Err(error) => Err(error),
        }?;
        match property(&bus, SYSTEMD, "SystemState").await {
            Ok(state) => {
                let state = String::try_from(state)?;
                Ok(preparing == Some(true) || state == "stopping")
            }
            Err(error) if is_absent(&error) => preparing.ok_or(error),
            Err(error) => Err(error),
        }
    }

    /// Asks for the reboot.
    ///
    /// # Errors
    /// [`RebootError`]
    pub async fn reboot(&self) -> Result<(), RebootError> {
        // Until the call is sent nothing can happen: an error here is a plain refusal.
        let bus = match timeout(ASK_LIMIT, self.connect()).await {
            Ok(Ok(bus)) => bus,
            Ok(Err(error)) => {
                let reason = format!("no system bus: {}", said(&error));
                return Err(RebootError::refused(reason));
            }
            Err(_) => {
                return Err(RebootError::refused(
                    "the system bus does not answer".to_owned(),
                ));
            }
        };
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
            Ok(Err(error)) if is_definite(&error) => Err(refusal(&bus, said(&error)).await),
            Ok(Err(error)) => Err(RebootError::Unclear {
                reason: said(&error),
            }),
            Err(_) => Err(RebootError::Unclear {
                reason: format!("no answer within {CALL_TIMEOUT:?}"),
            }),
        }
    }

    async fn connect(&self) -> Result<Connection, zbus::Error> {
        let connection = connection::Builder::address(self.bus.as_str())
            .method_timeout(CALL_TIMEOUT)
            .build();
        // The library panics at an empty line in place of the server's first one: no connection, and
        // no reason to end the agent.
        let made = AssertUnwindSafe(connection).catch_unwind().await;
        made.unwrap_or_else(|_| {
            let reason = "the bus does not speak D-Bus".to_owned();
            Err(zbus::Error::Handshake(reason))
        })
    }
}

async fn refusal(bus: &Connection, reason: String) -> RebootError {
    // Who blocks is for people; not knowing it changes nothing.
    let locks = timeout(CALL_TIMEOUT / 4, locks(bus)).await;
    let locks = locks.ok().and_then(Result::ok).unwrap_or_default();
    RebootError::Refused {
        reason,
        blockers: locks.block,
    }
}

fn said(error: &zbus::Error) -> String {
    plain(&error.to_string(), SAID_MAX)
}

async fn property(
    bus: &Connection,
    (service, path, interface): (&str, &str, &str),
    name: &str,
) -> Result<OwnedVariant, zbus::Error> {
    let reply = bus
        .call_method(
            Some(service),
            path,
            Some(PROPERTIES),
            "Get",
            &(interface, name),
        )
        .await?;
    reply.body().deserialize()
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

async fn locks(bus: &Connection) -> Result<Locks, zbus::Error> {
    let reply = call(bus, MANAGER, "ListInhibitors", &()).await?;
    let all: Vec<Inhibitor> = reply.body().deserialize()?;
    Ok(Locks::of(&all))
}

impl Locks {
    /// Delay locks only postpone; a block lock on shutdown is what refuses.
    fn of(all: &[Inhibitor]) -> Self {
        let of_mode = |begin: &str| {
            let wanted = all.iter().filter(|(what, _, _, mode, _, _)| {
                mode.starts_with(begin) && what.split(':').any(|lock| lock == "shutdown")
            });
            let named = wanted.map(|(_, who, why, _, _, pid)| {
                let word = |text: &str| plain(text, LOCK_WORD_MAX);
                format!("{} (pid {pid}): {}", word(who), word(why))
            });
            named.take(NAMED_MAX).collect()
        };
        Self {
            block: of_mode("block"),
            delay: of_mode("delay"),
        }
    }
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

/// True when the bus says that nobody offers the service, and nobody can be started for it.
fn is_absent(error: &zbus::Error) -> bool {
    match error {
        zbus::Error::MethodError(name, _, _) => {
            let name = name.as_str();
            name.contains(".Spawn.") || name.ends_with("NoSuchUnit") || name.ends_with("UnitMasked")
        }
        zbus::Error::FDO(cause) => matches!(
            cause.as_ref(),
            zbus::fdo::Error::ServiceUnknown(_) | zbus::fdo::Error::NameHasNoOwner(_)
        ),
        _ => false,
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
    fn f08_block_locks_on_shutdown_are_told_from_delays_and_from_locks_on_something_else() {
        let named = vec!["dpkg (pid 7): upgrade".to_owned()];
        let locks = Locks::of(&[
            inhibitor("shutdown:sleep", "block"),
            inhibitor("sleep", "block"),
        ]);
        assert_eq!((locks.block, locks.delay.len()), (named.clone(), 0));
        let locks = Locks::of(&[inhibitor("shutdown", "delay"), inhibitor("idle", "delay")]);
        assert_eq!((locks.block.len(), locks.delay), (0, named));
    }

    #[test]
    fn what_a_lock_is_called_neither_draws_on_a_terminal_nor_fills_a_page() {
        let who = format!("\u{1b}[31m{}", "x".repeat(5000));
        let lock = (
            "shutdown".to_owned(),
            who,
            "a\nb".to_owned(),
            "block".to_owned(),
            0,
            7,
        );
        let named = Locks::of(&[lock]).block.join("");
        assert!(named.starts_with(" [31mxxx") && named.ends_with(" (pid 7): a b"));
        assert!(named.len() < 100, "{named}");
    }

    #[test]
    fn a_lost_answer_is_not_a_refusal() {
        let lost = zbus::Error::FDO(Box::new(zbus::fdo::Error::NoReply("gone".into())));
        let denied = zbus::Error::FDO(Box::new(zbus::fdo::Error::AccessDenied("no".into())));
        assert!(!is_definite(&lost) && is_definite(&denied));
        assert!(!is_definite(&zbus::Error::InterfaceNotFound));
    }

    #[tokio::test]
    async fn a_bus_that_says_an_empty_line_is_silent_and_ends_nothing() {
        use tokio::io::AsyncWriteExt;
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("bus");
        let listener = tokio::net::UnixListener::bind(&socket).unwrap();
        let peer = tokio::spawn(async move {
            for _ in 0..3 {
                let (mut stream, _) = listener.accept().await.unwrap();
                stream.write_all(b"\n").await.unwrap();
            }
        });
        let logind = Logind::new(format!("unix:path={}", socket.display()));
        assert!(matches!(logind.ask().await, Says::Silent { .. }));
        let refused = logind.reboot().await;
        assert!(matches!(refused, Err(RebootError::Refused { .. })));
        assert!(logind.shutdown_pending().await.is_err());
        peer.await.unwrap();
    }

    #[tokio::test]
    async fn without_a_bus_there_is_no_logind_and_with_a_dead_one_it_is_silent() {
        let logind = Logind::new("unix:path=/nonexistent".into());
        assert!(matches!(logind.ask().await, Says::Absent { .. }));
        let refused = logind.reboot().await;
        assert!(matches!(refused, Err(RebootError::Refused { .. })));
        assert!(logind.shutdown_pending().await.is_err());
        // A socket that nobody listens to is a bus that is down for the moment.
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("bus");
        drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
        let logind = Logind::new(format!("unix:path={}", socket.display()));
        assert!(matches!(logind.ask().await, Says::Silent { .. }));
    }
}
