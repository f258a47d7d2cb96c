//! The other end of a bus connection, byte by byte: what it answers is what the input says.
//!
//! Written by hand on purpose: a library that makes messages could not make wrong ones.

use std::io;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

/// Most bytes of one message of a client.
const MESSAGE_MAX: usize = 64 * 1024;
const RETURN: u8 = 2;
const ERROR: u8 = 3;

/// what, who, why, mode, uid, pid.
pub type Lock = (String, String, String, String, u32, u32);

/// How one call is answered.
#[derive(Clone, Debug)]
pub enum Answer {
    /// A return without a body.
    Done,
    /// A return with a string.
    Word(String),
    /// A return with locks.
    Locks(Vec<Lock>),
    /// A return with a variant of a boolean.
    Flag(bool),
    /// A return with a variant of a string.
    State(String),
    /// An error, by name, with what it says.
    Error(String, String),
    /// A return with this signature and any body.
    Garbled(String, Vec<u8>),
    /// A return to another call.
    Stranger,
    /// Any bytes.
    Raw(Vec<u8>),
    /// None, and the connection stays.
    Silence,
    /// None, and the connection ends.
    Close,
}

impl Answer {
    /// True where this may be a proper answer that only the client's library can tell.
    pub(crate) fn is_vague(&self) -> bool {
        match self {
            Self::Raw(bytes) => bytes.windows(2).any(|pair| {
                (pair[0] == b'l' || pair[0] == b'B') && (pair[1] == RETURN || pair[1] == ERROR)
            }),
            _ => false,
        }
    }

    /// True for a return to the very call.
    pub(crate) fn is_return(&self) -> bool {
        matches!(
            self,
            Self::Done
                | Self::Word(_)
                | Self::Locks(_)
                | Self::Flag(_)
                | Self::State(_)
                | Self::Garbled(..)
        )
    }

    fn encoded(&self, serial: u32) -> Option<Vec<u8>> {
        let returned = |to: u32, signature: &str, body: &[u8]| {
            Some(message(RETURN, to, None, signature, body))
        };
        match self {
            Self::Done => returned(serial, "", &[]),
            Self::Word(word) => returned(serial, "s", &string(word)),
            Self::Locks(locks) => returned(serial, "a(ssssuu)", &list(locks)),
            Self::Flag(flag) => {
                let mut body = vec![1, b'b', 0, 0];
                body.extend(u32::from(*flag).to_le_bytes());
                returned(serial, "v", &body)
            }
            Self::State(state) => {
                let mut body = vec![1, b's', 0, 0];
                body.extend(string(state));
                returned(serial, "v", &body)
            }
            Self::Error(name, said) => Some(message(ERROR, serial, Some(name), "s", &string(said))),
            Self::Garbled(signature, body) => returned(serial, signature, body),
            Self::Stranger => returned(serial.wrapping_add(77), "s", &string("yes")),
            Self::Raw(bytes) => Some(bytes.clone()),
            Self::Silence | Self::Close => None,
        }
    }
}

/// Each call that came, with its answer.
pub(crate) type Heard = Arc<Mutex<Vec<(&'static str, Answer)>>>;

/// Names that a call may have, the longer ones first where one contains the other.
const CALLS: [&str; 6] = [
    "CanReboot",
    "ListInhibitors",
    "RebootWithFlags",
    "PreparingForShutdown",
    "SystemState",
    "Reboot",
];

/// Speaks to one client until it goes away. `handshake` is said in place of the answers of the
/// handshake, and nothing after it; `answer` is asked once for each call.
///
/// # Errors
/// The client went away, or speaks too much.
pub async fn speak(
    mut stream: UnixStream,
    handshake: Option<&[u8]>,
    mut answer: impl FnMut(&'static str) -> Answer,
) -> io::Result<()> {
    let mut read = Vec::new();
    let begin = b"BEGIN\r\n";
    let end = loop {
        if let Some(at) = read.windows(begin.len()).position(|part| part == begin) {
            break at + begin.len();
        }
        more(&mut stream, &mut read).await?;
    };
    if let Some(bytes) = handshake {
        stream.write_all(bytes).await?;
        return std::future::pending().await;
    }
    let said = String::from_utf8_lossy(&read[..end]).into_owned();
    stream
        .write_all(b"OK 0123456789abcdef0123456789abcdef\r\n")
        .await?;
    if said.contains("NEGOTIATE_UNIX_FD") {
        stream.write_all(b"AGREE_UNIX_FD\r\n").await?;
    }
    drop(read.drain(..end));
    loop {
        let call = message_of(&mut stream, &mut read).await?;
        let serial = u32::from_le_bytes(call[8..12].try_into().unwrap_or_default());
        let named = |name: &&&str| call.windows(name.len()).any(|part| part == name.as_bytes());
        let Some(name) = CALLS.iter().find(named) else {
            // Hello: who is refused here has no connection, which the handshake covers.
            let hello = message(RETURN, serial, None, "s", &string(":1.7"));
            stream.write_all(&hello).await?;
            continue;
        };
        let answer = answer(name);
        match answer.encoded(serial) {
            Some(bytes) => stream.write_all(&bytes).await?,
            None if matches!(answer, Answer::Close) => return Ok(()),
            None => {}
        }
    }
}

async fn more(stream: &mut UnixStream, read: &mut Vec<u8>) -> io::Result<()> {
    if read.len() > MESSAGE_MAX || stream.read_buf(read).await? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(())
}

/// The next whole message of the client, which is well-formed: only its length matters here.
async fn message_of(stream: &mut UnixStream, read: &mut Vec<u8>) -> io::Result<Vec<u8>> {
    loop {
        if read.len() >= 16 {
            let word = |at: usize| {
                let bytes = read[at..at + 4].try_into().unwrap_or_default();
                usize::try_from(u32::from_le_bytes(bytes)).unwrap_or_default()
            };
            let whole = (16 + word(12)).next_multiple_of(8) + word(4);
            if read.len() >= whole {
                return Ok(read.drain(..whole).collect());
            }
        }
        more(stream, read).await?;
    }
}

fn message(kind: u8, to: u32, error: Option<&str>, signature: &str, body: &[u8]) -> Vec<u8> {
    let mut fields = Vec::new();
    field(&mut fields, 5, b'u', &to.to_le_bytes());
    field(&mut fields, 7, b's', &string(":1.1"));
    if let Some(name) = error {
        field(&mut fields, 4, b's', &string(name));
    }
    if !signature.is_empty() {
        let mut value = vec![u8::try_from(signature.len()).unwrap_or_default()];
        value.extend(signature.bytes());
        value.push(0);
        field(&mut fields, 8, b'g', &value);
    }
    let mut all = vec![b'l', kind, 1, 1];
    all.extend(length(body).to_le_bytes());
    all.extend(9_u32.to_le_bytes());
    all.extend(length(&fields).to_le_bytes());
    all.extend(fields);
    pad(&mut all, 8);
    all.extend(body);
    all
}

fn field(fields: &mut Vec<u8>, code: u8, kind: u8, value: &[u8]) {
    pad(fields, 8);
    fields.extend([code, 1, kind, 0]);
    fields.extend(value);
}

fn string(text: &str) -> Vec<u8> {
    let mut all = length(text.as_bytes()).to_le_bytes().to_vec();
    all.extend(text.bytes());
    all.push(0);
    all
}

fn list(locks: &[Lock]) -> Vec<u8> {
    let mut items = Vec::new();
    for (what, who, why, mode, uid, pid) in locks {
        pad(&mut items, 8);
        for text in [what, who, why, mode] {
            pad(&mut items, 4);
            items.extend(string(text));
        }
        pad(&mut items, 4);
        items.extend(uid.to_le_bytes());
        items.extend(pid.to_le_bytes());
    }
    let mut all = length(&items).to_le_bytes().to_vec();
    pad(&mut all, 8);
    all.extend(items);
    all
}

fn pad(bytes: &mut Vec<u8>, to: usize) {
    bytes.resize(bytes.len().next_multiple_of(to), 0);
}

fn length(bytes: &[u8]) -> u32 {
    u32::try_from(bytes.len()).unwrap_or_default()
}
