//! Choices drawn from the bytes of an input. Where they have ended, every choice is the first one.

use arbitrary::Unstructured;
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};

/// A byte.
pub(crate) fn byte(u: &mut Unstructured<'_>) -> u8 {
    u.arbitrary().unwrap_or_default()
}

/// One of `all`.
pub(crate) fn one_of<T: Copy>(u: &mut Unstructured<'_>, all: &[T]) -> T {
    all[usize::from(byte(u)) % all.len()]
}

/// At most `most` bytes, as many as the next byte says.
pub(crate) fn bytes(u: &mut Unstructured<'_>, most: usize) -> Vec<u8> {
    let wanted = usize::from(byte(u)).min(most).min(u.len());
    u.bytes(wanted).unwrap_or_default().to_vec()
}

/// The same as text.
pub(crate) fn text(u: &mut Unstructured<'_>, most: usize) -> String {
    String::from_utf8_lossy(&bytes(u, most)).into_owned()
}

/// The bytes as a bad disk, a half-done write or a person with an editor may leave them.
pub(crate) fn mangled(whole: &[u8], u: &mut Unstructured<'_>) -> Vec<u8> {
    let mut all = whole.to_vec();
    for _ in 0..byte(u) % 8 {
        let len = all.len();
        let place = |u: &mut Unstructured<'_>| {
            let drawn: u16 = u.arbitrary().unwrap_or_default();
            usize::from(drawn) % (len + 1)
        };
        let (from, to) = {
            let (one, other) = (place(u), place(u));
            (one.min(other), one.max(other))
        };
        match byte(u) % 7 {
            0 if from < len => all[from] ^= 1 << (byte(u) % 8),
            1 if from < len => all[from] = byte(u),
            2 => all.truncate(from),
            3 => all[from..to].fill(0),
            4 => drop(all.drain(from..to)),
            5 => {
                let again = all[from..to].to_vec();
                all.splice(to..to, again);
            }
            6 => drop(all.splice(from..from, bytes(u, 64))),
            _ => {}
        }
    }
    all
}

/// A directory of this input alone, in memory where that can be had.
pub(crate) fn scratch() -> TempDir {
    let memory = std::path::Path::new("/dev/shm");
    let builder = tempfile::Builder::new();
    let made = if memory.is_dir() {
        builder.tempdir_in(memory)
    } else {
        builder.tempdir()
    };
    made.expect("a directory")
}

/// A runtime of this input alone. On a paused clock whatever waits for nothing but time is not waited
/// for; what needs a child process or another thread needs the real one.
pub(crate) fn runtime(paused: bool) -> Runtime {
    Builder::new_current_thread()
        .enable_all()
        .start_paused(paused)
        .build()
        .expect("a runtime")
}
