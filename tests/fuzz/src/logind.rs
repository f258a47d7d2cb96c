//! Answers of logind: garbage is never a success, a call that was sent is never taken for one that was
//! refused unless it was, and no lock that blocks is passed over (faults.md F08, G6).

use std::sync::Arc;

use arbitrary::Unstructured;
use slipway_node_agent::host::RebootError;
use slipway_node_agent::host::logind::{Locks, Logind, Says};
use tokio::net::UnixListener;
use tokio::time::Instant;

use crate::bus::{Answer, Heard, Lock, speak};
use crate::input::{byte, bytes, one_of, runtime, scratch, text};

/// Longest thing that is told to people.
const TOLD_MAX: usize = 1024;
/// Errors that say nothing about what became of the call.
const LOST: [&str; 6] = [
    "org.freedesktop.DBus.Error.NoReply",
    "org.freedesktop.DBus.Error.Timeout",
    "org.freedesktop.DBus.Error.TimedOut",
    "org.freedesktop.DBus.Error.Disconnected",
    "org.freedesktop.DBus.Error.IOError",
    "org.freedesktop.login1.OperationInProgress",
];
/// Errors by which a bus says that there is nobody.
const ABSENT: [&str; 5] = [
    "org.freedesktop.DBus.Error.ServiceUnknown",
    "org.freedesktop.DBus.Error.NameHasNoOwner",
    "org.freedesktop.DBus.Error.Spawn.ChildExited",
    "org.freedesktop.systemd1.NoSuchUnit",
    "org.freedesktop.systemd1.UnitMasked",
];
/// Errors that are a refusal.
const REFUSING: [&str; 4] = [
    "org.freedesktop.DBus.Error.AccessDenied",
    "org.freedesktop.DBus.Error.InteractiveAuthorizationRequired",
    "org.freedesktop.DBus.Error.UnknownMethod",
    "org.freedesktop.login1.OperationInhibited",
];

pub(crate) fn run(input: &[u8]) {
    let mut u = Unstructured::new(input);
    let question = byte(&mut u);
    let broken = byte(&mut u) % 16 == 15;
    let handshake = broken.then(|| handshake(&mut u));
    let answers: Vec<Answer> = (0..4).map(|_| answer(&mut u)).collect();
    let directory = scratch();
    let socket = directory.path().join("bus");
    let logind = Logind::new(format!("unix:path={}", socket.display()));
    let heard = Heard::default();
    let noted = Arc::clone(&heard);
    let mut answers = answers.into_iter();
    let next = move |call| {
        let answer = answers.next().unwrap_or(Answer::Silence);
        noted
            .lock()
            .expect("one thread")
            .push((call, answer.clone()));
        answer
    };
    runtime(true).block_on(async move {
        let listener = UnixListener::bind(&socket).expect("a socket of our own");
        let peer = async {
            if let Ok((stream, _)) = listener.accept().await {
                // A client that goes away in the middle is done.
                drop(speak(stream, handshake.as_deref(), next).await);
            }
            std::future::pending::<()>().await;
        };
        let begun = Instant::now();
        tokio::select! {
            biased;
            () = peer => {}
            () = ask(question, &logind, &heard, broken) => {}
        }
        assert!(begun.elapsed().as_secs() <= 30, "an answer took too long");
    });
}

/// Any bytes but an empty line, at which the library panics: a test of the agent says what follows.
fn handshake(u: &mut Unstructured<'_>) -> Vec<u8> {
    let mut all = bytes(u, 128);
    let mut last = b'\n';
    all.retain(|byte| {
        let empty = (last, *byte) == (b'\n', b'\n');
        last = *byte;
        !empty
    });
    all
}

async fn ask(question: u8, logind: &Logind, heard: &Heard, broken: bool) {
    let all = || heard.lock().expect("one thread").clone();
    match question % 3 {
        0 => says(&logind.ask().await, &all(), broken),
        1 => called(&logind.reboot().await, &all()),
        _ => {
            let pending = logind.shutdown_pending().await.ok();
            going_down(pending, &all());
        }
    }
}

fn answer(u: &mut Unstructured<'_>) -> Answer {
    match byte(u) % 16 {
        0 => Answer::Word(word(u, &["yes", "challenge", "no", "na", "inhibited", ""])),
        1 | 2 => {
            let number = byte(u) % 8;
            Answer::Locks((0..number).map(|_| lock(u)).collect())
        }
        3 => Answer::Flag(byte(u) % 2 == 1),
        4 => Answer::State(word(
            u,
            &["running", "stopping", "degraded", "starting", ""],
        )),
        5 => error(u, &LOST),
        6 => error(u, &ABSENT),
        7 => error(u, &REFUSING),
        8 => Answer::Garbled(
            word(u, &["s", "a(ssssuu)", "v", "", "b", "((((s))))"]),
            bytes(u, 128),
        ),
        9 => Answer::Stranger,
        10 => Answer::Raw(bytes(u, 255)),
        11 => Answer::Silence,
        12 => Answer::Close,
        13 => Answer::Word("yes".to_owned()),
        14 => Answer::Locks(Vec::new()),
        _ => Answer::Flag(false),
    }
}

fn error(u: &mut Unstructured<'_>, names: &[&str]) -> Answer {
    let name = one_of(u, names).to_owned();
    Answer::Error(name, word(u, &["it says no", ""]))
}

fn word(u: &mut Unstructured<'_>, known: &[&str]) -> String {
    let which = usize::from(byte(u));
    match known.get(which) {
        Some(word) => (*word).to_owned(),
        None => text(u, 64).replace('\0', ""),
    }
}

fn lock(u: &mut Unstructured<'_>) -> Lock {
    let what = word(
        u,
        &[
            "shutdown",
            "sleep",
            "shutdown:sleep",
            "idle:shutdown",
            "shutdowns",
        ],
    );
    let mode = word(u, &["block", "delay", "block-weak", ""]);
    let (who, why) = (word(u, &["dpkg", ""]), word(u, &["upgrade", ""]));
    (what, who, why, mode, 0, u32::from(byte(u)))
}

/// What is told to people neither draws on a terminal nor fills a page.
fn told(text: &str) {
    assert!(!text.chars().any(char::is_control), "{text:?}");
    assert!(text.chars().count() <= TOLD_MAX, "{text}");
}

fn says(says: &Says, heard: &[(&'static str, Answer)], broken: bool) {
    let to = |name: &str| {
        heard
            .iter()
            .find(|(call, _)| *call == name)
            .map(|(_, answer)| answer)
    };
    let (word, locks) = (to("CanReboot"), to("ListInhibitors"));
    let is_yes = |word: &str| word == "yes" || word.contains("inhibit");
    match says {
        Says::Absent { reason } => {
            told(reason);
            let absent = |answer: &Answer| matches!(answer, Answer::Error(name, _) if ABSENT.contains(&name.as_str()));
            let any =
                |answer: Option<&Answer>| answer.is_some_and(|it| absent(it) || it.is_vague());
            assert!(any(word) || any(locks), "{heard:?}");
        }
        Says::Silent { reason } => {
            told(reason);
            let honest = match (word, locks) {
                (Some(Answer::Word(word)), None) => !is_yes(word),
                (Some(Answer::Word(_)), Some(Answer::Locks(_))) => true,
                _ => false,
            };
            assert!(broken || !honest, "{reason}: {heard:?}");
        }
        Says::No { reason } => {
            told(reason);
            let no = match word {
                Some(Answer::Word(word)) => !is_yes(word),
                Some(Answer::Garbled(..)) => true,
                other => other.is_some_and(Answer::is_vague),
            };
            assert!(no, "{heard:?}");
        }
        Says::Yes(found) => {
            let said = match word {
                Some(Answer::Word(word)) => is_yes(word),
                Some(Answer::Garbled(_, body)) => {
                    let body = String::from_utf8_lossy(body);
                    body.contains("yes") || body.contains("inhibit")
                }
                other => other.is_some_and(Answer::is_vague),
            };
            assert!(said, "nobody said yes: {heard:?}");
            match locks {
                Some(Answer::Locks(all)) => every_lock(found, all),
                Some(Answer::Garbled(..)) => {}
                other => assert!(other.is_some_and(Answer::is_vague), "{heard:?}"),
            }
            for text in found.block.iter().chain(&found.delay) {
                told(text);
            }
        }
    }
}

fn every_lock(found: &Locks, all: &[Lock]) {
    let count = |begin: &str| {
        let wanted = all.iter().filter(|(what, _, _, mode, _, _)| {
            mode.starts_with(begin) && what.split(':').any(|part| part == "shutdown")
        });
        wanted.count().min(5)
    };
    assert_eq!(found.block.len(), count("block"), "{all:?}");
    assert_eq!(found.delay.len(), count("delay"), "{all:?}");
}

fn called(answer: &Result<(), RebootError>, heard: &[(&'static str, Answer)]) {
    let calls = heard.iter().filter(|(call, _)| call.starts_with("Reboot"));
    let last = calls.map(|(_, answer)| answer).next_back();
    let vague = last.is_some_and(Answer::is_vague);
    match answer {
        Ok(()) => assert!(vague || last.is_some_and(Answer::is_return), "{heard:?}"),
        Err(RebootError::Refused { reason, blockers }) => {
            told(reason);
            for text in blockers {
                told(text);
            }
            let refused = match last {
                None => true,
                Some(Answer::Error(name, _)) => !LOST.contains(&name.as_str()),
                Some(_) => vague,
            };
            assert!(refused, "the machine may go down: {heard:?}");
        }
        Err(RebootError::Failed { reason } | RebootError::Unclear { reason }) => {
            told(reason);
            let definite = match last {
                Some(Answer::Error(name, _)) => !LOST.contains(&name.as_str()),
                // A body that is none may spoil the message.
                Some(Answer::Garbled(..)) | None => false,
                Some(answer) => answer.is_return(),
            };
            assert!(!definite, "{reason}: {heard:?}");
        }
    }
}

fn going_down(pending: Option<bool>, heard: &[(&'static str, Answer)]) {
    let to = |name: &str| {
        heard
            .iter()
            .find(|(call, _)| *call == name)
            .map(|(_, answer)| answer)
    };
    let (preparing, state) = (to("PreparingForShutdown"), to("SystemState"));
    let absent = |answer: &Answer| matches!(answer, Answer::Error(name, _) if ABSENT.contains(&name.as_str()));
    let open = |answer: &Answer| answer.is_vague() || matches!(answer, Answer::Garbled(..));
    match pending {
        Some(false) => {
            let up = preparing
                .is_some_and(|it| open(it) || absent(it) || matches!(it, Answer::Flag(false)));
            let runs = state.is_some_and(|it| {
                open(it) || absent(it) || matches!(it, Answer::State(state) if state != "stopping")
            });
            assert!(up && runs, "it may be going down: {heard:?}");
            assert!(
                !preparing.is_some_and(absent) || !state.is_some_and(absent),
                "{heard:?}"
            );
        }
        Some(true) => {
            let down = preparing.is_some_and(|it| open(it) || matches!(it, Answer::Flag(true)))
                || state.is_some_and(|it| {
                    open(it) || matches!(it, Answer::State(state) if state == "stopping")
                });
            assert!(down, "nobody said so: {heard:?}");
        }
        None => {
            let whole = matches!(preparing, Some(Answer::Flag(_)))
                && matches!(state, Some(Answer::State(_)));
            assert!(!whole, "both have answered: {heard:?}");
        }
    }
}
